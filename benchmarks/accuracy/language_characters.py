"""Bits per character of tiny Shakespeare, and bits per byte of WikiText-2.

    python benchmarks/accuracy/language_characters.py FOLDER --options "size=small,minutes=3"
    python benchmarks/accuracy/language_characters.py FOLDER --set wikitext-2 --options "minutes=20"

FOLDER holds tinyshakespeare.txt.gz and wikitext-2/{train,valid,test}.txt.gz. Tiny Shakespeare has
no official test text: the last tenth, by position, is scored, as char-rnn and nanoGPT do. They
choose the best step by that same tenth; here the epoch is chosen by the last twentieth of the rest,
which is not learnt from. WikiText-2 has its official splits and is taken as bytes, `<unk>` and all:
do not compare it with the raw text's figures.

Published, nats a character of that tenth (github.com/karpathy/nanoGPT, README): a Transformer of
10.7 M weights after 3 minutes of an A100 1.4697, one of 0.8 M after 3 minutes of a CPU 1.88.
"""

from __future__ import annotations

import gzip
import math
import tempfile
from pathlib import Path

from language import shared

PUBLISHED = {
    "tinyshakespeare": {
        "nanoGPT, 10.7 M weights, 3 minutes of an A100": 1.4697 / math.log(2),
        "nanoGPT, 0.8 M weights, 3 minutes of a CPU": 1.88 / math.log(2),
    },
    "wikitext-2": {},
}
TEST, VALIDATION = 0.1, 0.05  # shares from the end of the text, and of what is before


def main() -> None:
    """The command."""
    asked = shared.arguments(__doc__ or "", list(PUBLISHED))
    if asked.name == "wikitext-2":
        asked.label = asked.label or "bytes"
        parts = ("train", "valid", "test")
        texts = [asked.folder / f"wikitext-2/{part}.txt.gz" for part in parts]
        shared.run(asked, texts, {}, tokens="byte")
        return
    with gzip.open(asked.folder / "tinyshakespeare.txt.gz", "rt") as file:
        text = file.read()
    end = round((1 - TEST) * len(text))
    cut = round((1 - VALIDATION) * end)
    with tempfile.TemporaryDirectory() as folder:
        texts = [Path(folder) / f"{name}.txt" for name in ("train", "validation", "test")]
        for path, part in zip(texts, (text[:cut], text[cut:end], text[end:]), strict=True):
            path.write_text(part)
        shared.run(asked, texts, PUBLISHED[asked.name], tokens="char")


if __name__ == "__main__":
    main()
