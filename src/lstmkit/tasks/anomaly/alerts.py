"""Alerts: alarms that belong together, with what a person needs to act on them.

Rows alarm; people are told once. Alarms closer than `gap` rows are one alert, whichever channels
they come from. An alert is begun by its first alarm and is over after `gap` rows without one.

What was unusual lingers: levels have moved towards it and have to come back. A row is heard as an
echo, and not as an alarm, while its score is below half of what was heard before it, a half that
halves every `half_life` rows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

SEVERITIES = ("warning", "major", "critical")
MAJOR, CRITICAL = 2.0, 4.0  # decades above the threshold
ECHO = 0.5  # of what was heard
MOST_CHANNELS, ENOUGH = 5, 0.8  # named causes: at most so many, until they explain so much
FEWEST_SHARE = 0.05  # of the score that a named cause has


@dataclass(frozen=True)
class Alert:
    """One alert of one series.

    Attributes:
        series: the id of the series, () for a single one.
        first, last: rows of its first and last alarm, counted from 0 on the series' grid.
        start, end: their times, datetime64[us] or int.
        peak: the highest score, minus log10 of the probability of such a normal row.
        peak_row: where that is.
        level: the threshold at the peak.
        channels: names of what caused it, and the share of the alert's score of each, highest
            first.
        reasons: one line for each of them, for people.
        open: whether it may still go on.
    """

    series: tuple[str, ...]
    first: int
    last: int
    start: Any
    end: Any
    peak: float
    peak_row: int
    level: float
    channels: tuple[tuple[str, float], ...]
    reasons: tuple[str, ...]
    open: bool = False

    @property
    def severity(self) -> str:
        """`warning`; `major` from 100, `critical` from 10,000 times rarer than the threshold."""
        above = self.peak - self.level
        return SEVERITIES[int(above >= MAJOR) + int(above >= CRITICAL)]


@dataclass
class Running:
    """An alert that is not over: what is added up of it.

    Attributes:
        first, last, peak_row: rows since the series began.
        start, end: times of the first and the last alarm.
        values, expected: (C,) where each channel's part was largest, `most` (C,).
        parts: (C,) each channel's share of the scores of all alarms.
        told: whether it was handed out already.
    """

    first: int
    last: int
    start: Any
    end: Any
    peak: float
    peak_row: int
    level: float
    values: np.ndarray
    expected: np.ndarray
    most: np.ndarray
    parts: np.ndarray
    told: bool = False


@dataclass(frozen=True)
class Watched:
    """Rows of one series with all that is said of them: what alerts are made of.

    Attributes:
        time: (n,).
        values, parts, expected: (n, C); the parts of a row add up to its score.
        score, level: (n,).
        alarm: (n,) bool.
    """

    time: np.ndarray
    values: np.ndarray
    score: np.ndarray
    parts: np.ndarray
    expected: np.ndarray
    level: np.ndarray
    alarm: np.ndarray


class Grouper:
    """Alarms of one series into alerts, whole or in pieces of any size: the same alerts.

    Args:
        series: the id.
        channels: names.
        gap: rows without an alarm after which an alert is over.
        half_life: rows in which an echo halves.
    """

    def __init__(
        self, series: tuple[str, ...], channels: Sequence[str], gap: int, half_life: int
    ) -> None:
        self.series, self.channels, self.gap = series, tuple(channels), gap
        self.half_life, self.loud, self.heard = half_life, 0.0, 0  # loudest score, and its row
        self.rows = 0  # seen so far
        self.running: Running | None = None

    def add(self, watched: Watched) -> list[Alert]:
        """The alerts that were over within these rows and were not told before; alarms that are
        echoes are taken back in `watched`."""
        found = []
        for t in np.flatnonzero(watched.alarm):
            row = self.rows + int(t)
            found += self._over(row - 1)
            if self._echo(float(watched.score[t]), row):
                watched.alarm[t] = False
            else:
                self._alarm(watched, int(t), row)
        self.rows += len(watched.alarm)
        return found + self._over(self.rows - 1)

    def _echo(self, score: float, row: int) -> bool:
        """Whether a score is no more than what lingers; what is louder is remembered."""
        lingers = self.loud * 0.5 ** ((row - self.heard) / self.half_life)
        if score >= lingers:
            self.loud, self.heard = score, row
        return score < ECHO * lingers

    def _over(self, row: int) -> list[Alert]:
        """The running alert, if it is over by the end of `row`; nothing where it was told."""
        one = self.running
        if one is None or row - one.last < self.gap:
            return []
        self.running = None
        return [] if one.told else [self.alert(one)]

    def begun(self) -> list[Alert]:
        """The alert that is not over, told now and not again."""
        one = self.running
        if one is None or one.told:
            return []
        one.told = True
        return [self.alert(one, open=True)]

    def _alarm(self, watched: Watched, t: int, row: int) -> None:
        time, parts = watched.time[t], np.nan_to_num(watched.parts[t])
        peak, level = float(watched.score[t]), float(watched.level[t])
        one = self.running
        if one is None:
            nothing = np.full(len(parts), np.nan)
            rows = (row, row, time, time, peak, row, level)
            sums = (nothing, nothing, np.full(len(parts), -1.0), np.zeros(len(parts)))
            one = self.running = Running(*rows, *sums)
        one.last, one.end, one.parts = row, time, one.parts + parts
        if peak > one.peak:
            one.peak, one.peak_row, one.level = peak, row, level
        more = parts > one.most
        one.most = np.where(more, parts, one.most)
        one.values = np.where(more, watched.values[t], one.values)
        one.expected = np.where(more, watched.expected[t], one.expected)

    def alert(self, one: Running, open: bool = False) -> Alert:
        """What people are told of it."""
        causes = self._causes(one)
        return Alert(
            self.series,
            one.first,
            one.last,
            one.start,
            one.end,
            one.peak,
            one.peak_row,
            one.level,
            tuple((self.channels[k], share) for k, share in causes),
            tuple(self._reason(one, k) for k, _ in causes),
            open,
        )

    def _causes(self, one: Running) -> list[tuple[int, float]]:
        total = float(one.parts.sum())
        share = one.parts / total if total > 0 else np.full(len(one.parts), 1 / len(one.parts))
        found: list[tuple[int, float]] = []
        for k in np.argsort(-share, kind="stable")[:MOST_CHANNELS]:
            told = sum(s for _, s in found)
            if found and (told >= ENOUGH or share[k] < FEWEST_SHARE):
                break
            found.append((int(k), float(share[k])))
        return found

    def _reason(self, one: Running, k: int) -> str:
        value, expected = float(one.values[k]), float(one.expected[k])
        if np.isnan(value):
            return f"{self.channels[k]} was missing"
        if np.isnan(expected):
            return f"{self.channels[k]} was {_digits(value, value)}"
        where = "above" if value > expected else "below"
        given = f"{_digits(value, expected)}, {where} the expected {_digits(expected, value)}"
        return f"{self.channels[k]} was {given}"

    # --- state

    def save(self) -> dict[str, np.ndarray]:
        """The state as plain arrays."""
        one = self.running
        C = len(self.channels)
        facts: dict[str, Any] = {"rows": self.rows, "running": one is not None}
        facts |= {"loud": self.loud, "heard": self.heard}
        tables = np.zeros((4, C))
        if one is not None:
            dated = isinstance(one.start, np.datetime64)
            facts |= {n: getattr(one, n) for n in ("first", "last", "peak", "peak_row", "level")}
            facts |= {n: int(getattr(one, n).astype(np.int64)) for n in ("start", "end")}
            facts |= {"told": one.told, "dated": dated}
            tables = np.stack([one.values, one.expected, one.most, one.parts])
        return {
            "alert": np.frombuffer(json.dumps(facts).encode().ljust(600), np.uint8).copy(),
            "alert_rows": tables,
        }

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go on from a `save`."""
        facts = json.loads(state["alert"].tobytes())
        self.rows, self.running = facts["rows"], None
        self.loud, self.heard = facts["loud"], facts["heard"]
        if facts["running"]:
            kind = "datetime64[us]" if facts["dated"] else np.int64
            start, end = np.array([facts["start"], facts["end"]], np.int64).view(kind)
            named = {n: facts[n] for n in ("first", "last", "peak", "peak_row", "level", "told")}
            names = ("values", "expected", "most", "parts")
            given = dict(zip(names, (row.copy() for row in state["alert_rows"]), strict=True))
            self.running = Running(start=start, end=end, **named, **given)


def shifted(alert: Alert, rows: int) -> Alert:
    """The same alert, its rows counted from an earlier or later one."""
    moved = {n: getattr(alert, n) + rows for n in ("first", "last", "peak_row")}
    return replace(alert, **moved)


def _digits(value: float, other: float) -> str:
    """As many digits as tell two numbers apart, at least three."""
    apart = abs(value - other)
    size = max(abs(value), abs(other))
    digits = (
        3 if apart == 0 or size == 0 else int(np.clip(np.ceil(np.log10(size / apart)) + 1, 3, 6))
    )
    text = f"{value:.{digits}g}"
    return f"{float(text):,.{digits}g}" if "e" in text and abs(value) < 1e12 else text
