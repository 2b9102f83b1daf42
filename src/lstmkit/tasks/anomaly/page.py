"""Alerts of all series as one HTML file that asks for nothing else: list, time, causes, rows.

However many rows and channels there are, the file stays under about 5 MB: curves are thinned to
the lowest and the highest of each bucket, and the worst alerts have a drawing of their own.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lstmkit.errors import UserError
from lstmkit.modelfile import atomic_write
from lstmkit.style import COLOURS
from lstmkit.tasks import pages
from lstmkit.tasks.anomaly import counting
from lstmkit.tasks.anomaly.alerts import SEVERITIES, Alert
from lstmkit.tasks.anomaly.pageparts import LONGEST, Details, Overview, Rows
from lstmkit.tasks.anomaly.picture import lanes_first
from lstmkit.tasks.anomaly.plots import LABEL, SEVERITY
from lstmkit.tasks.anomaly.story import Story, worst_alerts
from lstmkit.tasks.anomaly.window import shares
from lstmkit.tasks.anomaly.words import clock_of, duration, moment, rarity, shortened, step_of

MOST_ALERTS, MOST_LANES = 300, 60  # with a drawing of their own; strips of the whole time
MOST_SHARES, MOST_REASONS = 10, 8  # that are told of an alert
SCRIPTS = (("lstmkit.tasks", "canvas.js"), (__package__, "charts.js"), (__package__, "page.js"))


def write(stories: Sequence[Story], path: str | Path, *, title: str = "", note: str = "") -> Path:
    """Write the page of all alerts to `path`, whole or not at all.

    Args:
        stories: the series, and their alerts.
        path: where to.
        title: the headline, "Alerts" if left out.
        note: model and sample, in words.

    Raises:
        UserError: some series have dates and others have not, or the file cannot be written.
    """
    text = render(stories, title=title, note=note)
    with atomic_write(path) as file:
        file.write(text.encode())
    return Path(path)


def render(stories: Sequence[Story], *, title: str = "", note: str = "") -> str:
    """The page as text."""
    stories = [story for story in stories if len(story.time)]
    if len({story.dated for story in stories}) > 1:
        raise UserError("cannot show series with dates and series with row numbers on one page")
    shown = worst_alerts(stories)[:MOST_ALERTS]
    lanes = lanes_first(stories)[:MOST_LANES]
    overview = Overview([stories[k] for k in lanes])
    details = Details([(stories[k], alert) for k, alert in shown])
    rows = Rows([(stories[k], alert) for k, alert in shown])
    meta = _meta(stories, lanes, shown) | overview.meta() | details.meta() | rows.meta()
    parts = {
        "title": html.escape(title or "Alerts"),
        "facts": _facts(stories),
        "summary": html.escape(" ".join(summary(stories, len(shown)))),
        "note": html.escape(note),
        "meta": pages.as_json(meta),
        "grids": "\n".join(overview.grids),
        "lanes": "\n".join(overview.lanes),
        "channels": "\n".join(overview.channels),
        "details": "\n".join(details.lines),
        "rows": "\n".join(rows.lines),
    }
    scripts = [pages.asset(str(package), name) for package, name in SCRIPTS]
    template, css = (pages.asset(str(__package__), name) for name in ("page.html", "page.css"))
    named = {"expected": COLOURS["forecast"], "label": LABEL, **SEVERITY}
    return pages.assemble(template, scripts, pages.colours(named) + css, parts)


def summary(stories: Sequence[Story], shown: int) -> list[str]:
    """Sentences: how many alerts, how often, what the labels say, and what is left out."""
    alerts = [alert for story in stories for alert in story.alerts]
    told = [_how_many(alerts), *_how_often(stories, len(alerts))]
    beside = counting.against_labels(stories)
    if beside is not None:
        where = "" if all(s.labels is not None for s in stories) else ", in the series with labels"
        told.append(
            f"Labelled events with an alert in them: {beside.found} of {beside.events};"
            f" alerts outside of any: {beside.false} of {beside.alerts}{where}."
        )
    if shown < len(alerts):
        told.append(f"The worst {shown} of {len(alerts)} alerts are listed.")
    if len(stories) > MOST_LANES:
        told.append(
            f"{MOST_LANES} of {len(stories)} series are drawn, those with the worst alerts."
        )
    return told


def _how_many(alerts: Sequence[Alert]) -> str:
    """`7 alerts: 2 critical, 5 warning.`"""
    if not alerts:
        return "No alert: no score stayed above its level."
    names = [alert.severity for alert in alerts]
    parts = [f"{names.count(s)} {s}" for s in reversed(SEVERITIES) if s in names]
    return f"{len(alerts)} alert{_s(len(alerts))}: {', '.join(parts)}."


def _how_often(stories: Sequence[Story], alerts: int) -> list[str]:
    """`0.4 a day on average over 30 days, 3 on the busiest.`; nothing of a single day."""
    days, found = counting.days_covered(stories), counting.count(stories)
    if alerts < 2 or found is None or not days > 1:
        return []
    busiest, over = int(found.counts.sum(axis=1).max()), f"over {days:,.0f} days"
    if alerts < 0.1 * days:
        return [f"One in {days / alerts:,.0f} days on average {over}."]
    most = {"day": f", {busiest} on the busiest", "week": f", {busiest} in the busiest week"}
    return [f"{alerts / days:.2g} a day on average {over}{most.get(found.unit, '')}."]


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _facts(stories: Sequence[Story]) -> str:
    """Series, channels, rows and time, as a list of definitions."""
    found = [("series", f"{len(stories):,}")]
    if stories:
        clock = clock_of(stories)
        found.append(("channels", f"{len({c for s in stories for c in s.channels}):,}"))
        found.append(("rows", f"{sum(len(s.time) for s in stories):,}"))
        first = min(story.time[0] for story in stories)
        last = max(story.time[-1] for story in stories)
        found.append(("from", f"{moment(first, clock)} to {moment(last, clock)}"))
        step = step_of(max(stories, key=lambda story: len(story.time)))
        found += [("one row", duration(1, step))] if step else []
    cells = (f"<div><dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd></div>" for k, v in found)
    return "".join(cells)


def _meta(
    stories: Sequence[Story], lanes: Sequence[int], shown: Sequence[tuple[int, Alert]]
) -> dict[str, Any]:
    """What the page must know to list and to draw; numbers that are none become null."""
    found, clock = counting.count(stories), clock_of(stories)
    place = {k: n for n, k in enumerate(lanes)}
    return {
        "clock": clock,
        "severities": SEVERITIES,
        "span": _span(stories),
        "alerts": [_told(stories[k], alert, place.get(k), clock) for k, alert in shown],
        "counts": found
        and {
            "unit": found.unit,
            "edges": pages.milliseconds(found.edges).tolist(),
            "counts": found.counts.tolist(),
        },
    }


def _span(stories: Sequence[Story]) -> list[float]:
    """First and last time of all series."""
    ends = [pages.milliseconds(story.time[[0, -1]]) for story in stories]
    return [min(first for first, _ in ends), max(last for _, last in ends)] if ends else [0.0, 1.0]


def _told(story: Story, alert: Alert, lane: int | None, clock: str) -> dict[str, Any]:
    """What the list and the heading tell of one alert."""
    step, rows = step_of(story), alert.last - alert.first + 1
    ends = pages.milliseconds(story.time[[alert.first, alert.last, alert.peak_row]])
    channels = shares(story, alert)
    reasons = [shortened(reason, 2 * LONGEST) for reason in alert.reasons]
    return {
        "series": shortened(story.name, LONGEST),
        "lane": lane,
        "severity": SEVERITIES.index(alert.severity),
        "start": ends[0],
        "end": ends[1],
        "peaked": ends[2],
        "began": moment(story.time[alert.first], clock),
        "ended": moment(story.time[alert.last], clock),
        "rows": rows,
        "long": duration(rows, step),
        "size": rows * (step or 1),
        **dict(zip(("peak", "level", "above"), _scores(alert), strict=True)),
        "rarity": rarity(alert.peak),
        "channels": [
            [shortened(name, LONGEST), *pages.numbers([share])]
            for name, share in channels[:MOST_SHARES]
        ],
        "more": max(0, len(channels) - MOST_SHARES),
        "reasons": reasons[:MOST_REASONS],
        "moreReasons": max(0, len(reasons) - MOST_REASONS),
        "open": alert.open,
    }


def _scores(alert: Alert) -> list[float | None]:
    """Peak, level, and how far the one is above the other."""
    return pages.numbers([alert.peak, alert.level, alert.peak - alert.level])
