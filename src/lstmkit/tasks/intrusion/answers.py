"""A detector's answers to files of flows: alerts, scores, and what a picture is drawn from."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from lstmkit import runtime
from lstmkit.errors import UserError
from lstmkit.readers.flows import Flows, joined, pieces
from lstmkit.tasks.intrusion.alerts import Alert, written
from lstmkit.tasks.intrusion.watch import PIECE, Judged, Watch

if TYPE_CHECKING:
    from lstmkit.tasks.intrusion.estimator import IntrusionDetector

BINS = 240  # of the curves
SCORED = ("time", "src", "sport", "dst", "dport", "proto", "state", "score", "class", "record")


def parts(data: Any, format: str | None, notes: list[str] | None = None) -> Iterator[Flows]:
    """The flows of paths, `-` or a Flows, piece by piece; what was refused is noted at the end."""
    if isinstance(data, Flows):
        yield from pieces(data, PIECE)
        return
    if not isinstance(data, (str, os.PathLike, list, tuple)):
        raise UserError(
            "these are no flows", got=type(data).__name__, expected="paths, or lstmkit Flows"
        )
    from lstmkit.readers.flows import read

    reading = read(data, format)
    yield from reading
    if notes is not None:
        notes += told_of(reading)


def told_of(reading: Any) -> list[str]:
    """What a reader has to say of what it read."""
    found = [f"{reading.answered:,} flows of {reading.source}"]
    if reading.refused:
        first = "; ".join(str(r) for r in reading.refusals[:3])
        found.append(f"{reading.refused:,} records could not be read: {first}")
    return found


def all_of(data: Any, format: str | None) -> tuple[Flows, list[str]]:
    """All flows of `data` at once, and what there is to say of them.

    Raises:
        UserError: there are none.
    """
    notes: list[str] = []
    found = list(parts(data, format, notes))
    if not sum(map(len, found)):
        raise UserError("there are no flows", got=str(data)[:120])
    return joined([one for one in found if len(one)]), notes


@dataclass
class Watched:
    """What came of watching flows.

    Attributes:
        alerts: in order, each as it was told.
        flows, hosts, suppressed: how many.
        source: of the flows; level: the threshold.
        times, scores: of the flows, thinned to what a curve needs.
    """

    source: str
    level: float
    alerts: list[Alert] = field(default_factory=list)
    flows: int = 0
    hosts: int = 0
    suppressed: int = 0
    times: list[np.ndarray] = field(default_factory=list)
    scores: list[np.ndarray] = field(default_factory=list)

    def last(self) -> list[Alert]:
        """Each alert once, as it was told last."""
        return list({alert["id"]: alert for alert in self.alerts}.values())

    def drawn(self) -> tuple[list[Alert], dict[str, Any], dict[str, Any]]:
        """Alerts, summary and curves as pages and pictures take them."""
        time = np.concatenate(self.times) if self.times else np.zeros(0)
        score = np.concatenate(self.scores) if self.scores else np.zeros(0)
        known = np.isfinite(time)
        time, score = time[known], score[known]
        summary = {
            "flows": self.flows,
            "hosts": self.hosts,
            "alerts": len(self.last()),
            "suppressed": self.suppressed,
            "source": self.source,
            "threshold": self.level,
            "from": written(time.min()) if len(time) else "",
            "to": written(time.max()) if len(time) else "",
        }
        return self.last(), summary, _curves(time, score, self.level)


def _curves(time: np.ndarray, score: np.ndarray, level: float) -> dict[str, Any]:
    if not len(time):
        return {"time": [], "flows": [], "threshold": level, "top_score": []}
    edges = np.linspace(time.min(), max(time.max(), time.min() + 1.0), BINS + 1)
    place = np.clip(np.searchsorted(edges, time, side="right") - 1, 0, BINS - 1)
    top = np.zeros(BINS)
    np.maximum.at(top, place, score)
    return {
        "time": edges[:-1].tolist(),
        "flows": np.bincount(place, minlength=BINS).tolist(),
        "threshold": level,
        "top_score": top.tolist(),
    }


def watch(
    detector: IntrusionDetector,
    data: Any,
    format: str | None,
    given: dict[str, Any],
    scores: str | os.PathLike[str] | None,
) -> Watched:
    """Step through flows; scores of all are written to a file of CSV where one is named."""
    detector.check_fitted()
    stream = detector.stream(**given)
    found = Watched(stream.shape.source, stream.rule.level)
    with _table(scores) as table:
        for piece in parts(data, format):
            judged, alerts = stream.judge(piece)
            found.alerts += alerts
            found.flows += len(piece)
            found.source = piece.source
            found.times.append(piece["time"].astype(np.float64))
            found.scores.append(judged.score)
            table.write(piece, judged, stream.rule.classes)
    if not found.flows:
        raise UserError("there are no flows", got=str(data)[:120])
    found.hosts = len(stream.watch.context.hosts) if stream.shape.hosts else 0
    found.suppressed = stream.suppressed
    return found


class _table:  # noqa: N801
    """A CSV file of scores, written beside and put in place at the end; none without a path."""

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self.path = path
        self._file: IO[str] | None = None

    def __enter__(self) -> _table:
        if self.path is not None:
            self._file = open(f"{self.path}.part", "w", encoding="utf-8", newline="")  # noqa: PTH123
            self._writer = csv.writer(self._file, lineterminator="\n")
            self._writer.writerow(SCORED)
        return self

    def write(self, found: Flows, judged: Judged, classes: tuple[str, ...]) -> None:
        """One line a flow."""
        if self._file is None:
            return
        columns: dict[str, Any] = {name: found[name] for name in SCORED if name in found.columns}
        columns["time"] = [written(float(t)) for t in found["time"]]
        columns["score"] = [f"{s:.4f}" for s in judged.score]
        columns["class"] = [classes[k] for k in judged.classes.argmax(1)]
        self._writer.writerows(zip(*(columns[name] for name in SCORED), strict=True))

    def __exit__(self, kind: object, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            if kind is None:
                os.replace(f"{self.path}.part", str(self.path))  # noqa: PTH105
            else:
                os.unlink(f"{self.path}.part")  # noqa: PTH108


def told(found: Watched, alerts_as: str) -> Any:
    """Alerts as a frame of one row each, or as lines of JSON or EVE, each telling."""
    from lstmkit.tasks.intrusion import records

    if alerts_as == "json":
        return [records.json_line(alert) for alert in found.alerts]
    if alerts_as == "eve":
        return [records.eve_line(alert) for alert in found.alerts]
    from lstmkit.errors import require

    polars = require("polars", "train")
    rows = [records.table_row(alert) for alert in found.last()]
    return polars.DataFrame(rows, schema=records.TABLE, orient="row")


def scores(
    detector: IntrusionDetector, data: Any, format: str | None, memory: bool = True
) -> np.ndarray:
    """The score (n,) of every flow."""
    model = runtime.load(detector.program_)
    start = detector.start_
    watched = Watch(model, detector.shape_, detector.scale_, memory=memory, start=start)
    found = []
    for piece in parts(data, format):
        detector.shape_.check(piece)
        found.append(watched.read(piece).score)
    return np.concatenate(found) if found else np.zeros(0)
