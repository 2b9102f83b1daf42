"""Text, numbers and polars dates to times, and back to what the user had.

Times are read in the user's wall clock; the offset of a zone is kept beside them, and
`to_utc` turns wall clock into UTC where steps are shorter than a day.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import polars as pl

from lstmkit.errors import UserError
from lstmkit.readers.formats import (
    DATE_FORMATS,
    QUARTER_FORMATS,
    TIME_FORMATS,
    UNIX,
    offset_micros,
    ordered,
)

PIECES = {"%Y": r"\d{4}", "%y": r"\d{2}", "%m": r"\d{1,2}", "%d": r"\d{1,2}",
          "%b": "[A-Za-z]{3}", "%B": "[A-Za-z]{3,9}", "%H": r"\d{1,2}", "%I": r"\d{1,2}",
          "%M": r"\d{2}", "%S": r"\d{2}", "%.f": r"\.\d+", "%p": "[AaPp][Mm]"}  # fmt: skip
CLOCK = r"(?P<join>[T ]+)(?P<clock>\d{1,2}:\d{2}.*?)"
OFFSET = r"(?P<offset> ?(?:Z|UTC|[+-]\d{2}:?\d{2}|[+-]\d{2}))"
PARTS = rf"^\s*(?P<date>.+?)(?:{CLOCK}{OFFSET}?)?\s*$"


@dataclass(frozen=True)
class TimeStyle:
    """How the user writes time, enough to write more of it.

    Attributes:
        kind: `text`, `quarter`, `year`, `unix`, `integer`, or `frame` (a polars date or datetime).
        format: strftime format of text, unit of unix time.
        offset: suffix of text with a zone (`Z`, `+01:00`), else empty.
        dtype: polars type of the column that came.
        utc: whether the times of the table are UTC, and the zone must be put back.
    """

    kind: str
    format: str = ""
    offset: str = ""
    dtype: pl.DataType | None = None
    utc: bool = False

    @property
    def time_zone(self) -> str | None:
        """The zone of the column: an IANA name, an offset, or None."""
        named = self.dtype.time_zone if isinstance(self.dtype, pl.Datetime) else None
        return named or (self.offset.strip().replace("Z", "UTC") or None)

    @property
    def day_first(self) -> bool | None:
        """Whether days stand before months; None where the format does not leave it open."""
        found = re.match(r"%([dm])[./-]%[dm]", self.format)
        return found[1] == "d" if found else None


@dataclass
class Times:
    """Wall clock (n,) datetime64[us] or int64; UTC beside it where the zone is known."""

    wall: np.ndarray
    utc: np.ndarray | None
    style: TimeStyle


def looks_like_time(column: pl.Series) -> bool:
    """Whether nine in ten of a sample of text cells are times (integers are not: see `columns`)."""
    if column.dtype.is_temporal():
        return isinstance(column.dtype, (pl.Date, pl.Datetime))
    if column.dtype != pl.String:
        return False
    sample = column.drop_nulls().head(100).str.strip_chars()
    if not len(sample) or sample.str.contains(r"^[+-]?[\d.,eE+-]*$").sum() > len(sample) / 2:
        dashed = sample.str.contains(
            r"^\d{4}-\d{2}(-\d{2})?$|^\d{1,2}\.\d{1,2}\.\d{2,4}$|^\d{4}\.\d+\.\d+$"
        )
        if not len(sample) or dashed.sum() < 0.9 * len(sample):
            return False
    return max(
        _parse(sample, None)[0].is_not_null().sum(), _quarters(sample)[0].is_not_null().sum()
    ) >= 0.9 * len(sample)


def parse_times(column: pl.Series, day_first: bool | None, notes: list[str]) -> Times:
    """Read a whole column.

    Raises:
        UserError: a missing or unreadable time (row and text), or several time zones.
    """
    if column.null_count():
        row = int(column.is_null().arg_max() or 0) + 1
        raise UserError(f"row {row} has no time in column {column.name!r}", hint="remove the row")
    if isinstance(column.dtype, (pl.Date, pl.Datetime)):
        return _from_frame(column)
    if column.dtype.is_numeric():
        return _from_numbers(column, column.dtype)
    text = column.cast(pl.String).str.strip_chars()
    if text.str.contains(r"^[+-]?\d{1,18}(\.0+)?$").all():
        return _from_numbers(text.str.replace(r"\.0+$", "").cast(pl.Int64), column.dtype)
    unique = text.unique(maintain_order=True)
    times = _from_text(unique, text, day_first, notes)
    return _spread(times, unique, text)


def _spread(times: Times, unique: pl.Series, text: pl.Series) -> Times:
    """Times of the unique texts, laid out over all rows."""
    keys = pl.DataFrame({"text": unique}).with_row_index("code")
    rows = pl.DataFrame({"text": text}).join(keys, on="text", how="left", maintain_order="left")
    code = rows["code"].to_numpy()
    utc = None if times.utc is None else times.utc[code]
    return Times(times.wall[code], utc, times.style)


def _from_frame(column: pl.Series) -> Times:
    dtype = column.dtype
    zone = dtype.time_zone if isinstance(dtype, pl.Datetime) else None
    moments = column.cast(pl.Datetime("us", zone)) if zone else column.cast(pl.Datetime("us"))
    wall = moments.dt.replace_time_zone(None).to_numpy() if zone else moments.to_numpy()
    utc = (
        moments.dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_numpy() if zone else None
    )
    return Times(wall, utc, TimeStyle("frame", dtype=dtype))


def _from_numbers(column: pl.Series, dtype: pl.DataType) -> Times:
    """Integers: unix time, YYYYMMDD, YYYYMM, years, or plain steps, by their size."""
    if column.null_count() or (column.dtype.is_float() and not (column == column.floor()).all()):
        raise UserError(
            f"column {column.name!r} holds fractions",
            expected="times or whole numbers",
            hint="--time",
        )
    numbers = column.cast(pl.Int64)
    digits = numbers.cast(pl.String)
    for unit, (short, long, scale) in UNIX.items():
        if digits.str.contains(rf"^\d{{{short},{long}}}$").all():
            moments = (numbers * scale).to_numpy().astype("datetime64[us]")
            return Times(moments, None, TimeStyle("unix", unit, dtype=dtype))
    if digits.str.contains(r"^(1[6-9]|20|21)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])$").all():
        return _compact(digits, "%Y%m%d", "%Y%m%d", dtype)
    if digits.str.contains(r"^(1[6-9]|20|21)\d\d(0[1-9]|1[0-2])$").all():
        return _compact(digits + "01", "%Y%m%d", "%Y%m", dtype)
    if digits.str.contains(r"^(1[6-9]|20|21)\d\d$").all():
        return _compact(digits + "0101", "%Y%m%d", "%Y", dtype)
    return Times(numbers.to_numpy(), None, TimeStyle("integer", dtype=dtype))


def _compact(digits: pl.Series, read: str, written: str, dtype: pl.DataType) -> Times:
    days = digits.str.to_date(read, strict=False)
    if days.null_count():
        row = int(days.is_null().arg_max() or 0)
        raise UserError(f"row {row + 1}: {digits[row]!r} is not a date")
    return Times(
        days.cast(pl.Datetime("us")).to_numpy(), None, TimeStyle("text", written, dtype=dtype)
    )


def _from_text(
    unique: pl.Series, text: pl.Series, day_first: bool | None, notes: list[str]
) -> Times:
    moments, written = _quarters(unique)
    if not moments.null_count():
        return Times(moments.to_numpy(), None, TimeStyle("quarter", written, dtype=pl.String()))
    moments, written = _parse(unique, day_first)
    if moments.null_count():
        bad = unique.filter(moments.is_null())[0]
        row = int((text == bad).arg_max() or 0) + 1
        raise UserError(
            f"row {row} of column {text.name!r} is not a time",
            got=repr(bad),
            expected="one format in the whole column",
            hint="write times as 2024-01-31 or 2024-01-31 13:00:00",
        )
    _note_day_order(unique, written, day_first, notes)
    offset = _parts(unique)["offset"].fill_null("")
    return _with_offset(moments, offset, written, notes)


def _note_day_order(
    unique: pl.Series, written: str, day_first: bool | None, notes: list[str]
) -> None:
    both = re.match(r"%([dm])([/-])%([dm])([/-]%[yY])", written)
    if both is None:
        return
    first = "day" if both[1] == "d" else "month"
    mirrored = f"%{both[3]}{both[2]}%{both[1]}{both[4]}"
    if day_first is not None or _parse(unique, None, (mirrored,))[0].null_count():
        notes.append(f"dates such as {unique[0]} are read {first}-first")
        return
    notes.append(
        f"dates such as {unique[0]} can be read in two ways: read {first}-first (--day-first)"
    )


def _quarters(unique: pl.Series) -> tuple[pl.Series, str]:
    for written, pattern in QUARTER_FORMATS.items():
        if unique.str.contains(f"^{pattern}$").all():
            parts = unique.str.extract_groups(f"^{pattern}$").struct.unnest()
            month = parts["quarter"].cast(pl.Int32) * 3 - 2
            text = parts["year"] + "-" + month.cast(pl.String) + "-1"
            between = re.sub(r"[\dQ]", "", unique[0])
            return text.str.to_date("%Y-%m-%d").cast(pl.Datetime("us")), written.format(between)
    return pl.repeat(None, len(unique), dtype=pl.Datetime("us"), eager=True), ""


def _parts(unique: pl.Series) -> pl.DataFrame:
    return unique.str.extract_groups(PARTS).struct.unnest()


def _parse(
    unique: pl.Series, day_first: bool | None, formats: tuple[str, ...] = DATE_FORMATS
) -> tuple[pl.Series, str]:
    """Moments (null where unreadable) and the format of the date and clock that reads most."""
    parts = _parts(unique)
    dates, date_format = _best(parts["date"], ordered(formats, day_first), _to_date)
    if not parts["clock"].count():
        return dates.cast(pl.Datetime("us")), date_format
    clocks, clock_format = _best(parts["clock"], TIME_FORMATS, _to_clock)
    clocks = pl.select(pl.when(parts["clock"].is_null()).then(0).otherwise(clocks)).to_series()
    join = "T" if parts["join"].drop_nulls()[0].startswith("T") else " "
    moments = dates.cast(pl.Datetime("us")) + clocks.cast(pl.Duration("us"))
    return moments, f"{date_format}{join}{clock_format}"


def _best(cells: pl.Series, formats: list[str] | tuple[str, ...], read) -> tuple[pl.Series, str]:  # type: ignore[no-untyped-def]
    """The first format that reads every cell, else the one that reads most."""
    best, chosen, most = pl.repeat(None, len(cells), dtype=pl.Int64, eager=True), "", -1
    for written in formats:
        values = read(cells, written)
        if values.count() > most:
            best, chosen, most = values, written, values.count()
        if most == cells.count():
            break
    return best, chosen


def _shape(written: str) -> str:
    """Regular expression of a format; years have exactly as many digits as they say."""
    pattern = re.escape(written).replace(r"\.f", ".f")
    for piece, expression in PIECES.items():
        pattern = pattern.replace(re.escape(piece).replace(r"\.", "."), expression)
    return f"^{pattern}$"


def _to_date(cells: pl.Series, written: str) -> pl.Series:
    fitting = cells.set(~cells.str.contains(_shape(written)).fill_null(False), None)
    if not fitting.count():
        return fitting.cast(pl.Date, strict=False)
    if "%d" in written:
        return fitting.str.to_date(written, strict=False)
    return (fitting + "|1").str.to_date(written + "|%d", strict=False)


def _to_clock(cells: pl.Series, written: str) -> pl.Series:
    """Microseconds since midnight; a format's fraction of a second may be missing."""
    shape = _shape(written).replace(PIECES["%.f"], rf"({PIECES['%.f']})?")
    fitting = cells.set(~cells.str.contains(shape).fill_null(False), None)
    if not fitting.count():
        return fitting.cast(pl.Int64, strict=False)
    return fitting.str.to_time(written, strict=False).cast(pl.Int64) // 1000


def _with_offset(moments: pl.Series, offset: pl.Series, written: str, notes: list[str]) -> Times:
    """Attach the zone: one offset, two an hour apart (daylight saving), none, or an error."""
    wall, found = moments.to_numpy(), sorted(offset.unique().to_list())
    if found == [""]:
        return Times(wall, None, TimeStyle("text", written, dtype=pl.String()))
    micros = {text: offset_micros(text) for text in found}
    shifts = np.array([micros[text] for text in offset.to_list()])
    utc = wall - shifts.astype("timedelta64[us]")
    spread = max(micros.values()) - min(micros.values())
    if "" in found or spread not in (0, 3_600_000_000):
        raise UserError(
            "the times have several time zones",
            got=", ".join(text.strip() or "no zone" for text in found[:5]),
            expected="one zone in the column",
            hint="write all times in UTC",
        )
    if spread:
        notes.append(f"zones {' and '.join(found)} are read as daylight saving time")
        return Times(wall, utc, TimeStyle("text", written, "+00:00", pl.String()))
    return Times(wall, utc, TimeStyle("text", written, found[0], pl.String()))


def to_user_times(times: np.ndarray, style: TimeStyle, name: str) -> pl.Series:
    """Times (n,) of a table as the column that the user had: same type, same zone, same format."""
    if style.kind == "integer":
        return pl.Series(name, times).cast(_number_type(style.dtype))
    if style.kind == "unix":
        scale = UNIX[style.format][2]
        return pl.Series(name, times.astype("datetime64[us]").astype(np.int64) // scale).cast(
            _number_type(style.dtype)
        )
    column = pl.Series(name, times.astype("datetime64[us]"))
    if style.kind == "frame":
        return _to_frame_type(column, style)
    if style.kind == "quarter":
        pieces = (column.dt.year().cast(pl.String), column.dt.quarter().cast(pl.String))
        return pl.Series(
            name,
            [style.format.replace("%Y", y).replace("%q", q) for y, q in zip(*pieces, strict=True)],
            dtype=pl.String,
        )
    if style.utc and style.offset:
        column = column.dt.offset_by(f"{offset_micros(style.offset) // 1_000_000}s")
    text = column.dt.strftime(style.format) + style.offset
    return text.cast(style.dtype) if style.dtype is not None and style.dtype.is_numeric() else text


def _number_type(dtype: pl.DataType | None) -> pl.DataType:
    return dtype if dtype is not None and dtype.is_numeric() else pl.Int64()


def _to_frame_type(column: pl.Series, style: TimeStyle) -> pl.Series:
    dtype = style.dtype
    if isinstance(dtype, pl.Datetime) and dtype.time_zone:
        zone = dtype.time_zone
        if style.utc:
            return column.dt.replace_time_zone("UTC").dt.convert_time_zone(zone).cast(dtype)
        return column.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").cast(
            dtype
        )
    return column.cast(dtype or pl.Datetime("us"))
