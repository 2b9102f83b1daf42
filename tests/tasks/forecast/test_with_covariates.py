"""From tables with covariates to forecasts: batch, stream, future rows, holidays, events."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import lstmkit
from lstmkit.tasks.forecast.estimator import Forecaster

ROWS, AHEAD = 120, 14


def shops(rows: int = ROWS, ahead: int = AHEAD) -> pl.DataFrame:
    """Two shops whose sales follow a promotion and a price; the last rows have no sales yet."""
    g, frames = np.random.default_rng(0), []
    for k in range(2):
        t = np.arange(rows + ahead)
        promo = g.choice(["", "big", "small"], len(t), p=[0.7, 0.15, 0.15])
        price = g.normal(10, 1, len(t)).round(2)
        sold = (k + 1) * (50 + 10 * np.sin(2 * np.pi * t / 7)) * (1 + 0.5 * (promo == "big"))
        sold = [float(y) if i < rows else None for i, y in enumerate(sold - (price - 10))]
        day = np.datetime64("2024-01-01") + t
        given = {"day": day, "sold": sold, "promo": promo, "price": price}
        fixed = {"region": "ns"[k], "area": 100.0 * k}
        frames.append(pl.DataFrame({"shop": f"s{k}", **given, **fixed}))
    return pl.concat(frames)


def events(seed: int = 0) -> pl.DataFrame:
    g, frames = np.random.default_rng(seed), []
    for k in range(2):
        gaps = g.exponential(3600, 150)
        time = np.datetime64("2024-01-01", "us") + np.cumsum(gaps * 1e6).astype("timedelta64[us]")
        value = np.cumsum(g.normal(size=150) * np.sqrt(gaps / 3600))
        frames.append(pl.DataFrame({"sensor": f"d{k}", "time": time, "value": value}))
    return pl.concat(frames)


@pytest.fixture(scope="module")
def model() -> Forecaster:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lstmkit.tasks.forecast.learning.STEPS_PER_EPOCH", 10)
        found = Forecaster(
            7, size="tiny", epochs=2, threads=1, known="promo,price", static="region,area",
            holidays="DE",
        )  # fmt: skip
        return found.fit(shops())


def quantiles(frame: pl.DataFrame) -> np.ndarray:
    return frame.select(c for c in frame.columns if c.startswith("q")).to_numpy()


def test_roles_are_kept_and_told(model: Forecaster, tmp_path: Path) -> None:
    roles = {c.name: c.role for c in model.shape_.covariates}
    assert roles == {
        "promo": "known", "price": "known", "holiday": "known", "region": "static",
        "area": "static",
    }  # fmt: skip
    model.save(tmp_path / "m.safetensors")
    loaded: Any = lstmkit.load(tmp_path / "m.safetensors")
    assert loaded.shape_ == model.shape_
    assert loaded.predict(shops()).equals(model.predict(shops()))
    assert any("promo" in note for note in model.notes_)


def test_future_rows_may_be_in_the_table_or_beside_it(model: Forecaster) -> None:
    table = shops()
    past = table.filter(pl.col("sold").is_not_null())
    future = table.filter(pl.col("sold").is_null()).drop("sold")
    inside, beside = model.predict(table), model.predict(past, future=future)
    assert inside.equals(beside)
    assert inside["day"].min() == table.filter(pl.col("sold").is_null())["day"].min()
    assert not model.predict(past).equals(inside)  # what is known ahead is used


def test_streamed_with_covariates_equals_predicted(model: Forecaster) -> None:
    table, stream = shops(), model.stream()
    for row in table.iter_rows(named=True):
        stream.step(row)
    frame = model.predict(table)
    for shop in ("s0", "s1"):
        expected = quantiles(frame.filter(pl.col("shop") == shop))
        assert stream.forecast(shop).quantiles == pytest.approx(expected, rel=1e-5)
    again = model.stream()
    again.restore(stream.save())
    assert np.array_equal(again.forecast("s1").quantiles, stream.forecast("s1").quantiles)


def test_what_was_told_ahead_is_kept_when_its_row_comes(model: Forecaster) -> None:
    told, plain = model.stream(), model.stream()
    table = shops(rows=60, ahead=1).filter(pl.col("shop") == "s0")
    for stream in (told, plain):
        for row in table.iter_rows(named=True):
            stream.step(row)
    last = table.row(-1, named=True)
    told.push("s0", np.datetime64(last["day"]), 60.0)  # its promotion is known already
    plain.push("s0", np.datetime64(last["day"]), 60.0, last)
    assert np.array_equal(told.forecast("s0").quantiles, plain.forecast("s0").quantiles)


def test_the_memory_of_a_longer_horizon_reads_what_is_known(model: Forecaster) -> None:
    table = shops()
    changed = table.with_columns(
        price=pl.when(pl.col("sold").is_null()).then(20.0).otherwise(pl.col("price"))
    )
    one, other = (model.predict(t, horizon=14) for t in (table, changed))
    assert one.height == 28
    late = one["day"] > one["day"].min() + np.timedelta64(8, "D")
    assert not one.filter(late)["y_hat"].equals(other.filter(late)["y_hat"])


def test_events_have_gaps_instead_of_a_grid(tmp_path: Path) -> None:
    table = events()
    model = Forecaster(
        5, size="tiny", epochs=1, threads=1, irregular=True, season=1, id="sensor", refit=False
    ).fit(table)
    assert [c.name for c in model.shape_.covariates] == ["gap"]
    frame = model.predict(table)
    typical = np.timedelta64(round(model.shape_.covariates[0].scale * 1e6), "us")
    times = frame.filter(pl.col("sensor") == "d1")["time"].to_numpy()
    last = table.filter(pl.col("sensor") == "d1")["time"].to_numpy()[-1]
    assert (np.diff(np.concatenate([[last], times])) == typical).all()
    stream = model.stream()
    for row in table.iter_rows(named=True):
        answer = stream.step(row)
    expected = quantiles(frame.filter(pl.col("sensor") == "d1"))
    assert stream.forecast("d1").quantiles == pytest.approx(expected, rel=1e-5)
    assert answer["forecast"][0]["time"].startswith(str(times[0])[:19])
    again = model.stream()
    again.restore(stream.save())
    assert np.array_equal(again.forecast("d0").quantiles, stream.forecast("d0").quantiles)
    with pytest.raises(lstmkit.errors.UserError, match="follow"):
        stream.push("d0", np.datetime64("2024-01-01T00:00"), 1.0)


def test_a_warm_start_keeps_the_columns(model: Forecaster, tmp_path: Path) -> None:
    model.save(tmp_path / "m.safetensors")
    newer = Forecaster(7, epochs=1, threads=1, refit=False)
    newer.fit(shops(rows=160), warm_start=tmp_path / "m.safetensors")
    assert newer.shape_ == model.shape_
    assert any("before -> after" in note for note in newer.notes_)


def test_streaming_covariates_needs_no_torch(model: Forecaster, tmp_path: Path) -> None:
    model.save(tmp_path / "m.safetensors")
    shops().write_csv(tmp_path / "shops.csv")
    code = (
        "import sys\n"
        "for m in ('torch', 'polars', 'lightning', 'pandas'): sys.modules[m] = None\n"
        "import lstmkit\n"
        "stream = lstmkit.load(sys.argv[1]).stream()\n"
        "answers = list(stream.run(sys.argv[2]))\n"
        "print(len(answers), len(answers[-1]['forecast']))\n"
    )
    names = [str(tmp_path / n) for n in ("m.safetensors", "shops.csv")]
    done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True)
    assert done.stdout.split() == [str(2 * (ROWS + AHEAD)), "7"], done.stderr
