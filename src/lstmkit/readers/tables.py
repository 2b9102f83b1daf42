"""Tables to regular time series, and forecasts back to the kind of table that the user has.

CSV, Parquet, pandas and polars; long (a row a series and time), wide (a column a series) or rows
(a row a series). Every series comes out on a regular grid, from its first known value to its
last; missing steps are NaN. What was inferred, repaired or skipped is told in `notes`.
"""

from __future__ import annotations

import gzip
import io
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
from lstmkit.readers.columns import Roles, find_roles
from lstmkit.readers.covariate_columns import read_static
from lstmkit.readers.covariate_grid import GridTime, on_grid
from lstmkit.readers.covariates import Covariate
from lstmkit.readers.files import load
from lstmkit.readers.future import read_future
from lstmkit.readers.layouts import Raw, read_rows
from lstmkit.readers.series import Grid, Series, cut
from lstmkit.readers.timestamps import TimeStyle, to_user_times
from lstmkit.readers.wishes import Wish, wish

EVENTS = "1i"  # the frequency of irregular rows


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
        covariates: columns beside the target: known ones, past ones, generated ones (`holiday`,
            `gap`), then static ones.
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
    covariates: list[Covariate] = field(default_factory=list)

    @property
    def time_zone(self) -> str | None:
        """The zone of the time column: an IANA name, an offset such as `+01:00`, or None."""
        return self.time_style.time_zone

    @property
    def day_first(self) -> bool | None:
        """Whether days were read before months; None where the times do not leave it open."""
        return self.time_style.day_first


def read_series(
    data: Any,
    *,
    id: str | list[str] | None = None,
    time: str | None = None,
    target: str | None = None,
    freq: str | None = None,
    day_first: bool | None = None,
    layout: str | None = None,
    known: str | list[str] | None = None,
    past: str | list[str] | None = None,
    static: str | list[str] | None = None,
    future: Any = None,
    categorical: str | list[str] | None = None,
    holidays: str | None = None,
    irregular: bool = False,
    covariates: Sequence[Covariate] | None = None,
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
        known: columns that are known ahead; rows after the last value tell what comes. In a wide
            table all series share them.
        past: columns that are known of the past only.
        static: columns with one value a series (long tables).
        future: a table of the id, time and known columns, for times after the end of the data.
        categorical: columns to take as categories although they hold numbers; text always is.
        holidays: a country such as `DE` or `US-CA`, whose holidays are one more known column.
        irregular: rows are events at any time: no grid, and the time between them is one more
            known column.
        covariates: those of a trained model, to be used with the same roles and categories;
            known, past, static and categorical are then left alone.

    Raises:
        UserError: whatever in the input cannot be read, with the row, the text and a hint.
        MissingExtra: holidays are asked for, and their library is not installed.
    """
    notes: list[str] = []
    loaded = load(data, notes)
    named = {"id": id, "time": time, "target": target}
    named |= {"known": known, "past": past, "static": static}
    asked = wish(loaded.frame, named, categorical, holidays, irregular, covariates)
    bare = loaded._replace(frame=loaded.frame.drop(list(asked.columns)))
    roles = find_roles(bare.frame, id, time, target, layout, notes)
    _check_layout(roles, asked, future)
    raw = read_rows(bare, roles, day_first, notes)
    loaded = loaded._replace(frame=loaded.frame.select(list(asked.columns)))
    del bare  # a large table is not held twice
    ahead = None
    if future is not None:
        raw, ahead = read_future(future, raw, roles, asked, notes)
    placed, grid_time, style = _place(raw, freq, irregular, notes)
    dynamic, block = on_grid(asked, loaded, ahead, placed, grid_time, notes)
    static_ones, fixed = read_static(asked, loaded, raw, notes)
    _note_covariates([*dynamic, *static_ones], asked, notes)
    if asked.holiday() and style.utc:
        notes.append("holidays begin and end at midnight UTC")
    columns = [placed.spread(values) for values in raw.values]
    moments = grid_time.moments if irregular else None
    whole = Grid(raw.ids, placed, columns, dynamic, block, fixed, moments)
    series = cut(whole, roles.layout, notes)
    return SeriesTable(
        series,
        raw.id_columns,
        raw.time_column,
        raw.target,
        grid_time.freq,
        roles.layout,
        loaded.kind,
        notes,
        raw.id_types,
        style,
        [*dynamic, *static_ones],
    )


def _note_covariates(found: Sequence[Covariate], asked: Wish, notes: list[str]) -> None:
    if not found or asked.trained is not None:
        return
    said = [
        f"{c.name} ({c.role}{'' if c.categories is None else f', {len(c.categories)} categories'})"
        for c in found
    ]
    notes.append(f"covariates: {', '.join(said[:8])}{', ...' if len(said) > 8 else ''}")


def _check_layout(roles: Roles, asked: Wish, future: Any) -> None:
    if roles.layout == "rows" and (asked.any() or future is not None):
        raise UserError(
            "a table with a row a series has no place for covariates", hint="--layout long"
        )
    if roles.layout == "wide" and asked.named("static"):
        raise UserError(
            "a wide table has a series in every column, so no column describes one of them",
            got=f"static {', '.join(asked.named('static'))}",
            hint="--layout long",
        )


def _place(
    raw: Raw, freq: str | None, events: bool, notes: list[str]
) -> tuple[grid.Placement, GridTime, TimeStyle]:
    """The grid of all series: in UTC where a zone is known and steps are shorter than a day."""
    if events:
        return _place_events(raw, freq, notes)
    used = grid.choose_freq(raw.times.wall, raw.codes, freq, notes)
    as_utc = raw.times.utc is not None and not parse_freq(used).days_or_longer
    moments = raw.times.utc if as_utc and raw.times.utc is not None else raw.times.wall
    if as_utc and freq is None:
        used = grid.choose_freq(moments, raw.codes, None, [])
    notes.append(f"freq: {used}" + ("" if freq else " (inferred)"))
    placed = grid.place(moments, raw.codes, used, freq is not None, notes)
    return placed, GridTime(used, placed.times), replace(raw.times.style, utc=as_utc)


def _place_events(
    raw: Raw, freq: str | None, notes: list[str]
) -> tuple[grid.Placement, GridTime, TimeStyle]:
    """Rows one after the other, whenever they were."""
    if freq not in (None, EVENTS):
        raise UserError(
            "irregular rows lie on no grid", got=f"freq {freq}", hint="leave out --freq"
        )
    moments = raw.times.wall if raw.times.utc is None else raw.times.utc
    if moments.dtype.kind != "M":
        raise UserError(
            "irregular rows need times", got="rows that are only numbered", hint="--time NAME"
        )
    placed = grid.place_events(moments, raw.codes, notes)
    style = replace(raw.times.style, utc=raw.times.utc is not None)
    return placed, GridTime(EVENTS, moments[placed.rows]), style


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
    rows = pl.Series(np.repeat(np.arange(len(ids), dtype=np.uint32), steps))
    named = [
        pl.Series(name, [key[i] for key in ids], dtype=dtype).gather(rows)
        for i, (name, dtype) in enumerate(zip(table.id_columns, table.id_types, strict=True))
    ]
    when = _user_times(times.reshape(-1), table)
    return pl.DataFrame([*named, when, *(pl.Series(n, v.reshape(-1)) for n, v in columns.items())])


def _user_times(times: np.ndarray, table: SeriesTable) -> pl.Series:
    """The column of times (n,), each different one written once."""
    ticks = pl.DataFrame({"tick": times.view(np.int64)})
    different = ticks.unique(maintain_order=True)
    written = to_user_times(
        different["tick"].to_numpy().view(times.dtype), table.time_style, table.time_column
    )
    rows = ticks.join(different.with_row_index("row"), on="tick", how="left", maintain_order="left")
    return written.gather(rows["row"])


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
