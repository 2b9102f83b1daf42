"""Other horizons, sample paths, and many series in several processes."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
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


def test_later_blocks_know_what_day_it_is(
    fitted: Forecaster, make_table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lstmkit.tasks.forecast import ahead

    seen: list[np.ndarray] = []

    def watched(shape: Any, window: Any, last: np.ndarray, *more: Any) -> Any:
        seen.append(last)
        return inputs(shape, window, last, *more)

    inputs = ahead.inputs
    monkeypatch.setattr(ahead, "inputs", watched)
    table = make_table(series=1)
    fitted.predict(table, horizon=20)
    end = table["day"].to_numpy()[-1].astype("datetime64[D]")
    assert [set(last.astype("datetime64[D]")) for last in seen] == [{end + 7}, {end + 14}]


def test_blocks_draw_paths_of_their_own(
    fitted: Forecaster, make_table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "SERIES", 1)
    one = make_table(series=1)
    twins = pl.concat([one, one.with_columns(shop=pl.lit("twin"))])
    paths = fitted.sample(twins, 5)
    assert not np.array_equal(paths[0], paths[1])
    assert np.array_equal(paths, fitted.sample(twins, 5))


def test_no_origin_is_corrected_by_its_own_truth(fitted: Forecaster, make_table: Any) -> None:
    from lstmkit.tasks.forecast import rolling, scoring

    table, corpus = fitted._read(make_table(rows=90 + 10 * 7))
    chosen = scoring.unseen(corpus, [s.id for s in table.series], fitted.seen_, None)
    before = rolling.corrected(fitted.model_, corpus, chosen)
    last = chosen.origin == corpus.lengths[chosen.series] - 7
    for stop in corpus.stop:
        corpus.values[stop - 7 : stop] += 1e3
    after = rolling.corrected(fitted.model_, corpus, chosen)
    assert last.sum() == 4 and np.array_equal(after, before)
