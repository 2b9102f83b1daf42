"""The baselines of anomaly detection find what they are for, and survive real tables."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from lstmkit.errors import UserError
from lstmkit.tasks.anomaly import baselines

NAMES = ["random", "moving_z_score", "pca", "isolation_forest"]


def waves(rows: int, seed: int) -> np.ndarray:
    """Three channels that move together, and one that is constant."""
    rng = np.random.default_rng(seed)
    t = np.arange(rows)
    base = np.sin(t / 9) + 0.3 * rng.normal(size=rows)
    parts = [base * k + 0.05 * rng.normal(size=rows) for k in (1.0, -2.0, 0.5)]
    return np.column_stack([*parts, np.full(rows, 7.0)])


def test_moving_z_score_is_the_distance_from_the_rows_before() -> None:
    rows = np.random.default_rng(0).normal(size=(450, 2))
    found = baselines.moving_z_score(rows)
    for i in (10, 57, 100, 101, 449):
        past = rows[max(i - baselines.WINDOW, 0) : i]
        expected = np.abs(rows[i] - past.mean(0)) / np.sqrt(past.var(0) + 1e-6)
        assert found[i] == pytest.approx(expected.max())
    assert not found[:10].any()


def test_moving_z_score_forgets_a_huge_value_and_knows_no_blocks() -> None:
    rows = np.random.default_rng(1).normal(size=(3 * baselines.BLOCK, 1))
    plain = baselines.moving_z_score(rows)
    assert baselines.moving_z_score(rows[1500:])[200:] == pytest.approx(plain[1700:], abs=1e-8)
    rows[5] = 1e9
    spoilt = baselines.moving_z_score(rows)
    assert spoilt[2 * baselines.BLOCK :] == pytest.approx(plain[2 * baselines.BLOCK :], abs=1e-8)


def test_each_finds_a_broken_relation_or_a_spike() -> None:
    train, test = waves(2000, 1), waves(600, 2)
    test[300, 1] += 2.0  # within the channel's range, against the others
    test[500, :3] += 12.0
    found = baselines.scores([train], [test], seed=3)
    assert list(found) == NAMES
    assert set(np.argsort(found["pca"][0])[-2:].tolist()) == {300, 500}
    assert int(np.argmax(found["moving_z_score"][0])) == 500
    assert 500 <= int(np.argmax(found["isolation_forest"][0])) < 500 + baselines.LAGS
    assert np.ptp(found["random"][0]) > 0.9


def test_the_seed_decides() -> None:
    data = [waves(300, 1)], [waves(200, 2)]
    one, again, other = (baselines.scores(*data, seed=s) for s in (1, 1, 2))
    for name in NAMES:
        assert np.array_equal(one[name][0], again[name][0])
    assert not np.array_equal(one["random"][0], other["random"][0])
    assert not np.array_equal(one["isolation_forest"][0], other["isolation_forest"][0])


def test_missing_values_are_filled_and_empty_rows_have_no_score() -> None:
    train, test = waves(500, 1), waves(200, 2)
    train[:40, 0], train[:, 2], test[:5, 1] = np.nan, np.nan, np.nan
    test[60:70] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = baselines.scores([train], [test], seed=0)
    for name in NAMES:
        missing = np.isnan(found[name][0])
        assert missing[60:70].all() and missing.sum() == 10


def test_a_value_that_is_missing_is_the_last_one_or_the_median() -> None:
    train = np.array([[1.0], [2.0], [9.0], [np.nan]])
    test = np.array([[np.nan], [5.0], [np.nan]])
    past, new = baselines._filled(train, test)
    back = new[:, 0] * np.std([1, 2, 9, 9]) + 2.0
    assert back == pytest.approx([2, 5, 5]) and past[3] == past[2]


@pytest.mark.parametrize(("learn", "rows", "channels"), [(1, 50, 2), (2, 5, 1), (10, 1, 3)])
def test_tiny_and_constant_tables_have_finite_scores(learn: int, rows: int, channels: int) -> None:
    test = np.random.default_rng(0).normal(size=(rows, channels))
    found = baselines.scores([np.ones((learn, channels))], [test], seed=0)
    assert all(np.isfinite(found[name][0]).all() and len(found[name][0]) == rows for name in NAMES)


def test_one_channel_is_seen_with_its_last_rows() -> None:
    train = np.sin(np.arange(3000.0) / 30)[:, None]
    test = train[:1000].copy()
    test[424] = -test[424]  # from 1 to -1: the value is usual, the step is not
    found = baselines.scores([train], [test], seed=0)["pca"][0]
    assert 424 <= int(np.argmax(found)) < 424 + baselines.LAGS


def test_nothing_to_learn_from() -> None:
    with pytest.raises(UserError, match="no row"):
        baselines.scores([np.zeros((0, 2))], [np.zeros((5, 2))])
