"""Metrics and the baseline against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from lstmkit.tasks.forecast import baselines, metrics

P = (0.025, 0.1, 0.5, 0.9, 0.975)


def score(y: np.ndarray, quantiles: np.ndarray, scale: np.ndarray) -> dict[str, float]:
    return metrics.summarise(metrics.terms(y, quantiles[..., 2], quantiles, P, scale))


def test_official_m4_definitions() -> None:
    generator = np.random.default_rng(0)
    y, point = generator.uniform(1, 9, (2, 5, 8))
    history = generator.uniform(1, 9, (5, 30))
    scale = np.array([metrics.seasonal_scale(h, 4) for h in history])
    found = score(y, np.repeat(point[..., None], 5, -1), scale)
    assert found["smape"] == pytest.approx(
        np.mean(200 * np.abs(y - point) / (np.abs(y) + np.abs(point)))
    )
    expected = [
        np.abs(y[i] - point[i]).mean() / np.abs(h[4:] - h[:-4]).mean()
        for i, h in enumerate(history)
    ]
    assert found["mase"] == pytest.approx(np.mean(expected))
    assert found["mae"] == pytest.approx(np.abs(y - point).mean())
    assert found["rmse"] == pytest.approx(np.sqrt(((y - point) ** 2).mean()))


def test_weighted_quantile_loss_and_coverage() -> None:
    y = np.array([[1.0, 2.0, 3.0, 10.0]])
    quantiles = np.broadcast_to([0.0, 1.5, 2.0, 3.5, 9.0], (1, 4, 5)).copy()
    found = score(y, quantiles, np.ones(1))
    e = y[..., None] - quantiles
    by_hand = sum(
        max(p * e[0, t, k], (p - 1) * e[0, t, k]) for t in range(4) for k, p in enumerate(P)
    )
    assert found["wql"] == pytest.approx(2 * by_hand / 5 / 16)
    assert found["coverage_80"] == 0.5 and found["coverage_95"] == 0.75


def test_missing_truth_changes_nothing() -> None:
    generator = np.random.default_rng(1)
    y, quantiles = generator.normal(size=(3, 6)), np.sort(generator.normal(size=(3, 6, 5)))
    padded = np.concatenate([y, np.full((3, 2), np.nan)], 1)
    more = np.concatenate([quantiles, np.full((3, 2, 5), 7.0)], 1)
    assert score(padded, more, np.ones(3)) == pytest.approx(score(y, quantiles, np.ones(3)))
    empty = score(np.full((3, 6), np.nan), quantiles, np.ones(3))
    assert all(np.isnan(value) for value in empty.values())


def test_constant_series_do_not_count_for_mase() -> None:
    y = np.array([[1.0, 1.0], [2.0, 3.0]])
    quantiles = np.zeros((2, 2, 5))
    assert score(y, quantiles, np.array([0.0, 5.0]))["mase"] == pytest.approx(0.5)
    assert np.isnan(score(y, quantiles, np.array([0.0, np.nan]))["mase"])
    assert score(np.zeros((1, 2)), quantiles[:1], np.ones(1))["smape"] == 0


def test_seasonal_naive_repeats_the_last_observed_season() -> None:
    values = np.array([9.0, 1, 2, 3, 4, 5, np.nan, 7])
    assert baselines.seasonal_naive(values, 3, 5).tolist() == [5, 3, 7, 5, 3]
    assert baselines.seasonal_naive(np.array([4.0]), 3, 4).tolist() == [4] * 4


def test_seasonal_naive_quantiles_are_those_of_its_own_errors() -> None:
    generator = np.random.default_rng(2)
    values = generator.normal(size=4000).cumsum()
    history = values[:-1000]
    quantiles = baselines.seasonal_naive_quantiles(history, 1, 3, P)
    assert quantiles.shape == (3, 5) and (np.diff(quantiles, axis=1) > 0).all()
    width = quantiles[:, 3] - quantiles[:, 1]
    assert width == pytest.approx(2 * 1.2816 * np.sqrt([1, 2, 3]), rel=0.1)


def test_seasonal_naive_quantiles_of_a_short_series_are_finite() -> None:
    assert np.isfinite(baselines.seasonal_naive_quantiles(np.arange(5.0), 3, 9, P)).all()
