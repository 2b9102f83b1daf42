"""What a training run is asked to do, and what came of it; no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lstmkit.errors import UserError
from lstmkit.training.schedule import SCHEDULES

DEVICES = ("auto", "cpu", "cuda")
OPTIMIZERS = ("adamw", "sgd")


@dataclass(frozen=True)
class TrainingPlan:
    """How long and how to train. With `epochs` and `minutes` both, whichever ends first.

    Attributes:
        epochs: passes over the batches; a run resumed under epochs alone repeats the bits.
        minutes: wall time, validation and checkpoints included, and the time before a resume.
        steps_per_epoch: batches in an epoch; what `batches` yields beyond them is left.
        learning_rate: the peak of the schedule.
        weight_decay: decoupled (Loshchilov & Hutter 2019), on matrices only.
        clip: the gradient's largest total 2-norm; None does not clip.
        schedule: "one_cycle", "cosine" or "constant".
        optimizer: "adamw", or "sgd", whose weight decay is a part of the gradient.
        average: keep this much of the exponential average of the weights at each step; scores and
            the result are then those of the average. None takes the weights as they are.
        trigger: once the score is worse than the best of all but the last so many epochs, the plain
            average of the weights from there on counts (NT-ASGD, Merity et al. 2017, algorithm 1).
        patience: stop after so many epochs in a row without a better score; None never does.
        seed: of dropout and whatever else draws from torch's generators in training.
        device: "auto", "cpu" or "cuda".
        threads: CPU threads of torch while training; None leaves them as they are.
        checkpoint: the file to resume from, written after every epoch and on Ctrl-C.
        log_dir: folder for training.csv and TensorBoard's events.
        resume: go on where `checkpoint` stands; from the start if there is no such file.
        identity: whatever else decides the weights (batch size, digest of the data), JSON values;
            a checkpoint with another identity is refused.
    """

    epochs: int | None = None
    minutes: float | None = None
    steps_per_epoch: int = 100
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    clip: float | None = 1.0
    schedule: str = "one_cycle"
    optimizer: str = "adamw"
    average: float | None = None
    trigger: int | None = None
    patience: int | None = None
    seed: int = 0
    device: str = "auto"
    threads: int | None = None
    checkpoint: Path | None = None
    log_dir: Path | None = None
    resume: bool = False
    identity: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises UserError naming the first value that cannot be."""
        if self.epochs is None and self.minutes is None:
            raise UserError("how long to train is not said", hint="--epochs 20 or --minutes 5")
        positive = ("epochs", "minutes", "steps_per_epoch", "learning_rate", "clip")
        for name in (*positive, "trigger", "patience", "threads"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise UserError(f"{name} is out of range", got=f"{value}", expected="more than 0")
        if self.average is not None and not 0 <= self.average < 1:
            raise UserError("average is out of range", got=f"{self.average}", expected="0 to 1")
        for name in ("weight_decay", "seed"):
            value = getattr(self, name)
            if value is not None and not (value >= 0 and math.isfinite(value)):
                raise UserError(f"{name} is out of range", got=f"{value}", expected="0 or more")
        if self.average is not None and self.trigger is not None:
            raise UserError("weights are averaged one way or the other", got="average and trigger")
        choices = (("schedule", SCHEDULES), ("device", DEVICES), ("optimizer", OPTIMIZERS))
        for name, known in choices:
            if getattr(self, name) not in known:
                raise UserError(
                    f"unknown {name}", got=repr(getattr(self, name)), expected=" | ".join(known)
                )
        if self.resume and self.checkpoint is None:
            raise UserError("resume needs the checkpoint to go on from", hint="checkpoint=PATH")

    def decides(self) -> dict[str, Any]:
        """The settings that decide the weights, as JSON values."""
        names = ["epochs", "minutes", "steps_per_epoch", "learning_rate", "weight_decay"]
        names += ["clip", "schedule", "average", "patience", "seed", "optimizer", "trigger"]
        return {**{name: getattr(self, name) for name in names}, **self.identity}

    def fraction(self, steps: int, seconds: float) -> float:
        """How much of the run is over, 0 to 1, after `steps` optimizer steps and `seconds`."""
        by_steps = steps / (self.epochs * self.steps_per_epoch) if self.epochs else 0.0
        by_time = seconds / (60 * self.minutes) if self.minutes else 0.0
        return min(1.0, max(by_steps, by_time))


@dataclass
class History:
    """What happened. Epochs count from 1; a loss or score that could not be had is NaN.

    Attributes:
        steps: batches learnt from or skipped, all epochs together.
        epochs: epochs finished, the last perhaps cut short by `minutes`.
        best_epoch: the epoch whose weights were kept; None without validation.
        best_score: its score.
        train_loss: mean loss per epoch.
        scores: validation score per epoch, lower is better.
        seconds: wall time, the time before a resume included.
        skipped: steps left out because loss or gradient was not finite.
        stopped: "epochs", "minutes", "early", "interrupted" or "failed"; "" while it runs.
    """

    steps: int = 0
    epochs: int = 0
    best_epoch: int | None = None
    best_score: float | None = None
    train_loss: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    seconds: float = 0.0
    skipped: int = 0
    stopped: str = ""


@dataclass
class Cursor:
    """Where inside an epoch a run stands, so that it can go on in the middle.

    Attributes:
        step: batches of the epoch done.
        loss_sum: their losses added up, skipped ones left out.
        counted: how many that are.
        streak: steps skipped in a row.
    """

    step: int = 0
    loss_sum: float = 0.0
    counted: int = 0
    streak: int = 0

    def mean_loss(self) -> float:
        """NaN where every step of the epoch was skipped."""
        return self.loss_sum / self.counted if self.counted else math.nan
