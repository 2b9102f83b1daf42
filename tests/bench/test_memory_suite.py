"""Learning, counting, keeping and showing: the long-lag suite around its problems."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lstmkit.bench.memory import MODELS, picture, suite, table, trial
from lstmkit.bench.memory.networks import Network
from lstmkit.bench.memory.problems import Adding, VeryLong
from lstmkit.bench.memory.rules import Criterion, Rule
from lstmkit.bench.memory.tasks import TASKS, Recipe, Task, lag_tasks
from lstmkit.errors import UserError

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "memory.json"
GUIDE = ROOT / "docs" / "guides" / "memory.md"

NEVER = Criterion(Rule(100, mean=-1.0), Rule(64, mean=-1.0))
EASY = Criterion(Rule(100, mean=np.inf), Rule(64, mean=np.inf))


def tiny(criterion: Criterion, T: int = 8) -> Task:
    return Task("tiny", Adding(T), criterion, Recipe(4, 20, 0.01, 1000), 1_000)


def test_every_sequence_is_counted_the_last_ones_too() -> None:
    assert trial.run(tiny(EASY), "lstm", 0)["sequences"] == 100  # the rule needs a hundred
    gave_up = trial.run(tiny(NEVER), "lstm", 0, most=250)
    assert (gave_up["sequences"], gave_up["stopped"], gave_up["solved"]) == (240, False, False)
    seen = trial.Trial.begin(tiny(NEVER), "rnn", 0)
    seen.step()
    assert seen.seen == 20


def test_solved_later_than_the_paper_is_not_solved() -> None:
    late = replace(tiny(EASY), paper=80)
    row = trial.run(late, "lstm", 0, most=500)
    assert row["stopped"] and row["sequences"] == 100 and not row["solved"]


def test_a_test_that_fails_is_not_solved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial.Trial, "confirmed", lambda self, test: True)
    hard = Criterion(EASY.stop, Rule(64, tolerance=1e-9))
    row = trial.run(tiny(hard), "lstm", 0)
    assert row["stopped"] and not row["solved"] and row["test_wrong"] == 64


def test_a_rule_that_holds_by_luck_does_not_end_learning() -> None:
    hard = Criterion(EASY.stop, Rule(64, tolerance=1e-9, wrong=32))
    row = trial.run(tiny(hard), "lstm", 0, most=500)
    assert not row["stopped"] and row["sequences"] == 500


def test_confirming_asks_for_half_of_what_the_test_allows() -> None:
    begun = trial.Trial.begin(tiny(EASY), "lstm", 0)
    asked: list[Rule] = []
    begun.measure = lambda draw, rule: asked.append(rule) or np.zeros(rule.of)  # type: ignore
    assert begun.confirmed(Rule(64, 0.1, wrong=9, mean=0.5))
    assert asked == [Rule(64, 0.1, wrong=4, mean=0.5)]


def test_same_seed_same_result() -> None:
    def rows(seed: int) -> Any:
        return {**trial.run(tiny(NEVER), "chrono", seed, most=200), "seconds": 0}

    assert rows(3) == rows(3)
    assert rows(3)["test_error"] != rows(4)["test_error"]


def test_the_three_streams_of_a_trial_differ() -> None:
    begun = trial.Trial.begin(tiny(NEVER), "lstm", 0)
    drawn = [draw(4).x for draw in (begun.training, begun.check, begun.fresh)]
    assert not np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[1], drawn[2])


def test_a_large_alphabet_is_embedded_small_and_decays() -> None:
    problem, recipe = VeryLong(5, 300), Recipe(4, 2, 0.01, 100, symbols=0.1, decay=0.5)
    network = Network(problem, "lstm", recipe)
    x = torch.from_numpy(problem.draw(np.random.default_rng(0), 3).x)
    assert network.embedding is not None and network.read(x).shape == (*x.shape, 4)
    assert 0.08 < network.embedding.weight.std() < 0.12
    rest, embedded = network.groups(recipe)
    assert embedded["params"][0] is network.embedding.weight and embedded["weight_decay"] == 0.5
    assert "weight_decay" not in rest
    assert len(rest["params"]) + 1 == len(list(network.parameters()))
    assert Network(problem, "lstm", replace(recipe, symbols=0.0)).embedding is None


@pytest.mark.parametrize("model", MODELS)
def test_the_models_share_their_size(model: str) -> None:
    recipe = Recipe(5, 4, 0.01, 100)
    network = Network(Adding(100), model, recipe)
    assert network.recurrent.hidden_size == 5
    if model == "lstm":
        bias = (network.recurrent.bias_ih_l0 + network.recurrent.bias_hh_l0).detach()
        gates = torch.sigmoid(bias).reshape(4, 5)
        torch.testing.assert_close(gates[1], torch.full((5,), 1 - 1 / 1001))
        torch.testing.assert_close(gates[0], torch.full((5,), 1 / 101))


def test_the_lstm_learns_to_add() -> None:
    rule = Rule(256, mean=0.01)
    task = Task(
        "adding",
        Adding(10),
        Criterion(rule, rule, "fresh", every=500),
        Recipe(8, 20, 0.02, 20_000),
        20_000,
    )
    row = trial.run(task, "lstm", 0)
    assert row["solved"] and row["test_error"] < 0.01 and row["sequences"] % 20 == 0


def test_copy_memory_grows_in_training_and_not_in_its_tests() -> None:
    begun = trial.Trial.begin(TASKS["copy-T500"], "lstm", 0)
    batch = begun.task.recipe.batch
    assert begun.training(2).x.shape == (2, 25) and begun.fresh(2).x.shape == (2, 520)
    learnt = np.zeros(2000)
    begun.grow(learnt)
    assert begun.problem.lag == 5  # not before twenty batches of this length
    begun.since = 20 * batch
    begun.grow(np.full(2000, begun.problem.baseline))
    assert begun.problem.lag == 5
    begun.grow(learnt)
    assert begun.problem.lag == 8 and begun.since == 0
    while begun.problem.lag < 500:
        begun.since = 20 * batch
        begun.grow(learnt)
    assert begun.training(2).x.shape == (2, 520)


def plans(seeds: int = 2) -> list[suite.Plan]:
    return [suite.Plan("lag-T10", "lstm", seed, most=60) for seed in range(seeds)]


def test_what_a_folder_holds_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    first = suite.run(plans(), 1, tmp_path, said.append)
    assert len((tmp_path / suite.TRIALS).read_text().splitlines()) == 2 and len(said) == 2
    with (tmp_path / suite.TRIALS).open("a") as file:
        file.write('{"task": "lag-T')  # interrupted while writing
    monkeypatch.setattr(suite, "one", lambda plan: pytest.fail("run again"))
    assert suite.run(plans(), 1, tmp_path, said.append) == first
    monkeypatch.undo()
    more = suite.run(plans(3), 1, tmp_path, said.append)
    assert more[:2] == first and more[2]["seed"] == 2


def test_other_limits_are_another_trial(tmp_path: Path) -> None:
    suite.run(plans(1), 1, tmp_path, str)
    longer = suite.run([replace(plans(1)[0], most=80)], 1, tmp_path, str)
    assert longer[0]["sequences"] == 80


@pytest.mark.slow
def test_processes_give_the_rows_of_one(tmp_path: Path) -> None:
    one, two = suite.run(plans(), 1, None, str), suite.run(plans(), 2, None, str)
    assert [{**r, "seconds": 0} for r in one] == [{**r, "seconds": 0} for r in two]


def test_an_unknown_task_is_named() -> None:
    with pytest.raises(UserError, match="no task dance"):
        suite.run([suite.Plan("dance", "lstm", 0)], 1, None, str)


def stored(task: str, model: str, seed: int, sequences: int, solved: bool) -> dict[str, Any]:
    return {
        "task": task,
        "model": model,
        "seed": seed,
        "sequences": sequences,
        "solved": solved,
        "paper_sequences": 74_000,
        "test_wrong": 1,
        "test_of": 2560,
        "test_error": 0.006,
        "seconds": 4.0,
        "weights": 393,
    }


def test_the_table_from_stored_rows() -> None:
    rows = [stored("adding-T100", "lstm", k, 1000 * (k + 1), k < 3) for k in range(4)]
    rows.append(stored("adding-T100", "rnn", 0, 74_000, False))
    lstm, rnn = table.summary(rows)
    assert (lstm["solved"], lstm["seeds"], lstm["sequences"]) == (3, 4, 2000)
    assert (rnn["sequences"], rnn["gave_up"]) == (None, 74_000)
    text = table.text(rows)
    assert "3/4" in text and "1,000 to 3,000" in text and "gave up at 74,000" in text
    assert len(set(map(len, table.markdown(rows).splitlines()))) > 1


def test_the_lag_from_which_a_model_fails() -> None:
    solved = {10: 2, 20: 1, 50: 0, 100: 0}
    rows = [stored(f"lag-T{T}", "rnn", k, 500, k < n) for T, n in solved.items() for k in range(2)]
    assert picture.fails_from(rows, "rnn") == 50
    assert picture.points(rows, "rnn")[1] == (20, 0.5, 500)
    assert picture.fails_from(rows, "lstm") is None
    panels = picture.plot_lags(rows).axes
    assert [len(axes.lines) for axes in panels] == [1, 1]


def test_every_task_says_what_counts() -> None:
    for task in [*TASKS.values(), *lag_tasks()]:
        assert task.most >= task.criterion.stop.of or task.criterion.where != "training"
        assert task.paper or task.limit


def test_the_guide_prints_the_stored_results() -> None:
    rows = json.loads(RESULTS.read_text())["rows"]
    suite_rows = [row for row in rows if not row["task"].startswith("lag-T")]
    assert table.markdown(suite_rows) in GUIDE.read_text()
