"""How good forecasts are; every metric ignores missing truths.

Truth is (W, H) and quantiles (W, H, Q) for W windows. sMAPE and MASE are those of the M4
competition (Makridakis et al. 2020): sMAPE in per cent of |y| + |y_hat| doubled; MASE scaled by the
in-sample mean absolute seasonal difference of the series, and so MSIS, the mean score of the 95 %
interval (Gneiting & Raftery 2007).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

INTERVAL = (0.025, 0.975)  # of MSIS
COVERAGES = {"coverage_80": (0.1, 0.9), "coverage_95": (0.025, 0.975)}
NAMES = ("smape", "mase", "mae", "rmse", "wql", "msis", *COVERAGES)


class Terms(NamedTuple):
    """A metric as sums over windows: sum(numerators) / sum(denominators), each (W,)."""

    numerators: np.ndarray
    denominators: np.ndarray

    def value(self) -> float:
        """The metric; NaN where nothing could be scored."""
        total = float(self.denominators.sum())
        return float(self.numerators.sum()) / total if total else float("nan")


def seasonal_scale(values: np.ndarray, season: int) -> float:
    """Mean |y_t - y_(t-m)| over the observed pairs of values (n,); NaN where there is no pair."""
    difference = np.abs(values[season:] - values[:-season]) if len(values) > season else values[:0]
    difference = difference[~np.isnan(difference)]
    return float(difference.mean()) if len(difference) else float("nan")


def terms(
    truth: np.ndarray,
    point: np.ndarray,
    quantiles: np.ndarray,
    probabilities: Sequence[float],
    scale: np.ndarray,
) -> dict[str, Terms]:
    """Each metric's terms per window; point (W, H), `scale` (W,) the window's seasonal scale.

    `rmse` holds squared errors: its value is the mean square. A window whose scale is 0 or NaN
    (a constant series) does not count for MASE.
    """
    seen = ~np.isnan(truth)
    y = np.where(seen, truth, 0.0)
    error = np.where(seen, np.abs(point - y), 0.0)
    count = seen.sum(1).astype(float)
    found = {
        "smape": _per_window(_smape(error, point, y), count),
        "mase": _mase(error, count, scale),
        "mae": Terms(error.sum(1), count),
        "rmse": Terms((error**2).sum(1), count),
        "wql": _wql(y, quantiles, probabilities, seen),
    }
    found |= _msis(y, quantiles, probabilities, seen, scale)
    return {**found, **_coverages(y, quantiles, probabilities, seen, count)}


def _smape(error: np.ndarray, point: np.ndarray, y: np.ndarray) -> np.ndarray:
    size = np.abs(point) + np.abs(y)
    return 200 * np.divide(error, size, out=np.zeros_like(error), where=(size > 0) & (error > 0))


def _per_window(summands: np.ndarray, count: np.ndarray) -> Terms:
    """The mean over windows of each window's mean."""
    some = count > 0
    return Terms(np.where(some, summands.sum(1) / np.maximum(count, 1), 0.0), some.astype(float))


def _mase(error: np.ndarray, count: np.ndarray, scale: np.ndarray) -> Terms:
    usable = (count > 0) & (np.nan_to_num(scale) > 0)
    mean = error.sum(1) / np.maximum(count, 1)
    scaled = np.divide(mean, scale, out=np.zeros_like(mean), where=usable)
    return Terms(scaled, usable.astype(float))


def _wql(
    y: np.ndarray, quantiles: np.ndarray, probabilities: Sequence[float], seen: np.ndarray
) -> Terms:
    """Twice the pinball loss, averaged over quantiles, relative to the sum of |y|."""
    p = np.asarray(probabilities)
    distance = y[..., None] - quantiles
    pinball = 2 * np.maximum(p * distance, (p - 1) * distance).mean(-1)
    return Terms(np.where(seen, pinball, 0.0).sum(1), np.abs(y).sum(1))


def _msis(
    y: np.ndarray,
    quantiles: np.ndarray,
    probabilities: Sequence[float],
    seen: np.ndarray,
    scale: np.ndarray,
) -> dict[str, Terms]:
    """Width of the 95 % interval, and 40 times what a truth lies outside; {} without its ends."""
    position = {round(p, 9): k for k, p in enumerate(probabilities)}
    if not set(INTERVAL) <= set(position):
        return {}
    low, high = (quantiles[..., position[p]] for p in INTERVAL)
    outside = np.maximum(low - y, 0) + np.maximum(y - high, 0)
    each = np.where(seen, high - low + outside / INTERVAL[0], 0.0)
    return {"msis": _mase(each, seen.sum(1).astype(float), scale)}


def _coverages(
    y: np.ndarray,
    quantiles: np.ndarray,
    probabilities: Sequence[float],
    seen: np.ndarray,
    count: np.ndarray,
) -> dict[str, Terms]:
    """Share of truths inside each interval whose two quantiles there are."""
    found = {}
    position = {round(p, 9): k for k, p in enumerate(probabilities)}
    for name, (low, high) in COVERAGES.items():
        if low in position and high in position:
            inside = (y >= quantiles[..., position[low]]) & (y <= quantiles[..., position[high]])
            found[name] = Terms((inside & seen).sum(1).astype(float), count)
    return found


def summarise(found: Mapping[str, Terms]) -> dict[str, float]:
    """Terms to the figures of a report."""
    values = {name: term.value() for name, term in found.items()}
    return {**values, "rmse": float(np.sqrt(values["rmse"]))}
