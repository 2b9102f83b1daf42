"""Series to batches of windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lstmkit.tasks.forecast.features import Encoded, Geometry, encode, inputs
from lstmkit.tasks.forecast.metrics import seasonal_scale

if TYPE_CHECKING:
    from torch import Tensor

LEVEL_SHARE = 0.05  # of the mean size in the loss's unit: halfway from MASE towards sMAPE


class Batch(NamedTuple):
    """Torch tensors of B windows: the network's four inputs, truth, and its weight, (B, H)."""

    values: Tensor
    mask: Tensor
    past_calendar: Tensor
    future_calendar: Tensor
    truth: Tensor
    weight: Tensor

    def to(self, device: Any) -> Batch:
        """The batch on a device."""
        return Batch(*(tensor.to(device) for tensor in self))


class Corpus:
    """Regular series end to end: values (N,), times (N,), series i in rows start[i]:stop[i]."""

    def __init__(
        self, times: Sequence[np.ndarray], values: Sequence[np.ndarray], shape: Geometry
    ) -> None:
        self.shape = shape
        lengths = np.array([len(v) for v in values])
        self.stop = np.cumsum(lengths)
        self.start = self.stop - lengths
        self.times, self.values = np.concatenate(times), np.concatenate(values)

    @cached_property
    def unit(self) -> np.ndarray:
        """In which errors of each series count (n,); see `loss_units`."""
        parts = [self.values[a:b] for a, b in zip(self.start, self.stop, strict=True)]
        return loss_units(parts, self.shape.season)

    def __len__(self) -> int:
        return len(self.start)

    @property
    def lengths(self) -> np.ndarray:
        """Rows of each series."""
        return self.stop - self.start

    def until(self, stop: np.ndarray, unit: np.ndarray | None = None) -> Corpus:
        """The first `stop` (n,) rows of each series; loss in `unit` (n,), or in their own."""
        ends = self.start + np.maximum(stop, 1)
        cuts = list(zip(self.start, ends, strict=True))
        part = Corpus(
            [self.times[a:b] for a, b in cuts], [self.values[a:b] for a, b in cuts], self.shape
        )
        if unit is not None:
            part.unit = unit
        return part

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

    def window(
        self, series: np.ndarray, origin: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray, Encoded]:
        """The program's inputs, the truth (B, H) in the user's units, and the windows' units."""
        past, future = self.rows(series, origin)
        window = encode(past)
        last = self.times[self.start[series] + origin - 1]
        return inputs(self.shape, window, last), future, window

    def batch(self, series: np.ndarray, origin: np.ndarray) -> Batch:
        """Torch tensors of these windows, truth in the windows' units.

        A window weighs by its span in the loss's unit; one without two different values, 0.
        """
        import torch

        given, future, window = self.window(series, origin)
        seen = ~np.isnan(future)
        truth = np.where(seen, (future - window.level) / window.span, 0.0)
        uneven = np.abs(window.values).max(1, keepdims=True) > 0
        weight = seen * uneven * (window.span / self.unit[series][:, None])
        arrays = [*given.values(), truth, weight]
        return Batch(*(torch.from_numpy(np.ascontiguousarray(a, np.float32)) for a in arrays))

    def random(self, size: int, count: int, seed: Sequence[int]) -> Iterator[Batch]:
        """`count` batches of `size` windows: a random series, then a random origin in it."""
        generator = np.random.default_rng(seed)
        usable = np.flatnonzero(self.lengths > self.shape.horizon)
        latest = self.lengths - self.shape.horizon
        earliest = np.clip(max(self.shape.season, self.shape.horizon), 1, np.maximum(latest, 1))
        for _ in range(count):
            series = generator.choice(usable, size)
            origin = generator.integers(earliest[series], latest[series] + 1)
            yield self.batch(series, origin)


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
