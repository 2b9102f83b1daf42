"""How many alerts there are: a day, and beside the labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lstmkit.tasks.anomaly.alerts import SEVERITIES
from lstmkit.tasks.anomaly.story import Story

MICROSECONDS = {"hour": 3_600_000_000, "day": 86_400_000_000, "week": 604_800_000_000}
MOST_BINS = 400


@dataclass(frozen=True, eq=False)
class Counts:
    """Alerts by the time at which they begin.

    Attributes:
        unit: what one bin is: `hour`, `day`, `week`, `30 days`, or `1,000 rows`.
        edges: (B + 1,) times, as those of the stories.
        counts: (B, 3) of each severity, mildest first.
    """

    unit: str
    edges: np.ndarray
    counts: np.ndarray


def count(stories: Sequence[Story]) -> Counts | None:
    """Alerts a day, or an hour, a week, 30 days, where the time is short or long; None of no rows.

    Weeks begin on Mondays. Numbered rows are counted by a power of ten of them.
    """
    ends = [(s.time[0], s.time[-1]) for s in stories if len(s.time)]
    if not ends:
        return None
    dated = np.issubdtype(np.asarray(ends[0][0]).dtype, np.datetime64)
    low, high = (
        int(_whole(f(one))) for f, one in zip((min, max), zip(*ends, strict=True), strict=True)
    )
    unit, size, origin = _unit(high - low, dated)
    first = (low - origin) // size
    bins = (high - origin) // size - first + 1
    counts = np.zeros((bins, len(SEVERITIES)), np.int64)
    for story in stories:
        for alert in story.alerts:
            place = (int(_whole(story.time[alert.first])) - origin) // size - first
            counts[place, SEVERITIES.index(alert.severity)] += 1
    edges = origin + size * (first + np.arange(bins + 1))
    return Counts(unit, edges.astype("datetime64[us]") if dated else edges, counts)


def _unit(span: int, dated: bool) -> tuple[str, int, int]:
    """Name, size and origin of a bin for so many microseconds or rows."""
    if not dated:
        size = 10 ** max(1, int(np.ceil(np.log10(max(1, span) / MOST_BINS))))
        return f"{size:,} rows", size, 0
    day, monday = MICROSECONDS["day"], 4 * MICROSECONDS["day"]  # 1970-01-05
    if span < 3 * day:
        return "hour", MICROSECONDS["hour"], 0
    if span < MOST_BINS * day:
        return "day", day, 0
    if span < MOST_BINS * MICROSECONDS["week"]:
        return "week", MICROSECONDS["week"], monday
    return "30 days", max(30, span // (MOST_BINS * day)) * day, 0


def _whole(time: np.datetime64 | np.integer) -> np.int64:
    """Microseconds since 1970, or the number itself."""
    if isinstance(time, np.datetime64):
        time = time.astype("datetime64[us]")
    return np.int64(time.astype(np.int64))


def days_covered(stories: Sequence[Story]) -> float:
    """Days from the first row to the last, once, however many series; NaN for numbered rows."""
    ends = [(s.time[0], s.time[-1]) for s in stories if len(s.time)]
    if not ends or not stories[0].dated:
        return float("nan")
    firsts, lasts = zip(*ends, strict=True)
    return float((max(lasts) - min(firsts)) / np.timedelta64(1, "D"))


@dataclass(frozen=True)
class AgainstLabels:
    """Labelled events with an alert in them, and alerts without any labelled row."""

    events: int
    found: int
    alerts: int
    false: int


def against_labels(stories: Sequence[Story]) -> AgainstLabels | None:
    """Over the series that have labels; None where none has."""
    events = found = alerts = false = 0
    labelled = [s for s in stories if s.labels is not None]
    for story in labelled:
        spans = events_of(story.labels)
        hit = np.zeros(len(spans), bool)
        for alert in story.alerts:
            touches = np.array([f <= alert.last and alert.first < l for f, l in spans], bool)
            hit |= touches
            false += not touches.any()
        events, found = events + len(spans), found + int(hit.sum())
        alerts += len(story.alerts)
    return AgainstLabels(events, found, alerts, false) if labelled else None


def events_of(labels: np.ndarray | None) -> np.ndarray:
    """(E, 2) first row and the row after the last of each run of labelled rows."""
    if labels is None:
        return np.zeros((0, 2), np.int64)
    on = np.concatenate([[False], np.asarray(labels) > 0, [False]])
    return np.flatnonzero(on[1:] != on[:-1]).reshape(-1, 2)
