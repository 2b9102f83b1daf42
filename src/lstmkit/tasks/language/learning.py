"""Training a language model: streams, carried state, truncated back-propagation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.tasks.language.corpus import digest
from lstmkit.tasks.language.shape import Recipe, Shape

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lstmkit.tasks.language.data import Batch, Corpus
    from lstmkit.tasks.language.network import LanguageNetwork
    from lstmkit.training import History, TrainingPlan

EMA = 0.99  # of the exponential average, kept at a step
NON_MONOTONE = 5  # epochs that NT-ASGD waits
VALID_STREAMS, VALID_PIECE = 16, 128  # how the validation text is read
FEWEST_STEPS, MOST_EPOCHS = 1500, 60  # of a short text
NARROW = 128  # cells for which one thread is enough


@dataclass(frozen=True)
class Course:
    """How to train."""

    shape: Shape
    recipe: Recipe
    start: int
    half: bool | None = None
    seed: int = 0
    epochs: int | None = None
    minutes: float | None = None
    device: str = "auto"
    threads: int | None = None
    log_dir: Path | None = None
    callbacks: Sequence[Any] = ()
    checkpoint: Path | None = None
    resume: bool = False

    def network(self, weights: Mapping[str, np.ndarray] | None = None) -> LanguageNetwork:
        """A network with the seed's initial weights, or given ones; torch's generator is left."""
        import torch

        from lstmkit.tasks.language.network import LanguageNetwork, half_pays
        from lstmkit.training import choose_device

        half = half_pays(choose_device(self.device)) if self.half is None else self.half
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = LanguageNetwork(self.shape, self.recipe, half)
        if weights is not None:
            mine = {k: torch.from_numpy(np.array(weights[k])) for k in network.state_dict()}
            network.load_state_dict(mine)
        return network

    def train(
        self,
        tokens: np.ndarray,
        valid: np.ndarray,
        weights: Mapping[str, np.ndarray] | None = None,
    ) -> tuple[LanguageNetwork, History]:
        """The trained network, in evaluation mode, and how it went; `valid` chooses the epoch."""
        from lstmkit import training
        from lstmkit.tasks.language.data import Carried, Corpus

        network = self.network(weights)
        corpus = Corpus(tokens, self.start, self.recipe.batch_size, self.recipe.bptt)
        carried = Carried(network)
        history = training.fit(
            network,
            lambda epoch: corpus.batches(self.seed, epoch, training.share()),
            lambda module, batch: self.loss(module, batch, carried),
            self.plan(corpus, valid),
            validate=lambda module: surprise(module, valid, self.start),
            callbacks=self.callbacks,
            memory=carried,
            share_of_rate=lambda batch: batch.share,
        )
        return network.eval(), history

    def loss(self, network: nn.Module, batch: Batch, carried: Any) -> Tensor:
        """Nats a token, and the penalties; the state goes on."""
        losses, after = network(batch.tokens, batch.targets, carried.before(batch))
        carried.after(after)
        found: Tensor = losses.surprise / batch.targets.numel() + losses.penalty
        return found

    def plan(self, corpus: Corpus, valid: np.ndarray) -> TrainingPlan:
        """How long and how to train."""
        from lstmkit import training

        r = self.recipe
        return training.TrainingPlan(
            epochs=self.planned_epochs(corpus),
            minutes=self.minutes,
            steps_per_epoch=corpus.pieces,
            learning_rate=r.learning_rate,
            weight_decay=r.weight_decay,
            clip=r.clip,
            schedule=r.schedule,
            optimizer=r.optimizer,
            average=EMA if r.averaging == "ema" else None,
            trigger=NON_MONOTONE if r.averaging == "triggered" else None,
            seed=self.seed,
            device=self.device,
            threads=self.plan_threads(),
            checkpoint=self.checkpoint,
            resume=bool(self.resume and self.checkpoint and self.checkpoint.exists()),
            log_dir=self.log_dir,
            identity=self.identity(corpus, valid),
        )

    def planned_epochs(self, corpus: Corpus) -> int | None:
        """As many as are asked for, or none where minutes are; else the recipe's, and of a short
        text so many more that there are steps to learn in."""
        if self.epochs or self.minutes:
            return self.epochs
        enough = min(MOST_EPOCHS, math.ceil(FEWEST_STEPS / corpus.pieces))
        return max(self.recipe.epochs, enough)

    def plan_threads(self) -> int | None:
        """CPU threads: as many as are asked for, one where more do not pay, else all."""
        return self.threads or (1 if max(self.shape.hidden) <= NARROW else None)

    def expectations(self, tokens: np.ndarray) -> list[str]:
        """What is trained and about how long it takes, measured in a moment here and estimated for
        a GPU."""
        from lstmkit.tasks.language import timing
        from lstmkit.tasks.language.data import Corpus

        corpus = Corpus(tokens, self.start, self.recipe.batch_size, self.recipe.bptt)
        return timing.expectations(self, corpus)

    def identity(self, corpus: Corpus, valid: np.ndarray) -> dict[str, Any]:
        """What else decides the weights."""
        from dataclasses import asdict

        return {
            "shape": self.shape.to_json(),
            "recipe": asdict(self.recipe),
            "half": self.half,
            "data": [digest(corpus.tokens), digest(valid)],
        }


def surprise(network: Any, tokens: np.ndarray, start: int) -> float:
    """Nats a token of a text that is read in a few streams side by side, state carried in each."""
    import torch

    streams = max(1, min(VALID_STREAMS, len(tokens) // VALID_PIECE))
    length = math.ceil(len(tokens) / streams)
    device = network.embedding.weight.device
    own = np.arange(streams) * length
    state, total = network.begin(streams), 0.0
    for first in range(0, length, VALID_PIECE):
        places = own + np.arange(first, min(first + VALID_PIECE, length))[:, None]
        inside = places < len(tokens)
        right = tokens[np.minimum(places, len(tokens) - 1)].astype(np.int64)
        before = tokens[np.clip(places - 1, 0, len(tokens) - 1)].astype(np.int64)
        before[places == 0] = start
        given = (torch.from_numpy(a).to(device) for a in (before, right))
        found, state = network.log_probs(*given, state)
        total -= float(found.double().cpu().numpy()[inside].sum())
    return total / max(len(tokens), 1)
