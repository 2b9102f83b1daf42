"""One watched series: rows in, scores and alerts out, in pieces of any size. No torch.

Whole files, rows that arrive one at a time and files that grow all go through this: what is said of
a row does not depend on the pieces in which it came.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.calibration import thresholds
from lstmkit.calibration.tails import RunningTail, Tail
from lstmkit.tasks.anomaly.alerts import Alert, Grouper, Watched
from lstmkit.tasks.anomaly.features import Geometry, expected_values, inputs
from lstmkit.tasks.anomaly.scores import LEAST_SLOPES, joined, shared

if TYPE_CHECKING:
    from lstmkit.runtime import Model

WARM = 3  # times the rows that are averaged, at the beginning of a series, that have no score
FORGETTING = 20  # half-lives of the level after which adapted scores have forgotten half


@dataclass(frozen=True)
class Rule:
    """How scores become alerts.

    Attributes:
        threshold: its kind, as `thresholds.make` names it, and `options` of it.
        gap: rows without an alarm after which an alert is over.
        adapt: whether scores follow what is normal lately.
        held: distances (m, 3) on rows not learnt from, and `scores` (m,) of them.
        starts: where each series begins in them.
    """

    threshold: str
    options: dict[str, Any]
    gap: int
    adapt: bool
    held: np.ndarray
    scores: np.ndarray
    starts: np.ndarray

    def fresh(self) -> Any:
        """A threshold at its beginning."""
        made = thresholds.make(self.threshold, **self.options)
        return made.fit(self.scores, starts=self.starts)


class Watch:
    """The state of one series: the LSTM's, the threshold's, and of the alert that is open.

    Args:
        model: what runs the program.
        shape, tails, rule: of the detector.
        id: of the series.
    """

    def __init__(
        self,
        model: Model,
        shape: Geometry,
        tails: Sequence[Tail],
        rule: Rule,
        id: tuple[Any, ...] = (),
    ) -> None:
        self.model, self.shape, self.tails, self.rule = model, shape, tails, rule
        self.id, self.number = id, shape.number(id)
        self.session = model.session()
        self.threshold = rule.fresh()
        self.running: list[RunningTail] = []
        if rule.adapt:
            self.running = [
                RunningTail(FORGETTING * shape.half_life, least).learn(column)
                for column, least in zip(rule.held.T, LEAST_SLOPES, strict=True)
            ]
        name = tuple(str(part) for part in id)
        self.grouper = Grouper(name, shape.channels, rule.gap, shape.half_life)

    def add(self, values: np.ndarray, time: np.ndarray) -> tuple[Watched, list[Alert]]:
        """Rows (n, C) with NaN where missing, at times (n,): what is said of them, and the alerts
        that were over within them and not told before."""
        out: Any = self.session.run(inputs(self.shape, values, time, self.number))
        nothing = np.isnan(values).all(1)
        nothing[: max(WARM * self.shape.smoothing - self.grouper.rows, 0)] = True
        score = self._scores(out["distances"].astype(np.float64), nothing)
        levels, alarms = self.threshold.run(score)
        expected = expected_values(self.shape, out["expected"].astype(np.float64))
        parts = shared(score, out["parts"].astype(np.float64))
        watched = Watched(time, values, score, parts, expected, levels, alarms.copy())
        return watched, self.grouper.add(watched)

    def _scores(self, distances: np.ndarray, nothing: np.ndarray) -> np.ndarray:
        distances[nothing] = np.nan
        learnt: Sequence[Tail | RunningTail] = self.running or self.tails
        each = [tail.score(column) for tail, column in zip(learnt, distances.T, strict=True)]
        return joined(np.stack(each, 1))

    def save(self) -> dict[str, np.ndarray]:
        """The state as plain arrays."""
        found = {"session": np.frombuffer(self.session.save(), np.uint8).copy()}
        found |= {f"threshold/{k}": np.asarray(v) for k, v in self.threshold.save().items()}
        found |= {f"tail{k}/counts": t.save()["counts"] for k, t in enumerate(self.running)}
        return found | self.grouper.save()

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go on from a `save`."""
        self.session.restore(state["session"].tobytes())
        own = {k[10:]: v for k, v in state.items() if k.startswith("threshold/")}
        self.threshold.restore(own)
        for k, tail in enumerate(self.running):
            tail.restore({"counts": state[f"tail{k}/counts"]})
        self.grouper.restore(state)
