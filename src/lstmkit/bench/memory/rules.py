"""When a task counts as solved: how many sequences may be wrong, and how large the mean error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Rule:
    """What must hold for `of` successive sequences.

    Attributes:
        of: how many.
        tolerance: a sequence with an error of so much or more is wrong.
        wrong: so many may be.
        mean: the mean error must be below.
    """

    of: int
    tolerance: float = np.inf
    wrong: int = 0
    mean: float = np.inf

    def count(self, errors: np.ndarray) -> int:
        """How many sequences are wrong; an error that is no number is."""
        return int((~(errors < self.tolerance)).sum())

    def holds(self, errors: np.ndarray) -> bool:
        """Whether the last `of` errors (N,) satisfy it; never with fewer."""
        last = errors[-self.of :]
        enough = len(last) == self.of and self.count(last) <= self.wrong
        return bool(enough and np.mean(last) < self.mean)


@dataclass(frozen=True)
class Criterion:
    """When learning ends, and what the network must then do with sequences it never saw.

    Attributes:
        stop: holds for the training sequences as they pass ("training"), or for fresh ones drawn
            every `every` sequences ("fresh"), or for two fixed sets of strings ("sets").
        test: for the fresh sequences after learning.
    """

    stop: Rule
    test: Rule
    where: Literal["training", "fresh", "sets"] = "training"
    every: int = 1000
