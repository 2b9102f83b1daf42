"""Tables to regular time series, and forecasts back to the kind of table that the user has.

CSV, Parquet, pandas and polars; long (a row a series and time), wide (a column a series) or rows
(a row a series). Every series comes out on a regular grid, from its first known value to its
last; missing steps are NaN. What was inferred, repaired or skipped is told in `notes`.
"""

from __future__ import annotations

import gzip
import io
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lstmkit.errors import UserError
from lstmkit.readers import grid
from lstmkit.readers.calendar import parse_freq
from lstmkit.readers.columns import Roles, find_roles, parse_numbers
from lstmkit.readers.files import load
from lstmkit.readers.timestamps import Times, TimeStyle, parse_times, to_user_times

WHOLE = r"(0|-?[1-9]\d{0,17})"  # an id that is a number; 007 is a text


@dataclass
class Series:
    """One series on a regular grid.

    Attributes:
        id: one value for each id column; empty for a single series.
        time: (n,) datetime64[us] (UTC where the zone is known and steps are shorter than a day,
            otherwise the wall clock) or int64.
        values: (n,) float64, NaN where missing; the first and the last are known.
    """

    id: tuple[Any, ...]
    time: np.ndarray
    values: np.ndarray


@dataclass
class SeriesTable:
    """Series of one table, with what is needed to write a table like it.

    Attributes:
        series: in the order of the input.
        id_columns, time_column, target_column: the user's names; wide tables name series by
            `unique_id` and values `y`.
        freq: as `calendar.parse_freq` reads it, for example `1h`, `1mo-end`, `1i`.
        layout: `long`, `wide` or `rows`.
        kind: `csv`, `parquet`, `pandas` or `polars`.
        notes: short lines about what was inferred, repaired and skipped.
        id_types: polars types of the id columns.
        time_style: how the user writes time.
    """

    series: list[Series]
    id_columns: list[str]
    time_column: str
    target_column: str
    freq: str
    layout: str
    kind: str
    notes: list[str] = field(default_factory=list)
    id_types: list[pl.DataType] = field(default_factory=list)
    time_style: TimeStyle = field(default_factory=lambda: TimeStyle("frame"))

    @property
    def time_zone(self) -> str | None:
        """The zone of the time column: an IANA name, an offset such as `+01:00`, or None."""
        return self.time_style.time_zone

    @property
    def day_first(self) -> bool | None:
        """Whether days were read before months; None where the times do not leave it open."""
        found = re.match(r"%([dm])[./-]%[dm]", self.time_style.format)
        return found[1] == "d" if found else None


def read_series(
    data: Any,
    *,
    id: str | list[str] | None = None,
    time: str | None = None,
    target: str | None = None,
    freq: str | None = None,
    day_first: bool | None = None,
    layout: str | None = None,
) -> SeriesTable:
    """Read time series; whatever is not given is inferred and told in the notes.

    Args:
        data: path, glob, list of them, `-` (CSV on standard input), pandas or polars frame.
        id: column or columns that name a series (a text may hold several, `store,item`).
        time: column of times.
        target: column of values; in a table without it every numeric column may be a series.
        freq: spacing of the grid, inferred from the most frequent difference.
        day_first: whether 01/02/2024 is the first of February.
        layout: `long`, `wide` or `rows`.

    Raises:
        UserError: whatever in the input cannot be read, with the row, the text and a hint.
    """
    notes: list[str] = []
    loaded = load(data, notes)
    roles = find_roles(loaded.frame, id, time, target, layout, notes)
    read = (
        _read_rows
        if roles.layout == "rows"
        else _read_wide
        if roles.layout == "wide"
        else _read_long
    )
    raw = read(loaded.frame, roles, loaded.separator, day_first, notes)
    placed, used, style = _place(raw, freq, notes)
    series = _cut(raw, placed, roles.layout, notes)
    table = SeriesTable(
        series, raw.id_columns, raw.time_column, raw.target, used, roles.layout, loaded.kind
    )
    return replace(table, notes=notes, id_types=raw.id_types, time_style=style)


@dataclass
class _Raw:
    """Columns before the grid: row i belongs to series codes[i]; columns of values share rows."""

    ids: list[tuple[Any, ...]]
    codes: np.ndarray
    times: Times
    values: list[np.ndarray]
    id_columns: list[str]
    id_types: list[pl.DataType]
    time_column: str
    target: str


def _read_long(
    frame: pl.DataFrame, roles: Roles, separator: str, day_first: bool | None, notes: list[str]
) -> _Raw:
    values = parse_numbers(frame[roles.values[0]], separator)
    ids, codes, types = _codes(frame, roles.ids)
    times = _times(frame, roles.time, codes, day_first, notes)
    name = roles.time or _free_name("time", frame.columns)
    return _Raw(ids, codes, times, [values], roles.ids, types, name, roles.values[0])


def _read_wide(
    frame: pl.DataFrame, roles: Roles, separator: str, day_first: bool | None, notes: list[str]
) -> _Raw:
    values = [parse_numbers(frame[name], separator) for name in roles.values]
    codes = np.zeros(frame.height, np.int64)
    times = _times(frame, roles.time, codes, day_first, notes)
    ids = [(name,) for name in roles.values]
    time = roles.time or "time"
    return _Raw(
        ids, codes, times, values, [_free_name("unique_id", [time])], [pl.String()], time, "y"
    )


def _read_rows(
    frame: pl.DataFrame, roles: Roles, separator: str, day_first: bool | None, notes: list[str]
) -> _Raw:
    ids, codes, types = _codes(frame, roles.ids)
    if len(ids) < frame.height:
        raise UserError(
            "several rows have the same id", expected="a row a series", hint="--layout long"
        )
    cells = [frame[name].cast(pl.String) for name in roles.values]
    table = parse_numbers(pl.concat([c.alias("values") for c in cells]), separator)
    values = table.reshape(len(cells), frame.height).T.reshape(-1)
    numbers = np.tile(np.arange(1, len(cells) + 1), frame.height)
    style = TimeStyle("integer", dtype=pl.Int64())
    times = Times(numbers, None, style)
    time = _free_name("time", roles.ids)
    return _Raw(ids, np.repeat(codes, len(cells)), times, [values], roles.ids, types, time, "y")


def _free_name(name: str, taken: Sequence[str]) -> str:
    return name if name not in taken else _free_name(name + "_", taken)


def _codes(
    frame: pl.DataFrame, ids: list[str]
) -> tuple[list[tuple[Any, ...]], np.ndarray, list[pl.DataType]]:
    """Distinct ids in order of appearance, and for each row the number of its id."""
    if not ids:
        return [()], np.zeros(frame.height, np.int64), []
    columns = [frame[name] for name in ids]
    for column in columns:
        if column.null_count():
            row = int(column.is_null().arg_max() or 0) + 1
            raise UserError(
                f"row {row} has no id in column {column.name!r}",
                hint="name the series or remove the row",
            )
    if all(column.n_unique() == 1 for column in columns):  # half the time of a short forecast
        one = [_whole_id(column[0], column.dtype) for column in columns]
        codes = np.zeros(frame.height, np.int64)
        return [tuple(cell for cell, _ in one)], codes, [dtype for _, dtype in one]
    columns = [_whole_ids(column) for column in columns]
    types = [column.dtype for column in columns]
    named = pl.DataFrame(columns)
    distinct = named.unique(maintain_order=True).with_row_index("__code")
    joined = named.join(distinct, on=ids, how="left", maintain_order="left")
    codes = joined["__code"].to_numpy().astype(np.int64)
    return distinct.drop("__code").rows(), codes, types


def _whole_ids(column: pl.Series) -> pl.Series:
    """Ids of a CSV file that are plain integers as integers; `007` stays text."""
    if column.dtype == pl.String and column.str.contains(f"^{WHOLE}$").all():
        return column.cast(pl.Int64)
    return column


def _whole_id(cell: Any, dtype: pl.DataType) -> tuple[Any, pl.DataType]:
    """The same for the id of the only series."""
    if dtype == pl.String and re.fullmatch(WHOLE, cell):
        return int(cell), pl.Int64()
    return cell, dtype


def _times(
    frame: pl.DataFrame,
    time: str | None,
    codes: np.ndarray,
    day_first: bool | None,
    notes: list[str],
) -> Times:
    if time is not None:
        return parse_times(frame[time], day_first, notes)
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(codes.max() + 1))
    numbers = np.empty(len(codes), np.int64)
    numbers[order] = np.arange(len(codes)) - starts[codes[order]] + 1
    return Times(numbers, None, TimeStyle("integer", dtype=pl.Int64()))


def _place(raw: _Raw, freq: str | None, notes: list[str]) -> tuple[grid.Placement, str, TimeStyle]:
    """The grid of all series: in UTC where a zone is known and steps are shorter than a day."""
    used = grid.choose_freq(raw.times.wall, raw.codes, freq, notes)
    as_utc = raw.times.utc is not None and not parse_freq(used).days_or_longer
    moments = raw.times.utc if as_utc and raw.times.utc is not None else raw.times.wall
    if as_utc and freq is None:
        used = grid.choose_freq(moments, raw.codes, None, [])
    notes.append(f"freq: {used}" + ("" if freq else " (inferred)"))
    placed = grid.place(moments, raw.codes, used, freq is not None, notes)
    return placed, used, replace(raw.times.style, utc=as_utc)


def _cut(raw: _Raw, placed: grid.Placement, layout: str, notes: list[str]) -> list[Series]:
    """Series from their first to their last known value."""
    found: list[Series] = []
    counts = dict.fromkeys(("missing", "ended", "constant"), 0)
    columns = [placed.spread(values) for values in raw.values]
    for number, name in enumerate(raw.ids):
        column, code = (columns[number], 0) if len(columns) > 1 else (columns[0], number)
        part = slice(placed.starts[code], placed.starts[code + 1])
        known = np.flatnonzero(~np.isnan(column[part]))
        if not len(known):
            counts["missing"] += 1
            continue
        kept = slice(part.start + int(known[0]), part.start + int(known[-1]) + 1)
        counts["ended"] += kept.stop < part.stop and layout != "rows"
        counts["constant"] += bool(len(known) > 1 and np.ptp(column[kept][known - known[0]]) == 0)
        found.append(Series(name, placed.times[kept], column[kept]))
    _note_counts(len(raw.ids), counts, found, notes)
    return found


def _note_counts(total: int, counts: dict[str, int], found: list[Series], notes: list[str]) -> None:
    if not found:
        raise UserError("no series has a value", got=f"{total} series, all cells missing")
    if max(int(np.isfinite(series.values).sum()) for series in found) < 2:
        raise UserError(
            "every series has one row only", expected="at least two known values", hint="--id NAME"
        )
    says = {
        "missing": "series skipped: all values are missing",
        "ended": "series end before the last row (missing values at the end are cut)",
        "constant": "series are constant",
    }
    notes.extend(f"{counts[key]} of {total} {text}" for key, text in says.items() if counts[key])
    gaps = sum(int(np.isnan(series.values).sum()) for series in found)
    if gaps:
        notes.append(f"{gaps} of {sum(len(s.values) for s in found)} steps have no value")


def forecast_frame(
    table: SeriesTable,
    ids: Sequence[tuple[Any, ...]],
    times: np.ndarray,
    columns: Mapping[str, np.ndarray],
) -> pl.DataFrame:
    """A long frame under the user's names and types: id columns, time, then `columns`.

    Args:
        table: the table that the forecast continues.
        ids: one id a row, or one a series where `times` is (series, steps).
        times: (rows,) or (series, steps), as in `Series.time`.
        columns: name to values of the shape of `times`.
    """
    steps = times.shape[1] if times.ndim == 2 else 1
    if times.size != len(ids) * steps or any(v.shape != times.shape for v in columns.values()):
        raise ValueError(f"{len(ids)} ids, times {times.shape} and columns do not fit together")
    named = [
        pl.Series(name, [key[i] for key in ids for _ in range(steps)], dtype=dtype)
        for i, (name, dtype) in enumerate(zip(table.id_columns, table.id_types, strict=True))
    ]
    when = to_user_times(times.reshape(-1), table.time_style, table.time_column)
    return pl.DataFrame([*named, when, *(pl.Series(n, v.reshape(-1)) for n, v in columns.items())])


def to_user_kind(frame: pl.DataFrame, kind: str) -> Any:
    """The frame as pandas where `kind` is `pandas`, otherwise as it is; needs no pyarrow."""
    if kind != "pandas":
        return frame
    import pandas as pd

    return pd.DataFrame({column.name: _to_pandas(column) for column in frame})


def _to_pandas(column: pl.Series) -> Any:
    import pandas as pd

    dtype = column.dtype
    if isinstance(dtype, pl.Datetime) and dtype.time_zone:
        naive = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_numpy()
        return pd.Series(naive).dt.tz_localize("UTC").dt.tz_convert(dtype.time_zone)
    if isinstance(dtype, pl.Datetime) or (dtype.is_numeric() and not column.null_count()):
        return pd.Series(column.to_numpy())
    return pd.Series(column.to_list())


def table_of(columns: Mapping[str, np.ndarray]) -> pl.DataFrame:
    """A frame of named columns of one length."""
    return pl.DataFrame(dict(columns))


def write_table(frame: pl.DataFrame, path: str | Path) -> None:
    """Write CSV (`.csv`, `.csv.gz`), Parquet or Arrow by suffix, atomically; `-` is stdout.

    Raises:
        UserError: another suffix, or a file that cannot be written.
    """
    if str(path) == "-":
        sys.stdout.write(frame.write_csv())
        return
    payload = _encode(frame, Path(path))
    from lstmkit.modelfile import atomic_write

    try:
        with atomic_write(path, mode="wb") as file:
            file.write(payload)
    except OSError as error:
        raise UserError(f"{path} cannot be written", got=str(error)) from error


def _encode(frame: pl.DataFrame, path: Path) -> bytes:
    if path.suffix in (".parquet", ".arrow"):
        buffer = io.BytesIO()
        write = frame.write_parquet if path.suffix == ".parquet" else frame.write_ipc
        write(buffer)
        return buffer.getvalue()
    if path.name.endswith((".csv", ".csv.gz")):
        text = frame.write_csv().encode()
        return gzip.compress(text, mtime=0) if path.suffix == ".gz" else text
    raise UserError(
        f"{path} has no known suffix",
        expected=".csv, .csv.gz, .parquet or .arrow",
        hint=f"{path}.csv",
    )
