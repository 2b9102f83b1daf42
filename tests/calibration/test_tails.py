"""Scores mean what they say: minus log10 of how rare a number is among normal ones."""

from __future__ import annotations

import numpy as np
import pytest

from lstmkit.calibration.tails import RunningTail, Tail
from lstmkit.errors import UserError


def lognormal(n: int, seed: int = 0) -> np.ndarray:
    return np.exp(np.random.default_rng(seed).normal(0, 0.3, n))


@pytest.mark.parametrize("rarity", [0.3, 1.0, 2.0, 3.0])
def test_so_many_fresh_numbers_reach_a_score(rarity: float) -> None:
    tail = Tail.fit(lognormal(20_000))
    found = (tail.score(lognormal(200_000, 1)) >= rarity).mean()
    assert abs(-np.log10(found) - rarity) < 0.15


def test_scores_rise_without_end_and_survive_saving() -> None:
    tail = Tail.fit(lognormal(5000))
    numbers = np.exp(np.linspace(-5, 12, 500))
    scores = tail.score(numbers)
    assert (np.diff(scores) >= 0).all() and scores[-1] > 20
    assert scores[0] == pytest.approx(0, abs=1e-3)
    again = Tail.from_tensors(tail.tensors())
    assert np.array_equal(again.score(numbers), scores)


def test_missing_numbers_stay_missing_and_few_are_refused() -> None:
    tail = Tail.fit(np.append(lognormal(100), np.nan))
    assert np.isnan(tail.score(np.array([np.nan]))[0])
    with pytest.raises(UserError, match="too few"):
        Tail.fit(np.full(7, 1.0))


def test_a_heavier_tail_makes_far_numbers_less_rare() -> None:
    far = np.array([30.0])
    light, heavy = (Tail.fit(lognormal(2000), least).score(far)[0] for least in (0.05, 0.5))
    assert heavy < light


def test_a_running_tail_scores_before_it_learns() -> None:
    tail = RunningTail().learn(lognormal(2000))
    first = tail.score(np.full(300, 5.0))
    assert first[0] > 3 and first[-1] < 1.2 and (np.diff(first) <= 1e-12).all()


def test_a_running_tail_agrees_with_the_fixed_one() -> None:
    normal, fresh = lognormal(20_000), np.array([0.5, 1.0, 1.5, 2.0, 4.0])
    running = RunningTail().learn(normal)
    found = [RunningTail.score(_copy(running), fresh[k : k + 1])[0] for k in range(len(fresh))]
    np.testing.assert_allclose(found, Tail.fit(normal).score(fresh), atol=0.25)


def _copy(tail: RunningTail) -> RunningTail:
    twin = RunningTail()
    twin.restore(tail.save())
    return twin


def test_a_running_tail_forgets() -> None:
    keeps, forgets = RunningTail(), RunningTail(200)
    for tail in (keeps, forgets):
        tail.learn(np.full(1000, 5.0))
        tail.score(lognormal(2000))
    assert forgets.score(np.array([5.0]))[0] > keeps.score(np.array([5.0]))[0] + 1


def test_a_running_tail_goes_on_from_a_save_in_pieces() -> None:
    numbers = np.concatenate([lognormal(400), [np.nan], lognormal(100, 3)])
    whole = RunningTail(300).learn(lognormal(50, 2))
    pieces = RunningTail(300).learn(lognormal(50, 2))
    first = pieces.score(numbers[:123])
    later = RunningTail(300)
    later.restore(pieces.save())
    found = np.concatenate([first, later.score(numbers[123:])])
    np.testing.assert_array_equal(found, whole.score(numbers))
