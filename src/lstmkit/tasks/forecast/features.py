"""Rows to numbers and answers back: the geometry of a window, its calendar, covariates and units.

A window is the last `lookback` rows of a series, cut into segments that the LSTM reads one a step,
followed by the segments to be forecast. Nothing here is learnt and nothing imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np

from lstmkit.readers import calendar
from lstmkit.readers import covariates as columns
from lstmkit.readers.covariates import Covariate

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
EPSILON = 1e-5  # of an instance's deviation
STEPS = 32  # of the LSTM that are aimed at, past and future
MOST_STEPS = 96


@dataclass(frozen=True)
class Geometry:
    """The sizes of a window, in rows: horizon H, season m, lookback L = K m, segment S (S | m).

    `covariates` are the columns beside the target, dynamic ones (known, past) before static ones.
    `nonnegative` series are never forecast below 0.
    """

    horizon: int
    season: int
    lookback: int
    segment: int
    freq: str
    cycles: tuple[str, ...]
    kind: str = "windowed"
    covariates: tuple[Covariate, ...] = ()
    nonnegative: bool = False

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

    @property
    def window_rows(self) -> int:
        """L + F S: rows of a window, past and future, that covariates are given for."""
        return self.lookback + self.future_steps * self.segment

    @property
    def dynamic(self) -> list[Covariate]:
        """Covariates that change from row to row."""
        return columns.dynamic(self.covariates)

    @property
    def static(self) -> list[Covariate]:
        """Covariates of a whole series."""
        return columns.static(self.covariates)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        covariates = [c.to_json() for c in self.covariates]
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**found, "cycles": list(self.cycles), "covariates": covariates}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Geometry:
        """The inverse of to_json; files of before covariates have none."""
        covariates = tuple(Covariate.from_json(c) for c in stored.get("covariates", ()))
        return cls(**{**stored, "cycles": tuple(stored["cycles"]), "covariates": covariates})


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


def stretched(shape: Geometry, factor: float) -> Geometry:
    """The same with a lookback so many times as long, in whole seasons."""
    seasons = max(2, round(shape.seasons * factor))
    lookback = seasons * shape.season
    return replace(shape, lookback=lookback, segment=segment(shape.season, lookback, shape.horizon))


def recurrent(shape: Geometry) -> Geometry:
    """The same for a recurrent model: a row a step, `lookback` the rows of a training chunk."""
    return replace(shape, kind="recurrent", segment=1)


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


def decode(shape: Geometry, quantiles: np.ndarray, window: Encoded) -> np.ndarray:
    """Quantiles (B, H, Q) in a window's units -> in the units of the series, float64."""
    answer: np.ndarray = quantiles * window.span[..., None] + window.level[..., None]
    return np.maximum(answer, 0.0) if shape.nonnegative else answer


def deviation(window: Encoded) -> np.ndarray:
    """The standard deviation (B,) of the observed rows of windows, in their own units."""
    mask = window.mask.astype(np.float64)
    count = np.maximum(mask.sum(1), 1)
    mean = (window.values * mask).sum(1) / count
    square = (((window.values - mean[:, None]) * mask) ** 2).sum(1) / count
    found: np.ndarray = np.sqrt(square + EPSILON**2)
    return found


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


def inputs(
    shape: Geometry,
    window: Encoded,
    last: np.ndarray,
    rows: np.ndarray | None = None,
    static: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """What the program's `forecast` reads, by name, for windows that end at times `last` (B,).

    `rows` (B, L + F S, C) are the dynamic covariates and `static` (B, S) the static ones, NaN where
    missing; where a model has covariates and none are given, all of them are missing.
    """
    waves = step_calendar(shape, last)
    return {
        "values": window.values,
        "mask": window.mask,
        "past_calendar": waves[:, : shape.past_steps],
        "future_calendar": waves[:, shape.past_steps :],
        **covariate_inputs(shape, rows, static, len(last)),
    }


def covariate_inputs(
    shape: Geometry, rows: np.ndarray | None, static: np.ndarray | None, batch: int
) -> dict[str, np.ndarray]:
    """Covariates by the names of the network's inputs; see `split_columns`."""
    if rows is None:
        rows = np.full((batch, shape.window_rows, len(shape.dynamic)), np.nan, np.float32)
    if static is None:
        static = np.full((batch, len(shape.static)), np.nan, np.float32)
    fixed = split_columns(shape.static, static)
    return split_columns(shape.dynamic, rows) | {f"static_{k}": v for k, v in fixed.items()}


def split_columns(given: Sequence[Covariate], cells: np.ndarray) -> dict[str, np.ndarray]:
    """Cells (.., C) of these covariates to `numbers` and `present` (.., N), `codes` (.., M) int64.

    What there is none of is left out; missing numbers are 0 with `present` 0, missing codes 0.
    """
    number = [k for k, c in enumerate(given) if c.categories is None]
    code = [k for k, c in enumerate(given) if c.categories is not None]
    found = {}
    if number:
        picked = cells[..., number].astype(np.float32)
        there = np.isfinite(picked)
        found["numbers"] = np.where(there, picked, np.float32(0))
        found["present"] = there.astype(np.float32)
    if code:
        found["codes"] = np.nan_to_num(cells[..., code]).astype(np.int64)
    return found


def column(quantile: float) -> str:
    """The name of a quantile's column: `q0.1`."""
    return f"q{quantile:g}"
