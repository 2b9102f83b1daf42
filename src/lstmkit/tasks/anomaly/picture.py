"""Alerts as a picture: the whole time on top, the worst alerts under it, with their causes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lstmkit.tasks.anomaly import counting, thinning
from lstmkit.tasks.anomaly.alerts import Alert
from lstmkit.tasks.anomaly.plots import Curve, Lane, Panel, plot_alerts
from lstmkit.tasks.anomaly.story import Story, worst_alerts
from lstmkit.tasks.anomaly.window import causes, rows_around, shares
from lstmkit.tasks.anomaly.words import clock_of, duration, moment, shortened, step_of

PAGE = ".html"
MOST_ALERTS, MOST_LANES = 6, 8
MOST_CHANNELS = {1: 5, 2: 3}  # under an alert, where there is one, and where there are more
STRIP, POINTS = 1200, 1000  # points across


def write(stories: Sequence[Story], path: str | Path, *, title: str = "", note: str = "") -> Path:
    """Write the alerts of all series, worst first: a page (.html), else a figure.

    Args:
        stories: the series, and their alerts.
        path: where to; the suffix says what.
        title: the headline, "Alerts" if left out.
        note: model and sample, in words.

    Raises:
        UserError: the suffix is not known, or the file cannot be written.
    """
    if Path(path).suffix.lower() == PAGE:
        from lstmkit.tasks.anomaly import page

        return page.write(stories, path, title=title, note=note)
    from lstmkit.style import save

    return save(draw(stories, title=title, note=note), path)


def draw(stories: Sequence[Story], *, title: str = "", note: str = "") -> Any:
    """A matplotlib figure of the six worst alerts, under a strip of the whole time.

    Of more than eight series the strip shows the eight with the worst alerts.
    """
    worst = worst_alerts(stories)
    order = lanes_first(stories)
    shown = worst[:MOST_ALERTS]
    most = MOST_CHANNELS[min(2, max(1, len(shown)))]
    several = len(stories) > 1
    panels = [_panel(stories[k], alert, most, several) for k, alert in shown]
    lanes = [_lane(stories[k]) for k in order[:MOST_LANES] if len(stories[k].time)]
    told = f"{title or 'Alerts'}: {headline(len(worst), len(shown))}"
    return plot_alerts(lanes, panels, title=told, note=f"{note} {_caption(stories)}".strip())


def headline(count: int, shown: int) -> str:
    """`the worst 6 of 40`, `none`, `3`."""
    if not count:
        return "none"
    return f"the worst {shown} of {count}" if shown < count else str(count)


def lanes_first(stories: Sequence[Story]) -> list[int]:
    """Positions of the series, those with the worst alerts first, then in their order."""
    found = [k for k, _ in worst_alerts(stories)]
    return list(dict.fromkeys([*found, *range(len(stories))]))


def _caption(stories: Sequence[Story]) -> str:
    """What the curves are, and what is left out."""
    told = (
        "Score: minus log10 of the probability of such a normal row (3: one in a thousand);"
        " level: what it must exceed. Shaded: the alert."
    )
    left = sum(1 for s in stories if len(s.time)) - MOST_LANES
    return f"{told} {left} more series are not on top." if left > 0 else told


def _lane(story: Story) -> Lane:
    edges = thinning.buckets(len(story.time), STRIP)
    return Lane(
        name=shortened(story.name, 90),
        time=story.time[(edges[:-1] + edges[1:] - 1) // 2],
        score=thinning.highest(_finite(story.scores), edges),
        level=thinning.highest(_finite(story.levels), edges),
        alerts=[(*_span(story, a.first, a.last), a.severity) for a in story.alerts],
        labels=[_span(story, f, l - 1) for f, l in counting.events_of(story.labels)],
    )


def _panel(story: Story, alert: Alert, most: int, several: bool) -> Panel:
    first, stop = rows_around(story, alert)
    rows, edges = slice(first, stop), thinning.buckets(stop - first, POINTS)
    share = dict(shares(story, alert))
    labels = None if story.labels is None else story.labels[rows]
    return Panel(
        title=_title(story, alert, several),
        remark=f"score {alert.peak:.1f} over level {alert.level:.1f}",
        severity=alert.severity,
        time=_times(story.time[rows], edges),
        span=_span(story, alert.first, alert.last),
        score=thinning.extremes(_finite(story.scores[rows]), edges),
        level=thinning.extremes(_finite(story.levels[rows]), edges),
        curves=[_curve(story, k, rows, edges, share) for k in causes(story, alert, most)],
        labels=[_span(story, first + f, first + l - 1) for f, l in counting.events_of(labels)],
    )


def _curve(story: Story, k: int, rows: slice, edges: np.ndarray, share: dict[str, float]) -> Curve:
    expected = None if story.expected is None else _finite(story.expected[rows, k])
    return Curve(
        name=shortened(story.channels[k], 44),
        values=thinning.extremes(_finite(story.values[rows, k]), edges),
        expected=None if expected is None else thinning.extremes(expected, edges),
        share=share.get(story.channels[k], 0.0),
    )


def _title(story: Story, alert: Alert, several: bool) -> str:
    """Severity, series, start and length."""
    start = moment(story.time[alert.first], clock_of([story]))
    start = start if story.dated else f"from {start}"
    long = duration(alert.last - alert.first + 1, step_of(story))
    name = f"{shortened(story.name, 18)}, " if several and story.name else ""
    return f"{alert.severity}: {name}{start}, {long}{', open' if alert.open else ''}"


def _span(story: Story, first: int, last: int) -> tuple[Any, Any]:
    """Half a step before the first row to half a step after the last."""
    step = story.time[1] - story.time[0] if len(story.time) > 1 else None
    if story.dated:
        half = step / 2 if step is not None else np.timedelta64(1, "s")
    else:
        half = 0.5 if step is None else float(step) / 2
    return story.time[first] - half, story.time[last] + half


def _times(time: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Of the points of a thinned curve."""
    if not np.issubdtype(time.dtype, np.datetime64):
        return thinning.places(time.astype(np.float64), edges)
    micro = time.astype("datetime64[us]").astype(np.int64).astype(np.float64)
    return thinning.places(micro, edges).astype(np.int64).astype("datetime64[us]")


def _finite(values: np.ndarray) -> np.ndarray:
    """Values with NaN for the infinite."""
    return np.where(np.isfinite(values), values, np.nan)
