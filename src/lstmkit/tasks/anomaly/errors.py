"""From errors to scores: what is typical of each series, and how errors go together.

The errors of prediction and reconstruction, in units of what is typical, are judged together by
Mahalanobis' distance (1936): their covariance is estimated on the training rows, shrunk after
Ledoit & Wolf (2004), and again without the rows that it finds farthest, so that anomalies in the
training do not pass for normal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lstmkit.calibration.tails import Tail
from lstmkit.errors import require
from lstmkit.tasks.anomaly import program
from lstmkit.tasks.anomaly.data import Part, run
from lstmkit.tasks.anomaly.features import Geometry
from lstmkit.tasks.anomaly.scores import LEAST_SLOPES

TYPICAL = 0.9  # quantile of absolute errors that is their unit
LEAST_ERROR = 1e-2  # of a channel's scale: less is no error; all of it where nothing ever changed
FARTHEST_SHARE = 0.02  # of the rows that the second estimate leaves out
CLIP = 6.0  # units at which errors enter the covariance
RIDGE = 0.05
MOST_ROWS = 200_000  # that a covariance is estimated from


def learn_scale(
    shape: Geometry,
    weights: Mapping[str, np.ndarray],
    options: Mapping[str, Any],
    parts: Sequence[Part],
) -> tuple[dict[str, np.ndarray], list[Tail]]:
    """What the errors on `parts` say: weights of the whole program, the tails of its distances.

    Typical errors and covariance come from all rows, typical distances and their tails from those
    that the network did not learn from.
    """
    made = program.raw(shape, weights, options)
    found = [run(made, shape, part) for part in parts]
    unit = error_units(shape, parts, found)
    each = [f["errors"] / unit[p.number] for f, p in zip(found, parts, strict=True)]
    whole = {**weights, "error_scale": unit, **whitening(np.concatenate(each))}
    whole["typical"] = np.ones((len(shape.ids) + 1, program.MEASURES), np.float32)
    made = program.detector(shape, whole, options)
    found = [run(made, shape, part) for part in parts]
    whole["typical"] = typical_distances(shape, parts, [f["distances"] for f in found])
    held = [
        held_rows(f["distances"] / whole["typical"][p.number], p)
        for f, p in zip(found, parts, strict=True)
    ]
    each_measure = zip(np.concatenate(held).T, LEAST_SLOPES, strict=True)
    return whole, [Tail.fit(column, least) for column, least in each_measure]


def error_units(
    shape: Geometry, parts: Sequence[Part], found: Sequence[Mapping[str, np.ndarray]]
) -> np.ndarray:
    """The unit of each series' errors, (S + 1, E) float32; row 0 for unknown series."""
    E = found[0]["errors"].shape[1]
    units = np.full((len(shape.ids) + 1, E), LEAST_ERROR, np.float32)
    for part, one in zip(parts, found, strict=True):
        known = np.tile(one["known"] > 0, E // len(shape.channels))
        errors = np.where(known, np.abs(one["errors"]), np.nan)
        some = known.any(0)
        if some.any():
            high = np.nanquantile(errors[:, some], TYPICAL, axis=0)
            units[part.number, some] = np.maximum(high, LEAST_ERROR)
        still = np.nanmin(part.values, 0) == np.nanmax(part.values, 0)
        units[part.number, np.tile(still, E // len(still))] = 1.0
    units[0] = np.median(units[1:], axis=0)
    return units


def whitening(errors: np.ndarray) -> dict[str, np.ndarray]:
    """W (E, E) with W^T W the inverse covariance of errors (n, E): weights `whiten`, `unwhiten`."""
    require("sklearn", "train")
    from sklearn.covariance import ledoit_wolf

    every = max(1, len(errors) // MOST_ROWS)
    z = np.clip(errors[::every], -CLIP, CLIP).astype(np.float64)
    for _ in range(2):
        covariance = np.atleast_2d(ledoit_wolf(z)[0]) + RIDGE * np.eye(z.shape[1])
        factor = np.linalg.cholesky(np.linalg.inv(covariance)).T
        far = np.square(z @ factor.T).sum(1)
        z = z[far <= np.quantile(far, 1 - FARTHEST_SHARE)]
    factor = factor.astype(np.float32)
    return {"whiten.weight": factor, "unwhiten.weight": np.ascontiguousarray(factor.T)}


def typical_distances(
    shape: Geometry, parts: Sequence[Part], distances: Sequence[np.ndarray]
) -> np.ndarray:
    """The median distances of each series on rows not learnt from, (S + 1, 3) float32."""
    found = np.ones((len(shape.ids) + 1, program.MEASURES), np.float32)
    for part, distance in zip(parts, distances, strict=True):
        held = held_rows(distance, part)
        if len(held):
            found[part.number] = np.maximum(np.median(held, 0), 1e-3)
    found[0] = np.median(found[1:], axis=0)
    return found


def held_rows(distances: np.ndarray, part: Part) -> np.ndarray:
    """The distances of observed rows that the network did not learn from."""
    seen = ~np.isnan(part.values).all(1)
    seen[: part.cut] = False
    found: np.ndarray = distances[seen]
    return found
