"""What is drawn of one alert: the rows around it and the channels that caused it."""

from __future__ import annotations

import numpy as np

from lstmkit.tasks.anomaly.alerts import Alert
from lstmkit.tasks.anomaly.story import Story

LEAST, MOST = 40, 300  # rows before and after an alert


def rows_around(story: Story, alert: Alert) -> tuple[int, int]:
    """First row and the row after the last: the alert, and as much before and after it."""
    room = int(np.clip(alert.last - alert.first + 1, LEAST, MOST))
    return max(0, alert.first - room), min(len(story.time), alert.last + 1 + room)


def causes(story: Story, alert: Alert, most: int) -> list[int]:
    """Positions of the channels that caused an alert, the strongest first.

    Where the alert names none, those that contribute most at its peak.
    """
    place = {name: k for k, name in enumerate(story.channels)}
    found = [place[name] for name, _ in alert.channels if name in place]
    if not found:
        share = story.contributions[alert.peak_row]
        share = np.where(np.isfinite(share), share, -np.inf)
        order = np.argsort(-share, kind="stable")
        found = [int(k) for k in order if share[k] > 0]
    return found[:most]


def shares(story: Story, alert: Alert) -> list[tuple[str, float]]:
    """Channel and its share of the alert, highest first; from the peak where the alert has none."""
    if alert.channels:
        return list(alert.channels)
    row = np.nan_to_num(story.contributions[alert.peak_row], posinf=0.0, neginf=0.0).clip(0)
    total = float(row.sum()) or 1.0
    return [(story.channels[k], float(row[k]) / total) for k in causes(story, alert, len(row))]
