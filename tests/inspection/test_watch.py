"""Gate statistics in TensorBoard while a model trains, and training as it was without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from inspection.networks import Reader, batch
from torch import nn

from lstmkit.errors import UserError
from lstmkit.inspection.watch import Watch
from lstmkit.training import TrainingPlan, fit

pytest.importorskip("tensorboard")


def batches(epoch: int) -> Iterator[torch.Tensor]:
    for step in range(10):
        yield batch(T=6) + epoch + step


def loss(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return module(x).square().mean()


def train(folder: Path | None, watch: Watch | None) -> nn.Module:
    network = Reader(dropout=0.2)
    plan = TrainingPlan(epochs=3, steps_per_epoch=10, log_dir=folder)
    fit(
        network, batches, loss, plan, validate=lambda m: float(m(batch()).square().mean()),
        callbacks=[watch] if watch else [],
    )  # fmt: skip
    return network


def scalars(folder: Path) -> dict[str, list[int]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return {tag: [e.step for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_statistics_are_written_at_the_steps_that_were_asked_for(tmp_path: Path) -> None:
    train(tmp_path, Watch(every=10))
    found = scalars(tmp_path / "gates")
    # The step after an epoch's last one: what validation ran in between is not in it.
    assert found["lstm.0/forget_gate/mean"] == [1, 10, 20, 30]
    assert set(found) >= {
        "lstm.1/input_gate/shut",
        "lstm.0/time_constant/median",
        "lstm.1/cell/mean_abs",
    }
    assert found["lstm/gradient_norm"] == [1, 10, 20, 30]
    assert found["lstm.1/health/duplicate"] == found["lstm.0/health/dead"] == [1, 10, 20, 30]


def test_training_is_bit_for_bit_what_it_is_without(tmp_path: Path) -> None:
    watched = train(tmp_path, Watch(every=1)).state_dict()
    for name, value in train(None, None).state_dict().items():
        assert torch.equal(value, watched[name]), name


def test_what_validation_runs_is_not_in_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers: list[int] = []
    monkeypatch.setattr(Watch, "_write", lambda self, found, step: layers.append(len(found.layers)))
    train(tmp_path, Watch(every=1))
    assert layers == [2] * 30


def test_no_folder_is_said() -> None:
    with pytest.raises(UserError, match="no folder"):
        train(None, Watch())


def test_afterwards_no_hook_is_left(tmp_path: Path) -> None:
    network = train(None, Watch(tmp_path, every=1))
    assert not network.lstm._forward_hooks and not network.lstm._forward_pre_hooks


def test_the_checks_of_health_are_counted() -> None:
    from lstmkit.inspection import watch
    from lstmkit.inspection.intervention import ablate, intervene
    from lstmkit.inspection.record import observe

    network = Reader()
    with intervene(network, ablate("lstm.1", [2, 5])):
        counts = watch._counts(observe(network, batch()))
    assert counts["lstm.1", "output_gate_shut"] == counts["lstm.1", "dead"] == 2
    assert counts["lstm.0", "dead"] == 0
