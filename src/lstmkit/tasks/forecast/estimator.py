"""Forecaster: from a table of time series to quantiles of what comes next."""

from __future__ import annotations

import os
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from lstmkit.errors import UserError
from lstmkit.tasks.estimator import SHARED, Estimator, Option
from lstmkit.tasks.forecast.given import days, long_enough, parse_quantiles, read, restored_report

if TYPE_CHECKING:
    from lstmkit.evaluation.report import Report
    from lstmkit.inspection.probe import Probe
    from lstmkit.modelfile import ModelFile
    from lstmkit.program import Program
    from lstmkit.readers.tables import Series, SeriesTable
    from lstmkit.tasks.forecast.data import Corpus
    from lstmkit.tasks.forecast.features import Geometry
    from lstmkit.tasks.forecast.fitting import Split
    from lstmkit.tasks.forecast.learning import Course
    from lstmkit.tasks.forecast.network import ForecastNetwork
    from lstmkit.tasks.forecast.scoring import Model
    from lstmkit.tasks.forecast.stream import ForecastStream
    from lstmkit.tasks.forecast.trace import ForecastTrace

QUANTILES = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
COLUMNS = ("id", "time", "target", "freq", "day_first", "layout")


class Forecaster(Estimator):
    """Forecast time series with quantiles: one LSTM for all series of a table.

    The end of every series is held out and scored (`report_`), then the model is refitted on all
    rows. The model file keeps both sets of weights, so that no later score is in-sample.

    Args:
        horizon: steps ahead.
        id, time, target: column names, inferred where left out; id may be several, `store,item`.
        freq, season: spacing of the rows and rows in a season, inferred where left out.
        quantiles: probabilities to forecast; 0.5 is always among them.
        lookback: rows that a forecast looks back on, in whole seasons.
        test_windows: horizons at the end of each series that are held out.
        refit: whether to train again on all rows after the held-out score.

    Attributes:
        report_: the score on the held-out rows.
        network_: the torch module with the final weights.
        program_: the same, without torch.
        notes_: what was inferred, repaired and skipped.
    """

    shape_: Geometry
    model_: Model

    TASK = "forecast"
    METRIC = "mase"
    OPTIONS = (
        Option("horizon", int, None, "Steps ahead.", metavar="N", group="data"),
        Option("id", str, None, "Columns that name a series.", metavar="NAMES", group="data"),
        Option("time", str, None, "Column of times.", metavar="NAME", group="data"),
        Option("target", str, None, "Column to forecast.", metavar="NAME", group="data"),
        Option("freq", str, None, "Spacing, such as 1h, 1d, 1mo.", metavar="FREQ", group="data"),
        Option("season", int, None, "Rows in a season.", metavar="N", group="data"),
        Option("day_first", bool, None, "Read 01/02 as the first of February.", group="data"),
        Option("layout", str, None, "Shape of the table.", ("long", "wide", "rows"), group="data"),
        Option("quantiles", str, QUANTILES, "Such as 0.1,0.5,0.9.", metavar="LIST"),
        Option("lookback", int, None, "Rows that a forecast looks back on.", metavar="N"),
        Option("test_windows", int, 1, "Horizons held out at the end.", metavar="N"),
        Option("refit", bool, True, "Train again on all rows at the end."),
        *SHARED,
    )

    def __init__(
        self,
        horizon: int | None = None,
        *,
        id: str | list[str] | None = None,
        time: str | None = None,
        target: str | None = None,
        freq: str | None = None,
        season: int | None = None,
        quantiles: Sequence[float] | str = QUANTILES,
        lookback: int | None = None,
        size: str = "small",
        test_windows: int = 1,
        refit: bool = True,
        epochs: int | None = None,
        minutes: float | None = None,
        learning_rate: float | None = None,
        batch_size: int | None = None,
        seed: int = 0,
        device: str = "auto",
        threads: int | None = None,
        day_first: bool | None = None,
        layout: str | None = None,
        log_dir: str | None = None,
    ) -> None:
        self.horizon = horizon
        self.id, self.time, self.target, self.freq = id, time, target, freq
        self.season, self.quantiles, self.lookback = season, quantiles, lookback
        self.size, self.test_windows, self.refit = size, test_windows, refit
        self.epochs, self.minutes = epochs, minutes
        self.learning_rate, self.batch_size = learning_rate, batch_size
        self.seed, self.device, self.threads = seed, device, threads
        self.day_first, self.layout, self.log_dir = day_first, layout, log_dir

    # --- fit

    def fit(
        self,
        data: Any,
        y: None = None,
        *,
        validation: None = None,
        callbacks: Sequence[Any] = (),
        checkpoint: str | os.PathLike[str] | None = None,
        resume: bool = False,
        warm_start: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Train on `data`: a path, several, `-`, or a pandas or polars frame.

        Args:
            y, validation: must be left out: the target is a column, rows are held out by time.
            callbacks: objects as `lstmkit.training.fit` takes them.
            checkpoint: file to which training is saved after each epoch; the second training, on
                all rows, adds `.refit` to its name.
            resume: go on from `checkpoint`.
            warm_start: model file whose weights to start from.

        Raises:
            UserError: the data or an option cannot be used.
        """
        from lstmkit.tasks.forecast import warm

        if y is not None or validation is not None:
            raise UserError(
                "a forecaster takes neither y nor validation",
                expected="one table: the target is a column of it, rows are held out by time",
            )
        self.check_options()
        self.quantiles_ = parse_quantiles(self.quantiles)
        earlier = warm.load(warm_start) if warm_start is not None else None
        table = read(data, {name: getattr(self, name) for name in COLUMNS})
        if earlier:
            warm.check(earlier, self, table.freq, self.quantiles_)
        corpus, ids = self._prepare(table, earlier)
        course = self._course(
            self.size if earlier is None else earlier.facts_["size"],
            callbacks=callbacks,
            checkpoint=Path(checkpoint) if checkpoint else None,
            resume=resume,
        )
        self._learn(corpus, ids, course, earlier)
        return self

    def _prepare(
        self, table: SeriesTable, earlier: Forecaster | None
    ) -> tuple[Corpus, list[tuple[Any, ...]]]:
        """Choose the geometry and leave out series that are no longer than the horizon."""
        from lstmkit.tasks.forecast.data import Corpus

        horizon = self.horizon or (earlier.shape_.horizon if earlier else None)
        if horizon is None:
            raise UserError("no horizon was given", hint="--horizon 28 forecasts 28 steps ahead")
        kept = long_enough(table, horizon)
        self.notes_ = list(table.notes)
        if len(kept) < len(table.series):
            some = f"{len(table.series) - len(kept)} of {len(table.series)}"
            self.notes_.append(f"{some} series skipped: not longer than the horizon")
        self.columns_ = {
            "id": table.id_columns,
            "time": table.time_column,
            "target": table.target_column,
            "freq": table.freq,
            "day_first": self.day_first if self.day_first is not None else table.day_first,
            "layout": table.layout,
        }
        self.shape_ = earlier.shape_ if earlier else self._geometry(horizon, table.freq, kept)
        corpus = Corpus([s.time for s in kept], [s.values for s in kept], self.shape_)
        return corpus, [s.id for s in kept]

    def _geometry(self, horizon: int, freq: str, kept: Sequence[Series]) -> Geometry:
        from lstmkit.readers.calendar import season_of
        from lstmkit.tasks.forecast.features import geometry

        return geometry(
            horizon,
            self.season or season_of(freq),
            freq,
            lookback=self.lookback,
            lengths=[len(s.values) - (self.test_windows + 1) * horizon for s in kept],
            days=max(days(s.time) for s in kept),
        )

    def _course(self, size: str, **run: Any) -> Course:
        """How to train, as the options say."""
        from lstmkit.tasks.forecast.fitting import PRESETS
        from lstmkit.tasks.forecast.learning import Course

        self.size_ = size
        preset = PRESETS[size]
        preset = replace(
            preset,
            learning_rate=self.learning_rate or preset.learning_rate,
            batch_size=self.batch_size or preset.batch_size,
        )
        names = ("seed", "epochs", "minutes", "refit", "device", "threads")
        given = {name: getattr(self, name) for name in names}
        log_dir = Path(self.log_dir) if self.log_dir else None
        return Course(self.shape_, self.quantiles_, preset, log_dir=log_dir, **given, **run)

    def _learn(
        self,
        corpus: Corpus,
        ids: list[tuple[Any, ...]],
        course: Course,
        earlier: Forecaster | None,
    ) -> None:
        """Train on the rows before the held-out ones, score those, train on all rows."""
        from lstmkit.tasks.forecast import fitting, scoring, warm

        parts = fitting.split(corpus.lengths, self.shape_.horizon, self.test_windows)
        if len(parts.tested) < len(ids):
            short = len(ids) - len(parts.tested)
            self.notes_.append(f"{short} of {len(ids)} series are too short to be scored")
        start = warm.innocent(earlier, corpus, parts, ids) if earlier else None
        network, history = course.first(corpus, parts, start.weights if start else None)
        self.history_ = history
        self.heldout_ = scoring.Model.of(network)
        self.facts_ = self._facts(network, course)
        chosen = scoring.heldout(corpus, parts.cut, None)
        self.report_ = scoring.report(self.heldout_, corpus, chosen, self.facts_, self.seed)
        if start:
            old = scoring.report(start, corpus, chosen, {}, self.seed)
            self.notes_.append(warm.compared(old.metrics, self.report_.metrics))
        final = self.heldout_
        if self.refit:
            weights = earlier.model_.weights if earlier else None
            final = scoring.Model.of(course.second(corpus, history, weights))
        self._remember(corpus, ids, parts)
        self.model_ = final

    def _facts(self, network: ForecastNetwork, course: Course) -> dict[str, Any]:
        """What reports say about the model."""
        return {
            "size": self.size_,
            "width": course.preset.width,
            "layers": course.preset.layers,
            "embedding": course.preset.embedding,
            "dropout": course.preset.dropout,
            "parameters": sum(p.numel() for p in network.parameters()),
            "lookback": self.shape_.lookback,
            "segment": self.shape_.segment,
            "epochs": self.history_.epochs,
            "best_epoch": self.history_.best_epoch or self.history_.epochs,
            "seconds": round(self.history_.seconds, 1),
            "seed": self.seed,
        }

    def _remember(self, corpus: Corpus, ids: list[tuple[Any, ...]], parts: Split) -> None:
        """Keep what the weights have seen; without a refit the final ones saw no more."""
        from lstmkit.tasks.forecast.seen import Seen

        spans = list(zip(corpus.start, corpus.stop, strict=True))
        end = parts.length if self.refit else parts.cut
        self.seen_ = Seen.of(
            ids,
            [corpus.times[a:b] for a, b in spans],
            [corpus.values[a:b] for a, b in spans],
            parts.cut.tolist(),
            end.tolist(),
        )
        self.report_.notes[:0] = self.notes_

    # --- ask

    def fitted(self) -> bool:
        """Whether there is a model."""
        return hasattr(self, "model_")

    @property
    def program_(self) -> Program:
        """The model with its final weights, without torch."""
        self.check_fitted()
        return self.model_.program

    @property
    def network_(self) -> ForecastNetwork:
        """The torch module with the final weights, in evaluation mode."""
        self.check_fitted()
        return self.network_of(self.model_)

    def network_of(self, model: Model) -> ForecastNetwork:
        """The torch module with the weights of `model_` or `heldout_`, in evaluation mode."""
        from lstmkit.tasks.forecast import fitting
        from lstmkit.tasks.forecast.network import ForecastNetwork, Sizes

        names = ("width", "layers", "embedding", "dropout")
        sizes = Sizes(**{name: self.facts_[name] for name in names})
        network = ForecastNetwork(self.shape_, sizes, self.quantiles_)
        fitting.set_arrays(network, model.weights)
        return network.eval()

    def _read(self, data: Any) -> tuple[SeriesTable, Corpus]:
        """The series of `data` under the columns of the training."""
        from lstmkit.tasks.forecast.data import Corpus

        self.check_fitted()
        table = read(data, self._stored_columns())
        series = table.series
        return table, Corpus([s.time for s in series], [s.values for s in series], self.shape_)

    def _stored_columns(self) -> dict[str, Any]:
        """Arguments of `read_series`; wide and row tables find their own columns."""
        if self.columns_["layout"] == "long":
            return {**self.columns_, "id": self.columns_["id"] or None}
        given = {name: getattr(self, name) for name in ("id", "time", "target")}
        return {**self.columns_, **given}

    def predict(self, data: Any) -> Any:
        """The `horizon` steps after the end of each series.

        Returns:
            A frame of the kind that was given (polars for files): id columns and time under the
            user's names, `y_hat` (the median) and a column per quantile, `q0.1`.
        """
        from lstmkit.readers.calendar import future_times
        from lstmkit.readers.tables import forecast_frame, to_user_kind
        from lstmkit.tasks.forecast import features, scoring

        table, corpus = self._read(data)
        chosen = scoring.Selection(np.arange(len(corpus)), corpus.lengths, heldout=False)
        answer = scoring.forecast(self.model_, corpus, chosen)
        times = [
            future_times(s.time[-1], self.shape_.freq, self.shape_.horizon) for s in table.series
        ]
        columns = {"y_hat": answer[..., self.model_.median]}
        columns |= {features.column(q): answer[..., k] for k, q in enumerate(self.quantiles_)}
        frame = forecast_frame(table, [s.id for s in table.series], np.stack(times), columns)
        return to_user_kind(frame, table.kind)

    def evaluate(self, data: Any, *, windows: int | None = None, refit: bool = False) -> Report:
        """Score rolling origins, one horizon apart, on rows that the model has not seen.

        Args:
            data: history and the rows to score; the file of the training scores its held-out rows
                with the weights that never saw them.
            windows: the last so many origins of each series; all that are unseen if left out.
            refit: train anew before each origin, on the rows before it.

        Raises:
            UserError: `in-sample`, where every row was learnt from.
        """
        from lstmkit.tasks.forecast import scoring

        table, corpus = self._read(data)
        ids = [s.id for s in table.series]
        if refit:
            return self._evaluate_refitted(corpus, windows or self.test_windows)
        chosen = scoring.unseen(corpus, ids, self.seen_, windows)
        model = self.heldout_ if chosen.heldout else self.model_
        return scoring.report(model, corpus, chosen, dict(self.facts_), self.seed)

    def _evaluate_refitted(self, corpus: Corpus, windows: int) -> Report:
        """Rolling origins, each forecast by a network trained on the rows before it."""
        from lstmkit.tasks.forecast import scoring

        course, epochs = self._course(self.facts_["size"]), int(self.facts_["best_epoch"])

        def retrain(past: Corpus) -> scoring.Model:
            return scoring.Model.of(course.again(past, epochs))

        return scoring.report_refitted(corpus, windows, retrain, dict(self.facts_), self.seed)

    def trace(self, data: Any) -> ForecastTrace:
        """The gates of the LSTM over the last window of each series and its forecast."""
        from lstmkit.tasks.forecast.trace import record

        table, corpus = self._read(data)
        return record(self.model_, corpus, [s.id for s in table.series])

    def probe(
        self, data: Any, samples: int = 4, only: Sequence[str] = (), future: bool = False
    ) -> Probe:
        """Windows of so many series for `lstmkit.inspection`; see `forecast.probe.probe`."""
        from lstmkit.tasks.forecast.probe import probe

        return probe(self, data, samples, only, future)

    def stream(self) -> ForecastStream:
        """A stream with the final weights: push rows as they come, ask for forecasts; no torch."""
        from lstmkit.tasks.forecast.stream import ForecastStream

        self.check_fitted()
        return ForecastStream(self.model_.ready, self.shape_, self.quantiles_, self.columns_)

    def lowered(self, dtype: str) -> Self:
        """A copy whose matrices of weights, final and held-out ones, are in `dtype`."""
        self.check_fitted()
        found = copy(self)
        found.model_, found.heldout_ = (m.lowered(dtype) for m in (self.model_, self.heldout_))
        return found

    def plot(self, data: Any, frame: Any = None) -> Any:
        """A picture of the end of each series and its forecast (`frame`, predicted if left out)."""
        from lstmkit.tasks.forecast import scoring
        from lstmkit.tasks.forecast.picture import draw

        table, corpus = self._read(data)
        chosen = scoring.Selection(np.arange(len(corpus)), corpus.lengths, heldout=False)
        answer = scoring.forecast(self.model_, corpus, chosen)
        return draw(table, self.model_, answer)

    # --- keep

    def contents(self) -> dict[str, Any]:
        """Config, program and tensors of a model file."""
        options = {**self.get_params(), "quantiles": list(self.quantiles_)}
        options["log_dir"] = self.log_dir and str(self.log_dir)
        config = {
            "options": options,
            "columns": self.columns_,
            "geometry": self.shape_.to_json(),
            "series": len(self.seen_.ids),
            "report": {
                "intervals": {},
                **self.report_.to_dict(),
                "notes": list(self.report_.notes),
            },
        }
        heldout = {f"heldout/{k}": v for k, v in self.heldout_.weights.items()}
        return {
            "config": config,
            "program": self.model_.program,
            "tensors": {**heldout, **self.seen_.tensors()},
        }

    @classmethod
    def from_modelfile(cls, model: ModelFile) -> Self:
        """The forecaster of a loaded file."""
        from lstmkit.tasks.forecast.features import Geometry
        from lstmkit.tasks.forecast.scoring import Model
        from lstmkit.tasks.forecast.seen import Seen

        config = model.config
        found = cls(**{**config["options"], "quantiles": tuple(config["options"]["quantiles"])})
        found.quantiles_ = tuple(config["options"]["quantiles"])
        found.columns_, found.shape_ = config["columns"], Geometry.from_json(config["geometry"])
        found.seen_ = Seen.from_tensors(model.tensors)
        found.model_ = Model(model.program, found.shape_, found.quantiles_)
        heldout = {k[8:]: v for k, v in model.tensors.items() if k.startswith("heldout/")}
        found.heldout_ = found.model_.with_weights(heldout)
        found.report_ = restored_report(cls.TASK, config["report"])
        found.facts_, found.notes_ = found.report_.model, list(found.report_.notes)
        return found
