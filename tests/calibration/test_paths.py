"""Sample paths keep each step's distribution and the dependence between the steps."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from lstmkit.calibration import paths

P = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
KNOTS = np.array([NormalDist().inv_cdf(p) for p in P])
H = 12


def walks(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random walks (W, H) and their true quantiles, the same for all (W, H, Q)."""
    steps = np.random.default_rng(seed).normal(size=(count, H))
    spread = np.sqrt(np.arange(1, H + 1))
    return steps.cumsum(1), np.broadcast_to(spread[:, None] * KNOTS, (count, H, len(P)))


def test_normal_scores_of_a_right_forecast_are_normal() -> None:
    truth, quantiles = walks(4000)
    scores = paths.normal_scores(truth, quantiles, P)
    assert scores.mean(0) == pytest.approx(np.zeros(H), abs=0.06)
    assert scores.std(0) == pytest.approx(np.ones(H), abs=0.06)


def test_scores_and_values_are_inverse() -> None:
    truth, quantiles = walks(50)
    truth[3, 4] = np.nan
    scores = paths.normal_scores(truth, quantiles, P)
    again = paths.at_scores(scores[:, None], quantiles, P)[:, 0]
    inside = np.abs(scores) < paths.LARGEST
    assert again[inside] == pytest.approx(truth[inside], abs=1e-6)
    assert np.isnan(scores[3, 4]) and np.isnan(again[3, 4])


def test_a_sum_over_the_horizon_has_its_spread() -> None:
    truth, quantiles = walks(500)
    rows = paths.template(paths.normal_scores(truth, quantiles, P))
    generator = np.random.default_rng(1)
    walked = paths.sample(quantiles[:1], P, rows, 4000, generator)[0]
    alone = paths.sample(quantiles[:1], P, rows[:0], 4000, generator)[0]
    expected = np.sqrt((np.arange(1, H + 1) ** 2).sum())  # of the sum of a random walk
    assert walked.sum(1).std() == pytest.approx(expected, rel=0.1)
    assert alone.sum(1).std() < 0.5 * expected
    assert np.corrcoef(walked[:, 0], walked[:, 1])[0, 1] == pytest.approx(np.sqrt(0.5), abs=0.1)


def test_each_step_keeps_its_distribution() -> None:
    truth, quantiles = walks(300)
    rows = paths.template(paths.normal_scores(truth, quantiles, P))
    walked = paths.sample(quantiles[:2], P, rows, 8000, np.random.default_rng(2))
    found = np.moveaxis(np.quantile(walked, P, axis=1), 0, -1)
    assert found == pytest.approx(quantiles[:2], abs=0.25)


def test_tied_quantiles_and_windows_with_holes() -> None:
    truth, quantiles = walks(40)
    flat = np.zeros_like(quantiles)
    scores = paths.normal_scores(np.zeros_like(truth), flat, P)
    assert np.isfinite(scores).all()
    truth[:, 5] = np.nan  # no window is whole
    rows = paths.template(paths.normal_scores(truth, quantiles, P))
    assert rows.shape == (40, H) and np.isfinite(rows).all()
    assert rows.dtype == np.float32
