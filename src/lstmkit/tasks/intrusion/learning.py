"""Training a detector's network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lstmkit.tasks.intrusion.data import NOBODY, Batch, Corpus
from lstmkit.tasks.intrusion.features import EXPECTED_NUMBERS, EXPECTED_WORDS, Geometry

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lstmkit.tasks.intrusion.network import IntrusionNetwork
    from lstmkit.training import History

STEPS_PER_EPOCH = 40
WEIGHT_DECAY = 1e-2
AVERAGE = 0.98
DROPOUT = 0.3
MADE = 0.5  # share of windows that are made-up attacks, without labels
MADE_BESIDE_LABELS = 0.25
EXPECTING = 0.3  # weight of what is expected beside what it looks like


class Preset(NamedTuple):
    """What a size stands for."""

    host: int
    pair: int
    flow: int
    epochs: int
    batch_size: int
    learning_rate: float


PRESETS = {
    "tiny": Preset(16, 8, 24, 4, 16, 1e-2),
    "small": Preset(64, 24, 48, 15, 24, 5e-3),
    "medium": Preset(96, 32, 64, 40, 32, 4e-3),
    "large": Preset(192, 64, 96, 100, 48, 3e-3),
}


@dataclass(frozen=True)
class Course:
    """How to train."""

    shape: Geometry
    preset: Preset
    classes: int
    made: float = MADE
    seed: int = 0
    epochs: int | None = None
    minutes: float | None = None
    device: str = "auto"
    threads: int | None = None
    log_dir: Path | None = None
    callbacks: Sequence[Any] = ()
    checkpoint: Path | None = None
    resume: bool = False

    def network(self, weights: dict[str, np.ndarray] | None = None) -> IntrusionNetwork:
        """A network with the seed's initial weights, or given ones; torch's generator is left."""
        import torch

        from lstmkit.tasks.intrusion.network import IntrusionNetwork, Sizes

        p = self.preset
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            sizes = Sizes(p.host, p.pair, p.flow)
            network = IntrusionNetwork(self.shape, sizes, self.classes, DROPOUT)
        if weights is not None:
            mine = {k: torch.from_numpy(np.array(weights[k])) for k in network.state_dict()}
            network.load_state_dict(mine)
        return network

    def train(
        self, corpus: Corpus, weights: dict[str, np.ndarray] | None = None
    ) -> tuple[IntrusionNetwork, History]:
        """The trained network, in evaluation mode, and how it went."""
        import torch

        from lstmkit import training

        network = self.network(weights)
        if weights is None:
            middle, scale = corpus.scales()
            network.middle.copy_(torch.from_numpy(middle))
            network.scale.copy_(torch.from_numpy(scale))
        p = self.preset
        batch_size = p.batch_size if self.shape.hosts else 16 * p.batch_size
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
            threads=self.threads or 1,
            checkpoint=self.checkpoint,
            resume=bool(self.resume and self.checkpoint and self.checkpoint.exists()),
            log_dir=self.log_dir,
            identity={
                "batch_size": batch_size,
                "shape": self.shape.to_json(),
                "classes": self.classes,
                "data": corpus.digest(),
            },
        )
        weight = class_weights(corpus.classes, self.classes)

        def batches(epoch: int) -> Iterator[Batch]:
            seed = (self.seed, epoch)
            return corpus.batches(batch_size, STEPS_PER_EPOCH, seed, training.share(), self.made)

        def total(module: nn.Module, batch: Batch) -> Tensor:
            return loss(module, batch, weight)

        history = training.fit(network, batches, total, plan, callbacks=self.callbacks)
        return network.eval(), history


def class_weights(classes: np.ndarray, count: int) -> np.ndarray:
    """What a flow of each class counts (count,): the rarer, the more, by the root of it."""
    known = np.bincount(classes[classes != NOBODY], minlength=count).astype(np.float64)
    there = known > 0
    found = np.ones(count)
    if there.sum() > 1:
        found[there] = np.sqrt(known[there].max() / known[there]).clip(1, 10)
    return found.astype(np.float32)


def loss(network: nn.Module, batch: Batch, weight: np.ndarray) -> Tensor:
    """Cross entropy of the classes, and of what was to be expected of normal flows: words by their
    logarithm, numbers as of a Laplace distribution."""
    import torch
    from torch.nn.functional import cross_entropy

    said = network(batch.flows)
    known = batch.classes != NOBODY
    each = cross_entropy(
        said.classes.flatten(0, 1),
        batch.classes.flatten().clamp(min=0),
        weight=torch.from_numpy(weight).to(said.classes.device),
        reduction="none",
    )
    counts = (known * batch.weight).flatten()
    total = (each * counts).sum() / counts.sum().clamp(min=1)
    if not said.words:
        return total
    module: Any = getattr(network, "module", network)
    return total + EXPECTING * (surprise(module, batch, said) * batch.normal).sum() / (
        batch.normal.sum().clamp(min=1)
    )


def surprise(network: IntrusionNetwork, batch: Batch, said: Any) -> Tensor:
    """Minus the log probability of each flow, (B, T)."""
    names, offsets = [n for n, _ in network.shape.words], network.shape.offsets
    total = said.middle.new_zeros(said.middle.shape[:2])
    for name in EXPECTED_WORDS:
        place = names.index(name)
        word = (batch.flows.words[..., place] - int(offsets[place])).clamp(min=0)
        total = total - said.words[name].gather(-1, word[..., None])[..., 0]
    places = [network.shape.numbers.index(name) for name in EXPECTED_NUMBERS]
    x = network.scaled(batch.flows.numbers)[..., places]
    off: Tensor = ((x - said.middle).abs() * (-said.width).exp() + said.width).sum(-1)
    return total + off
