"""AnomalyDetector: from a table of metrics to alerts that one can act on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from lstmkit.errors import UserError
from lstmkit.tasks.anomaly.features import HALF_LIFE, SMOOTHING, Geometry
from lstmkit.tasks.estimator import SHARED, Estimator, Option

if TYPE_CHECKING:
    from lstmkit.calibration.tails import Tail
    from lstmkit.evaluation.report import Report
    from lstmkit.inspection.probe import Probe
    from lstmkit.modelfile import ModelFile
    from lstmkit.program import Program
    from lstmkit.readers.tables import ChannelTable
    from lstmkit.tasks.anomaly.network import DetectorNetwork
    from lstmkit.tasks.anomaly.story import Story
    from lstmkit.tasks.anomaly.stream import AnomalyStream
    from lstmkit.tasks.anomaly.trace import DetectorTrace
    from lstmkit.tasks.anomaly.watch import Rule
    from lstmkit.tasks.seen import Seen
    from lstmkit.training import History

THRESHOLDS = ("budget", "evt", "dynamic", "conformal")
RULES = ("threshold", "alerts_per_day", "risk", "gap", "adapt")


class AnomalyDetector(Estimator):
    """Watch series of one or many channels, without labels, and tell what is unusual.

    An LSTM says of each row what is to be expected of it; the errors of all channels are judged
    together, by what they have in common on rows that the network did not learn from. A score is
    minus log10 of the probability of such a normal row: it means the same on every series.

    Args:
        id, time: column names, inferred where left out; id may be several, `site,host`.
        channels: columns to watch, all that hold numbers where left out.
        label: column of labels, which is not watched.
        ignore: columns to leave out.
        freq, season: spacing of the rows and rows in a season, inferred where left out; season 0
            has none.
        threshold: how scores become alarms: `budget` (so many alerts a day), `evt` (extreme value
            theory, Siffer et al. 2017), `dynamic` (Hundman et al. 2018) or `conformal`.
        alerts_per_day: the budget, of all series together.
        risk: share of normal rows that may alarm, for `evt` and `conformal`.
        gap: alarms at most so many rows apart are one alert.
        adapt: let scores follow what has been normal lately.
        half_life: rows in which the level of a channel follows half of a shift.
        smoothing: rows over which errors are averaged.
        width: cells of the LSTM, other than those of `size`.

    Attributes:
        report_: what is known without labels: the alerts on held-out rows.
        network_: the torch module.
        program_: the same, and all of its scoring, without torch.
        notes_: what was inferred, repaired and left out.
    """

    shape_: Geometry
    columns_: dict[str, Any]
    detector_: Program
    tails_: list[Tail]
    held_: dict[str, np.ndarray]
    history_: History
    seen_: Seen
    facts_: dict[str, Any]
    report_: Report
    notes_: list[str]

    TASK = "anomaly"
    METRIC = "vus_pr"
    LOWER_IS_BETTER = False
    OPTIONS = (
        Option("id", str, None, "Columns that name a series.", metavar="NAMES", group="data"),
        Option("time", str, None, "Column of times.", metavar="NAME", group="data"),
        Option("channels", str, None, "Columns to watch.", metavar="NAMES", group="data"),
        Option("label", str, None, "Column of labels, not watched.", metavar="NAME", group="data"),
        Option("ignore", str, None, "Columns to leave out.", metavar="NAMES", group="data"),
        Option("freq", str, None, "Spacing, such as 1m, 1h.", metavar="FREQ", group="data"),
        Option("season", int, None, "Rows in a season.", metavar="N", group="data", least=0),
        Option("day_first", bool, None, "Read 01/02 as the first of February.", group="data"),
        Option("threshold", str, "budget", "How scores alarm.", THRESHOLDS, group="alerts"),
        Option("alerts_per_day", float, 1.0, "Budget of alerts.", metavar="N", group="alerts"),
        Option("risk", float, 1e-4, "Share of false alarms.", metavar="P", group="alerts"),
        Option("gap", int, 30, "Rows between two alerts.", metavar="N", group="alerts"),
        Option("adapt", bool, False, "Follow what is normal lately.", group="alerts"),
        Option("half_life", int, HALF_LIFE, "Rows to follow a shift half way.", metavar="N"),
        Option("smoothing", int, SMOOTHING, "Rows that are averaged.", metavar="N"),
        Option("width", int, None, "Cells of the LSTM, other than the size's.", metavar="N"),
        *SHARED,
    )
    ANSWERING = (
        Option("scores", str, None, "Also write the score of every row.", metavar="FILE"),
        Option("state", str, None, "Go on from FILE: only what is new.", metavar="FILE"),
        Option("alerts_per_day", float, None, "Budget of alerts.", metavar="N"),
        Option("adapt", bool, None, "Follow what is normal lately."),
    )
    EVALUATING = (
        Option("label", str, None, "Column, or file, of labels.", metavar="NAME"),
        Option("alerts_per_day", float, None, "Budget of alerts.", metavar="N"),
        Option("adapt", bool, None, "Follow what is normal lately."),
    )
    STREAMING = EVALUATING[1:]
    ALERTS = True

    def __init__(
        self,
        *,
        id: str | list[str] | None = None,
        time: str | None = None,
        channels: str | list[str] | None = None,
        label: str | None = None,
        ignore: str | list[str] | None = None,
        freq: str | None = None,
        season: int | None = None,
        day_first: bool | None = None,
        threshold: str = "budget",
        alerts_per_day: float = 1.0,
        risk: float = 1e-4,
        gap: int = 30,
        adapt: bool = False,
        half_life: int = HALF_LIFE,
        smoothing: int = SMOOTHING,
        width: int | None = None,
        size: str = "small",
        epochs: int | None = None,
        minutes: float | None = None,
        learning_rate: float | None = None,
        batch_size: int | None = None,
        seed: int = 0,
        device: str = "auto",
        threads: int | None = None,
        log_dir: str | None = None,
    ) -> None:
        self.id, self.time, self.channels = id, time, channels
        self.label, self.ignore = label, ignore
        self.freq, self.season, self.day_first = freq, season, day_first
        self.threshold, self.alerts_per_day, self.risk = threshold, alerts_per_day, risk
        self.gap, self.adapt = gap, adapt
        self.half_life, self.smoothing, self.width = half_life, smoothing, width
        self.size, self.epochs, self.minutes = size, epochs, minutes
        self.learning_rate, self.batch_size = learning_rate, batch_size
        self.seed, self.device, self.threads, self.log_dir = seed, device, threads, log_dir

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
        """Learn what is normal from `data`: a path, several, `-`, or a pandas or polars frame.

        Most rows must be normal; labels are not used. The end of every series, a fifth of it, is
        not learnt from: its errors say what is typical.

        Args:
            y, validation: must be left out.
            callbacks: objects as `lstmkit.training.fit` takes them.
            checkpoint: file to which training is saved after each epoch.
            resume: go on from `checkpoint`.
            warm_start: model file whose weights to start from.

        Raises:
            UserError: the data or an option cannot be used.
        """
        from lstmkit.tasks.anomaly import assembly

        if y is not None or validation is not None:
            raise UserError(
                "a detector takes neither y nor validation",
                expected="one table of mostly normal rows",
                hint="labels are for evaluate: --label NAME",
            )
        self.check_options()
        if self.risk >= 1:
            raise UserError("risk is a share of the rows", got=f"{self.risk:g}", expected="below 1")
        run = {
            "callbacks": callbacks,
            "checkpoint": Path(checkpoint) if checkpoint else None,
            "resume": resume,
        }
        assembly.learn(self, data, run, warm_start)
        return self

    # --- ask

    def fitted(self) -> bool:
        """Whether there is a model."""
        return hasattr(self, "detector_")

    @property
    def program_(self) -> Program:
        """The detector without torch."""
        self.check_fitted()
        return self.detector_

    @property
    def network_(self) -> DetectorNetwork:
        """The torch module, in evaluation mode."""
        from lstmkit.tasks.anomaly import assembly

        self.check_fitted()
        return assembly.rebuilt(self)

    def rule(self, alerts_per_day: float | None = None, adapt: bool | None = None) -> Rule:
        """How scores become alerts, with options other than the model's where given."""
        from lstmkit.tasks.anomaly import assembly

        self.check_fitted()
        return assembly.rule(self, alerts_per_day, adapt)

    def stream(
        self, alerts_per_day: float | None = None, adapt: bool | None = None
    ) -> AnomalyStream:
        """A stream at its beginning: push rows as they come; no torch."""
        from lstmkit import runtime
        from lstmkit.tasks.anomaly.stream import AnomalyStream

        rule = self.rule(alerts_per_day, adapt)
        model = runtime.load(self.program_)
        return AnomalyStream(model, self.shape_, self.tails_, rule, self.columns_)

    def predict(
        self,
        data: Any,
        *,
        scores: str | os.PathLike[str] | None = None,
        state: str | os.PathLike[str] | None = None,
        alerts_per_day: float | None = None,
        adapt: bool | None = None,
    ) -> Any:
        """The alerts in `data`.

        Args:
            scores: a file for the score of every row, as `predict_scores` gives them.
            state: a file to go on from and to write: of a file that grows, only new rows are read
                and only new alerts told, each once.
            alerts_per_day: another budget than the model's; with it the threshold is `budget`.
            adapt: other than the model's.

        Returns:
            A frame of the kind that was given (polars for files): id columns, `start`, `end`,
            `severity`, `score` (the peak), `level` (the threshold there), `channels` and `reasons`
            (the causes, most of it first), `rows` (of `data`, from 1, `first-last`) and `open`
            (whether it may go on).
        """
        from lstmkit.tasks.anomaly import answers

        found = answers.watch(self, data, state, alerts_per_day, adapt)
        if scores is not None:
            answers.write_scores(found, scores)
        return answers.alert_frame(found)

    def predict_scores(self, data: Any, *, adapt: bool | None = None) -> Any:
        """The score of every row: ids, time, `score`, `level`, `alarm`, and each channel's part of
        the score under its name."""
        from lstmkit.readers.tables import to_user_kind
        from lstmkit.tasks.anomaly import answers

        found = answers.watch(self, data, None, None, adapt)
        return to_user_kind(answers.score_frame(found), found.table.kind)

    def evaluate(
        self,
        data: Any,
        *,
        label: Any = None,
        alerts_per_day: float | None = None,
        adapt: bool | None = None,
    ) -> Report:
        """Score the detector against labels, on rows that it has not seen, beside baselines.

        Args:
            data: rows with labels; those of the training are stepped through, not scored.
            label: a column, a file of one, or an array: 1 for an anomaly, 0 for none.

        Raises:
            UserError: no labels, or `in-sample` where every row was learnt from.
        """
        from lstmkit.tasks.anomaly import evaluating

        self.check_fitted()
        label = self.label if label is None else label
        return evaluating.report(self, data, label, alerts_per_day, adapt)

    def trace(self, data: Any) -> DetectorTrace:
        """The gates of the LSTM over the last rows of each series."""
        from lstmkit.tasks.anomaly.trace import record

        self.check_fitted()
        return record(self, self.read(data))

    def probe(
        self, data: Any, samples: int = 4, only: Sequence[str] = (), future: bool = False
    ) -> Probe:
        """Rows of so many series for `lstmkit.inspection`; see `anomaly.probe.probe`."""
        from lstmkit.tasks.anomaly.probe import probe

        self.check_fitted()
        return probe(self, self.read(data), samples, only)

    def read(self, data: Any, label: Any = None) -> ChannelTable:
        """The series of `data` under the columns of the training."""
        from lstmkit.tasks.anomaly.answers import read

        self.check_fitted()
        return read(self.columns_, self.shape_, data, label)

    def stories(self, data: Any, **options: Any) -> list[Story]:
        """What pictures and pages are drawn from; options as `predict`."""
        from lstmkit.tasks.anomaly import answers

        given = [options.get(name) for name in ("state", "alerts_per_day", "adapt")]
        return answers.stories(answers.watch(self, data, *given))

    def plot(self, data: Any, **options: Any) -> Any:
        """A picture of the worst alerts; options as `predict`."""
        from lstmkit.tasks.anomaly import picture

        return picture.draw(self.stories(data, **options))

    def write_plot(self, data: Any, path: str | Path, **options: Any) -> None:
        """Draw into a file: .png, .svg, .pdf, or .html for a page of all alerts."""
        from lstmkit.tasks.anomaly import picture

        options = {k: v for k, v in options.items() if k not in ("scores", "state")}
        picture.write(self.stories(data, **options), path)

    def lowered(self, dtype: str) -> Self:
        """A copy whose matrices of weights are in `dtype`: float32, bfloat16 or int8."""
        from lstmkit.lowprecision import lower

        self.check_fitted()
        found = copy(self)
        found.detector_ = lower(self.detector_, dtype)
        return found

    # --- keep

    def contents(self) -> dict[str, Any]:
        """Config, program and tensors of a model file."""
        options = self.get_params()
        options["log_dir"] = self.log_dir and str(self.log_dir)
        config = {
            "options": options,
            "columns": self.columns_,
            "geometry": self.shape_.to_json(),
            "series": len(self.seen_.ids),
            "facts": self.facts_,
            "report": {"intervals": {}, "memory_worth": None, **self.report_.to_dict()},
            "report_notes": list(self.report_.notes),
            "notes": list(self.notes_),
        }
        tails = {f"{k}/{n}": a for k, t in enumerate(self.tails_) for n, a in t.tensors().items()}
        held = {f"held/{k}": v for k, v in self.held_.items()}
        return {
            "config": config,
            "program": self.program_,
            "tensors": {**tails, **held, **self.seen_.tensors()},
        }

    @classmethod
    def from_modelfile(cls, model: ModelFile) -> Self:
        """The detector of a loaded file."""
        from lstmkit.calibration.tails import Tail
        from lstmkit.evaluation import Report
        from lstmkit.tasks.anomaly.program import MEASURES
        from lstmkit.tasks.seen import Seen

        config, tensors = model.config, model.tensors
        found = cls(**config["options"])
        found.columns_, found.shape_ = config["columns"], Geometry.from_json(config["geometry"])
        found.detector_ = model.program
        found.tails_ = [Tail.from_tensors(_under(tensors, f"{k}/")) for k in range(MEASURES)]
        found.held_ = _under(tensors, "held/")
        found.seen_ = Seen.from_tensors(tensors)
        found.facts_, found.notes_ = config["facts"], config["notes"]
        stored: Mapping[str, Any] = config["report"]
        parts = ("metrics", "baselines", "data", "model")
        given = {name: stored[name] for name in parts}
        found.report_ = Report(cls.TASK, **given, notes=config["report_notes"])
        return found


def _under(tensors: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
