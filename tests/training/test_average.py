"""The averaged weights are what is scored, kept, and resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lstmkit import training
from lstmkit.errors import UserError
from lstmkit.training import TrainingPlan
from lstmkit.training.average import Average


def line() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(2, 1)


def batches(epoch: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(epoch)
    return [torch.randn(4, 2, generator=generator) for _ in range(5)]


def loss(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return ((module(x)[:, 0] - x.sum(1)) ** 2).mean()


def fit(module: nn.Module, **changes: Any) -> Any:
    validate = changes.pop("validate", None)
    given = {"epochs": 4, "steps_per_epoch": 5, "learning_rate": 0.1, "average": 0.9} | changes
    return training.fit(module, batches, loss, TrainingPlan(**given), validate=validate)


class Walk:
    """The weights after every step, as a callback sees them."""

    def on_module(self, module: nn.Module) -> None:
        self.module, self.seen = module, [module.weight.detach().clone()]

    def on_step(self, step: int, total: int, value: float) -> None:
        self.seen.append(self.module.weight.detach().clone())


def test_it_is_the_exponential_average_of_all_steps() -> None:
    module, path = line(), Walk()
    plan = TrainingPlan(epochs=4, steps_per_epoch=5, learning_rate=0.1, average=0.9)
    training.fit(module, batches, loss, plan, callbacks=[path])
    expected = path.seen[0]
    for n, weight in enumerate(path.seen[1:], 1):
        kept = min(0.9, (1 + n) / (10 + n))
        expected = kept * expected + (1 - kept) * weight
    assert torch.allclose(module.weight, expected, atol=1e-6)
    assert not torch.allclose(module.weight, path.seen[-1], atol=1e-3)


def test_scores_are_those_of_the_average_and_training_goes_on_from_the_weights() -> None:
    scored: list[torch.Tensor] = []

    def validate(module: nn.Module) -> float:
        scored.append(module.weight.detach().clone())
        return -float(len(scored))

    module, path = line(), Walk()
    plan = TrainingPlan(epochs=4, steps_per_epoch=5, learning_rate=0.1, average=0.9)
    training.fit(module, batches, loss, plan, validate=validate, callbacks=[path])
    assert torch.equal(module.weight, scored[-1])
    alone = line()
    fit(alone)
    assert torch.equal(alone.weight, module.weight)  # looking at the average changed nothing


def test_a_resumed_run_has_the_same_average(tmp_path: Path) -> None:
    whole, parts, file = line(), line(), tmp_path / "c"
    fit(whole)
    with pytest.raises(KeyboardInterrupt):

        class Stop:
            def on_epoch(self, epoch: int, *facts: Any) -> None:
                if epoch == 2:
                    raise KeyboardInterrupt

        plan = TrainingPlan(
            epochs=4, steps_per_epoch=5, learning_rate=0.1, average=0.9, checkpoint=file
        )
        training.fit(parts, batches, loss, plan, callbacks=[Stop()])
    again = line()
    fit(again, checkpoint=file, resume=True)
    assert torch.equal(again.weight, whole.weight)


def test_without_a_decay_nothing_is_kept() -> None:
    module = line()
    average = Average(module, None)
    before = module.weight.detach().clone()
    average.update(3)
    average.settle()
    assert average.weights == {} and torch.equal(module.weight, before)
    with pytest.raises(UserError, match="average"):
        TrainingPlan(epochs=1, average=1.0)
