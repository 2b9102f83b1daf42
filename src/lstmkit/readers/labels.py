"""Labels of rows: 0 and 1, or words for normal and anomalous, from a column, an array or a file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lstmkit.errors import UserError
from lstmkit.readers.columns import blank_to_null, listed
from lstmkit.readers.files import load

LABEL_NAMES = re.compile(
    r"labels?|y_true|ground_?truth|changepoint|normal/attack"
    r"|(is_?)?(anomaly|anomalies|anomalous|outlier|attack|intrusion)([ _]?labels?)?",
    re.IGNORECASE,
)
NORMAL = ("0", "0.0", "false", "f", "no", "n", "normal", "benign", "ok", "good", "inlier")
ANOMALOUS = (
    "1", "1.0", "true", "t", "yes", "y", "anomaly", "anomalous", "abnormal", "attack", "a ttack",
    "outlier", "fault", "faulty", "bad",
)  # fmt: skip
WORDS = dict.fromkeys(NORMAL, 0.0) | dict.fromkeys(ANOMALOUS, 1.0)


def is_label(column: pl.Series) -> bool:
    """Whether all cells of a column can be read as labels, and there are some."""
    cells = _cells(column)
    return bool(cells.count() and _read(cells).null_count() == cells.null_count())


def _cells(column: pl.Series) -> pl.Series:
    """Cells as lower-case text; what is missing is null."""
    if column.dtype.is_float():
        column = column.fill_nan(None)
    return blank_to_null(column.cast(pl.String)).str.to_lowercase()


def _read(cells: pl.Series) -> pl.Series:
    numbers = cells.replace_strict(WORDS, default=None, return_dtype=pl.Float64)
    as_numbers = cells.cast(pl.Float64, strict=False)
    plain = as_numbers.is_in([0.0, 1.0]).fill_null(False)
    return pl.select(pl.when(plain).then(as_numbers).otherwise(numbers)).to_series()


def read_labels(column: pl.Series) -> np.ndarray:
    """Labels (n,) float64: 0 normal, 1 anomalous, NaN where nobody knows.

    Raises:
        UserError: a cell that is neither, with its row and text, or no label at all.
    """
    cells = _cells(column)
    found = _read(cells)
    wrong = found.is_null() & cells.is_not_null()
    if wrong.any():
        row = int(wrong.arg_max() or 0)
        raise UserError(
            f"row {row + 1} of the labels in {column.name!r} is neither normal nor anomalous",
            got=repr(column[row]),
            expected="0 and 1, true and false, yes and no, or normal and anomaly",
            hint="write 1 for an anomaly and 0 for none",
        )
    if not found.count():
        raise UserError(f"the labels in {column.name!r} are all missing")
    return found.to_numpy().astype(np.float64, copy=False)


def names_column(label: str, frame: pl.DataFrame) -> bool:
    """Whether a text stands for a column, and not for files of labels."""
    return label in frame.columns or not is_source(label)


def label_column(label: Any, frame: pl.DataFrame) -> pl.Series:
    """The column (n,) of labels that `label` stands for, beside the rows of `frame`.

    Args:
        label: a column of the frame, an array (n,), or a path (or paths, a glob) of a table with
            one column or with one that is named like a label.

    Raises:
        UserError: as `files.load`; several columns; another length than the data.
    """
    if isinstance(label, str) and label in frame.columns:
        return frame[label]
    name = "the labels"
    if is_source(label):
        name = str(label)
        column = _only_column(load(label, []).frame, name)
    else:
        cells = label.to_list() if isinstance(label, pl.Series) else np.asarray(label).ravel()
        column = pl.Series(name, list(cells), strict=False)
    if len(column) != frame.height:
        raise UserError(
            f"{name} and the data have different lengths",
            got=f"{len(column):,} labels for {frame.height:,} rows",
            expected="a label for each row",
            hint="do both have, or both lack, a header line?"
            if abs(len(column) - frame.height) == 1
            else "",
        )
    return column.alias(name)


def is_source(label: Any) -> bool:
    """Whether labels are to be read from files: a path, a list of paths or a glob that exists."""
    if isinstance(label, (list, tuple)):
        return bool(label) and all(is_source(item) for item in label)
    if isinstance(label, Path):
        return True
    return isinstance(label, str) and (Path(label).expanduser().exists() or "*" in label)


def _only_column(frame: pl.DataFrame, name: str) -> pl.Series:
    if frame.width == 1:
        return frame.to_series()
    fitting = [n for n in frame.columns if LABEL_NAMES.fullmatch(n) and is_label(frame[n])]
    if len(fitting) == 1:
        return frame[fitting[0]]
    raise UserError(
        f"which column of {name} holds the labels?",
        got=listed(frame.columns, 20),
        expected="one column",
    )
