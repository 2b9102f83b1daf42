"""From rows of channels to the inputs of a detector's program, and its answers back.

No torch. What is learnt (scales, errors, their covariance) is in the program; here are only the
names of things, the calendar of a row, and the scale of scores.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lstmkit.readers import calendar

HALF_LIFE = 240  # rows in which a channel's level follows a shift half way
SMOOTHING = 10  # rows over which errors are averaged, exponentially
UNKNOWN = 0  # the number of a series that was not in the training
LARGEST_RING = 400_000  # values of the last season that are carried

FARTHEST = 1e6  # units from its origin at which a value is cut off

Inputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Geometry:
    """What a detector reads, and how it remembers.

    Attributes:
        channels: their names, in the order of the inputs.
        freq: spacing of the rows, as `calendar.parse_freq` reads it.
        season: rows after which the past is looked up again; 0 without a season.
        cycles: of the calendar, `calendar.cycles` names them.
        half_life: rows in which the level of a channel follows half of a shift.
        smoothing: rows over which the error is averaged.
        origin, unit: typical value and spread of each channel; the program reads
            (x - origin) / unit, since float32 does not hold small changes of large numbers.
        ids: the series of the training, numbered from 1.
    """

    channels: tuple[str, ...]
    freq: str
    season: int
    cycles: tuple[str, ...]
    half_life: int = HALF_LIFE
    smoothing: int = SMOOTHING
    origin: tuple[float, ...] = ()
    unit: tuple[float, ...] = ()
    ids: tuple[tuple[str, ...], ...] = ()

    @property
    def calendar_width(self) -> int:
        """Numbers that tell a row's place in its cycles."""
        return 2 * max(1, len(self.cycles))

    def number(self, id: tuple[Any, ...]) -> int:
        """The number of a series, UNKNOWN for one that was not in the training."""
        name = tuple(str(part) for part in id)
        if len(self.ids) == 1 or name not in self.ids:
            return 1 if len(self.ids) == 1 else UNKNOWN
        return self.ids.index(name) + 1

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Geometry:
        """The inverse of to_json."""
        names = {key: tuple(stored[key]) for key in ("channels", "cycles", "origin", "unit")}
        return cls(**{**stored, **names, "ids": tuple(tuple(i) for i in stored["ids"])})


def calendar_of(shape: Geometry, times: np.ndarray) -> np.ndarray:
    """Waves (n, K) float32 of the cycles at times (n,); of numbered rows that of the season."""
    if shape.cycles:
        names = calendar.cycles(shape.freq)
        columns = [2 * names.index(cycle) + wave for cycle in shape.cycles for wave in (0, 1)]
        return calendar.features(times, shape.freq)[:, columns]
    count = times.astype(np.int64) if times.dtype.kind != "M" else np.zeros(len(times))
    angle = 2 * np.pi * (count % max(shape.season, 1)) / max(shape.season, 1)
    return np.stack([np.sin(angle), np.cos(angle)], 1).astype(np.float32)


def inputs(shape: Geometry, values: np.ndarray, times: np.ndarray, number: int) -> Inputs:
    """Arguments of the program for rows (n, C) of one series; NaN is missing."""
    n = len(values)
    mask = ~np.isnan(values)
    relative = (values - np.asarray(shape.origin)) / np.asarray(shape.unit)
    return {
        "values": np.where(mask, relative, 0).clip(-FARTHEST, FARTHEST).astype(np.float32),
        "mask": mask.astype(np.float32),
        "calendar": calendar_of(shape, times),
        "series": np.full((n, 1), number, np.int64),
    }


def expected_values(shape: Geometry, expected: np.ndarray) -> np.ndarray:
    """What the program expected (n, C), in the user's units."""
    found: np.ndarray = expected * np.asarray(shape.unit) + np.asarray(shape.origin)
    return found
