"""Columns beside the target: roles, categories, what is known ahead, events, and bad wishes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstmkit.errors import UserError
from lstmkit.readers import covariate_columns, gaps
from lstmkit.readers.covariates import Covariate, category, dynamic, static
from lstmkit.readers.tables import SeriesTable, forecast_frame, read_series

NAN = float("nan")
ROLES: dict[str, Any] = {
    "id": "shop", "time": "day", "target": "sold",
    "known": "price,promo", "past": "visitors", "static": ["city"],
}  # fmt: skip


def days(count: int, start: str = "2024-01-01") -> list[str]:
    return [str(np.datetime64(start) + i) for i in range(count)]


def shops(**changes: Any) -> pl.DataFrame:
    """Two shops of six days, of which the last two have no target."""
    data = {
        "shop": ["a"] * 6 + ["b"] * 6,
        "day": days(6) * 2,
        "sold": [1.0, 2, 3, 4, None, None, 5, 6, None, 8, None, None],
        "price": [10.0, 11, 12, 13, 14, 15, 20, 21, None, 23, 24, 25],
        "promo": ["tv", "no", "tv", "", "no", "tv", "web", None, "no", "tv", "no", "web"],
        "visitors": [7.0, 7, 7, 7, 7, 7, 9, 9, 9, 9, 9, 9],
        "city": ["Rome"] * 6 + ["Oslo"] * 6,
    }
    return pl.DataFrame(data | changes)


def equal(left: SeriesTable, right: SeriesTable) -> None:
    assert left.covariates == right.covariates
    for a, b in zip(left.series, right.series, strict=True):
        for name in ("time", "values", "covariates", "static"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), name)


def said(table: SeriesTable) -> str:
    return " ".join(table.notes)


# --- one cell


def test_a_covariate_is_json_and_codes_cells() -> None:
    promo = Covariate("promo", "known", ("1", "tv", "true"))
    gap = Covariate("gap", "known", scale=3.5)
    for each in (promo, gap, Covariate("size", "static")):
        assert Covariate.from_json(each.to_json()) == each
    assert promo.codes(["tv", " tv ", "1.0", 1, True, "new", "", None, NAN]) == [
        2, 2, 1, 1, 3, 0, 0, 0, 0,
    ]  # fmt: skip
    size = Covariate("size", "static")
    np.testing.assert_array_equal(
        size.codes(["1.5", 2, True, "false", "", None, "n/a"]), [1.5, 2, 1, 0, NAN, NAN, NAN]
    )
    for cell in ("much", "inf", float("inf"), [1]):
        with pytest.raises(UserError, match="column 'size'"):
            size.code(cell)
    assert [c.name for c in dynamic([promo, size, gap])] == ["promo", "gap"]
    assert static([promo, size, gap]) == [size]


def test_categories_have_one_name_whatever_the_type() -> None:
    cells = [1, 1.0, "1", "1.00", np.float32(1), "+1.5", "v1.0", "Nan", "NA", "True", False]
    assert [category(cell) for cell in cells] == [
        "1", "1", "1", "1", "1", "+1.5", "v1.0", "", "NA", "true", "false",
    ]  # fmt: skip


# --- long tables


def test_roles_categories_and_rows_ahead() -> None:
    table = read_series(shops(), **ROLES)
    assert table.covariates == [
        Covariate("price", "known"),
        Covariate("promo", "known", ("no", "tv", "web")),
        Covariate("visitors", "past"),
        Covariate("city", "static", ("Oslo", "Rome")),
    ]
    first, second = table.series
    assert first.values.tolist() == [1, 2, 3, 4] and len(first.time) == 4
    assert first.covariates is not None and first.covariates.dtype == np.float32
    np.testing.assert_array_equal(
        first.covariates,
        [[10, 2, 7], [11, 1, 7], [12, 2, 7], [13, 0, 7], [14, 1, NAN], [15, 2, NAN]],
    )
    np.testing.assert_array_equal(second.covariates[:, 0], [20, 21, NAN, 23, 24, 25])  # type: ignore[index]
    np.testing.assert_array_equal(second.covariates[:, 1], [3, 0, 1, 2, 1, 3])  # type: ignore[index]
    assert first.static.tolist() == [2] and second.static.tolist() == [1]  # type: ignore[union-attr]
    assert "2 of 2 series go on without a value: up to 2 rows" in said(table)
    assert "price (known), promo (known, 3 categories), visitors (past), city" in said(table)
    assert "not used" not in said(table)


def test_without_covariates_nothing_is_there() -> None:
    table = read_series(shops(), id="shop", time="day", target="sold")
    assert table.covariates == [] and "2 of 2 series end before" in said(table)
    for series in table.series:
        assert series.covariates is series.static is series.moments is None


def test_covariates_of_the_past_alone_have_no_rows_ahead() -> None:
    table = read_series(shops(), id="shop", time="day", target="sold", past="visitors,promo")
    assert [len(s.covariates) for s in table.series] == [4, 4]  # type: ignore[arg-type]
    both = read_series(shops(), id="shop", time="day", target="sold", past="promo", known="price")
    np.testing.assert_array_equal(both.series[0].covariates[-2:], [[14, 0], [15, 0]])  # type: ignore[index]


def test_files_and_frames_agree(tmp_path: Path) -> None:
    frame = shops(price=pl.Series([True, False, None] * 4), visitors=[1.5, 2.25, None] * 4)
    expected = read_series(frame, **ROLES)
    assert expected.covariates[0] == Covariate("price", "known")
    assert expected.series[0].covariates[:2, 0].tolist() == [1, 0]  # type: ignore[index]
    frame.write_csv(tmp_path / "a.csv")
    frame.write_parquet(tmp_path / "a.parquet")
    german = frame.with_columns(
        pl.col("visitors").cast(pl.String).str.replace(".", ",", literal=True)
    )
    german.write_csv(tmp_path / "b.csv", separator=";")
    enums = frame.with_columns(pl.col("promo").cast(pl.Categorical))
    frames = (frame.lazy(), pd.DataFrame(frame.to_dict(as_series=False)), enums)
    for data in (*(tmp_path / n for n in ("a.csv", "a.parquet", "b.csv")), *frames):
        equal(read_series(data, **ROLES), expected)


@settings(deadline=None, max_examples=15)
@given(st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(random: Any) -> None:
    rows = list(range(12))
    random.shuffle(rows)
    shuffled = read_series(shops()[rows], **ROLES)
    shuffled.series.sort(key=lambda s: s.id)
    equal(shuffled, read_series(shops(), **ROLES))


def test_steps_without_a_row_are_missing() -> None:
    frame = shops().filter(pl.col("day") != "2024-01-03")
    series = read_series(frame, **ROLES).series[0]
    np.testing.assert_array_equal(series.covariates[1:4], [[11, 1, 7], [NAN, 0, NAN], [13, 0, 7]])  # type: ignore[index]
    assert len(series.covariates) == 6  # type: ignore[arg-type]


def test_series_are_views_of_one_table() -> None:
    a, b = read_series(shops(), **ROLES).series
    for name in ("values", "time", "covariates", "static"):
        assert getattr(a, name).base is getattr(b, name).base is not None


def test_a_column_of_numbers_as_categories() -> None:
    frame = shops(promo=[10, 2, 10, 2, 10, 2] * 2, city=[1.0] * 6 + [2.5] * 6)
    table = read_series(frame, **ROLES, categorical="promo,city")
    assert table.covariates[1].categories == ("10", "2")
    assert table.covariates[3].categories == ("1", "2.5")
    assert read_series(frame, **ROLES).covariates[1].categories is None


def test_a_static_value_may_stand_in_one_row_only() -> None:
    frame = shops(city=[None, "Rome", *[None] * 4, *[None] * 6])
    table = read_series(frame, **ROLES)
    assert [s.static.tolist() for s in table.series] == [[1], [0]]  # type: ignore[union-attr]
    table = read_series(shops(city=[1.5] * 6 + [NAN] * 6), **ROLES)
    np.testing.assert_array_equal([s.static for s in table.series], [[1.5], [NAN]])


# --- wide tables


def wide() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "day": days(6),
            "a": [1.0, 2, 3, 4, None, None],
            "b": [None, 6.0, 7, None, None, None],
            "price": [10, 11, 12, 13, 14, 15],
            "rain": ["y", "n", "y", "n", "y", "n"],
        }
    )


def test_series_of_a_wide_table_share_covariates() -> None:
    table = read_series(wide(), known="price", past="rain")
    assert (table.layout, [s.id for s in table.series]) == ("wide", [("a",), ("b",)])
    a, b = (s.covariates for s in table.series)
    np.testing.assert_array_equal(a, [[10, 2], [11, 1], [12, 2], [13, 1], [14, 0], [15, 0]])
    np.testing.assert_array_equal(b, [[11, 1], [12, 2], [13, 0], [14, 0], [15, 0]])
    later = pl.DataFrame({"day": days(3, "2024-01-06"), "price": [0, 16, 17]})
    longer = read_series(wide(), known="price", past="rain", future=later).series[1].covariates
    np.testing.assert_array_equal(longer[:, 0], [11, 12, 13, 14, 15, 16, 17])  # type: ignore[index]
    np.testing.assert_array_equal(longer[2:, 1], [0] * 5)  # type: ignore[index]
    with pytest.raises(UserError, match=r"wide table[\s\S]*--layout long"):
        read_series(wide().with_columns(city=pl.lit(1.0)), static="city")


# --- a table of the future


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 4), st.booleans())
def test_a_table_of_the_future_is_as_good_as_rows_without_a_target(cut: int, repeat: bool) -> None:
    whole = shops()
    day = whole["day"]
    data = whole.filter((day < days(7)[4]) | (day < days(7)[4 + min(cut, 2)]))
    future = whole.filter(day >= days(7)[4 + (0 if repeat else min(cut, 2))])
    if not future.height:
        return
    table = read_series(data, **ROLES, future=future.drop("sold", "visitors", "city"))
    equal(table, read_series(whole, **ROLES))


def test_the_future_adds_only_what_the_data_lacks(tmp_path: Path) -> None:
    data = shops(price=[10.0, 11, 12, 13, 14, None, 20, 21, None, 23, 24, 25])
    rows = ["shop,day,promo,price"]
    rows += [f"a,{day},web,{99}" for day in days(5, "2024-01-03")]  # two of them before the end
    rows += ["c,2024-01-07,no,1", "c,2024-01-08,no,1", "d,2024-01-07,no,1"]
    (tmp_path / "future.csv").write_text("\n".join(rows))
    table = read_series(data, **ROLES, future=tmp_path / "future.csv")
    first = table.series[0].covariates
    np.testing.assert_array_equal(first[:, 0], [10, 11, 12, 13, 14, 99, 99])  # type: ignore[index]
    np.testing.assert_array_equal(first[:, 1], [2, 1, 2, 0, 1, 2, 3])  # type: ignore[index]
    assert len(table.series[1].covariates) == 6  # type: ignore[arg-type]
    assert "3 rows of the future belong to no series: left out" in said(table)
    assert "2 rows of the future are not after the end of their series: left out" in said(table)


def test_ids_of_the_future_are_read_as_those_of_the_data(tmp_path: Path) -> None:
    numbered = shops(shop=["1"] * 6 + ["2"] * 6)
    numbered.filter(pl.col("day") < "2024-01-05").write_csv(tmp_path / "data.csv")
    ahead = numbered.filter(pl.col("day") >= "2024-01-05").drop("sold")
    typed = ahead.with_columns(pl.col("shop").cast(pl.Int64), pl.col("day").str.to_date())
    expected = read_series(numbered.with_columns(pl.col("shop").cast(pl.Int64)), **ROLES)
    floats = typed.with_columns(pl.col("shop").cast(pl.Float64))
    for future in (ahead, typed, floats, pd.DataFrame(typed.to_dict(as_series=False))):
        equal(read_series(tmp_path / "data.csv", **ROLES, future=future), expected)


def test_dates_of_the_future_are_read_as_those_of_the_data() -> None:
    written = [f"{k:02}/01/2024" for k in range(9, 15)]
    data = pl.DataFrame({"day": written, "y": range(6), "p": range(6)})
    future = pl.DataFrame({"day": ["01/02/2024"], "p": [9]})  # the first of February
    rows = read_series(data, known="p", target="y", future=future).series[0].covariates
    assert rows is not None and len(rows) == 24 and rows[-1] == 9


@pytest.mark.parametrize(
    ("future", "options", "says"),
    [
        (shops().drop("promo"), {}, "no column 'promo'"),
        (shops(), {"known": None}, "no column is known ahead"),
        (shops(day=list(range(12))), {}, "other times than the data"),
        (shops(day=[f"{d}T00:00:00Z" for d in days(12)]), {}, "neither with a time zone"),
        ("nowhere.csv", {}, "there is no file nowhere.csv"),
    ],
)  # fmt: skip
def test_bad_tables_of_the_future(future: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        read_series(shops(), **(ROLES | options), future=future)
    with pytest.raises(UserError, match="rows of the future need times"):
        read_series(pl.DataFrame({"y": [1, 2], "p": [1, 2]}), known="p", target="y", future=future)


# --- of a trained model


def test_a_model_keeps_its_covariates() -> None:
    trained = read_series(shops(), **ROLES).covariates
    frame = shops(promo=["tv", "new", "tv", "", "new", "old"] * 2, city=["Bonn"] * 12)
    kept = {name: ROLES[name] for name in ("id", "time", "target")}
    table = read_series(frame, **kept, covariates=tuple(trained), known="nonsense")
    assert table.covariates == trained
    assert table.series[0].covariates[:, 1].tolist() == [2, 0, 2, 0, 0, 0]  # type: ignore[index]
    assert table.series[0].static.tolist() == [0]  # type: ignore[union-attr]
    assert "6 cells of column promo hold categories that the model has not seen (new, old)" in said(
        table
    )
    assert "12 cells of column city" in said(table)
    with pytest.raises(UserError, match="no column 'promo'"):
        read_series(frame.drop("promo"), **kept, covariates=trained)
    with pytest.raises(UserError, match=r"column 'price' is not a number"):
        read_series(shops(price=["much"] * 12), **kept, covariates=trained)


def test_a_model_without_covariates_takes_none() -> None:
    table = read_series(shops(), id="shop", time="day", target="sold", known="price", covariates=[])
    assert table.covariates == [] and table.series[0].covariates is None


# --- events


def events(**changes: Any) -> pl.DataFrame:
    minutes = [0, 10, 11, 41, 5, 6, 7, 67]
    start = np.datetime64("2024-01-01", "us")
    data = {
        "pump": ["a"] * 4 + ["b"] * 4,
        "at": start + np.array(minutes) * np.timedelta64(1, "m"),
        "flow": [1.0, None, 3, 4, None, 6, 7, 8],
        "valve": [1, 2, 3, 4, 5, 6, 7, 8],
    }
    return pl.DataFrame(data | changes)


def test_rows_that_are_events() -> None:
    table = read_series(events(), irregular=True, id="pump", target="flow", past="valve")
    assert table.freq == "1i" and table.covariates == [
        Covariate("valve", "past"),
        Covariate("gap", "known", scale=330.0),  # of 10, 1, 30, 1, 1 and 60 minutes
    ]
    a, b = table.series
    np.testing.assert_array_equal(a.values, [1, NAN, 3, 4])
    assert a.time.tolist() == [1, 2, 3, 4] and b.time.tolist() == [1, 2, 3]
    assert a.time.dtype == np.int64 and a.moments is not None and b.moments is not None
    assert (
        str(a.moments[-1]) == "2024-01-01T00:41:00.000000" and str(b.moments[0])[11:16] == "00:06"
    )
    np.testing.assert_allclose(
        a.covariates[:, 1],
        [0, *np.log(np.array([600, 60, 1800]) / 330)],
        rtol=1e-6,  # type: ignore[index]
    )
    np.testing.assert_allclose(b.covariates[:2, 1], [0, np.log(60 / 330)], rtol=1e-6)  # type: ignore[index]
    assert len(forecast_frame(table, [a.id], a.moments[None], {})) == 4


def test_events_are_sorted_and_repeated_ones_left_out() -> None:
    plain = read_series(events(), irregular=True, id="pump", target="flow")
    doubled = pl.concat([events()[[3, 1, 0, 2, 7, 5, 6, 4]], events()[[3]]])
    table = read_series(doubled, irregular=True, id="pump", target="flow")
    equal(table, plain)
    assert "sorted" in said(table) and "1 rows repeat" in said(table)


def test_events_ahead_and_the_gap_of_the_model() -> None:
    ahead = np.datetime64("2024-01-01T02:00", "us")
    future = pl.DataFrame({"pump": ["a"], "at": np.array([ahead])})
    trained = [Covariate("gap", "known", scale=60.0)]
    given = {"irregular": True, "id": "pump", "target": "flow", "future": future}
    series = read_series(events(), **given, covariates=trained, freq="1i").series[0]
    assert series.moments is not None and series.moments[-1] == ahead and len(series.values) == 4
    np.testing.assert_allclose(
        series.covariates[:, 0],
        [0, *np.log([10, 1, 30, 79])],
        rtol=1e-6,  # type: ignore[index]
    )
    table = read_series(events(gap=1.0), irregular=True, id="pump", target="flow", known="gap")
    assert [c.name for c in table.covariates] == ["gap", "gap_"]


def test_wide_events_share_moments() -> None:
    frame = pl.DataFrame({"at": events()["at"][:4], "a": [None, 1.0, 2, 3], "b": [1.0, 2, 3, 4]})
    a, b = read_series(frame, irregular=True).series
    assert (a.time.tolist(), len(b.moments)) == ([1, 2, 3], 4)  # type: ignore[arg-type]
    gap = np.float32(np.log(60 / 600))
    np.testing.assert_allclose([s.covariates[1, 0] for s in (a, b)], [gap, 0], atol=1e-6)  # type: ignore[index]
    assert a.covariates[0, 0] == b.covariates[0, 0] == 0  # type: ignore[index]


def test_gaps_one_by_one_are_those_of_the_table() -> None:
    moments = np.array(events()["at"])
    found = gaps.log_gaps(moments, np.array([0, 4]), 330.0)
    assert found[0] == found[4] == gaps.log_gap(None, moments[0], 330.0) == 0
    for k in (1, 2, 3, 5, 6, 7):
        assert gaps.log_gap(moments[k - 1], moments[k], 330.0) == found[k]
    far = moments[0] + np.timedelta64(9999, "D")
    assert (
        gaps.log_gap(moments[0], far, 1.0) == 8 and gaps.log_gap(moments[0], moments[0], 1.0) == -8
    )


def test_zones_of_events_are_kept() -> None:
    zoned = events()["at"].dt.replace_time_zone("Europe/Paris")
    table = read_series(events(at=zoned), irregular=True, id="pump", target="flow")
    series = table.series[0]
    assert str(series.moments[0]) == "2023-12-31T23:00:00.000000"  # type: ignore[index]
    back = forecast_frame(table, [series.id], series.moments[None], {})  # type: ignore[index]
    assert back["at"].to_list() == zoned[:4].to_list()


# --- bad wishes


@pytest.mark.parametrize(
    ("changes", "options", "says"),
    [
        ({}, {"known": "pric"}, r"no column 'pric'[\s\S]*did you mean price"),
        ({}, {"known": "sold"}, "'sold' is known and also target"),
        ({}, {"static": "shop"}, "'shop' is static and also id"),
        ({}, {"past": "price"}, "'price' is past and also known"),
        ({}, {"past": "visitors,visitors"}, "'visitors' is past and also past"),
        ({}, {"categorical": "sold"}, r"said to be categorical[\s\S]*--known sold"),
        ({"holiday": 1}, {"past": "holiday", "holidays": "DE"}, r"'holiday' is past and also the"),
        ({"price": days(12)}, {}, "'price' holds times"),
        ({"price": pl.Series(days(12)).str.to_date()}, {}, "'price' holds times"),
        ({"price": [[1]] * 12}, {}, "'price' holds no numbers"),
        ({"price": [1.0, float("inf")] * 6}, {}, "row 2 of column 'price' is infinite"),
        ({"price": ["1"] * 11 + ["x"]}, {}, r"row 12 of column 'price'[\s\S]*--categorical price"),
        ({"city": list("abbbbb") + ["c"] * 6}, {}, r"series a has several values\n.*a, b"),
        ({"city": [1.0] * 7 + [2.0] * 5}, {}, r"series b has several values\n.*1.0, 2.0"),
        ({}, {"layout": "rows", "time": None, "target": None}, "no place for covariates"),
        ({}, {"irregular": True, "freq": "1h"}, "lie on no grid"),
        ({"day": list(range(6)) * 2}, {"irregular": True}, "irregular rows need times"),
    ],
)  # fmt: skip
def test_bad_wishes(changes: dict[str, Any], options: dict[str, Any], says: str) -> None:
    frame = shops().with_columns(**{
        name: pl.lit(cells) if isinstance(cells, int) else pl.Series(cells)
        for name, cells in changes.items()
    })  # fmt: skip
    with pytest.raises(UserError, match=says):
        read_series(frame, **(ROLES | options))


def test_too_many_categories(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(covariate_columns, "MOST", 3)
    assert len(read_series(shops(), **ROLES).covariates[1].categories or ()) == 3
    monkeypatch.setattr(covariate_columns, "MOST", 2)
    with pytest.raises(UserError, match=r"'promo' has too many categories\n.*\n.*at most 2"):
        read_series(shops(), **ROLES)


# --- forecasts out


def test_forecasts_of_many_series_are_in_order() -> None:
    table = read_series(shops(), id="shop", time="day", target="sold")
    ids = [(f"s{i}",) for i in range(300)]
    start = np.datetime64("2024-01-07", "us") + np.arange(300)[:, None] * np.timedelta64(1, "D")
    times = start + np.arange(4) * np.timedelta64(1, "D")
    frame = forecast_frame(table, ids, times, {"y_hat": np.arange(1200.0).reshape(300, 4)})
    assert frame["shop"].to_list() == [i for (i,) in ids for _ in range(4)]
    assert frame["day"].to_list() == [str(t.astype("datetime64[D]")) for t in times.reshape(-1)]
    assert frame["y_hat"].to_list() == list(range(1200))
