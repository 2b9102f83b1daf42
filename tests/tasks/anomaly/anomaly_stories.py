"""Small stories of alerts, for the tests of pictures and pages."""

from __future__ import annotations

import numpy as np

from lstmkit.tasks.anomaly.alerts import Alert
from lstmkit.tasks.anomaly.story import Story

ROWS = 300
FIRST = np.datetime64("2026-09-01T00:00", "us")
MINUTE, DAY = np.timedelta64(1, "m"), np.timedelta64(1, "D")


def alert_of(first: int, last: int, above: float = 1.0, **more) -> Alert:
    """An alert over rows; its peak is its first row and stands `above` a level of 3."""
    found = {"channels": (("b", 0.75), ("a", 0.25)), "reasons": ("b is too high",), **more}
    ends = {"start": FIRST + first * MINUTE, "end": FIRST + last * MINUTE}
    return Alert((), first, last, **ends, peak=3 + above, peak_row=first, level=3.0, **found)


def story_of(alerts=(), rows: int = ROWS, *, step=MINUTE, name: str = "", **more) -> Story:
    """Three channels of noise around what was expected; the scores rise in the alerts."""
    rng = np.random.default_rng(3)
    expected = np.sin(np.arange(rows)[:, None] / 9 + np.arange(3))
    parts = rng.uniform(0, 0.3, (rows, 3))
    for alert in alerts:
        parts[alert.first : alert.last + 1, 1] += alert.peak
    found = {
        "name": name,
        "time": FIRST + np.arange(rows) * step if step else np.arange(rows),
        "values": expected + rng.normal(0, 0.1, (rows, 3)),
        "channels": ("a", "b", "c"),
        "scores": parts.sum(axis=1),
        "levels": np.full(rows, 3.0),
        "contributions": parts,
        "expected": expected,
        "alerts": list(alerts),
    }
    return Story(**{**found, **more})
