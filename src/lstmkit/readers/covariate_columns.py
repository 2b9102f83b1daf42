"""Covariate columns of a frame as numbers and codes: their kinds, categories and cells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from lstmkit.errors import UserError
from lstmkit.readers import covariates
from lstmkit.readers.columns import is_number, parse_numbers
from lstmkit.readers.covariates import TRUTH, Covariate
from lstmkit.readers.files import Loaded
from lstmkit.readers.layouts import Raw
from lstmkit.readers.timestamps import looks_like_time
from lstmkit.readers.wishes import Wish

MOST = 1000  # categories of a column
MOST_SPELLINGS = 20 * MOST  # `1` and `1.0` are one category in two spellings
TEXTS = (pl.String, pl.Categorical, pl.Enum)


def read_column(
    name: str, asked: Wish, parts: Sequence[Loaded], notes: list[str]
) -> tuple[Covariate, list[np.ndarray]]:
    """A column of one or several tables as a covariate, and its cells in each, (n,) float32.

    Raises:
        UserError: dates, text among numbers, an infinite number, too many categories.
    """
    columns = [part.frame[name] for part in parts]
    found = asked.as_trained(name)
    if found is None:
        found = _infer(columns, asked.columns[name], name in asked.categorical)
    if found.categories is None:
        numbers = [_numbers(c, part.separator) for c, part in zip(columns, parts, strict=True)]
        return found, [n.astype(np.float32) for n in numbers]
    codes = [_codes(column, found) for column in columns]
    if asked.trained is not None:
        _note_unknown(columns, codes, found, notes)
    return found, codes


def _infer(columns: Sequence[pl.Series], role: str, categorical: bool) -> Covariate:
    name, column = columns[0].name, columns[0]
    if column.dtype.is_temporal() or (not categorical and looks_like_time(column)):
        raise UserError(
            f"column {name!r} holds times, which are no covariate",
            expected="numbers or categories",
            hint="the calendar of the time column is known to the model as it is",
        )
    if not categorical and (_is_truth(column) or column.dtype not in TEXTS or is_number(column)):
        return Covariate(name, role)
    spellings = pl.concat([c.cast(pl.String).unique() for c in columns]).unique()
    if len(spellings) <= MOST_SPELLINGS:
        categories = sorted({covariates.category(cell) for cell in _spellings(columns)} - {""})
        if len(categories) <= MOST:
            return Covariate(name, role, tuple(categories))
    raise UserError(
        f"column {name!r} has too many categories",
        got=f"{len(spellings)}, such as {spellings.drop_nulls()[0]!r}",
        expected=f"at most {MOST}",
        hint=f"leave {name} out, or group its values",
    )


def _spellings(columns: Sequence[pl.Series]) -> list[object]:
    return [cell for column in columns for cell in column.unique().to_list()]


def _is_truth(column: pl.Series) -> bool:
    """Whether a column holds true and false, as such or as text."""
    if column.dtype not in TEXTS:
        return column.dtype == pl.Boolean
    cells = column.cast(pl.String).str.strip_chars().str.to_lowercase()
    return bool(cells.is_in([*TRUTH, ""]).all() and cells.is_in(list(TRUTH)).any())


def _numbers(column: pl.Series, separator: str) -> np.ndarray:
    if _is_truth(column):
        cells = column.cast(pl.String).str.strip_chars().str.to_lowercase()
        return (cells == "true").cast(pl.Float64).set(cells == "", None).to_numpy()
    if column.dtype in TEXTS:
        column = column.cast(pl.String)
    try:
        return parse_numbers(column, separator)
    except UserError as error:
        if error.hint or not error.got:
            raise
        raise UserError(
            error.what,
            got=error.got,
            expected=error.expected,
            hint=f"--categorical {column.name}, where it names something",
        ) from None


def _codes(column: pl.Series, covariate: Covariate) -> np.ndarray:
    """Codes (n,) float32; every spelling is looked up once."""
    if column.dtype in TEXTS:
        column = column.cast(pl.String)
    spellings = column.unique()
    codes = pl.Series(covariate.codes(spellings.to_list()), dtype=pl.Float32)
    return column.replace_strict(spellings, codes, return_dtype=pl.Float32).to_numpy()


def _note_unknown(
    columns: Sequence[pl.Series],
    codes: Sequence[np.ndarray],
    covariate: Covariate,
    notes: list[str],
) -> None:
    """Tell how many cells hold categories of which the model knows nothing."""
    count, shown = 0, set()
    for column, found in zip(columns, codes, strict=True):
        cells = column.alias("cell").filter(pl.Series(found == 0)).value_counts()
        for cell, times in cells.rows():
            if covariates.category(cell):
                shown.add(covariates.category(cell))
                count += times
    if count:
        some = ", ".join(sorted(shown)[:5]) + (", ..." if len(shown) > 5 else "")
        notes.append(
            f"{count} cells of column {covariate.name} hold categories that the model has not seen"
            f" ({some}): taken as unknown"
        )


def read_static(
    asked: Wish, loaded: Loaded, raw: Raw, notes: list[str]
) -> tuple[list[Covariate], np.ndarray | None]:
    """Static covariates, and their values (series, S) float32; None where there are none.

    Raises:
        UserError: a series has several values.
    """
    found, values = [], []
    codes = raw.codes[: loaded.frame.height]
    for name in asked.named("static"):
        covariate, (cells,) = read_column(name, asked, [loaded], notes)
        there = ~np.isnan(cells) if covariate.categories is None else cells > 0
        fixed = np.full(len(raw.ids), covariate.blank, np.float32)
        fixed[codes[there]] = cells[there]
        other = there & (cells != fixed[codes])
        if other.any():
            series = int(codes[np.argmax(other)])
            _several(loaded.frame[name].filter(pl.Series(codes == series)), raw.ids[series])
        found.append(covariate)
        values.append(fixed)
    return found, np.stack(values, 1) if values else None


def _several(column: pl.Series, id: tuple[object, ...]) -> None:
    cells = column.drop_nulls().unique(maintain_order=True)
    named = f"series {', '.join(map(str, id))}" if id else "the series"
    raise UserError(
        f"column {column.name!r} is static, but {named} has several values",
        got=", ".join(map(str, cells.head(5))) + (", ..." if len(cells) > 5 else ""),
        expected="one value a series",
        hint=f"--past {column.name}, or --known {column.name} where it is known ahead",
    )
