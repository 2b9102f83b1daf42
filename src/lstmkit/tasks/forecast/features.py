"""Rows to numbers and answers back: the geometry of a window, its calendar, its units.

A window is the last `lookback` rows of a series, cut into segments that the LSTM reads one a step,
followed by the segments to be forecast. Nothing here is learnt and nothing imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from lstmkit.readers import calendar

DAYS = {  # length of each cycle that the calendar knows
    "second_of_minute": 1 / 1440,
    "minute_of_hour": 1 / 24,
    "hour_of_day": 1.0,
    "day_of_week": 7.0,
    "day_of_month": 30.5,
    "day_of_year": 365.25,
    "month_of_year": 365.25,
}
SEASONS = {24: 14, 7: 16, 5: 24, 96: 7, 52: 3, 12: 5, 4: 6, 1: 16}  # season: seasons looked back
STEPS = 32  # of the LSTM that are aimed at, past and future
MOST_STEPS = 96


@dataclass(frozen=True)
class Geometry:
    """The sizes of a window, in rows: horizon H, season m, lookback L = K m, segment S (S | m)."""

    horizon: int
    season: int
    lookback: int
    segment: int
    freq: str
    cycles: tuple[str, ...]

    @property
    def seasons(self) -> int:
        """K: seasons in the lookback."""
        return self.lookback // self.season

    @property
    def past_steps(self) -> int:
        """P: LSTM steps over the past."""
        return self.lookback // self.segment

    @property
    def blocks(self) -> int:
        """D: seasons begun by the horizon."""
        return -(-self.horizon // self.season)

    @property
    def phases(self) -> int:
        """R: phases of the season that are forecast; all of them from two blocks on."""
        whole = -(-self.horizon // self.segment) * self.segment
        return self.season if self.blocks > 1 else whole

    @property
    def future_steps(self) -> int:
        """F: LSTM steps over the future; F S = D R >= H rows."""
        return self.blocks * self.phases // self.segment

    @property
    def calendar_width(self) -> int:
        """C: calendar features of a step."""
        return 2 * max(1, len(self.cycles))

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "cycles": list(self.cycles)}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Geometry:
        """The inverse of to_json."""
        return cls(**{**stored, "cycles": tuple(stored["cycles"])})


class Encoded(NamedTuple):
    """Windows in their own units: values, mask (B, L) float32; level and span (B, 1) float64."""

    values: np.ndarray
    mask: np.ndarray
    level: np.ndarray
    span: np.ndarray


def geometry(
    horizon: int,
    season: int,
    freq: str,
    *,
    lookback: int | None = None,
    lengths: Sequence[int],
    days: float,
) -> Geometry:
    """Choose what was not given: lookback in whole seasons, a segment that divides the season.

    `lengths` are the rows of the series to learn from, `days` the time that they span. The lookback
    leaves the typical series windows to learn from; only cycles seen twice become features.
    """
    typical = int(np.median(lengths))
    wanted = lookback or max(SEASONS.get(season, max(2, round(200 / season))) * season, horizon)
    seasons = -(-wanted // season)
    if lookback is None:
        seasons = min(seasons, max(2, (typical - 2 * horizon) // season))
    cycles = tuple(c for c in calendar.cycles(freq) if 2 * DAYS[c] <= days)
    return Geometry(
        horizon, season, seasons * season, segment(season, seasons * season, horizon), freq, cycles
    )


def segment(season: int, lookback: int, horizon: int) -> int:
    """The divisor of the season that cuts lookback and horizon into about STEPS segments."""
    divisors = [d for d in range(1, season + 1) if season % d == 0]
    steps = {d: lookback // d + -(-horizon // d) for d in divisors}
    short = [d for d in divisors if steps[d] <= MOST_STEPS] or divisors[-1:]
    return min(short, key=lambda d: abs(np.log(steps[d] / STEPS)))


def encode(rows: np.ndarray) -> Encoded:
    """Rows (B, L) float64, NaN where missing -> windows relative to their last observed value.

    The span is the largest distance from that level, so that float32 holds any scale and offset.
    """
    mask = ~np.isnan(rows)
    last = rows.shape[1] - 1 - np.argmax(mask[:, ::-1], axis=1)
    level = np.where(mask.any(1), rows[np.arange(len(rows)), last], 0.0)[:, None]
    distance = np.where(mask, rows - level, 0.0)
    widest = np.abs(distance).max(axis=1, keepdims=True)
    span = np.where(widest > 0, widest, 1.0)
    return Encoded((distance / span).astype(np.float32), mask.astype(np.float32), level, span)


def decode(quantiles: np.ndarray, window: Encoded) -> np.ndarray:
    """Quantiles (B, H, Q) in a window's units -> in the units of the series, float64."""
    answer: np.ndarray = quantiles * window.span[..., None] + window.level[..., None]
    return answer


def step_calendar(shape: Geometry, last: np.ndarray) -> np.ndarray:
    """Calendar of each LSTM step, at its first row: last times (B,) -> (B, P + F, C) float32."""
    steps = np.arange(-shape.past_steps, shape.future_steps) * shape.segment + 1
    times = calendar.step_times(last[:, None], shape.freq, steps[None, :])
    found = calendar_features(shape, times.ravel())
    return found.reshape(len(last), len(steps), shape.calendar_width)


def calendar_features(shape: Geometry, times: np.ndarray) -> np.ndarray:
    """Waves of the cycles at times (n,): (n, C); integer time has the wave of its season."""
    if shape.cycles:
        names = calendar.cycles(shape.freq)
        columns = [2 * names.index(cycle) + wave for cycle in shape.cycles for wave in (0, 1)]
        return calendar.features(times, shape.freq)[:, columns]
    step = calendar.parse_freq(shape.freq)
    count = times.astype(np.int64) // step.count if step.unit == "i" else np.zeros(len(times))
    angle = 2 * np.pi * (count % shape.season) / shape.season
    return np.stack([np.sin(angle), np.cos(angle)], 1).astype(np.float32)


def inputs(shape: Geometry, window: Encoded, last: np.ndarray) -> dict[str, np.ndarray]:
    """What the program's `forecast` reads, by name, for windows that end at times `last` (B,)."""
    waves = step_calendar(shape, last)
    return {
        "values": window.values,
        "mask": window.mask,
        "past_calendar": waves[:, : shape.past_steps],
        "future_calendar": waves[:, shape.past_steps :],
    }


def column(quantile: float) -> str:
    """The name of a quantile's column: `q0.1`."""
    return f"q{quantile:g}"
