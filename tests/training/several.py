"""A run that tests start under torchrun: `python several.py FOLDER [key=value ...]`.

Each process writes its weights and the steps that it took to FOLDER.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
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


def main(folder: Path, given: dict[str, str]) -> None:
    here, module = training.share(), Ragged()
    steps: list[int] = []
    log = folder / "steps"

    class Watch:
        def on_step(self, step: int, total: int, value: float) -> None:
            steps.append(step)
            with log.open("a") as file:
                file.write(f"{step}\n")

    def wounded(network: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        total, count = loss(network, batch)
        wounded.calls += 1
        mark = folder / "killed"
        if here.rank == 1 and wounded.calls == int(given.get("nan", -1)):
            total = total * float("nan")
        if here.rank == 1 and wounded.calls == int(given.get("kill", -1)) and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return total, count

    wounded.calls = 0
    checkpoint = folder / "checkpoint" if "checkpoint" in given else None
    plan = training.TrainingPlan(
        epochs=None if "minutes" in given else int(given.get("epochs", 3)),
        minutes=float(given["minutes"]) if "minutes" in given else None,
        steps_per_epoch=STEPS,
        learning_rate=0.05,
        average=0.9,
        checkpoint=checkpoint,
        threads=1,
    )
    history = training.fit(
        module,
        batches,
        wounded,
        plan,
        validate=lambda m: float(sum(p.abs().sum() for p in m.parameters())),
        callbacks=[Watch()],
    )
    if "twice" in given:
        training.fit(module, batches, loss, plan)
    weights = {name: w.numpy() for name, w in module.state_dict().items()}
    facts = np.array([history.steps, history.skipped, history.train_loss[0]])
    np.savez(folder / f"rank{here.rank}.npz", facts=facts, **weights)


if __name__ == "__main__":
    main(Path(sys.argv[1]), dict(pair.split("=") for pair in sys.argv[2:]))
