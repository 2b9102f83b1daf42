"""Tables to series of several channels, all on one regular grid: what is watched for anomalies.

A row a time, a column a channel; with id columns, a row an id and time. What was inferred,
repaired or left out is told in `notes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lstmkit.errors import UserError
from lstmkit.readers.channel_columns import ChannelRoles, find_channel_roles, read_channel
from lstmkit.readers.columns import listed
from lstmkit.readers.files import Loaded, load
from lstmkit.readers.frames import free_name
from lstmkit.readers.grid import Placement
from lstmkit.readers.labels import label_column, names_column, read_labels
from lstmkit.readers.layouts import row_times, series_codes
from lstmkit.readers.placing import place_if_it_fits
from lstmkit.readers.series import Channels
from lstmkit.readers.timestamps import TimeStyle


@dataclass
class ChannelTable:
    """Series of one table, with what is needed to write a table like it.

    Attributes:
        series: in the order in which their ids appear.
        id_columns, time_column, label_column: the user's names; where rows are only numbered the
            time is called `time`; no label_column where labels came from elsewhere, or not.
        channels: names of the columns of `Channels.values`.
        freq: as `calendar.parse_freq` reads it; `1i` beside times says that these are irregular,
            and that rows were taken one after the other.
        kind: `csv`, `parquet`, `pandas` or `polars`.
        notes: short lines about what was inferred, repaired and left out.
        id_types: polars types of the id columns.
        time_style: how the user writes time.
        frame: the rows as they came; `Channels.rows` counts them.
    """

    series: list[Channels]
    id_columns: list[str]
    time_column: str
    channels: list[str]
    label_column: str | None
    freq: str
    kind: str
    notes: list[str] = field(default_factory=list)
    id_types: list[pl.DataType] = field(default_factory=list)
    time_style: TimeStyle = field(default_factory=lambda: TimeStyle("frame"))
    frame: pl.DataFrame = field(default_factory=pl.DataFrame)

    @property
    def ids(self) -> list[tuple[Any, ...]]:
        """The ids of the series, in their order."""
        return [one.id for one in self.series]

    @property
    def numbered(self) -> bool:
        """Whether rows have no times, but numbers."""
        return self.time_column not in self.frame.columns

    @property
    def irregular(self) -> bool:
        """Whether rows have times, but lie on no grid."""
        return self.freq == "1i" and self.series[0].time.dtype.kind == "M"

    @property
    def time_zone(self) -> str | None:
        """The zone of the time column: an IANA name, an offset such as `+01:00`, or None."""
        return self.time_style.time_zone

    @property
    def day_first(self) -> bool | None:
        """Whether days were read before months; None where the times do not leave it open."""
        return self.time_style.day_first


def read_channels(
    data: Any,
    *,
    id: str | list[str] | None = None,
    time: str | None = None,
    channels: str | list[str] | None = None,
    label: Any = None,
    ignore: str | list[str] | None = None,
    freq: str | None = None,
    day_first: bool | None = None,
    trained: Sequence[str] | None = None,
) -> ChannelTable:
    """Read series of several channels; whatever is not given is inferred and told in the notes.

    Args:
        data: path, glob, list of them, `-` (CSV on standard input), pandas or polars frame.
        id: column or columns that name a series (a text may hold several, `site,host`); an empty
            list says that there is one series.
        time: column of times; without any, rows are numbered.
        channels: columns to watch; every other column of numbers where none is named.
        label: column, array (rows of the data,) or file of labels: 1 for an anomaly, 0 for none.
        ignore: columns to leave out.
        freq: spacing of the grid, inferred from the most frequent difference; `1i` takes rows one
            after the other, whenever they were.
        day_first: whether 01/02/2024 is the first of February.
        trained: the channels of a model, taken by name and in that order.

    Raises:
        UserError: whatever in the input cannot be read, with the row, the text and a hint.
    """
    notes: list[str] = []
    loaded = load(data, notes)
    frame = loaded.frame
    named = [label] if isinstance(label, str) and names_column(label, frame) else None
    wishes = {"id": id, "time": time, "channels": channels, "label": named, "ignore": ignore}
    roles = find_channel_roles(frame, wishes, id is not None, trained, notes)
    truth = None if label is None else read_labels(label_column(label, frame))
    ids, codes, types = series_codes(frame, roles.ids)
    times = row_times(frame, roles.time, codes, day_first, notes)
    placed, grid_time, style = place_if_it_fits(times, codes, freq, notes)
    series = _cut(ids, placed, grid_time.moments, _values(loaded, roles, placed), truth)
    _note_labels(truth, roles.label or _source_name(label), notes)
    _note_channels(series, roles.channels, notes)
    return ChannelTable(
        series,
        roles.ids,
        roles.time or free_name("time", frame.columns),
        roles.channels,
        roles.label,
        grid_time.freq,
        loaded.kind,
        notes,
        types,
        style,
        frame,
    )


def _values(loaded: Loaded, roles: ChannelRoles, placed: Placement) -> np.ndarray:
    """Values of all channels on the grid (cells, C), NaN where no row is."""
    values = np.full((len(placed.times), len(roles.channels)), np.nan)
    for k, name in enumerate(roles.channels):
        column = read_channel(loaded.frame[name], loaded.separator)
        values[placed.cells, k] = column[placed.rows]
    if np.isnan(values).all():
        raise UserError(
            "no channel has a value", got=f"{loaded.frame.height} rows, all cells missing"
        )
    return values


def _cut(
    ids: Sequence[tuple[Any, ...]],
    placed: Placement,
    moments: np.ndarray,
    values: np.ndarray,
    truth: np.ndarray | None,
) -> list[Channels]:
    """The series of the grid, from the first row to the last of each."""
    rows = np.full(len(placed.times), -1, np.int64)
    rows[placed.cells] = placed.rows
    labels = None if truth is None else placed.spread(truth)
    return [
        Channels(
            one,
            moments[begin:end],
            values[begin:end],
            None if labels is None else labels[begin:end],
            rows[begin:end],
        )
        for one, begin, end in zip(ids, placed.starts[:-1], placed.starts[1:], strict=True)
    ]


def _source_name(label: Any) -> str:
    return Path(label).name if isinstance(label, (str, Path)) else ""


def _note_labels(truth: np.ndarray | None, name: str, notes: list[str]) -> None:
    if truth is None:
        return
    found, unknown = int(np.nansum(truth)), int(np.isnan(truth).sum())
    notes.append(
        f"labels{f' of {name}' if name else ''}: {found:,} of {len(truth):,} rows are anomalies"
        + (f", {unknown:,} unknown" if unknown else "")
    )


def _note_channels(series: Sequence[Channels], names: Sequence[str], notes: list[str]) -> None:
    """What is watched, and which of it says nothing: empty, or the same in all series."""
    if len(series) > 1:
        keys = [", ".join(map(str, one.id)) for one in series]
        notes.append(f"series: {len(series)} ({listed(keys)})")
    notes.append(f"channels: {len(names)} ({listed(names)})")
    low = np.fmin.reduce([np.fmin.reduce(one.values) for one in series])
    high = np.fmax.reduce([np.fmax.reduce(one.values) for one in series])
    empty = [name for name, value in zip(names, low, strict=True) if np.isnan(value)]
    still = [name for name, a, b in zip(names, low, high, strict=True) if a == b]
    if empty:
        notes.append(f"channels without a value ({len(empty)}): {listed(empty)}")
    if still:
        notes.append(f"constant channels ({len(still)}): {listed(still)}")
    steps = sum(len(one.rows) for one in series)
    gaps = sum(int((one.rows < 0).sum()) for one in series)
    if gaps:
        notes.append(f"{gaps} of {steps} steps have no row")
