"""Scores, times and lengths of time in plain words, with as many digits as help."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lstmkit.tasks.anomaly.story import Story

SIZES = ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"))
UNITS = (("day", 86_400_000_000), ("h", 3_600_000_000), ("min", 60_000_000), ("s", 1_000_000))
DIGITS = {"day": 10, "minute": 16, "second": 19, "thousandth": 23}  # of an ISO date


def rarity(score: float) -> str:
    """`one normal row in 1,300`: what minus log10 of a probability means."""
    if not np.isfinite(score):
        return "rarer than can be told" if score > 0 else "unknown"
    if score >= 15:
        return "less than one normal row in a thousand trillion"
    often = float(f"{10 ** max(0.0, score):.2g}")
    for size, name in SIZES:
        if often >= size:
            return f"one normal row in {often / size:.3g} {name}"
    return f"one normal row in {often:,.0f}" if often >= 10 else f"one normal row in {often:.2g}"


def duration(rows: int, step: int | None) -> str:
    """`2 h 10 min` of so many rows, `step` microseconds each; `13 rows` where that is unknown."""
    if not step:
        return f"{rows:,} row{'s' * (rows != 1)}"
    total = rows * step
    if total < UNITS[-1][1]:
        return f"{total / 1000:.3g} ms"
    k = next(k for k, (_, size) in enumerate(UNITS) if total >= size)
    whole, rest = divmod(total, UNITS[k][1])
    text = f"{whole} {UNITS[k][0]}{'s' * (k == 0 and whole > 1)}"
    if k + 1 < len(UNITS) and rest >= UNITS[k + 1][1] and whole < 20:
        text += f" {rest // UNITS[k + 1][1]} {UNITS[k + 1][0]}"
    return text


def step_of(story: Story) -> int | None:
    """Microseconds from row to row; None for numbered rows and for a single one."""
    if not story.dated or len(story.time) < 2:
        return None
    steps = np.diff(story.time[:1000].astype("datetime64[us]")).astype(np.int64)
    return int(np.median(steps)) or None


def clock_of(stories: Sequence[Story]) -> str:
    """How a time is written: `number`, or as far as the `day`, `minute`, `second`, `thousandth`."""
    if not stories or not stories[0].dated:
        return "number"
    found = [s.time.astype("datetime64[us]").astype(np.int64) for s in stories]
    sizes = {"day": UNITS[0][1], "minute": UNITS[2][1], "second": UNITS[3][1]}
    whole = (name for name, size in sizes.items() if all((t % size == 0).all() for t in found))
    return next(whole, "thousandth")


def moment(time: Any, clock: str) -> str:
    """`2026-11-23 15:01`, as far as the clock goes; a number as it is."""
    if clock == "number":
        return str(int(time))
    text = str(np.datetime64(time, "us")).replace("T", " ")
    return text[: DIGITS[clock]]


def shortened(name: str, most: int) -> str:
    """A name of at most `most` characters on one line; it loses its middle, not its end."""
    name = " ".join(name.split())
    if len(name) <= most:
        return name
    end = (most - 1) // 3
    return f"{name[: most - 1 - end]}…{name[len(name) - end :]}"
