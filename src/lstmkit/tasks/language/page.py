"""A text as one HTML file that asks for nothing else: behind each token how surprising it was."""

from __future__ import annotations

import html
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lstmkit.modelfile import atomic_write
from lstmkit.tasks import pages
from lstmkit.tasks.language import picture, shades
from lstmkit.tasks.language.shape import WORDS
from lstmkit.tasks.language.trace import written
from lstmkit.text.tokenizers import shown

if TYPE_CHECKING:
    from lstmkit.tasks.language.estimator import LanguageModel
    from lstmkit.tasks.language.picture import Surprise
    from lstmkit.text.tokenizers import Tokenizer

WORST = 12  # lines
FEWEST = {True: 4, False: 12}  # tokens of a line that is ranked: words, characters
LONGEST = 160  # characters of a line in the list
UNITS = {"char": "characters", "byte": "bytes", "word": "words", "subword": "subwords"}


class Line(NamedTuple):
    """Tokens first ... last - 1; bits a token."""

    first: int
    last: int
    bits: float


def write(asked: LanguageModel, found: Surprise, path: str | Path) -> Path:
    """Write the page to `path`, whole or not at all."""
    text = render(asked, found)
    with atomic_write(Path(path)) as file:
        file.write(text.encode("utf-8", "replace"))
    return Path(path)


def render(asked: LanguageModel, found: Surprise) -> str:
    """The page as text."""
    package = str(__package__)
    pieces = told(asked.tokenizer_, found.tokens)
    cut = lines(pieces, found.bits)
    parts = {
        "title": "How surprising each token is",
        "facts": _facts(asked, found, len(cut)),
        "summary": html.escape(summary(asked, found)),
        "note": html.escape(" ".join(picture.remarks(asked, found))),
        "meta": pages.as_json(_meta(asked, found, pieces, cut)),
        "bits": pages.packed(found.bits, "<f4"),
        "likeliest": pages.packed(found.likeliest, "<i4"),
        "chances": pages.packed(found.chances, "<f4"),
    }
    scripts = [pages.asset("lstmkit.tasks", "canvas.js"), pages.asset(package, "page.js")]
    look = pages.colours({}) + pages.asset(package, "page.css") + _shades()
    return pages.assemble(pages.asset(package, "page.html"), scripts, look, parts)


def told(tokenizer: Tokenizer, tokens: np.ndarray) -> list[str]:
    """The text of each token, line ends as they are and other invisible characters by their names;
    "" where a token does not complete a character."""
    found = written(tokenizer, tokens)
    return ["".join(c if c == "\n" or c.isprintable() else shown(c) for c in p) for p in found]


def lines(pieces: list[str], bits: np.ndarray) -> list[Line]:
    """The lines of a text: each ends with the token that has a line end."""
    ends = [k + 1 for k, piece in enumerate(pieces) if "\n" in piece]
    cuts = [0, *ends] + [len(pieces)] * (not ends or ends[-1] < len(pieces))
    return [Line(a, b, float(bits[a:b].mean())) for a, b in itertools.pairwise(cuts)]


def summary(asked: LanguageModel, found: Surprise) -> str:
    """Perplexity and bits, in words."""
    score, unit = picture.totals(asked, found), UNITS[asked.tokens]
    said = (
        f"Perplexity {score['perplexity']:.4g}: as uncertain, on average, as a choice among so many"
        f" equally likely {unit}."
    )
    names = {"bits_per_char": "character", "bits_per_byte": "byte"}
    bits = [f"{score[k]:.3f} bits a {name}" for k, name in names.items() if k in score]
    return f"{said} {', '.join(bits).capitalize()}." if bits else said


def _facts(asked: LanguageModel, found: Surprise, count: int) -> str:
    """Model and text, as a list of definitions."""
    told = [
        ("model", picture.described(asked)),
        ("tokens", f"{len(found.tokens):,}"),
        ("lines", f"{count:,}"),
        ("bits a token", f"{float(found.bits.mean()):.2f}"),
    ]
    return "".join(
        f"<div><dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd></div>" for k, v in told
    )


def _meta(
    asked: LanguageModel, found: Surprise, pieces: list[str], cut: list[Line]
) -> dict[str, Any]:
    """What the page must know to show the text and to tell of a token."""
    symbols = np.unique(np.concatenate([found.tokens, found.likeliest.ravel()]))
    end = picture.top(asked.tokenizer_)
    return {
        "pieces": pieces,
        "tokens": found.tokens.tolist(),
        "names": {str(t): asked.tokenizer_.token(int(t)) for t in symbols},
        "lines": [[line.first, line.last, round(line.bits, 2)] for line in cut],
        "worst": _worst(asked, pieces, cut),
        "likeliest": found.likeliest.shape[1],
        "top": end,
        "levels": shades.LEVELS,
        "prose": asked.tokens in WORDS,
    }


def _worst(asked: LanguageModel, pieces: list[str], cut: list[Line]) -> list[list[Any]]:
    """[place, text] of the lines with the most bits a token; of short ones only if all are."""
    least = FEWEST[asked.tokens in WORDS]
    long = [k for k, line in enumerate(cut) if line.last - line.first >= least]
    ranked = sorted(long or range(len(cut)), key=lambda k: -cut[k].bits)[:WORST]
    return [[k, "".join(pieces[cut[k].first : cut[k].last]).strip()[:LONGEST]] for k in ranked]


def _shades() -> str:
    """The classes of the scale, in light and in dark."""
    dark = f"@media (prefers-color-scheme: dark) {{ {shades.css(shades.DARK)} }}"
    return f"{shades.css(shades.LIGHT)}\n{dark}\n"
