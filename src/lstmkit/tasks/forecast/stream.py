"""Forecasts while rows arrive: a ring buffer of the last rows of each series, and the runtime.

The model is windowed: each forecast runs the program over the whole window again. A forecast from a
stream is that of `Forecaster.predict` on the same rows.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lstmkit.errors import UserError
from lstmkit.program import Program
from lstmkit.readers import calendar, lines
from lstmkit.runtime import Model
from lstmkit.tasks.forecast.features import Geometry, column, decode, encode, inputs
from lstmkit.tasks.stream import Answer, Stream

ENTRY = "forecast"


class Forecast(NamedTuple):
    """Times (H,) and quantiles (H, Q)."""

    time: np.ndarray
    quantiles: np.ndarray


@dataclass
class Ring:
    """The last rows of one series (L,), NaN where missing; `last` is the time of the newest."""

    rows: np.ndarray
    last: np.ndarray

    def push(self, steps: int, value: float, time: np.ndarray) -> None:
        """Move on by `steps` rows, those in between missing, and write the newest."""
        self.rows = np.roll(self.rows, -steps)
        self.rows[-min(steps, len(self.rows)) :] = np.nan
        self.rows[-1], self.last = value, time


class ForecastStream(Stream):
    """Push rows, ask for forecasts; no torch, memory of one window a series.

    Args:
        model: what runs the program.
        shape: its window.
        quantiles: the probabilities that it forecasts.
        columns: names and kinds of the training's table, as `Forecaster.columns_` holds them.
    """

    TASK = "forecast"

    def __init__(
        self,
        model: Model,
        shape: Geometry,
        quantiles: tuple[float, ...],
        columns: Mapping[str, Any],
    ) -> None:
        self.model, self.shape, self.quantiles = model, shape, quantiles
        self.columns = columns
        self._clock = lines.Clock(shape.freq, columns.get("day_first"))
        self._rings: dict[Hashable, Ring] = {}

    @property
    def program(self) -> Program:  # type: ignore[override]
        """What the runtime runs."""
        return self.model.program

    # --- rows

    def step(self, row: Mapping[str, Any]) -> Answer:
        """Push one row, and forecast what comes after it.

        Args:
            row: the id columns, the time and the target by name; a table whose series are columns
                may come as it is: the time, and a value a series.

        Returns:
            Ids and time of the row, and under `forecast` a list of rows: time, `y_hat`, quantiles;
            None where nothing is known of the series yet. With series as columns: the time, and
            `series`, a list of such answers.

        Raises:
            UserError: a column is missing or unreadable, or the time does not follow.
        """
        names, time, target = (self.columns[k] for k in ("id", "time", "target"))
        wide = self.columns["layout"] == "wide" and not set(names) <= set(row)
        if not wide:
            _require(row, [*names, target])
            moment = self._moment(row, tuple(str(row[name]) for name in names))
            return self._push_and_answer(tuple(str(row[n]) for n in names), moment, row[target])
        _require(row, [time])
        moment = self._clock.read(row[time])
        cells = {name: lines.number(cell, name) for name, cell in row.items() if name != time}
        answers = [self._push_and_answer((name,), moment, cells[name]) for name in cells]
        return {time: self._clock.write(moment), "series": answers}

    def _moment(self, row: Mapping[str, Any], id: tuple[str, ...]) -> np.datetime64 | int:
        """The row's time; where steps are only counted, the next."""
        time = self.columns["time"]
        if time in row or not self.shape.freq.endswith("i"):
            _require(row, [time])
            return self._clock.read(row[time])
        ring = self._rings.get(_key(id))
        step = calendar.parse_freq(self.shape.freq).count
        return int(ring.last) + step if ring else 1

    def _push_and_answer(
        self, id: tuple[str, ...], moment: np.datetime64 | int, cell: Any
    ) -> Answer:
        names, time = self.columns["id"], self.columns["time"]
        self.push(_key(id), moment, lines.number(cell, self.columns["target"]))
        answer: Answer = {**dict(zip(names, id, strict=True)), time: self._clock.write(moment)}
        answer["forecast"] = self._rows_of(_key(id)) if _key(id) in self._rings else None
        return answer

    def _rows_of(self, id: Hashable) -> list[Answer]:
        times, quantiles = self.forecast(id)
        middle = int(np.argmin(np.abs(np.asarray(self.quantiles) - 0.5)))
        names = [column(q) for q in self.quantiles]
        return [
            {
                self.columns["time"]: self._clock.write(t),
                "y_hat": float(values[middle]),
                **{name: float(v) for name, v in zip(names, values, strict=True)},
            }
            for t, values in zip(times, quantiles, strict=True)
        ]

    def flat(self, answer: Answer) -> dict[str, Any]:
        """Ids, time, and the medians `y_hat_1` ... `y_hat_H`.

        Raises:
            UserError: an answer with several series.
        """
        if "series" in answer:
            raise UserError(
                "a row of several series has no CSV line", hint="leave out --format csv"
            )
        steps = answer["forecast"] or [{"y_hat": float("nan")}] * self.shape.horizon
        given = {k: v for k, v in answer.items() if k != "forecast"}
        return given | {f"y_hat_{k}": step["y_hat"] for k, step in enumerate(steps, 1)}

    # --- series

    @property
    def ids(self) -> list[Hashable]:
        """The series that have rows."""
        return list(self._rings)

    def push(self, id: Hashable, time: np.datetime64 | int, value: float | None) -> None:
        """A row of a series. Rows left out are missing; one of None or NaN may be left out.

        Raises:
            UserError: a time that is off the grid or not after the last one; an infinite value.
        """
        number = float("nan") if value is None else float(value)
        if np.isnan(number):
            return
        if np.isinf(number):
            raise UserError("a value is infinite", got=f"{value} at {time} of series {id!r}")
        moment = np.asarray(time)
        moment = moment.astype("datetime64[us]" if moment.dtype.kind == "M" else np.int64)
        if id not in self._rings:
            self._rings[id] = Ring(np.full(self.shape.lookback, np.nan), moment)
            self._rings[id].push(1, number, moment)
        else:
            ring = self._rings[id]
            ring.push(self._steps(id, ring, moment), number, moment)

    def _steps(self, id: Hashable, ring: Ring, time: np.ndarray) -> int:
        """Rows between the newest of a series and `time`."""
        steps = int(calendar.grid_index(time[None], self.shape.freq, ring.last[None])[0])
        if steps < 1 or calendar.step_times(ring.last, self.shape.freq, np.array(steps)) != time:
            raise UserError(
                f"a row{f' of series {id!r}' if id != () else ''} does not follow the last one",
                got=f"{time} after {ring.last}",
                expected=f"a later time on the grid of {self.shape.freq}",
            )
        return steps

    def forecast(self, id: Hashable) -> Forecast:
        """What comes after the newest row of a series.

        Raises:
            UserError: nothing was pushed for it.
        """
        if id not in self._rings:
            raise UserError(f"series {id!r} has no rows yet", hint="push its rows first")
        ring = self._rings[id]
        window = encode(ring.rows[None])
        given = inputs(self.shape, window, ring.last[None])
        outputs, _ = self.model.run(ENTRY, given)
        ahead = np.arange(1, self.shape.horizon + 1)
        time = calendar.step_times(ring.last, self.shape.freq, ahead)
        return Forecast(time, decode(outputs["quantiles"], window)[0])

    def save(self) -> dict[str, np.ndarray]:
        """The state as plain arrays; ids must be texts, numbers or tuples of them."""
        rings = list(self._rings.values())
        last = np.array([ring.last for ring in rings])
        ids = json.dumps(
            [[name] if not isinstance(name, tuple) else [list(name)] for name in self.ids]
        )
        return {
            "ids": np.frombuffer(ids.encode(), np.uint8),
            "rows": np.array([ring.rows for ring in rings]).reshape(-1, self.shape.lookback),
            "last": last.astype(np.int64),
            "dated": np.array(last.dtype.kind == "M"),
        }

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take the state of `save`, from a stream of the same model.

        Raises:
            UserError: the state has windows of another length.
        """
        if state["rows"].shape[1:] != (self.shape.lookback,):
            raise UserError(
                "the state belongs to another model",
                got=f"windows of {state['rows'].shape[1:]} rows",
                expected=f"{self.shape.lookback} rows",
            )
        last = state["last"].astype("datetime64[us]") if state["dated"] else state["last"]
        names = [
            tuple(n) if isinstance(n, list) else n for (n,) in json.loads(state["ids"].tobytes())
        ]
        self._rings = {
            name: Ring(rows.copy(), np.asarray(time))
            for name, rows, time in zip(names, state["rows"], last, strict=True)
        }


def _key(id: tuple[str, ...]) -> Hashable:
    """A series' name: a text where there is one id column."""
    return id[0] if len(id) == 1 else id


def _require(row: Mapping[str, Any], names: list[str]) -> None:
    missing = [name for name in names if name not in row]
    if missing:
        raise UserError(
            f"the row has no {', '.join(map(repr, missing))}",
            got=", ".join(map(str, row))[:120],
            expected=", ".join(names),
        )
