"""Four channels with three anomalies."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl

ROWS, LEARNT, DAY = 1600, 1100, 96
EVENTS = ((1200, 1220, "lat"), (1350, 1390, "mem"), (1500, 1504, "load"))


def metrics() -> pl.DataFrame:
    """Quarter hours; `bad` marks the anomalies."""
    draw = np.random.default_rng(0)
    day = np.sin(2 * np.pi * np.arange(ROWS) / DAY)
    load = 50 + 20 * day + draw.normal(0, 2, ROWS)
    mem = 30 + 0.5 * load + draw.normal(0, 1, ROWS)
    lat = 5 + 0.1 * load + np.abs(draw.normal(0, 0.5, ROWS))
    bad = np.zeros(ROWS, int)
    lat[1200:1220] += 8
    mem[1350:1390] -= 15
    load[1500:1504] = 200
    for first, last, _ in EVENTS:
        bad[first:last] = 1
    when = [datetime(2024, 1, 1) + timedelta(minutes=15 * k) for k in range(ROWS)]
    columns = {"when": when, "load": load, "mem": mem, "lat": lat, "still": np.full(ROWS, 7.0)}
    return pl.DataFrame({**columns, "bad": bad})
