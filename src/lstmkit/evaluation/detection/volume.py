"""Volumes under the surface: VUS-PR and VUS-ROC (Paparrizos et al. 2022, PVLDB 15).

Labels are widened by a buffer whose weight falls from 1 at the edge of an event, so that a score
that is a little early or late is not all wrong; areas under the curves are averaged over buffers of
0, 1, ... `window` rows. The details (250 thresholds, existence reward, half weights) are those of
the authors' benchmark TSB-AD 1.5, with which the numbers here agree to 1e-6.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

THRESHOLDS = 250

Events = list[tuple[int, int]]


class Volume(NamedTuple):
    """VUS-PR and VUS-ROC."""

    pr: float
    roc: float


def events_of(labels: np.ndarray) -> Events:
    """First and last row of each run of rows (n,) that are not 0."""
    there = np.concatenate([[False], np.asarray(labels) > 0, [False]])
    edges = np.flatnonzero(np.diff(there.astype(np.int8)))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def volume(scores: np.ndarray, labels: np.ndarray, window: int) -> Volume:
    """Of scores (n,) and labels (n,) 0 or 1, no NaN, at least one of each label; NaN without."""
    events = events_of(labels)
    rows = len(scores)
    if not events or sum(b - a + 1 for a, b in events) == rows:
        return Volume(float("nan"), float("nan"))
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    cuts = ordered[np.linspace(0, rows - 1, THRESHOLDS).astype(int)]
    counts = np.searchsorted(-ordered, -cuts, side="right")  # rows with at least each cut
    inside = labels[order] > 0
    found = [
        _areas(scores, order, inside, events, cuts, counts, width) for width in range(window + 1)
    ]
    roc, pr = np.mean(found, axis=0)
    return Volume(float(pr), float(roc))


def _areas(
    scores: np.ndarray,
    order: np.ndarray,
    inside: np.ndarray,
    events: Events,
    cuts: np.ndarray,
    counts: np.ndarray,
    width: int,
) -> tuple[float, float]:
    """Areas under ROC and precision-recall with a buffer of `width` rows."""
    weights = widened(len(scores), events, width)[order]
    hits = np.cumsum(weights)[counts - 1]
    soft = np.cumsum(np.where(inside, 0.0, weights))[counts - 1]
    positives = float(inside.sum())
    weight = (2 * positives + soft) / 2  # half the rows of the events, half what was found
    recall = np.minimum(hits / weight, 1) * existence(scores, events, cuts, width)
    fallout = (counts - hits) / (len(scores) - weight)
    tpr, fpr = np.concatenate([[0], recall, [1]]), np.concatenate([[0], fallout, [1]])
    roc = float((np.diff(fpr) * (tpr[1:] + tpr[:-1]) / 2).sum())
    return roc, float((np.diff(tpr[:-1]) * hits / counts).sum())


def widened(rows: int, events: Events, width: int) -> np.ndarray:
    """Labels (rows,) that fall beside each event over half of `width` rows, at most 1."""
    edges, away = np.array(events), np.arange(1, width // 2 + 1)
    beside = np.concatenate([edges[:, :1] - away, edges[:, 1:] + away])
    weights = np.broadcast_to(np.sqrt(1 - away / max(width, 1)), beside.shape)
    there = (beside >= 0) & (beside < rows)
    found = np.bincount(beside[there], weights[there], minlength=rows)
    starts, stops = np.bincount(edges[:, 0], minlength=rows + 1), np.bincount(edges[:, 1] + 1)
    starts[: len(stops)] -= stops
    return np.minimum(found + np.cumsum(starts)[:rows], 1.0)


def existence(scores: np.ndarray, events: Events, cuts: np.ndarray, width: int) -> np.ndarray:
    """The share of the events, buffers included, in which a score reaches each cut (k,)."""
    edges = np.array(buffered(len(scores), events, width))
    bounds = np.column_stack([edges[:, 0], edges[:, 1] + 1]).ravel()
    peaks = np.sort(np.maximum.reduceat(np.append(scores, -np.inf), bounds)[::2])
    found: np.ndarray = 1 - np.searchsorted(peaks, cuts, side="left") / len(peaks)
    return found


def buffered(rows: int, events: Events, width: int) -> Events:
    """The events with their buffers, those that touch as one."""
    edges, reach = np.array(events), width // 2
    apart = edges[:-1, 1] + reach < edges[1:, 0] - reach
    first = np.maximum(edges[np.append(True, apart), 0] - reach, 0)
    last = np.minimum(edges[np.append(apart, True), 1] + reach, rows - 1)
    return list(zip(first.tolist(), last.tolist(), strict=True))
