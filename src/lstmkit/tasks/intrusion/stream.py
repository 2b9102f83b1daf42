"""Flows as they come, alerts as they are raised; bounded memory for any number of hosts.

No torch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.errors import UserError
from lstmkit.readers.flows import Flows, flows, read
from lstmkit.readers.flows.schema import NUMBERS, PORTS, WORDS
from lstmkit.tasks.intrusion.alerts import Alert, Alerter, Rule
from lstmkit.tasks.intrusion.features import Geometry
from lstmkit.tasks.intrusion.watch import HOSTS, Judged, Scale, Watch
from lstmkit.tasks.stream import Answer, Stream

if TYPE_CHECKING:
    from lstmkit.program import Program
    from lstmkit.runtime import Model
    from lstmkit.tasks.intrusion.suppress import Suppressions

NEEDED = ("src", "dst", "time")


class IntrusionStream(Stream):
    """Push flows, read alerts.

    Args:
        model: what runs the program.
        shape, scale, rule: of the detector.
        hosts: hosts that are remembered; the one unseen for longest leaves first.
        suppressions: rules for alerts that are not to be told.
        start: the state to begin with: what the training has seen last.

    Attributes:
        read, told, suppressed: flows and alerts so far.
        place: where the flows stand in what is followed, kept with the state.
    """

    TASK = "intrusion"

    def __init__(
        self,
        model: Model,
        shape: Geometry,
        scale: Scale,
        rule: Rule,
        hosts: int = HOSTS,
        suppressions: Suppressions | None = None,
        start: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.model, self.shape, self.rule = model, shape, rule
        self.watch = Watch(model, shape, scale, hosts, start=start)
        self.alerter = Alerter(rule)
        self.suppressions, self.suppressed = suppressions, 0
        self.read = self.told = 0
        self.place: dict[str, Any] | None = None

    @property
    def program(self) -> Program:  # type: ignore[override]
        """What the runtime runs."""
        return self.model.program

    def feed(self, found: Flows) -> list[Alert]:
        """The alerts that begin or become graver with the next flows, in order of arrival.

        Raises:
            UserError: flows that lack the features of the model; the state is what it was.
        """
        return self.judge(found)[1]

    def judge(self, found: Flows) -> tuple[Judged, list[Alert]]:
        """What is said of every flow, and the alerts."""
        self.shape.check(found)
        judged = self.watch.read(found)
        self.read += len(found)
        alerts = self.alerter.add(found, judged)
        told = alerts
        if self.suppressions is not None:
            told = [alert for alert in alerts if self.suppressions.match(alert) is None]
            self.suppressed += len(alerts) - len(told)
        for number, alert in enumerate(told, self.told + 1):
            alert["told"] = number
        self.told += len(told)
        return judged, told

    def step(self, row: Mapping[str, Any]) -> Answer:
        """One flow, its cells under the names of the schema; what is left out is unknown.

        Returns:
            `time`, `host`, `score`, `class` (the likeliest) and `alert`, None mostly.

        Raises:
            UserError: a cell that cannot be, or no hosts where the model needs them.
        """
        found = flow_of(row, self.shape)
        judged, alerts = self.judge(found)
        return {
            "time": row.get("time"),
            "host": found["src"][0],
            "score": float(judged.score[0]),
            "class": self.rule.classes[int(judged.classes[0].argmax())],
            "alert": alerts[0] if alerts else None,
        }

    def run(self, data: str | os.PathLike[str] | Iterable[Mapping[str, Any]]) -> Iterator[Answer]:
        """The answers to flows as they come; of a file of any format that can be read, in order."""
        if not isinstance(data, (str, os.PathLike)):
            yield from map(self.step, data)
            return
        for piece in read(data):
            for k in range(len(piece)):
                yield self.step(piece.row(k) | {n: c[k] for n, c in piece.extra.items()})

    def flat(self, answer: Answer) -> dict[str, Any]:
        """Time, host, score and class, and the alert's state, severity and reasons."""
        alert = answer["alert"] or {"state": "", "severity": "", "reasons": []}
        found = {k: v for k, v in answer.items() if k != "alert"}
        found |= {"alert": alert["state"], "severity": alert["severity"]}
        return found | {"reasons": "; ".join(alert["reasons"])}

    # --- state

    def save(self) -> dict[str, np.ndarray]:
        """The state as plain arrays."""
        counts = {"counts": np.array([self.read, self.suppressed, self.told])}
        place = np.frombuffer(json.dumps(self.place).encode(), np.uint8).copy()
        return {**self.watch.save(), **self.alerter.save(), **counts, "place": place}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go on from a `save` of a stream of the same model."""
        self.watch.restore(state)
        self.alerter.restore(state)
        self.read, self.suppressed, self.told = (int(x) for x in state["counts"])
        self.place = json.loads(state["place"].tobytes())


def flow_of(row: Mapping[str, Any], shape: Geometry) -> Flows:
    """One flow from its cells.

    Raises:
        UserError: a cell that cannot be, or one that is needed and missing.
    """
    missing = [name for name in NEEDED if row.get(name) in (None, "")]
    if shape.hosts and missing:
        raise UserError(
            f"the flow has no {', '.join(missing)}",
            got=", ".join(map(str, row))[:120],
            expected=", ".join((*NUMBERS, *PORTS, *WORDS)),
        )
    columns: dict[str, Any] = {}
    for name in (*NUMBERS, *PORTS):
        if row.get(name) is not None:
            columns[name] = [_number(row[name], name)]
    for name in WORDS:
        if row.get(name) is not None:
            columns[name] = [str(row[name])]
    for name in PORTS:
        port = columns.get(name, [0])[0]
        if not (port == int(port) and -1 <= port <= 65535):
            raise UserError(f"{name} is no port", got=repr(row[name]), expected="-1 to 65535")
    words = dict(shape.words)
    extra = {name: [row[name]] for name in (*shape.numbers, *words) if name in row}
    return flows(shape.source, 1, {} if shape.hosts else extra, **columns)


def _number(cell: Any, name: str) -> float:
    try:
        found = float(cell)
    except (TypeError, ValueError):
        raise UserError(f"{name} holds no number", got=repr(cell)[:80]) from None
    if np.isinf(found) or (name in PORTS and np.isnan(found)):
        raise UserError(f"{name} is not finite", got=repr(cell)[:80])
    return found
