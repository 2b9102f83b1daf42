"""A table of what is known ahead: its rows beside those of the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from lstmkit.errors import UserError
from lstmkit.readers.columns import Roles, require_column
from lstmkit.readers.covariate_grid import Ahead
from lstmkit.readers.files import load
from lstmkit.readers.layouts import Raw
from lstmkit.readers.timestamps import Times, parse_times
from lstmkit.readers.wishes import Wish


def read_future(
    source: Any, raw: Raw, roles: Roles, asked: Wish, notes: list[str]
) -> tuple[Raw, Ahead]:
    """The data with a row for each time that only `source` knows, and where its rows belong.

    Raises:
        UserError: `source` cannot be read, or nothing is known ahead.
    """
    if not (asked.events or asked.holiday() or asked.named("known")):
        raise UserError(
            "a table of the future was given, but no column is known ahead", hint="--known NAME"
        )
    if roles.time is None:
        raise UserError("rows of the future need times", hint="--time NAME")
    said: list[str] = []
    table = load(source, said)
    for name in [*roles.ids, roles.time, *asked.named("known")]:
        require_column(table.frame, name)
    codes = _codes_of(table.frame, raw.ids, raw.id_columns if roles.ids else [], raw.id_types)
    times = _times(table.frame[roles.time], raw.times, said)
    notes.extend(f"future: {line}" for line in said)
    kept = _ahead(raw, codes, _ticks(times), notes)
    table = table._replace(frame=table.frame.filter(pl.Series(kept)))
    times = Times(times.wall[kept], None if times.utc is None else times.utc[kept], times.style)
    rows = _rows(raw, codes[kept], _ticks(times))
    return _appended(raw, codes[kept], times, rows), Ahead(table, rows)


def _codes_of(
    frame: pl.DataFrame,
    ids: Sequence[tuple[Any, ...]],
    names: Sequence[str],
    types: Sequence[pl.DataType],
) -> np.ndarray:
    """The number of each row's series (m,); -1 where the data has none of its id."""
    if not names:
        return np.zeros(frame.height, np.int64)
    cells = [
        frame[name].cast(dtype, strict=False).cast(pl.String)
        for name, dtype in zip(names, types, strict=True)
    ]
    known = [
        pl.Series(name, [key[k] for key in ids], dtype).cast(pl.String)
        for k, (name, dtype) in enumerate(zip(names, types, strict=True))
    ]
    numbered = pl.DataFrame(known).with_row_index("__code")
    joined = pl.DataFrame(cells).join(numbered, on=list(names), how="left", maintain_order="left")
    return joined["__code"].cast(pl.Int64).fill_null(-1).to_numpy()


def _times(column: pl.Series, data: Times, notes: list[str]) -> Times:
    """Times of the future, days and months in the order of the data."""
    times = parse_times(column, data.style.day_first, notes)
    if times.wall.dtype.kind != data.wall.dtype.kind or (times.utc is None) != (data.utc is None):
        raise UserError(
            "the future has other times than the data",
            got=f"{column[0]!r} in column {column.name!r} of the future",
            expected="both as dates or both as numbers, both or neither with a time zone",
        )
    return times


def _ticks(times: Times) -> np.ndarray:
    return (times.wall if times.utc is None else times.utc).astype(np.int64)


def _ahead(raw: Raw, codes: np.ndarray, ticks: np.ndarray, notes: list[str]) -> np.ndarray:
    """Which rows (m,) lie after the last value of a series of the data."""
    strange = codes < 0
    late = ~strange & (ticks > _ends(raw)[codes])
    passed = int((~strange & ~late).sum())
    if strange.any():
        notes.append(f"{int(strange.sum())} rows of the future belong to no series: left out")
    if passed:
        notes.append(f"{passed} rows of the future are not after the end of their series: left out")
    return late


def _ends(raw: Raw) -> np.ndarray:
    """The last time with a value: of each series, or of all where they share rows."""
    known = ~np.isnan(raw.values[0])
    for values in raw.values[1:]:
        known |= ~np.isnan(values)
    ends = np.full(int(raw.codes.max()) + 1, np.iinfo(np.int64).min)
    np.maximum.at(ends, raw.codes[known], _ticks(raw.times)[known])
    return ends


def _rows(raw: Raw, codes: np.ndarray, ticks: np.ndarray) -> np.ndarray:
    """The row of the data with the same series and time, or the number of a new one."""
    old = _ticks(raw.times)
    free = np.flatnonzero(old > _ends(raw)[raw.codes])
    data = pl.DataFrame({"code": raw.codes[free].astype(np.int64), "tick": old[free], "row": free})
    data = data.unique(["code", "tick"], keep="last")
    given = pl.DataFrame({"code": codes, "tick": ticks})
    found = given.join(data, on=["code", "tick"], how="left", maintain_order="left")["row"]
    rows = found.cast(pl.Int64).fill_null(-1).to_numpy().copy()
    new = rows < 0
    rows[new] = len(old) + np.arange(new.sum())
    return rows


def _appended(raw: Raw, codes: np.ndarray, times: Times, rows: np.ndarray) -> Raw:
    new = rows >= len(raw.codes)
    blank = np.full(int(new.sum()), np.nan)
    utc = None
    if raw.times.utc is not None and times.utc is not None:
        utc = np.concatenate([raw.times.utc, times.utc[new]])
    return replace(
        raw,
        codes=np.concatenate([raw.codes, codes[new].astype(raw.codes.dtype)]),
        times=Times(np.concatenate([raw.times.wall, times.wall[new]]), utc, raw.times.style),
        values=[np.concatenate([values, blank]) for values in raw.values],
    )
