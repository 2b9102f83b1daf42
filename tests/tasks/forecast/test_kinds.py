"""The recurrent kind, ensembles, means, and settings that were searched: from fit to stream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import lstmkit
from lstmkit.errors import UserError
from lstmkit.inspection import inspect
from lstmkit.tasks.forecast.estimator import Forecaster

QUANTILES = ["q0.025", "q0.1", "q0.25", "q0.5", "q0.75", "q0.9", "q0.975"]


def quick(**options: Any) -> Forecaster:
    return Forecaster(7, size="tiny", epochs=2, threads=1, **options)


@pytest.fixture(scope="module")
def recurrent(make_table: Any) -> Forecaster:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lstmkit.tasks.forecast.learning.STEPS_PER_EPOCH", 10)
        return quick(kind="recurrent").fit(make_table())


def test_a_recurrent_model_beats_its_baseline_and_needs_its_memory(recurrent: Forecaster) -> None:
    report = recurrent.report_
    assert report.metrics["mase"] < report.baselines["seasonal_naive"]["mase"]
    assert report.memory_worth is not None
    assert report.memory_worth["mase"] != report.metrics["mase"]
    assert recurrent.program_.kind == "recurrent"


def test_a_recurrent_stream_predicts_bit_for_bit(recurrent: Forecaster, make_table: Any) -> None:
    frame = make_table(rows=120).with_row_index().filter(pl.col("index") % 7 != 2).drop("index")
    whole, first, second = (recurrent.stream() for _ in range(3))
    for k, (shop, day, sold) in enumerate(frame.iter_rows()):
        whole.push(shop, np.datetime64(day), sold)
        (first if k < 200 else second).push(shop, np.datetime64(day), sold)
        if k == 199:
            second.restore(first.save())
    answer = recurrent.predict(frame)
    for shop in whole.ids:
        expected = answer.filter(pl.col("shop") == shop).select(QUANTILES).to_numpy()
        assert np.array_equal(whole.forecast(shop).quantiles, expected)
        assert np.array_equal(second.forecast(shop).quantiles, expected)


def test_a_recurrent_model_is_saved_traced_and_inspected(
    recurrent: Forecaster, make_table: Any, tmp_path: Path
) -> None:
    recurrent.save(tmp_path / "m.safetensors")
    loaded: Any = lstmkit.load(tmp_path / "m.safetensors")
    assert loaded.predict(make_table()).equals(recurrent.predict(make_table()))
    assert loaded.evaluate(make_table()).metrics == recurrent.report_.metrics
    trace = loaded.trace(make_table())
    gate = trace.layers[0]["forget_gate"]
    assert gate.shape[1:] == (4, 16) and (gate > 0).all() and (gate < 1).all()
    assert trace.time.shape == trace.series.shape == (4, len(gate))
    found = inspect(loaded.probe(make_table()))
    assert found.recording.layers and found.horizon is not None


def test_a_recurrent_model_says_what_it_cannot(recurrent: Forecaster, make_table: Any) -> None:
    assert recurrent.predict(make_table(), horizon=3).height == 4 * 3
    with pytest.raises(UserError, match="its own horizon"):
        recurrent.predict(make_table(), horizon=20)


def test_members_are_averaged(make_table: Any) -> None:
    pair = quick(members=2, refit=False).fit(make_table())
    weights = pair.model_.weights
    names = [n for n in weights if n.startswith("members.1.")]
    assert names and not any(
        np.array_equal(weights[n], weights[n.replace("members.1.", "members.0.")])
        for n in names
        if n.endswith("lstm.weight_hh_l0")
    )
    alone = quick(refit=False).fit(make_table())
    for name, weight in alone.model_.weights.items():
        if name != "calibration":
            assert np.array_equal(weight, weights[f"members.0.{name}"])
    assert len(pair.trace(make_table()).layers) == 2


def test_the_mean_is_forecast_where_it_is_asked_for(make_table: Any) -> None:
    g = np.random.default_rng(0)
    table = make_table()
    skewed = table.with_columns(sold=pl.Series(g.exponential(1.0, table.height) ** 2 * 10))
    mean = quick(point="mean", refit=False).fit(skewed)
    frame = mean.predict(skewed)
    assert frame["y_hat"].mean() > frame["q0.5"].mean()  # of a distribution with a long tail


def test_no_sale_is_never_forecast_below_zero(make_table: Any) -> None:
    g = np.random.default_rng(0)
    table = make_table()
    rare = table.with_columns(sold=pl.Series(g.poisson(0.3, table.height).astype(float)))
    floored = quick(refit=False).fit(rare)
    assert any("below 0" in note for note in floored.notes_)
    assert min(floored.predict(rare).select(QUANTILES).min().row(0)) == 0
    free = quick(refit=False, nonnegative=False).fit(rare)
    assert min(free.predict(rare).select(QUANTILES).min().row(0)) < 0


@pytest.mark.slow  # five trainings
def test_trials_are_judged_by_rows_that_are_not_scored(make_table: Any) -> None:
    found = quick(trials=3, refit=False).fit(make_table())
    (note,) = (n for n in found.notes_ if n.startswith("best of 3 trials"))
    assert "learning_rate" in note
    changed = make_table().with_columns(
        sold=pl.when(pl.col("day") > pl.date(2024, 3, 23)).then(1.0).otherwise(pl.col("sold"))
    )
    again = quick(trials=3, refit=False).fit(changed)
    assert note in again.notes_  # the held-out rows had no say


def test_a_floor_needs_zeros_and_no_negative_value(make_table: Any) -> None:
    table = make_table(series=2)
    day = pl.int_range(pl.len()) % 5
    for values, floored in ((day, True), (day - 1, False), (day + 1, False)):
        model = quick(refit=False).fit(table.with_columns(sold=values.cast(pl.Float64)))
        assert model.shape_.nonnegative == floored
