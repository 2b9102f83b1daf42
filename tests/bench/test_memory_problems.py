"""The long-lag problems are those of the papers, and their criteria can be failed."""

from __future__ import annotations

import re

import numpy as np
import pytest

from lstmkit.bench.memory import problems
from lstmkit.bench.memory.rules import Rule
from lstmkit.bench.memory.tasks import TASKS

RANDOM = np.random.default_rng


def test_reber_strings_are_those_of_an_independent_automaton() -> None:
    low = "T*V(?:PXT*V)*(?:V|PS)"
    string = re.compile(f"B([TP])B(?:TS*X(?:S|X{low})|P{low})E\\1E")
    drawn = [problems.reber(RANDOM(k)) for k in range(300)]
    assert all(string.fullmatch(text) for text, _ in drawn)
    for text, following in drawn:
        assert len(following) == len(text) - 1
        assert all(s in allowed for s, allowed in zip(text[1:], following, strict=True))
        assert following[0] == "TP" and following[-2:] == [text[1], "E"]
    assert {text[1] for text, _ in drawn} == {"T", "P"}


def test_reber_wants_every_legal_symbol_ahead_of_every_other() -> None:
    problem = problems.Reber()
    batch = problem.draw(RANDOM(0), 40)
    assert batch.legal is not None
    assert not problem.errors(batch.legal.astype(float), batch).any()
    guess = np.eye(7)[np.maximum(batch.target, 0)]  # knows the draw, but not what else is legal
    assert problem.errors(guess, batch).all()
    unsure = batch.legal.astype(float)
    unsure[:, -1] = 0.0
    longest = (batch.target >= 0).sum(1) == batch.target.shape[1]
    assert problem.errors(unsure, batch)[longest].all()


def test_2a_has_two_sequences_that_differ_in_first_and_last() -> None:
    batch = problems.NoiseFree(100).draw(RANDOM(0), 64)
    whole = np.concatenate([batch.x, batch.target[:, -1:]], axis=1)
    assert len(np.unique(whole, axis=0)) == 2
    assert (whole[:, 0] == whole[:, -1]).all() and (whole[:, 1:-1] == np.arange(99)).all()
    assert (batch.target[:, :-1] == batch.x[:, 1:]).all()


def test_2c_waits_q_distractors_and_then_a_tenth_for_the_trigger() -> None:
    q, p = 50, 30
    batch = problems.VeryLong(q, p).draw(RANDOM(0), 3000)
    at = batch.at[:, 0]
    assert (batch.x[:, 0] == p + 2).all() and at.min() == q + 2
    assert (batch.x[np.arange(3000), at] == p + 3).all()
    assert abs((at - q - 2).mean() - 9.0) < 0.7  # mean of a geometric count before success
    assert set(np.unique(batch.x[:, 1])) == {p, p + 1} and (batch.target == batch.x[:, 1:2]).all()
    assert batch.x[:, 2 : 2 + q].max() == p - 1


@pytest.mark.parametrize(("noisy", "spread"), [(False, 0.0), (True, 0.0), (True, 0.3)])
def test_two_sequences(noisy: bool, spread: float) -> None:
    problem = problems.TwoSequence(100, 3, noisy, (0.2, 0.8), spread)
    batch = problem.draw(RANDOM(0), 4000)
    assert batch.ideal is not None
    lengths = batch.at[:, 0] + 1
    assert (lengths.min(), lengths.max()) == (100, 110)
    first = batch.ideal[:, 0] == np.float32(0.2)
    assert abs(first.mean() - 0.5) < 0.04
    assert np.abs(batch.x[first, :3].mean() - 1) < 0.02
    assert np.abs(batch.x[~first, :3].mean() + 1) < 0.02
    assert abs(batch.x[first, :3].var() - 0.2 * noisy) < 0.02
    assert abs(batch.x[:, 3:100].var() - 0.2) < 0.01
    assert abs((batch.target - batch.ideal).std() - spread) < 0.02
    assert problem.errors(batch.ideal[..., None], batch).max() == 0.0


@pytest.mark.parametrize("product", [False, True])
def test_marked_values(product: bool) -> None:
    batch = problems.Marked(100, product).draw(RANDOM(0), 4000)
    value, marker = batch.x[..., 0], batch.x[..., 1]
    last = batch.at[:, 0]
    assert (marker[:, 0] == -1).all() and (marker[np.arange(4000), last] == -1).all()
    assert value.min() < (0.01 if product else -0.99)
    wanted = []
    for k in range(4000):
        marked = value[k, marker[k] == 1]
        assert len(marked) in (1, 2) and not marker[k, 50:-11].any()
        assert (marker[k, 1:10] == 1).any() or len(marked) == 1
        wanted.append(np.prod(marked) if product else 0.5 + marked.sum() / 4)
    np.testing.assert_allclose(batch.target[:, 0], wanted, atol=1e-6)
    assert {int(n) for n in np.unique((marker == 1).sum(1))} == {1, 2}


@pytest.mark.parametrize("relevant", [2, 3])
def test_temporal_order(relevant: int) -> None:
    problem = problems.TemporalOrder(relevant=relevant)
    batch = problem.draw(RANDOM(0), 4000)
    last = batch.at[:, 0]
    assert (batch.x[:, 0] == 0).all() and (batch.x[np.arange(4000), last] == 1).all()
    assert (last.min() + 1, last.max() + 1) == (100, 110)
    matter = [np.flatnonzero(row >= 6) for row in batch.x]
    bounds = {2: [(10, 20), (50, 60)], 3: [(10, 20), (33, 43), (66, 76)]}[relevant]
    for where, row, target in zip(matter, batch.x, batch.target[:, 0], strict=True):
        assert len(where) == relevant
        assert all(a <= t <= b for t, (a, b) in zip(where, bounds, strict=True))
        assert int("".join(str(s - 6) for s in row[where]), 2) == target
    shares = np.bincount(batch.target[:, 0]) / 4000
    np.testing.assert_allclose(shares, 0.5**relevant, atol=0.03)


def test_copy_memory_and_its_baseline() -> None:
    problem = problems.Copy(50)
    batch = problem.draw(RANDOM(0), 16)
    assert batch.x.shape == (16, 70) and (batch.x[:, 59] == 9).all()
    assert (batch.x[:, 10:59] == 8).all() and (batch.x[:, 60:] == 8).all()
    assert (batch.target[:, -10:] == batch.x[:, :10]).all() and (batch.target[:, :-10] == 8).all()
    memoryless = np.zeros((16, 70, 9))
    memoryless[:, :60, 8] = 1.0
    memoryless[:, 60:, :8] = 1 / 8
    np.testing.assert_allclose(problem.errors(memoryless, batch), problem.baseline, rtol=1e-12)
    assert problem.baseline == pytest.approx(10 * np.log(8) / 70)
    for T in (500, 1000):
        asked = TASKS[f"copy-T{T}"].criterion.test.mean
        assert asked == pytest.approx(0.5 * 10 * np.log(8) / (T + 20))


def test_noiseless_adding() -> None:
    problem = problems.Adding(40)
    batch = problem.draw(RANDOM(0), 5000)
    marker = batch.x[..., 1]
    assert (marker[:, :20].sum(1) == 1).all() and (marker[:, 20:].sum(1) == 1).all()
    np.testing.assert_allclose(batch.target[:, 0], (batch.x[..., 0] * marker).sum(1), atol=1e-6)
    memoryless = problem.errors(np.ones((5000, 1, 1)), batch).mean()
    assert memoryless == pytest.approx(1 / 6, abs=0.01)


def test_an_oracle_passes_and_a_near_miss_fails() -> None:
    for name in ("adding-T100", "multiplication-13", "order-6a", "lag-2c-q50-p50"):
        task = TASKS[name]
        problem, stop = task.problem, task.criterion.stop
        batch = problem.draw(RANDOM(0), stop.of)
        if problem.kind == "class":
            oracle = np.eye(problem.answers)[batch.target]
            near = oracle * (1 - stop.tolerance - 1e-6)
        else:
            oracle = batch.target[..., None].astype(float)
            near = oracle + stop.tolerance + 1e-6
        assert stop.holds(problem.errors(oracle, batch)), name
        assert not stop.holds(problem.errors(near, batch)), name


def test_a_rule_counts_what_is_wrong() -> None:
    rule = Rule(100, tolerance=0.04, wrong=2, mean=0.01)
    errors = np.zeros(100)
    assert rule.holds(errors) and not rule.holds(errors[:99])
    errors[:2] = 0.04
    assert rule.holds(errors) and rule.count(errors) == 2
    errors[2] = 0.04
    assert not rule.holds(errors)
    assert rule.holds(np.concatenate([errors, np.zeros(100)]))  # only the last 100 count
    assert not rule.holds(np.full(100, 0.011)) and not rule.holds(np.full(100, np.nan))
    assert Rule(10, wrong=10).count(np.full(10, np.nan)) == 10
