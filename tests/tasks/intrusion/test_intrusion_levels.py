"""Levels that keep to a budget of alerts, on traffic that nobody attacks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmkit.tasks.intrusion.levels import DAY, LEAST_LEVEL, level_of, peaks

rows = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40), st.integers(0, 9)), max_size=30)


@given(rows)
def test_peaks_are_of_stretches_without_a_pause(found: list[tuple[int, int, int]]) -> None:
    host, time, score = (np.array(c, float) for c in zip(*found, strict=True)) if found else (
        np.zeros(0),) * 3  # fmt: skip
    expected = []
    for one in set(host.tolist()):
        mine = sorted((t, s) for h, t, s in zip(host, time, score, strict=True) if h == one)
        last = -np.inf
        for t, s in mine:
            if t - last > 5:
                expected.append(s)
            else:
                expected[-1] = max(expected[-1], s)
            last = t
    assert peaks(score, host, time, 5.0).tolist() == sorted(expected, reverse=True)


@pytest.mark.parametrize("per_day", [1, 5, 20])
def test_the_budget_is_kept_on_days_to_come(per_day: float) -> None:
    rng = np.random.default_rng(0)

    def day(days: float) -> np.ndarray:
        n = int(3000 * days)
        score = rng.exponential(1 / np.log(10), n)
        return peaks(score, rng.integers(0, 20, n), rng.uniform(0, days * DAY, n), 600.0)

    level = np.mean([level_of(day(1.0), 1.0, per_day) for _ in range(20)])
    alerts = np.mean([(day(1.0) >= level).sum() for _ in range(40)])
    assert 0.4 * per_day < alerts < 1.6 * per_day


def test_a_smaller_budget_has_a_higher_level() -> None:
    found = np.sort(np.random.default_rng(1).exponential(1, 500))[::-1]
    levels = [level_of(found, 2.0, n) for n in (0.1, 1, 5, 50, 500)]
    assert levels == sorted(levels, reverse=True)


def test_little_data_gives_a_level_all_the_same() -> None:
    assert level_of(np.zeros(0), 1.0, 5) == 3.0
    assert level_of(np.array([0.2]), 0.1, 1) >= LEAST_LEVEL
