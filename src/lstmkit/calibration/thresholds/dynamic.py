"""The nonparametric dynamic threshold of Hundman et al. (2018, KDD), section 3.2.

Over a window of scores, the level is mean + z deviations for the z whose removal of what lies above
takes most from mean and deviation, for the fewest rows and runs of rows above it. Runs whose peak
is less than a share `prune` above the next lower one are taken back. As rows come, the level is
computed anew every `every` rows from the last `window` scores.
"""

from __future__ import annotations

import numpy as np

from lstmkit.calibration.thresholds.base import Threshold, share
from lstmkit.errors import UserError

FACTORS = np.arange(2.5, 12.0, 0.5)  # z, as the paper's code tries them
MOST_ABOVE, MOST_RUNS = 0.5, 5  # share of rows, and runs, above a level worth trying


class Dynamic(Threshold):
    """Mean and deviations of the last rows.

    Args:
        window: scores that are looked at.
        every: rows after which the level is computed again.
        prune: share by which the peak of a run must exceed the next lower one.
    """

    STATE = ("level", "ring", "place", "filled", "since")

    def __init__(self, window: int = 2000, every: int = 50, prune: float = 0.13) -> None:
        if window < 50 or every < 1:
            raise UserError("a window of scores is too short", got=f"{window}", expected="from 50")
        self.window, self.every, self.prune = int(window), int(every), share("prune", prune)

    def _fit(self, scores: np.ndarray, starts: np.ndarray) -> None:
        known = scores[~np.isnan(scores)][-self.window :]
        self.ring = np.zeros(self.window)
        self.ring[: len(known)] = known
        self.filled, self.place = len(known), len(known) % self.window
        self.since = 0
        self.level = self._compute()

    def _next(self, score: float, alarm: bool) -> None:
        self.ring[self.place] = score
        self.place = (self.place + 1) % self.window
        self.filled = min(self.filled + 1, self.window)
        self.since += 1
        if self.since >= self.every:
            self.since = 0
            self.level = self._compute()

    def _compute(self) -> float:
        first = self.place if self.filled == self.window else 0
        return dynamic_level(np.roll(self.ring, -first)[: self.filled], self.prune)


def dynamic_level(scores: np.ndarray, prune: float) -> float:
    """The level of scores (n,) in their order."""
    mean, deviation = float(scores.mean()), float(scores.std())
    fallback = float(max(scores.max(), mean + FACTORS[-1] * deviation))
    if deviation <= 0:
        return fallback
    best, level = 0.0, fallback
    for z in FACTORS:
        epsilon = mean + z * deviation
        above = scores > epsilon
        runs = int((np.diff(above, prepend=False) & above).sum())
        if not runs or runs > MOST_RUNS or above.mean() > MOST_ABOVE:
            continue
        rest = scores[~above]
        gain = (mean - rest.mean()) / mean if mean > 0 else 0.0
        gain += (deviation - rest.std()) / deviation
        found = gain / (runs**2 + above.sum())
        if found >= best:
            best, level = float(found), float(epsilon)
    return max(level, _pruned(scores, level, prune))


def _pruned(scores: np.ndarray, level: float, prune: float) -> float:
    """The level above the runs whose peaks stand out too little."""
    above = scores > level
    if not above.any():
        return level
    begins = np.flatnonzero(np.diff(above, prepend=False) & above)
    peaks = np.sort(np.maximum.reduceat(np.where(above, scores, -np.inf), begins))[::-1]
    steps = np.append(peaks, scores[~above].max() if (~above).any() else level)
    drops = (steps[:-1] - steps[1:]) / np.maximum(np.abs(steps[:-1]), 1e-12)
    kept = np.flatnonzero(drops >= prune)
    return float(steps[0]) if not len(kept) else float(max(level, steps[kept[-1] + 1]))
