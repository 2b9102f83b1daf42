"""Rows one at a time give the forecasts of the whole table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

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
    assert fitted.stream().save()["rows"].shape == (0, fitted.shape_.lookback)


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
