"""The two trainings of a forecaster: before the held-out rows, and on all rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.tasks.forecast import fitting
from lstmkit.tasks.forecast.features import Geometry
from lstmkit.tasks.forecast.fitting import Preset, Split

if TYPE_CHECKING:
    from lstmkit.tasks.forecast.data import Batch, Corpus
    from lstmkit.tasks.forecast.network import ForecastNetwork
    from lstmkit.training import History, TrainingPlan

STEPS_PER_EPOCH = 50
WEIGHT_DECAY = 0.01
PATIENCE = 12  # epochs
FIRST_SHARE = 0.5  # of the minutes, where a second training follows
BOTH_SHARE = 0.97  # of the minutes, for both; the rest is for reading and scoring
LEAST_SHARE = 0.1  # of the minutes, for the second training however long the first one took
REFIT_SUFFIX = ".refit"  # added to the name of the checkpoint of the second training

Weights = Mapping[str, np.ndarray]


# A step of so narrow an LSTM is too short to share: on two cores a second thread made it 2.7 times
# slower (79 against 210 ms, B=64, H=128, 52 steps), more so beside another busy process.
NARROW = 128


@dataclass(frozen=True)
class Course:
    """How to train: what does not change from one training of a forecaster to the next."""

    shape: Geometry
    quantiles: tuple[float, ...]
    preset: Preset
    seed: int = 0
    epochs: int | None = None
    minutes: float | None = None
    refit: bool = True
    device: str = "auto"
    threads: int | None = None
    log_dir: Path | None = None
    callbacks: Sequence[Any] = ()
    checkpoint: Path | None = None
    resume: bool = False

    def network(self, weights: Weights | None = None) -> ForecastNetwork:
        """A network with the initial weights of the seed, or given ones.

        The caller's random generator is left alone.
        """
        import torch

        from lstmkit.tasks.forecast.network import ForecastNetwork, Sizes

        p = self.preset
        sizes = Sizes(p.width, p.layers, p.embedding, p.dropout)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = ForecastNetwork(self.shape, sizes, self.quantiles)
        if weights is not None:
            fitting.set_arrays(network, weights)
        return network

    def first(
        self, corpus: Corpus, parts: Split, weights: Weights | None
    ) -> tuple[ForecastNetwork, History]:
        """Train on the rows before `parts.train`, stop early by those before `parts.cut`."""
        network, past = self.network(weights), corpus.until(parts.train)
        share = FIRST_SHARE if self.refit else 1.0
        plan = self._plan(
            epochs=self.epochs or (None if self.minutes else self.preset.epochs),
            minutes=self.minutes and self.minutes * share,
            patience=PATIENCE,
            checkpoint=self.checkpoint,
            resume=self.resume,
            log_dir=self.log_dir,
        )
        held = list(validation_batches(corpus, past, parts))
        history = self._fit(
            network, past, plan, lambda module: fitting.validate(module, held), "training"
        )
        return network, history

    def second(self, corpus: Corpus, history: History, weights: Weights | None) -> ForecastNetwork:
        """Train on all rows for the epochs that were best, in what is left of the minutes."""
        network = self.network(weights)
        left = self.minutes and BOTH_SHARE * self.minutes - history.seconds / 60
        path = self.checkpoint and self.checkpoint.with_name(self.checkpoint.name + REFIT_SUFFIX)
        plan = self._plan(
            epochs=history.best_epoch or history.epochs,
            minutes=left and self.minutes and max(left, LEAST_SHARE * self.minutes),
            checkpoint=path,
            resume=bool(self.resume and path and path.exists()),
            log_dir=self.log_dir and self.log_dir / "refit",
        )
        self._fit(network, corpus, plan, None, "training on all rows")
        if path:
            path.unlink(missing_ok=True)
        return network

    def again(self, corpus: Corpus, epochs: int) -> ForecastNetwork:
        """Train from the seed for a known number of epochs."""
        network = self.network()
        self._fit(network, corpus, self._plan(epochs=epochs), None, "refitting")
        return network

    def _plan(self, **changes: Any) -> TrainingPlan:
        from lstmkit.training import TrainingPlan

        fixed: dict[str, Any] = {
            "minutes": None,
            "steps_per_epoch": STEPS_PER_EPOCH,
            "learning_rate": self.preset.learning_rate,
            "weight_decay": WEIGHT_DECAY,
            "schedule": "one_cycle",
            "patience": None,
            "seed": self.seed,
            "device": self.device,
            "threads": self.threads or (1 if self.preset.width <= NARROW else None),
            "checkpoint": None,
            "log_dir": None,
        }
        return TrainingPlan(**{**fixed, **changes})

    def _fit(
        self,
        network: ForecastNetwork,
        corpus: Corpus,
        plan: TrainingPlan,
        validate: Callable[[Any], float] | None,
        description: str,
    ) -> History:
        from lstmkit import training

        def batches(epoch: int) -> Iterator[Batch]:
            return corpus.random(self.preset.batch_size, STEPS_PER_EPOCH, (self.seed, epoch))

        identity = {
            "batch_size": self.preset.batch_size,
            "window": self.shape.to_json(),
            "quantiles": list(self.quantiles),
            "data": hashlib.blake2b(corpus.values.tobytes(), digest_size=16).hexdigest(),
        }
        return training.fit(
            network,
            batches,
            fitting.loss,
            replace(plan, identity=identity),
            validate=validate,
            callbacks=self.callbacks,
            description=description,
        )


def validation_batches(corpus: Corpus, past: Corpus, parts: Split) -> Iterator[Batch]:
    """The windows that early stopping looks at, their errors in the units of the rows `past`."""
    series, origin = fitting.validation_windows(parts, corpus.shape.horizon)
    seen = corpus.until(parts.cut, unit=past.unit)
    for k in range(0, len(series), 256):
        yield seen.batch(series[k : k + 256], origin[k : k + 256])
