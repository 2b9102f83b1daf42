"""The numbers of the page of alerts, packed: the whole time, each alert, the rows around it.

Curves are float32 in base64, those of channels relative to a float64 level of the channel, so that
any offset keeps its digits. Times and the rows of the table are float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lstmkit.tasks import pages
from lstmkit.tasks.anomaly import thinning
from lstmkit.tasks.anomaly.alerts import Alert
from lstmkit.tasks.anomaly.story import Story
from lstmkit.tasks.anomaly.window import causes, rows_around, shares
from lstmkit.tasks.anomaly.words import shortened

LANES, CHANNELS, DETAILS, TABLES = 400_000, 400_000, 2_000_000, 600_000  # bytes before base64
BUCKETS = (60, 1200)  # fewest and most of a strip of the whole time
FEWEST_POINTS, MOST_POINTS = 40, 600  # of a curve around an alert
MOST_CAUSES = 5  # channels that are drawn of an alert
MOST_SMALL = 1200  # channels that are drawn over the whole time
TABLE_ROWS, MOST_COLUMNS = 31, 40
LONGEST = 120  # characters of a name


class Overview:
    """The whole time of each series: score, level and labels, and every channel small."""

    def __init__(self, stories: Sequence[Story]) -> None:
        self.stories = stories
        self.most = _share(LANES, 4 * 3 * len(stories), BUCKETS)
        self.kept = self._kept()
        drawn = sum(len(k) for k in self.kept)
        self.small = _share(CHANNELS, 4 * 2 * drawn, (30, 400))
        self.levels: list[list[float]] = []
        grids = [(self._edges(s, self.most), self._edges(s, self.small)) for s in stories]
        found = [[_line(s.time, e) for e in two] for s, two in zip(stories, grids, strict=True)]
        self.grids = list(dict.fromkeys(line for two in found for line in two))
        place = {line: n for n, line in enumerate(self.grids)}
        self.grid = [[place[line] for line in two] for two in found]
        self.lanes = [_lane(s, two[0]) for s, two in zip(stories, grids, strict=True)]
        self.channels = [self._channels(k, two[1]) for k, two in enumerate(grids)]

    def meta(self) -> dict[str, Any]:
        """Names, positions and levels of the strips."""
        return {
            "lanes": [shortened(s.name, LONGEST) for s in self.stories],
            "grid": self.grid,
            "labelled": [s.labels is not None for s in self.stories],
            "small": [
                [shortened(s.channels[c], LONGEST) for c in kept]
                for s, kept in zip(self.stories, self.kept, strict=True)
            ],
            "dropped": [
                len(s.channels) - len(k) for s, k in zip(self.stories, self.kept, strict=True)
            ],
            "levels": self.levels,
        }

    def _kept(self) -> list[list[int]]:
        """Of each series the channels that are drawn, those that caused most alerts first."""
        most = max(1, MOST_SMALL // max(1, len(self.stories)))
        return [_busiest(story)[:most] for story in self.stories]

    def _edges(self, story: Story, most: int) -> np.ndarray:
        return thinning.buckets(len(story.time), most)

    def _channels(self, k: int, edges: np.ndarray) -> str:
        """Every channel's lowest and highest of each bucket, channel by channel."""
        story, kept = self.stories[k], self.kept[k]
        found = np.stack(
            [thinning.lowest(story.values, edges), thinning.highest(story.values, edges)]
        )
        found = _finite(found[:, :, kept])  # (2, B, K)
        levels = _levels(found.reshape(2 * (len(edges) - 1), len(kept)))
        self.levels.append(levels.tolist())
        return pages.packed((found - levels).transpose(2, 1, 0), "<f4")


class Details:
    """Each alert: times, score, level and labels, and the channels that caused it."""

    def __init__(self, alerts: Sequence[tuple[Story, Alert]]) -> None:
        drawn = sum(len(causes(story, alert, MOST_CAUSES)) for story, alert in alerts)
        each = 4 * ((2 + 3) * len(alerts) + 3 * drawn)  # times are as long as two curves
        self.most = _share(DETAILS, each, (FEWEST_POINTS, MOST_POINTS))
        self.drawn: list[dict[str, Any]] = []
        self.lines = [self._line(story, alert) for story, alert in alerts]

    def meta(self) -> dict[str, Any]:
        return {"drawn": self.drawn}

    def _line(self, story: Story, alert: Alert) -> str:
        """Times in float64; then score, level, label, and of each channel three curves."""
        first, stop = rows_around(story, alert)
        rows, count = slice(first, stop), stop - first
        edges = thinning.buckets(count, count if count <= self.most else self.most // 2)
        kept = causes(story, alert, MOST_CAUSES)
        three = self._three(story, rows, kept)  # values, expected, contributions (n, K)
        thin = [thinning.extremes(part, edges) for part in three]
        levels = _levels(np.concatenate(thin[:2]))
        curves = [thin[0] - levels, thin[1] - levels, thin[2]]
        score = [thinning.extremes(part, edges) for part in _scored(story, rows)]
        times = thinning.places(pages.milliseconds(story.time[rows]), edges)
        share = dict(shares(story, alert))
        names = [story.channels[k] for k in kept]
        self.drawn.append(
            {
                "points": len(times),
                "thinned": -(-count // (len(edges) - 1)),  # rows a bucket
                "channels": [shortened(name, LONGEST) for name in names],
                "shares": pages.numbers(share.get(name, np.nan) for name in names),
                "levels": levels.tolist(),
                "labelled": story.labels is not None,
                "expects": story.expected is not None,
            }
        )
        flat = [*score, *(curve[:, k] for k in range(len(kept)) for curve in curves)]
        return f"{pages.packed(times, '<f8')} {pages.packed(np.concatenate(flat), '<f4')}"

    def _three(self, story: Story, rows: slice, kept: Sequence[int]) -> list[np.ndarray]:
        values = _finite(story.values[rows][:, kept])
        expected = np.full_like(values, np.nan)
        if story.expected is not None:
            expected = _finite(story.expected[rows][:, kept])
        return [values, expected, _finite(story.contributions[rows][:, kept])]


class Rows:
    """The rows around each alert's peak, as they came: time, score, level, label, channels."""

    def __init__(self, alerts: Sequence[tuple[Story, Alert]]) -> None:
        self.columns = _share(TABLES, 8 * TABLE_ROWS * len(alerts), (6, MOST_COLUMNS))
        self.tables: list[dict[str, Any]] = []
        self.lines = [self._line(story, alert) for story, alert in alerts]

    def meta(self) -> dict[str, Any]:
        return {"tables": self.tables}

    def _line(self, story: Story, alert: Alert) -> str:
        """(columns, rows) in float64."""
        half = TABLE_ROWS // 2
        first = max(0, min(alert.peak_row - half, len(story.time) - TABLE_ROWS))
        rows = slice(first, min(len(story.time), first + TABLE_ROWS))
        kept = self._kept(story, alert)
        found = [pages.milliseconds(story.time[rows]), *_scored(story, rows)]
        found += [story.values[rows, k] for k in kept]
        self.tables.append(
            {
                "first": first,
                "rows": rows.stop - rows.start,
                "alert": [alert.first, alert.last],
                "columns": [shortened(story.channels[k], LONGEST) for k in kept],
                "causes": len(causes(story, alert, len(kept))),
                "left": len(story.channels) - len(kept),
            }
        )
        return pages.packed(np.concatenate(found), "<f8")

    def _kept(self, story: Story, alert: Alert) -> list[int]:
        """The channels that caused it, then the others in their order."""
        wanted = [*causes(story, alert, self.columns), *range(len(story.channels))]
        return list(dict.fromkeys(wanted))[: self.columns]


def _share(budget: int, each: int, bounds: tuple[int, int]) -> int:
    """How many of `each` bytes the budget holds, within bounds."""
    return int(np.clip(budget // max(1, each), *bounds))


def _busiest(story: Story) -> list[int]:
    """Channels by their shares of all alerts, highest first, then in their order."""
    place = {name: k for k, name in enumerate(story.channels)}
    weight = np.zeros(len(story.channels))
    for alert in story.alerts:
        for name, share in alert.channels:
            if name in place:
                weight[place[name]] += share
    return [int(k) for k in np.argsort(-weight, kind="stable")]


def _line(time: np.ndarray, edges: np.ndarray) -> str:
    """Times of the middles of buckets."""
    times = pages.milliseconds(time)
    middles = np.interp((edges[:-1] + edges[1:] - 1) / 2, np.arange(len(times)), times)
    return pages.packed(middles, "<f8")


def _lane(story: Story, edges: np.ndarray) -> str:
    """Highest score, level at it as the highest of the bucket, and whether a row is labelled."""
    whole = slice(None)
    return pages.packed(
        np.concatenate([thinning.highest(part, edges) for part in _scored(story, whole)]), "<f4"
    )


def _scored(story: Story, rows: slice) -> list[np.ndarray]:
    """Score, level and label of rows; the label is NaN where there is none."""
    labels = story.labels
    label = np.full(len(story.time), np.nan) if labels is None else labels
    return [_finite(np.asarray(part[rows], float)) for part in (story.scores, story.levels, label)]


def _levels(values: np.ndarray) -> np.ndarray:
    """(K,) the middle of the range of each column (n, K), 0 where all are missing."""
    if not values.shape[1]:
        return np.zeros(0)
    middle = np.fmin.reduce(values, axis=0) / 2 + np.fmax.reduce(values, axis=0) / 2
    return np.nan_to_num(middle)


def _finite(values: np.ndarray) -> np.ndarray:
    """Values with NaN for the infinite."""
    return np.where(np.isfinite(values), values, np.nan)
