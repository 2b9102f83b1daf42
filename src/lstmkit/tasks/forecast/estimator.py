"""Forecaster: from a table of time series to quantiles of what comes next."""

from __future__ import annotations

import os
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from lstmkit.errors import UserError
from lstmkit.tasks.estimator import SHARED, Estimator, Option
from lstmkit.tasks.forecast.given import parse_quantiles, read, restored_report

if TYPE_CHECKING:
    from lstmkit.evaluation.report import Report
    from lstmkit.inspection.probe import Probe
    from lstmkit.modelfile import ModelFile
    from lstmkit.program import Program
    from lstmkit.readers.tables import SeriesTable
    from lstmkit.tasks.forecast.data import Corpus
    from lstmkit.tasks.forecast.features import Geometry
    from lstmkit.tasks.forecast.learning import Network
    from lstmkit.tasks.forecast.scoring import Model
    from lstmkit.tasks.forecast.stream import ForecastStream
    from lstmkit.tasks.forecast.trace import ForecastTrace
    from lstmkit.tasks.seen import Seen
    from lstmkit.training import History

QUANTILES = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
COLUMNS = ("id", "time", "target", "freq", "day_first", "layout")
COVARIATES = ("known", "past", "static", "categorical", "holidays", "irregular")


class Forecaster(Estimator):
    """Forecast time series with quantiles: one LSTM for all series of a table.

    The end of every series is held out and scored (`report_`), then the model is refitted on all
    rows. The model file keeps both sets of weights, so that no later score is in-sample.

    Args:
        horizon: steps ahead.
        id, time, target: column names, inferred where left out; id may be several, `store,item`.
        known, past, static: columns beside the target: known of the future too (`promo,price`), of
            the past only, or one value a series. Texts are categories, and so are the columns
            named in `categorical`.
        holidays: country, such as DE or US-CA, whose holidays are a known column.
        irregular: rows are events at any time: no grid, and the gap since the last is a column.
        freq, season: spacing of the rows and rows in a season, inferred where left out.
        kind: `windowed` reads the last `lookback` rows again for each answer; `recurrent` reads
            each row once and carries a state, in constant time a row.
        members: networks from as many seeds, whose forecasts are averaged.
        quantiles: probabilities to forecast; 0.5 is always among them.
        point: what `y_hat` is: `median` (best by MAE, MASE, sMAPE) or `mean` (by MSE, RMSE).
        nonnegative: never forecast below 0; inferred where left out.
        lookback: rows that a forecast looks back on, in whole seasons.
        test_windows: horizons at the end of each series that are held out.
        refit: whether to train again on all rows after the held-out score.
        width, dropout: of the LSTM, other than those of `size`.
        trials: so many settings are tried first, and judged by the rows to stop early on.

    Attributes:
        report_: the score on the held-out rows.
        network_: the torch module with the final weights.
        program_: the same, without torch.
        notes_: what was inferred, repaired and skipped.
    """

    shape_: Geometry
    quantiles_: tuple[float, ...]
    columns_: dict[str, Any]
    size_: str
    history_: History
    model_: Model  # the final weights
    heldout_: Model  # those that never saw the held-out rows
    copula_: np.ndarray
    seen_: Seen
    facts_: dict[str, Any]
    report_: Report
    notes_: list[str]

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
        Option("known", str, None, "Columns known ahead.", metavar="NAMES", group="covariates"),
        Option("past", str, None, "Columns of the past.", metavar="NAMES", group="covariates"),
        Option("static", str, None, "Columns of a series.", metavar="NAMES", group="covariates"),
        Option(
            "categorical", str, None, "Numbers that are names.", metavar="NAMES", group="covariates"
        ),
        Option(
            "holidays", str, None, "Of a country: DE, US-CA.", metavar="CODE", group="covariates"
        ),
        Option("irregular", bool, False, "Rows are events at any time.", group="covariates"),
        Option("kind", str, "windowed", "Of model.", ("windowed", "recurrent")),
        Option("members", int, 1, "Networks to average.", metavar="N"),
        Option("point", str, "median", "What y_hat is.", ("median", "mean")),
        Option("nonnegative", bool, None, "Never forecast below 0."),
        Option("trials", int, None, "Settings to try first.", metavar="N"),
        Option("quantiles", str, QUANTILES, "Such as 0.1,0.5,0.9.", metavar="LIST"),
        Option("lookback", int, None, "Rows that a forecast looks back on.", metavar="N"),
        Option("width", int, None, "Cells of the LSTM, other than the size's.", metavar="N"),
        Option("dropout", float, None, "Other than the size's.", metavar="P", least=0.0),
        Option("test_windows", int, 1, "Horizons held out at the end.", metavar="N"),
        Option("refit", bool, True, "Train again on all rows at the end."),
        *SHARED,
    )

    ANSWERING = (
        Option("horizon", int, None, "Steps ahead, other than the model's.", metavar="N"),
        Option("future", str, None, "Table of what is known ahead.", metavar="FILE"),
        Option("samples", int, None, "Sample paths instead of quantiles.", metavar="N"),
        Option("processes", int, None, "Work in so many processes.", metavar="N"),
        Option("recalibrate", bool, None, "Correct intervals by rows newer than the training."),
    )
    EVALUATING = (
        Option("windows", int, None, "Score the last N origins only.", metavar="N"),
        Option("refit", bool, None, "Train anew before each origin: slow, uses all rows."),
        Option("recalibrate", bool, None, "Correct each origin's intervals by those before it."),
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
        known: str | list[str] | None = None,
        past: str | list[str] | None = None,
        static: str | list[str] | None = None,
        categorical: str | list[str] | None = None,
        holidays: str | None = None,
        irregular: bool = False,
        kind: str = "windowed",
        members: int = 1,
        quantiles: Sequence[float] | str = QUANTILES,
        point: str = "median",
        nonnegative: bool | None = None,
        lookback: int | None = None,
        width: int | None = None,
        dropout: float | None = None,
        trials: int | None = None,
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
        self.known, self.past, self.static = known, past, static
        self.categorical, self.holidays, self.irregular = categorical, holidays, irregular
        self.kind, self.members, self.trials = kind, members, trials
        self.point, self.nonnegative = point, nonnegative
        self.width, self.dropout = width, dropout
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
        from lstmkit.tasks.forecast import assembly, warm

        if y is not None or validation is not None:
            raise UserError(
                "a forecaster takes neither y nor validation",
                expected="one table: the target is a column of it, rows are held out by time",
            )
        self.check_options()
        self.quantiles_ = parse_quantiles(self.quantiles)
        earlier = warm.load(warm_start) if warm_start is not None else None
        table = read(data, self._asked_columns(earlier))
        if earlier:
            warm.check(earlier, self, table.freq, self.quantiles_)
        corpus, ids = assembly.prepare(self, table, earlier)
        size = self.size if earlier is None else earlier.facts_["size"]
        run = {
            "callbacks": callbacks,
            "checkpoint": Path(checkpoint) if checkpoint else None,
            "resume": resume,
        }
        course = assembly.course(self, size, **run)
        if self.trials and earlier is None:
            from lstmkit.tasks.forecast import search

            course, corpus = search.best(self, course, corpus)
        assembly.learn(self, corpus, ids, course, earlier)
        return self

    def _asked_columns(self, earlier: Forecaster | None) -> dict[str, Any]:
        """Arguments of `read_series` for training; an earlier model says what its columns are."""
        given = {name: getattr(self, name) for name in (*COLUMNS, *COVARIATES)}
        if earlier is None:
            return given
        made = {name: earlier.columns_.get(name) for name in ("holidays", "irregular")}
        return {**given, **made, "covariates": earlier.shape_.covariates or None}

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
    def network_(self) -> Network:
        """The torch module with the final weights, in evaluation mode."""
        self.check_fitted()
        return self.network_of(self.model_)

    def network_of(self, model: Model) -> Network:
        """The torch module with the weights of `model_` or `heldout_`, in evaluation mode."""
        from lstmkit.tasks.forecast.learning import member_weights, together
        from lstmkit.tasks.forecast.network import Sizes, rebuilt

        names = ("width", "layers", "embedding", "dropout")
        sizes = Sizes(**{name: self.facts_[name] for name in names})
        given = (self.shape_, sizes, self.quantiles_, model.point)
        return together([rebuilt(*given, w) for w in member_weights(model.weights)]).eval()

    def _read(self, data: Any, future: Any = None) -> tuple[SeriesTable, Corpus]:
        """The series of `data` under the columns of the training."""
        from lstmkit.tasks.forecast.data import Corpus

        self.check_fitted()
        table = read(data, {**self._stored_columns(), "future": future})
        return table, Corpus.of(table.series, self.shape_)

    def _stored_columns(self) -> dict[str, Any]:
        """Arguments of `read_series`; wide and row tables find their own columns."""
        stored = {**self.columns_, "covariates": self.shape_.covariates or None}
        if self.columns_["layout"] == "long":
            return {**stored, "id": self.columns_["id"] or None}
        given = {name: getattr(self, name) for name in ("id", "time", "target")}
        return {**stored, **given}

    def predict(
        self,
        data: Any,
        *,
        horizon: int | None = None,
        future: Any = None,
        samples: int | None = None,
        processes: int | None = None,
        recalibrate: bool = False,
    ) -> Any:
        """The steps after the end of each series.

        Args:
            horizon: other than that of the training: a shorter one is its beginning, a longer one
                is walked to by sample paths (windowed models).
            future: a table of the columns that are known ahead; rows of `data` without a target do
                as well. Without either the model forecasts as best it can.
            samples: so many sample paths of each series, which keep the dependence of the steps,
                instead of quantiles.
            processes: so many at once, for many series.
            recalibrate: see `recalibrate`; the model itself stays as it is.

        Returns:
            A frame of the kind that was given (polars for files): id columns and time under the
            user's names, `y_hat` (the median, or the mean with `point`) and a column per quantile,
            `q0.1`; or with `samples` a row for each path and step, `sample` and `y_hat`.
        """
        from lstmkit.tasks.forecast import blocks
        from lstmkit.tasks.forecast.answers import frame_of

        if recalibrate:
            again = copy(self).recalibrate(data)
            given = {"horizon": horizon, "future": future, "samples": samples}
            return again.predict(data, **given, processes=processes)
        table, corpus = self._read(data, future)
        asked = horizon or self.shape_.horizon
        question = blocks.Question(self.model_, self.copula_, asked, samples, self.seed)
        answer = blocks.ask(question, corpus, processes or 1)
        return frame_of(table, self.model_, answer, samples is not None)

    def recalibrate(self, data: Any) -> Self:
        """Correct the intervals by the model's errors on rows newer than its training.

        The weights stay; quantiles but for the median, and sample paths, change in place.

        Raises:
            UserError: `data` has no such rows.
        """
        from lstmkit.tasks.forecast import rolling, scoring

        table, corpus = self._read(data)
        chosen = scoring.unseen(corpus, [s.id for s in table.series], self.seen_, None)
        self.model_, self.copula_ = rolling.recalibrated(self.model_, corpus, chosen)
        return self

    def sample(self, data: Any, count: int = 100, **options: Any) -> np.ndarray:
        """Sample paths (series, count, horizon) of what comes; options as `predict`."""
        from lstmkit.tasks.forecast import blocks

        _, corpus = self._read(data, options.pop("future", None))
        horizon = options.pop("horizon", None) or self.shape_.horizon
        question = blocks.Question(self.model_, self.copula_, horizon, count, self.seed)
        return blocks.ask(question, corpus, **options)

    def evaluate(
        self,
        data: Any,
        *,
        windows: int | None = None,
        refit: bool = False,
        recalibrate: bool = False,
    ) -> Report:
        """Score rolling origins, one horizon apart, on rows that the model has not seen.

        Args:
            data: history and the rows to score; the file of the training scores its held-out rows
                with the weights that never saw them.
            windows: the last so many origins of each series; all that are unseen if left out.
            refit: train anew before each origin, on the rows before it.
            recalibrate: correct the intervals of each origin by the errors of those before it.

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
        return scoring.report(model, corpus, chosen, dict(self.facts_), self.seed, recalibrate)

    def _evaluate_refitted(self, corpus: Corpus, windows: int) -> Report:
        """Rolling origins, each forecast by a network trained on the rows before it."""
        from lstmkit.tasks.forecast import assembly, scoring

        course = assembly.course(self, self.facts_["size"])
        epochs = int(self.facts_["best_epoch"])

        def retrain(past: Corpus) -> scoring.Model:
            return scoring.Model.of(course.again(past, epochs))

        return scoring.report_refitted(corpus, windows, retrain, dict(self.facts_), self.seed)

    def trace(self, data: Any) -> ForecastTrace:
        """The gates of the LSTM over the last window of each series and its forecast."""
        from lstmkit.tasks.forecast.trace import record, record_recurrent

        table, corpus = self._read(data)
        ids = [s.id for s in table.series]
        if self.shape_.kind == "recurrent":
            return record_recurrent(self.network_, corpus, ids)
        return record(self.model_, corpus, ids)

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
        """A picture of the end of each series and its forecast, the worst of them first."""
        from lstmkit.tasks.forecast import backtest, picture, scoring

        table, corpus = self._read(data)
        chosen = scoring.Selection(np.arange(len(corpus)), corpus.lengths, heldout=False)
        answer = scoring.forecast(self.model_, corpus, chosen)
        return picture.draw(table, self.model_, answer, backtest.backtests(self, table, corpus))

    def write_plot(self, data: Any, path: str | Path, **options: Any) -> None:
        """Draw into a file: .png, .svg, .pdf, or .html for a page of all series."""
        from lstmkit.tasks.forecast import picture, scoring

        table, corpus = self._read(data, options.get("future"))
        chosen = scoring.Selection(np.arange(len(corpus)), corpus.lengths, heldout=False)
        picture.write(self, table, corpus, scoring.forecast(self.model_, corpus, chosen), path)

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
            "tensors": {**heldout, "copula": self.copula_, **self.seen_.tensors()},
        }

    @classmethod
    def from_modelfile(cls, model: ModelFile) -> Self:
        """The forecaster of a loaded file."""
        from lstmkit.tasks.forecast.features import Geometry
        from lstmkit.tasks.forecast.scoring import Model
        from lstmkit.tasks.seen import Seen

        config = model.config
        found = cls(**{**config["options"], "quantiles": tuple(config["options"]["quantiles"])})
        found.quantiles_ = tuple(config["options"]["quantiles"])
        found.columns_, found.shape_ = config["columns"], Geometry.from_json(config["geometry"])
        found.seen_ = Seen.from_tensors(model.tensors)
        found.model_ = Model(model.program, found.shape_, found.quantiles_, found.point)
        found.copula_ = model.tensors["copula"]
        heldout = {k[8:]: v for k, v in model.tensors.items() if k.startswith("heldout/")}
        found.heldout_ = found.model_.with_weights(heldout)
        found.report_ = restored_report(cls.TASK, config["report"])
        found.facts_, found.notes_ = found.report_.model, list(found.report_.notes)
        return found
