"""The loop: it learns, keeps the best, stops, stays deterministic, and refuses nonsense."""

from __future__ import annotations

import math
import time
from typing import Any, NamedTuple

import lightning.fabric  # noqa: F401  (its import must not count in the test of minutes)
import pytest
import runner
import torch
from torch import Tensor, nn

from lstmkit.errors import UserError
from lstmkit.training import History, TrainingPlan, choose_device, fit


def train(module: nn.Module, **options: Any) -> History:
    extras = {k: options.pop(k) for k in ("validate", "callbacks", "description") if k in options}
    loss, batches = options.pop("loss", runner.loss), options.pop("batches", runner.batches)
    return fit(module, batches, loss, runner.plan(**options), **extras)


def test_it_learns_a_line() -> None:
    module = runner.network(dropout=0.0)
    before = runner.validate(module)
    history = train(module, epochs=30, validate=runner.validate)
    assert history.stopped == "epochs"
    assert (history.epochs, history.steps) == (30, 30 * runner.STEPS)
    assert history.best_score is not None and history.best_score < 0.05 * before
    assert len(history.train_loss) == len(history.scores) == 30
    assert history.train_loss[-1] < 0.1 * history.train_loss[0]


def test_the_best_weights_are_kept() -> None:
    scores = iter([3.0, 1.0, 2.0, 1.0])
    seen: list[str] = []

    def validate(module: nn.Module) -> float:
        assert not module.training and not torch.is_grad_enabled()
        seen.append(runner.digest(module))
        return next(scores)

    module = runner.network()
    history = train(module, validate=validate)
    assert (history.best_epoch, history.best_score) == (2, 1.0)
    assert len(set(seen)) == 4
    assert runner.digest(module) == seen[1]


def test_without_validation_the_last_weights_stay() -> None:
    module = runner.network()
    history = train(module, epochs=2)
    assert history.scores == [] and history.best_epoch is None
    other = runner.network()
    scores = iter([2.0, 1.0])
    train(other, epochs=2, validate=lambda _: next(scores))
    assert runner.digest(module) == runner.digest(other)


def test_scores_that_are_no_numbers_are_never_best() -> None:
    scores = iter([math.nan, 5.0, math.nan, math.nan])
    history = train(runner.network(), validate=lambda _: next(scores))
    assert (history.best_epoch, history.best_score) == (2, 5.0)


def test_early_stopping_waits_for_its_patience() -> None:
    scores = iter([3.0, 2.0, 2.5, 2.0, 1.0])
    history = train(runner.network(), epochs=50, patience=2, validate=lambda _: next(scores))
    assert (history.stopped, history.epochs, history.best_epoch) == ("early", 4, 2)


def test_same_seed_same_bits_other_seed_other_bits() -> None:
    made = []
    for seed in (0, 0, 1):
        torch.rand(seed + 3)  # whatever was drawn before must not matter
        module = runner.network()
        train(module, seed=seed)
        made.append(runner.digest(module))
    assert made[0] == made[1] != made[2]


def test_the_process_is_as_before() -> None:
    module = runner.network().eval()
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    train(module, epochs=1, threads=threads + 1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert not any(part.training for part in module.modules())


def test_threads_are_those_of_the_plan_while_it_runs() -> None:
    seen = []

    def loss(module: nn.Module, batch: Any) -> Tensor:
        seen.append(torch.get_num_threads())
        return runner.loss(module, batch)

    train(runner.network(), epochs=1, threads=2, loss=loss)
    assert set(seen) == {2}


class Pair(NamedTuple):
    x: Tensor
    y: Tensor


def test_batches_may_be_named_tuples_and_endless() -> None:
    def endless(epoch: int) -> Any:
        while True:
            yield Pair(torch.ones(2, 4), torch.ones(2, 1))

    def loss(module: nn.Module, batch: Pair) -> Tensor:
        return (module(batch.x) - batch.y).square().mean()

    assert train(runner.network(), epochs=2, batches=endless, loss=loss).steps == 2 * runner.STEPS


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_bad_loss_is_skipped_and_counted(bad: float) -> None:
    def run(poison: bool) -> tuple[History, str]:
        calls = iter(range(1000))

        def loss(module: nn.Module, batch: Any) -> Tensor:
            worse = bad if poison and next(calls) == 2 else 1.0
            return runner.loss(module, batch) * worse

        module = runner.network()
        return train(module, epochs=1, loss=loss), runner.digest(module)

    history, weights = run(poison=True)
    assert (history.skipped, history.steps) == (1, runner.STEPS)
    assert math.isfinite(history.train_loss[0])
    assert weights != run(poison=False)[1]


def test_a_gradient_that_is_not_finite_leaves_the_weights_alone() -> None:
    module = runner.network()
    before = runner.digest(module)

    def loss(wrapped: nn.Module, batch: Any) -> Tensor:
        zero = module[3].bias - module[3].bias.detach()
        return runner.loss(wrapped, batch) + zero.sqrt().sum()  # whose slope at 0 is infinite

    history = train(module, epochs=1, loss=loss, clip=None)
    assert history.skipped == runner.STEPS
    assert runner.digest(module) == before


def test_it_gives_up_on_a_run_that_diverged() -> None:
    def loss(module: nn.Module, batch: Any) -> Tensor:
        return runner.loss(module, batch) * math.nan

    with pytest.raises(UserError, match=r"diverged: 20 steps(.|\n)*--learning-rate 0.005") as told:
        train(runner.network(), epochs=10, loss=loss)
    assert "step 20" in told.value.got  # across epochs of six steps


class Norms:
    """Reads the gradients that a step has used."""

    def __init__(self, module: nn.Module) -> None:
        self.module, self.norms = module, []

    def on_step(self, *_: Any) -> None:
        grads = [p.grad for p in self.module.parameters() if p.grad is not None]
        self.norms.append(float(torch.nn.utils.get_total_norm(grads)))


@pytest.mark.parametrize(("clip", "most"), [(0.5, 0.5001), (None, math.inf)])
def test_no_gradient_is_longer_than_clip(clip: float | None, most: float) -> None:
    module = runner.network()
    norms = Norms(module)
    train(module, epochs=1, clip=clip, callbacks=[norms])
    assert max(norms.norms) <= most
    assert max(norms.norms) > 0.499


def test_biases_do_not_decay() -> None:
    module = nn.Linear(2, 2)
    with torch.no_grad():
        module.weight.fill_(1.0)
        module.bias.fill_(1.0)
    flat = {"schedule": "constant", "learning_rate": 0.1, "weight_decay": 0.5}
    train(module, epochs=1, loss=lambda m, _: 0.0 * m(torch.ones(1, 2)).sum(), **flat)
    assert torch.equal(module.bias, torch.ones(2))
    assert torch.allclose(module.weight, torch.full((2, 2), 0.95**runner.STEPS))


class Diary:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.totals: list[int] = []
        self.etas: list[float] = []
        self.ended: list[History] = []
        self.started: list[str] = []

    def on_start(self, plan: TrainingPlan, description: str) -> None:
        self.started.append(description)

    def on_step(self, step: int, total: int, loss: float) -> None:
        self.totals.append(total)

    def on_epoch(self, epoch: int, loss: float, score: float, best: float, eta: float) -> None:
        self.etas.append(eta)

    def on_end(self, history: History) -> None:
        self.ended.append(history)


def test_callbacks_hear_everything() -> None:
    diary = Diary()
    history = train(runner.network(), epochs=3, callbacks=[diary], description="sales")
    assert diary.started == ["sales"]
    assert diary.totals == [3 * runner.STEPS] * (3 * runner.STEPS)
    assert diary.etas[0] > 0 and diary.etas[-1] == 0
    assert diary.ended == [history]


def test_on_end_is_called_when_training_fails() -> None:
    diary = Diary()
    with pytest.raises(ZeroDivisionError):
        train(runner.network(), callbacks=[diary], loss=lambda m, b: 1 / 0)
    assert diary.ended[0].stopped == "failed"


def test_minutes_are_kept_and_the_schedule_follows_them() -> None:
    def slow(module: nn.Module) -> float:
        time.sleep(0.1)
        return 1.0

    diary, started = Diary(), time.perf_counter()
    history = train(
        runner.network(), epochs=None, minutes=1.0 / 60, validate=slow, callbacks=[diary]
    )
    seconds = time.perf_counter() - started
    assert history.stopped == "minutes"
    assert 0.75 < seconds < 1.25
    assert abs(diary.totals[-1] - history.steps) < 0.4 * history.steps


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"epochs": None}, "how long to train"),
        ({"epochs": 0}, "epochs is out of range"),
        ({"minutes": math.nan}, "minutes is out of range"),
        ({"learning_rate": -1.0}, "learning_rate is out of range"),
        ({"patience": 0}, "patience is out of range"),
        ({"schedule": "step"}, "unknown schedule"),
        ({"device": "tpu"}, "unknown device"),
        ({"resume": True}, "resume needs the checkpoint"),
    ],
)
def test_plans_that_cannot_be_are_refused(options: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError, match=line):
        runner.plan(**options)


def test_requests_that_do_nothing_are_refused() -> None:
    with pytest.raises(UserError, match="patience needs a score"):
        train(runner.network(), patience=3)
    with pytest.raises(UserError, match="dict is no callback"):
        train(runner.network(), callbacks=[{}])
    with pytest.raises(UserError, match="without batches"):
        train(runner.network(), batches=lambda _: [])


def test_cuda_is_not_pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == "cpu"
    with pytest.raises(UserError, match="sees no GPU"):
        choose_device("cuda")
