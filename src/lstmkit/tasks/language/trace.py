"""What the LSTMs of a language model did over the first tokens of a text."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.errors import UserError
from lstmkit.readers import texts
from lstmkit.tasks.language import corpus

if TYPE_CHECKING:
    from lstmkit.tasks.language.estimator import LanguageModel
    from lstmkit.tasks.language.network import LanguageNetwork
    from lstmkit.text.tokenizers import Tokenizer

FIELDS = ("input_gate", "forget_gate", "candidate", "output_gate", "cell")
SHOWN = 512  # tokens of a trace, at most
DRAWN = 80  # tokens of a figure whose tokens can be read
LONGEST = 12  # characters of a token under a figure
LONGEST_NAME = 1024  # characters of a path
MARKS = {" ": "\u2423", "\\n": "\u21b5", "<eos>": "\u21b5"}  # what is shown for the invisible


@dataclass(frozen=True)
class TextTrace:
    """Gates over T tokens: at step t the LSTMs read token t.

    Attributes:
        tokens: (T,) as they are shown to people.
        log_probs: (T,) natural, of each token before it was read.
        layers: per layer, field name -> (T, 1, H), gates after their nonlinearity.
    """

    tokens: tuple[str, ...]
    log_probs: np.ndarray
    layers: tuple[Mapping[str, np.ndarray], ...]

    @property
    def bits(self) -> np.ndarray:
        """(T,) how surprising each token was."""
        found: np.ndarray = -self.log_probs / np.log(2)
        return found

    def plot(self, layer: int = 0, first: int = 0, count: int = DRAWN, **options: Any) -> Any:
        """A matplotlib figure of `count` tokens from `first` on; options as `style.plot_gates`."""
        from lstmkit.style import plot_gates, styled

        own = slice(first, first + count)
        fields = {name: values[own, 0] for name, values in self.layers[layer].items()}
        given = {"series": self.bits[own], "series_label": "surprise of the token, bits", **options}
        figure = plot_gates(fields, **given)
        if len(self.tokens[own]) <= DRAWN:
            styled(_label)(figure, self.tokens[own])
        return figure

    def _repr_html_(self) -> str:
        from lstmkit.style import html_table

        rows = [
            [str(k), *(f"{layer[f].mean():.3f}" for f in FIELDS)]
            for k, layer in enumerate(self.layers)
        ]
        return html_table(["layer", *(f"mean {f.replace('_', ' ')}" for f in FIELDS)], rows)


def record(asked: LanguageModel, data: Any) -> TextTrace:
    """Run the network over the first tokens of a text; its state begins with the first of them.

    Args:
        data: a text, or, where a file has that name, its path; a path, several, or an open file.

    Raises:
        UserError: no text in it, or as the reader.
    """
    import torch

    tokenizer = asked.tokenizer_
    tokens = beginning(asked, data, SHOWN)
    given = np.concatenate([[tokenizer.start], tokens]).astype(np.int64)
    with torch.no_grad():
        log_probs, traced = _read(asked.network_, torch.from_numpy(given)[:, None])
    return TextTrace(
        tuple(tokenizer.token(int(t)) for t in tokens),
        log_probs,
        tuple({f: getattr(one, f)[1:].numpy() for f in FIELDS} for one in traced),
    )


def _read(network: LanguageNetwork, given: Any) -> tuple[np.ndarray, list[Any]]:
    """Log-probabilities (T,) of given[1:], and what each layer did over given (T + 1, 1)."""
    x, traced = network.embedded(given), []
    for layer, state in zip(network.layers, network.begin(1), strict=True):
        x, _, found = layer(x, state, trace=True)
        traced += found.layers
    table = network.embedding.weight
    found = network.softmax.log_probs(x[:-1].flatten(0, 1), given[1:].flatten(), table)
    return found.numpy(), traced


# --- texts


def opened(asked: LanguageModel, data: Any) -> tuple[Any, str]:
    """A text as `corpus` reads it, and its encoding: a string that names no file is the text."""
    if not isinstance(data, str) or data == texts.STREAM or _named(data):
        return data, asked.encoding
    return io.BytesIO(data.encode("utf-8", "surrogatepass")), "utf-8"


def _named(name: str) -> bool:
    """Whether there are files of that name, or of that pattern."""
    if not 0 < len(name) <= LONGEST_NAME or "\n" in name:
        return False
    try:
        return bool(texts.files(name))
    except (UserError, OSError, ValueError):
        return False


def beginning(asked: LanguageModel, data: Any, most: int) -> np.ndarray:
    """The first tokens of a text (n,) int64, n at most `most`; no more of it is read than needed.

    Raises:
        UserError: as the reader and the tokenizer.
    """
    source, encoding = opened(asked, data)
    tokenizer, count, found = asked.tokenizer_, 0, []
    encoder = tokenizer.encoder(open_end=isinstance(source, io.BytesIO))
    for piece in corpus.pieces(source, tokenizer.kind, encoding):
        found.append(encoder.feed(piece))
        count += len(found[-1])
        if count >= most:
            break
    else:
        found.append(encoder.finish())
    tokens = np.concatenate([np.empty(0, np.int64), *found])[:most]
    if not len(tokens):
        raise UserError("the text has no tokens", expected="some text")
    return tokens


def written(tokenizer: Tokenizer, tokens: Iterable[int]) -> list[str]:
    """The text that each token adds; "" where it only begins or goes on with a character."""
    decoder = tokenizer.decoder()
    return [decoder.feed(int(t)) for t in tokens]


# --- labels


def labels(tokens: Sequence[str]) -> list[str]:
    """Tokens, as they are shown, short and in letters that figures have."""
    return [_label_of(token) for token in tokens]


@cache
def _drawable() -> frozenset[str]:
    """The characters of the font of figures."""
    from matplotlib.font_manager import findfont, get_font

    return frozenset(map(chr, get_font(findfont("DejaVu Sans")).get_charmap()))


def _label_of(token: str) -> str:
    text = MARKS.get(token, token)
    text = text if len(text) <= LONGEST else text[: LONGEST - 1] + "\u2026"
    return "".join(c if c in _drawable() else "?" for c in text)


def _label(figure: Any, tokens: Sequence[str]) -> None:
    """Tokens under the lowest panel."""
    lowest = [axes for axes in figure.axes if axes.get_subplotspec() is not None][-1]
    found = labels(tokens)
    slanted = 90 if max(map(len, found)) > 2 else 0
    size = 7.5 if len(found) <= DRAWN // 2 or not slanted else 6.0
    lowest.set_xticks(range(len(found)), found, parse_math=False, rotation=slanted, fontsize=size)
