"""Rows that arrive one at a time: CSV with a header or JSON lines, and the times in them.

Standard library and numpy only. A row is yielded as soon as its line is complete.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import numpy as np

from lstmkit.errors import UserError
from lstmkit.readers.calendar import parse_freq
from lstmkit.readers.formats import (
    DATE_FORMATS,
    QUARTER_FORMATS,
    TIME_FORMATS,
    UNIX,
    offset_micros,
    ordered,
)

Row = Mapping[str, Any]
LONGEST_LINE = 1 << 20  # characters
MISSING = frozenset({"", "na", "nan", "null", "none", "n/a", "-"})
OFFSET = re.compile(r"(?<=\d) ?(Z|UTC|[+-]\d{2}:?\d{2}|[+-]\d{2})$")
WHOLE = re.compile(r"[+-]?\d{1,18}(\.0+)?")


class BadRow(UserError):  # noqa: N818
    """A line that is no row; the lines after it may be."""


def rows(lines: Iterable[str]) -> Iterator[Row | BadRow]:
    """The rows of a stream of lines; what is no row comes as the BadRow that says why.

    JSON lines where the first line begins with a brace, otherwise CSV whose first line names the
    columns, cut at commas, semicolons or tabs. Empty lines are left out.

    Raises:
        UserError: a CSV header that cannot be used.
    """
    numbered = ((n, line) for n, line in enumerate(lines, 1) if line.strip())
    first = next(numbered, None)
    if first is None:
        return
    if first[1].lstrip("\ufeff").lstrip().startswith("{"):
        yield _json_row(first[0], first[1].lstrip("\ufeff"))
        for n, line in numbered:
            yield _json_row(n, line)
        return
    names, separator = _header(first[1].lstrip("\ufeff"))
    for n, line in numbered:
        yield _csv_row(n, line, names, separator)


def good(found: Iterable[Row | BadRow]) -> Iterator[Row]:
    """The rows; a BadRow among them is raised."""
    for row in found:
        if isinstance(row, BadRow):
            raise row
        yield row


def _json_row(number: int, line: str) -> Row | BadRow:
    if len(line) > LONGEST_LINE:
        return _too_long(number)
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return BadRow(f"line {number} is no JSON", got=line.strip()[:80], hint=str(error)[:80])
    if not isinstance(row, dict):
        return BadRow(f"line {number} is no JSON object", got=line.strip()[:80])
    return row


def _header(line: str) -> tuple[list[str], str]:
    counts = {separator: line.count(separator) for separator in ",;\t"}
    separator = max(counts, key=lambda s: counts[s])
    names = [name.strip() for name in next(csv.reader([line], delimiter=separator))]
    if len(set(names)) < len(names) or "" in names:
        raise UserError(
            "the first line must name the columns, each once",
            got=line.strip()[:120],
            hint="CSV with a header, or one JSON object a line",
        )
    return names, separator


def _csv_row(number: int, line: str, names: list[str], separator: str) -> Row | BadRow:
    if len(line) > LONGEST_LINE:
        return _too_long(number)
    try:
        cells = next(csv.reader([line], delimiter=separator, strict=True))
    except csv.Error as error:
        return BadRow(f"line {number} is no CSV: {error}", got=line.strip()[:80])
    if len(cells) != len(names):
        return BadRow(
            f"line {number} has {len(cells)} cells",
            got=line.strip()[:80],
            expected=f"{len(names)}: {', '.join(names)}"[:120],
        )
    return dict(zip(names, (cell.strip() for cell in cells), strict=True))


def _too_long(number: int) -> BadRow:
    return BadRow(f"line {number} is longer than {LONGEST_LINE} characters")


def number(cell: Any, name: str) -> float:
    """A cell as a number; NaN where it is empty or says that it is missing.

    Raises:
        UserError: it is something else.
    """
    if cell is None or (isinstance(cell, str) and cell.strip().lower() in MISSING):
        return float("nan")
    try:
        if isinstance(cell, bool):
            raise ValueError
        return float(cell)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"column {name!r} holds no number", got=repr(cell)[:80]) from None


class Clock:
    """Reads times as `readers.tables` does, one at a time, and writes more of them in ISO 8601.

    Args:
        freq: the spacing of the rows: with steps shorter than a day, times with a zone become UTC;
            with whole-numbered steps (`1i`), times are numbers.
        day_first: whether 01/02/2024 is the first of February.
    """

    def __init__(self, freq: str, day_first: bool | None = None) -> None:
        found = parse_freq(freq)
        self._whole, self._daily = found.unit == "i", found.days_or_longer
        self._formats = [_python(f) for f in _all_formats(day_first)]
        self._utc = False

    def read(self, cell: Any) -> np.datetime64 | int:
        """A cell as a time of the series: datetime64[us], or a whole number.

        Raises:
            UserError: it is no time.
        """
        text = str(cell).strip()
        if WHOLE.fullmatch(text):
            return self._from_number(text.partition(".")[0])
        if self._whole:
            raise _no_time(cell, "a whole number")
        offset = OFFSET.search(text) if ":" in text else None
        wall = self._parse(text[: offset.start()] if offset else text)
        if wall is None:
            raise _no_time(cell, "a time such as 2024-01-31 or 2024-01-31 07:30")
        if offset is None or self._daily:
            return np.datetime64(wall, "us")
        self._utc = True
        return np.datetime64(wall, "us") - np.timedelta64(offset_micros(offset[1]), "us")

    def _from_number(self, digits: str) -> np.datetime64 | int:
        if self._whole:
            return int(digits)
        for short, long, scale in UNIX.values():
            if short <= len(digits) <= long:
                return np.datetime64(int(digits) * scale, "us")
        wall = self._parse(digits) or _year(digits)
        if wall is None:
            raise _no_time(digits, "a date, or seconds since 1970")
        return np.datetime64(wall, "us")

    def _parse(self, text: str) -> datetime | None:
        """By the format that read the last one, else by the first that fits."""
        quarter = _quarter(text)
        if quarter is not None:
            return quarter
        for k, written in enumerate(self._formats):
            try:
                wall = datetime.strptime(text, written)
            except ValueError:
                continue
            self._formats.insert(0, self._formats.pop(k))
            return wall
        return None

    def write(self, time: np.datetime64 | int | np.ndarray) -> str | int:
        """A time as text: a date, or a date and the time of day; a number as it is."""
        moment = np.asarray(time)
        if moment.dtype.kind != "M":
            return int(moment)
        if self._daily and moment.astype("datetime64[D]") == moment:
            return str(moment.astype("datetime64[D]"))
        second = moment.astype("datetime64[s]")
        return str(second if second == moment else moment) + ("Z" if self._utc else "")


def _all_formats(day_first: bool | None) -> list[str]:
    dates = ordered(DATE_FORMATS, day_first)
    clocks = [f"{join}{clock}" for join in ("T", " ") for clock in TIME_FORMATS]
    return [date + clock for date in dates for clock in ("", *clocks)]


def _python(written: str) -> str:
    return written.replace("%.f", ".%f")


def _quarter(text: str) -> datetime | None:
    for pattern in QUARTER_FORMATS.values():
        found = re.fullmatch(pattern, text)
        if found:
            return datetime(int(found["year"]), 3 * int(found["quarter"]) - 2, 1)
    return None


def _year(digits: str) -> datetime | None:
    return datetime(int(digits), 1, 1) if re.fullmatch(r"(1[6-9]|20|21)\d\d", digits) else None


def _no_time(cell: Any, expected: str) -> UserError:
    return UserError("this is no time", got=repr(cell)[:80], expected=expected)
