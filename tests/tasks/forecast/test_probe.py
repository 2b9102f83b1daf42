"""A forecaster as inspection sees it: the same forecasts, the right rows at the right steps."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from lstmkit.inspection.examine import inspect
from lstmkit.tasks.forecast.estimator import Forecaster


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Forecaster, pl.DataFrame]:
    from lstmkit.tasks.forecast import learning

    t = np.arange(240)
    days = np.datetime64("2024-01-01") + t
    rise = {"a": 3.0, "b": 50.0, "c": 7.0}
    frame = pl.concat(
        [
            pl.DataFrame({"id": n, "day": days, "y": k * (2 + np.sin(2 * np.pi * t / 7)) + t / 50})
            for n, k in rise.items()
        ]
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning, "STEPS_PER_EPOCH", 10)
        model = Forecaster(10, size="tiny", epochs=1, threads=1).fit(frame)
    return model, frame


def test_the_answer_ahead_is_what_predict_says(fitted: tuple[Forecaster, pl.DataFrame]) -> None:
    model, frame = fitted
    found = inspect(model.probe(frame, samples=3, future=True), method="none")
    forecast = next(c for c in found.curves if c.kind == "prediction")
    said = model.predict(frame)["y_hat"].to_numpy().reshape(3, 10)
    np.testing.assert_allclose(forecast.y, said, rtol=1e-4)
    assert found.probe.samples == ("a", "b", "c") and found.horizon.cut is None


def test_held_out_windows_have_their_truth_and_the_reports_score(
    fitted: tuple[Forecaster, pl.DataFrame],
) -> None:
    model, frame = fitted
    found = inspect(model.probe(frame, only=["b"]), method="none")
    truth = next(c for c in found.curves if c.kind == "truth")
    rows = frame.filter(pl.col("id") == "b")["y"].to_numpy()
    np.testing.assert_allclose(truth.y[0], rows[-10:])
    read = next(c for c in found.curves if c.kind == "input")
    np.testing.assert_allclose(read.y[0], rows[-10 - len(read.x) : -10])
    assert found.horizon.cut is not None
    assert found.horizon.cut.full == pytest.approx(model.report_.metrics["mase"], rel=1e-4)


def test_forgetting_at_the_anchor_is_as_bad_as_having_no_past(
    fitted: tuple[Forecaster, pl.DataFrame],
) -> None:
    model, frame = fitted
    cut = inspect(model.probe(frame), method="none").horizon.cut
    assert cut is not None and cut.kept[0] == 0
    assert cut.score[-1] == pytest.approx(cut.full, rel=1e-5)


def test_rows_lie_within_the_step_that_reads_them(
    fitted: tuple[Forecaster, pl.DataFrame],
) -> None:
    model, frame = fitted
    probe, shape = model.probe(frame), model.shape_
    curves = inspect(probe, method="none").curves
    read = next(c for c in curves if c.kind == "input")
    steps = np.arange(shape.lookback) // shape.segment
    np.testing.assert_array_equal(np.floor(read.x + 0.5), steps)
    answered = next(c for c in curves if c.kind == "prediction")
    assert answered.x[0] > probe.anchor[0] + 0.5 - 1e-9
    first = probe.labels[0, int(probe.anchor[0]) + 1]
    assert first == "2024-08-18"  # the tenth day from the end


@pytest.mark.parametrize("method", ["integrated-gradients", "occlusion"])
def test_the_account_is_in_the_users_units(
    fitted: tuple[Forecaster, pl.DataFrame], method: str
) -> None:
    pytest.importorskip("captum")
    model, frame = fitted
    found = inspect(model.probe(frame, samples=3), method=method)
    assert found.attribution is not None and found.gap is not None
    N, F, T = found.attribution.shape
    assert found.probe.labels.shape == (N, T) and len(found.features) == F
    assert found.features[0] == "y"
    size = np.abs(found.attribution).sum((1, 2))
    assert size[1] > 4 * size[0]  # series b is seventeen times as large
    if method == "integrated-gradients":
        assert (np.abs(found.gap) < 0.05 * size).all()


def test_a_rows_contribution_stands_at_the_step_that_reads_it(
    fitted: tuple[Forecaster, pl.DataFrame],
) -> None:
    from lstmkit.inspection import examine
    from lstmkit.inspection.attribution import Attribution

    model, frame = fitted
    probe, shape = model.probe(frame, samples=3), model.shape_
    values = {f.input: np.zeros(f.baseline.shape) for f in probe.features}
    row = shape.lookback - 1  # the last one that is read
    values["values"][1, row], values["future_calendar"][2, 0, 1] = 1.0, 1.0
    zero = np.zeros(3)
    _, names = examine._groups(probe)
    found = examine._by_step(probe, Attribution(values, zero, zero, "occlusion"), names)
    assert np.argwhere(found).tolist() == [[1, 0, shape.past_steps - 1], [2, 1, shape.past_steps]]
    assert found[1].sum() == pytest.approx(probe.scale[1])


def test_fewer_windows_are_studied_where_they_would_not_fit(
    fitted: tuple[Forecaster, pl.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    from lstmkit.inspection import examine

    model, frame = fitted
    probe = model.probe(frame)
    assert len(probe.studied_anchor[examine._as_many_as_fit(probe)]) == 64
    monkeypatch.setattr(examine, "MOST_CELLS", 5 * model.facts_["width"] * probe.labels.shape[1])
    assert len(probe.studied_anchor[examine._as_many_as_fit(probe)]) == 5
    assert inspect(probe, method="none").horizon.reach >= 1
