"""Bytes and characters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import numpy as np

from lstmkit.errors import UserError
from lstmkit.text.counting import Counts
from lstmkit.text.tokenizers import REPLACEMENT, Bytes, Decoder, Encoder, Tokenizer, checked, shown

MOST = 10_000  # characters of a vocabulary
CODE_POINTS = 0x110000
NEWLINE = 10


class ByteTokenizer(Tokenizer):
    """The 256 bytes: any file has tokens."""

    kind = "byte"
    size = 256
    start = NEWLINE

    def encoder(self, *, open_end: bool = False) -> Encoder:
        """As Tokenizer; text is taken in UTF-8."""
        return _ByteEncoder()

    def decoder(self) -> Decoder:
        """As Tokenizer."""
        return _ByteDecoder()

    def token(self, number: int) -> str:
        """A printable byte, or \\xNN."""
        return chr(number) if 32 <= number < 127 else f"\\x{number:02x}"

    def number(self, token: str) -> int | None:
        """As Tokenizer, of one byte."""
        raw = token.encode()
        return raw[0] if len(raw) == 1 else None

    def to_json(self) -> dict[str, Any]:
        """As Tokenizer."""
        return {"kind": self.kind}

    @classmethod
    def from_json(cls, stored: Any) -> Self:
        """The inverse of to_json."""
        return cls()


class _ByteEncoder(Encoder):
    def feed(self, piece: Any) -> np.ndarray:
        raw = piece.encode("utf-8", "replace") if isinstance(piece, str) else piece
        return np.frombuffer(raw, np.uint8).astype(np.int64)


class _ByteDecoder(Bytes):
    def feed(self, token: int) -> str:
        return self.given(bytes([token]))


class CharTokenizer(Tokenizer):
    """Characters, that is code points; U+FFFD stands for all that are not in `symbols`."""

    kind = "char"

    def __init__(self, symbols: list[str]) -> None:
        self.symbols = symbols
        self.size = len(symbols)
        self.unknown = symbols.index(REPLACEMENT)
        self._numbers = {c: k for k, c in enumerate(symbols)}
        self.start = self._numbers.get("\n", self.unknown)
        self._table = np.full(CODE_POINTS, self.unknown, np.int32)
        self._table[[ord(c) for c in symbols]] = np.arange(self.size)

    def encoder(self, *, open_end: bool = False) -> Encoder:
        """As Tokenizer."""
        return _CharEncoder(self._table)

    def decoder(self) -> Decoder:
        """As Tokenizer."""
        return _CharDecoder(self.symbols)

    def token(self, number: int) -> str:
        """As Tokenizer."""
        return shown(self.symbols[number])

    def number(self, token: str) -> int | None:
        """As Tokenizer."""
        return self._numbers.get(token)

    def to_json(self) -> dict[str, Any]:
        """As Tokenizer."""
        return {"kind": self.kind, "symbols": self.symbols}

    @classmethod
    def from_json(cls, stored: Any) -> Self:
        """The inverse of to_json; ValueError where it is not."""
        symbols = checked(stored["symbols"])
        if any(len(s) != 1 for s in symbols):
            raise ValueError("a symbol is no character")
        return cls(symbols)


class _CharEncoder(Encoder):
    def __init__(self, table: np.ndarray) -> None:
        self._table = table

    def feed(self, piece: Any) -> np.ndarray:
        return self._table[code_points(piece)].astype(np.int64)


class _CharDecoder(Decoder):
    def __init__(self, symbols: list[str]) -> None:
        self._symbols = symbols

    def feed(self, token: int) -> str:
        return self._symbols[token]


def code_points(text: str) -> np.ndarray:
    """(n,) uint32."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def learn(pieces: Iterable[str], most: int, least: int) -> tuple[CharTokenizer, Counts]:
    """The most frequent characters of a text, U+FFFD first."""
    counts, found = Counts(), np.zeros(CODE_POINTS, np.int64)
    for piece in pieces:
        counts.see(piece)
        codes = code_points(piece)
        found += np.bincount(codes, minlength=CODE_POINTS) if len(codes) > CODE_POINTS else 0
        if len(codes) <= CODE_POINTS:
            there, often = np.unique(codes, return_counts=True)
            found[there] += often
    if not counts.characters:
        raise UserError("the text is empty", expected="some characters")
    if most < 2:
        raise UserError("a vocabulary is of two characters or more", got=str(most))
    order = np.lexsort((np.arange(CODE_POINTS), -found))
    there = order[: np.count_nonzero(found >= max(least, 1))]
    kept = [chr(c) for c in there if c != ord(REPLACEMENT)][: most - 1]
    tokenizer = CharTokenizer([REPLACEMENT, *kept])
    known = found[[ord(c) for c in kept]].sum()
    counts.symbols = int(np.count_nonzero(found))
    counts.left_out = counts.symbols - len(kept)
    counts.unknown = float(1 - known / found.sum())
    return tokenizer, counts


def learn_bytes(pieces: Iterable[Any]) -> tuple[ByteTokenizer, Counts]:
    """Counts the bytes of a text; there is nothing to learn."""
    counts, found = Counts(), np.zeros(256, np.int64)
    for piece in pieces:
        raw = piece.encode() if isinstance(piece, str) else piece
        counts.see(raw)
        found += np.bincount(np.frombuffer(raw, np.uint8), minlength=256)
    if not counts.bytes:
        raise UserError("the text is empty", expected="some bytes")
    counts.symbols = int(np.count_nonzero(found))
    return ByteTokenizer(), counts
