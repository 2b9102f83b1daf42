"""Answers for a table of channels, under the words of its user."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from lstmkit.readers.tables import read_channels, to_user_kind, user_frame

START = np.datetime64("2024-01-01T00:00:00", "us")


def frame(rows: int = 40) -> pl.DataFrame:
    times = START + np.arange(rows) * np.timedelta64(60, "s")
    return pl.DataFrame({"timestamp": times, "cpu": np.arange(rows) ** 2.0})


def hosts(*names: str) -> pl.DataFrame:
    return pl.concat([frame(20).select(pl.lit(name).alias("host"), pl.all()) for name in names])


def test_rows_are_written_in_the_users_words(tmp_path: Path) -> None:
    data = hosts("b", "a").with_columns(pl.col("timestamp").dt.strftime("%d.%m.%Y %H:%M"))
    data.write_csv(tmp_path / "data.csv")
    table = read_channels(tmp_path / "data.csv")
    one = table.series[1]
    columns = {"score": np.array([1.5, np.nan]), "end": one.time[2:4], "why": ["cpu", "up"]}
    out = user_frame(table, np.array([1, 0]), one.time[:2], columns)
    assert out.columns == ["host", "timestamp", "score", "end", "why"]
    assert out.rows() == [
        ("a", "01.01.2024 00:00", 1.5, "01.01.2024 00:02", "cpu"),
        ("b", "01.01.2024 00:01", None, "01.01.2024 00:03", "up"),
    ]
    bare = user_frame(table, np.array([0]), None, {"host": [1]})
    assert bare.columns == ["host", "host_"]
    with pytest.raises(ValueError, match="do not fit"):
        user_frame(table, np.array([0]), None, {"score": [1, 2]})


@pytest.mark.parametrize(
    "style", ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "unix", "zone", "none"]
)
def test_times_come_back_as_they_came(tmp_path: Path, style: str) -> None:
    data = frame()
    when = pl.col("timestamp")
    if style == "unix":
        data = data.with_columns(when.dt.epoch("s"))
    elif style == "zone":
        data = data.with_columns(when.dt.replace_time_zone("Europe/Berlin"))
    elif style == "none":
        data = data.drop("timestamp")
    else:
        data = data.with_columns(when.dt.strftime(style))
    table = read_channels(data)
    one = table.series[0]
    out = user_frame(table, np.zeros(40, int), one.time, {"score": np.zeros(40)})
    back = pl.Series("time", range(1, 41)) if style == "none" else data["timestamp"]
    assert out[table.time_column].to_list() == back.to_list()
    assert out[table.time_column].dtype == back.dtype


def test_no_rows_are_written_as_no_rows() -> None:
    table = read_channels(hosts("a", "b"))
    none = np.zeros(0, int)
    out = user_frame(table, none, table.series[0].time[:0], {"score": np.zeros(0), "why": []})
    assert out.shape == (0, 4) and out.columns == ["host", "timestamp", "score", "why"]
    assert list(to_user_kind(out, "pandas").columns) == out.columns


def test_missing_scores_are_missing_numbers_in_pandas() -> None:
    table = read_channels(frame())
    scores = np.full(40, np.nan)
    out = user_frame(table, np.zeros(40, int), table.series[0].time, {"score": scores})
    assert to_user_kind(out, "pandas")["score"].dtype == np.float64
