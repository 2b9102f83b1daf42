"""Bootstrap intervals against what is known of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from lstmkit.errors import UserError
from lstmkit.evaluation import bootstrap
from lstmkit.evaluation.bootstrap import interval


def test_of_a_mean_it_is_that_of_the_normal_law() -> None:
    values = np.random.default_rng(1).normal(5.0, 2.0, 2000)
    low, high = interval(values, resamples=4000)
    error = 1.96 * values.std() / math.sqrt(2000)
    assert low == pytest.approx(values.mean() - error, abs=0.1 * error)
    assert high == pytest.approx(values.mean() + error, abs=0.1 * error)


def test_it_covers_as_often_as_it_says() -> None:
    generator = np.random.default_rng(2)
    hits = 0
    for seed in range(300):
        low, high = interval(generator.exponential(1.0, 60), 0.8, 300, seed)
        hits += low <= 1.0 <= high
    assert 0.7 < hits / 300 < 0.88  # three standard errors, and the known shortfall of skewed data


def test_of_a_ratio_the_units_are_drawn_together() -> None:
    weights = np.random.default_rng(3).uniform(1, 100, 50)
    low, high = interval((3 * weights, weights))
    assert low == pytest.approx(3) and high == pytest.approx(3)


def test_a_ratio_of_sums_is_no_mean_of_ratios() -> None:
    low, high = interval((np.array([0.0, 100.0]), np.array([1.0, 100.0])), level=0.2)
    assert (low, high) == (pytest.approx(100 / 101), pytest.approx(100 / 101))


def test_a_wider_level_holds_a_narrower_one() -> None:
    values = np.random.default_rng(4).normal(size=40)
    narrow, wide = interval(values, 0.5), interval(values, 0.99)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_the_seed_decides() -> None:
    values = np.random.default_rng(5).normal(size=40)
    assert interval(values, seed=1) == interval(values, seed=1) != interval(values, seed=2)


def test_in_blocks_it_is_still_the_same_law(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(6).normal(size=1000)
    whole = interval(values, resamples=2000)
    sizes: list[int] = []
    monkeypatch.setattr(bootstrap, "BLOCK", 300)
    generator = np.random.default_rng

    class Watched:
        def __init__(self, seed: int) -> None:
            self.inner = generator(seed)

        def integers(self, n: int, size: tuple[int, int]) -> np.ndarray:
            sizes.append(size[0] * size[1])
            return self.inner.integers(n, size=size)

    monkeypatch.setattr(np.random, "default_rng", Watched)
    blocked = interval(values, resamples=2000)
    assert max(sizes) <= 300 and sum(sizes) == 2000 * 1000
    assert blocked == pytest.approx(whole, abs=0.01)


def test_resamples_without_a_denominator_do_not_count() -> None:
    low, high = interval((np.array([0.0, 2.0]), np.array([0.0, 1.0])))
    assert (low, high) == (2.0, 2.0)
    assert all(map(math.isnan, interval((np.zeros(3), np.zeros(3)))))


def test_no_units_no_interval_and_one_unit_a_point() -> None:
    assert all(map(math.isnan, interval([])))
    assert interval([4.0]) == (4.0, 4.0)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (([[1.0, 2.0]],), "cannot resample"),
        ((([1.0, 2.0], [1.0]),), "cannot resample"),
        (([1.0, math.nan],), "not finite"),
        (([1.0], 95), "level is out of range"),
        (([1.0], 0.9, 0), "too few resamples"),
    ],
)
def test_what_cannot_be_resampled_is_refused(arguments: tuple[Any, ...], line: str) -> None:
    with pytest.raises(UserError, match=line):
        interval(*arguments)
