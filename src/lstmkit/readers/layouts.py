"""The rows of a long, a wide or a row table, before they are placed on a grid."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from lstmkit.errors import UserError
from lstmkit.readers.columns import Roles, parse_numbers
from lstmkit.readers.files import Loaded
from lstmkit.readers.frames import free_name
from lstmkit.readers.timestamps import Times, TimeStyle, parse_times

WHOLE = r"(0|-?[1-9]\d{0,17})"  # an id that is a number; 007 is a text


@dataclass
class Raw:
    """Columns before the grid: row i belongs to series codes[i]; columns of values share rows."""

    ids: list[tuple[Any, ...]]
    codes: np.ndarray
    times: Times
    values: list[np.ndarray]
    id_columns: list[str]
    id_types: list[pl.DataType]
    time_column: str
    target: str


def read_rows(loaded: Loaded, roles: Roles, day_first: bool | None, notes: list[str]) -> Raw:
    """Ids, times and values of a table of any layout.

    Raises:
        UserError: a cell that cannot be read, with its row and text.
    """
    read = {"long": _read_long, "wide": _read_wide, "rows": _read_rows}[roles.layout]
    return read(loaded.frame, roles, loaded.separator, day_first, notes)


def _read_long(
    frame: pl.DataFrame, roles: Roles, separator: str, day_first: bool | None, notes: list[str]
) -> Raw:
    values = parse_numbers(frame[roles.values[0]], separator)
    ids, codes, types = series_codes(frame, roles.ids)
    times = row_times(frame, roles.time, codes, day_first, notes)
    name = roles.time or free_name("time", frame.columns)
    return Raw(ids, codes, times, [values], roles.ids, types, name, roles.values[0])


def _read_wide(
    frame: pl.DataFrame, roles: Roles, separator: str, day_first: bool | None, notes: list[str]
) -> Raw:
    values = [parse_numbers(frame[name], separator) for name in roles.values]
    codes = np.zeros(frame.height, np.int64)
    times = row_times(frame, roles.time, codes, day_first, notes)
    ids = [(name,) for name in roles.values]
    time = roles.time or "time"
    return Raw(
        ids, codes, times, values, [free_name("unique_id", [time])], [pl.String()], time, "y"
    )


def _read_rows(
    frame: pl.DataFrame, roles: Roles, separator: str, day_first: bool | None, notes: list[str]
) -> Raw:
    ids, codes, types = series_codes(frame, roles.ids)
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
    time = free_name("time", roles.ids)
    return Raw(ids, np.repeat(codes, len(cells)), times, [values], roles.ids, types, time, "y")


def series_codes(
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
    changes = named.select(pl.any_horizontal(pl.col(n) != pl.col(n).shift() for n in ids))
    heads = changes.to_series().fill_null(True)  # a row whose id is not that of the row before it
    runs = named.filter(heads)
    distinct = runs.unique(maintain_order=True).with_row_index("__code")
    joined = runs.join(distinct, on=ids, how="left", maintain_order="left")
    run = np.cumsum(heads.to_numpy(), dtype=np.int32) - np.int32(1)
    codes = joined["__code"].to_numpy().astype(np.int32)[run]
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


def row_times(
    frame: pl.DataFrame,
    time: str | None,
    codes: np.ndarray,
    day_first: bool | None,
    notes: list[str],
) -> Times:
    """Times of the rows; without a column of times they are 1, 2, 3 ... in each series."""
    if time is not None:
        return parse_times(frame[time], day_first, notes)
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(codes.max() + 1))
    numbers = np.empty(len(codes), np.int64)
    numbers[order] = np.arange(len(codes)) - starts[codes[order]] + 1
    return Times(numbers, None, TimeStyle("integer", dtype=pl.Int64()))
