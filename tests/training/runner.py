"""A small training run, as a module for tests and as a process that they can kill.

python runner.py CHECKPOINT EPOCHS [resume]: prints a line an epoch, and at the end a digest of the
final weights.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lstmkit.training import TrainingPlan, fit

STEPS = 6


def network(width: int = 8, dropout: float = 0.3) -> nn.Module:
    """A regression with dropout, always the same initial weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return nn.Sequential(
            nn.Linear(4, width), nn.Tanh(), nn.Dropout(dropout), nn.Linear(width, 1)
        )


def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """STEPS batches (16, 4) and (16, 1), a function of the epoch."""
    generator = torch.Generator().manual_seed(epoch)
    for _ in range(STEPS):
        x = torch.randn(16, 4, generator=generator)
        yield x, x.sum(1, keepdim=True) + 1


def loss(module: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return (module(batch[0]) - batch[1]).square().mean()


def validate(module: nn.Module) -> float:
    return loss(module, next(batches(10_000))).item()


def plan(**options: Any) -> TrainingPlan:
    given = {"epochs": 4, "steps_per_epoch": STEPS, "learning_rate": 0.05, "threads": 1}
    return TrainingPlan(**{**given, "device": "cpu", **options})


def digest(module: nn.Module) -> str:
    """Of every bit of the weights."""
    parts = [p.detach().numpy().tobytes() for p in module.state_dict().values()]
    return hashlib.sha256(b"".join(parts)).hexdigest()


class Announcer:
    """Tells the parent process how far it is, and gives it time to act."""

    def __init__(self, pause: float) -> None:
        self.pause = pause

    def on_epoch(self, epoch: int, *_: Any) -> None:
        print("epoch", epoch, flush=True)

    def on_step(self, step: int, *_: Any) -> None:
        time.sleep(self.pause)


def main(path: str, epochs: str, resume: str = "") -> None:
    module = network()
    chosen = plan(epochs=int(epochs), checkpoint=Path(path), resume=bool(resume))
    history = fit(
        module,
        batches,
        loss,
        chosen,
        validate=validate,
        callbacks=[Announcer(0 if resume else 0.02)],
    )
    print("done", history.steps, digest(module), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
