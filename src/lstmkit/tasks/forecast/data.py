"""Series to batches of windows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lstmkit.readers import calendar
from lstmkit.tasks.forecast.carried import chunk
from lstmkit.tasks.forecast.features import (
    Encoded,
    Geometry,
    calendar_features,
    covariate_inputs,
    encode,
    inputs,
)
from lstmkit.tasks.forecast.metrics import seasonal_scale

if TYPE_CHECKING:
    from torch import Tensor

    from lstmkit.readers.tables import Series

BLIND = 0.1  # of the windows learn to do without what is known of the future
FORECASTS = 12  # after so many rows of a training chunk
LEVEL_SHARE = 0.05  # of the mean size in the loss's unit: halfway from MASE towards sMAPE


class Batch(NamedTuple):
    """Torch tensors of B windows: the network's inputs by name, truth, and its weight.

    Truth and weight are (B, H), or (B, T, H) where there is a forecast after each of T rows.
    """

    inputs: dict[str, Tensor]
    truth: Tensor
    weight: Tensor

    def to(self, device: Any) -> Batch:
        """The batch on a device."""
        inputs = {name: tensor.to(device) for name, tensor in self.inputs.items()}
        return Batch(inputs, self.truth.to(device), self.weight.to(device))


class Corpus:
    """Regular series end to end: values (N,), times (N,), series i in rows start[i]:stop[i].

    Dynamic covariates (M, C) lie the same way in `extra`, from extra_start[i] to extra_stop[i];
    known ones may go on after the series. Static ones are (n, S). Parts of a corpus (`until`) are
    views.

    Args:
        times, values: of each series.
        shape: the window, which says what the covariates are.
        extra: (n_i + F_i, C) of each series; all missing where left out.
        static: (n, S).
    """

    def __init__(
        self,
        times: Sequence[np.ndarray],
        values: Sequence[np.ndarray],
        shape: Geometry,
        extra: Sequence[np.ndarray] | None = None,
        static: np.ndarray | None = None,
    ) -> None:
        self.shape = shape
        lengths = np.array([len(v) for v in values])
        self.stop = np.cumsum(lengths)
        self.start = self.stop - lengths
        self.times, self.values = np.concatenate(times), np.concatenate(values)
        width, fixed = len(shape.dynamic), len(shape.static)
        many = extra if extra is not None and width else [np.empty((0, width))] * len(lengths)
        reach = np.array([len(e) for e in many])
        self.extra_stop = np.cumsum(reach)
        self.extra_start = self.extra_stop - reach
        self.extra = np.concatenate(many).astype(np.float32, copy=False)
        blank = np.full((len(lengths), fixed), np.nan, np.float32)
        self.static = blank if static is None or not fixed else static.astype(np.float32)

    @classmethod
    def of(cls, series: Sequence[Series], shape: Geometry) -> Corpus:
        """The series of a table."""
        extra = [s.covariates for s in series if s.covariates is not None]
        static = [s.static for s in series if s.static is not None]
        return cls(
            [s.time for s in series],
            [s.values for s in series],
            shape,
            extra if len(extra) == len(series) else None,
            np.stack(static) if len(static) == len(series) else None,
        )

    @cached_property
    def unit(self) -> np.ndarray:
        """In which errors of each series count (n,); see `loss_units`."""
        return loss_units([self.series(k) for k in range(len(self))], self.shape.season)

    @property
    def deviations(self) -> np.ndarray:
        """The standard deviation of each series (n,), 1 where it never changes."""
        found = np.array([np.nanstd(self.series(k)) for k in range(len(self))])
        return np.where(found > 0, found, 1.0)

    def __len__(self) -> int:
        return len(self.start)

    def series(self, number: int) -> np.ndarray:
        """The values of one series (n,)."""
        return self.values[self.start[number] : self.stop[number]]

    def series_times(self, number: int) -> np.ndarray:
        """The times of one series (n,)."""
        return self.times[self.start[number] : self.stop[number]]

    @property
    def lengths(self) -> np.ndarray:
        """Rows of each series."""
        return self.stop - self.start

    def until(self, stop: np.ndarray, unit: np.ndarray | None = None) -> Corpus:
        """The first `stop` (n,) rows of each series, as a view; loss in `unit` (n,), or their own.

        What is known of the rows after them stays known.
        """
        part = copy(self)
        part.stop = self.start + np.clip(stop, 1, self.lengths)
        part.__dict__.pop("unit", None)
        if unit is not None:
            part.unit = unit
        return part

    def part(self, numbers: np.ndarray, rows: int | None = None) -> Corpus:
        """Some series, as a copy: their last `rows` rows, or all."""
        first = np.zeros(len(numbers), np.int64)
        if rows is not None:
            first = np.maximum(self.lengths[numbers] - rows, 0)
        pairs = list(zip(numbers, first, strict=True))
        return Corpus(
            [self.series_times(k)[a:] for k, a in pairs],
            [self.series(k)[a:] for k, a in pairs],
            self.shape,
            [self.extra[self.extra_start[k] + a : self.extra_stop[k]] for k, a in pairs],
            self.static[numbers],
        )

    def shaped(self, shape: Geometry) -> Corpus:
        """The same rows for windows of another shape, as a view."""
        part = copy(self)
        part.shape = shape
        return part

    def digest(self) -> str:
        """A name for these very numbers."""
        found = hashlib.blake2b(digest_size=16)
        for array in (self.start, self.stop, self.values, self.extra, self.static):
            found.update(np.ascontiguousarray(array).data)
        return found.hexdigest()

    def rows(self, series: np.ndarray, origin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Past (B, L) and future (B, H) of windows whose future begins at row `origin` of a series.

        NaN outside the series.
        """
        reach = np.arange(-self.shape.lookback, self.shape.horizon)
        first = self.start[series][:, None]
        position = first + origin[:, None] + reach
        inside = (position >= first) & (position < self.stop[series][:, None])
        rows = self.values[np.clip(position, 0, len(self.values) - 1)]
        rows = np.where(inside, rows, np.nan)
        return rows[:, : self.shape.lookback], rows[:, self.shape.lookback :]

    def covariate_rows(
        self, series: np.ndarray, origin: np.ndarray, past: int, future: int
    ) -> np.ndarray | None:
        """Dynamic covariates of `past` rows before each origin and `future` from it on, (B, R, C).

        NaN where not given, and where a column of the past lies in the future; None where a model
        has none.
        """
        given = self.shape.dynamic
        if not given:
            return None
        first, reach = self.extra_start[series][:, None], np.arange(-past, future)
        position = first + origin[:, None] + reach
        inside = (position >= first) & (position < self.extra_stop[series][:, None])
        rows = np.full((*position.shape, len(given)), np.nan, np.float32)
        rows[inside] = self.extra[position[inside]]
        rows[:, past:, [c.role == "past" for c in given]] = np.nan
        return rows

    def window(
        self, series: np.ndarray, origin: np.ndarray, blind: np.ndarray | None = None
    ) -> tuple[dict[str, np.ndarray], np.ndarray, Encoded]:
        """The program's inputs, the truth (B, H) in the user's units, and the windows' units.

        Where `blind` (B,), what is known of the future is hidden.
        """
        past, future = self.rows(series, origin)
        window, shape = encode(past), self.shape
        last = self.times[self.start[series] + origin - 1]
        ahead = shape.window_rows - shape.lookback
        rows = self.covariate_rows(series, origin, shape.lookback, ahead)
        if rows is not None and blind is not None:
            rows[blind, shape.lookback :] = np.nan
        return inputs(shape, window, last, rows, self.static[series]), future, window

    def batch(
        self, series: np.ndarray, origin: np.ndarray, blind: np.ndarray | None = None
    ) -> Batch:
        """Torch tensors of these windows, truth in the windows' units.

        A window weighs by its span in the loss's unit; one without two different values, 0.
        """
        given, future, window = self.window(series, origin, blind)
        seen = ~np.isnan(future)
        truth = np.where(seen, (future - window.level) / window.span, 0.0)
        uneven = np.abs(window.values).max(1, keepdims=True) > 0
        weight = seen * uneven * (window.span / self.unit[series][:, None])
        return tensors(given, truth, weight)

    def random(
        self, size: int, count: int, seed: Sequence[int], share: tuple[int, int] = (0, 1)
    ) -> Iterator[Batch]:
        """`count` batches of `size` windows: a random series, then a random origin in it.

        Of each batch, the process `share` = (rank, world) gets every world-th window.
        """
        rank, world = share
        generator = np.random.default_rng(seed)
        usable = np.flatnonzero(self.lengths > self.shape.horizon)
        latest = self.lengths - self.shape.horizon
        earliest = np.clip(max(self.shape.season, self.shape.horizon), 1, np.maximum(latest, 1))
        for _ in range(count):
            series = generator.choice(usable, size)
            origin = generator.integers(earliest[series], latest[series] + 1)
            blind = generator.random(size) < BLIND
            yield self.batch(*(x[rank::world] for x in (series, origin, blind)))

    def chunks(
        self, size: int, count: int, seed: Sequence[int], share: tuple[int, int] = (0, 1)
    ) -> Iterator[Batch]:
        """As `random`, for a recurrent model: chunks of rows, and forecasts after some of them."""
        rank, world = share
        generator, H, T = np.random.default_rng(seed), self.shape.horizon, chunk(self.shape)
        usable = np.flatnonzero(self.lengths > H)
        for _ in range(count):
            series = generator.choice(usable, size)
            rows = self.lengths[series]
            first = generator.integers(0, np.maximum(rows - T - H, 0) + 1)
            latest = np.minimum(T, rows - first - H)
            earliest = np.minimum(self.shape.season, latest) - 1
            spread = generator.random((size, FORECASTS))
            at = earliest[:, None] + (spread * (latest - earliest)[:, None]).astype(np.int64)
            yield self.chunk(*(x[rank::world] for x in (series, first, at)))

    def chunk_before(self, series: np.ndarray, origin: np.ndarray) -> Batch:
        """The chunks that end before row `origin` (B,), and the forecast after the last of them."""
        first = np.maximum(origin - chunk(self.shape), 0)
        return self.chunk(series, first, (origin - first - 1)[:, None])

    def chunk_units(self, series: np.ndarray, first: np.ndarray) -> Encoded:
        """The units in which `chunk` gives its rows."""
        return encode(self.rows_from(series, first, chunk(self.shape) + self.shape.horizon))

    def chunk(self, series: np.ndarray, first: np.ndarray, at: np.ndarray) -> Batch:
        """Torch tensors of T rows from row `first` (B,) of a series on, forecast after `at` (B, A).

        Truth and weight are (B, A, H), in units of each chunk.
        """
        H, T = self.shape.horizon, chunk(self.shape)
        values = self.rows_from(series, first, T + H)
        window = encode(values)
        seen = ~np.isnan(values)
        rows = self.covariate_rows(series, first + T, T, H)
        begin = self.times[self.start[series] + first]
        times = calendar.step_times(begin[:, None], self.shape.freq, np.arange(T + H)[None])
        waves = calendar_features(self.shape, times.ravel()).reshape(*times.shape, -1)
        ahead = at[..., None] + np.arange(1, H + 1)
        truth, there = (np.take_along_axis(x[:, None], ahead, 2) for x in (window.values, seen))
        given = {
            "values": window.values[:, :T],
            "mask": window.mask[:, :T],
            "calendar": waves,
            "at": at,
            **covariate_inputs(self.shape, rows, self.static[series], len(series)),
        }
        unit = (window.span[:, 0] / self.unit[series])[:, None, None]
        return tensors(given, truth, there * unit)

    def rows_from(self, series: np.ndarray, first: np.ndarray, rows: int) -> np.ndarray:
        """Rows (B, rows) of series from `first` (B,) on, NaN after their end."""
        begin = (self.start[series] + first)[:, None]
        position = begin + np.arange(rows)
        inside = position < self.stop[series][:, None]
        found = self.values[np.minimum(position, len(self.values) - 1)]
        return np.where(inside, found, np.nan)


def tensors(given: Mapping[str, np.ndarray], truth: np.ndarray, weight: np.ndarray) -> Batch:
    """A batch from numpy arrays: float32, whole numbers as they are."""
    import torch

    def tensor(array: np.ndarray) -> Tensor:
        kind = np.int64 if array.dtype.kind == "i" else np.float32
        return torch.from_numpy(np.ascontiguousarray(array, kind))

    return Batch({k: tensor(v) for k, v in given.items()}, tensor(truth), tensor(weight))


def loss_units(values: Sequence[np.ndarray], season: int) -> np.ndarray:
    """The unit in which errors of each series count (n,): seasonal difference and a share of size.

    Units are divided by a common factor, so that the mean seasonal difference is about 1 of them
    whatever the offset of the series; series that never change get 1.
    """
    difference = np.array([difference_of(v, season) for v in values])
    size = np.array([np.nanmean(np.abs(v)) for v in values])
    unit = 0.5 * difference + LEVEL_SHARE * size
    changing = difference > 0
    if not changing.any():
        return np.ones(len(values))
    unit = np.where(changing, unit, 1.0)
    factor = (difference[changing] / unit[changing]).mean()
    return np.where(changing, unit * factor, 1.0)


def difference_of(values: np.ndarray, season: int) -> float:
    """The mean absolute seasonal difference, of neighbours where no season is complete, or 0."""
    found = seasonal_scale(values, season)
    return found if found > 0 else float(np.nan_to_num(seasonal_scale(values, 1)))
