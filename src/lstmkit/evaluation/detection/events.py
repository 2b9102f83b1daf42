"""What alarms found: range-based and event-wise precision and recall, delay, false alarms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lstmkit.evaluation.detection.volume import Events, events_of


def f1(precision: float, recall: float) -> float:
    """The harmonic mean; 0 where both are."""
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def overlap(ranges: Events, others: np.ndarray) -> list[float]:
    """The share of each range that lies in `others` (n,) bool, over the number of its pieces there
    (Tatbul et al. 2018: flat bias, cardinality 1/x, alpha 0)."""
    found = []
    for first, last in ranges:
        part = others[first : last + 1]
        pieces = int((np.diff(part.astype(np.int8), prepend=0) == 1).sum())
        found.append(float(part.mean()) / pieces if pieces else 0.0)
    return found


def range_f1(alarms: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> float:
    """F1 of range-based precision and recall over all series."""
    precision: list[float] = []
    recall: list[float] = []
    for alarm, label in zip(alarms, labels, strict=True):
        precision += overlap(events_of(alarm), label > 0)
        recall += overlap(events_of(label), alarm)
    return f1(float(np.mean(precision or [0.0])), float(np.mean(recall or [0.0])))


def found_events(
    alarms: Sequence[np.ndarray], labels: Sequence[np.ndarray], rows_per_day: float | None
) -> dict[str, float]:
    """Event by event: an event is found by any alarm in it; a run of alarms without any labelled
    row is false. The delay counts rows from the beginning of an event to its first alarm."""
    delays, missed, right, wrong, rows = [], 0, 0, 0, 0
    for alarm, label in zip(alarms, labels, strict=True):
        for first, last in events_of(label):
            hits = np.flatnonzero(alarm[first : last + 1])
            missed += not len(hits)
            delays += [int(hits[0])] if len(hits) else []
        for first, last in events_of(alarm):
            hit = bool((label[first : last + 1] > 0).any())
            right, wrong = right + hit, wrong + (not hit)
        rows += int((label == 0).sum())
    precision = right / (right + wrong) if right + wrong else 0.0
    recall = len(delays) / (len(delays) + missed) if delays or missed else 0.0
    found = {
        "event_f1": f1(precision, recall),
        "event_precision": precision,
        "event_recall": recall,
        "detection_delay": float(np.mean(delays)) if delays else float("nan"),
    }
    if rows_per_day:
        found["false_alarms_per_day"] = wrong / (rows / rows_per_day) if rows else float("nan")
    return found | {"missed_events": float(missed)}


def inflated_f1(alarms: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> float:
    """Point-adjusted F1: every row of an event counts as found if one is. It edits the alarms by
    the labels, and a random score does well by it (Kim et al. 2022); for comparison with old
    papers only."""
    hit = false = missed = 0
    for alarm, label in zip(alarms, labels, strict=True):
        adjusted = alarm.copy()
        for first, last in events_of(label):
            adjusted[first : last + 1] |= alarm[first : last + 1].any()
        hit += int((adjusted & (label > 0)).sum())
        false += int((adjusted & (label == 0)).sum())
        missed += int((~adjusted & (label > 0)).sum())
    return 2 * hit / (2 * hit + false + missed) if hit else 0.0
