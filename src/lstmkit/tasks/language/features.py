"""What a reader of text works with: its tokenizer and where it stands; no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

PIECE = 256  # tokens that are stepped in one call


class Reading(NamedTuple):
    """A text as the model read it: tokens (n,) int64, and log-probabilities (n,) float32, natural,
    of each given all before it."""

    tokens: np.ndarray
    log_probs: np.ndarray


def log_probs(logits: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """The log-probability (n,) of each token under its row of logits (n, V)."""
    most = logits.max(1)
    whole = np.log(np.exp(logits - most[:, None]).sum(1, dtype=np.float64))
    own = logits[np.arange(len(tokens)), tokens].astype(np.float64)
    found: np.ndarray = (own - most - whole).astype(np.float32)
    return found


def before(tokens: np.ndarray, pending: int) -> np.ndarray:
    """What stands before each token: (n,) the same moved by one."""
    return np.concatenate([[pending], tokens[:-1]]).astype(np.int64)


def in_pieces(tokens: np.ndarray, size: int = PIECE) -> Iterator[np.ndarray]:
    """Tokens in turn, so many at a time."""
    for first in range(0, len(tokens), size):
        yield tokens[first : first + size]


class StopStrings:
    """Text that is told piece by piece up to the first of some strings.

    The end of a piece that may be the beginning of a stop string is held back.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self.stops = tuple(s for s in stops if s)
        self.held, self.stopped = "", False

    def feed(self, piece: str) -> str:
        """What can be told after this piece."""
        text = self.held + piece
        places = [at for at in (text.find(s) for s in self.stops) if at >= 0]
        if places:
            self.held, self.stopped = "", True
            return text[: min(places)]
        cut = len(text) - self._open(text)
        self.held = text[cut:]
        return text[:cut]

    def finish(self) -> str:
        """What was held back."""
        held, self.held = self.held, ""
        return held

    def _open(self, text: str) -> int:
        """Characters at the end that begin a stop string."""
        longest = max((len(s) - 1 for s in self.stops), default=0)
        for n in range(min(longest, len(text)), 0, -1):
            if any(s.startswith(text[-n:]) for s in self.stops):
                return n
        return 0
