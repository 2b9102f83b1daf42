"""From scores to so many alerts a day: what level keeps to a budget on normal traffic. No torch."""

from __future__ import annotations

import math

import numpy as np

from lstmkit.calibration.thresholds.budget import TAIL_ALERTS

DAY = 86_400.0
GAP = 3600.0  # seconds without an alarm after which a host's next one is another alert
LEAST_LEVEL = 1.0  # decades; what one normal flow in ten reaches is no alarm
LEAST_SLOPE = 0.2  # of the levels of alerts: a budget that was never seen is reached by going on


def peaks(score: np.ndarray, host: np.ndarray, time: np.ndarray, gap: float = GAP) -> np.ndarray:
    """The highest score of each stretch of a host's flows without a pause of `gap` seconds in it,
    highest first.

    Args:
        score: (n,). host: (n,) anything that can be compared. time: (n,) seconds.
    """
    if not len(score):
        return np.zeros(0)
    order = np.lexsort((time, host))
    h, t, s = host[order], time[order], score[order]
    begins = np.ones(len(h), bool)
    begins[1:] = (h[1:] != h[:-1]) | (np.diff(t) > gap)
    found = np.maximum.reduceat(s, np.flatnonzero(begins))
    return np.sort(found)[::-1]


def level_of(found: np.ndarray, days: float, per_day: float) -> float:
    """The level that lets `per_day` alerts a day through, of peaks (k,) in so many days.

    Where that are fewer than a handful, the exponential tail of the highest peaks goes on.
    """
    wanted = per_day * days
    if not len(found):
        return 3.0
    read = min(max(wanted, TAIL_ALERTS), len(found))
    level = float(found[min(math.ceil(read), len(found)) - 1])
    if wanted >= TAIL_ALERTS:
        return max(float(np.nextafter(level, np.inf)), LEAST_LEVEL)
    above = found[found >= level]
    slope = max(float((above - level).mean()), LEAST_SLOPE)
    return max(level + slope * math.log(max(read / wanted, 1.0)), LEAST_LEVEL)
