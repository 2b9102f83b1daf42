"""Forecasts while rows arrive: the last rows of each series, or its state, and the runtime.

A windowed model runs the program over the whole window again for each forecast; a recurrent one
carries its state and reads a row once. A forecast from a stream is that of `Forecaster.predict` on
the same rows.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lstmkit.errors import UserError
from lstmkit.program import Program
from lstmkit.readers import calendar, gaps, holidays, lines
from lstmkit.readers.covariates import Covariate
from lstmkit.runtime import Model
from lstmkit.tasks.forecast.carried import Carried
from lstmkit.tasks.forecast.features import Geometry, column, decode, encode, inputs
from lstmkit.tasks.stream import Answer, Stream

ENTRY = "forecast"


class Forecast(NamedTuple):
    """Times (H,) and quantiles (H, Q)."""

    time: np.ndarray
    quantiles: np.ndarray


@dataclass
class Ring:
    """The last rows of one series (L,), NaN where missing; `last` is the time of the newest.

    Attributes:
        extra: (L, C) dynamic covariates of the same rows.
        ahead: (A, C) those known of the rows to come.
        static: (S,) covariates of the series.
        moment: the true time of the newest row, where rows are events.
    """

    rows: np.ndarray
    last: np.ndarray
    extra: np.ndarray
    ahead: np.ndarray
    static: np.ndarray
    moment: np.datetime64 | None = None

    @classmethod
    def empty(cls, shape: Geometry, last: np.ndarray) -> Ring:
        """A ring without rows, whose next row comes at `last`."""

        def missing(*size: int) -> np.ndarray:
            return np.full(size, np.nan)

        columns, future = len(shape.dynamic), shape.window_rows - shape.lookback
        return cls(
            missing(shape.lookback),
            last,
            missing(shape.lookback, columns),
            missing(future, columns),
            missing(len(shape.static)),
        )

    def push(self, steps: int, value: float, time: np.ndarray, given: np.ndarray) -> None:
        """Move on by `steps` rows, those in between missing, and write the newest.

        What was known ahead of the rows passed stays theirs; `given` (C,) adds to it.
        """
        self.rows = _moved(self.rows, steps)
        known = np.concatenate([self.extra, self.ahead])
        known = _moved(known, steps)
        self.extra, self.ahead = known[: len(self.rows)], known[len(self.rows) :]
        self.rows[-1], self.last = value, time
        self.extra[-1] = np.where(np.isnan(given), self.extra[-1], given)

    def save(self) -> dict[str, np.ndarray]:
        """The state as plain arrays."""
        moment = np.datetime64("NaT", "us") if self.moment is None else self.moment
        return {
            "rows": self.rows,
            "extra": self.extra,
            "ahead": self.ahead,
            "static": self.static,
            "last": self.last.astype(np.int64),
            "dated": np.array(self.last.dtype.kind == "M"),
            "moment": np.asarray(moment, "datetime64[us]").astype(np.int64),
        }

    @classmethod
    def restored(cls, saved: Mapping[str, np.ndarray]) -> Ring:
        """What was saved by `save`."""
        arrays = {name: saved[name].copy() for name in ("rows", "extra", "ahead", "static")}
        last = saved["last"].astype("datetime64[us]" if saved["dated"] else "int64")
        moment = np.datetime64(int(saved["moment"]), "us")
        return cls(last=last, **arrays, moment=None if np.isnat(moment) else moment)

    def foretell(self, steps: int, given: np.ndarray) -> None:
        """Note what is known of the row `steps` ahead."""
        if steps <= len(self.ahead):
            self.ahead[steps - 1] = given


def _moved(rows: np.ndarray, steps: int) -> np.ndarray:
    """Rows moved to the front by `steps`, NaN after them."""
    rows = np.roll(rows, -steps, 0)
    rows[-min(steps, len(rows)) :] = np.nan
    return rows


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
        self._events = bool(columns.get("irregular"))
        self._clock = lines.Clock("1us" if self._events else shape.freq, columns.get("day_first"))
        self._rings: dict[Hashable, Ring | Carried] = {}

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
            `series`, a list of such answers. A row without a target whose time lies ahead tells
            covariates that are known; it is answered too.

        Raises:
            UserError: a column is missing or unreadable, or the time does not follow.
        """
        names, time, target = (self.columns[k] for k in ("id", "time", "target"))
        wide = self.columns["layout"] == "wide" and not set(names) <= set(row)
        if not wide:
            _require(row, [*names, target])
            key = tuple(str(row[name]) for name in names)
            return self._push_and_answer(key, self._moment(row, key), row[target], row)
        _require(row, [time])
        moment = self._clock.read(row[time])
        known = {time, *(c.name for c in self.shape.dynamic)}
        cells = {n: lines.number(cell, n) for n, cell in row.items() if n not in known}
        answers = [self._push_and_answer((n,), moment, cells[n], row) for n in cells]
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
        self, id: tuple[str, ...], moment: np.datetime64 | int, cell: Any, row: Mapping[str, Any]
    ) -> Answer:
        names, time = self.columns["id"], self.columns["time"]
        self.push(_key(id), moment, lines.number(cell, self.columns["target"]), row)
        answer: Answer = {**dict(zip(names, id, strict=True)), time: self._clock.write(moment)}
        answer["forecast"] = self._rows_of(_key(id)) if _key(id) in self._rings else None
        return answer

    def _rows_of(self, id: Hashable) -> list[Answer]:
        times, quantiles = self.forecast(id)
        middle = len(self.quantiles)  # the mean, where the model forecasts it
        if len(quantiles[0]) == middle:
            middle = int(np.argmin(np.abs(np.asarray(self.quantiles) - 0.5)))
        names = [column(q) for q in self.quantiles]
        return [
            {
                self.columns["time"]: self._clock.write(t),
                "y_hat": float(values[middle]),
                **{name: float(v) for name, v in zip(names, values, strict=False)},
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

    def push(
        self,
        id: Hashable,
        time: np.datetime64 | int,
        value: float | None,
        covariates: Mapping[str, Any] | None = None,
    ) -> None:
        """A row of a series. Rows left out are missing; one of None or NaN may be left out.

        Args:
            covariates: cells by column. With a value of None and a time ahead, what is known of the
                row that will come then.

        Raises:
            UserError: a time that is off the grid or not after the last one; an infinite value.
        """
        number = float("nan") if value is None else float(value)
        if np.isinf(number):
            raise UserError("a value is infinite", got=f"{value} at {time} of series {id!r}")
        if np.isnan(number) and (id not in self._rings or not self.shape.dynamic):
            return
        moment, real = self._placed(id, time)
        given = self._dynamic(id, covariates or {}, moment, real)
        ring = self._rings.get(id)
        steps = self._steps(id, ring, moment) if ring else 1
        ring = ring or self._begun(moment)
        if np.isnan(number):
            ring.foretell(steps, given)
            return
        for k, column_ in enumerate(self.shape.static):
            if covariates and column_.name in covariates:
                ring.static[k] = column_.code(covariates[column_.name])
        self._rings[id] = ring
        ring.push(steps, number, moment, given)
        ring.moment = real

    def _begun(self, moment: np.ndarray) -> Ring | Carried:
        """What is kept of a series whose first row comes at `moment`."""
        if self.shape.kind == "recurrent":
            return Carried(self.model, self.shape, moment)
        return Ring.empty(self.shape, moment)

    def _placed(
        self, id: Hashable, time: np.datetime64 | int
    ) -> tuple[np.ndarray, np.datetime64 | None]:
        """A row's time on the grid; of events their number, and the real time."""
        moment = np.asarray(time)
        moment = moment.astype("datetime64[us]" if moment.dtype.kind == "M" else np.int64)
        if not self._events:
            return moment, None
        ring = self._rings.get(id)
        real = moment.reshape(1)[0]
        if ring and ring.moment is not None and real <= ring.moment:
            raise UserError(
                f"a row of series {id!r} does not follow the last one",
                got=f"{real} after {ring.moment}",
                expected="a later time",
            )
        return np.asarray(int(ring.last) + 1 if ring else 1), real

    def _dynamic(
        self,
        id: Hashable,
        cells: Mapping[str, Any],
        moment: np.ndarray,
        real: np.datetime64 | None,
    ) -> np.ndarray:
        """The dynamic covariates (C,) of a row: given, or made from its time."""
        found = np.full(len(self.shape.dynamic), np.nan)
        country = self.columns.get("holidays")
        for k, covariate in enumerate(self.shape.dynamic):
            if covariate.scale is not None:
                ring = self._rings.get(id)
                found[k] = gaps.log_gap(ring.moment if ring else None, real, covariate.scale)
            elif country and covariate.name == holidays.COLUMN:
                found[k] = self._holiday(covariate, moment)
            elif covariate.name in cells:
                found[k] = covariate.code(cells[covariate.name])
        return found

    def _holiday(self, covariate: Covariate, times: np.ndarray) -> np.ndarray:
        given = (covariate, np.atleast_1d(times), self.shape.freq, self.columns["holidays"])
        return np.asarray(holidays.values(*given)).squeeze()

    def _steps(self, id: Hashable, ring: Ring | Carried, time: np.ndarray) -> int:
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
        if isinstance(ring, Carried):
            return Forecast(self._times(ring), ring.forecast(self._known(ring)))
        window = encode(ring.rows[None])
        rows = np.concatenate([ring.extra, self._known(ring)])[None]
        given = inputs(self.shape, window, ring.last[None], rows, ring.static[None])
        outputs, _ = self.model.run(ENTRY, given)
        return Forecast(self._times(ring), decode(self.shape, outputs["quantiles"], window)[0])

    def _known(self, ring: Ring | Carried) -> np.ndarray:
        """What is known ahead (A, C): told before, and holidays."""
        known, country = ring.ahead.copy(), self.columns.get("holidays")
        for k, covariate in enumerate(self.shape.dynamic):
            if covariate.role == "past":
                known[:, k] = np.nan
            elif country and covariate.name == holidays.COLUMN:
                ahead = np.arange(1, len(known) + 1)
                times = calendar.step_times(ring.last, self.shape.freq, ahead)
                known[:, k] = self._holiday(covariate, times)
        return known

    def _times(self, ring: Ring | Carried) -> np.ndarray:
        """The times (H,) of the rows ahead; of events, one typical gap after another."""
        ahead = np.arange(1, self.shape.horizon + 1)
        if ring.moment is None:
            return calendar.step_times(ring.last, self.shape.freq, ahead)
        gap = next(c.scale for c in self.shape.dynamic if c.scale is not None)
        times: np.ndarray = ring.moment + ahead * np.timedelta64(round(gap * 1e6), "us")
        return times

    def save(self) -> dict[str, np.ndarray]:
        """The state as plain arrays; ids must be texts, numbers or tuples of them."""
        names = [[name] if not isinstance(name, tuple) else [list(name)] for name in self.ids]
        ids = np.frombuffer(json.dumps(names).encode(), np.uint8)
        each = [ring.save() for ring in self._rings.values()]
        first = each[0] if each else {}
        return {"ids": ids, **{k: np.stack([one[k] for one in each]) for k in first}}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take the state of `save`, from a stream of the same model.

        Raises:
            UserError: the state has windows of another length.
        """
        lookback = self.shape.lookback
        if "rows" in state and state["rows"].shape[1:] != (lookback,):
            raise UserError(
                "the state belongs to another model",
                got=f"windows of {state['rows'].shape[1:]} rows",
                expected=f"{lookback} rows",
            )
        names = [
            tuple(n) if isinstance(n, list) else n for (n,) in json.loads(state["ids"].tobytes())
        ]
        parts = {name: array for name, array in state.items() if name != "ids"}
        each = [{k: array[n] for k, array in parts.items()} for n in range(len(names))]
        self._rings = {n: self._restored(one) for n, one in zip(names, each, strict=True)}

    def _restored(self, saved: Mapping[str, np.ndarray]) -> Ring | Carried:
        if self.shape.kind == "recurrent":
            return Carried.restored(self.model, self.shape, saved)
        return Ring.restored(saved)


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
