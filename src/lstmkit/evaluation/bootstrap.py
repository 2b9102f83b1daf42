"""Percentile bootstrap intervals (Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979).

Units (series, windows, files) are drawn with replacement, as many as there are, again and again;
the interval holds the middle `level` of the figures that result. Units must be independent of each
other: draw series and not their rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lstmkit.errors import UserError

BLOCK = 1 << 20  # draws held in memory at a time


def interval(
    units: ArrayLike | tuple[ArrayLike, ArrayLike],
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Lower and upper end of the interval of a mean, or of a ratio of sums.

    Args:
        units: one value a unit (n,), for their mean; or a tuple of numerators (n,) and
            denominators (n,), for sum(numerators) / sum(denominators).
        level: the share of resampled figures that the interval holds, between 0 and 1.
        resamples: how many are drawn.
        seed: the same seed gives the same interval.

    Returns:
        The interval; (nan, nan) with no units. Resamples whose denominators add up to 0 have no
        figure and do not count.

    Raises:
        UserError: shapes that do not fit, a value that is not finite, or a level out of range.
    """
    numerators, denominators = _terms(units)
    if not 0 < level < 1:
        raise UserError("the level is out of range", got=f"{level}", expected="between 0 and 1")
    if resamples < 1:
        raise UserError("too few resamples", got=f"{resamples}", expected="1 or more")
    if not len(numerators):
        return float("nan"), float("nan")
    figures = np.concatenate(list(_figures(numerators, denominators, resamples, seed)))
    figures = figures[~np.isnan(figures)]
    if not len(figures):
        return float("nan"), float("nan")
    tail = (1 - level) / 2
    low, high = np.quantile(figures, [tail, 1 - tail])
    return float(low), float(high)


def _terms(units: Any) -> tuple[np.ndarray, np.ndarray]:
    """Numerators and denominators; those of a mean are the values and ones."""
    if isinstance(units, tuple):
        numerators, denominators = (np.asarray(part, float) for part in units)
    else:
        numerators = np.asarray(units, float)
        denominators = np.ones_like(numerators)
    if numerators.ndim != 1 or numerators.shape != denominators.shape:
        raise UserError(
            "cannot resample these units",
            got=f"shapes {numerators.shape} and {denominators.shape}",
            expected="(n,), or two of the same (n,)",
        )
    if not (np.isfinite(numerators).all() and np.isfinite(denominators).all()):
        raise UserError("cannot resample units whose values are not finite")
    return numerators, denominators


def _figures(
    numerators: np.ndarray, denominators: np.ndarray, resamples: int, seed: int
) -> Iterator[np.ndarray]:
    """The resampled figures in parts; however many the units, BLOCK draws are held at most."""
    generator = np.random.default_rng(seed)
    n = len(numerators)
    rows = max(1, BLOCK // n)
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        top, bottom = np.zeros(count), np.zeros(count)
        for drawn in range(0, n, BLOCK):
            chosen = generator.integers(n, size=(count, min(BLOCK, n - drawn)))
            top += numerators[chosen].sum(1)
            bottom += denominators[chosen].sum(1)
        yield np.divide(top, bottom, out=np.full(count, np.nan), where=bottom != 0)
