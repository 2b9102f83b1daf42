"""Tables to regular time series, and forecasts back to the kind of table that the user has.

CSV, Parquet, pandas and polars; long (a row a series and time), wide (a column a series) or rows
(a row a series). Every series comes out on a regular grid, from its first known value to its
last; missing steps are NaN. What was inferred, repaired or skipped is told in `notes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from lstmkit.errors import UserError
from lstmkit.readers.channels import ChannelTable, read_channels
from lstmkit.readers.columns import Roles, find_roles
from lstmkit.readers.covariate_columns import read_static
from lstmkit.readers.covariate_grid import on_grid
from lstmkit.readers.covariates import Covariate
from lstmkit.readers.files import load
from lstmkit.readers.frames import (
    forecast_frame,
    table_of,
    to_user_kind,
    user_frame,
    user_times,
    write_table,
)
from lstmkit.readers.future import read_future
from lstmkit.readers.layouts import read_rows
from lstmkit.readers.placing import place
from lstmkit.readers.series import Channels, Grid, Series, cut
from lstmkit.readers.timestamps import TimeStyle
from lstmkit.readers.wishes import Wish, wish

__all__ = [
    "ChannelTable",
    "Channels",
    "Series",
    "SeriesTable",
    "forecast_frame",
    "read_channels",
    "read_series",
    "table_of",
    "to_user_kind",
    "user_frame",
    "user_times",
    "write_table",
]


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
    placed, grid_time, style = place(raw.times, raw.codes, freq, irregular, notes)
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
