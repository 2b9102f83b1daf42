"""Thresholds chosen without labels: what they promise on rows to come."""

from __future__ import annotations

import numpy as np
import pytest

from lstmkit.calibration import thresholds
from lstmkit.calibration.thresholds.budget import alert_peaks
from lstmkit.calibration.thresholds.dynamic import dynamic_level
from lstmkit.calibration.thresholds.extreme import pareto_quantile
from lstmkit.errors import UserError

OPTIONS = {
    "evt": {"risk": 1e-3},
    "dynamic": {"window": 500},
    "conformal": {"alpha": 1e-3, "rate": 1.0},
    "budget": {"per_day": 2.0, "rows_per_day": 1440.0},
}


def scores_of(n: int, seed: int = 0, spread: float = 1.0) -> np.ndarray:
    """Scores of correlated normal rows, in decades."""
    draw = np.random.default_rng(seed)
    x = np.convolve(draw.normal(size=n + 9), np.full(10, 10**-0.5), "valid") * spread
    return np.log1p(np.exp(2 * x))


@pytest.mark.parametrize("name", thresholds.NAMES)
def test_run_is_update_row_after_row_and_survives_saving(name: str) -> None:
    normal, new = scores_of(3000), scores_of(1500, 1)
    new[::97], new[400:420] = np.nan, 9.0
    whole = thresholds.make(name, **OPTIONS[name]).fit(normal)
    alone = thresholds.make(name, **OPTIONS[name]).fit(normal)
    pieces = thresholds.make(name, **OPTIONS[name]).fit(normal)
    levels, alarms = whole.run(new)
    assert alarms.any() and not alarms[np.isnan(new)].any()
    found = []
    for score in new:
        found.append((alone.level, alone.update(score)))
    assert [f[0] for f in found] == levels.tolist() and [f[1] for f in found] == alarms.tolist()
    first = pieces.run(new[:777])
    later = thresholds.make(name, **OPTIONS[name])
    later.restore(pieces.save())
    second = later.run(new[777:])
    np.testing.assert_array_equal(np.concatenate([first[0], second[0]]), levels)
    np.testing.assert_array_equal(np.concatenate([first[1], second[1]]), alarms)


@pytest.mark.parametrize("name", thresholds.NAMES)
@pytest.mark.parametrize(
    "scores", [np.full(100, np.nan), np.zeros(5), np.append(np.zeros(99), np.inf)]
)
def test_scores_that_say_nothing_are_refused(name: str, scores: np.ndarray) -> None:
    with pytest.raises(UserError):
        thresholds.make(name, **OPTIONS[name]).fit(scores)


@pytest.mark.parametrize("name", thresholds.NAMES)
def test_scores_all_alike_alarm_for_what_is_higher_only(name: str) -> None:
    made = thresholds.make(name, **OPTIONS[name]).fit(np.full(500, 0.3))
    assert not made.update(0.3) and made.update(50.0)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("evt", {"risk": 0}),
        ("conformal", {"alpha": 1.5}),
        ("conformal", {"rate": -1.0}),
        ("dynamic", {"window": 10}),
        ("budget", {"per_day": 0, "rows_per_day": 1440}),
        ("budget", {"per_day": 100, "rows_per_day": 1440, "gap": 30}),
        ("guess", {}),
    ],
)
def test_impossible_options_are_refused(name: str, options: dict[str, float]) -> None:
    with pytest.raises(UserError):
        thresholds.make(name, **options)


def test_pareto_quantiles_are_those_of_the_distribution() -> None:
    draw = np.random.default_rng(0)
    exponential = draw.exponential(2.0, 200_000)
    assert pareto_quantile(exponential, 1e-3) == pytest.approx(2 * np.log(1000), rel=0.03)
    heavy = (draw.random(200_000) ** -0.2 - 1) / 0.2  # shape 0.2, scale 1
    assert pareto_quantile(heavy, 1e-3) == pytest.approx((1e3**0.2 - 1) / 0.2, rel=0.05)
    assert pareto_quantile(np.full(50, 1.0), 0.1) >= 1.0 and pareto_quantile(heavy, 2.0) == 0.0


def test_extreme_values_keep_the_risk() -> None:
    draw = np.random.default_rng(1)
    made = thresholds.make("evt", risk=1e-3).fit(draw.exponential(size=20_000))
    assert made.level == pytest.approx(np.log(1000), rel=0.08)
    _, alarms = made.run(draw.exponential(size=200_000))
    assert 0.6e-3 < alarms.mean() < 1.6e-3


def test_extreme_values_follow_drift_where_asked() -> None:
    draw = np.random.default_rng(2)
    normal, drifted = draw.normal(size=5000), draw.normal(size=5000) + np.linspace(0, 6, 5000)
    plain = thresholds.make("evt", risk=1e-3).fit(normal).run(drifted)[1].mean()
    follows = thresholds.make("evt", risk=1e-3, depth=50).fit(normal).run(drifted)[1].mean()
    assert follows < 0.01 and follows < plain / 2


def test_the_dynamic_level_lies_between_normal_and_anomalous() -> None:
    scores = np.abs(np.random.default_rng(3).normal(1, 0.1, 2000))
    scores[700:730] += 3
    assert scores[scores < 2].max() < dynamic_level(scores, 0.13) < scores[700:730].min()
    quiet = np.abs(np.random.default_rng(4).normal(1, 0.1, 2000))
    assert (quiet > dynamic_level(quiet, 0.13)).sum() == 0  # pruned


def test_conformal_keeps_alpha_on_exchangeable_scores() -> None:
    draw = np.random.default_rng(5)
    made = thresholds.make("conformal", alpha=0.01).fit(draw.normal(size=5000))
    assert made.run(draw.normal(size=100_000))[1].mean() == pytest.approx(0.01, rel=0.2)


def test_conformal_by_hand() -> None:
    made = thresholds.make("conformal", alpha=0.1).fit(np.arange(1.0, 100.0))  # 99 scores
    # p-value of s: (1 + scores >= s) / 100; 0.1 where 9 scores are as high: s above 90
    assert made.level == 90.0 and made.update(90.5) and not made.update(90.0)


def test_steered_conformal_keeps_alpha_where_scores_grow() -> None:
    calm, wild = scores_of(5000), scores_of(60_000, 1, 1.5)
    fixed = thresholds.make("conformal", alpha=0.01).fit(calm).run(wild)[1].mean()
    steered = thresholds.make("conformal", alpha=0.01, rate=1.0).fit(calm).run(wild)[1].mean()
    assert fixed > 0.03 and steered < 0.025


@pytest.mark.parametrize("per_day", [0.5, 2.0, 6.0])
@pytest.mark.parametrize("spread", [0.8, 1.0, 1.3])
def test_the_budget_holds_on_unseen_months(per_day: float, spread: float) -> None:
    """Within a factor of 1.5, though rows become calmer or wilder than the three days it saw."""
    made = thresholds.make("budget", per_day=per_day, rows_per_day=1440.0, gap=30)
    made.fit(scores_of(3 * 1440))
    _, alarms = made.run(scores_of(120 * 1440, 1, spread))
    rows = np.flatnonzero(alarms)
    alerts = 1 + (np.diff(rows) > 30).sum()
    assert per_day / 1.5 < alerts / 120 < per_day * 1.5


def test_one_bad_day_does_not_deafen_the_budget() -> None:
    made = thresholds.make("budget", per_day=1.0, rows_per_day=1440.0).fit(scores_of(3 * 1440))
    before = made.level
    bad = scores_of(1440)
    bad[::60] = 30.0
    made.run(bad)
    assert made.level <= before + 6
    made.run(np.zeros(60 * 1440))
    assert made.level >= before - 2


def test_peaks_of_alerts_by_hand() -> None:
    scores = np.array([0, 5, 4, 0, 0, 0, 3, np.nan, 2, 9.0])
    found = alert_peaks(scores, np.array([0, 5]), 2)
    assert found.tolist() == [9.0, 5.0, 3.0, 0.0] or found.tolist()[:3] == [9.0, 5.0, 3.0]
    assert 4.0 not in found and 2.0 not in found
