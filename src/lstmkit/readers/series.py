"""Series, cut out of the grid on which a whole table lies (numpy only)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lstmkit.errors import UserError
from lstmkit.readers.covariates import Covariate
from lstmkit.readers.grid import Placement


@dataclass
class Series:
    """One series on a regular grid; its arrays are views of those of the whole table.

    Attributes:
        id: one value for each id column; empty for a single series.
        time: (n,) datetime64[us] (UTC where the zone is known and steps are shorter than a day,
            otherwise the wall clock) or int64; of irregular tables 1 ... n.
        values: (n,) float64, NaN where missing; the first and the last are known.
        covariates: (n + F, C) float32, the dynamic ones of the table in their order; F rows after
            the last value where covariates are known ahead, those of the past missing there.
            Numbers are NaN where missing, categories are codes and 0.
        static: (S,) float32, the static ones in their order.
        moments: (n + F,) datetime64[us], the times of the rows of an irregular table.
    """

    id: tuple[Any, ...]
    time: np.ndarray
    values: np.ndarray
    covariates: np.ndarray | None = None
    static: np.ndarray | None = None
    moments: np.ndarray | None = None


@dataclass
class Channels:
    """One series of several channels, a row a step; its arrays are views of the whole table's.

    Attributes:
        id: one value for each id column; empty for a single series.
        time: (n,) datetime64[us] (UTC where the zone is known and steps are shorter than a day,
            otherwise the wall clock) or int64; of irregular tables as the rows came.
        values: (n, C) float64, NaN where missing.
        labels: (n,) float64, 1 for an anomaly, 0 for none, NaN where nobody knows; or None.
        rows: (n,) int64, the row of the input, counted from 0; -1 for a step without a row.
    """

    id: tuple[Any, ...]
    time: np.ndarray
    values: np.ndarray
    labels: np.ndarray | None
    rows: np.ndarray


@dataclass
class Grid:
    """A table on its grid.

    Attributes:
        ids: of the series.
        placed: the grid; all series share it where there is a column of values for each.
        columns: values (cells,), one column of all series, or one for each.
        covariates: the dynamic ones, and `block` (cells, C) their values.
        fixed: (series, S) values of the static ones.
        moments: (cells,) times of irregular rows.
    """

    ids: Sequence[tuple[Any, ...]]
    placed: Placement
    columns: list[np.ndarray]
    covariates: list[Covariate]
    block: np.ndarray | None
    fixed: np.ndarray | None
    moments: np.ndarray | None

    @property
    def shared(self) -> bool:
        """Whether the series lie on the same cells."""
        return len(self.columns) > 1

    @property
    def foresight(self) -> bool:
        """Whether rows after the last value say something."""
        return any(c.role == "known" for c in self.covariates)


class Spans(NamedTuple):
    """Cells of each series: its first row and value, after its last value and row; (series,).

    `known` is the number of its values, `constant` whether several are all the same.
    """

    begin: np.ndarray
    first: np.ndarray
    stop: np.ndarray
    end: np.ndarray
    known: np.ndarray
    constant: np.ndarray


def cut(table: Grid, layout: str, notes: list[str]) -> list[Series]:
    """Series from their first to their last known value; what is left out is told.

    Raises:
        UserError: no series has two values.
    """
    parts = [_spans(column, table.placed.starts) for column in table.columns]
    spans = Spans(*(np.concatenate(each) for each in zip(*parts, strict=True)))
    _tell(spans, layout, table.foresight, notes)
    there = np.flatnonzero(spans.known)
    edges = [each[there].tolist() for each in spans[:4]]
    return [
        _series(table, number, *cells)
        for number, *cells in zip(there.tolist(), *edges, strict=True)
    ]


def _spans(column: np.ndarray, starts: np.ndarray) -> Spans:
    known = np.flatnonzero(~np.isnan(column))
    edges = np.searchsorted(known, starts)
    begin, end, count = starts[:-1], starts[1:], np.diff(edges)
    some = count > 0
    first, stop = begin.copy(), begin.copy()
    first[some] = known[edges[:-1][some]]
    stop[some] = known[edges[1:][some] - 1] + 1
    low, high = (reduce.reduceat(column, begin) for reduce in (np.fmin, np.fmax))
    return Spans(begin, first, stop, end, count, (count > 1) & (low == high))


def _series(table: Grid, number: int, begin: int, first: int, stop: int, end: int) -> Series:
    column = table.columns[number if table.shared else 0]
    end = end if table.foresight else stop
    time = table.placed.times[first:stop]
    if table.moments is not None:
        time = table.placed.times[begin : begin + stop - first]  # 1, 2, 3 ... from the first value
    return Series(
        table.ids[number],
        time,
        column[first:stop],
        _covariates(table, begin, first, stop, end),
        None if table.fixed is None else table.fixed[number],
        None if table.moments is None else table.moments[first:end],
    )


def _covariates(table: Grid, begin: int, first: int, stop: int, end: int) -> np.ndarray | None:
    """The rows of one series: nothing of the past ahead, no gap before the first."""
    if table.block is None:
        return None
    block = table.block[first:end]
    past = [(k, c.blank) for k, c in enumerate(table.covariates) if c.role == "past"]
    gap = [k for k, c in enumerate(table.covariates) if c.scale is not None]
    if not ((past and end > stop) or (gap and first > begin)):
        return block
    block = block.copy() if table.shared else block
    for k, blank in past:
        block[stop - first :, k] = blank
    block[0, gap] = 0.0
    return block


def _tell(spans: Spans, layout: str, foresight: bool, notes: list[str]) -> None:
    total, there = len(spans.known), spans.known > 0
    if not there.any():
        raise UserError("no series has a value", got=f"{total} series, all cells missing")
    if spans.known.max() < 2:
        raise UserError(
            "every series has one row only", expected="at least two known values", hint="--id NAME"
        )
    ahead = (spans.end - spans.stop)[there]
    says = {
        "series skipped: all values are missing": int((~there).sum()),
        _says_ahead(foresight, ahead): int((ahead > 0).sum()) if layout != "rows" else 0,
        "series are constant": int(spans.constant.sum()),
    }
    notes.extend(f"{count} of {total} {text}" for text, count in says.items() if count)
    steps = int((spans.stop - spans.first).sum())
    gaps = steps - int(spans.known.sum())
    if gaps:
        notes.append(f"{gaps} of {steps} steps have no value")


def _says_ahead(foresight: bool, ahead: np.ndarray) -> str:
    if foresight:
        return f"series go on without a value: up to {ahead.max()} rows of what is known ahead"
    return "series end before the last row (missing values at the end are cut)"
