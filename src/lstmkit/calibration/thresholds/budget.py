"""The operator's budget: so many alerts a day, on rows to come as well.

The level is first the one at which the calibration scores would have made that many alerts,
continued by an exponential tail where they are too few. Then it is steered by what happens, as a
quantile is tracked (Gibbs & Candes 2021; Angelopoulos et al. 2023): every row lowers it a little,
every alert raises it, so that over time alerts come at the rate of the budget. A floor keeps quiet
months from alarming on noise; a day of many alerts raises it by no more than a ceiling.
"""

from __future__ import annotations

import math

import numpy as np

from lstmkit.calibration.thresholds.base import Threshold
from lstmkit.errors import UserError

STEP = 0.25  # decades by which one alert raises the level
ROOM = 2.0  # decades below its first value that the level can fall to
CEILING = 6.0  # and above it
TAIL_ALERTS = 5  # alerts in the calibration that a level is read off for


class Budget(Threshold):
    """So many alerts a day.

    Args:
        per_day: alerts.
        rows_per_day: rows in a day.
        gap: alarms at most so many rows apart are one alert.
    """

    STATE = ("level", "base", "since")

    def __init__(self, per_day: float, rows_per_day: float, gap: int = 30) -> None:
        if not (per_day > 0 and rows_per_day > 0):
            raise UserError("a budget is a number of alerts a day", got=f"{per_day:g}")
        if per_day * (gap + 1) > rows_per_day:
            raise UserError(
                f"so many alerts do not fit into a day of {rows_per_day:g} rows",
                got=f"{per_day:g} alerts, {gap} rows apart",
                expected=f"at most {rows_per_day / (gap + 1):.3g} a day",
                hint="a smaller --alerts-per-day, or a smaller --gap in training",
            )
        self.per_day, self.rows_per_day, self.gap = float(per_day), float(rows_per_day), int(gap)

    def _fit(self, scores: np.ndarray, starts: np.ndarray) -> None:
        known = int((~np.isnan(scores)).sum())
        wanted = self.per_day * known / self.rows_per_day
        self.base = self.level = level_of(scores, starts, self.gap, wanted)
        self.since = self.gap + 1

    def _next(self, score: float, alarm: bool) -> None:
        begun = alarm and self.since >= self.gap
        self.since = 0 if alarm else self.since + 1
        self.level += STEP * (begun - self.per_day / self.rows_per_day)
        self.level = min(max(self.level, self.base - ROOM), self.base + CEILING)

    def _missing(self) -> None:
        self.since += 1


def level_of(scores: np.ndarray, starts: np.ndarray, gap: int, wanted: float) -> float:
    """The level at which scores (n,) make `wanted` alerts, continued where that is below a few."""
    read = max(wanted, TAIL_ALERTS)
    peaks = alert_peaks(scores, starts, gap)
    if wanted >= TAIL_ALERTS or len(peaks) <= TAIL_ALERTS:
        return _read_off(peaks, read, scores)
    level = _read_off(peaks, read, scores)
    above = peaks[peaks > level]
    slope = float((above - level).mean()) if len(above) else 0.5
    return level + max(slope, 0.1) * math.log(read / wanted)


def _read_off(peaks: np.ndarray, count: float, scores: np.ndarray) -> float:
    """The level that `count` of the peaks lie above."""
    if not len(peaks):
        return float(np.nanmax(scores))
    ordered = np.sort(peaks)[::-1]
    k = min(round(count), len(ordered) - 1)
    return float(ordered[k])


def alert_peaks(scores: np.ndarray, starts: np.ndarray, gap: int) -> np.ndarray:
    """The levels (k,) that each alert would need, highest first: as the level falls from above, an
    alert is begun by each score that has no higher one within `gap` rows before or after it."""
    filled = np.where(np.isnan(scores), -np.inf, scores)
    found = []
    for part in np.split(filled, starts[1:]):
        padded = np.concatenate([np.full(gap, -np.inf), part, np.full(gap, -np.inf)])
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * gap + 1)
        peak = (part >= windows.max(1)) & np.isfinite(part)
        peak &= ~(np.concatenate([[False], peak[:-1]]) & (np.diff(part, prepend=np.nan) == 0))
        found.append(part[peak])
    return np.sort(np.concatenate(found))[::-1]
