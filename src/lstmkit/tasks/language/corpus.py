"""Texts as tokens on the disk, and what is known again of them; no torch.

Tokens lie in a temporary file that is mapped into memory: texts larger than memory are read from
there as they are needed.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from lstmkit.errors import UserError
from lstmkit.readers import texts
from lstmkit.text.counting import Counts
from lstmkit.text.tokenizers import Tokenizer

WINDOW = 32  # tokens by which a place of a text is known again
MARKS = 4096  # places that a model remembers of its training text
AT_ONCE = 1 << 22  # tokens
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


class Text(NamedTuple):
    """A text: tokens (N,), and what it is made of."""

    tokens: np.ndarray
    counts: Counts

    @property
    def characters(self) -> int:
        """Its length in characters."""
        return self.counts.characters


def pieces(data: Any, kind: str, encoding: str) -> Iterable[Any]:
    """A text as its tokenizer takes it: bytes, or characters."""
    return texts.pieces(data) if kind == "byte" else texts.texts(data, encoding)


def tokenised(tokenizer: Tokenizer, data: Any, encoding: str) -> Text:
    """The tokens of a text.

    Raises:
        UserError: as the reader and the tokenizer.
    """
    counts, unknown, encoder = Counts(), 0, tokenizer.encoder()
    kind = kind_of(tokenizer.size)
    with tempfile.TemporaryFile() as file:
        count = 0
        for piece in pieces(data, tokenizer.kind, encoding):
            counts.see(piece)
            count += _kept(encoder.feed(piece).astype(kind), file)
        count += _kept(encoder.finish().astype(kind), file)
        if not count:
            raise UserError("the text has no tokens", expected="some text")
        file.flush()
        tokens: np.ndarray = np.memmap(file, kind, "r", shape=(count,))
    if tokenizer.unknown is not None:
        for first in range(0, count, AT_ONCE):
            unknown += int((tokens[first : first + AT_ONCE] == tokenizer.unknown).sum())
    counts.unknown = unknown / count
    return Text(tokens, counts)


def _kept(tokens: np.ndarray, file: Any) -> int:
    tokens.tofile(file)
    return len(tokens)


def kind_of(symbols: int) -> type:
    """The smallest type that holds a token."""
    return np.uint8 if symbols <= 1 << 8 else np.uint16 if symbols <= 1 << 16 else np.int32


@contextmanager
def twice(data: Any) -> Iterator[Any]:
    """`data`, or what a stream gives in a file, so that it can be read again and again."""
    if data != texts.STREAM and not hasattr(data, "read"):
        yield data
        return
    source = sys.stdin.buffer if data == texts.STREAM else data
    with tempfile.NamedTemporaryFile(suffix=".txt") as file:
        if data == texts.STREAM:
            shutil.copyfileobj(source, file)
        else:
            for piece in texts.pieces(source):
                file.write(piece)
        file.flush()
        yield file.name


def part(tokenizer: Tokenizer, text: Text, first: int, last: int) -> Text:
    """Tokens first ... last - 1 of a text, with their own counts."""
    tokens = text.tokens[first:last]
    counts, decoder = Counts(), tokenizer.decoder()
    for piece in np.array_split(tokens, max(1, len(tokens) // AT_ONCE)):
        counts.see("".join([decoder.feed(int(t)) for t in piece]))
    if tokenizer.unknown is not None and len(tokens):
        counts.unknown = float((tokens == tokenizer.unknown).mean())
    if tokenizer.kind == "byte":
        counts.bytes = len(tokens)
    return Text(tokens, counts)


def digest(tokens: np.ndarray) -> str:
    """16 hexadecimal digits of a text."""
    found = hashlib.sha256()
    for first in range(0, len(tokens), AT_ONCE):
        found.update(tokens[first : first + AT_ONCE].astype(np.int32).tobytes())
    return found.hexdigest()[:16]


def marks(tokens: np.ndarray) -> np.ndarray:
    """The smallest MARKS of the hashes of all windows (m,) uint64, ascending: a sketch of which
    windows there are (Broder 1997)."""
    best = np.empty(0, np.uint64)
    for hashes in _hashes(tokens):
        best = np.unique(np.concatenate([best, hashes]))[:MARKS]
    return best


def known(tokens: np.ndarray, marked: np.ndarray) -> float:
    """About which share of the windows of a text are in the text that was marked; NaN where it is
    too short to tell."""
    if not len(marked):
        return float("nan")
    hits = total = 0
    for hashes in _hashes(tokens):
        low = hashes[hashes <= marked[-1]]
        total += len(low)
        hits += int(np.isin(low, marked).sum())
    return hits / total if total else float("nan")


def _hashes(tokens: np.ndarray) -> Iterator[np.ndarray]:
    for first in range(0, max(len(tokens) - WINDOW + 1, 0), AT_ONCE):
        piece = tokens[first : first + AT_ONCE + WINDOW - 1].astype(np.uint64)
        count = len(piece) - WINDOW + 1
        found = np.zeros(count, np.uint64)
        for k in range(WINDOW):
            found = found * MULTIPLIER + piece[k : k + count] + np.uint64(1)
        found ^= found >> np.uint64(29)
        found *= np.uint64(0xBF58476D1CE4E5B9)
        yield found ^ (found >> np.uint64(32))
