"""From what the user names (paths, globs, `-`, pandas or polars frames) to one polars frame.

CSV cells stay text here; `columns` and `timestamps` turn them into numbers and times, so that the
row and the text of a bad cell can be named.
"""

from __future__ import annotations

import csv
import glob
import gzip
import re
import sys
import zlib
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from lstmkit.errors import UserError

SEPARATORS = {"\t": "tab", ";": "';'", "|": "'|'", ",": "','"}
SNIFFED_LINES = 50


class Loaded(NamedTuple):
    """A frame, its kind (`csv`, `parquet`, `pandas`, `polars`) and the separator of its cells."""

    frame: pl.DataFrame
    kind: str
    separator: str = ""


def load(data: Any, notes: list[str]) -> Loaded:
    """The frame that `data` stands for; several files are put one under the other.

    Raises:
        UserError: nothing there, not a table, duplicate column names, files that do not match.
    """
    if isinstance(data, pl.LazyFrame):
        data = data.collect()
    if isinstance(data, pl.DataFrame):
        return Loaded(_not_empty(data, "the frame"), "polars")
    if type(data).__module__.partition(".")[0] == "pandas":
        return Loaded(_not_empty(from_pandas(data), "the frame"), "pandas")
    paths = _paths(data)
    parts = [_read_file(path, notes) for path in paths]
    if len({part.kind for part in parts}) > 1:
        raise UserError("CSV and Parquet files cannot be read as one table", got=", ".join(paths))
    return parts[0]._replace(frame=_concatenate([part.frame for part in parts], paths))


def _paths(data: Any) -> list[str]:
    """Files that a path, a glob or a list of both stands for."""
    items = list(data) if isinstance(data, (list, tuple)) else [data]
    if not items or not all(isinstance(item, (str, Path)) for item in items):
        raise UserError(
            f"data of type {type(data).__name__} cannot be read",
            expected="a path, a list of paths, '-', a pandas or a polars frame",
        )
    return [path for item in items for path in _expand(str(Path(item).expanduser()))]


def _expand(item: str) -> list[str]:
    if item == "-" or Path(item).exists():
        return [item]
    found = sorted(glob.glob(item)) if re.search(r"[*?\[]", item) else []  # noqa: PTH207
    if not found:
        raise UserError(f"there is no file {item}", hint="check the path; quote globs in a script")
    return found


def _read_file(path: str, notes: list[str]) -> Loaded:
    raw = _read_bytes(path)
    name = "standard input" if path == "-" else path
    if raw[:4] == b"PAR1":
        return Loaded(_not_empty(_read_parquet(raw, name), name), "parquet")
    frame, separator = _read_csv(_decode(raw, name, notes), name, notes)
    return Loaded(_not_empty(frame, name), "csv", separator)


def _read_bytes(path: str) -> bytes:
    """The bytes of a file or of standard input, decompressed where they are gzip or zstd."""
    try:
        raw = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        if raw[:2] == b"\x1f\x8b":
            return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read", got=str(error)) from error
    return _unzstd(raw, path) if raw[:4] == b"\x28\xb5\x2f\xfd" else raw


def _unzstd(raw: bytes, path: str) -> bytes:
    """Zstandard through polars' CSV reader, one column of whole lines (Python 3.11 has no zstd)."""
    try:
        lines = pl.read_csv(
            raw, has_header=False, separator="\x01", quote_char=None, infer_schema=False
        )
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path} cannot be read", got=str(error)) from error
    return "\n".join(lines.to_series().fill_null("")).encode()


def _read_parquet(raw: bytes, name: str) -> pl.DataFrame:
    try:
        return pl.read_parquet(raw)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(
            f"{name} is a damaged Parquet file", got=str(error).splitlines()[0]
        ) from error


def _decode(raw: bytes, name: str, notes: list[str]) -> str:
    """Text of a CSV file: UTF-8, UTF-16 with its mark, or Latin-1 as a fallback that is noted."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        notes.append(f"{name}: read as UTF-16")
        return raw.decode("utf-16", errors="replace")
    control = sum(raw[:65536].count(bytes([code])) for code in (*range(9), *range(14, 32)))
    if control or raw[:4] == b"PK\x03\x04":
        raise UserError(
            f"{name} is not a table",
            got="binary data",
            expected="CSV (also .gz, .zst) or Parquet",
            hint="save a spreadsheet as CSV" if raw[:2] == b"PK" else "",
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        notes.append(f"{name}: not UTF-8, read as Latin-1 (Windows-1252)")
        return raw.decode("cp1252", errors="replace")


def _read_csv(text: str, name: str, notes: list[str]) -> tuple[pl.DataFrame, str]:
    """All cells as text, names from the header; a first line of numbers alone is no header."""
    text = text.lstrip("\r\n")
    if not text or text.isspace():
        raise UserError(f"{name} is empty", expected="a header line and rows")
    separator = _separator(text)
    header = next(csv.reader(text[: 1 << 20].splitlines(), delimiter=separator))
    header = [cell.strip() for cell in header]
    named = not all(re.fullmatch(r"[+-]?[\d.,]+([eE][+-]?\d+)?", cell) for cell in header)
    names = (
        _column_names(header, name) if named else [f"column_{i + 1}" for i in range(len(header))]
    )
    if len(names) > 1 and separator != ",":
        notes.append(f"{name}: columns are separated by {SEPARATORS[separator]}")
    if not named:
        notes.append(f"{name}: the first line holds numbers only, so there is no header")
    frame = _parse_csv(text, name, separator, named, names)
    blank = pl.all_horizontal(pl.all().is_null())
    return (frame.filter(~blank) if frame.width > 1 else frame), separator


def _parse_csv(text: str, name: str, separator: str, named: bool, names: list[str]) -> pl.DataFrame:
    try:
        return pl.read_csv(
            text.encode(),
            has_header=False,
            skip_lines=int(named),
            new_columns=names,
            schema=dict.fromkeys(names, pl.String),
            separator=separator,
        )
    except pl.exceptions.NoDataError:
        return pl.DataFrame(schema=dict.fromkeys(names, pl.String))
    except pl.exceptions.PolarsError as error:
        lines = text.splitlines()
        long = _first_long_line(lines, separator, len(names))
        raise UserError(
            f"{name} is not a table with {len(names)} columns",
            got=f"line {long}: {lines[long - 1][:80]!r}" if long else str(error).splitlines()[0],
            hint="every line needs as many cells as the header",
        ) from error


def _first_long_line(lines: list[str], separator: str, width: int) -> int:
    return next((i for i, line in enumerate(lines, 1) if _cuts(line, separator) >= width), 0)


def _column_names(header: list[str], name: str) -> list[str]:
    repeated = [cell for cell, count in Counter(header).items() if count > 1 and cell]
    if repeated:
        raise UserError(
            f"{name} has more than one column named {repeated[0]!r}",
            got=", ".join(header[:20]),
            expected="different names",
        )
    return [cell or f"column_{i + 1}" for i, cell in enumerate(header)]


def _cuts(line: str, separator: str) -> int:
    return re.sub(r'"[^"]*"', "", line).count(separator)


def _separator(text: str) -> str:
    """The separator whose count is the same in the header and nearly every other line."""
    lines = [line for line in text[: 1 << 20].splitlines() if line.strip()][:SNIFFED_LINES]
    for separator in SEPARATORS:
        counts = [_cuts(line, separator) for line in lines]
        if counts[0] and sum(count == counts[0] for count in counts) >= 0.9 * len(counts):
            return separator
    return max(reversed(SEPARATORS), key=lambda separator: _cuts(lines[0], separator))


def _concatenate(frames: list[pl.DataFrame], paths: list[str]) -> pl.DataFrame:
    first = frames[0]
    for frame, path in zip(frames[1:], paths[1:], strict=True):
        if set(frame.columns) != set(first.columns):
            raise UserError(
                f"{path} has other columns than {paths[0]}",
                got=", ".join(frame.columns[:20]),
                expected=", ".join(first.columns[:20]),
            )
    aligned = [frame.select(first.columns) for frame in frames]
    return pl.concat(aligned, how="vertical_relaxed") if len(aligned) > 1 else first


def _not_empty(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    if not frame.width:
        raise UserError(f"{name} is empty", expected="columns and rows")
    if not frame.height:
        raise UserError(
            f"{name} has a header and no rows", got=", ".join(frame.columns[:20]), expected="rows"
        )
    return frame


def from_pandas(data: Any) -> pl.DataFrame:
    """A pandas frame or series as polars, its index kept where it means something; no pyarrow."""
    frame = (
        data.to_frame(data.name or "y") if hasattr(data, "to_frame") and data.ndim == 1 else data
    )
    index = frame.index
    if index.nlevels > 1 or index.name is not None or index.dtype.kind == "M" or _is_period(index):
        names = [name or ("ds" if i == 0 else f"index_{i}") for i, name in enumerate(index.names)]
        frame = frame.rename_axis(index=names if index.nlevels > 1 else names[0]).reset_index()
    _column_names([str(column) for column in frame.columns], "the frame")
    return pl.DataFrame([_pandas_column(str(c), frame[c]) for c in frame.columns])


def _is_period(values: Any) -> bool:
    return str(values.dtype).startswith("period")


def _pandas_column(name: str, values: Any) -> pl.Series:
    values = values.dt.to_timestamp() if _is_period(values) else values
    kind, zone = values.dtype.kind, getattr(values.dtype, "tz", None)
    if kind == "M":
        naive = values.dt.tz_convert("UTC").dt.tz_localize(None) if zone is not None else values
        column = pl.Series(name, naive.to_numpy().astype("datetime64[us]"))
        return (
            column.dt.replace_time_zone("UTC").dt.convert_time_zone(str(zone)) if zone else column
        )
    if kind in "iufb" and isinstance(values.dtype, np.dtype):
        return pl.Series(name, values.to_numpy())
    if kind in "iuf":
        missing = values.isna().any()
        return pl.Series(
            name, values.to_numpy(np.float64, na_value=np.nan) if missing else list(values)
        )
    cells = values.astype(object)
    cells = list(cells.where(cells.notna(), None))
    if len({type(cell) for cell in cells if cell is not None}) > 1 or any(map(_has_zone, cells)):
        return pl.Series(name, [None if cell is None else str(cell) for cell in cells])
    return pl.Series(name, cells, strict=False)


def _has_zone(cell: Any) -> bool:
    return getattr(cell, "tzinfo", None) is not None
