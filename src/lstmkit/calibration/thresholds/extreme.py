"""Peaks over threshold: the level that a share `risk` of normal rows exceeds (Siffer et al. 2017).

Scores beyond a high quantile exceed it by amounts that follow a generalised Pareto distribution
(Pickands 1975). It is fitted by probability-weighted moments (Hosking & Wallis 1987), which need no
search and do not fail; the level is its quantile. Streaming (SPOT), a score beyond the quantile is
one more excess, and the level moves. SPOT leaves out those above the level; without them the level
sinks (on 200,000 exponential scores to four times the risk), so they count here, cut off.
"""

from __future__ import annotations

import numpy as np

from lstmkit.calibration.thresholds.base import Threshold, share

HIGH = 0.98  # quantile beyond which scores are excesses
FEWEST_EXCESSES, MOST_EXCESSES = 10, 1000
REFIT_EVERY = 10  # excesses
FARTHEST = 1.5  # times the level's excess, at which an excess is cut off
SHAPES = (-0.5, 0.5)  # that the moments can tell


class ExtremeValue(Threshold):
    """POT, and SPOT as rows come.

    Args:
        risk: share of normal rows that may alarm.
        depth: subtract the mean of the last so many scores first (DSPOT); 0 does not.
    """

    STATE = (
        "level",
        "high",
        "excesses",
        "count",
        "total",
        "offset",
        "recent",
        "place",
        "filled",
        "waiting",
    )

    def __init__(self, risk: float = 1e-4, depth: int = 0) -> None:
        self.risk, self.depth = share("risk", risk), int(depth)

    def _fit(self, scores: np.ndarray, starts: np.ndarray) -> None:
        known = scores[~np.isnan(scores)]
        self.recent, self.place, self.filled = np.zeros(max(self.depth, 1)), 0, 0
        if self.depth:
            known = self._detrended(known)
        quantile = min(HIGH, 1 - FEWEST_EXCESSES / len(known))
        self.high = float(np.quantile(known, max(quantile, 0.5)))
        found = known[known > self.high] - self.high
        kept = found[-MOST_EXCESSES:]
        self.excesses = np.zeros(MOST_EXCESSES)
        self.excesses[: len(kept)] = kept
        self.count, self.total = len(found), len(known)
        self._refit()
        self._set()

    def _detrended(self, known: np.ndarray) -> np.ndarray:
        sums = np.concatenate([[0.0], np.cumsum(known)])
        ends = np.arange(len(known))
        begins = np.maximum(ends - self.depth, 0)
        means = (sums[ends] - sums[begins]) / np.maximum(ends - begins, 1)
        self.recent[: min(self.depth, len(known))] = known[-self.depth :]
        self.filled, self.place = min(self.depth, len(known)), len(known) % self.depth
        return (known - means)[1:]

    def _refit(self) -> None:
        """The excess of the level, from the excesses so far."""
        self.waiting = 0
        many, asked = min(self.count, MOST_EXCESSES), self.risk * self.total / max(self.count, 1)
        self.offset = pareto_quantile(self.excesses[:many], asked)

    def _set(self) -> None:
        base = self.high + (self.recent[: self.filled].mean() if self.filled else 0.0)
        self.level = float(base + self.offset)

    def _next(self, score: float, alarm: bool) -> None:
        mean = float(self.recent[: self.filled].mean()) if self.filled else 0.0
        excess = min(score - mean - self.high, FARTHEST * max(self.offset, 1e-12))
        self.total += 1
        if excess > 0:
            self.excesses[self.count % MOST_EXCESSES] = excess
            self.count += 1
            self.waiting += 1
        if self.depth and not alarm:
            self.recent[self.place] = score
            self.place = (self.place + 1) % self.depth
            self.filled = min(self.filled + 1, self.depth)
        if self.waiting >= REFIT_EVERY:
            self._refit()
        if self.waiting == 0 or self.depth:
            self._set()


def pareto_quantile(excesses: np.ndarray, share_above: float) -> float:
    """The excess that a share of them lies above, by a generalised Pareto distribution.

    0 where all excesses are alike or more than all of them are asked for.
    """
    if share_above >= 1 or not len(excesses):
        return 0.0
    x = np.sort(excesses)
    mean = float(x.mean())
    weights = 1 - (np.arange(len(x)) + 0.65) / len(x)  # plotting positions, Hosking & Wallis
    second = float((weights * x).mean())
    if mean <= 0 or mean - 2 * second <= 1e-12 * mean:
        return float(x[-1])
    shape = float(np.clip(2 - mean / (mean - 2 * second), *SHAPES))
    scale = mean * (1 - shape)
    if abs(shape) < 1e-6:
        return float(-scale * np.log(share_above))
    return float(scale / shape * (share_above**-shape - 1))
