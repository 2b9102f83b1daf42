"""The forecast that any model must beat: the season before, again.

Quantiles are those of the series' own seasonal differences, over as many seasons as the step lies
ahead, so that the baseline can be scored as a probabilistic forecast too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def seasonal_naive(values: np.ndarray, season: int, horizon: int) -> np.ndarray:
    """The last observed value of the same phase: values (n,), NaN where missing -> (H,).

    A phase that was never observed gets the last observed value; 0 where there is none.
    """
    padded = np.concatenate([np.full(-len(values) % season, np.nan), values])
    filled = _carry_forward(padded.reshape(-1, season))[-1] if len(values) else np.full(season, 0.0)
    observed = values[~np.isnan(values)]
    filled = np.where(np.isnan(filled), observed[-1] if len(observed) else 0.0, filled)
    return np.resize(filled, horizon)


def _carry_forward(table: np.ndarray) -> np.ndarray:
    """Fill NaN (seasons, m) with the value of the season before."""
    row = np.where(np.isnan(table), 0, np.arange(len(table))[:, None])
    latest = np.maximum.accumulate(row, axis=0)
    return np.take_along_axis(table, latest, axis=0)


def seasonal_naive_quantiles(
    values: np.ndarray, season: int, horizon: int, probabilities: Sequence[float]
) -> np.ndarray:
    """Seasonal naive plus the quantiles of its own in-sample errors -> (H, Q)."""
    spread = np.zeros((horizon, len(probabilities)))
    for block in range(-(-horizon // season)):
        rows = slice(block * season, (block + 1) * season)
        error = _errors(values, rows.stop)
        if len(error):
            spread[rows] = _quantiles(error, probabilities)
        elif block:
            spread[rows] = spread[rows.start - 1]
    answer: np.ndarray = seasonal_naive(values, season, horizon)[:, None] + spread
    return answer


def _quantiles(values: np.ndarray, probabilities: Sequence[float]) -> np.ndarray:
    """`np.quantile` without its overhead, which is most of scoring many series."""
    ordered = np.sort(values)
    place = np.asarray(probabilities) * (len(ordered) - 1)
    low = place.astype(int)
    high = np.minimum(low + 1, len(ordered) - 1)
    found: np.ndarray = ordered[low] + (place - low) * (ordered[high] - ordered[low])
    return found


def _errors(values: np.ndarray, lag: int) -> np.ndarray:
    """Observed differences of values (n,) over `lag` rows."""
    error = values[lag:] - values[:-lag] if len(values) > lag else values[:0]
    return error[~np.isnan(error)]
