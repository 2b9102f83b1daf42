"""Answers as the kind of table that the user has, and tables to files."""

from __future__ import annotations

import gzip
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl

from lstmkit.errors import UserError
from lstmkit.readers.timestamps import TimeStyle, to_user_times


class UserTable(Protocol):
    """What a table tells about how its user writes ids and times."""

    id_columns: list[str]
    id_types: list[pl.DataType]
    time_column: str
    time_style: TimeStyle


class ManySeries(UserTable, Protocol):
    """The same of a table that knows the ids of its series."""

    @property
    def ids(self) -> Sequence[tuple[Any, ...]]:
        """One value for each id column, for each series."""


def forecast_frame(
    table: UserTable,
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
    named = _user_ids(table, ids, np.repeat(np.arange(len(ids)), steps))
    when = user_times(table, times.reshape(-1), table.time_column)
    return pl.DataFrame([*named, when, *(pl.Series(n, v.reshape(-1)) for n, v in columns.items())])


def user_frame(
    table: ManySeries,
    which: np.ndarray,
    times: np.ndarray | None,
    columns: Mapping[str, Any],
) -> pl.DataFrame:
    """Rows under the user's names and types: id columns, time, then `columns`.

    Args:
        table: whose words are used.
        which: (rows,) numbers of the series, counted from 0.
        times: (rows,) as in the series; None for rows without the time column.
        columns: name to (rows,) arrays or lists; arrays of datetime64 are written as the user
            writes times, NaN as missing. A name that an id or the time has gets a `_` at its end.
    """
    uneven = [name for name, cells in columns.items() if len(cells) != len(which)]
    if uneven or (times is not None and len(times) != len(which)):
        raise ValueError(f"{len(which)} rows, times and columns {uneven} do not fit together")
    found = _user_ids(table, table.ids, np.asarray(which, np.int64))
    if times is not None:
        found.append(user_times(table, times, table.time_column))
    for name, cells in columns.items():
        taken = [column.name for column in found]
        found.append(_cells(table, free_name(name, taken), cells))
    return pl.DataFrame(found)


def _cells(table: UserTable, name: str, cells: Any) -> pl.Series:
    if isinstance(cells, np.ndarray) and cells.dtype.kind == "M":
        return user_times(table, cells.astype("datetime64[us]"), name)
    column = pl.Series(name, cells)
    return column.fill_nan(None) if column.dtype.is_float() else column


def free_name(name: str, taken: Sequence[str]) -> str:
    """The name, with `_` at its end where it is taken."""
    return name if name not in taken else free_name(name + "_", taken)


def _user_ids(
    table: UserTable, ids: Sequence[tuple[Any, ...]], which: np.ndarray
) -> list[pl.Series]:
    """The id columns of rows that belong to the series `which` (rows,)."""
    rows = pl.Series(which.astype(np.uint32))
    return [
        pl.Series(name, [key[i] for key in ids], dtype=dtype).gather(rows)
        for i, (name, dtype) in enumerate(zip(table.id_columns, table.id_types, strict=True))
    ]


def user_times(table: UserTable, times: np.ndarray, name: str) -> pl.Series:
    """Times (n,) as the user writes them, under `name`; each different one is written once."""
    ticks = pl.DataFrame({"tick": times.view(np.int64)})
    different = ticks.unique(maintain_order=True)
    written = to_user_times(different["tick"].to_numpy().view(times.dtype), table.time_style, name)
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
    if isinstance(dtype, pl.Datetime) or dtype.is_float() or _is_full(column):
        return pd.Series(column.to_numpy())
    return pd.Series(column.to_list())


def _is_full(column: pl.Series) -> bool:
    return column.dtype.is_numeric() and not column.null_count()


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
