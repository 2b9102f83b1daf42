"""Counting symbols in bounded memory, and what a text is made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

MOST_COUNTED = 4_000_000  # different symbols that are held at once


@dataclass
class Counts:
    """What was found in a text.

    Attributes:
        characters, bytes: its length, bytes in UTF-8.
        lines: line ends.
        symbols: different symbols found; of those that were dropped while counting none.
        left_out: different symbols that are not in the vocabulary.
        unknown: share of all occurrences that these are.
        pruned: whether so many different symbols came that the rarest were dropped on the way.
    """

    characters: int = 0
    bytes: int = 0
    lines: int = 0
    symbols: int = 0
    left_out: int = 0
    unknown: float = 0.0
    pruned: bool = False

    def see(self, piece: Any) -> None:
        """Add the lengths of a piece, of text or of bytes."""
        if not isinstance(piece, str):
            self.bytes += len(piece)
            self.characters += len(piece)
            self.lines += piece.count(b"\n")
        else:
            self.characters += len(piece)
            self.bytes += len(piece) if piece.isascii() else len(piece.encode(errors="replace"))
            self.lines += piece.count("\n")


class Tally:
    """How often each symbol occurs; where too many come, the rarest are dropped.

    What is dropped occurred at most `floor` times (lossy counting, Manku & Motwani 2002), so that
    no frequent symbol is lost.
    """

    def __init__(self, most: int = MOST_COUNTED) -> None:
        self.counts: Counter[str] = Counter()
        self.most, self.floor, self.total = most, 0, 0

    def add(self, symbols: Iterable[str]) -> None:
        """Count some more."""
        self.counts.update(symbols)
        while len(self.counts) > self.most:
            self.floor += 1
            kept = {s: n for s, n in self.counts.items() if n > self.floor}
            self.counts = Counter(kept)

    def ranked(self, least: int) -> list[str]:
        """Symbols that occur often enough, most frequent first, ties in the order of their code
        points."""
        found = [s for s, n in self.counts.items() if n >= least]
        return sorted(found, key=lambda s: (-self.counts[s], s))
