"""A detector against labels, beside baselines; and what can be said of it without labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit import runtime
from lstmkit.errors import UserError
from lstmkit.evaluation import Report
from lstmkit.program import Program
from lstmkit.tasks.anomaly import assembly, baselines
from lstmkit.tasks.anomaly.data import Part
from lstmkit.tasks.anomaly.watch import Watch

if TYPE_CHECKING:
    from lstmkit.readers.tables import Channels
    from lstmkit.tasks.anomaly.estimator import AnomalyDetector

MEMORY = ("predict.weight", "context.weight")  # through which the LSTM's state is heard


@dataclass(frozen=True)
class Judged:
    """The rows of a series that are scored: from `begin` on, with labels (n,)."""

    series: Channels
    begin: int
    labels: np.ndarray


def report(
    detector: AnomalyDetector,
    data: Any,
    label: Any,
    alerts_per_day: float | None,
    adapt: bool | None,
) -> Report:
    """Scores on the rows that the detector has not seen.

    Raises:
        UserError: there are no labels; every row was learnt from; no anomaly is labelled.
    """
    from lstmkit.evaluation import detection

    if label is None:
        raise UserError(
            "there is nothing to score against", expected="labels", hint="--label is_anomaly"
        )
    table = detector.read(data, label)
    judged = unseen(detector, table.series)
    labels = [one.labels for one in judged]
    if not any((one == 1).any() for one in labels):
        raise UserError(
            "no row is labelled as an anomaly, so there is nothing to find",
            got=f"{sum(map(len, labels)):,} rows that were not learnt from",
            expected="some rows of 1",
        )
    rows = assembly.rows_per_day(detector)
    rule = detector.rule(alerts_per_day, adapt)
    scores, alarms, alerts = watched(detector, detector.program_, rule, judged)
    given: dict[str, Any] = {"rows_per_day": rows}
    metrics = detection.measures(scores, labels, alarms=alarms, **given)
    forgetful, _, _ = watched(detector, memoryless(detector.program_), rule, judged)
    others = _baselines(detector, judged)
    days = sum(len(one) for one in labels) / rows
    return Report(
        task=detector.TASK,
        metrics=metrics,
        baselines={
            name: detection.measures(found, labels, **given) for name, found in others.items()
        },
        data={
            "series": len(judged),
            "rows": sum(len(one) for one in labels),
            "anomalous_rows": int(sum((one == 1).sum() for one in labels)),
            "alerts": alerts,
            "alerts_per_day": alerts / days,
        },
        model=dict(detector.facts_),
        memory_worth=detection.measures(forgetful, labels, **given),
        notes=_notes(judged, detector),
    )


def unseen(detector: AnomalyDetector, series: Sequence[Channels]) -> list[Judged]:
    """What of each series comes after the rows of the training.

    Raises:
        UserError: `in-sample`, where nothing does.
    """
    found = []
    for one in series:
        key = tuple(str(part) for part in one.id)
        known = detector.seen_.find(key, one.time, assembly.signature(one.values))
        begin = 0
        if known is not None:
            ticks = one.time.astype(np.int64)
            begin = int(np.searchsorted(ticks, detector.seen_.end[known], side="right"))
        if begin < len(one.time) and one.labels is not None:
            found.append(Judged(one, begin, one.labels[begin:]))
    if not found:
        raise UserError(
            "in-sample: the detector has learnt from every row of this table",
            expected="rows after those of the training, or other series",
        )
    return found


def watched(
    detector: AnomalyDetector, made: Program, rule: Any, judged: Sequence[Judged]
) -> tuple[list[np.ndarray], list[np.ndarray], int]:
    """Scores and alarms of the judged rows, each series stepped through from its beginning, and
    the number of alerts in them."""
    model, scores, alarms, alerts = runtime.load(made), [], [], 0
    for one in judged:
        watch = Watch(model, detector.shape_, detector.tails_, rule, one.series.id)
        rows, over = watch.add(one.series.values, one.series.time)
        over += watch.grouper.begun()
        scores.append(rows.score[one.begin :])
        alarms.append(rows.alarm[one.begin :])
        alerts += sum(alert.last >= one.begin for alert in over)
    return scores, alarms, alerts


def memoryless(made: Program) -> Program:
    """The same program whose LSTM's state is 0 before each row: nothing is heard of it."""
    weights = {
        name: np.zeros(array.shape, np.float32) if name in MEMORY else array
        for name, array in made.weights.items()
    }
    return Program(made.kind, made.entries, made.slots, weights, made.window)


def _baselines(detector: AnomalyDetector, judged: Sequence[Judged]) -> dict[str, list[np.ndarray]]:
    """Baselines' scores; they learn from the rows before those that are scored, or from the first
    fifth of a series that the detector has never seen."""
    train, test = [], []
    for one in judged:
        values = one.series.values
        learn = one.begin or max(len(values) // 5, 1)
        train.append(values[:learn])
        test.append(values[one.begin :])
    return baselines.scores(train, test, detector.seed)


def _notes(judged: Sequence[Judged], detector: AnomalyDetector) -> list[str]:
    notes = ["VUS and AUC need no threshold; the threshold of the alerts was set without labels"]
    if any(one.begin == 0 for one in judged):
        notes.append("baselines learn from the first fifth of a series without training rows")
    return notes


def unlabelled(detector: AnomalyDetector, parts: Sequence[Part]) -> Report:
    """What is known without labels: how often held-out rows alerted."""
    rule, rows, alerts = detector.rule(), 0, 0
    model = runtime.load(detector.program_)
    for part in parts:
        key = detector.shape_.ids[part.number - 1]
        watch = Watch(model, detector.shape_, detector.tails_, rule, key)
        _, over = watch.add(part.values, part.time)
        over += watch.grouper.begun()
        rows += len(part.values) - part.cut
        alerts += sum(alert.last >= part.cut for alert in over)
    days = rows / assembly.rows_per_day(detector)
    return Report(
        task=detector.TASK,
        metrics={"heldout_alerts_per_day": alerts / days},
        baselines={},
        data={"series": len(parts), "rows": rows, "alerts": alerts},
        model=dict(detector.facts_),
        notes=["held-out rows are the last fifth; no labels were used"],
    )
