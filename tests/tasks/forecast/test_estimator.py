"""Forecaster: frames in, honest scores and frames out, one file in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import lstmkit
from lstmkit.errors import UserError
from lstmkit.tasks.forecast import fitting
from lstmkit.tasks.forecast.estimator import Forecaster, parse_quantiles

COLUMNS = [f"q{q}" for q in ("0.025", "0.1", "0.25", "0.5", "0.75", "0.9", "0.975")]


def quick(**params: Any) -> Forecaster:
    return Forecaster(**{"horizon": 7, "size": "tiny", "epochs": 1, "threads": 1, **params})


def test_forecast_has_the_users_names_and_sorted_quantiles(
    fitted: Forecaster, make_table: Any
) -> None:
    answer = fitted.predict(make_table())
    assert answer.columns == ["shop", "day", "y_hat", *COLUMNS]
    assert answer.height == 4 * 7
    quantiles = answer.select(COLUMNS).to_numpy()
    assert np.isfinite(quantiles).all() and (np.diff(quantiles, axis=1) >= 0).all()
    assert (answer["y_hat"] == answer["q0.5"]).all()


def test_pandas_in_pandas_out(fitted: Forecaster, make_table: Any) -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(make_table().to_dict(as_series=False))
    answer = fitted.predict(frame)
    assert isinstance(answer, pd.DataFrame)
    assert np.allclose(answer["y_hat"], fitted.predict(make_table())["y_hat"])


def test_program_equals_the_torch_network(fitted: Forecaster) -> None:
    import torch

    generator = np.random.default_rng(0)
    shape = fitted.shape_
    mask = (generator.random((5, shape.lookback)) > 0.2).astype(np.float32)
    mask[0] = 0
    given = {
        "values": generator.normal(size=(5, shape.lookback)).astype(np.float32) * mask,
        "mask": mask,
        "past_calendar": generator.normal(size=(5, shape.past_steps, shape.calendar_width)),
        "future_calendar": generator.normal(size=(5, shape.future_steps, shape.calendar_width)),
    }
    given = {name: value.astype(np.float32) for name, value in given.items()}
    outputs, _ = fitted.program_.run("forecast", given)
    with torch.no_grad():
        expected = fitted.network_(*(torch.from_numpy(v) for v in given.values())).numpy()
    assert outputs["quantiles"].shape == (5, 7, 7)
    assert np.abs(outputs["quantiles"] - expected).max() < 1e-5


def test_saved_and_loaded_it_answers_the_same(
    fitted: Forecaster, make_table: Any, tmp_path: Path
) -> None:
    fitted.save(tmp_path / "m.safetensors")
    loaded = lstmkit.load(tmp_path / "m.safetensors")
    assert isinstance(loaded, Forecaster) and loaded.get_params()["size"] == "tiny"
    assert loaded.predict(make_table()).equals(fitted.predict(make_table()))
    assert loaded.evaluate(make_table()).metrics == fitted.evaluate(make_table()).metrics
    assert loaded.report_.metrics == fitted.report_.metrics


def test_heldout_rows_are_scored_with_the_weights_that_never_saw_them(
    fitted: Forecaster, make_table: Any
) -> None:
    report = fitted.evaluate(make_table())
    assert report.metrics == fitted.report_.metrics
    assert report.data["weights"] == "held out" and report.data["windows"] == 4
    names = {"smape", "mase", "mae", "rmse", "wql", "msis", "coverage_80", "coverage_95"}
    assert set(report.metrics) == set(report.baselines["seasonal_naive"]) == names
    assert report.memory_worth is not None and report.memory_worth != report.metrics


def test_changing_the_heldout_rows_changes_no_heldout_weight(make_table: Any) -> None:
    frame = make_table()
    changed = frame.with_columns(
        sold=pl.when(pl.col("day") > pl.date(2024, 3, 23)).then(1.0).otherwise(pl.col("sold"))
    )
    one, other = quick().fit(frame), quick().fit(changed)
    for name, weight in one.heldout_.weights.items():
        assert np.array_equal(weight, other.heldout_.weights[name])
    assert any((w != other.model_.weights[n]).any() for n, w in one.model_.weights.items())


def test_newer_rows_are_scored_with_the_final_weights(fitted: Forecaster, make_table: Any) -> None:
    report = fitted.evaluate(make_table(rows=104))
    assert report.data["weights"] == "final" and report.data["windows"] == 8
    assert fitted.evaluate(make_table(rows=104), windows=1).data["windows"] == 4
    partial = fitted.evaluate(make_table(rows=93))
    assert partial.data["rows"] == 4 * 3


def test_unseen_series_are_scored_whole(fitted: Forecaster, make_table: Any) -> None:
    report = fitted.evaluate(make_table(series=2, seed=5, first=9))
    assert report.data["series"] == 2 and report.data["windows"] > 2
    assert any("new to the model" in note for note in report.notes)


def test_known_series_under_other_names_are_in_sample(fitted: Forecaster, make_table: Any) -> None:
    renamed = make_table().with_columns(shop=pl.col("shop") + "x")
    with pytest.raises(UserError, match="in-sample"):
        fitted.evaluate(renamed)
    with pytest.raises(UserError, match="in-sample"):
        fitted.evaluate(make_table().filter(pl.col("day") < pl.date(2024, 3, 1)))


def test_without_refit_the_last_rows_stay_unseen(make_table: Any) -> None:
    model = quick(refit=False).fit(make_table())
    assert model.model_ is model.heldout_
    assert model.evaluate(make_table()).metrics == model.report_.metrics


def test_evaluate_with_refit_rolls_origins(fitted: Forecaster, make_table: Any) -> None:
    report = fitted.evaluate(make_table(), windows=2, refit=True)
    assert report.data["windows"] == 8 and np.isfinite(report.metrics["mase"])


def test_same_seed_same_model(make_table: Any) -> None:
    first = quick(seed=3, refit=False)
    one, other = first.fit(make_table()), quick(seed=3, refit=False).fit(make_table())
    assert one.predict(make_table()).equals(other.predict(make_table()))
    third = quick(seed=4, refit=False).fit(make_table())
    assert not third.predict(make_table()).equals(one.predict(make_table()))


def test_resumes_from_a_checkpoint(make_table: Any, tmp_path: Path) -> None:
    class Stop:
        def on_epoch(self, epoch: int, *_: Any) -> None:
            if epoch == 2:
                raise RuntimeError("the machine went down")

    path, table = tmp_path / "m.checkpoint", make_table()
    with pytest.raises(RuntimeError):
        quick(epochs=3).fit(table, checkpoint=path, callbacks=[Stop()])
    resumed = quick(epochs=3).fit(table, checkpoint=path, resume=True)
    straight = quick(epochs=3).fit(table)
    assert resumed.predict(table).equals(straight.predict(table))
    assert [file.name for file in tmp_path.iterdir()] == ["m.checkpoint"]


def test_y_and_validation_are_refused(make_table: Any) -> None:
    with pytest.raises(UserError, match="neither y nor validation"):
        quick().fit(make_table(), make_table())  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [1e-9, 1e12])
def test_the_scale_of_the_values_does_not_matter(make_table: Any, scale: float) -> None:
    frame = make_table(series=2)
    scaled = frame.with_columns(sold=pl.col("sold") * scale)
    one, other = quick(refit=False).fit(frame), quick(refit=False).fit(scaled)
    expected = one.predict(frame)["y_hat"].to_numpy() * scale
    assert np.allclose(other.predict(scaled)["y_hat"].to_numpy(), expected, rtol=1e-3)


def test_constant_zero_and_negative_series_have_finite_forecasts(make_table: Any) -> None:
    frame = make_table(series=4).with_columns(
        sold=pl.col("shop").replace_strict({"s0": 0.0, "s1": 7.0}, default=-pl.col("sold"))
    )
    model = quick().fit(frame)
    answer = model.predict(frame)
    assert np.isfinite(answer.select("y_hat", *COLUMNS).to_numpy()).all()
    constant = answer.filter(pl.col("shop") == "s1")["y_hat"].to_numpy()
    assert np.allclose(constant, 7.0, atol=0.01)


def test_missing_rows_and_unequal_lengths(make_table: Any) -> None:
    frame = make_table(rows=100).with_row_index()
    gaps = frame.filter(
        (pl.col("index") % 11 != 3) & ((pl.col("shop") != "s1") | (pl.col("index") > 150))
    )
    model = quick().fit(gaps.drop("index"))
    assert np.isfinite(model.predict(gaps.drop("index"))["y_hat"].to_numpy()).all()
    assert np.isfinite(model.report_.metrics["mase"])


def test_short_series_are_skipped_and_counted(make_table: Any) -> None:
    short = make_table(series=1, rows=6, first=8)
    model = quick().fit(pl.concat([make_table(), short]))
    assert any("1 of 5 series skipped" in note for note in model.report_.notes)
    assert model.predict(pl.concat([make_table(), short])).height == 5 * 7
    assert model.evaluate(pl.concat([make_table(), short])).metrics == model.report_.metrics


@pytest.mark.parametrize(("rows", "said"), [(6, "longer than the horizon"), (20, "hold rows out")])
def test_nothing_but_short_series(make_table: Any, rows: int, said: str) -> None:
    with pytest.raises(UserError, match=said):
        quick().fit(make_table(rows=rows))


def test_a_horizon_is_needed(make_table: Any) -> None:
    with pytest.raises(UserError, match="--horizon"):
        Forecaster().fit(make_table())


def test_warm_start_begins_with_the_weights_of_the_model(
    fitted: Forecaster, make_table: Any, tmp_path: Path
) -> None:
    path = tmp_path / "m.safetensors"
    fitted.save(path)
    warm = quick(learning_rate=1e-9).fit(make_table(), warm_start=path)
    assert warm.report_.metrics["mase"] == pytest.approx(fitted.report_.metrics["mase"], rel=1e-3)
    assert any("before -> after" in note for note in warm.report_.notes)
    with pytest.raises(UserError, match="another horizon"):
        quick(horizon=5).fit(make_table(), warm_start=path)
    with pytest.raises(UserError, match="already learnt"):
        quick(test_windows=3).fit(make_table(), warm_start=path)


def test_trace_shows_gates_of_past_and_future(fitted: Forecaster, make_table: Any) -> None:
    trace = fitted.trace(make_table())
    shape = fitted.shape_
    steps = shape.past_steps + shape.future_steps
    assert trace.time.shape == trace.series.shape == (4, steps)
    gate = trace.layers[0]["forget_gate"]
    assert gate.shape == (steps, 4, 16) and ((gate > 0) & (gate < 1)).all()
    assert trace.future_steps == shape.future_steps
    assert "forget" in trace._repr_html_()


@pytest.mark.parametrize("given", ["0.1,x", [1.5], [0.0], "", 3])
def test_quantiles_that_cannot_be(given: Any) -> None:
    with pytest.raises(UserError, match="quantiles"):
        parse_quantiles(given)


def test_the_median_is_always_forecast() -> None:
    assert parse_quantiles("0.9,0.1") == (0.1, 0.5, 0.9)


def test_split_holds_out_the_end_and_validates_before_it() -> None:
    parts = fitting.split(np.array([100, 20, 60]), 10, 2)
    assert parts.cut.tolist() == [80, 20, 40] and parts.tested.tolist() == [0, 2]
    assert (parts.train[[0, 2]] <= parts.cut[[0, 2]] - 10).all() and parts.train[1] == 20
    series, origin = fitting.validation_windows(parts, 10)
    assert set(series) == {0, 2}
    assert (origin >= parts.train[series]).all() and (origin + 10 <= parts.cut[series]).all()


@pytest.mark.slow
def test_beats_the_seasonal_naive_on_trend_and_season(make_table: Any) -> None:
    report = Forecaster(14, epochs=10).fit(make_table(series=6, rows=400)).report_
    naive = report.baselines["seasonal_naive"]
    for metric in ("mase", "smape", "wql"):
        assert report.metrics[metric] < 0.9 * naive[metric]
