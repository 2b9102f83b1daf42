"""Holidays as a column that is known ahead: days, weeks, months, and unknown countries."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import polars as pl
import pytest

from lstmkit.errors import MissingExtra, UserError
from lstmkit.readers import holidays
from lstmkit.readers.calendar import step_times
from lstmkit.readers.covariates import Covariate
from lstmkit.readers.tables import read_series

library = pytest.importorskip("holidays")


def grid(start: str, freq: str, count: int) -> np.ndarray:
    return step_times(np.datetime64(start, "us"), freq, np.arange(count))


def test_days_are_those_of_the_library() -> None:
    times = grid("2021-01-01", "1d", 4 * 365 + 1)
    column = holidays.covariate(times, "1d", "US-CA")
    found = holidays.values(column, times, "1d", "US-CA")
    expected = library.country_holidays(
        "US", subdiv="CA", years=[2021, 2022, 2023, 2024], language="en_US"
    )
    assert column.categories is not None and column.role == "known"
    for time, code in zip(times, found, strict=True):
        name = expected.get(time.astype("datetime64[D]").item())
        assert (name or None) == (column.categories[int(code) - 1] if code else None)
    assert found.dtype == np.float32 and 0 < (found > 0).sum() < 80


def test_hours_have_the_holiday_of_their_day_in_any_order() -> None:
    times = grid("2024-12-24", "1h", 96)
    column = holidays.covariate(times, "1h", "DE")
    found = holidays.values(column, times[::-1], "1h", "DE")[::-1]
    assert column.categories is not None
    christmas = column.categories.index("Christmas Day") + 1
    assert np.flatnonzero(found == christmas).tolist() == list(range(24, 48))
    assert (found[:24] == 0).all() and (found[72:] == 0).all()


def test_later_years_have_the_same_codes_and_new_holidays_none() -> None:
    column = Covariate("holiday", "known", ("Christmas Day",))
    times = grid("2031-01-01", "1d", 365)
    found = holidays.values(column, times, "1d", "DE")
    assert np.flatnonzero(found).tolist() == [358] and found[358] == 1
    assert len(holidays.values(column, times[:0], "1d", "DE")) == 0


@pytest.mark.parametrize(
    ("start", "freq", "country", "expected"),
    [
        ("2024-01-01", "1mo", "DE", [1, 0, 1, 1, 3, 0, 0, 0, 0, 1, 0, 2]),
        ("2024-01-31", "1mo-end", "DE", [1, 0, 1, 1, 3, 0, 0, 0, 0, 1, 0, 2]),
        ("2024-03-31", "1q-end", "DE", [2, 4, 0, 3]),
        ("2023-01-01", "1y", "DE", [9, 9]),
        ("2024-12-16", "1w", "DE", [0, 2, 1]),
        ("2024-12-23", "2d", "DE", [0, 2, 0]),
        ("2021-12-31", "1mo-end", "US", [3, 2]),  # a New Year's Day that is observed on 31 December
    ],
)
def test_longer_steps_count_holidays(
    start: str, freq: str, country: str, expected: list[int]
) -> None:
    times = grid(start, freq, len(expected))
    column = holidays.covariate(times, freq, country)
    assert column == Covariate("holiday", "known")
    assert holidays.values(column, times, freq, country).tolist() == expected


def test_business_days_are_days() -> None:
    times = grid("2024-12-24", "1b", 4)
    column = holidays.covariate(times, "1b", "DE")
    found = holidays.values(column, times, "1b", "DE")
    assert (found > 0).tolist() == [False, True, True, False]


def test_names_carry_no_dates() -> None:
    names = holidays.names(grid("2020-01-01", "1d", 1500), "CN")
    assert "Day off" in names and not any("20" in name for name in names)


@pytest.mark.parametrize(
    ("country", "says"),
    [
        ("Germany", r"no holidays are known of 'Germany'[\s\S]*did you mean DE\?"),
        ("Germny", r"did you mean DE"),
        ("QQQQ", r"no holidays are known of 'QQQQ'"),
        ("US-CAL", r"US has no part 'CAL'[\s\S]*did you mean .*US-CA"),
        ("AF-1", r"AF has no part '1'[\s\S]*--holidays AF"),
    ],
)
def test_unknown_countries(country: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        holidays.covariate(grid("2024-01-01", "1d", 5), "1d", country)


def test_numbered_rows_have_no_holidays() -> None:
    with pytest.raises(UserError, match="holidays need dates"):
        holidays.covariate(np.arange(5), "1i", "DE")
    for frame, options in ((table().select("y"), {}), (table(), {"irregular": True})):
        with pytest.raises(UserError, match="holidays need dates"):
            read_series(frame, target="y", holidays="DE", **options)


def test_the_library_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "holidays", None)
    holidays._check.cache_clear()
    with pytest.raises(MissingExtra, match=r"needs holidays[\s\S]*lstmkit\[train\]"):
        holidays.covariate(grid("2024-01-01", "1d", 5), "1d", "DE")


# --- in tables


def table(**changes: Any) -> pl.DataFrame:
    times = grid("2024-12-20", "1d", 10)
    values = [1.0, 2, 3, 4, 5, 6, 7, None, None, None]
    return pl.DataFrame({"day": times, "y": values, "p": range(10)} | changes)


def test_a_table_generates_holidays_for_rows_ahead_too() -> None:
    found = read_series(table(), known="p", holidays="DE", target="y")
    assert [c.name for c in found.covariates] == ["p", "holiday"]
    rows = found.series[0].covariates
    assert rows is not None and len(rows) == 10 and len(found.series[0].values) == 7
    assert np.flatnonzero(rows[:, 1]).tolist() == [5, 6]
    again = read_series(table(), target="y", holidays="DE", covariates=found.covariates)
    np.testing.assert_array_equal(again.series[0].covariates, rows)
    assert again.covariates == found.covariates


def test_a_gap_in_the_table_has_its_holiday() -> None:
    frame = table().filter(pl.col("y") != 6)
    rows = read_series(frame, holidays="DE", target="y", time="day").series[0].covariates
    assert rows is not None and np.flatnonzero(rows[:, -1]).tolist() == [5, 6]


def test_hours_of_a_zone_have_the_days_of_utc_and_say_so() -> None:
    local = pl.Series(grid("2024-12-24T20:00", "1h", 6)).dt.replace_time_zone("Europe/Berlin")
    found = read_series(pl.DataFrame({"at": local, "y": range(6)}), holidays="DE")
    rows = found.series[0].covariates
    assert rows is not None and np.flatnonzero(rows[:, 0]).tolist() == [5]
    assert "holidays begin and end at midnight UTC" in found.notes


def test_a_column_of_ones_own_may_be_called_holiday() -> None:
    frame = table(holiday=["x"] * 10)
    trained = read_series(frame, known="holiday", target="y").covariates
    assert trained == [Covariate("holiday", "known", ("x",))]
    rows = read_series(frame, target="y", covariates=trained).series[0].covariates
    assert rows is not None and rows[:, 0].tolist() == [1] * 10
