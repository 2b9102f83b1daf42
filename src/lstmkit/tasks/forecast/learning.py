"""The two trainings of a forecaster: before the held-out rows, and on all rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from lstmkit.errors import UserError
from lstmkit.tasks.forecast import fitting
from lstmkit.tasks.forecast.features import Geometry
from lstmkit.tasks.forecast.fitting import Preset, Split

if TYPE_CHECKING:
    from lstmkit.tasks.forecast.data import Batch, Corpus
    from lstmkit.tasks.forecast.network import ForecastEnsemble, ForecastNetwork
    from lstmkit.training import History, TrainingPlan

STEPS_PER_EPOCH = 50
WEIGHT_DECAY = 0.01
PATIENCE = 12  # epochs
FIRST_SHARE = 0.5  # of the minutes, where a second training follows
BOTH_SHARE = 0.97  # of the minutes, for both; the rest is for reading and scoring
LEAST_SHARE = 0.1  # of the minutes, for the second training however long the first one took
REFIT_SUFFIX = ".refit"  # added to the name of the checkpoint of the second training

MEMBER_SEEDS = 1000  # between the seeds of two members
# Exponential averaging of the weights (Polyak & Juditsky 1992): on the end of M4 Hourly's training
# file it took MASE from 0.836 to 0.806, five of them from 0.795 to 0.792.
AVERAGE = 0.998
VALIDATED_AT_ONCE = 256  # windows

Weights = Mapping[str, np.ndarray]
Network: TypeAlias = "ForecastNetwork | ForecastEnsemble"


# A step of so narrow an LSTM is too short to share: on two cores a second thread made it 2.7 times
# slower (79 against 210 ms, B=64, H=128, 52 steps), more so beside another busy process.
NARROW = 128


@dataclass(frozen=True)
class Course:
    """How to train: what does not change from one training of a forecaster to the next."""

    shape: Geometry
    quantiles: tuple[float, ...]
    preset: Preset
    point: str = "median"
    members: int = 1
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

    def network(self, member: int = 0, weights: Weights | None = None) -> ForecastNetwork:
        """A network with the initial weights of a member's seed, or given ones.

        The caller's random generator is left alone.
        """
        import torch

        from lstmkit.tasks.forecast.network import Sizes, build

        p = self.preset
        sizes = Sizes(p.width, p.layers, p.embedding, p.dropout)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed + MEMBER_SEEDS * member)
            network = build(self.shape, sizes, self.quantiles, self.point)
        if weights is not None:
            fitting.set_arrays(network, weights)
            network.calibration.zero_()
        return network

    def first(
        self, corpus: Corpus, parts: Split, weights: Sequence[Weights] | None
    ) -> tuple[Network, list[History]]:
        """Train on the rows before `parts.train`, stop early by those before `parts.cut`."""
        past = self._weighed(corpus.until(parts.train))
        held = list(validation_batches(corpus, past, parts))
        share = (FIRST_SHARE if self.refit else 1.0) / self.members
        found = []
        for k in range(self.members):
            network = self.network(k, weights[k] if weights else None)
            if not weights:
                network.standardise(past.extra, past.static)
            plan = self._plan(
                k,
                epochs=self.epochs or (None if self.minutes else self.preset.epochs),
                minutes=self.minutes and self.minutes * share,
                patience=PATIENCE,
                log_dir=self.log_dir,
            )
            what = "training" + self._which(k)
            found.append((network, self._fit(network, past, plan, held, what)))
        return together([n for n, _ in found]), [history for _, history in found]

    def second(
        self, corpus: Corpus, histories: Sequence[History], weights: Sequence[Weights] | None
    ) -> Network:
        """Train on all rows for the epochs that were best, in what is left of the minutes."""
        spent = sum(history.seconds for history in histories) / 60
        left = self.minutes and max(BOTH_SHARE * self.minutes - spent, LEAST_SHARE * self.minutes)
        networks, corpus = [], self._weighed(corpus)
        for k, history in enumerate(histories):
            network = self.network(k, weights[k] if weights else None)
            if not weights:
                network.standardise(corpus.extra, corpus.static)
            plan = self._plan(
                k,
                REFIT_SUFFIX,
                epochs=history.best_epoch or history.epochs,
                minutes=left and left / self.members,
                log_dir=self.log_dir and self.log_dir / "refit",
            )
            self._fit(network, corpus, plan, None, "training on all rows" + self._which(k))
            networks.append(network)
        for k in range(self.members):
            if path := self._path(k, REFIT_SUFFIX):
                path.unlink(missing_ok=True)
        return together(networks)

    def again(self, corpus: Corpus, epochs: int) -> Network:
        """Train from the seed for a known number of epochs."""
        networks = [self.network(k) for k in range(self.members)]
        corpus = self._weighed(corpus)
        for k, network in enumerate(networks):
            network.standardise(corpus.extra, corpus.static)
            self._fit(network, corpus, self._plan(k, epochs=epochs), None, "refitting")
        return together(networks)

    def _weighed(self, corpus: Corpus) -> Corpus:
        """Squared errors count in deviations of the series, as MSE on scaled values has them."""
        unit = corpus.deviations if self.point == "mean" else None
        return corpus.until(corpus.lengths, unit)

    def _path(self, member: int, part: str) -> Path | None:
        name = part + (f".{member}" if member else "")
        return self.checkpoint and self.checkpoint.with_name(self.checkpoint.name + name)

    def _which(self, member: int) -> str:
        return f", {member + 1} of {self.members}" if self.members > 1 else ""

    def _plan(self, member: int, part: str | None = None, **changes: Any) -> TrainingPlan:
        from lstmkit.training import TrainingPlan

        path = self._path(member, part or "")
        log_dir = changes.pop("log_dir", None)
        fixed: dict[str, Any] = {
            "minutes": None,
            "steps_per_epoch": STEPS_PER_EPOCH,
            "learning_rate": self.preset.learning_rate,
            "weight_decay": WEIGHT_DECAY,
            "schedule": "one_cycle",
            "average": AVERAGE,
            "patience": None,
            "seed": self.seed + MEMBER_SEEDS * member,
            "device": self.device,
            "threads": self.threads or (1 if self.preset.width <= NARROW else None),
            "checkpoint": path,
            "resume": bool(self.resume and path and path.exists()),
            "log_dir": log_dir and (log_dir / f"member{member}" if member else log_dir),
        }
        return TrainingPlan(**{**fixed, **changes})

    def _fit(
        self,
        network: ForecastNetwork,
        corpus: Corpus,
        plan: TrainingPlan,
        held: Sequence[Batch] | None,
        description: str,
    ) -> History:
        from lstmkit import training

        share = training.share()
        if self.preset.batch_size < share.world:
            raise UserError(
                f"a batch cannot be shared by {share.world} processes",
                got=f"batch size {self.preset.batch_size}",
                hint=f"--batch-size {share.world} or more",
            )

        def batches(epoch: int) -> Iterator[Batch]:
            draw = corpus.chunks if self.shape.kind == "recurrent" else corpus.random
            return draw(self.preset.batch_size, STEPS_PER_EPOCH, (plan.seed, epoch), share)

        identity = {
            "batch_size": self.preset.batch_size,
            "window": self.shape.to_json(),
            "quantiles": list(self.quantiles),
            "point": self.point,
            "data": corpus.digest(),
        }
        return training.fit(
            network,
            batches,
            fitting.loss,
            replace(plan, identity=identity),
            validate=None if held is None else lambda module: fitting.validate(module, held),
            callbacks=self.callbacks,
            description=description,
        )


def member_weights(weights: Weights) -> list[Weights]:
    """The weights of each member; those of a network alone as the only ones."""
    if not any(name.startswith("members.") for name in weights):
        return [weights]
    parts: dict[int, dict[str, np.ndarray]] = {}
    for name, array in weights.items():
        _, number, own = name.split(".", 2)
        parts.setdefault(int(number), {})[own] = array
    return [parts[k] for k in sorted(parts)]


def together(networks: Sequence[ForecastNetwork]) -> Network:
    """One network alone, or the mean of several."""
    from lstmkit.tasks.forecast.network import ForecastEnsemble

    return networks[0] if len(networks) == 1 else ForecastEnsemble(networks)


def validation_batches(corpus: Corpus, past: Corpus, parts: Split) -> Iterator[Batch]:
    """The windows that early stopping looks at, their errors in the units of the rows `past`."""
    series, origin = fitting.validation_windows(parts, corpus.shape.horizon)
    seen = corpus.until(parts.cut, unit=past.unit)
    draw = seen.chunk_before if corpus.shape.kind == "recurrent" else seen.batch
    for k in range(0, len(series), VALIDATED_AT_ONCE):
        rows = slice(k, k + VALIDATED_AT_ONCE)
        yield draw(series[rows], origin[rows])
