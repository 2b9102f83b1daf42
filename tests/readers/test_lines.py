"""Rows one at a time: CSV and JSON lines, good and bad, and the times in them."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from lstmkit.errors import UserError
from lstmkit.readers.lines import BadRow, Clock, good, number, rows
from lstmkit.readers.timestamps import parse_times


def read(text: str) -> list[Any]:
    return list(rows(text.splitlines(keepends=True)))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv_with_a_header(separator: str) -> None:
    text = '\ufeffshop,day,"sold, net"\n\na,2024-01-01," 3 "\nb,2024-01-02,\n'
    if separator != ",":
        text = text.replace('"sold, net"', "sold").replace(",", separator)
    found = read(text)
    name = "sold, net" if separator == "," else "sold"
    assert found == [
        {"shop": "a", "day": "2024-01-01", name: "3"},
        {"shop": "b", "day": "2024-01-02", name: ""},
    ]


def test_json_lines() -> None:
    assert read('{"a": 1, "b": null}\n\n{"a": "x"}') == [{"a": 1, "b": None}, {"a": "x"}]


def test_bad_lines_come_in_their_place() -> None:
    found = read("a,b\n1,2\n1\n3,4\n")
    assert [type(r) is BadRow for r in found] == [False, True, False]
    assert "line 3 has 1 cells" in str(found[1])
    found = read('{"a": 1}\nnothing\n[1]\n{"a": 2}\n' + "[" * 3000 + "\n")
    assert [type(r) is BadRow for r in found] == [False, True, True, False, True]
    with pytest.raises(BadRow, match="line 2"):
        list(good(found))
    assert type(read('a\n"x')[0]) is BadRow
    assert "longer" in str(read("a\n" + "x" * 2_000_000)[0])


@pytest.mark.parametrize("header", ["a,a", "a,,b"])
def test_a_header_must_name_columns(header: str) -> None:
    with pytest.raises(UserError, match="name the columns"):
        read(header + "\n1,2,3\n")


def test_a_row_is_there_as_soon_as_its_line() -> None:
    taken = []

    def lines() -> Any:
        for line in ("a\n", "1\n", "2\n"):
            taken.append(line)
            yield line

    found = rows(lines())
    assert next(found) == {"a": "1"}
    assert taken == ["a\n", "1\n"]


def test_numbers() -> None:
    assert [number(c, "x") for c in ("3.5", 2, " 1e3 ")] == [3.5, 2.0, 1000.0]
    assert all(np.isnan(number(c, "x")) for c in ("", None, "NA", "nan", " null "))
    for bad in ("abc", True, [1], "1,5"):
        with pytest.raises(UserError, match="'x' holds no number"):
            number(bad, "x")


@pytest.mark.parametrize(
    ("cell", "freq", "wanted"),
    [
        ("2024-01-31", "1d", "2024-01-31"),
        ("31.01.2024", "1d", "2024-01-31"),
        ("2024-01-31 07:30", "30m", "2024-01-31T07:30"),
        ("2024-01-31T07:30:15.25", "1s", "2024-01-31T07:30:15.25"),
        ("2024-01-31T07:30+01:00", "30m", "2024-01-31T06:30"),
        ("2024-01-31T07:30:00Z", "30m", "2024-01-31T07:30"),
        ("2024-01-31T00:00+01:00", "1d", "2024-01-31"),
        ("2024Q2", "1q", "2024-04-01"),
        ("Jan 2024", "1mo", "2024-01-01"),
        ("2024", "1y", "2024-01-01"),
        (20240131, "1d", "2024-01-31"),
        (1706659200, "1d", "2024-01-31"),
        (1706659200000, "1h", "2024-01-31"),
    ],
)
def test_times_are_those_of_tables(cell: Any, freq: str, wanted: str) -> None:
    assert Clock(freq).read(cell) == np.datetime64(wanted)
    times = parse_times(pl.Series("t", [cell, cell]), None, [])
    daily = freq in ("1d", "1q", "1mo", "1y")
    assert (times.wall if daily or times.utc is None else times.utc)[0] == np.datetime64(wanted)


def test_the_order_of_day_and_month_is_that_of_the_training() -> None:
    assert Clock("1d", day_first=True).read("03/04/2024") == np.datetime64("2024-04-03")
    assert Clock("1d", day_first=False).read("03/04/2024") == np.datetime64("2024-03-04")


def test_whole_numbers_and_what_is_no_time() -> None:
    assert Clock("1i").read("17") == 17
    assert Clock("1i").read(17.0) == 17
    for clock, cell in ((Clock("1i"), "x"), (Clock("1d"), "soon"), (Clock("1d"), None)):
        with pytest.raises(UserError, match="no time"):
            clock.read(cell)


def test_times_are_written_as_they_came() -> None:
    daily, fine = Clock("1d"), Clock("30m")
    assert daily.write(daily.read("31.01.2024")) == "2024-01-31"
    assert fine.write(fine.read("2024-01-31T07:30")) == "2024-01-31T07:30:00"
    assert fine.write(fine.read("2024-01-31T07:30+01:00")) == "2024-01-31T06:30:00Z"
    assert Clock("1i").write(np.asarray(5)) == 5
