"""What a detector says of a whole table: scores, alerts, and the frames that hold them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.errors import require
from lstmkit.tasks.anomaly.alerts import Alert, Watched, shifted
from lstmkit.tasks.anomaly.features import Geometry
from lstmkit.tasks.anomaly.story import Story

if TYPE_CHECKING:
    import polars as pl

    from lstmkit.readers.tables import Channels, ChannelTable
    from lstmkit.tasks.anomaly.estimator import AnomalyDetector


@dataclass(frozen=True)
class Found:
    """All series of a table, watched.

    Attributes:
        watched: of each series, the rows that were new, from row `begin` of it on.
        alerts: of each series, their rows counted as in the table.
    """

    table: ChannelTable
    watched: list[Watched | None]
    begin: list[int]
    alerts: list[list[Alert]]


def read(columns: Mapping[str, Any], shape: Geometry, data: Any, label: Any = None) -> ChannelTable:
    """A table like that of the training."""
    require("polars", "train")
    from lstmkit.readers.tables import read_channels

    return read_channels(
        data,
        id=columns["id"],
        time=None if columns["numbered"] else columns["time"],
        freq=columns["freq"],
        day_first=columns["day_first"],
        trained=list(shape.channels),
        label=label,
    )


def watch(
    detector: AnomalyDetector,
    data: Any,
    state: str | os.PathLike[str] | None,
    alerts_per_day: float | None,
    adapt: bool | None,
) -> Found:
    """Step through every series, from its beginning or from where `state` stands."""
    stream = detector.stream(alerts_per_day, adapt)
    if state is not None and Path(state).exists():
        stream.read_state(state)
    table = detector.read(data)
    watched: list[Watched | None] = []
    begin, alerts = [], []
    for series in table.series:
        key = tuple(str(part) for part in series.id)
        last = stream.last(key)
        first = 0 if last is None else int(np.searchsorted(series.time, last, side="right"))
        begin.append(first)
        if first == len(series.time):
            watched.append(None)
            alerts.append(_open(stream, key, series))
            continue
        rows, over = stream.extend(key, series.time[first:], series.values[first:])
        over = over + stream.watch(key).grouper.begun()
        seen = stream.watch(key).grouper.rows
        watched.append(_newest(rows, len(series.time) - first))
        alerts.append([_within(shifted(one, len(series.time) - seen), series) for one in over])
    if state is not None:
        stream.write_state(state)
    return Found(table, watched, begin, alerts)


def _open(stream: Any, id: tuple[str, ...], series: Channels) -> list[Alert]:
    grouper = stream.watch(id).grouper
    return [_within(shifted(a, len(series.time) - grouper.rows), series) for a in grouper.begun()]


def _newest(rows: Watched, count: int) -> Watched:
    """The last rows, without those that stood for rows left out."""
    return Watched(**{f.name: getattr(rows, f.name)[-count:] for f in fields(Watched)})


def _within(alert: Alert, series: Channels) -> Alert:
    """An alert that began before the rows of the table, as far as it lies in it."""
    first, last, peak = (max(row, 0) for row in (alert.first, alert.last, alert.peak_row))
    return replace(alert, first=first, last=last, peak_row=peak)


def alert_frame(found: Found) -> Any:
    """The alerts as a frame of the kind that was given, in the order of their beginnings."""
    from lstmkit.readers.tables import to_user_kind, user_frame

    table = found.table
    pairs = [(k, alert) for k, alerts in enumerate(found.alerts) for alert in alerts]
    pairs.sort(key=lambda pair: (pair[1].start, pair[0]))
    which = np.array([k for k, _ in pairs], np.int64)
    alerts = [alert for _, alert in pairs]
    dated = table.series[0].time.dtype.kind == "M"
    kind = "datetime64[us]" if dated else np.int64
    columns: dict[str, Any] = {
        "start": np.array([a.start for a in alerts], kind),
        "end": np.array([a.end for a in alerts], kind),
        "severity": [a.severity for a in alerts],
        "score": np.array([a.peak for a in alerts], float),
        "level": np.array([a.level for a in alerts], float),
        "channels": ["; ".join(name for name, _ in a.channels) for a in alerts],
        "reasons": ["; ".join(a.reasons) for a in alerts],
        "rows": [_rows(table.series[k], a) for k, a in pairs],
        "open": [a.open for a in alerts],
    }
    return to_user_kind(user_frame(table, which, None, columns), table.kind)


def _rows(series: Channels, alert: Alert) -> str:
    """The rows of the user's table that an alert covers, counted from 1."""
    rows = series.rows[alert.first : alert.last + 1]
    rows = rows[rows >= 0] + 1
    if not len(rows):
        return ""
    return str(rows[0]) if rows[0] == rows[-1] else f"{rows[0]}-{rows[-1]}"


def score_frame(found: Found) -> pl.DataFrame:
    """The score of every new row of the table, and each channel's part of it; steps of the grid
    that have no row are left out."""
    from lstmkit.readers.tables import user_frame

    each = zip(found.table.series, found.watched, found.begin, strict=True)
    pairs = [
        (k, rows, series.rows[begin:] >= 0)
        for k, (series, rows, begin) in enumerate(each)
        if rows is not None
    ]
    which = np.repeat([k for k, *_ in pairs], [int(there.sum()) for *_, there in pairs])

    def joined(name: str, empty: np.ndarray) -> np.ndarray:
        return np.concatenate([empty, *(getattr(rows, name)[there] for _, rows, there in pairs)])

    times = joined("time", found.table.series[0].time[:0])
    parts = joined("parts", np.zeros((0, len(found.table.channels))))
    columns = {
        "score": joined("score", np.zeros(0)),
        "level": joined("level", np.zeros(0)),
        "alarm": joined("alarm", np.zeros(0, bool)),
    }
    columns |= {name: parts[:, k] for k, name in enumerate(found.table.channels)}
    return user_frame(found.table, which.astype(np.int64), times, columns)


def write_scores(found: Found, path: str | os.PathLike[str]) -> None:
    """Write `score_frame` as CSV or Parquet, by suffix."""
    from lstmkit.readers.tables import write_table

    write_table(score_frame(found), str(path))


def stories(found: Found) -> list[Story]:
    """What pictures and pages are drawn from."""
    made = []
    each = zip(found.table.series, found.watched, found.begin, found.alerts, strict=True)
    for series, rows, begin, alerts in each:
        if rows is None:
            continue
        made.append(
            Story(
                ", ".join(str(part) for part in series.id),
                series.time[begin:],
                series.values[begin:],
                tuple(found.table.channels),
                rows.score,
                rows.level,
                rows.parts,
                rows.expected,
                [shifted(a, -begin) for a in alerts if a.first >= begin],
                None if series.labels is None else series.labels[begin:],
            )
        )
    return made
