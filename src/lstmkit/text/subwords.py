"""Subwords: byte-pair encoding of bytes (Sennrich et al. 2016), learnt on the fly.

The `tokenizers` library learns and encodes; decoding needs the vocabulary alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, Self

import numpy as np

from lstmkit.errors import UserError, require
from lstmkit.text.counting import Counts
from lstmkit.text.tokenizers import Bytes, Decoder, Encoder, Tokenizer, checked, shown

MOST = 8_000  # symbols of a vocabulary
FEWEST = 257  # the bytes and the start
START = "<|endoftext|>"
LONGEST = 1 << 20  # characters without a place to cut


class SubwordTokenizer(Tokenizer):
    """Symbols of one or more bytes, as frequent runs of them; nothing is unknown."""

    kind = "subword"

    def __init__(self, symbols: list[str], merges: list[tuple[str, str]]) -> None:
        self.symbols, self.merges = symbols, merges
        self.size = len(symbols)
        self._numbers = {s: k for k, s in enumerate(symbols)}
        self.start = self._numbers[START]
        self.raw = [b"" if s == START else _raw(s) for s in symbols]

    @cached_property
    def library(self) -> Any:
        """The same in the library; made at the first encoding."""
        tokenizers = require("tokenizers", "text")
        model = tokenizers.models.BPE(vocab=dict(self._numbers), merges=self.merges)
        return _wrapped(tokenizers, model)

    def encoder(self, *, open_end: bool = False) -> Encoder:
        """As Tokenizer.

        Raises:
            MissingExtra: the library is not installed.
        """
        return _SubwordEncoder(self.library)

    def decoder(self) -> Decoder:
        """As Tokenizer; needs no library."""
        return _SubwordDecoder(self.raw)

    def token(self, number: int) -> str:
        """As Tokenizer."""
        symbol = self.symbols[number]
        return (
            symbol
            if symbol == START
            else shown(self.raw[number].decode("utf-8", "backslashreplace"))
        )

    def number(self, token: str) -> int | None:
        """As Tokenizer, of a symbol's text."""
        return self._numbers.get(token if token == START else _written(token.encode()))

    def to_json(self) -> dict[str, Any]:
        """As Tokenizer."""
        merges = [list(pair) for pair in self.merges]
        return {"kind": self.kind, "symbols": self.symbols, "merges": merges}

    @classmethod
    def from_json(cls, stored: Any) -> Self:
        """The inverse of to_json; ValueError where it is not."""
        symbols = checked(stored["symbols"])
        merges = [(str(a), str(b)) for a, b in stored["merges"]]
        there = set(symbols)
        if START not in there or not there.issuperset(_BYTES):
            raise ValueError("a byte or the start is missing")
        if any(part not in there for a, b in merges for part in (a, b, a + b)):
            raise ValueError("a merge of what is not there")
        return cls(symbols, merges)


class _SubwordEncoder(Encoder):
    def __init__(self, library: Any) -> None:
        self._library, self._rest = library, ""

    def feed(self, piece: Any) -> np.ndarray:
        text = self._rest + piece
        cut = _cut(text)
        self._rest = text[cut:]
        return self._encoded(text[:cut])

    def finish(self) -> np.ndarray:
        rest, self._rest = self._rest, ""
        return self._encoded(rest)

    def _encoded(self, text: str) -> np.ndarray:
        return np.array(self._library.encode(text).ids if text else [], np.int64)


class _SubwordDecoder(Bytes):
    def __init__(self, raw: list[bytes]) -> None:
        super().__init__()
        self._raw = raw

    def feed(self, token: int) -> str:
        return self.given(self._raw[token])


def _cut(text: str) -> int:
    """Where the text may be cut so that both parts have the tokens of the whole: before the last
    blank that follows something else. Nothing that the library splits off goes over such a place.
    """
    at = len(text) - 1
    while at > 0:
        if text[at].isspace() and not text[at - 1].isspace():
            return at
        at -= 1
    return LONGEST if len(text) > LONGEST else 0


def learn(pieces: Iterable[str], most: int, least: int) -> tuple[SubwordTokenizer, Counts]:
    """The symbols that make a text short.

    Raises:
        UserError: the text is empty, or `most` is too small.
        MissingExtra: the library is not installed.
    """
    if most < FEWEST:
        raise UserError("too few subwords", got=str(most), expected=f"{FEWEST} or more")
    tokenizers = require("tokenizers", "text")
    counts = Counts()
    found = _wrapped(tokenizers, tokenizers.models.BPE())
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=most,
        min_frequency=max(least, 2),
        special_tokens=[START],
        initial_alphabet=sorted(_BYTES),
        show_progress=False,
    )
    found.train_from_iterator(_whole(pieces, counts), trainer)
    if not counts.characters:
        raise UserError("the text is empty", expected="some characters")
    stored = json.loads(found.to_str())["model"]
    numbers: dict[str, int] = stored["vocab"]
    symbols = sorted(numbers, key=numbers.__getitem__)
    counts.symbols = len(symbols)
    return SubwordTokenizer(symbols, [tuple(pair) for pair in stored["merges"]]), counts


def _whole(pieces: Iterable[str], counts: Counts) -> Iterator[str]:
    """Pieces cut where the library would cut them."""
    rest = ""
    for piece in pieces:
        counts.see(piece)
        text = rest + piece
        cut = _cut(text)
        rest = text[cut:]
        if cut:
            yield text[:cut]
    yield rest


def _wrapped(tokenizers: Any, model: Any) -> Any:
    found = tokenizers.Tokenizer(model)
    found.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    return found


def _alphabet() -> list[str]:
    """The 256 characters by which byte-level vocabularies write bytes (GPT-2, Radford 2019): the
    printable ones of Latin-1 as they are, the others moved behind U+00FF in turn."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(b if b in plain else next(others)) for b in range(256)]


_BYTES = _alphabet()
_NUMBER = {c: b for b, c in enumerate(_BYTES)}


def _raw(symbol: str) -> bytes:
    return bytes(_NUMBER[c] for c in symbol)


def _written(raw: bytes) -> str:
    return "".join(_BYTES[b] for b in raw)
