"""Tables in every shape to the same series, back again, and every way in which they can be bad."""

from __future__ import annotations

import contextlib
import gzip
import io
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lstmkit.errors import UserError
from lstmkit.readers import tables
from lstmkit.readers.tables import Series, SeriesTable, read_series

HOURS = pd.date_range("2024-01-01", periods=4, freq="h")
ZONED = pd.Timestamp("2024-01-01", tz="UTC")


def write(folder: Path, text: str | bytes, name: str = "data.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def same(left: list[Series], right: list[Series]) -> None:
    assert [tuple(map(str, s.id)) for s in left] == [tuple(map(str, s.id)) for s in right]
    for a, b in zip(left, right, strict=True):
        np.testing.assert_array_equal(a.time, b.time)
        np.testing.assert_array_equal(a.values, b.values)


def days(count: int, start: str = "2024-01-01") -> list[str]:
    return [str(np.datetime64(start) + i) for i in range(count)]


def column(rows: list[str], values: list[str] | None = None, separator: str = ";") -> str:
    values = values or [str(i) for i in range(len(rows))]
    return f"ds{separator}y\n" + "\n".join(
        f"{a}{separator}{b}" for a, b in zip(rows, values, strict=True)
    )


def times_of(folder: Path, rows: list[str], **options: Any) -> list[str]:
    read = read_series(write(folder, column(rows)), **options)
    return [str(t) for t in read.series[0].time.astype("datetime64[s]")]


# --- the same series from every layout


@st.composite
def series_lists(draw: st.DrawFn) -> list[Series]:
    number = st.floats(-1e6, 1e6, width=32) | st.just(np.nan)
    found = []
    for i in range(draw(st.integers(2, 4))):
        middle = draw(st.lists(number, min_size=1, max_size=6))
        values = np.array([draw(st.integers(0, 9)), *middle, draw(st.integers(0, 9))], np.float64)
        time = np.arange(1, len(values) + 1)
        found.append(Series((f"s{i}",), time, values))
    return found


def long_frame(series: list[Series]) -> pl.DataFrame:
    parts = [
        pl.DataFrame({"name": [s.id[0]] * len(s.time), "t": s.time, "value": s.values})
        for s in series
    ]
    return pl.concat(parts).fill_nan(None)


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(series_lists(), st.randoms(use_true_random=False))
def test_long_wide_and_rows_are_the_same_series(series: list[Series], random: Any) -> None:
    long = long_frame(series)
    shuffled = long.sample(fraction=1.0, shuffle=True, seed=random.randint(0, 999))
    shuffled = pl.concat([shuffled.filter(pl.col("name") == s.id[0]) for s in series])
    wide = long.pivot("name", index="t", values="value").sort("t")
    size = max(len(s.values) for s in series)
    padded = [np.pad(s.values, (0, size - len(s.values)), constant_values=np.nan) for s in series]
    cells = {f"V{i + 2}": [p[i] for p in padded] for i in range(size)}
    rows = pl.DataFrame({"V1": [s.id[0] for s in series], **cells}).fill_nan(None)
    for frame, layout in ((long, "long"), (shuffled, "long"), (wide, "wide"), (rows, "rows")):
        table = read_series(frame)
        assert (table.layout, table.freq) == (layout, "1i")
        same(table.series, series)


@settings(deadline=None, max_examples=8)
@given(series_lists())
def test_csv_parquet_pandas_and_polars_agree(series: list[Series]) -> None:
    frame = long_frame(series)
    for data in (frame, frame.lazy(), pd.DataFrame(frame.to_dict(as_series=False))):
        same(read_series(data).series, series)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
def test_separators_and_compression(tmp_path: Path, separator: str, suffix: str) -> None:
    text = column(days(4), separator=separator).encode()
    text = gzip.compress(text) if suffix.endswith("gz") else text
    table = read_series(write(tmp_path, text, f"data.{suffix}"))
    assert table.series[0].values.tolist() == [0, 1, 2, 3]
    assert (table.freq, table.kind, table.id_columns) == ("1d", "csv", [])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    text = "Geschäft,ds,y\n" + "".join(f"Köln,{day},{i}\n" for i, day in enumerate(days(3)))
    table = read_series(write(tmp_path, text.encode(encoding)), id="Geschäft")
    assert table.series[0].id == ("Köln",)
    assert any("UTF-" in note for note in table.notes) == (encoding in ("utf-16", "cp1252"))


def test_standard_input_globs_and_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = days(6)
    first = write(tmp_path, column(rows[:3]), "a1.csv")
    second = write(tmp_path, column(rows[3:], ["3", "4", "5"]), "a2.csv")
    for data in ([first, second], str(tmp_path / "a*.csv"), [str(second), first]):
        assert read_series(data).series[0].values.tolist() == [0, 1, 2, 3, 4, 5]
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(first.read_bytes())))
    assert len(read_series("-").series[0].values) == 3


def test_zstd(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("compression.zstd", reason="Python 3.14 writes zstd")
    path = write(tmp_path, zstandard.compress(column(days(3)).encode()), "data.csv.zst")
    assert len(read_series(path).series[0].values) == 3


# --- which column is what


def test_several_id_columns_are_found_and_no_more_than_needed(tmp_path: Path) -> None:
    rows = ["date,store,item,promo,price,sales"]
    for day in days(5):
        for store, item in ((1, "a"), (1, "b"), (2, "a")):
            rows.append(f"{day},{store},{item},no,2.5,{store * 10}")
    table = read_series(write(tmp_path, "\n".join(rows)))
    assert (table.id_columns, table.time_column, table.target_column) == (
        ["store", "item"], "date", "sales",
    )  # fmt: skip
    assert [s.id for s in table.series] == [(1, "a"), (1, "b"), (2, "a")]
    assert any("not used: promo, price" in note for note in table.notes)
    given_ids = read_series(tmp_path / "data.csv", id="store,item", target="price")
    assert given_ids.series[0].values.tolist() == [2.5] * 5


def test_index_of_pandas_is_time_and_wide_columns_are_series() -> None:
    frame = pd.DataFrame({"a": [1.0, 2, 3, 4], "b": [5, 6, 7, 8]}, index=HOURS)
    table = read_series(frame)
    assert (table.layout, table.freq, table.time_column) == ("wide", "1h", "ds")
    assert table.series[1].id == ("b",) and table.series[1].values.tolist() == [5, 6, 7, 8]
    assert read_series(frame["a"]).series[0].values.tolist() == [1, 2, 3, 4]


def test_header_of_numbers_is_no_header(tmp_path: Path) -> None:
    table = read_series(write(tmp_path, "1.5,2\n2.5,3\n3.5,4\n"))
    assert [s.values.tolist() for s in table.series] == [[1.5, 2.5, 3.5], [2, 3, 4]]
    assert table.freq == "1i" and any("no header" in note for note in table.notes)


def test_text_ids_with_zeros_stay_text_and_integers_become_integers(tmp_path: Path) -> None:
    lines = [f"{name},{day},1" for name in ("007", "8") for day in days(3)]
    table = read_series(write(tmp_path, "id,ds,y\n" + "\n".join(lines)))
    assert [s.id for s in table.series] == [("007",), ("8",)]
    table = read_series(write(tmp_path, ("id,ds,y\n" + "\n".join(lines)).replace("007", "7")))
    assert [s.id for s in table.series] == [(7,), (8,)]


# --- numbers


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1,5", "2,25", "1000"], [1.5, 2.25, 1000]),
        (["1.234,5", "12,25", "1.000.000,0"], [1234.5, 12.25, 1e6]),
        (["1,234.5", "12.25", "1,000,000"], [1234.5, 12.25, 1e6]),
        (["1 234,5", "12,25", "1\u00a0000\u00a0000"], [1234.5, 12.25, 1e6]),
        (["1'234.5", "12", "3"], [1234.5, 12, 3]),
        (["0,123", "4,567", "1"], [0.123, 4.567, 1]),
        (["1,234", "2,345", "3,456"], [1.234, 2.345, 3.456]),
        (["1.234,5", "1.234.567", "12"], [1234.5, 1234567, 12]),
        (["1e3", "-2.5E-1", "+3"], [1000, -0.25, 3]),
    ],
)
def test_decimal_commas_and_thousands(
    tmp_path: Path, cells: list[str], expected: list[float]
) -> None:
    read = read_series(write(tmp_path, column(days(3), cells)), time="ds", target="y")
    np.testing.assert_allclose(read.series[0].values, expected)


def test_a_thousand_or_a_fraction_is_asked(tmp_path: Path) -> None:
    path = write(tmp_path, column(days(2), ['"1,234"', '"2,345"'], ","))
    with pytest.raises(UserError, match="two ways"):
        read_series(path)


@pytest.mark.parametrize("mark", ["", "NA", "NaN", "null", "-", "?", "N/A", " n/a ", "."])
def test_marks_of_missing_values(tmp_path: Path, mark: str) -> None:
    values = read_series(write(tmp_path, column(days(3), ["1", mark, "3"]))).series[0].values
    np.testing.assert_array_equal(values, [1, np.nan, 3])


# --- times


@pytest.mark.parametrize(
    ("rows", "first", "freq"),
    [
        (["2024-01-31 13:00:00", "2024-01-31T14:00:00"], "2024-01-31T13:00:00", "1h"),
        (["2024-01-31T13:00:00Z", "2024-01-31T14:00:00Z"], "2024-01-31T13:00:00", "1h"),
        (["2024-01-31 13:00+02:00", "2024-01-31 14:00+02:00"], "2024-01-31T11:00:00", "1h"),
        (["2024-01-31 00:00+02:00", "2024-02-01 00:00+02:00"], "2024-01-31T00:00:00", "1d"),
        (["2024-01-31 13:00", "2024-01-31 13:15"], "2024-01-31T13:00:00", "15m"),
        (["2024-01-31 13:00:00.5", "2024-01-31 13:00:01"], "2024-01-31T13:00:00", "500ms"),
        (["1/31/2024 1:30 PM", "1/31/2024 2:30 PM"], "2024-01-31T13:30:00", "1h"),
        (["2024/01/31", "2024/02/01"], "2024-01-31T00:00:00", "1d"),
        (["20240131", "20240201"], "2024-01-31T00:00:00", "1d"),
        (["31.01.2024", "01.02.2024"], "2024-01-31T00:00:00", "1d"),
        (["31/01/24", "01/02/24"], "2024-01-31T00:00:00", "1d"),
        (["01/31/2024", "02/01/2024"], "2024-01-31T00:00:00", "1d"),
        (["31 Jan 2024", "1 Feb 2024"], "2024-01-31T00:00:00", "1d"),
        (["January 31, 2024", "February 1, 2024"], "2024-01-31T00:00:00", "1d"),
        (["2024-01", "2024-02"], "2024-01-01T00:00:00", "1mo"),
        (["202401", "202402"], "2024-01-01T00:00:00", "1mo"),
        (["Jan 2024", "Feb 2024"], "2024-01-01T00:00:00", "1mo"),
        (["2024Q1", "2024Q2"], "2024-01-01T00:00:00", "1q"),
        (["2024-Q1", "2024-Q2"], "2024-01-01T00:00:00", "1q"),
        (["2023", "2024"], "2023-01-01T00:00:00", "1y"),
        (["2023-12-31", "2024-01-31"], "2023-12-31T00:00:00", "1mo-end"),
        (["1467331200", "1467334800"], "2016-07-01T00:00:00", "1h"),
        (["1467331200000", "1467334800000"], "2016-07-01T00:00:00", "1h"),
    ],
)
def test_formats_of_time_and_their_way_back(
    tmp_path: Path, rows: list[str], first: str, freq: str
) -> None:
    table = read_series(write(tmp_path, column(rows)))
    series = table.series[0]
    assert str(series.time[0].astype("datetime64[s]")) == first and table.freq == freq
    back = tables.forecast_frame(table, [()] * 2, series.time, {"y_hat": series.values})
    again = read_series(back, time="ds", target="y_hat")
    np.testing.assert_array_equal(again.series[0].time, series.time)
    exact = not rows[0].startswith(
        ("1/31", "January", "2024-01-31 13:00:00.5", "2024-01-31 13:00:00")
    )
    assert not exact or str(back["ds"][0]) == rows[0]


def test_day_first_is_found_forced_and_ambiguity_told(tmp_path: Path) -> None:
    ambiguous = ["01/02/2024", "02/02/2024", "03/02/2024"]
    assert times_of(tmp_path, ambiguous)[0] == "2024-01-02T00:00:00"
    assert any("two ways" in n for n in read_series(tmp_path / "data.csv").notes)
    assert times_of(tmp_path, ambiguous, day_first=True)[0] == "2024-02-01T00:00:00"
    clear = ["11/02/2024", "12/02/2024", "13/02/2024"]
    assert times_of(tmp_path, clear)[0] == "2024-02-11T00:00:00"
    notes = read_series(tmp_path / "data.csv").notes
    assert any("day-first" in note and "two ways" not in note for note in notes)


def test_integer_time_and_no_time_at_all(tmp_path: Path) -> None:
    table = read_series(write(tmp_path, column(["1", "3", "5", "9"])))
    assert (table.freq, table.series[0].time.tolist()) == ("2i", [1, 3, 5, 7, 9])
    table = read_series(write(tmp_path, "y\n5\n6\n7\n"))
    assert (table.freq, table.series[0].time.tolist()) == ("1i", [1, 2, 3])
    assert any("numbered" in note for note in table.notes)


def test_one_zone_is_kept_and_restored() -> None:
    hours = pd.date_range("2024-03-30 20:00", periods=9, freq="h", tz="Europe/Paris")
    table = read_series(pd.DataFrame({"ds": hours, "y": range(9)}))
    assert (table.time_zone, table.freq) == ("Europe/Paris", "1h")
    assert str(table.series[0].time[0]) == "2024-03-30T19:00:00.000000"
    frame = tables.forecast_frame(
        table, [()], table.series[0].time[None], {"y_hat": np.zeros((1, 9))}
    )
    back = tables.to_user_kind(frame, table.kind)
    assert list(back["ds"]) == list(hours)


def test_days_of_a_zone_lie_on_its_wall_clock() -> None:
    zoned = pd.date_range("2024-03-29", periods=5, freq="D", tz="Europe/Paris")
    table = read_series(pd.DataFrame({"ds": zoned, "y": range(5)}))
    assert table.freq == "1d" and len(table.series[0].values) == 5
    frame = tables.forecast_frame(table, [()] * 5, table.series[0].time, {"q": np.zeros(5)})
    assert list(tables.to_user_kind(frame, "pandas")["ds"]) == list(zoned)


def test_daylight_saving_in_local_hours_and_offsets(tmp_path: Path) -> None:
    zone = "Europe/Paris"
    for start in ("2024-03-30", "2024-10-26"):
        hours = pd.date_range(start, periods=48, freq="h", tz=zone)
        naive = pd.DataFrame({"ds": hours.tz_localize(None), "y": range(48)})
        assert read_series(naive).freq == "1h"
        offsets = read_series(write(tmp_path, column([h.isoformat() for h in hours])))
        assert offsets.series[0].values.tolist() == list(range(48))
        assert any("daylight" in note for note in offsets.notes)


# --- the grid


def test_unsorted_duplicated_and_missing_rows_are_repaired_and_told(tmp_path: Path) -> None:
    rows = ["2024-01-03", "2024-01-01", "2024-01-02", "2024-01-02", "2024-01-06", "2024-01-05"]
    table = read_series(write(tmp_path, column(rows)))
    np.testing.assert_array_equal(table.series[0].values, [1, 3, 0, np.nan, 5, 4])
    said = " ".join(table.notes)
    assert "sorted" in said and "1 rows repeat" in said and "1 of 6 steps have no value" in said


def test_ends_without_values_are_cut(tmp_path: Path) -> None:
    text = "ds,a,b\n" + "\n".join(
        ["2024-01-01,,1", "2024-01-02,5,2", "2024-01-03,6,", "2024-01-04,7,"]
    )
    table = read_series(write(tmp_path, text))
    assert [s.values.tolist() for s in table.series] == [[5, 6, 7], [1, 2]]
    assert str(table.series[0].time[0])[:10] == "2024-01-02"
    assert any("1 of 2 series end before" in note for note in table.notes)


def test_series_without_values_are_skipped_and_constant_ones_told(tmp_path: Path) -> None:
    text = "ds,a,b\n" + "\n".join(f"{day},,7" for day in days(4))
    table = read_series(write(tmp_path, text))
    assert [s.id for s in table.series] == [("b",)]
    said = " ".join(table.notes)
    assert "1 of 2 series skipped" in said and "1 of 2 series are constant" in said


def test_given_frequency_takes_rows_to_the_nearest_step(tmp_path: Path) -> None:
    rows = [
        "2024-01-01 00:00:07",
        "2024-01-01 00:04:41",
        "2024-01-01 00:10:30",
        "2024-01-01 00:15:02",
    ]
    path = write(tmp_path, column(rows))
    with pytest.raises(UserError, match=r"do not fit.*\n.*\n.*\n.*--freq"):
        read_series(path)
    table = read_series(path, freq="5min")
    assert table.freq == "5m" and table.series[0].values.tolist() == [0, 1, 2, 3]
    assert str(table.series[0].time[0]) == "2024-01-01T00:00:00.000000"
    with pytest.raises(UserError, match="several rows fall into one step"):
        read_series(path, freq="1h")


def test_a_date_far_away_does_not_fill_the_memory(tmp_path: Path) -> None:
    rows = [f"2024-01-01 00:00:{i:02}" for i in range(9)] + ["2094-01-01 00:00:00"]
    with pytest.raises(UserError, match="would make"):
        read_series(write(tmp_path, column(rows)))


# --- bad input, each a clear line

GOOD = column(days(3), separator=",")


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        ("", {}, "is empty"),
        ("  \n \n", {}, "is empty"),
        ("ds,y\n", {}, "header and no rows"),
        ("ds,y\n2024-01-01,1\n", {}, "one row"),
        (GOOD, {"target": "Y1"}, r"no column 'Y1'[\s\S]*did you mean y"),
        (GOOD, {"time": "dss"}, r"no column 'dss'[\s\S]*did you mean ds"),
        (GOOD, {"time": "y", "target": "y"}, "'y' is the target and also"),
        (GOOD, {"freq": "fortnight"}, "not a frequency"),
        (GOOD, {"layout": "tall"}, "layout 'tall'"),
        (GOOD, {"layout": "wide", "target": "y"}, "wide table"),
        (column(days(3), ["1", "2", "much"], ","), {"target": "y"}, r"row 3[\s\S]*'much'"),
        (column(days(3), ["1,5", "2,5", "1,2,3"]), {"target": "y"}, r"row 3[\s\S]*'1,2,3'"),
        (column(days(3), ["1,500.5", "2,5.1", "3.1"]), {"target": "y"}, r"row 2[\s\S]*'2,5.1'"),
        (
            "year,month,y\n" + "2020,1,5\n2020,2,6\n2020,3,7\n2021,1,5\n2021,2,6\n2021,3,7\n",
            {},
            "repeat a time",
        ),
        (column(days(3), ["1", "inf", "3"], ","), {}, "row 2 of column 'y' is infinite"),
        (column(days(3), ["", "NA", "?"], ","), {"target": "y"}, "no series has a value"),
        (column(["2024-01-01", "2024-01-02", "soon"], None, ","), {}, r"row 3[\s\S]*'soon'"),
        (column(["2024-01-01", "", "2024-01-03"], None, ","), {}, "row 2 has no time"),
        (column(["2024-01-01T00:00Z", "2024-01-01T01:00+05:30"]), {}, "several time zones"),
        (column(["2024-01-01T00:00Z", "2024-01-01T01:00"]), {}, "several time zones"),
        ("ds,y,y\n2024-01-01,1,2\n", {}, "more than one column named 'y'"),
        ("ds,y\n2024-01-01,1\n2024-01-02,2,3\n", {}, r"2 columns[\s\S]*line 3"),
        ("ds,a\n2024-01-01,x\n2024-01-02,z\n", {}, "no column holds numbers"),
        (b"\x00\x01\x02binary\x00" * 9, {}, "not a table"),
        (b"PK\x03\x04zip\x00", {}, r"not a table[\s\S]*as CSV"),
        (b"PAR1 broken PAR1", {}, "damaged Parquet"),
        (b"\x1f\x8b\x08 broken", {}, "cannot be read"),
        (b"\x28\xb5\x2f\xfd broken", {}, "cannot be read"),
    ],
)
def test_bad_files(tmp_path: Path, text: str | bytes, options: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        read_series(write(tmp_path, text), **options)


def test_bad_sources(tmp_path: Path) -> None:
    for data, says in [
        (tmp_path / "none.csv", "there is no file"),
        (str(tmp_path / "*.csv"), "there is no file"),
        (tmp_path, "cannot be read"),
        (3, "type int"),
        ([], "type list"),
        (pl.DataFrame(), "is empty"),
        (pd.DataFrame({"ds": [], "y": []}), "no rows"),
        (
            pd.DataFrame({"ds": [ZONED, ZONED.tz_convert("Asia/Tokyo")], "y": [1, 2]}),
            "several time",
        ),
        (pl.DataFrame({"ds": [1, 2], "y": [[1], [2]]}), "no numbers"),
        (pl.DataFrame({"ds": [1, 2], "y": [1.0, np.inf]}), "infinite"),
        (pd.DataFrame([[1, 2], [3, 4]], columns=["y", "y"]), "more than one column named 'y'"),
    ]:
        with pytest.raises(UserError, match=says):
            read_series(data)


def test_rows_that_mostly_repeat_times_want_an_id(tmp_path: Path) -> None:
    text = "ds,y\n" + "\n".join(f"{day},{i}" for day in days(3) for i in range(4))
    with pytest.raises(UserError, match="--id"):
        read_series(write(tmp_path, text))


def test_files_with_other_columns_do_not_mix(tmp_path: Path) -> None:
    paths = [write(tmp_path, GOOD, "a.csv"), write(tmp_path, GOOD.replace("y", "z"), "b.csv")]
    with pytest.raises(UserError, match="other columns"):
        read_series(paths)


# --- forecasts out


def frame_table(**changes: Any) -> SeriesTable:
    data = {"shop": [3, 3, 5, 5], "day": pl.Series(days(2) * 2).str.to_date(), "y": [1.0, 2, 3, 4]}
    return read_series(pl.DataFrame(data | changes), id="shop", time="day", target="y")


def test_forecast_has_the_users_names_and_types() -> None:
    table = frame_table()
    times = np.array([[t, t + np.timedelta64(1, "D")] for t in (s.time[-1] for s in table.series)])
    frame = tables.forecast_frame(
        table, [s.id for s in table.series], times, {"y_hat": np.ones((2, 2))}
    )
    assert frame.columns == ["shop", "day", "y_hat"]
    assert frame["shop"].to_list() == [3, 3, 5, 5] and frame["shop"].dtype == pl.Int64
    assert frame["day"].dtype == pl.Date and str(frame["day"][0]) == "2024-01-02"
    assert tables.to_user_kind(frame, "polars") is frame
    pandas = tables.to_user_kind(frame, "pandas")
    assert isinstance(pandas, pd.DataFrame) and pandas["shop"].dtype == np.int64
    with pytest.raises(ValueError, match="do not fit"):
        tables.forecast_frame(table, [(3,)], times, {})


@pytest.fixture
def plain_writes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Stands in for lstmkit.modelfile, whose atomic_write has its own tests."""
    module = types.ModuleType("lstmkit.modelfile")

    @contextlib.contextmanager
    def atomic_write(path: Path, mode: str = "wb") -> Iterator[Any]:
        with Path(path).open(mode) as file:
            yield file

    module.atomic_write = atomic_write  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lstmkit.modelfile", module)
    yield


@pytest.mark.usefixtures("plain_writes")
@pytest.mark.parametrize("name", ["out.csv", "out.csv.gz", "out.parquet"])
def test_written_tables_read_back(tmp_path: Path, name: str) -> None:
    table = frame_table()
    times = np.concatenate([s.time for s in table.series])
    frame = tables.forecast_frame(table, [(3,), (3,), (5,), (5,)], times, {"y_hat": np.arange(4.0)})
    tables.write_table(frame, tmp_path / name)
    back = read_series(tmp_path / name, target="y_hat", id="shop")
    assert [s.id for s in back.series] == [(3,), (5,)]
    assert [s.values.tolist() for s in back.series] == [[0, 1], [2, 3]]
    with pytest.raises(UserError, match="suffix"):
        tables.write_table(frame, tmp_path / "out.xlsx")
    with pytest.raises(UserError, match="cannot be written"):
        tables.write_table(frame, tmp_path / "nowhere" / name)


def test_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    tables.write_table(pl.DataFrame({"a": [1]}), "-")
    assert capsys.readouterr().out == "a\n1\n"
