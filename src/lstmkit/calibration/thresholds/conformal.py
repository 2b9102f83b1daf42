"""Conformal: a row alarms where its p-value among calibration scores is at most `alpha`.

If normal rows are exchangeable with the calibration scores, at most a share alpha of them alarm
(Vovk et al. 2005). With `rate`, alpha is steered so that the share holds although they are not
(Gibbs & Candes 2021): it falls with each alarm and rises with each row without one.
"""

from __future__ import annotations

import numpy as np

from lstmkit.calibration.thresholds.base import Threshold, share
from lstmkit.errors import UserError


class Conformal(Threshold):
    """A quantile of calibration scores.

    Args:
        alpha: share of normal rows that may alarm.
        rate: by how much of alpha one alarm moves it; 0 keeps it.
    """

    STATE = ("level", "sorted", "current")

    def __init__(self, alpha: float = 1e-3, rate: float = 0.0) -> None:
        self.alpha, self.rate = share("alpha", alpha), float(rate)
        if rate < 0:
            raise UserError("rate must not be negative", got=f"{rate:g}")

    @property
    def STEADY(self) -> bool:  # type: ignore[override]  # noqa: N802
        """Whether the level stays."""
        return self.rate == 0

    def _fit(self, scores: np.ndarray, starts: np.ndarray) -> None:
        self.sorted, self.current = np.sort(scores[~np.isnan(scores)]), self.alpha
        self.level = self._level()

    def _level(self) -> float:
        """The smallest score whose p-value, (1 + number at least as high) / (n + 1), is above the
        current alpha; where there are too few scores for it, beyond all of them."""
        n = len(self.sorted)
        allowed = int(np.floor(self.current * (n + 1))) - 1  # scores that may be as high
        if allowed < 0:
            spread = float(self.sorted[-1] - self.sorted[n // 2])
            return float(self.sorted[-1] + spread * np.log10(1 / (self.current * (n + 1))) / 2)
        return float(self.sorted[max(n - 1 - allowed, 0)])

    def _next(self, score: float, alarm: bool) -> None:
        if not self.rate:
            return
        self.current += self.rate * self.alpha * (self.alpha - alarm)
        self.current = float(np.clip(self.current, self.alpha * 1e-3, min(self.alpha * 1e2, 0.5)))
        self.level = self._level()
