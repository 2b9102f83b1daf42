"""Channels from tables that are not as they should be: repaired and told, or refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from lstmkit.errors import UserError
from lstmkit.readers.tables import ChannelTable, read_channels

START = np.datetime64("2024-01-01T00:00:00", "us")
SECOND = np.timedelta64(1, "s")


def at(seconds: Any) -> np.ndarray:
    return START + (np.asarray(seconds, float) * 1e6).astype("timedelta64[us]")


def frame_at(seconds: Any) -> pl.DataFrame:
    times = at(seconds)
    return pl.DataFrame({"when": times, "y": np.arange(len(times)) ** 2.0})


def said(table: ChannelTable, text: str) -> bool:
    return any(text in note for note in table.notes)


# --- clocks


def test_a_clock_that_goes_back_is_sorted() -> None:
    order = [*range(10), *range(20, 30), *range(10, 20)]
    table = read_channels(frame_at(np.array(order) * 60))
    (one,) = table.series
    assert said(table, "not in order of time (1 steps back): sorted")
    assert one.rows.tolist() == np.argsort(order).tolist()
    assert (np.diff(one.time) == 60 * SECOND).all()


def test_the_last_of_two_rows_at_one_time_is_kept() -> None:
    seconds = [*range(0, 600, 60), 540, *range(600, 900, 60)]
    table = read_channels(frame_at(seconds))
    (one,) = table.series
    assert said(table, "1 rows repeat a time") and 9 not in one.rows and 10 in one.rows


def test_gaps_are_steps_without_a_row() -> None:
    seconds = [t for t in range(0, 1800, 60) if not 300 <= t < 600]
    (one,) = read_channels(frame_at(seconds)).series
    assert len(one.rows) == 30 and (one.rows[5:10] == -1).all() and (one.rows >= 0).sum() == 25
    assert np.isnan(one.values[5:10]).all() and not np.isnan(one.values[one.rows >= 0]).any()
    assert (np.diff(one.time) == 60 * SECOND).all()


def test_rows_without_values_at_both_ends_are_kept() -> None:
    data = frame_at(np.arange(20) * 60).with_columns(
        pl.when(pl.int_range(20).is_between(3, 16)).then("y").alias("y")
    )
    (one,) = read_channels(data).series
    assert len(one.rows) == 20 and np.isnan(one.values[:3]).all()


def test_jitter_goes_to_the_nearest_step() -> None:
    rng = np.random.default_rng(0)
    seconds = np.arange(200) * 60.0
    seconds[100:] += rng.integers(-14, 15, 100)
    table = read_channels(frame_at(seconds))
    (one,) = table.series
    assert table.freq == "1m" and not table.irregular and said(table, "nearest step of 1m")
    assert one.rows.tolist() == list(range(200)) and (np.diff(one.time) == 60 * SECOND).all()


def test_a_row_or_two_that_share_a_step_do_not_stop_the_reading() -> None:
    seconds = np.arange(300) * 60.0
    seconds[150:] += 7
    seconds[200] -= 55
    table = read_channels(frame_at(seconds))
    assert table.freq == "1m" and said(table, "1 rows share a step of 1m with a later one")
    rows = table.series[0].rows
    assert 199 not in rows and 200 in rows and (rows == -1).sum() == 1
    given = read_channels(frame_at(seconds[190:210]), freq="1m")
    assert said(given, "1 rows share a step")


def test_a_shared_step_in_one_series_leaves_the_next_one_whole() -> None:
    seconds = np.arange(300) * 60.0 + 7
    seconds[0] = 0
    crowded = seconds.copy()
    crowded[200] -= 55
    names = np.repeat(["a", "b"], 300)
    data = frame_at(np.concatenate([crowded, seconds])).with_columns(pl.Series("host", names))
    first, second = read_channels(data).series
    assert (first.rows == -1).sum() == 1
    assert second.rows.tolist() == list(range(300, 600)) and second.time[0] == START


@pytest.mark.parametrize("spread", ["events", "seconds"])
def test_irregular_rows_are_taken_one_by_one(spread: str) -> None:
    gaps = np.random.default_rng(1).exponential(30, 300) + 1
    gaps = np.round(gaps) if spread == "seconds" else gaps
    data = frame_at(np.cumsum(gaps))
    table = read_channels(data)
    (one,) = table.series
    assert table.irregular and table.freq == "1i" and said(table, "times are irregular")
    assert one.rows.tolist() == list(range(300))
    np.testing.assert_array_equal(one.time, data["when"].to_numpy())
    same = read_channels(frame_at(np.arange(30) * 60), freq=table.freq)
    assert same.irregular and not said(same, "times are irregular")


def test_a_given_spacing_holds() -> None:
    gaps = np.random.default_rng(1).exponential(30, 300) + 1
    with pytest.raises(UserError, match="several rows fall into one step of 5m"):
        read_channels(frame_at(np.cumsum(gaps)), freq="5m")
    assert read_channels(frame_at(np.arange(30) * 60 + 3), freq="1m").freq == "1m"
    with pytest.raises(UserError, match="does not suit numbered rows"):
        read_channels(pl.DataFrame({"a": [1.5, 2.5], "b": [1.0, 3.0]}), freq="1h")


def test_an_outage_is_no_irregularity() -> None:
    seconds = np.concatenate([np.arange(100), np.arange(1000, 1100)]) * 60
    table = read_channels(frame_at(seconds))
    assert table.freq == "1m" and (table.series[0].rows == -1).sum() == 900


def test_zones(tmp_path: Path) -> None:
    path = tmp_path / "zones.csv"
    stamps = [f"2024-01-01T0{h}:00:00{z}" for h in range(8) for z in ("Z",)]
    mixed = [*stamps[:4], *(s.replace("Z", "+05:00") for s in stamps[4:])]
    path.write_text("time,a\n" + "\n".join(f"{s},{i * i}" for i, s in enumerate(mixed)))
    with pytest.raises(UserError, match="several time zones"):
        read_channels(path)
    path.write_text("time,a\n" + "\n".join(f"{s},{i * i}" for i, s in enumerate(stamps)))
    assert read_channels(path).time_zone == "UTC"


# --- too little


def test_one_row_needs_a_spacing() -> None:
    with pytest.raises(UserError, match="one row is no time series"):
        read_channels(frame_at([60]))
    for freq in ("1m", "1i"):
        (one,) = read_channels(frame_at([60]), freq=freq).series
        assert one.values.tolist() == [[0.0]] and one.rows.tolist() == [0]


@pytest.mark.parametrize("text", ["", "\n\n", "time,a,b\n"])
def test_empty_files(tmp_path: Path, text: str) -> None:
    path = tmp_path / "empty.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=r"is empty|a header and no rows"):
        read_channels(path)


def bad(**columns: Any) -> pl.DataFrame:
    return pl.DataFrame({"when": at(np.arange(6) * 60), "y": np.arange(6) ** 2.0, **columns})


@pytest.mark.parametrize(
    ("data", "options", "text"),
    [
        (bad().drop("y"), {}, "no column holds numbers to watch"),
        (bad(t=["x"] * 6).drop("y"), {}, "no column holds numbers to watch"),
        (bad(y=[None] * 6), {}, "no channel has a value"),
        (bad(y=[1.0, np.inf, 2, 3, 4, 5]), {}, "row 2 of column 'y' is infinite"),
        (bad(y=["1", "2", "3", "x", "5", "6"]), {"channels": "y"}, "row 4 of column 'y'"),
        (bad(), {"channels": "z"}, "there is no column 'z'"),
        (bad(), {"ignore": "wen"}, "did you mean when"),
        (bad(), {"time": "y", "channels": "y"}, "'y' is given as time and as channels"),
        (bad(), {"label": "y", "channels": "y"}, "'y' is given as"),
        (bad(host=["a", None, "a", "a", "a", "a"]), {"id": "host"}, "row 2 has no id"),
        (bad(when=["2024-01-01"] * 5 + ["soon"]), {"time": "when"}, "row 6 of column 'when'"),
        (bad(when=at([0] * 5 + [60])), {}, "repeat a time of their series"),
        ([3.5], {}, "data of type list cannot be read"),
        ("nothing-here.csv", {}, "there is no file nothing-here.csv"),
    ],
)
def test_refusals_say_what_is_wrong(data: Any, options: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError, match=text):
        read_channels(data, **options)


def test_a_flag_that_is_neither_is_named_with_its_row(tmp_path: Path) -> None:
    path = tmp_path / "flags.csv"
    cells = ["true", "false"] * 600 + ["perhaps"]
    path.write_text("time,door\n" + "\n".join(f"{i},{c}" for i, c in enumerate(cells)))
    with pytest.raises(UserError, match="row 1201 of column 'door' is not a number"):
        read_channels(path)


def test_which_column_of_a_file_holds_the_labels(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    path.write_text("a,b\n" + "0,1\n" * 6)
    with pytest.raises(UserError, match="which column of"):
        read_channels(bad(), label=path)
    path.write_text("label\n" + "0\n" * 5)
    with pytest.raises(UserError, match="5 labels for 6 rows") as caught:
        read_channels(bad(), label=str(path))
    assert "header" in caught.value.hint
