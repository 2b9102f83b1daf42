"""The time since the row before, where rows are events at any time (numpy only)."""

from __future__ import annotations

import numpy as np

from lstmkit.readers.covariates import Covariate

LIMIT = 8.0  # of the logarithm: a factor of 3000 either way
SECOND = np.timedelta64(1, "s")


def covariate(scale: float, name: str = "gap") -> Covariate:
    """The generated column of a table whose median gap is `scale` seconds."""
    return Covariate(name, "known", scale=scale)


def median_gap(moments: np.ndarray, first: np.ndarray) -> float:
    """Seconds between neighbours, the median; series begin at rows `first`.

    Args:
        moments: (n,) datetime64[us], sorted within each series; one of them has two rows.
    """
    apart = np.diff(moments) / SECOND
    inside = np.ones(len(apart), bool)
    inside[first[first > 0] - 1] = False
    return float(np.median(apart[inside]))


def log_gaps(moments: np.ndarray, first: np.ndarray, scale: float) -> np.ndarray:
    """`log_gap` of each row (n,), float32; 0 at rows `first`, where series begin."""
    apart = np.diff(moments, prepend=moments[:1]) / SECOND
    apart[first] = scale
    found = np.log(np.maximum(apart, 1e-6) / scale)
    return np.clip(found, -LIMIT, LIMIT).astype(np.float32)


def log_gap(previous: np.datetime64 | None, moment: np.datetime64 | None, scale: float) -> float:
    """Logarithm of the time between two rows in units of `scale` seconds, from -8 to 8.

    0 for the first row of a series, where `previous` is None.
    """
    if previous is None or moment is None:
        return 0.0
    pair = np.array([previous, moment], "datetime64[us]")
    return float(log_gaps(pair, np.array([0]), scale)[1])
