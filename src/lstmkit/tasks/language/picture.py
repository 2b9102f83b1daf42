"""How surprising each token of a text is: a page that shows the text, or a figure of its start."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit import style
from lstmkit.tasks.language import corpus, evaluating, features, shades
from lstmkit.tasks.language.answers import SOME_KNOWN
from lstmkit.tasks.language.corpus import Text
from lstmkit.tasks.language.shape import WORDS
from lstmkit.tasks.language.trace import beginning, labels
from lstmkit.text.counting import Counts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from lstmkit.tasks.language.estimator import LanguageModel
    from lstmkit.text.tokenizers import Tokenizer

PAGE = ".html"
SHOWN = 20_000  # tokens of a page, at most
LIKELIEST = 3
ROWS = 4  # of a figure
ACROSS = {True: 40, False: 100}  # tokens in a row of a figure: words, characters
FAINTEST = 0.2  # of the scale, where bars begin


@dataclass(frozen=True)
class Surprise:
    """A text as the model read it, from its beginning.

    Attributes:
        tokens: (n,).
        log_probs: (n,) natural, of each given all before it.
        likeliest: (n, K) the tokens that were expected most, the first one most of all.
        chances: (n, K) their probabilities.
        cut: whether the text goes on.
    """

    tokens: np.ndarray
    log_probs: np.ndarray
    likeliest: np.ndarray
    chances: np.ndarray
    cut: bool

    @property
    def bits(self) -> np.ndarray:
        """(n,) how surprising each token was."""
        found: np.ndarray = -self.log_probs / math.log(2)
        return found


def write(asked: LanguageModel, data: Any, path: str | Path) -> None:
    """Write a page (.html) of the first 20,000 tokens, or a figure of the first few hundred.

    Args:
        data: as `LanguageModel.trace`.
        path: where to; the suffix says what.

    Raises:
        UserError: no text in it, an unknown suffix, or the file cannot be written.
    """
    if Path(path).suffix.lower() == PAGE:
        from lstmkit.tasks.language import page

        page.write(asked, surprise(asked, data, SHOWN), path)
        return
    style.save(draw(asked, surprise(asked, data, ROWS * _across(asked))), path)


def surprise(asked: LanguageModel, data: Any, most: int) -> Surprise:
    """Read at most so many tokens; no torch."""
    from lstmkit import runtime

    tokens = beginning(asked, data, most + 1)
    model, start, V = runtime.load(asked.program_), asked.tokenizer_.start, asked.shape_.symbols
    size = max(1, min(evaluating.LONGEST, evaluating.LOGITS // V))
    state, pending, found = None, start, []
    for piece in features.in_pieces(tokens[:most], size):
        given = {"tokens": features.before(piece, pending)[None]}
        outputs, state = model.run("read", given, state)
        found.append(_judged(outputs["logits"][0], piece))
        pending = int(piece[-1])
    log_probs, likeliest, chances = (np.concatenate(x) for x in zip(*found, strict=True))
    return Surprise(tokens[:most], log_probs, likeliest, chances, len(tokens) > most)


def _judged(logits: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-probabilities (n,), the likeliest tokens (n, K), their chances (n, K), of (n, V)."""
    few = min(LIKELIEST, logits.shape[1])
    best = np.argpartition(logits, -few, 1)[:, -few:]
    order = np.argsort(-np.take_along_axis(logits, best, 1), 1, kind="stable")
    best = np.take_along_axis(best, order, 1)
    each = [features.log_probs(logits, best[:, k]) for k in range(few)]
    return features.log_probs(logits, tokens), best, np.exp(np.stack(each, 1))


# --- in words


def top(tokenizer: Tokenizer) -> int:
    """Bits at the end of the scale: two more than where all tokens are equally likely."""
    return math.ceil(math.log2(max(tokenizer.size, 2))) + 2


def described(asked: LanguageModel) -> str:
    """The model in a few words."""
    hidden = "+".join(map(str, asked.shape_.hidden))
    return f"LSTM of {hidden} cells, {asked.shape_.symbols:,} symbols ({asked.tokens})"


def totals(asked: LanguageModel, found: Surprise) -> dict[str, float]:
    """Perplexity and bits of what was read, as `evaluate` counts them."""
    text = corpus.part(asked.tokenizer_, Text(found.tokens, Counts()), 0, len(found.tokens))
    return evaluating.metrics(found.log_probs, text, asked.tokenizer_.kind)


def remarks(asked: LanguageModel, found: Surprise) -> list[str]:
    """What a reader must know: that there is more, and that the model has seen it."""
    told = []
    if found.cut:
        told.append(f"Only the first {len(found.tokens):,} tokens of the text are shown.")
    share = corpus.known(found.tokens, asked.marks_)
    if share > SOME_KNOWN:
        told.append(
            f"The model learnt from about {share:.0%} of it: a new text would surprise it more."
        )
    return told


# --- a figure


def _across(asked: LanguageModel) -> int:
    return ACROSS[asked.tokens in WORDS]


@style.styled
def draw(asked: LanguageModel, found: Surprise) -> Any:
    """A matplotlib figure: bits of each token in a few rows, the tokens below."""
    across, n = _across(asked), len(found.tokens)
    rows = max(1, -(-n // across))
    turned = asked.tokens in WORDS
    figure = style.canvas(12.0, 1.0 + rows * (1.75 if turned else 1.3))
    panels = figure.subplots(rows, 1, sharey=True, squeeze=False)[:, 0]
    end = top(asked.tokenizer_)
    names = labels([asked.tokenizer_.token(int(t)) for t in found.tokens])
    for k, axes in enumerate(panels):
        own = slice(k * across, min((k + 1) * across, n))
        _row(axes, found.bits[own], names[own], end, across, turned)
    panels[0].set_title("surprise, bits a token")
    style.headline(figure, "How surprising each token is")
    score = totals(asked, found)
    said = f"{described(asked)}. {n:,} tokens, perplexity {score['perplexity']:.4g}."
    style.caption(figure, " ".join([said, *remarks(asked, found)]))
    return figure


def _row(
    axes: Axes, bits: np.ndarray, names: list[str], end: float, across: int, turned: bool
) -> None:
    """A bar a token; as dark as its background on the page."""
    place = FAINTEST + (1 - FAINTEST) * np.clip(bits / end, 0, 1)
    colours = np.array(shades.scale(shades.LIGHT))[shades.level(place, 1.0)]
    axes.bar(range(len(bits)), bits, color=list(colours), width=0.86)
    size = 7.0 if turned else 8.0
    axes.set_xticks(range(len(bits)), names, parse_math=False, fontsize=size, color=style.INK,
                    rotation=90 if turned else 0)  # fmt: skip
    axes.tick_params(axis="x", length=0, pad=2)
    axes.set_xlim(-0.6, across - 0.4)
    axes.set_ylim(0, max(end, 1.0))
    axes.grid(axis="y")
