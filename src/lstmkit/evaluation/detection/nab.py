"""The score of the Numenta Anomaly Benchmark (Lavin & Ahmad 2015; numenta/NAB, `sweeper.py`).

Labels are windows around anomalies. The first alarm in a window earns up to 1, the more the earlier
it comes; each alarm outside costs, the more the farther it lies behind the last window; a window
without an alarm costs. The sum over all files is scaled so that no alarms at all score 0 and a
perfect detector 100. One threshold serves all files; NAB chooses it on the labels, which is not how
a detector is used, and a score here says so by its name, `optimised`.

The published run of NAB's windowed Gaussian (39.6, low FP 20.9, low FN 47.4) comes out as 39.65,
20.87 and 47.41 here, from scores with the 12 digits of its result files; file by file they agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lstmkit.errors import UserError

PROBATION, MOST_PROBATION = (
    0.15,
    5000,
)  # share of a file that is not scored, of at most so many rows
FAR = 3.0  # window widths behind a window from which on an alarm costs all


class Profile(NamedTuple):
    """What a false alarm and a missed window cost."""

    false_alarm: float
    missed: float


PROFILES = {
    "standard": Profile(0.11, 1.0),
    "low_fp": Profile(0.22, 1.0),
    "low_fn": Profile(0.11, 2.0),
}


class Stream(NamedTuple):
    """A file: scores (n,) and the first and last row of each labelled window, in order."""

    scores: np.ndarray
    windows: Sequence[tuple[int, int]]


class NabScore(NamedTuple):
    """The score, at most 100, and the threshold: a row alarms where its score is at least that."""

    score: float
    threshold: float


def probation(rows: int) -> int:
    """Rows at the beginning of a file that are not scored."""
    return int(min(np.floor(PROBATION * rows), PROBATION * MOST_PROBATION))


def sigmoid(position: np.ndarray) -> np.ndarray:
    """NAB's scaled sigmoid of a position in window widths, -1 the left edge and 0 the right."""
    found: np.ndarray = np.where(position >= FAR, -1.0, 2 / (1 + np.exp(5 * position)) - 1)
    return found


def worth(stream: Stream) -> tuple[np.ndarray, np.ndarray]:
    """What an alarm at each row is worth (n,), and the number of its window (n,), -1 outside.

    Raises:
        UserError: windows that overlap, are out of order or do not lie in the file.
    """
    rows = len(stream.scores)
    edges = [edge for window in stream.windows for edge in (window[0], window[1] + 1)]
    if edges != sorted(edges) or (edges and not 0 <= edges[0] < edges[-1] <= rows):
        raise UserError(
            "windows are not in order, or not in the file",
            got=f"{[tuple(map(int, w)) for w in stream.windows]} of {rows} rows",
            expected="the first and the last row of each, in order",
        )
    value, inside = np.full(rows, -1.0), np.full(rows, -1)
    behind = np.arange(rows)
    for number, (first, last) in enumerate(stream.windows):
        width = last - first + 1
        after = behind > last
        value[after] = sigmoid((behind[after] - last) / max(width - 1, 1))
        place = behind[first : last + 1]
        value[first : last + 1] = sigmoid(-(last - place + 1) / width) / sigmoid(np.array(-1.0))
        inside[first : last + 1] = number
    return value, inside


def optimised(streams: Sequence[Stream], profile: str = "standard") -> NabScore:
    """The best score of any threshold common to all files: NAB's own rule, which uses the labels.

    Raises:
        UserError: there is no window.
    """
    cost, windows, scores, value, window = _rows(streams, profile)
    order = np.argsort(-scores, kind="stable")
    gains = _gains(value[order], window[order], cost)
    ordered = scores[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], len(ordered) > 0))
    totals = np.concatenate([[0.0], np.cumsum(gains)[last]])
    thresholds = np.concatenate([[np.inf], scores[order][last]])
    best = int(np.argmax(totals))
    return NabScore(_scaled(totals[best], windows, cost), float(thresholds[best]))


def at(streams: Sequence[Stream], threshold: float, profile: str = "standard") -> NabScore:
    """The score at a threshold that was set without labels."""
    cost, windows, scores, value, window = _rows(streams, profile)
    alarms = scores >= threshold
    total = _gains(value[alarms], window[alarms], cost).sum()
    return NabScore(_scaled(total, windows, cost), threshold)


def _rows(
    streams: Sequence[Stream], profile: str
) -> tuple[Profile, int, np.ndarray, np.ndarray, np.ndarray]:
    """All scored rows of all files: score, value of an alarm, number of the window or -1."""
    if profile not in PROFILES:
        raise UserError(f"NAB has no profile {profile!r}", expected=", ".join(PROFILES))
    parts, count = [], 0
    for stream in streams:
        value, inside = worth(stream)
        begin = probation(len(stream.scores))
        window = np.where(inside >= 0, inside + count, -1)
        there = ~np.isnan(stream.scores)  # a row without a score never alarms
        there[:begin] = False
        parts.append((stream.scores[there], value[there], window[there]))
        count += len(stream.windows)
    if not count:
        raise UserError("no file has a labelled window")
    scores, value, window = (np.concatenate(each) for each in zip(*parts, strict=True))
    return PROFILES[profile], count, scores, value, window


def _gains(value: np.ndarray, window: np.ndarray, cost: Profile) -> np.ndarray:
    """What each alarm adds, in the order in which they come: a window counts by its best one."""
    gains = np.where(window >= 0, 0.0, value * cost.false_alarm)
    for number in np.unique(window[window >= 0]):
        rows = np.flatnonzero(window == number)
        best = np.maximum.accumulate(value[rows])
        gains[rows] = np.diff(best, prepend=0.0)
        gains[rows[0]] += cost.missed
    return gains


def _scaled(total: float, windows: int, cost: Profile) -> float:
    """0 for no alarms, 100 for the first row of each window and nothing else."""
    return float(100 * total / (windows * (1 + cost.missed)))
