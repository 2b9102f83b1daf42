"""From text to whole numbers and back: what all kinds of tokenizers share, and how each is learnt.

A tokenizer is a vocabulary and nothing else; `Encoder` and `Decoder` hold what is unfinished, so
that pieces of any size give what the whole gives.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from lstmkit.errors import UserError
from lstmkit.text.counting import Counts

KINDS = ("char", "byte", "word", "subword")
REPLACEMENT = "\ufffd"
MOST_SYMBOLS = 10_000_000
LONGEST_SHOWN = 64


class Encoder:
    """Text as it comes to tokens: `feed` gives those that can be told, `finish` the rest."""

    def feed(self, piece: Any) -> np.ndarray:
        """The tokens (n,) int64 that this piece completes."""
        raise NotImplementedError

    def finish(self) -> np.ndarray:
        """The tokens of what was left."""
        return np.empty(0, np.int64)


class Decoder:
    """Tokens as they come to text; `held` is what is no whole character yet."""

    def feed(self, token: int) -> str:
        """The text that this token completes, perhaps none."""
        raise NotImplementedError

    def finish(self) -> str:
        """What is left, U+FFFD for a broken character."""
        return ""

    def save(self) -> str:
        """What is unfinished, as text."""
        return ""

    def restore(self, saved: str) -> None:
        """Go on from `save`."""


class Tokenizer:
    """A vocabulary.

    Attributes:
        kind: of KINDS.
        size: how many symbols there are.
        start: the token that stands before a text.
        unknown: the token of what is not in the vocabulary; None where everything is.
        end: the token of a line's end, where that is one of its own.
    """

    kind: ClassVar[str]
    size: int
    start: int
    unknown: int | None = None
    end: int | None = None

    def encoder(self, *, open_end: bool = False) -> Encoder:
        """An encoder at the beginning of a text."""
        raise NotImplementedError

    def decoder(self) -> Decoder:
        """A decoder at the beginning of a text."""
        raise NotImplementedError

    def encode(self, text: Any, *, open_end: bool = False) -> np.ndarray:
        """The tokens of a whole text (n,) int64; with `open_end` its last line may go on."""
        encoder = self.encoder(open_end=open_end)
        return np.concatenate([encoder.feed(text), encoder.finish()])

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of tokens."""
        decoder = self.decoder()
        return "".join([*(decoder.feed(int(t)) for t in tokens), decoder.finish()])

    def token(self, number: int) -> str:
        """A symbol as it is shown to people."""
        raise NotImplementedError

    def number(self, token: str) -> int | None:
        """The number of a symbol; None where there is none."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """The vocabulary as JSON values."""
        raise NotImplementedError


class Bytes(Decoder):
    """Characters out of bytes in UTF-8."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def given(self, found: bytes) -> str:
        """The characters that these bytes complete."""
        return self._decoder.decode(found)

    def finish(self) -> str:
        """As Decoder."""
        return self._decoder.decode(b"", True)

    def save(self) -> str:
        """As Decoder."""
        return self._decoder.getstate()[0].hex()

    def restore(self, saved: str) -> None:
        """As Decoder."""
        self._decoder.setstate((bytes.fromhex(saved), 0))


def learn(
    kind: str, pieces: Iterable[Any], *, vocabulary: int | None = None, least: int = 1
) -> tuple[Tokenizer, Counts]:
    """The vocabulary of a text, and what the text is made of. One pass, in bounded memory.

    Args:
        kind: of KINDS.
        pieces: of text; of bytes for `byte`.
        vocabulary: the most symbols: 10,000 characters, 200,000 words or 8,000 subwords where left
            out.
        least: how often a symbol must occur.

    Raises:
        UserError: no such kind, nothing to count, or a text that is not of such symbols.
        MissingExtra: the library of subwords is not installed.
    """
    from lstmkit.text import characters, subwords, words

    if kind not in KINDS:
        raise UserError(f"there are no tokens {kind!r}", expected=" | ".join(KINDS))
    if kind == "byte" and vocabulary is not None:
        raise UserError("bytes are 256, whatever the text", hint="leave out --vocabulary")
    if kind == "byte":
        return characters.learn_bytes(pieces)
    if kind == "char":
        return characters.learn(pieces, vocabulary or characters.MOST, least)
    if kind == "word":
        return words.learn(pieces, vocabulary or words.MOST, least)
    return subwords.learn(pieces, vocabulary or subwords.MOST, least)


def count(pieces: Iterable[Any]) -> Counts:
    """What a text is made of."""
    found = Counts()
    for piece in pieces:
        found.see(piece)
    return found


def from_json(stored: Any) -> Tokenizer:
    """The inverse of `Tokenizer.to_json`.

    Raises:
        UserError: it is no vocabulary.
    """
    from lstmkit.text import characters, subwords, words

    kinds: Mapping[str, Any] = {
        "byte": characters.ByteTokenizer,
        "char": characters.CharTokenizer,
        "word": words.WordTokenizer,
        "subword": subwords.SubwordTokenizer,
    }
    try:
        found: Tokenizer = kinds[stored["kind"]].from_json(stored)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError("the vocabulary in the model is damaged", got=str(error)[:80]) from None
    return found


def checked(symbols: Any) -> list[str]:
    """A list of different symbols; ValueError where it is none."""
    good = isinstance(symbols, list) and 0 < len(symbols) <= MOST_SYMBOLS
    if not good or not all(isinstance(s, str) for s in symbols):
        raise ValueError("no list of symbols")
    if len(set(symbols)) != len(symbols):
        raise ValueError("a symbol is there twice")
    return symbols


def shown(symbol: str) -> str:
    """A symbol with its blanks and controls made visible."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in symbol)
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "..."
