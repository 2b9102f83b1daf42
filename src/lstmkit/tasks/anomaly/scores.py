"""One score of several measures, shared out among channels. No torch."""

from __future__ import annotations

import numpy as np

LEAST_SLOPES = (0.05, 0.1, 0.2)  # of their tails: neighbours are the more alike
HANDICAP = np.array([1.0, 0.0, 1.0])  # of the score now, lasting and leaning


def joined(scores: np.ndarray) -> np.ndarray:
    """One score (n,) of those of the measures (n, 3): the largest, what is now or leans being heard
    only from HANDICAP on, since what lasts is the surer sign."""
    found: np.ndarray = np.maximum((scores - HANDICAP).max(1), 0.0)
    return found


def shared(score: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """A score (n,) shared out by what each channel has in it, (n, C)."""
    total = parts.sum(1, keepdims=True)
    share = np.where(total > 0, parts / np.where(total > 0, total, 1), 1 / parts.shape[1])
    found: np.ndarray = share * score[:, None]
    return found
