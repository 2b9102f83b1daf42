"""Quantiles that are wrong in a known way are put right, and few errors change little."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from lstmkit.calibration import conformal

P = (0.025, 0.1, 0.5, 0.9, 0.975)
NORMAL = np.array([NormalDist().inv_cdf(p) for p in P])


def forecasts(windows: int, steps: int, factor: float, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Truths that are normal, and quantiles too narrow by `factor`, in units of their own."""
    generator = np.random.default_rng(seed)
    unit = generator.uniform(1, 100, windows)
    truth = generator.normal(size=(windows, steps)) * unit[:, None]
    quantiles = factor * NORMAL * unit[:, None, None] * np.ones((1, steps, 1))
    return truth, quantiles, unit


def covered(truth: np.ndarray, quantiles: np.ndarray, low: int, high: int) -> float:
    return float(((truth >= quantiles[..., low]) & (truth <= quantiles[..., high])).mean())


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_intervals_get_their_coverage(factor: float) -> None:
    found = conformal.offsets(*forecasts(2000, 4, factor), P, independent=2000)
    truth, quantiles, unit = forecasts(5000, 4, factor, seed=1)
    corrected = quantiles + found * unit[:, None, None]
    assert covered(truth, corrected, 1, 3) == pytest.approx(0.8, abs=0.02)
    assert covered(truth, corrected, 0, 4) == pytest.approx(0.95, abs=0.015)


def test_each_step_has_its_own_correction() -> None:
    truth, quantiles, unit = forecasts(3000, 40, 1.0)
    truth[:, 20:] *= 3  # the second half of the horizon is harder than it was thought
    found = conformal.offsets(truth, quantiles, unit, P, independent=3000)
    assert np.abs(found[:15]).max() < 0.15
    assert found[25:, 3].min() > 2 and found[25:, 1].max() < -2


def test_the_median_is_left_alone_and_missing_truths_are_left_out() -> None:
    truth, quantiles, unit = forecasts(200, 4, 0.5)
    holes = truth.copy()
    holes[::2, 1] = np.nan
    whole = conformal.offsets(truth, quantiles, unit, P, independent=200)
    found = conformal.offsets(holes, quantiles, unit, P, independent=200)
    assert (found[:, 2] == 0).all() and np.isfinite(found).all()
    assert np.abs(found - whole).max() < 0.3
    nothing = conformal.offsets(np.full_like(truth, np.nan), quantiles, unit, P, independent=200)
    assert (nothing == 0).all()


def test_few_independent_windows_err_on_the_wide_side() -> None:
    scores = np.linspace(-1, 1, 1001)
    assert conformal.conformal_quantile(scores, 0.9, independent=3) == 1.0  # rank 4 of 3
    assert conformal.conformal_quantile(scores, 0.1, independent=3) == -1.0
    assert conformal.conformal_quantile(scores, 0.9, independent=1e9) == pytest.approx(
        0.8, abs=0.01
    )
    few, many = (conformal.offsets(*forecasts(400, 2, 1.0), P, independent=n) for n in (2, 400))
    assert few[:, 3].min() > 0.3 > np.abs(many[:, 3]).max()
    assert few[:, 1].max() < -0.3
