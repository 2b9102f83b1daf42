"""Rows one at a time give the forecasts of the whole table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from lstmkit import modelfile
from lstmkit.errors import UserError
from lstmkit.tasks.forecast.estimator import Forecaster
from lstmkit.tasks.forecast.stream import ForecastStream

QUANTILES = ["q0.025", "q0.1", "q0.25", "q0.5", "q0.75", "q0.9", "q0.975"]


def push_all(stream: ForecastStream, frame: pl.DataFrame) -> None:
    for shop, day, sold in frame.iter_rows():
        stream.push(shop, np.datetime64(day), sold)


def test_streamed_equals_predicted(fitted: Forecaster, make_table: Any) -> None:
    frame = make_table(rows=120).with_row_index().filter(pl.col("index") % 7 != 2).drop("index")
    stream = fitted.stream()
    push_all(stream, frame)
    answer = fitted.predict(frame)
    for shop in stream.ids:
        time, quantiles = stream.forecast(shop)
        expected = answer.filter(pl.col("shop") == shop)
        assert quantiles == pytest.approx(expected.select(QUANTILES).to_numpy(), rel=1e-5)
        assert (time.astype("datetime64[D]") == expected["day"].to_numpy()).all()


def test_goes_on_from_saved_arrays(fitted: Forecaster, make_table: Any) -> None:
    frame = make_table(series=1)
    whole, first, second = fitted.stream(), fitted.stream(), fitted.stream()
    push_all(whole, frame)
    push_all(first, frame[:50])
    second.restore(first.save())
    push_all(second, frame[50:])
    assert np.array_equal(whole.forecast("s0").quantiles, second.forecast("s0").quantiles)
    assert set(fitted.stream().save()) == {"ids"}


@pytest.mark.parametrize(
    ("time", "value", "said"),
    [
        ("2024-01-02T07:00", 1.0, "follow"),
        ("2024-01-01", 1.0, "follow"),
        ("2024-01-02", float("inf"), "infinite"),
    ],
)
def test_bad_rows_change_nothing(fitted: Forecaster, time: str, value: float, said: str) -> None:
    stream = fitted.stream()
    stream.push("a", np.datetime64("2024-01-01"), 3.0)
    before = stream.save()
    with pytest.raises(UserError, match=said):
        stream.push("a", np.datetime64(time), value)
    assert all(
        np.array_equal(stream.save()[k], v, equal_nan=k == "rows") for k, v in before.items()
    )


def test_unknown_series(fitted: Forecaster) -> None:
    with pytest.raises(UserError, match="no rows yet"):
        fitted.stream().forecast("nobody")


def test_a_saved_model_streams_without_torch(fitted: Forecaster, tmp_path: Path) -> None:
    fitted.save(tmp_path / "m.safetensors")
    code = (
        "import sys\n"
        "for m in ('torch', 'polars', 'lightning', 'pandas'): sys.modules[m] = None\n"
        "import numpy as np, lstmkit\n"
        "stream = lstmkit.load(sys.argv[1]).stream()\n"
        "for k in range(30): stream.push('a', np.datetime64('2024-01-01') + k, k % 7)\n"
        "assert np.isfinite(stream.forecast('a').quantiles).all()\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "m.safetensors")], check=True)


# --- rows and answers -----------------------------------------------------------------------------


def test_answers_are_those_of_predict(fitted: Forecaster, make_table: Any) -> None:
    frame = make_table(rows=100)
    stream = fitted.stream()
    rows = [dict(zip(frame.columns, map(str, r), strict=True)) for r in frame.iter_rows()]
    last = {a["shop"]: a for a in stream.run(rows)}
    table = fitted.predict(frame)
    for shop, answer in last.items():
        expected = table.filter(pl.col("shop") == shop)
        assert [step["day"] for step in answer["forecast"]] == [str(d) for d in expected["day"]]
        for name in ["y_hat", *QUANTILES]:
            found = [step[name] for step in answer["forecast"]]
            assert found == expected[name].to_list()  # one engine: the same bits


def test_a_file_is_a_stream_too(fitted: Forecaster, make_table: Any, tmp_path: Path) -> None:
    make_table(series=2, rows=20).write_csv(tmp_path / "t.csv")
    answers = list(fitted.stream().run(tmp_path / "t.csv"))
    assert len(answers) == 40
    assert fitted.stream().flat(answers[0]).keys() == {"shop", "day"} | {
        f"y_hat_{k}" for k in range(1, 8)
    }


def test_missing_values_are_answered_from_what_is_known(fitted: Forecaster) -> None:
    stream = fitted.stream()
    assert stream.step({"shop": "a", "day": "2024-01-01", "sold": None})["forecast"] is None
    first = stream.step({"shop": "a", "day": "2024-01-02", "sold": "4"})
    again = stream.step({"shop": "a", "day": "2024-01-03", "sold": ""})
    assert again["forecast"] == first["forecast"]
    assert stream.flat({"shop": "a", "day": "x", "forecast": None})["y_hat_7"] != 0


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"shop": "a", "day": "2024-01-02"}, "no 'sold'"),
        ({"shop": "a", "sold": 1}, "no 'day'"),
        ({"shop": "a", "day": "soon", "sold": 1}, "no time"),
        ({"shop": "a", "day": "2024-01-02", "sold": "many"}, "no number"),
        ({"shop": "a", "day": "2024-01-01", "sold": 1}, "follow"),
        ({"shop": "a", "day": "2024-01-02", "sold": 1e400}, "infinite"),
    ],
)
def test_rows_that_cannot_be_used(fitted: Forecaster, row: Any, said: str) -> None:
    stream = fitted.stream()
    stream.step({"shop": "a", "day": "2024-01-01", "sold": 3})
    before = stream.forecast("a").quantiles
    with pytest.raises(UserError, match=said):
        stream.step(row)
    assert np.array_equal(stream.forecast("a").quantiles, before)


def test_series_as_columns(make_table: Any) -> None:
    frame = make_table(series=3, rows=60).pivot("shop", index="day", values="sold")
    model = Forecaster(7, size="tiny", epochs=1, threads=1).fit(frame)
    stream, table = model.stream(), model.predict(frame)
    for row in frame.iter_rows(named=True):
        answer = stream.step({k: str(v) for k, v in row.items()})
    assert [a["unique_id"] for a in answer["series"]] == ["s0", "s1", "s2"]
    expected = table.filter(pl.col("unique_id") == "s1")["y_hat"].to_list()
    assert [s["y_hat"] for s in answer["series"][1]["forecast"]] == expected
    with pytest.raises(UserError, match="no CSV line"):
        stream.flat(answer)


def test_state_files(fitted: Forecaster, make_table: Any, tmp_path: Path) -> None:
    rows = make_table(series=2).to_dicts()
    whole, first, second = fitted.stream(), fitted.stream(), fitted.stream()
    wanted = list(whole.run(rows))
    list(first.run(rows[:77]))
    first.write_state(tmp_path / "s")
    second.read_state(tmp_path / "s")
    assert list(second.run(rows[77:])) == wanted[77:]
    other = fitted.lowered("int8").stream()
    with pytest.raises(UserError, match="another model"):
        other.read_state(tmp_path / "s")
    fitted.save(tmp_path / "model")
    with pytest.raises(UserError, match="no state"):
        second.read_state(tmp_path / "model")
    raw = (tmp_path / "s").read_bytes()
    for size in range(0, len(raw), 97):
        (tmp_path / "s").write_bytes(raw[:size])
        with pytest.raises(UserError):
            fitted.stream().read_state(tmp_path / "s")


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_fewer_bits_forecast_nearly_the_same(
    fitted: Forecaster, make_table: Any, dtype: str, tmp_path: Path
) -> None:
    frame = make_table()
    low = fitted.lowered(dtype)
    low.save(tmp_path / "m")
    found, wanted = low.predict(frame)["y_hat"], fitted.predict(frame)["y_hat"]
    assert 0 < (found - wanted).abs().max() < 0.05 * wanted.abs().max()
    again = Forecaster.from_modelfile(modelfile.load(tmp_path / "m"))
    assert again.predict(frame)["y_hat"].to_list() == found.to_list()
    assert again.evaluate(frame).metrics == low.evaluate(frame).metrics


def test_days_and_months_are_read_as_in_the_training(make_table: Any, tmp_path: Path) -> None:
    frame = make_table(series=1, rows=60).with_columns(pl.col("day").dt.strftime("%d/%m/%Y"))
    frame.write_csv(tmp_path / "t.csv")
    model = Forecaster(7, size="tiny", epochs=1, threads=1).fit(tmp_path / "t.csv")
    row = {"shop": "a", "day": "03/04/2024", "sold": 3}  # alone it could be either
    assert model.stream().step(row)["day"] == "2024-04-03"
    few = "shop,day,sold\na,01/02/2024,5\na,02/02/2024,6\na,03/02/2024,7\n"
    (tmp_path / "few.csv").write_text(few)
    assert model.predict(tmp_path / "few.csv")["day"][0] == "04/02/2024"
