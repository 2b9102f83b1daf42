"""A run that tests start under torchrun: `python several.py FOLDER [key=value ...]`.

Each process writes its weights to FOLDER, the first one also the steps that it took. In the second
process kill, stop and nan=N do their harm at its N-th step; the first one alone has the checkpoint.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import lstmkit
from lstmkit import training

SIZE, STEPS, WIDTH = 8, 6, 5  # of a global batch, an epoch, the network


class Ragged(nn.Module):
    """An LSTM over sequences of 1 to 9 steps, and a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.lstm = lstmkit.LSTM(2, WIDTH, batch_first=True)
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        y: Tensor = self.head(self.lstm(x, lengths=lengths)[0])
        return y[..., 0]


def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """This process's part of each batch."""
    here = training.share()
    for step in range(STEPS):
        generator = np.random.default_rng((epoch, step))
        x = generator.normal(size=(SIZE, 9, 2)).astype(np.float32)
        lengths = generator.integers(1, 10, SIZE)
        part = slice(here.rank, None, here.world)
        yield torch.from_numpy(x[part]), torch.from_numpy(lengths[part])


def loss(module: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Squared errors of all valid steps, and how many there are."""
    x, lengths = batch
    valid = torch.arange(x.shape[1]) < lengths[:, None]
    error = (module(x, lengths) - x.sum(-1).cumsum(1).tanh()) ** 2
    return (error * valid).sum(), valid.sum()


class Wounded:
    """The loss, and what befalls the second process."""

    def __init__(self, folder: Path, given: dict[str, str]) -> None:
        self.mark, self.given, self.calls = folder / "killed", given, 0
        self.draw = folder / f"draw{training.share().rank}.npy"

    def at(self, name: str) -> bool:
        return training.share().rank == 1 and self.calls == int(self.given.get(name, -1))

    def __call__(self, module: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        total, count = loss(module, batch)
        self.calls += 1
        if self.calls == 1:
            np.save(self.draw, torch.rand(3).numpy())
        if self.at("kill") and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.at("stop"):
            os.kill(os.getpid(), signal.SIGINT)
        return total * (float("nan") if self.at("nan") else 1.0), count


class Diary:
    """Notes each step at once, for who notes it may be killed."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "steps"

    def on_step(self, step: int, total: int, value: float) -> None:
        with self.path.open("a") as file:
            file.write(f"{step}\n")


def plan_of(folder: Path, given: dict[str, str]) -> training.TrainingPlan:
    # As tasks do it: each process asks to go on where it finds the file, and one has it.
    path = folder / ("checkpoint" if training.share().speaks else "elsewhere")
    minutes = float(given["minutes"]) if "minutes" in given else None
    return training.TrainingPlan(
        epochs=None if minutes else 3,
        minutes=minutes,
        steps_per_epoch=STEPS,
        learning_rate=0.05,
        average=0.9,
        threads=1,
        log_dir=folder / "logs" if "logs" in given else None,
        checkpoint=path if "checkpoint" in given else None,
        resume="resume" in given and path.exists(),
    )


def size(module: nn.Module) -> float:
    """A score that only the first process is asked for."""
    assert training.share().speaks
    return float(sum(p.abs().sum() for p in module.parameters()))


def main(folder: Path, given: dict[str, str]) -> None:
    here, module, plan = training.share(), Ragged(), plan_of(folder, given)
    if here.rank == 1 and os.environ["TORCHELASTIC_RESTART_COUNT"] != "0":
        time.sleep(1)  # the first process would now find the address of the one that was lost
    wounded = Wounded(folder, given)
    diary = [Diary(folder)]
    history = training.fit(module, batches, wounded, plan, validate=size, callbacks=diary)
    if "twice" in given:
        time.sleep(here.rank)
        path = plan.checkpoint and plan.checkpoint.with_name(f"refit{here.rank}")
        training.fit(module, batches, loss, replace(plan, checkpoint=path))
    weights = {name: w.numpy() for name, w in module.state_dict().items()}
    facts = np.array([history.steps, history.skipped, history.train_loss[0]])
    np.savez(folder / f"rank{here.rank}.npz", facts=facts, **weights)


if __name__ == "__main__":
    main(Path(sys.argv[1]), dict(pair.split("=") for pair in sys.argv[2:]))
