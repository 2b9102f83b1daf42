"""Reports: the table, JSON, HTML and figure say the same, and say it safely."""

from __future__ import annotations

import datetime
import json
import math
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstmkit.errors import MissingExtra, UserError
from lstmkit.evaluation import Report, measures
from lstmkit.evaluation.report import number


def report(**changes: Any) -> Report:
    given: dict[str, Any] = {
        "task": "forecast",
        "metrics": {"smape": 10.912, "mase": 0.91, "mae": 123.4, "coverage_80": 0.78},
        "baselines": {
            "seasonal_naive": {"smape": 13.912, "mase": 1.193, "mae": 99.0, "coverage_80": 0.99}
        },
        "data": {"series": 414, "unit": "MW"},
        "model": {"seed": 0},
        "memory_worth": {"smape": 17.0, "mase": 1.43},
    }
    return Report(**{**given, **changes})


def test_the_table() -> None:
    assert str(report()) == (
        "forecast\n"
        "                model    seasonal naive\n"
        "-----------------------------------------\n"
        "sMAPE (%)       10.91 *           13.91\n"
        "MASE           0.9100 *           1.193\n"
        "MAE (MW)        123.4             99.00 *\n"
        "coverage 80 %  0.7800 *          0.9900\n"
        "-----------------------------------------\n"
        "* best of its row\n"
        "data: series 414, unit MW\n"
        "with its state reset at every step: MASE 1.43 instead of 0.910: memory is worth 36 %"
    )


def test_intervals_and_notes_in_the_table() -> None:
    text = str(report(intervals={"mase": (0.8, 1.02)}, notes=["2 series are new to the model"]))
    row = next(line for line in text.splitlines() if line.startswith("MASE"))
    assert row.split() == ["MASE", "0.9100", "*", "0.8000", "to", "1.020", "1.193"]
    assert "95 % interval" in text
    assert text.endswith("\n2 series are new to the model")


def test_several_baselines_have_one_best() -> None:
    text = str(
        report(
            metrics={"accuracy": 0.7},
            baselines={"majority": {"accuracy": 0.5}, "linear": {"accuracy": 0.8}, "none": {}},
            memory_worth={"accuracy": 0.35},
        )
    )
    assert text.splitlines()[3].split() == ["accuracy", "0.7000", "0.5000", "0.8000", "*", "-"]
    assert "accuracy 0.350 instead of 0.700: memory is worth 50 %" in text


def test_a_draw_is_not_marked() -> None:
    text = str(report(metrics={"mae": 1.0}, baselines={"naive": {"mae": 1.0}}))
    assert "*" not in text


def test_memory_that_harms_is_worth_less_than_nothing() -> None:
    assert "worth -30 %" in str(report(memory_worth={"mase": 0.7}))


@pytest.mark.parametrize("worth", [None, {}, {"other": 1.0}])
def test_no_memory_line_without_its_measurement(worth: dict[str, float] | None) -> None:
    assert "memory" not in str(report(memory_worth=worth))


def test_an_empty_report_can_be_shown() -> None:
    empty = Report("forecast", {}, {}, {}, {})
    assert str(empty).startswith("forecast")
    assert set(empty.to_dict()) == {"metrics", "baselines", "data", "model"}
    assert "<table" in empty._repr_html_()


def test_the_keys_of_the_dictionary() -> None:
    always = {"metrics", "baselines", "data", "model"}
    assert set(report(memory_worth=None).to_dict()) == always
    everything = report(intervals={"mase": (0.8, 1.0)}, notes=["x"]).to_dict()
    assert set(everything) == always | {"memory_worth", "intervals"}
    assert everything["intervals"] == {"mase": [0.8, 1.0]}


def test_json_is_strict_and_plain() -> None:
    odd = {
        "nan": math.nan,
        "inf": np.float32("inf"),
        "count": np.int64(3),
        "array": np.array([1.0, np.nan]),
        "cut": datetime.date(2026, 11, 22),
        "when": np.datetime64("2026-11-22"),
        "path": Path("a/b"),
        "flag": np.True_,
        "nested": {"tuple": (1, None)},
    }
    text = report(data=odd, metrics={"mase": math.nan}).to_json()
    found = json.loads(text, parse_constant=pytest.fail)
    assert found["metrics"] == {"mase": None}
    assert found["data"] == {
        "nan": None,
        "inf": None,
        "count": 3,
        "array": [1.0, None],
        "cut": "2026-11-22",
        "when": "2026-11-22",
        "path": "a/b",
        "flag": True,
        "nested": {"tuple": [1, None]},
    }


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_html_escapes_what_it_shows() -> None:
    evil = "<script>alert(1)</script>"
    hostile = report(task=evil, data={evil: evil}, notes=[evil], baselines={evil: {"mase": 1.0}})
    page = Tags(hostile._repr_html_())
    assert "script" not in page.seen
    assert page.texts.count(evil) == 3  # the caption, the baseline's head, the note


def test_html_holds_the_table() -> None:
    page = Tags(report()._repr_html_())
    assert page.seen.count("tr") == 5 and page.seen.count("b") == 4
    assert {"MASE", "0.9100 *", "1.193", "seasonal naive"} <= set(page.texts)


def test_the_figure(tmp_path: Path) -> None:
    path = tmp_path / "report.png"
    figure = report(intervals={"mase": (0.8, 1.0)}).plot(path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "sMAPE (%)", "MASE", "MAE (MW)", "coverage 80 %",
    ]  # fmt: skip
    mase = figure.axes[1]
    assert [bar.get_width() for bar in mase.patches] == [0.91, 1.193]
    assert [text.get_text() for text in mase.texts] == ["0.9100", "1.193"]
    caption = figure.get_supxlabel()
    assert "memory is worth 36 %" in caption and "series 414" in caption


def test_a_figure_of_what_was_not_measured() -> None:
    figure = report(metrics={"mase": math.nan}, baselines={}, intervals={}).plot()
    assert [text.get_text() for text in figure.axes[0].texts] == ["-"]


def test_a_figure_needs_a_known_suffix_and_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="cannot draw"):
        report().plot(tmp_path / "report.xyz")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"lstmkit\[train\]"):
        report().plot()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (13.9124, "13.91"),
        (-0.5, "-0.5000"),
        (1234567.0, "1234567"),
        (0.00001234, "1.234e-05"),
        (math.nan, "-"),
        (math.inf, "-"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("name", "values", "winner"),
    [
        ("mase", {"a": 1.0, "b": 0.5}, "b"),
        ("accuracy", {"a": 1.0, "b": 0.5}, "a"),
        ("coverage_95", {"a": 1.0, "b": 0.94}, "b"),
        ("mase", {"a": 1.0}, None),
        ("mase", {"a": 1.0, "b": math.nan}, None),
        ("mase", {"a": 1.0, "b": 1.0, "c": 2.0}, None),
    ],
)
def test_which_value_is_better(name: str, values: dict[str, float], winner: str | None) -> None:
    assert measures.best(name, values) == winner
