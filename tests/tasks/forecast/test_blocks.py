"""Other horizons, sample paths, and many series in several processes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lstmkit.errors import UserError
from lstmkit.tasks.forecast import blocks
from lstmkit.tasks.forecast.estimator import Forecaster


def test_a_shorter_horizon_is_the_beginning(fitted: Forecaster, make_table: Any) -> None:
    whole, short = fitted.predict(make_table()), fitted.predict(make_table(), horizon=3)
    assert short.height == 4 * 3
    first = whole.filter(whole["shop"] == "s2")[:3]
    assert short.filter(short["shop"] == "s2").equals(first)


def test_a_longer_horizon_goes_on_from_the_forecast(fitted: Forecaster, make_table: Any) -> None:
    table = make_table()
    whole, long = fitted.predict(table), fitted.predict(table, horizon=20)
    assert long.height == 4 * 20
    for shop in ("s0", "s3"):
        ahead = long.filter(long["shop"] == shop)
        assert ahead[:7].equals(whole.filter(whole["shop"] == shop))
        assert (np.diff(ahead["day"].to_numpy()) == np.timedelta64(1, "D")).all()
        past = table.filter(table["shop"] == shop)["sold"].to_numpy()
        naive = np.resize(past[-7:], 20)
        assert np.abs(ahead["y_hat"].to_numpy() - naive).mean() < 0.1 * past.mean()
        width = (ahead["q0.975"] - ahead["q0.025"]).to_numpy()
        assert (
            width[14:].mean() > width[:7].mean()
        )  # what is unknown of a block goes on in the next


def test_sample_paths_agree_with_the_quantiles(fitted: Forecaster, make_table: Any) -> None:
    table = make_table()
    paths, frame = fitted.sample(table, 2000), fitted.predict(table)
    assert paths.shape == (4, 2000, 7)
    for name, p in (("q0.1", 0.1), ("q0.5", 0.5), ("q0.9", 0.9)):
        expected = frame[name].to_numpy().reshape(4, 7)
        spread = (frame["q0.9"] - frame["q0.1"]).to_numpy().reshape(4, 7)
        assert (np.abs(np.quantile(paths, p, axis=1) - expected) < 0.15 * spread).all()
    rows = fitted.predict(table, samples=3)
    assert rows.columns == ["shop", "day", "sample", "y_hat"]
    assert rows.height == 4 * 3 * 7
    assert np.array_equal(rows["y_hat"].to_numpy().reshape(4, 3, 7), fitted.sample(table, 3))


def test_one_quantile_has_no_paths(make_table: Any) -> None:
    alone = Forecaster(7, size="tiny", epochs=1, threads=1, quantiles="0.5", refit=False)
    alone.fit(make_table(series=2))
    assert alone.predict(make_table(series=2)).columns == ["shop", "day", "y_hat", "q0.5"]
    with pytest.raises(UserError, match="more than one quantile"):
        alone.predict(make_table(series=2), samples=2)


def test_blocks_and_one_block_agree(
    fitted: Forecaster, make_table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = fitted.predict(make_table(series=5))
    monkeypatch.setattr(blocks, "SERIES", 2)
    assert fitted.predict(make_table(series=5)).equals(expected)


@pytest.mark.slow  # two interpreters are started
def test_processes_change_nothing(
    fitted: Forecaster, make_table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "SERIES", 2)
    table = make_table(series=5)
    for asked in ({}, {"horizon": 12}, {"samples": 4}):
        alone = fitted.predict(table, **asked)
        assert fitted.predict(table, **asked, processes=2).equals(alone)


def test_recalibrated_by_newer_rows(fitted: Forecaster, make_table: Any) -> None:
    import copy

    newer = make_table(rows=90 + 20 * 7)
    model = copy.copy(fitted)
    before = fitted.predict(newer)
    model.recalibrate(newer)
    after = model.predict(newer)
    assert after["y_hat"].equals(before["y_hat"]) and not after["q0.9"].equals(before["q0.9"])
    assert after.equals(fitted.predict(newer, recalibrate=True))
    assert fitted.predict(newer).equals(before)
    again = fitted.evaluate(newer, recalibrate=True).metrics
    plain = fitted.evaluate(newer).metrics
    assert again["mase"] == plain["mase"]
    assert abs(again["coverage_80"] - 0.8) < abs(plain["coverage_80"] - 0.8)
    with pytest.raises(UserError, match="nothing newer"):
        model.recalibrate(make_table())
