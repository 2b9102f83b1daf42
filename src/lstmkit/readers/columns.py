"""Which column is the time, which name a series, which hold its values; and text to numbers."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from lstmkit.errors import UserError
from lstmkit.readers.timestamps import looks_like_time

MISSING = ("", "na", "n/a", "#n/a", "nan", "null", "none", "-", "--", "?", ".")
TIME_NAMES = re.compile(
    r"(ds|dt|t|step|period|index|epoch|unix|utc|datum|zeit|day|week|month|quarter|year"
    r"|.*(date|time|timestamp)|(date|time).*|.*_(at|ts|dt))",
    re.IGNORECASE,
)
ID_NAMES = re.compile(
    r"(unique_id|id|.*_id|id_.*|series|store|item|sku|product|shop|region|country|state|site|sensor"
    r"|device|meter|host|station|symbol|ticker|customer|category|name|key)",
    re.IGNORECASE,
)
TARGET_NAMES = ("y", "target", "value", "values", "sales", "demand", "quantity", "qty", "ot")
ENGLISH = r"^[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?$"
DECIMAL = r"^[+-]?(\d*|[1-9]\d{0,2}(\.\d{3})+),\d+([eE][+-]?\d+)?$"
DOTTED = r"^[+-]?[1-9]\d{0,2}(\.\d{3})+$"
FEW_DUPLICATES = 0.01


@dataclass
class Roles:
    """What the columns of a frame are.

    Attributes:
        layout: `long` (a row a series and time), `wide` (a column a series) or `rows` (a row a
            series).
        ids: columns that name a series, in the order of the file; none for a single series or wide.
        time: the time column, None where rows or columns are only numbered.
        values: the target (long: one), or the columns that hold values.
    """

    layout: str
    ids: list[str] = field(default_factory=list)
    time: str | None = None
    values: list[str] = field(default_factory=list)


def is_number(column: pl.Series) -> bool:
    """Whether a column holds numbers: by type, or nine in ten cells of a sample of its text."""
    if column.dtype != pl.String:
        return column.dtype.is_numeric() or column.dtype == pl.Null
    cells = blank_to_null(pl.concat([column.head(200), column.tail(200)])).drop_nulls()
    plain = cells.str.contains(
        r"^[+-]?[\d.,'\s  ]*\d[\d.,'\s  ]*([eE][+-]?\d+)?$|(?i)^[+-]?inf(inity)?$"
    )
    return bool(plain.sum() >= 0.9 * len(cells))


def is_whole(column: pl.Series) -> bool:
    """Whether a column holds whole numbers: by type, or the first thousand cells of its text."""
    if column.dtype != pl.String:
        return column.dtype.is_integer()
    cells = column.head(1000).drop_nulls()
    return bool(len(cells) and cells.str.contains(r"^\s*[+-]?\d+\s*$").all())


def blank_to_null(column: pl.Series) -> pl.Series:
    """Text without surrounding space, the usual marks of a missing value as null."""
    cells = column.str.strip_chars()
    return cells.set(cells.str.to_lowercase().is_in(MISSING).fill_null(False), None)


def parse_numbers(column: pl.Series, separator: str = "") -> np.ndarray:
    """A column as float64 (n,), NaN where missing; decimal commas and thousands where clear.

    Raises:
        UserError: text (row and text), an infinite value, or `1,234` that could be either number.
    """
    if column.dtype == pl.String:
        numbers = _text_to_numbers(column, separator)
    elif column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null):
        numbers = column.cast(pl.Float64)
    else:
        raise UserError(f"column {column.name!r} holds no numbers", got=str(column.dtype))
    values = numbers.to_numpy().astype(np.float64, copy=False)  # null becomes NaN
    infinite = np.isinf(values)
    if infinite.any():
        row = int(np.argmax(infinite))
        raise UserError(
            f"row {row + 1} of column {column.name!r} is infinite",
            got=str(column[row]),
            hint="leave the cell empty where the value is unknown",
        )
    return values


def _text_to_numbers(column: pl.Series, separator: str) -> pl.Series:
    plain = column.cast(pl.Float64, strict=False)
    if plain.null_count() == column.null_count():
        return plain
    cells = blank_to_null(column)
    plain = cells.cast(pl.Float64, strict=False)
    if plain.null_count() == cells.null_count():
        return plain
    bare = cells.str.replace_all(r"(\d)['\s  ](\d{3})", "$1$2").str.replace_all(
        r"(\d)['\s  ](\d{3})", "$1$2"
    )
    bare = _points_for_commas(bare, column.name, separator)
    numbers = bare.cast(pl.Float64, strict=False)
    failed = numbers.is_null() & cells.is_not_null()
    if failed.any():
        row = int(failed.arg_max() or 0)
        raise UserError(
            f"row {row + 1} of column {column.name!r} is not a number",
            got=repr(cells[row]),
            expected="a number, or an empty cell where it is missing",
        )
    return numbers


def _points_for_commas(cells: pl.Series, name: str, separator: str) -> pl.Series:
    """Numbers with commas as plain ones, by what all cells together allow."""
    with_comma = cells.filter(cells.str.contains(",", literal=True).fill_null(False))
    if not len(with_comma):
        return cells
    english = with_comma.str.contains(ENGLISH).sum()
    decimal = with_comma.str.contains(DECIMAL).sum()
    points = bool(cells.str.contains(r"^[+-]?\d*\.\d+$").any()) and english > 0
    if english == decimal == len(with_comma) and separator != ";" and not points:
        raise UserError(
            f"numbers of column {name!r} can be read in two ways",
            got=f"{with_comma[0]} (a thousand, or a fraction?)",
            expected="numbers such as 1234 or 1.234",
            hint="write them without separators of thousands",
        )
    if english > decimal or (english == decimal and points):
        plain = cells.str.replace_all(",", "", literal=True)
        return plain.zip_with(cells.str.contains(ENGLISH).fill_null(False), cells)
    whole = cells.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
    return whole.zip_with(cells.str.contains(f"{DECIMAL}|{DOTTED}").fill_null(False), cells)


def find_roles(
    frame: pl.DataFrame,
    id: str | list[str] | None,
    time: str | None,
    target: str | None,
    layout: str | None,
    notes: list[str],
) -> Roles:
    """Decide the layout and the role of each column; what was inferred goes to `notes`.

    Raises:
        UserError: a named column is missing, two roles on one column, or no inference.
    """
    if layout not in (None, "long", "wide", "rows"):
        raise UserError(f"layout {layout!r} is not known", expected="long, wide or rows")
    ids = name_list(frame, id)
    for name in [*ids, *(n for n in (time, target) if n is not None)]:
        require_column(frame, name)
    if target is not None and target in (time, *ids):
        raise UserError(
            f"{target!r} is the target and also the time or an id", hint="--target NAME"
        )
    if time is not None and time in ids:
        raise UserError(f"{time!r} is the time and also an id", hint="--time NAME")
    if layout == "rows" or (layout is None and not (time or target) and _is_row_table(frame)):
        return _rows(frame, ids, notes)
    time = time or find_time(frame, [*ids, *([target] if target else [])], notes)
    if layout == "wide" or (layout is None and not ids and target is None):
        roles = _wide(frame, ids, time, target, layout, notes)
        if roles:
            return roles
    return _long(frame, ids, id is not None, time, target, notes)


def name_list(frame: pl.DataFrame, given: str | list[str] | None) -> list[str]:
    """Names that the user gave: a list, or a text that may hold several, `store,item`."""
    if isinstance(given, str):
        return (
            [given]
            if given in frame.columns
            else [part.strip() for part in given.split(",") if part.strip()]
        )
    return list(given or [])


def require_column(frame: pl.DataFrame, name: str) -> None:
    """Raise a UserError with the nearest names where `name` is no column."""
    if name in frame.columns:
        return
    near = near_names(frame.columns, name)
    raise UserError(
        f"there is no column {name!r}",
        got=listed(frame.columns, 20),
        hint=f"did you mean {' or '.join(near)}?" if near else "",
    )


def near_names(names: Sequence[str], name: str) -> list[str]:
    """Up to three of `names` that are spelt like `name`, upper or lower case."""
    lowered = {column.lower(): column for column in names}
    return [lowered[n] for n in difflib.get_close_matches(name.lower(), lowered, 3, 0.5)]


def listed(names: Sequence[str], most: int = 8) -> str:
    """The first names, separated by commas."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _is_row_table(frame: pl.DataFrame) -> bool:
    """A header V1, V2, ... as R writes it, a name in the first column and numbers after it."""
    numbered = all(re.fullmatch(r"V\d+", name) for name in frame.columns)
    return numbered and frame.width > 2 and not is_number(frame.to_series(0))


def _rows(frame: pl.DataFrame, ids: list[str], notes: list[str]) -> Roles:
    ids = ids or frame.columns[:1]
    values = [name for name in frame.columns if name not in ids]
    if not values:
        raise UserError("no columns with values", got=", ".join(frame.columns))
    notes.append(
        f"layout: rows (a row a series, named by {', '.join(ids)}; up to {len(values)} values)"
    )
    return Roles("rows", ids, None, values)


def find_time(frame: pl.DataFrame, taken: list[str], notes: list[str]) -> str | None:
    """The column of times: text or dates first, then whole numbers under a name that means time."""
    free = [name for name in frame.columns if name not in taken]
    dated = [name for name in free if looks_like_time(frame[name])]
    if not dated:
        dated = [n for n in free if TIME_NAMES.fullmatch(n) and is_whole(frame[n])]
    if not dated:
        # Named as time yet unreadable: still the time column, and its error is the useful one.
        named = [n for n in free if TIME_NAMES.fullmatch(n) and not is_number(frame[n])]
        dated = named if "ds" in named or len(named) == 1 else []
    if not dated:
        notes.append("time: no column holds times, so rows are numbered 1, 2, 3 ... (--time)")
        return None
    chosen = next((name for name in dated if TIME_NAMES.fullmatch(name)), dated[0])
    notes.append(f"time column: {chosen}")
    return chosen


def _wide(
    frame: pl.DataFrame,
    ids: list[str],
    time: str | None,
    target: str | None,
    layout: str | None,
    notes: list[str],
) -> Roles | None:
    """Roles of a wide table; None where the columns speak for a long one."""
    if layout == "wide" and (ids or target is not None):
        raise UserError(
            "a wide table has a series in every column, so it takes no id and no target",
            hint="--layout long",
        )
    rest = [name for name in frame.columns if name != time]
    numbers = [name for name in rest if is_number(frame[name])]
    if layout is None and not _speaks_for_wide(frame, time, rest, numbers):
        return None
    if not numbers:
        raise UserError("no column holds numbers", got=", ".join(frame.columns[:20]))
    skipped = [name for name in rest if name not in numbers]
    notes.append(f"layout: wide ({len(numbers)} series: {listed(numbers)})")
    if skipped:
        notes.append(f"columns without numbers are left out: {', '.join(skipped[:8])}")
    return Roles("wide", [], time, numbers)


def _speaks_for_wide(
    frame: pl.DataFrame, time: str | None, rest: list[str], numbers: list[str]
) -> bool:
    if len(numbers) < 2 or any(name.lower() in ("y", "target", "unique_id") for name in rest):
        return False
    if time is None:
        return len(numbers) == len(rest)
    return frame[time].n_unique() >= (1 - FEW_DUPLICATES) * frame.height


def _long(
    frame: pl.DataFrame,
    ids: list[str],
    ids_given: bool,
    time: str | None,
    target: str | None,
    notes: list[str],
) -> Roles:
    if target is None:
        target = _find_target(frame, [*ids, *([time] if time else [])])
        notes.append(f"target column: {target}")
    if not ids_given:
        ids = _find_ids(frame, time, target)
        notes.append(f"id columns: {', '.join(ids)}" if ids else "id columns: none (one series)")
    unused = [name for name in frame.columns if name not in (*ids, time, target)]
    if unused:
        notes.append(f"columns not used: {listed(unused)}")
    return Roles("long", ids, time, [target])


def _find_target(frame: pl.DataFrame, taken: list[str]) -> str:
    rest = [name for name in frame.columns if name not in taken]
    lowered = {name.lower(): name for name in reversed(rest)}
    known = next((lowered[name] for name in TARGET_NAMES if name in lowered), None)
    numbers = [name for name in rest if is_number(frame[name]) and not ID_NAMES.fullmatch(name)]
    if known or len(numbers) == 1:
        return known or numbers[0]
    if not numbers:
        raise UserError(
            "no column holds numbers to forecast",
            got=", ".join(frame.columns[:20]),
            hint="--target NAME",
        )
    raise UserError(
        "which column is to be forecast?",
        got=", ".join(numbers[:20]),
        hint=f"--target {numbers[0]} (or --layout rows where each row is a series)",
    )


def _find_ids(frame: pl.DataFrame, time: str | None, target: str) -> list[str]:
    """The fewest columns, from the left, that keep two rows from sharing a series and a time."""
    taken = {time, target} | {name for name in frame.columns if TIME_NAMES.fullmatch(name)}
    free = [name for name in frame.columns if name not in taken]
    named = [name for name in free if ID_NAMES.fullmatch(name)]
    texts = [
        n for n in free if n not in named and frame[n].dtype in (pl.String, pl.Categorical, pl.Enum)
    ]
    whole = [n for n in free if n not in named + texts and is_whole(frame[n])]
    if time is None:
        return [name for name in (named or texts) if frame[name].n_unique() <= frame.height / 2]
    chosen: list[str] = ["unique_id"] if "unique_id" in named else []
    chosen = telling_apart(frame, time, chosen, [*named, *texts, *whole])
    return [name for name in frame.columns if name in chosen]


def telling_apart(
    frame: pl.DataFrame, time: str, chosen: list[str], candidates: Sequence[str]
) -> list[str]:
    """`chosen` and the first candidates that keep rows from sharing a series and a time."""
    rows = distinct(frame, [time, *chosen])
    for name in candidates:
        if rows >= (1 - FEW_DUPLICATES) * frame.height:
            break
        more = distinct(frame, [time, *chosen, name]) if name not in chosen else rows
        if more > rows:
            chosen, rows = [*chosen, name], more
    return chosen


def distinct(frame: pl.DataFrame, names: list[str]) -> int:
    """Number of different rows, by their hashes: good enough to judge by, and fast."""
    return frame.select(names).hash_rows().n_unique()
