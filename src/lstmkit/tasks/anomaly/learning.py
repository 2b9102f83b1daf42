"""Training a detector's network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lstmkit.tasks.anomaly.features import Geometry

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lstmkit.tasks.anomaly.data import Batch, Corpus
    from lstmkit.tasks.anomaly.network import DetectorNetwork
    from lstmkit.training import History

STEPS_PER_EPOCH = 50
WEIGHT_DECAY = 1e-3
AVERAGE = 0.98
BEND = 0.2  # where the smooth absolute error becomes straight, in units of the scale
NARROW = 128


class Preset(NamedTuple):
    """What a size stands for."""

    width: int
    layers: int
    epochs: int
    batch_size: int
    learning_rate: float


PRESETS = {
    "tiny": Preset(16, 1, 2, 8, 1e-2),
    "small": Preset(64, 1, 8, 16, 3e-3),
    "medium": Preset(128, 1, 24, 32, 3e-3),
    "large": Preset(256, 2, 60, 64, 2e-3),
}


@dataclass(frozen=True)
class Course:
    """How to train."""

    shape: Geometry
    preset: Preset
    seed: int = 0
    epochs: int | None = None
    minutes: float | None = None
    device: str = "auto"
    threads: int | None = None
    log_dir: Path | None = None
    callbacks: Sequence[Any] = ()
    checkpoint: Path | None = None
    resume: bool = False

    def network(self, weights: dict[str, np.ndarray] | None = None) -> DetectorNetwork:
        """A network with the seed's initial weights, or given ones; torch's generator is left."""
        import torch

        from lstmkit.tasks.anomaly.network import DetectorNetwork, Sizes

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = DetectorNetwork(self.shape, Sizes(self.preset.width, self.preset.layers))
        if weights is not None:
            mine = {k: torch.from_numpy(np.array(weights[k])) for k in network.state_dict()}
            network.load_state_dict(mine)
        return network

    def train(
        self, corpus: Corpus, weights: dict[str, np.ndarray] | None = None
    ) -> tuple[DetectorNetwork, History]:
        """The trained network, in evaluation mode, and how it went."""
        import torch

        from lstmkit import training

        network = self.network(weights)
        if network.code and weights is None:
            network.start_from(torch.from_numpy(corpus.directions(network.code)))
        p = self.preset
        plan = training.TrainingPlan(
            epochs=self.epochs or (None if self.minutes else p.epochs),
            minutes=self.minutes,
            steps_per_epoch=STEPS_PER_EPOCH,
            learning_rate=p.learning_rate,
            weight_decay=WEIGHT_DECAY,
            schedule="one_cycle",
            average=AVERAGE,
            seed=self.seed,
            device=self.device,
            threads=self.threads or (1 if p.width <= NARROW else None),
            checkpoint=self.checkpoint,
            resume=bool(self.resume and self.checkpoint and self.checkpoint.exists()),
            log_dir=self.log_dir,
            identity={
                "batch_size": p.batch_size,
                "shape": self.shape.to_json(),
                "data": corpus.digest(),
            },
        )

        def batches(epoch: int) -> Iterator[Batch]:
            given = (p.batch_size, STEPS_PER_EPOCH, (self.seed, epoch))
            return corpus.chunks(*given, training.share())

        history = training.fit(network, batches, loss, plan, callbacks=self.callbacks)
        return network.eval(), history


def loss(network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Smooth absolute errors (Huber 1964) of what is expected and what is said again, against the
    rows before they were spoilt: their sum, and the number of values."""
    from torch.nn.functional import smooth_l1_loss

    again, predicted = network(batch.rows)
    known = batch.rows.known
    total = known.new_zeros(())
    for answer in (again, predicted):
        if answer is not None:
            each = smooth_l1_loss(answer, batch.truth, reduction="none", beta=BEND)
            total = total + (each * known).sum()
    return total, known.sum()
