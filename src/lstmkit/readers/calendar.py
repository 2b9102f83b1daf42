"""Steps of time: naming them, finding them, walking along them, and the cycles they can see.

Times are `datetime64[us]`, or int64 for series that are only numbered. A frequency is written
`15m`: a count and a unit. Fixed units are `us ms s m h d w`; calendar units are `b` (Monday to
Friday), `mo`, `q` and `y`; `i` is a plain integer step. `1mo` keeps the day of the month, `1mo-end`
(also `q-end`, `y-end`) is always the last day of the month.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from lstmkit.errors import UserError

MICROSECONDS = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "w": 604_800_000_000,
}
DAY = MICROSECONDS["d"]
MONTHS = {"mo": 1, "q": 3, "y": 12}
ALIASES = {
    "sec": "s", "second": "s", "t": "m", "min": "m", "minute": "m", "hour": "h", "day": "d",
    "week": "w", "month": "mo", "ms": "mo", "me": "mo-end", "quarter": "q", "qs": "q",
    "qe": "q-end", "year": "y", "a": "y", "ys": "y", "ye": "y-end", "as": "y",
    "business": "b", "bday": "b", "step": "i", "int": "i",
    "hourly": "h", "daily": "d", "weekly": "w", "monthly": "mo", "quarterly": "q", "yearly": "y",
}  # fmt: skip


@dataclass(frozen=True)
class Freq:
    """A parsed frequency: `count` times `unit`; `end` anchors months at their last day."""

    count: int
    unit: str
    end: bool = False

    def __str__(self) -> str:
        return f"{self.count}{self.unit}{'-end' if self.end else ''}"

    @property
    def months(self) -> int:
        """Months of one step, 0 where the unit is no calendar month."""
        return self.count * MONTHS.get(self.unit, 0)

    @property
    def fixed(self) -> int:
        """Length of one step in microseconds (integers: in steps), 0 for calendar units."""
        return self.count if self.unit == "i" else self.count * MICROSECONDS.get(self.unit, 0)

    @property
    def days_or_longer(self) -> bool:
        """Whether steps are whole days of the wall clock, so that daylight saving must not show."""
        return bool(self.months) or self.unit in ("d", "w", "b")

    @property
    def spacing(self) -> float:
        """Typical microseconds of one step; the integer step counts as longer than anything."""
        if self.unit == "i":
            return float("inf")
        return float(self.fixed or self.months * 30.4375 * DAY or self.count * DAY)


@lru_cache(maxsize=256)
def parse_freq(freq: str) -> Freq:
    """Parse `1h`, `15min`, `M`, `1mo-end`, `weekly` ...; pandas aliases work, `M` is a month.

    Raises:
        UserError: the text is no frequency.
    """
    text = freq.strip()
    match = re.fullmatch(r"(\d*)\s*([A-Za-z]+)(-end|-[A-Z]{3})?", text)
    name = match[2] if match else ""
    unit = "mo" if name == "M" else _unit_of(name.lower(), bool(match and match[1]))
    unit, dash, _ = unit.partition("-")
    count = int(match[1] or 1) if match else 0
    if count < 1 or unit not in {*MICROSECONDS, *MONTHS, "b", "i"}:
        raise UserError(
            f"{freq!r} is not a frequency",
            expected="a count and one of us ms s m h d b w mo q y i, such as 15m, 1h, 1d or 1mo",
            hint="--freq 1h",
        )
    end = bool(dash) or bool(match and match[3] == "-end")
    if end and unit not in MONTHS:
        raise UserError(f"{freq!r} is not a frequency", expected="-end after mo, q or y only")
    return Freq(count, unit, end)


def _unit_of(name: str, counted: bool) -> str:
    """The unit of a name; `ms` is milliseconds after a count (`10ms`) and MonthStart alone."""
    if name in MICROSECONDS and (counted or name != "ms"):
        return name
    return name if name in MONTHS else ALIASES.get(name, ALIASES.get(name.removesuffix("s"), name))


def infer_freq(times: np.ndarray, groups: np.ndarray | None = None) -> str:
    """The frequency of times (n,), in any order: the most frequent positive difference.

    With `groups` (n,) of integer codes, only differences inside a group count. Differences of 28
    days and more are read as months, quarters or years where the days of the month say so, and
    days that never fall on a weekend as business days.

    Raises:
        UserError: no two different times in any group.
    """
    codes = np.zeros(len(times), np.int64) if groups is None else np.asarray(groups)
    order = np.lexsort((times, codes))
    ticks, codes = times.astype(np.int64)[order], codes[order]
    steps = np.diff(ticks)[(np.diff(codes) == 0) & (np.diff(ticks) > 0)]
    if not len(steps):
        raise UserError(
            "the spacing of the times cannot be found",
            got="no series with two different times",
            expected="at least two rows a series",
        )
    sizes, counts = np.unique(steps, return_counts=True)
    step = int(sizes[np.argmax(counts)])
    if times.dtype.kind != "M":
        return f"{step}i"
    if step < 28 * DAY:
        return "1b" if step == DAY and _only_weekdays(ticks) else _fixed_name(step)
    moments = ticks.astype("datetime64[us]")
    if counts.max() < 0.9 * counts.sum() or _same_day(moments) or _near_month_end(moments):
        return _calendar_name(moments, codes)
    return _fixed_name(step)


def _fixed_name(step: int) -> str:
    """The largest unit that divides `step` microseconds; weeks only for whole weeks."""
    unit = next(u for u in reversed(MICROSECONDS) if step % MICROSECONDS[u] == 0)
    return f"{step // MICROSECONDS[unit]}{unit}"


def _only_weekdays(ticks: np.ndarray) -> bool:
    """Whether ten or more days hold no Saturday and no Sunday (1970-01-01 is a Thursday)."""
    days = np.unique(ticks // DAY)
    return len(days) >= 10 and bool(((days + 3) % 7).max() < 5)


def _calendar_name(moments: np.ndarray, codes: np.ndarray) -> str:
    steps = np.diff(month_number(moments))[np.diff(codes) == 0]
    sizes, counts = np.unique(steps[steps > 0], return_counts=True)
    months = int(sizes[np.argmax(counts)]) if len(sizes) else 1
    unit = next(u for u in ("y", "q", "mo") if months % MONTHS[u] == 0)
    return str(Freq(months // MONTHS[unit], unit, ends_months(moments)))


def month_number(times: np.ndarray) -> np.ndarray:
    """Months since 1970-01 of times, int64."""
    return times.astype("datetime64[M]").astype(np.int64)


def _days_to_month_end(times: np.ndarray) -> np.ndarray:
    following = (times.astype("datetime64[M]") + 1).astype("datetime64[D]")
    return (following - times.astype("datetime64[D]")).astype(np.int64) - 1


def _day_of_month(times: np.ndarray) -> np.ndarray:
    return (times.astype("datetime64[D]") - times.astype("datetime64[M]")).astype(np.int64)


def _same_day(times: np.ndarray) -> bool:
    return bool(np.ptp(_day_of_month(times)) == 0)


def _near_month_end(times: np.ndarray) -> bool:
    return bool(_days_to_month_end(times).max() <= 3)


def ends_months(times: np.ndarray) -> bool:
    """Whether times (n,) stand for month ends: all last days, or late days that vary (business)."""
    exact = bool(_days_to_month_end(times).max() == 0)
    return exact or (_near_month_end(times) and not _same_day(times))


def step_times(origin: np.ndarray, freq: str, index: np.ndarray) -> np.ndarray:
    """Times that lie `index` steps after `origin` (broadcast together), of origin's dtype."""
    step, index = parse_freq(freq), np.asarray(index, np.int64)
    origin = np.asarray(origin)
    if step.unit == "i":
        return origin.astype(np.int64) + index * step.count
    origin = origin.astype("datetime64[us]")
    if step.fixed:
        return origin + (index * step.fixed).astype("timedelta64[us]")
    day = origin.astype("datetime64[D]")
    clock = origin - day
    if step.unit == "b":
        return np.busday_offset(day, index * step.count, roll="forward") + clock
    month = origin.astype("datetime64[M]") + index * step.months
    last = (month + 1).astype("datetime64[D]") - np.timedelta64(1, "D")
    if step.end:
        return last + clock
    return np.minimum(month.astype("datetime64[D]") + _day_of_month(origin), last) + clock


def grid_index(times: np.ndarray, freq: str, origin: np.ndarray | None = None) -> np.ndarray:
    """Number of the grid step nearest to each time (n,), counted from `origin` (default: first).

    How far a time lies from its step is `times - step_times(origin, freq, index)`.
    """
    step = parse_freq(freq)
    times = np.asarray(times)
    origin = times[:1] if origin is None else np.asarray(origin)
    if step.fixed:
        return _nearest(times.astype(np.int64) - origin.astype(np.int64), step.fixed)
    if step.unit == "b":
        first = np.busday_offset(origin.astype("datetime64[D]"), 0, roll="forward")
        return _nearest(np.busday_count(first, times.astype("datetime64[D]")), step.count)
    return _nearest(month_number(times) - month_number(origin), step.months)


def _nearest(distance: np.ndarray, step: int) -> np.ndarray:
    return (distance + step // 2) // step


def future_times(last: np.datetime64 | int, freq: str, n: int) -> np.ndarray:
    """The `n` times after `last`: datetime64[us], or int64 for integer time."""
    return step_times(np.asarray(last), freq, np.arange(1, n + 1))


def season_of(freq: str) -> int:
    """Steps of the usual season: h 24, 15m 96, d 7, b 5, w 52, mo 12, q 4, otherwise 1.

    Below a minute the season is the hour, below a second the minute.
    """
    step = parse_freq(freq)
    if step.months:
        return max(1, 12 // step.months) if 12 % step.months == 0 else 1
    if step.unit == "b":
        return 5 if step.count == 1 else 1
    if step.unit == "i":
        return 1
    if step.fixed == MICROSECONDS["w"]:
        return 52
    units = [("s", "m"), ("m", "h"), ("d", "d")]
    season = next(
        (MICROSECONDS[u] for below, u in units if step.fixed < MICROSECONDS[below]), 7 * DAY
    )
    return season // step.fixed if season % step.fixed == 0 else 1


def cycles(freq: str) -> tuple[str, ...]:
    """Names of the cycles that `freq` can see, shortest first; none for years and integers."""
    step = parse_freq(freq)
    if step.months:
        return ("month_of_year",) if step.months % 12 else ()
    limits = {
        "second_of_minute": MICROSECONDS["m"],
        "minute_of_hour": MICROSECONDS["h"],
        "hour_of_day": DAY,
        "day_of_week": 7 * DAY,
        "day_of_month": 7 * DAY,
        "day_of_year": 300 * DAY,
    }
    return tuple(name for name, limit in limits.items() if step.spacing < limit)


def feature_names(freq: str) -> tuple[str, ...]:
    """Names of the columns of `features`: `hour_of_day_sin, hour_of_day_cos, ...`."""
    return tuple(f"{name}_{wave}" for name in cycles(freq) for wave in ("sin", "cos"))


def features(times: np.ndarray, freq: str) -> np.ndarray:
    """Sine and cosine of every cycle: times (n,) -> float32 (n, 2 * len(cycles(freq))).

    Phases are fractions of the true cycle (the month's and the year's own length) and continuous
    where steps are shorter than the cycle's unit: 13:30 lies between 13 and 14 o'clock.
    """
    phases = [_phase(times, name) for name in cycles(freq)]
    waves = [wave(2 * np.pi * phase) for phase in phases for wave in (np.sin, np.cos)]
    return np.stack(waves, 1).astype(np.float32) if waves else np.zeros((len(times), 0), np.float32)


def _phase(times: np.ndarray, cycle: str) -> np.ndarray:
    """Fraction [0, 1) of the cycle that has passed at times (n,), float64."""
    ticks = times.astype("datetime64[us]").astype(np.int64)
    if cycle == "month_of_year":
        return month_number(times) % 12 / 12.0
    if cycle in ("day_of_month", "day_of_year"):
        unit = "datetime64[M]" if cycle == "day_of_month" else "datetime64[Y]"
        start, following = times.astype(unit), times.astype(unit) + 1
        length = (following.astype("datetime64[D]") - start.astype("datetime64[D]")).astype(
            np.int64
        )
        return (times.astype("datetime64[D]") - start).astype(np.int64) / length
    if cycle == "day_of_week":
        return (ticks // DAY + 3) % 7 / 7.0
    length = {"second_of_minute": "m", "minute_of_hour": "h", "hour_of_day": "d"}[cycle]
    return ticks % MICROSECONDS[length] / MICROSECONDS[length]
