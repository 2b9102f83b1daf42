"""Forecasts while rows arrive: a ring buffer of the last rows of each series, and the program.

The model is windowed: each forecast runs the program over the whole window again. A forecast from a
stream is that of `Forecaster.predict` on the same rows.
"""

from __future__ import annotations

import json
from collections.abc import Hashable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lstmkit.errors import UserError
from lstmkit.program import Program
from lstmkit.readers import calendar
from lstmkit.tasks.forecast.features import Geometry, decode, encode, inputs

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


class ForecastStream:
    """Push rows, ask for forecasts; no torch, memory of one window a series."""

    def __init__(self, program: Program, shape: Geometry, quantiles: tuple[float, ...]) -> None:
        self.program, self.shape, self.quantiles = program, shape, quantiles
        self._rings: dict[Hashable, Ring] = {}

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
                f"a row of series {id!r} does not follow the last one",
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
        outputs, _ = self.program.run(ENTRY, given)
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
