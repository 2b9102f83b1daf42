"""How people write times: formats in the order in which they are tried."""

from __future__ import annotations

import re

DATE_FORMATS = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d",
    "%d.%m.%Y", "%d.%m.%y", "%m/%d/%Y", "%d/%m/%Y", "%m-%d-%Y", "%d-%m-%Y", "%m/%d/%y", "%d/%m/%y",
    "%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y", "%d/%b/%Y", "%b %d, %Y", "%B %d, %Y",
    "%b %d %Y", "%Y-%m", "%Y/%m", "%m/%Y", "%b %Y", "%B %Y", "%b-%Y", "%b-%y", "%Y-%b", "%Y %b",
    "%YM%m",
)  # fmt: skip
TIME_FORMATS = ("%H:%M:%S", "%H:%M", "%H:%M:%S%.f", "%I:%M %p", "%I:%M:%S %p")
QUARTER_FORMATS = {"%Y{}Q%q": r"(?P<year>\d{4})[- ]?Q(?P<quarter>[1-4])",
                   "Q%q{}%Y": r"Q(?P<quarter>[1-4])[- ]?(?P<year>\d{4})"}  # fmt: skip
UNIX = {"s": (9, 10, 1_000_000), "ms": (12, 13, 1_000), "us": (15, 16, 1)}


def ordered(formats: tuple[str, ...], day_first: bool | None) -> list[str]:
    """Formats to try: of two that differ in day and month only, `day_first` excludes one."""
    wrong = (
        {True: r"%m[/-]%d", False: r"%d[./-]%m"}.get(day_first) if day_first is not None else None
    )
    kept = [f for f in formats if wrong is None or not re.match(wrong, f)]
    return kept + ["%m.%d.%Y", "%m.%d.%y"] if day_first is False else kept


def offset_micros(text: str) -> int:
    """A zone's distance from UTC, `+01:00` or `Z`, in microseconds."""
    digits = re.sub(r"\D", "", text).ljust(4, "0")
    minutes = int(digits[:2]) * 60 + int(digits[2:4])
    return (-minutes if "-" in text else minutes) * 60_000_000
