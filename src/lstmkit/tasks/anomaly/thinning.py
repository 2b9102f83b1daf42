"""Many rows as few points that lose no extreme: the lowest and the highest of each bucket."""

from __future__ import annotations

import numpy as np


def buckets(rows: int, most: int) -> np.ndarray:
    """(B + 1,) edges of at most `most` buckets of nearly equal size, none empty."""
    return np.linspace(0, rows, min(rows, most) + 1).astype(np.int64)


def highest(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(B, ...) of values (n, ...): the highest of each bucket, NaN only where all are missing."""
    return _reduced(np.fmax, values, edges)


def lowest(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(B, ...) of values (n, ...): the lowest of each bucket, NaN only where all are missing."""
    return _reduced(np.fmin, values, edges)


def extremes(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(2 B, ...) of values (n, ...): the lowest and the highest of each bucket, as they came.

    Where each bucket is one row, (n, ...): the values themselves.
    """
    if len(edges) == len(values) + 1:
        return values
    low, high = lowest(values, edges), highest(values, edges)
    later = _first_at(values, low, edges) > _first_at(values, high, edges)
    pairs = np.stack([np.where(later, high, low), np.where(later, low, high)], axis=1)
    return pairs.reshape(-1, *values.shape[1:])


def places(time: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(2 B,) float64 times of `extremes`: a quarter and three quarters into each bucket."""
    if len(edges) == len(time) + 1:
        return time
    rows, size = edges[:-1] - 0.5, np.diff(edges)
    found = np.stack([rows + size * 0.25, rows + size * 0.75], axis=1).ravel()
    return np.interp(found, np.arange(len(time)), time)


def _first_at(values: np.ndarray, found: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(B, ...) the first row of each bucket that holds `found`; the last where none does."""
    row = np.arange(len(values)).reshape(-1, *[1] * (values.ndim - 1))
    there = values == np.repeat(found, np.diff(edges), axis=0)
    return _reduced(np.fmin, np.where(there, row, len(values)), edges)


def _reduced(best: np.ufunc, values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    if not len(values):
        return np.asarray(values, np.float64)
    return np.asarray(best.reduceat(values, edges[:-1], axis=0), np.float64)
