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
    peaks = np.array([scores[a : b + 1].max() for a, b in buffered(len(scores), events, width)])
    existence = (peaks[None] >= cuts[:, None]).mean(1)
    recall = np.minimum(hits / weight, 1) * existence
    fallout = (counts - hits) / (len(scores) - weight)
    tpr, fpr = np.concatenate([[0], recall, [1]]), np.concatenate([[0], fallout, [1]])
    roc = float((np.diff(fpr) * (tpr[1:] + tpr[:-1]) / 2).sum())
    return roc, float((np.diff(tpr[:-1]) * hits / counts).sum())


def widened(rows: int, events: Events, width: int) -> np.ndarray:
    """Labels (rows,) that fall beside each event over half of `width` rows, at most 1."""
    found, reach = np.zeros(rows), width // 2
    for first, last in events:
        found[first : last + 1] += 1
        after = np.arange(last + 1, min(last + reach + 1, rows))
        found[after] += np.sqrt(1 - (after - last) / max(width, 1))
        before = np.arange(max(first - reach, 0), first)
        found[before] += np.sqrt(1 - (first - before) / max(width, 1))
    return np.minimum(found, 1.0)


def buffered(rows: int, events: Events, width: int) -> Events:
    """The events with their buffers, those that touch as one."""
    reach, found = width // 2, [events[0]]
    found[0] = (max(events[0][0] - reach, 0), events[0][1])
    for first, last in events[1:]:
        if found[-1][1] + reach < first - reach:
            found[-1] = (found[-1][0], found[-1][1] + reach)
            found.append((first - reach, last))
        else:
            found[-1] = (found[-1][0], last)
    found[-1] = (found[-1][0], min(found[-1][1] + reach, rows - 1))
    return found
