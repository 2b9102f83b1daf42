"""All measures of a detector, in the order in which a report shows them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lstmkit.errors import UserError
from lstmkit.evaluation.detection import events
from lstmkit.evaluation.detection.volume import events_of, volume

LONGEST_WINDOW = 125  # rows of the widest buffer, TSB-AD's own where it finds no period

Many = np.ndarray | Sequence[np.ndarray]


def measures(
    scores: Many,
    labels: Many,
    *,
    alarms: Many | None = None,
    rows_per_day: float | None = None,
    window: int | None = None,
) -> dict[str, float]:
    """Measures by name: of all thresholds, and where there are alarms, of these.

    Rows without a score or a label are left out. Areas are means over the series that have both
    labels, as on TSB-AD's board; events are counted over all series together.

    Args:
        scores, labels, alarms: (n,), or lists of such, one a series; labels 1 or 0.
        rows_per_day: of a series, for false alarms a day.
        window: rows of the widest buffer of VUS; the median length of the labelled events, at most
            LONGEST_WINDOW, where left out.

    Raises:
        UserError: lengths that differ, labels other than 0, 1 and NaN, or no labelled event.
    """
    parts = _known(_listed(scores), _listed(labels), None if alarms is None else _listed(alarms))
    all_events = [e for _, label, _ in parts for e in events_of(label)]
    if not all_events:
        raise UserError("no row is labelled as an anomaly", expected="labels of 0 and 1")
    if window is None:
        window = min(int(np.median([b - a + 1 for a, b in all_events])), LONGEST_WINDOW)
    areas = []
    for score, label, _ in parts:
        found = volume(score, label, window)
        areas.append([found.pr, found.roc, auc_pr(score, label), auc_roc(score, label)])
    names = ("vus_pr", "vus_roc", "auc_pr", "auc_roc")
    result = {name: _mean(each) for name, each in zip(names, zip(*areas, strict=True), strict=True)}
    if alarms is None:
        return result
    alarm, truth = [a for _, _, a in parts], [y for _, y, _ in parts]
    result["range_f1"] = events.range_f1(alarm, truth)
    result |= events.found_events(alarm, truth, rows_per_day)
    return {**result, "inflated_f1": events.inflated_f1(alarm, truth)}


def _mean(values: Sequence[float]) -> float:
    """Of those that are known; NaN where none is."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _listed(given: Many) -> list[np.ndarray]:
    if isinstance(given, np.ndarray) or (len(given) and np.ndim(given[0]) == 0):
        given = [np.asarray(given)]
    return [np.asarray(one, np.float64) for one in given]


def _known(
    scores: list[np.ndarray], labels: list[np.ndarray], alarms: list[np.ndarray] | None
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Rows with a score and a label; without alarms, none alarms."""
    given = [np.zeros(len(s)) for s in scores] if alarms is None else alarms
    if not len(scores) == len(labels) == len(given):
        raise UserError(
            "scores, labels and alarms are of other numbers of series",
            got=f"{len(scores)}, {len(labels)} and {len(given)} series",
        )
    found = []
    for score, label, alarm in zip(scores, labels, given, strict=True):
        if not len(score) == len(label) == len(alarm):
            raise UserError(
                "scores, labels and alarms differ in length",
                got=f"{len(score)}, {len(label)} and {len(alarm)} rows",
            )
        if not np.isin(label[~np.isnan(label)], (0, 1)).all():
            raise UserError(
                "labels are not 0 and 1",
                got=f"values from {np.nanmin(label):g} to {np.nanmax(label):g}",
                expected="1 for an anomalous row, 0 for a normal one, NaN where unknown",
            )
        rows = ~np.isnan(score) & ~np.isnan(label)
        found.append((score[rows], label[rows], alarm[rows].astype(bool)))
    return found


def auc_pr(scores: np.ndarray, labels: np.ndarray) -> float:
    """Average precision: the mean precision at each anomalous row, ties as one threshold."""
    hits, counts = _ladder(scores, labels)
    if not len(hits) or not hits[-1]:
        return float("nan")
    steps = np.diff(hits, prepend=0)
    return float((steps * hits / counts).sum() / hits[-1])


def auc_roc(scores: np.ndarray, labels: np.ndarray) -> float:
    """The probability that an anomalous row has the higher score than a normal one."""
    hits, counts = _ladder(scores, labels)
    if not len(hits) or not 0 < hits[-1] < counts[-1]:
        return float("nan")
    tpr = np.concatenate([[0], hits / hits[-1]])
    fpr = np.concatenate([[0], (counts - hits) / (counts[-1] - hits[-1])])
    return float((np.diff(fpr) * (tpr[1:] + tpr[:-1]) / 2).sum())


def _ladder(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Anomalous rows and all rows at or above each different score, highest first."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]  # compared, not subtracted: scores may be infinite
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], len(scores) > 0))
    return np.cumsum(labels[order] > 0)[last], last + 1
