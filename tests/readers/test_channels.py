"""Tables of channels in every shape to the same series."""

from __future__ import annotations

import gzip
import io
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from lstmkit.errors import UserError
from lstmkit.readers.tables import Channels, ChannelTable, read_channels

START = np.datetime64("2024-01-01T00:00:00", "us")
MINUTE = np.timedelta64(60, "s")


def minutes(count: int, start: np.datetime64 = START) -> np.ndarray:
    return start + np.arange(count) * MINUTE


def frame(rows: int = 40, seed: int = 0) -> pl.DataFrame:
    """Minutes, three channels with a hole, nothing else."""
    rng = np.random.default_rng(seed)
    cpu, errors = rng.normal(50, 5, rows).round(3), rng.poisson(3, rows)
    cpu[7] = np.nan
    up = rng.random(rows) < 0.9
    table = {"timestamp": minutes(rows), "cpu": cpu, "errors": errors, "up": up}
    return pl.DataFrame(table).with_columns(pl.col("cpu").fill_nan(None))


def hosts(*names: Any, rows: int = 20, column: str = "host") -> pl.DataFrame:
    parts = [
        frame(rows, seed).select(pl.lit(name).alias(column), pl.all())
        for seed, name in enumerate(names)
    ]
    return pl.concat(parts)


def write(folder: Path, text: str | bytes, name: str = "data.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def said(table: ChannelTable, text: str) -> bool:
    return any(text in note for note in table.notes)


def same(left: list[Channels], right: list[Channels]) -> None:
    assert [one.id for one in left] == [one.id for one in right]
    for a, b in zip(left, right, strict=True):
        np.testing.assert_array_equal(a.time, b.time)
        np.testing.assert_array_equal(a.values, b.values)
        np.testing.assert_array_equal(a.rows, b.rows)


# --- one table, many forms


def test_a_table_is_one_series_of_its_columns_of_numbers() -> None:
    table = read_channels(frame())
    assert table.channels == ["cpu", "errors", "up"]
    assert (table.time_column, table.id_columns, table.freq) == ("timestamp", [], "1m")
    assert (table.kind, table.label_column, table.numbered) == ("polars", None, False)
    (one,) = table.series
    assert one.id == () and one.labels is None
    assert one.values.shape == (40, 3) and one.values.dtype == np.float64
    assert np.isnan(one.values[7, 0]) and np.isnan(one.values).sum() == 1
    assert set(one.values[:, 2]) == {0.0, 1.0}
    np.testing.assert_array_equal(one.values[:, 1], frame()["errors"].to_numpy())
    np.testing.assert_array_equal(one.time, minutes(40))
    np.testing.assert_array_equal(one.rows, np.arange(40))


@pytest.mark.parametrize("make", ["csv", "gz", "semicolons", "parquet", "pandas", "lazy", "index"])
def test_every_form_is_the_same_series(tmp_path: Path, make: str) -> None:
    data = frame()
    given: Any = data.lazy()
    if make in ("csv", "gz", "semicolons"):
        text = data.write_csv(separator=";" if make == "semicolons" else ",").encode()
        given = write(tmp_path, gzip.compress(text) if make == "gz" else text)
    elif make == "parquet":
        given = tmp_path / "data.parquet"
        data.write_parquet(given)
    elif make in ("pandas", "index"):
        given = pd.DataFrame(data.to_dict(as_series=False))
        given = given.set_index("timestamp") if make == "index" else given
    table = read_channels(given)
    same(table.series, read_channels(data).series)
    kinds = {"parquet": "parquet", "pandas": "pandas", "index": "pandas", "lazy": "polars"}
    assert table.kind == kinds.get(make, "csv")


def test_standard_input_and_globs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = frame()
    first = write(tmp_path, data.head(25).write_csv(), "part-1.csv")
    write(tmp_path, data.tail(15).write_csv(), "part-2.csv")
    same(read_channels(str(tmp_path / "part-*.csv")).series, read_channels(data).series)
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(first.read_bytes())))
    assert len(read_channels("-").series[0].rows) == 25


def test_numbers_without_a_header_get_names_and_row_numbers(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    text = "\n".join(",".join(f"{v:.6f}" for v in row) for row in rng.random((30, 38)))
    path = write(tmp_path, gzip.compress(text.encode()), "machine.txt.gz")
    table = read_channels(path)
    assert len(table.channels) == 38 and table.channels[0] == "column_1"
    assert said(table, "no header") and said(table, "rows are numbered")
    assert (table.time_column, table.freq, table.numbered) == ("time", "1i", True)
    np.testing.assert_array_equal(table.series[0].time, np.arange(1, 31))


# --- several series


@pytest.mark.parametrize("ids", [("a", "b", "c"), (3, 1, 2), ("10.0.0.1", "10.0.0.2")])
def test_a_row_an_id_and_time_is_a_series_an_id(tmp_path: Path, ids: tuple[Any, ...]) -> None:
    long = hosts(*ids)
    mixed = long.with_row_index("n").sort("timestamp", "n").drop("n")
    for data in (long, mixed, write(tmp_path, mixed.write_csv())):
        table = read_channels(data)
        assert table.id_columns == ["host"] and table.ids == [(name,) for name in ids]
        assert table.channels == ["cpu", "errors", "up"] and said(table, f"series: {len(ids)}")
        for seed, one in enumerate(table.series):
            np.testing.assert_array_equal(one.values[:, 1], frame(20, seed)["errors"])


def test_rows_of_a_series_point_at_the_users_rows() -> None:
    mixed = hosts("a", "b").sort("timestamp", "host", descending=True)
    table = read_channels(mixed)
    for one in table.series:
        assert set(table.frame["host"].gather(one.rows)) == {one.id[0]}
        np.testing.assert_array_equal(table.frame["errors"].gather(one.rows), one.values[:, 1])


def test_two_numeric_columns_may_name_the_series_where_times_are_shared() -> None:
    data = hosts(7, 9, column="rack").with_columns(pl.lit(1).alias("row"))
    assert read_channels(data).id_columns == ["rack"]
    apart = read_channels(data, id="rack, row")
    assert apart.id_columns == ["rack", "row"] and apart.ids == [(7, 1), (9, 1)]


def test_numbers_never_name_a_series_where_times_are_not_shared() -> None:
    data = frame().with_columns(pl.Series("state", [1, 2] * 20), pl.Series("mode", ["x"] * 40))
    table = read_channels(data)
    assert table.id_columns == [] and "state" in table.channels
    assert said(table, "without numbers are left out: mode")


def test_a_clock_put_back_for_an_hour_makes_no_ids_of_numbers() -> None:
    """One hour in sixty comes twice; a state that tells the rows apart is still no id."""
    times = np.concatenate([minutes(1800), minutes(1740, START + 1740 * MINUTE)])
    data = pl.DataFrame(
        {"time": times, "state": np.repeat([0, 1], [1800, 1740]), "y": times.astype(float) % 7}
    )
    table = read_channels(data)
    assert table.id_columns == [] and table.channels == ["state", "y"]
    assert said(table, "60 rows repeat a time")


def test_a_text_that_tells_only_some_rows_apart_is_no_id() -> None:
    times = np.concatenate([minutes(100), minutes(10, START + 90 * MINUTE)])
    state = ["up"] * 105 + ["down"] * 5
    data = pl.DataFrame({"time": times, "state": state, "y": times.astype(float) % 7})
    assert read_channels(data).id_columns == []


def test_settled_ids_are_not_searched() -> None:
    assert len(read_channels(hosts("a", "b"), id=[]).series) == 1
    assert len(read_channels(hosts("a", "b"), id=["host"]).series) == 2


def test_without_times_only_plain_ids_name_series() -> None:
    data = hosts("a", "b").drop("timestamp").with_columns(pl.lit("ok").alias("mood"))
    assert read_channels(data).ids == [("a",), ("b",)]
    numbers = hosts(4, 5, column="device_id").drop("timestamp")
    table = read_channels(numbers)
    assert table.ids == [(4,), (5,)] and table.series[1].time[0] == 1
    states = hosts(4, 5, column="state").drop("timestamp")
    assert read_channels(states).channels[0] == "state"


# --- which column is a channel


LABELS = ("label", "is_anomaly", "Anomaly", "attack", "y_true", "Normal/Attack")


@pytest.mark.parametrize("name", LABELS)
def test_labels_never_become_channels_by_accident(tmp_path: Path, name: str) -> None:
    for cells in ([0, 1], [False, True], ["0", "1"], ["Normal", "Attack"]):
        data = frame().with_columns(pl.Series(name, cells * 20))
        for given in (data, write(tmp_path, data.write_csv())):
            table = read_channels(given)
            assert table.channels == ["cpu", "errors", "up"], cells
            assert said(table, f"--label {name}") and table.series[0].labels is None


def test_what_is_named_like_a_label_and_is_none_is_watched() -> None:
    scores = frame().with_columns(pl.Series("anomaly", np.linspace(0, 1, 40)))
    assert "anomaly" in read_channels(scores).channels
    data = frame().with_columns(pl.Series("label", [0, 1] * 20))
    assert read_channels(data, channels=["label", "cpu"]).channels == ["label", "cpu"]


def test_counters_clocks_and_text_are_left_out_and_told() -> None:
    data = frame().with_columns(
        pl.int_range(100, 140).alias("record"),
        pl.lit("fine").alias("remark"),
        pl.Series("t", np.linspace(0, 1, 40)),
    )
    table = read_channels(data)
    assert table.channels == ["cpu", "errors", "up"]
    assert said(table, "'record' only counts") and said(table, "'t' is named like a time")
    assert said(table, "left out: remark")
    assert read_channels(data, channels="record,t").channels == ["record", "t"]


@pytest.mark.parametrize("name", ["response_time", "wait_time", "update"])
def test_a_channel_that_is_named_like_a_time_does_not_sort_the_rows(name: str) -> None:
    cells = np.random.default_rng(2).integers(100, 900, 40)
    data = frame().drop("timestamp").with_columns(pl.Series(name, cells))
    table = read_channels(data)
    assert table.numbered and table.channels[-1] == name
    np.testing.assert_array_equal(table.series[0].values[:, -1], cells)
    growing = data.with_columns(pl.Series(name, np.sort(cells).cumsum()))
    assert read_channels(growing, freq="1i").time_column == name


def test_flags_in_text_are_zeros_and_ones(tmp_path: Path) -> None:
    text = "time,door,y\n" + "\n".join(
        f"{i},{['True', 'false', ''][i % 3]},{i * i}" for i in range(9)
    )
    table = read_channels(write(tmp_path, text))
    assert table.channels == ["door", "y"]
    np.testing.assert_array_equal(table.series[0].values[:3, 0], [1, 0, np.nan])


def test_ignored_and_named_columns() -> None:
    data = frame().with_columns(pl.col("cpu").alias("spare"))
    assert read_channels(data, ignore=["spare", "up"]).channels == ["cpu", "errors"]
    assert read_channels(data, channels="up, cpu").channels == ["up", "cpu"]


def test_still_and_empty_channels_are_kept_and_told() -> None:
    data = frame().with_columns(pl.lit(3.5).alias("still"), pl.lit(None).alias("empty"))
    table = read_channels(data)
    assert table.channels[-2:] == ["still", "empty"]
    assert said(table, "constant channels (1): still")
    assert said(table, "without a value (1): empty")
    assert np.isnan(table.series[0].values[:, -1]).all()


# --- a model's channels


def test_a_models_channels_are_taken_by_name_in_its_order() -> None:
    data = frame().with_columns(pl.lit(1.0).alias("new"), pl.Series("label", [0, 1] * 20))
    table = read_channels(data.select(reversed(data.columns)), trained=["cpu", "errors", "up"])
    np.testing.assert_array_equal(table.series[0].values, read_channels(frame()).series[0].values)
    assert said(table, "does not watch: new") and said(table, "--label label")
    labelled = read_channels(data, trained=["up", "label"])
    assert labelled.channels == ["up", "label"]


def test_a_models_channels_are_never_times_or_ids() -> None:
    data = hosts(7, 9, column="rack")
    table = read_channels(data, trained=["rack", "cpu"], id=[], time="timestamp", freq="1i")
    assert table.channels == ["rack", "cpu"] and table.id_columns == []
    steps = pl.DataFrame({"step": np.arange(20), "y": np.arange(20.0)})
    assert read_channels(steps, trained=["step", "y"]).numbered


def test_missing_channels_are_named_with_near_ones() -> None:
    data = frame().rename({"cpu": "CPU_load", "errors": "error"})
    with pytest.raises(UserError, match="2 of the 3 channels") as caught:
        read_channels(data, trained=["errors", "up", "cpu"])
    assert "errors, cpu" in caught.value.what and "'error'" in caught.value.hint


# --- labels


WORDS = [("0", "1"), ("false", "True"), ("no", "YES"), ("Normal", "Anomaly"), ("Normal", "A ttack")]


@pytest.mark.parametrize("words", [*WORDS, ("0.0", "1.0")])
def test_labels_in_words(tmp_path: Path, words: tuple[str, str]) -> None:
    cells = [words[i in (3, 4, 9)] for i in range(39)] + [""]
    path = write(tmp_path, frame().with_columns(pl.Series("Normal/Attack", cells)).write_csv())
    table = read_channels(path, label="Normal/Attack")
    (one,) = table.series
    assert one.labels is not None and table.label_column == "Normal/Attack"
    assert np.flatnonzero(one.labels == 1).tolist() == [3, 4, 9]
    assert np.isnan(one.labels[39]) and np.isnan(one.labels).sum() == 1
    assert "Normal/Attack" not in table.channels
    assert said(table, "labels of Normal/Attack: 3 of 40 rows are anomalies, 1 unknown")


def truth_of(table: ChannelTable) -> list[float]:
    labels = table.series[0].labels
    assert labels is not None and table.label_column is None
    return np.flatnonzero(labels).tolist()


def test_labels_from_elsewhere(tmp_path: Path) -> None:
    truth = np.zeros(40, int)
    truth[[5, 6]] = 1
    lines = "\n".join(map(str, truth))
    bare = write(tmp_path, gzip.compress(lines.encode()), "truth.txt.gz")
    wide = write(
        tmp_path, "n,label\n" + "\n".join(f"{i},{v}" for i, v in enumerate(truth)), "t.csv"
    )
    arrays = (truth, truth == 1, truth.astype(float)[:, None], truth.tolist(), pd.Series(truth))
    for label in (*arrays, pl.Series(truth), bare, str(bare), wide):
        assert truth_of(read_channels(frame(), label=label)) == [5, 6]
    named = frame().with_columns(pl.Series("attack", truth))
    assert truth_of(read_channels(named, label=truth)) == [5, 6]
    words = ["normal"] * 39 + ["attack"]
    assert truth_of(read_channels(frame(), label=words)) == [39]


def test_labels_follow_their_rows_through_sorting_and_gaps() -> None:
    truth = (np.arange(40) % 5 == 0).astype(float)
    data = frame().with_columns(pl.Series("label", truth))
    shuffled = data.sample(fraction=1.0, shuffle=True, seed=3).filter(pl.col("errors") != 3)
    table = read_channels(shuffled, label="label", freq="1m")
    (one,) = table.series
    assert one.labels is not None and said(table, "steps have no row")
    there = one.rows >= 0
    steps = ((one.time - START) // MINUTE).astype(int)
    np.testing.assert_array_equal(one.labels[there], truth[steps[there]])
    assert np.isnan(one.labels[~there]).all() and np.isnan(one.values[~there]).all()
    alone = read_channels(shuffled.drop("label"), label=shuffled["label"], freq="1m")
    np.testing.assert_array_equal(alone.series[0].labels, one.labels)


@pytest.mark.parametrize(
    ("label", "text"),
    [
        (np.zeros(39), "39 labels for 40 rows"),
        (np.zeros((40, 2)), "80 labels for 40 rows"),
        (["maybe"] + ["0"] * 39, "'maybe'"),
        ([2] + [0] * 39, r"'?2'?"),
        ([None] * 40, "all missing"),
        ("upp", "did you mean up"),
    ],
)
def test_bad_labels(label: Any, text: str) -> None:
    with pytest.raises(UserError, match=text):
        read_channels(frame(), label=label)
