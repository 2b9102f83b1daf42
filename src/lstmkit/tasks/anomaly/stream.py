"""Rows in, scores and alerts out: one at a time, or a file that grows. No torch, no polars."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.calibration.tails import Tail
from lstmkit.errors import UserError
from lstmkit.readers import calendar, lines
from lstmkit.tasks.anomaly.alerts import Alert, Watched
from lstmkit.tasks.anomaly.features import Geometry
from lstmkit.tasks.anomaly.watch import Rule, Watch
from lstmkit.tasks.stream import Answer, Stream

if TYPE_CHECKING:
    from lstmkit.program import Program
    from lstmkit.runtime import Model

LONGEST_STOP = 100_000  # rows that a stream may leave out and still be stepped through
PER_CHANNEL = 3  # causes in a line of CSV

Id = tuple[Any, ...]


class AnomalyStream(Stream):
    """Push rows, read scores and alerts; constant memory a series.

    Args:
        model: what runs the program.
        shape, tails, rule: of the detector.
        columns: names and kinds of the training's table, as `AnomalyDetector.columns_` holds them.
    """

    TASK = "anomaly"

    def __init__(
        self,
        model: Model,
        shape: Geometry,
        tails: Sequence[Tail],
        rule: Rule,
        columns: Mapping[str, Any],
    ) -> None:
        self.model, self.shape, self.tails, self.rule = model, shape, tails, rule
        self.columns = columns
        self.timed = not columns.get("numbered")
        self.irregular = bool(columns.get("irregular"))
        freq = "1us" if self.irregular else shape.freq
        self._clock = lines.Clock(freq, columns.get("day_first"))
        self._watches: dict[Id, Watch] = {}
        self._last: dict[Id, np.ndarray] = {}

    @property
    def program(self) -> Program:  # type: ignore[override]
        """What the runtime runs."""
        return self.model.program

    # --- rows

    def step(self, row: Mapping[str, Any]) -> Answer:
        """Push one row.

        Args:
            row: the id columns, the time and every channel by name; an empty cell is missing.

        Returns:
            Ids, time, `score`, `level` and `alarm`; `channels`, what has most of the score; and
            `alert`: None, or the alert that this row has `begun`, made `worse` (a graver
            severity) or outlasted (`over`): its `state`.

        Raises:
            UserError: a column is missing or unreadable, or the time does not follow; the state is
                what it was.
        """
        names = list(self.columns["id"])
        _require(row, [*names, *self.shape.channels])
        key = tuple(str(row[name]) for name in names)
        time = self._moment(row, key)
        values = np.array([[lines.number(row[c], c) for c in self.shape.channels]])
        if np.isinf(values).any():
            raise UserError("a value is infinite", got=f"at {time}")
        watch = self._watches.get(key)
        before = watch.grouper.running if watch else None
        severity = watch.grouper.alert(before).severity if watch and before else ""
        watched, over = self.extend(key, np.asarray(time)[None], values)
        said = self._said(key, before, severity, over)
        score, level = float(watched.score[-1]), float(watched.level[-1])
        return {
            **dict(zip(names, key, strict=True)),
            **({self.columns["time"]: self._clock.write(time)} if self.timed else {}),
            "score": None if np.isnan(score) else score,
            "level": level,
            "alarm": bool(watched.alarm[-1]),
            "channels": self._causes(watched.parts[-1]),
            "alert": said,
        }

    def _said(self, id: Id, before: Any, severity: str, over: Sequence[Alert]) -> Answer | None:
        grouper = self._watches[id].grouper
        if grouper.running is not None:
            now = grouper.alert(grouper.running, open=True)
            if grouper.running is not before:
                return self._told(now, "begun")
            if now.severity != severity:
                return self._told(now, "worse")
        return self._told(over[-1], "over") if over else None

    def _told(self, alert: Alert, state: str) -> Answer:
        return {
            "state": state,
            "start": self._clock.write(alert.start),
            "end": self._clock.write(alert.end),
            "severity": alert.severity,
            "peak": alert.peak,
            "channels": dict(alert.channels),
            "reasons": list(alert.reasons),
        }

    def _causes(self, parts: np.ndarray) -> dict[str, float]:
        if np.isnan(parts).any():
            return {}
        order = np.argsort(-parts, kind="stable")[:PER_CHANNEL]
        return {self.shape.channels[k]: float(parts[k]) for k in order if parts[k] > 0}

    def flat(self, answer: Answer) -> dict[str, Any]:
        """Ids, time, score, level, alarm, and the alert's state, severity and reasons."""
        found = {k: v for k, v in answer.items() if k not in ("channels", "alert")}
        alert = answer["alert"] or {"state": "", "severity": "", "reasons": []}
        found["score"] = float("nan") if answer["score"] is None else answer["score"]
        found["channels"] = "; ".join(answer["channels"])
        found |= {"alert": alert["state"], "severity": alert["severity"]}
        return found | {"reasons": "; ".join(alert["reasons"])}

    def _moment(self, row: Mapping[str, Any], id: Id) -> np.datetime64 | int:
        """The row's time; where rows are only numbered, the next number."""
        if self.timed:
            _require(row, [self.columns["time"]])
            return self._clock.read(row[self.columns["time"]])
        last = self._last.get(id)
        return int(last) + 1 if last is not None else 1

    # --- series

    def watch(self, id: Id) -> Watch:
        """The watch of a series, a fresh one for a new series."""
        if id not in self._watches:
            self._watches[id] = Watch(self.model, self.shape, self.tails, self.rule, id)
        return self._watches[id]

    def last(self, id: Id) -> np.ndarray | None:
        """The time of the newest row of a series; None for a new one."""
        return self._last.get(id)

    def extend(self, id: Id, time: np.ndarray, values: np.ndarray) -> tuple[Watched, list[Alert]]:
        """More rows (n, C) of a series at times (n,), all on the grid, one after the other.

        Rows left out since the last call are stepped through as missing ones. Returned are all
        rows that were stepped through, the given ones last; and the alerts over within them.

        Raises:
            UserError: the first time is not after the newest row's, or off the grid.
        """
        time = time.astype("datetime64[us]" if time.dtype.kind == "M" else np.int64)
        missing = self._left_out(id, time[0])
        watch = self.watch(id)
        self._last[id] = time[-1]
        if missing is not None and len(missing):
            time = np.concatenate([missing, time])
            nothing = np.full((len(missing), values.shape[1]), np.nan)
            values = np.concatenate([nothing, values])
        return watch.add(values, time)

    def _left_out(self, id: Id, time: np.ndarray) -> np.ndarray | None:
        """The times between the newest row and `time`."""
        last = self._last.get(id)
        if last is None:
            return None
        if self.irregular:
            if time <= last:
                raise _backwards(id, time, last, "a later time")
            return None
        freq = self.shape.freq
        steps = int(calendar.grid_index(time[None], freq, last[None])[0])
        if steps < 1 or calendar.step_times(last, freq, np.array(steps)) != time:
            raise _backwards(id, time, last, f"a later time on the grid of {freq}")
        return calendar.step_times(last, freq, np.arange(1, min(steps, LONGEST_STOP)))

    # --- state

    def save(self) -> dict[str, np.ndarray]:
        """The state as plain arrays."""
        names = np.frombuffer(json.dumps([list(key) for key in self._watches]).encode(), np.uint8)
        found = {"ids": names, "rule": self._rule()}
        for k, (key, watch) in enumerate(self._watches.items()):
            last = self._last[key]
            found[f"{k}/last"] = np.asarray(last).astype(np.int64)
            found[f"{k}/dated"] = np.array(np.asarray(last).dtype.kind == "M")
            found |= {f"{k}/{name}": array for name, array in watch.save().items()}
        return found

    def _rule(self) -> np.ndarray:
        """What decides how scores become alerts."""
        r = self.rule
        text = json.dumps([r.threshold, r.options, r.gap, r.adapt], sort_keys=True)
        return np.frombuffer(text.encode(), np.uint8)

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take the state of `save`, from a stream of the same model.

        Raises:
            UserError: it was made under another rule for alerts.
        """
        if state["rule"].tobytes() != self._rule().tobytes():
            raise UserError(
                "the state was made under other options for alerts",
                got=state["rule"].tobytes().decode()[:160],
                expected=self._rule().tobytes().decode()[:160],
                hint="start anew: remove the state, or give the options of before",
            )
        self._watches, self._last = {}, {}
        for k, parts in enumerate(json.loads(state["ids"].tobytes())):
            key = tuple(parts)
            own = {n.partition("/")[2]: a for n, a in state.items() if n.startswith(f"{k}/")}
            kind = "datetime64[us]" if own["dated"] else np.int64
            self._last[key] = np.asarray(own["last"]).astype(np.int64).astype(kind)
            self.watch(key).restore(own)


def _backwards(id: Id, time: Any, last: Any, expected: str) -> UserError:
    of = f" of series {', '.join(map(str, id))}" if id else ""
    return UserError(
        f"a row{of} does not follow the last one", got=f"{time} after {last}", expected=expected
    )


def _require(row: Mapping[str, Any], names: list[str]) -> None:
    missing = [name for name in names if name not in row]
    if missing:
        raise UserError(
            f"the row has no {', '.join(map(repr, missing[:5]))}",
            got=", ".join(map(str, row))[:120],
            expected=", ".join(names)[:200],
        )
