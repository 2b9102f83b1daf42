"""Running a recurrent forecaster: over whole series, many at once, and row by row in a stream.

The same rows give the same forecasts, bit for bit, whichever way they come: alone, beside other
series, or one at a time. Rows before the first observed one are left out, and so are those of a gap
after its first LONGEST_GAP: by then nothing of the series is carried but its level and scale.

The program reads a series from its first observed row on, in the unit of its first change, both
taken in float64: prices of 1e9 that change by 1e-3 keep their digits in float32. Its forecasts do
not depend on offset and unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lstmkit import runtime
from lstmkit.readers import calendar
from lstmkit.tasks.forecast.features import EPSILON, Geometry, calendar_features, split_columns

if TYPE_CHECKING:
    from lstmkit.tasks.forecast.data import Corpus
    from lstmkit.tasks.forecast.scoring import Model

OBSERVE, FORECAST = "observe", "forecast"  # the program's entry points
BATCH = 256  # series that are carried side by side, and forecasts made together
BLOCK = 512  # rows of each that are prepared at once
LONGEST_GAP = 4096  # rows
# On the end of M4 Hourly's training file 3 seasons gave a MASE of 0.888, 7 gave 0.802.
MOST_SEASONS, MOST_RING = 7, 384  # that are carried, and rows of them
CHUNK_SEASONS, LEAST_CHUNK, MOST_CHUNK = 14, 96, 400  # of training: seasons, rows, rows

Inputs = dict[str, np.ndarray]


def carried_seasons(shape: Geometry) -> int:
    """K: the seasons of a series that are carried, at least two."""
    return max(2, min(MOST_SEASONS, shape.seasons, MOST_RING // shape.season))


def chunk(shape: Geometry) -> int:
    """T: the rows of a training chunk, whose end has all the seasons that are carried."""
    wanted = max(LEAST_CHUNK, min(CHUNK_SEASONS * shape.season, MOST_CHUNK))
    return max(wanted, carried_seasons(shape) * shape.season + shape.horizon)


class History(NamedTuple):
    """A regular series: values (n,), NaN where missing, and times (n,).

    `extra` (n + F, C) are its dynamic covariates, those of F rows to come after them, and `static`
    (S,) those of the series; all missing where left out.
    """

    values: np.ndarray
    times: np.ndarray
    extra: np.ndarray | None = None
    static: np.ndarray | None = None


class Answers(NamedTuple):
    """Quantiles (W, H, Q) in the units of the series, and the scale (W,) of each forecast's."""

    quantiles: np.ndarray
    scale: np.ndarray


def forecast(
    model: Model,
    corpus: Corpus,
    series: np.ndarray,
    origin: np.ndarray,
    memoryless: bool = False,
) -> Answers:
    """What follows the first `origin` (W,) rows of each of `series` (W,), numbers of the corpus."""
    names, which = np.unique(series, return_inverse=True)
    spans = [slice(corpus.extra_start[k], corpus.extra_stop[k]) for k in names]
    histories = [
        History(corpus.series(k), corpus.series_times(k), corpus.extra[span], corpus.static[k])
        for k, span in zip(names, spans, strict=True)
    ]
    return run(model.ready, model.shape, histories, which, origin, memoryless)


def run(
    model: runtime.Model,
    shape: Geometry,
    histories: Sequence[History],
    which: np.ndarray,
    origin: np.ndarray,
    memoryless: bool = False,
) -> Answers:
    """Carry every history once up to its last origin, and forecast at each on the way.

    Args:
        model: runs the program of a RecurrentNetwork.
        which, origin: (W,) the history of each forecast, and how many of its rows are known then.
        memoryless: the LSTM forgets before each row; level, scale and past seasons stay.
    """
    channels = int(model.program.entry(FORECAST).outputs[0].shape[-1])
    found = Answers(np.empty((len(which), shape.horizon, channels)), np.empty(len(which)))
    used = np.unique(which)
    tracks = {k: _Track(histories[k], shape, origin[which == k].max()) for k in used}
    order = sorted(used, key=lambda k: -len(tracks[k].kept))
    for first in range(0, len(order), BATCH):
        group = order[first : first + BATCH]
        batch = _Batch(model, [tracks[k] for k in group], memoryless)
        for asked in np.flatnonzero(np.isin(which, group)):
            batch.ask(group.index(which[asked]), int(origin[asked]), int(asked))
        batch.carry(found)
    return found


@dataclass(frozen=True)
class _Track:
    """A history up to row `reach`, as the program reads it."""

    history: History
    shape: Geometry
    reach: int

    @cached_property
    def kept(self) -> np.ndarray:
        """The numbers of the rows that are read."""
        there = ~np.isnan(self.history.values[: self.reach])
        rows = np.arange(len(there))
        gap = rows - np.maximum.accumulate(np.where(there, rows, -1))
        return rows[(there.cumsum() > 0) & (gap <= longest_gap(self.shape))]

    @cached_property
    def offset(self) -> float:
        """The first observed value, or 0."""
        return float(self.history.values[self.kept[0]]) if len(self.kept) else 0.0

    @cached_property
    def unit(self) -> float:
        """The power of two at the first change, or 1."""
        distance = np.nan_to_num(self.history.values[self.kept] - self.offset)
        return power_of_two(distance[distance != 0][0]) if distance.any() else 1.0

    def rows(self, first: int, stop: int) -> Inputs:
        """What `observe` reads at rows first:stop of those that are read, (R, ..)."""
        rows = self.kept[first:stop]
        cells = _cells(self.history.extra, rows, len(self.shape.dynamic))
        values = (self.history.values[rows] - self.offset) / self.unit
        return row_inputs(self.shape, values, self.history.times[rows], cells, self.history.static)

    def coming(self, origin: int) -> Inputs:
        """What `forecast` reads after so many rows, (H, ..)."""
        ahead = np.arange(origin, origin + self.shape.horizon)
        cells = _cells(self.history.extra, ahead, len(self.shape.dynamic))
        return ahead_inputs(self.shape, self.history.times[origin - 1], cells)


class _Batch:
    """Series side by side, longest first, all ending at the same step: those that have begun are
    always the first ones, and no step is spent on padding."""

    def __init__(self, model: runtime.Model, tracks: list[_Track], memoryless: bool) -> None:
        self.model, self.tracks, self.memoryless = model, tracks, memoryless
        self.steps = len(tracks[0].kept)
        self.begin = np.array([self.steps - len(track.kept) for track in tracks])
        self.sessions: list[Any] = [model.session(OBSERVE) for _ in tracks]
        self.asked: dict[int, list[tuple[int, int, int]]] = {}

    def ask(self, place: int, origin: int, answer: int) -> None:
        """A forecast of the series at `place` after `origin` of its rows, as number `answer`."""
        read = int(np.searchsorted(self.tracks[place].kept, origin))
        step = int(self.begin[place]) + read if read else 0  # of nothing read, at once
        self.asked.setdefault(step, []).append((place, origin, answer))

    def carry(self, found: Answers) -> None:
        """All steps, and the forecasts that were asked for."""
        self._answer(0, self._states(0), found)
        for first in range(0, self.steps, BLOCK):
            block = self._block(first, min(first + BLOCK, self.steps))
            for step in range(first, min(first + BLOCK, self.steps)):
                active = int(np.searchsorted(self.begin, step, side="right"))
                rows = {name: array[step - first, :active] for name, array in block.items()}
                forgetful = self._forgetful(step + 1, rows) if self.memoryless else None
                runtime.step_many(self.sessions[:active], rows)
                self._answer(step + 1, forgetful or self._states(step + 1), found)

    def _block(self, first: int, stop: int) -> Inputs:
        """What `observe` reads at steps first:stop, (R, series, ..)."""
        found: Inputs = {}
        for place, track in enumerate(self.tracks):
            begin = int(self.begin[place])
            if begin >= stop:
                break
            rows = track.rows(max(first - begin, 0), stop - begin)
            for name, array in rows.items():
                size = (stop - first, len(self.tracks), *array.shape[1:])
                room = found.setdefault(name, np.zeros(size, array.dtype))
                room[max(begin - first, 0) :, place] = array
        return found

    def _states(self, step: int) -> Inputs:
        """The states of the series that are asked for after so many steps, (D, ..) by slot."""
        states = [self.sessions[place].state for place, _, _ in self.asked.get(step, [])]
        return stacked(states)

    def _forgetful(self, step: int, rows: Inputs) -> Inputs:
        """The same, where the LSTM has read only the last row."""
        places = [place for place, _, _ in self.asked.get(step, [])]
        if not places:
            return {}
        states = stacked([self.sessions[place].state for place in places])
        states = {k: np.zeros_like(v) if "lstm." in k else v for k, v in states.items()}
        given = {name: array[places] for name, array in rows.items()}
        return self.model.run(OBSERVE, given, states)[1]

    def _answer(self, step: int, states: Inputs, found: Answers) -> None:
        due = self.asked.get(step, [])
        if not due:
            return
        ahead = stacked([self.tracks[place].coming(origin) for place, origin, _ in due])
        outputs, _ = self.model.run(FORECAST, ahead, states)
        for (place, _, answer), *one in zip(
            due, outputs["quantiles"], outputs["scale"], strict=True
        ):
            track = self.tracks[place]
            found.quantiles[answer] = decoded(track.shape, one[0], track.offset, track.unit)
            found.scale[answer] = max(float(one[1][0]) * track.unit, EPSILON * track.unit)


class Carried:
    """One series in a stream: what is carried of it, and what is known of its rows to come.

    Attributes:
        last: the time of the newest row.
        ahead: (H, C) dynamic covariates that are known of the rows after it.
        static: (S,) covariates of the series, to be set before the first row.
        moment: the true time of the newest row, where rows are events.
    """

    def __init__(self, model: runtime.Model, shape: Geometry, last: np.ndarray) -> None:
        self.model, self.shape, self.last = model, shape, last
        self.ahead = np.full((shape.horizon, len(shape.dynamic)), np.nan)
        self.static = np.full(len(shape.static), np.nan)
        self.moment: np.datetime64 | None = None
        self._session: Any = model.session(OBSERVE)
        self._offset, self._unit = np.nan, np.nan  # until known
        self._gap = 0  # rows since the newest observed one

    def push(self, steps: int, value: float, time: np.ndarray, given: np.ndarray) -> None:
        """Move on by `steps` rows, those in between missing, and read the newest.

        What was known ahead of the rows passed stays theirs; `given` (C,) adds to it. Missing
        values before the first observed one are not read.
        """
        rows = self._read_of(steps, value)
        cells = _cells(self.ahead, rows, self.ahead.shape[1])
        times = calendar.step_times(self.last, self.shape.freq, rows + 1)
        if len(rows) and rows[-1] == steps - 1:
            cells[-1], times[-1] = np.where(np.isnan(given), cells[-1], given), time
        values = np.where(rows == steps - 1, value, np.nan)
        onward = np.arange(len(self.ahead)) + steps
        self.ahead, self.last = _cells(self.ahead, onward, self.ahead.shape[1]), time
        self._gap = 0 if not np.isnan(value) else self._gap + steps
        if len(rows):
            relative = self._relative(values)
            self._session.run(row_inputs(self.shape, relative, times, cells, self.static))

    def _read_of(self, steps: int, value: float) -> np.ndarray:
        """The numbers of the rows that are read, of `steps` new ones whose last is `value`."""
        if np.isnan(self._offset):
            return np.arange(steps - 1, steps if not np.isnan(value) else steps - 1)
        room = max(longest_gap(self.shape) - self._gap, 0)
        between = np.arange(min(steps - 1, room))
        newest = not np.isnan(value) or steps <= room
        return np.append(between, steps - 1) if newest else between

    def _relative(self, values: np.ndarray) -> np.ndarray:
        """Values (R,), of which only the newest may be observed, in the program's units."""
        if np.isnan(self._offset):
            self._offset = float(values[-1])
        distance = values - self._offset
        if np.isnan(self._unit) and np.nan_to_num(distance[-1:]).any():
            self._unit = power_of_two(distance[-1])
        return distance / (1.0 if np.isnan(self._unit) else self._unit)

    def foretell(self, steps: int, given: np.ndarray) -> None:
        """Note what is known of the row `steps` ahead."""
        if steps <= len(self.ahead):
            self.ahead[steps - 1] = given

    def forecast(self, known: np.ndarray | None = None) -> np.ndarray:
        """What comes after the newest row: (H, Q) in the units of the series.

        Args:
            known: (H, C) to go by instead of `ahead`.
        """
        cells = self.ahead if known is None else known[: self.shape.horizon]
        given = stacked([ahead_inputs(self.shape, self.last, cells)])
        outputs, _ = self.model.run(FORECAST, given, stacked([self._session.state]))
        offset, unit = np.nan_to_num(self._offset), self._unit
        unit = 1.0 if np.isnan(unit) else unit
        return decoded(self.shape, outputs["quantiles"][0], float(offset), float(unit))

    def save(self) -> dict[str, np.ndarray]:
        """The state as plain arrays."""
        moment = np.datetime64("NaT", "us") if self.moment is None else self.moment
        return {
            "state": np.frombuffer(self._session.save(), np.uint8),
            "units": np.array([self._offset, self._unit]),
            "gap": np.array(self._gap),
            "last": np.asarray(self.last).astype(np.int64),
            "dated": np.array(np.asarray(self.last).dtype.kind == "M"),
            "moment": np.asarray(moment, "datetime64[us]").astype(np.int64),
            "ahead": self.ahead.copy(),
            "static": self.static.copy(),
        }

    @classmethod
    def restored(
        cls, model: runtime.Model, shape: Geometry, saved: Mapping[str, np.ndarray]
    ) -> Carried:
        """What was saved by `save`, from the same model.

        Raises:
            ProgramError: the state is damaged, or another model's.
        """
        kind = "datetime64[us]" if saved["dated"] else "int64"
        found = cls(model, shape, saved["last"].astype(kind))
        found._session.restore(saved["state"].tobytes())
        found._offset, found._unit = (float(x) for x in saved["units"])
        found._gap = int(saved["gap"])
        found.ahead, found.static = saved["ahead"].copy(), saved["static"].copy()
        moment = saved["moment"].astype("datetime64[us]")
        found.moment = None if np.isnat(moment) else np.datetime64(int(saved["moment"]), "us")
        return found


def longest_gap(shape: Geometry) -> int:
    """The missing rows of a gap that are read."""
    return max(LONGEST_GAP, carried_seasons(shape) * shape.season)


def power_of_two(distance: float) -> float:
    """The power of two at or below a distance: dividing by it rounds nothing."""
    return float(2.0 ** np.floor(np.log2(abs(distance))))


def decoded(shape: Geometry, quantiles: np.ndarray, offset: float, unit: float) -> np.ndarray:
    """Quantiles (H, Q) of the program in the units of the series, float64."""
    answer: np.ndarray = quantiles.astype(np.float64) * unit + offset
    return np.maximum(answer, 0.0) if shape.nonnegative else answer


def row_inputs(
    shape: Geometry,
    relative: np.ndarray,
    times: np.ndarray,
    cells: np.ndarray,
    static: np.ndarray | None,
) -> Inputs:
    """Rows by the names of `observe`: values (R,) relative to offset and unit, NaN where missing;
    dynamic covariates `cells` (R, C), static ones (S,)."""
    there = ~np.isnan(relative)
    found = {
        "value": np.where(there, relative, 0.0).astype(np.float32)[:, None],
        "mask": there.astype(np.float32)[:, None],
        "calendar": calendar_features(shape, times),
        **split_columns(shape.dynamic, cells),
    }
    if static is None:
        static = np.full(len(shape.static), np.nan)
    for name, array in split_columns(shape.static, static).items():
        found[f"static_{name}"] = np.broadcast_to(array, (len(relative), *array.shape))
    return found


def ahead_inputs(shape: Geometry, last: np.ndarray, cells: np.ndarray) -> Inputs:
    """The rows after time `last` by the names of `forecast`; those of `past` covariates missing."""
    times = calendar.step_times(last, shape.freq, np.arange(1, shape.horizon + 1))
    known = cells.copy()
    known[:, [c.role == "past" for c in shape.dynamic]] = np.nan
    columns = split_columns(shape.dynamic, known)
    return {"future_calendar": calendar_features(shape, times), **columns}


def stacked(each: Sequence[Mapping[str, np.ndarray]]) -> Inputs:
    """Arrays by name, those of each one after another along a new first axis."""
    return {name: np.stack([one[name] for one in each]) for name in (each[0] if each else ())}


def _cells(extra: np.ndarray | None, rows: np.ndarray, width: int) -> np.ndarray:
    """Rows of covariates (R, C) by number, NaN outside."""
    found = np.full((len(rows), width), np.nan)
    if extra is not None and width:
        inside = rows < len(extra)
        found[inside] = extra[rows[inside]]
    return found
