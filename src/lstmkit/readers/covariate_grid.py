"""Covariates on the grid of a table: given columns, what the future adds, and generated ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lstmkit.readers import gaps, holidays
from lstmkit.readers.covariate_columns import read_column
from lstmkit.readers.covariates import Covariate
from lstmkit.readers.files import Loaded
from lstmkit.readers.grid import Placement
from lstmkit.readers.placing import GridTime
from lstmkit.readers.wishes import Wish

AT_ONCE = 1 << 20  # rows whose holidays are looked up together


class Ahead(NamedTuple):
    """A table of the future, and which rows (m,) of the data its rows are: from n on, new ones."""

    table: Loaded
    rows: np.ndarray


def on_grid(
    asked: Wish,
    loaded: Loaded,
    ahead: Ahead | None,
    placed: Placement,
    time: GridTime,
    notes: list[str],
) -> tuple[list[Covariate], np.ndarray | None]:
    """Dynamic covariates, and their values on the grid (cells, C) float32; None without any.

    Raises:
        UserError: as `read_column`; an unknown country.
    """
    names = asked.dynamic()
    block = np.empty((len(placed.times), len(names)), np.float32)
    found = []
    for k, name in enumerate(names):
        if name == asked.gap():
            found.append(_write_gaps(block[:, k], asked, placed, time))
        elif name == holidays.COLUMN and asked.holiday():
            found.append(_write_holidays(block[:, k], asked, time))
        else:
            found.append(_write_column(block[:, k], name, asked, loaded, ahead, placed, notes))
    return found, block if names else None


def _write_gaps(cells: np.ndarray, asked: Wish, placed: Placement, time: GridTime) -> Covariate:
    first = placed.starts[:-1]
    name = asked.gap() or "gap"
    found = asked.as_trained(name) or gaps.covariate(gaps.median_gap(time.moments, first), name)
    cells[:] = gaps.log_gaps(time.moments, first, found.scale or 1.0)
    return found


def _write_holidays(cells: np.ndarray, asked: Wish, time: GridTime) -> Covariate:
    country = asked.country or ""
    found = asked.as_trained(holidays.COLUMN)
    found = found or holidays.covariate(time.moments, time.freq, country)
    for begin in range(0, len(cells), AT_ONCE):
        part = slice(begin, begin + AT_ONCE)
        cells[part] = holidays.values(found, time.moments[part], time.freq, country)
    return found


def _write_column(
    cells: np.ndarray,
    name: str,
    asked: Wish,
    loaded: Loaded,
    ahead: Ahead | None,
    placed: Placement,
    notes: list[str],
) -> Covariate:
    told = ahead is not None and asked.columns[name] == "known"
    parts = [loaded, ahead.table] if ahead is not None and told else [loaded]
    found, given = read_column(name, asked, parts, notes)
    rows = given[0]
    if ahead is not None:
        rows = np.full(max(len(rows), int(ahead.rows.max(initial=-1)) + 1), found.blank, np.float32)
        rows[: len(given[0])] = given[0]
    if ahead is not None and told:
        missing = np.isnan(rows[ahead.rows]) if found.categories is None else rows[ahead.rows] == 0
        rows[ahead.rows[missing]] = given[1][missing]
    cells[:] = found.blank
    cells[placed.cells] = rows[placed.rows]
    return found
