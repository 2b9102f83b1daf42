"""IntrusionDetector: from packets and flow logs to few alerts, each with its reason and record."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from lstmkit.errors import UserError
from lstmkit.tasks.estimator import SHARED, Estimator, Option
from lstmkit.tasks.intrusion.features import Geometry
from lstmkit.tasks.intrusion.watch import HOSTS

if TYPE_CHECKING:
    from lstmkit.evaluation.report import Report
    from lstmkit.inspection.probe import Probe
    from lstmkit.modelfile import ModelFile
    from lstmkit.program import Program
    from lstmkit.readers.flows import Flows
    from lstmkit.tasks.intrusion.alerts import Rule
    from lstmkit.tasks.intrusion.answers import Watched
    from lstmkit.tasks.intrusion.guard import Fingerprint
    from lstmkit.tasks.intrusion.network import IntrusionNetwork
    from lstmkit.tasks.intrusion.stream import IntrusionStream
    from lstmkit.tasks.intrusion.trace import DetectorTrace
    from lstmkit.tasks.intrusion.watch import Scale
    from lstmkit.training import History

FORMATS = ("zeek", "eve", "pcap", "netflow", "cicflow", "nsl-kdd", "unsw-nb15")
FORMAT = Option("format", str, None, "What DATA is; found if left out.", FORMATS, group="data")
BUDGET = Option("alerts_per_day", float, None, "False alerts a day.", metavar="N")
SUPPRESS = Option("suppress", str, None, "Rules for alerts not to tell.", metavar="FILE")
REMEMBER = Option("hosts", int, HOSTS, "Hosts that are remembered.", metavar="N")


class IntrusionDetector(Estimator):
    """Watch the flows of every host, learn this network's normal, and tell few attacks, with why.

    One LSTM follows each host, another each pair of hosts; they say what to expect of the next flow
    and which attack a host's flows look like. Without labels the attacks to learn from are made up
    (scan, brute force, beacon, exfiltration ...); with --supervised they are the labelled ones, and
    what is like none of them is `unknown`. A score is minus log10 of the probability that a normal
    flow is so strange.

    Args:
        format: of the files: zeek, eve, pcap, netflow, cicflow, nsl-kdd or unsw-nb15.
        home_net: networks that are watched over, `10.0.0.0/8,192.168.1.0/24`; the private ones
            where left out.
        supervised: learn the labelled attacks.
        alerts_per_day: false alerts a day that normal traffic may raise, of the whole network.
        risk: of single records: the share of normal ones that may alarm.
        gap: seconds of quiet after which a host's next alarm is another alert.
        width: cells of the LSTM of hosts, other than those of `size`.

    Attributes:
        report_: what is known of held-out flows.
        network_: the torch module.
        program_: the same without torch.
        notes_: what was read, refused and left out.
    """

    shape_: Geometry
    classes_: tuple[str, ...]
    detector_: Program
    scale_: Scale
    held_: dict[str, np.ndarray]
    start_: dict[str, np.ndarray]
    history_: History
    fingerprint_: Fingerprint
    facts_: dict[str, Any]
    report_: Report
    notes_: list[str]

    TASK = "intrusion"
    METRIC = "auc_pr_flow"
    LOWER_IS_BETTER = False
    OPTIONS = (
        FORMAT,
        Option("home_net", str, None, "Networks of your own.", metavar="CIDR,...", group="data"),
        Option("supervised", bool, False, "Learn the labelled attacks.", group="data"),
        Option("alerts_per_day", float, 5.0, "False alerts a day.", metavar="N", group="alerts"),
        Option("risk", float, 0.02, "Normal records that alarm.", metavar="P", group="alerts"),
        Option(
            "gap", float, 3600.0, "Quiet between two alerts.", metavar="SECONDS", group="alerts"
        ),
        Option("width", int, None, "Cells of the LSTM, other than the size's.", metavar="N"),
        *SHARED,
    )
    ANSWERING = (
        FORMAT,
        Option("scores", str, None, "Also write the score of every flow.", metavar="FILE"),
        Option("alerts_as", str, None, "Alerts as a table, JSON lines or EVE.",
               ("table", "json", "eve")),
        BUDGET,
        SUPPRESS,
        REMEMBER,
    )  # fmt: skip
    EVALUATING = (FORMAT, BUDGET)
    STREAMING = (
        BUDGET,
        SUPPRESS,
        REMEMBER,
        Option("follow", str, None, "Follow a log that grows and rotates.", metavar="FILE"),
        Option("alerts", str, None, "Append the alerts to FILE, each once.", metavar="FILE"),
        Option("alerts_as", str, None, "Alerts as JSON lines or EVE.", ("json", "eve")),
        Option("once", bool, None, "Stop where the followed log ends."),
    )
    ALERTS = True
    FLOWS = True  # reads network flows, not rows of a table

    def __init__(
        self,
        *,
        format: str | None = None,
        home_net: str | Sequence[str] | None = None,
        supervised: bool = False,
        alerts_per_day: float = 5.0,
        risk: float = 0.02,
        gap: float = 3600.0,
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
        self.format, self.home_net, self.supervised = format, home_net, supervised
        self.alerts_per_day, self.risk, self.gap = alerts_per_day, risk, gap
        self.width = width
        self.size, self.epochs, self.minutes = size, epochs, minutes
        self.learning_rate, self.batch_size = learning_rate, batch_size
        self.seed, self.device, self.threads, self.log_dir = seed, device, threads, log_dir

    def networks(self) -> tuple[str, ...]:
        """The home networks; () for the private ones."""
        if self.home_net is None:
            return ()
        given = self.home_net
        named = given.split(",") if isinstance(given, str) else list(given)
        return tuple(text.strip() for text in named if text.strip())

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
        """Learn from flows: paths (globs too), `-`, or a `Flows`, in order of arrival.

        Without labels most flows must be normal; those labelled as attacks are left out. A
        fifth, spread over the time, is not learnt from: its scores say what is usual.

        Args:
            y, validation: must be left out; labels are a column of the flows.
            callbacks: objects as `lstmkit.training.fit` takes them.
            checkpoint: file to which training is saved after each epoch.
            resume: go on from `checkpoint`.
            warm_start: model file whose weights to start from.

        Raises:
            UserError: the data or an option cannot be used.
        """
        from lstmkit.tasks.intrusion import assembly

        if y is not None or validation is not None:
            raise UserError(
                "an intrusion detector takes neither y nor validation",
                expected="flows, with their labels as a column",
            )
        self.check_options()
        if self.risk >= 1:
            raise UserError("risk is a share", got=f"{self.risk:g}", expected="below 1")
        run = {
            "callbacks": callbacks,
            "checkpoint": Path(checkpoint) if checkpoint else None,
            "resume": resume,
        }
        assembly.fit(self, data, run, warm_start)
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
    def network_(self) -> IntrusionNetwork:
        """The torch module, in evaluation mode."""
        from lstmkit.tasks.intrusion import assembly

        self.check_fitted()
        return assembly.rebuilt(self)

    def level(self, alerts_per_day: float | None = None) -> float:
        """The score at which a flow alarms."""
        from lstmkit.tasks.intrusion import levels

        self.check_fitted()
        peaks = self.held_["peaks"]
        if not self.shape_.hosts:
            return float(np.quantile(peaks, 1 - self.risk))
        budget = self.alerts_per_day if alerts_per_day is None else alerts_per_day
        return levels.level_of(peaks, float(self.held_["days"]), budget)

    def rule(self, alerts_per_day: float | None = None) -> Rule:
        """How scores become alerts."""
        from lstmkit.tasks.intrusion.alerts import Rule
        from lstmkit.tasks.intrusion.assembly import UNKNOWN

        named = UNKNOWN if self.supervised else "unusual"
        level = self.level(alerts_per_day)
        return Rule(level, self.classes_, self.shape_.source, self.gap, named)

    def stream(
        self,
        *,
        alerts_per_day: float | None = None,
        suppress: str | os.PathLike[str] | None = None,
        hosts: int = HOSTS,
    ) -> IntrusionStream:
        """A stream that begins where the training ended: push flows as they come; no torch."""
        from lstmkit import runtime
        from lstmkit.tasks.intrusion.stream import IntrusionStream
        from lstmkit.tasks.intrusion.suppress import Suppressions

        rule = self.rule(alerts_per_day)
        rules = Suppressions.read(suppress) if suppress is not None else None
        model = runtime.load(self.program_)
        return IntrusionStream(model, self.shape_, self.scale_, rule, hosts, rules, self.start_)

    def predict(
        self,
        data: Any,
        *,
        format: str | None = None,
        scores: str | os.PathLike[str] | None = None,
        alerts_as: str | None = None,
        alerts_per_day: float | None = None,
        suppress: str | os.PathLike[str] | None = None,
        hosts: int = HOSTS,
    ) -> Any:
        """The alerts in flows: paths (globs too), `-`, or a `Flows`.

        Args:
            format: of the files; found where left out.
            scores: a CSV file for the score of every flow.
            alerts_as: `table` (a frame, the default), `json` or `eve` (lists of lines).
            alerts_per_day: another budget than the model's.
            suppress: file of rules for alerts that are not to be told.
            hosts: hosts that are remembered.

        Returns:
            One row an alert: `time`, `host`, `score`, `severity`, `class`, `reasons`, `record`,
            `begun`, `flows` ... as a polars frame; or lines.
        """
        from lstmkit.tasks.intrusion import answers

        given = {"alerts_per_day": alerts_per_day, "suppress": suppress, "hosts": hosts}
        found = answers.watch(self, data, format or self._format(), given, scores)
        return answers.told(found, alerts_as or "table")

    def _format(self) -> str | None:
        return self.format

    def score(self, data: Any, *, format: str | None = None, memory: bool = True) -> np.ndarray:
        """The score (n,) of every flow; `memory=False` resets the LSTMs at each."""
        from lstmkit.tasks.intrusion import answers

        self.check_fitted()
        return answers.scores(self, data, format or self._format(), memory)

    def evaluate(
        self, data: Any, *, format: str | None = None, alerts_per_day: float | None = None
    ) -> Report:
        """Score the detector against labels, on flows that it has not seen, beside baselines.

        Raises:
            UserError: no labels; a random split of the training's own traffic (`in-sample`).
        """
        from lstmkit.tasks.intrusion import evaluating

        self.check_fitted()
        return evaluating.report(self, data, format or self._format(), alerts_per_day)

    def trace(self, data: Any, *, hosts: int = 4) -> DetectorTrace:
        """The gates of the LSTM of hosts over the last flows of the busiest hosts."""
        from lstmkit.tasks.intrusion.trace import record

        self.check_fitted()
        return record(self, self.read(data), hosts)

    def probe(
        self, data: Any, samples: int = 4, only: Sequence[str] = (), future: bool = False
    ) -> Probe:
        """Flows of so many hosts for `lstmkit.inspection`; see `intrusion.probe.probe`."""
        from lstmkit.tasks.intrusion.probe import probe

        self.check_fitted()
        return probe(self, self.read(data), samples, only)

    def read(self, data: Any, format: str | None = None) -> Flows:
        """All flows of `data`, which the model can read."""
        from lstmkit.tasks.intrusion import answers

        self.check_fitted()
        found, _ = answers.all_of(data, format or self._format())
        self.shape_.check(found)
        return found

    def watched(self, data: Any, **options: Any) -> Watched:
        """What pictures and pages are drawn from; options as `predict`."""
        from lstmkit.tasks.intrusion import answers

        names = ("alerts_per_day", "suppress", "hosts")
        given = {k: v for k, v in options.items() if k in names}
        return answers.watch(self, data, options.get("format") or self._format(), given, None)

    def plot(self, data: Any, **options: Any) -> Any:
        """A picture of the alerts over time; options as `predict`."""
        from lstmkit.tasks.intrusion import picture

        return picture.draw(*self.watched(data, **options).drawn())

    def write_plot(self, data: Any, path: str | Path, **options: Any) -> None:
        """Draw into a file: .png, .svg, .pdf, or .html for a page of all alerts."""
        from lstmkit.tasks.intrusion import page, picture

        alerts, summary, curves = self.watched(data, **options).drawn()
        write = page.write_page if str(path).endswith(".html") else picture.write_picture
        write(path, alerts, summary=summary, curves=curves)

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
        options["home_net"] = list(self.networks()) or None
        config = {
            "options": options,
            "geometry": self.shape_.to_json(),
            "classes": list(self.classes_),
            "handicap": list(self.scale_.handicap),
            "facts": self.facts_,
            "fingerprint": self.fingerprint_.to_json(),
            "report": {"intervals": {}, "memory_worth": None, **self.report_.to_dict()},
            "report_notes": list(self.report_.notes),
            "notes": list(self.notes_),
        }
        tails = {
            f"{k}/{n}": a for k, t in enumerate(self.scale_.tails) for n, a in t.tensors().items()
        }
        held = {f"held/{k}": v for k, v in self.held_.items()}
        start = {f"start/{k}": v for k, v in self.start_.items()}
        tensors = {**tails, **held, **start}
        return {"config": config, "program": self.program_, "tensors": tensors}

    @classmethod
    def from_modelfile(cls, model: ModelFile) -> Self:
        """The detector of a loaded file."""
        from lstmkit.calibration.tails import Tail
        from lstmkit.evaluation import Report
        from lstmkit.tasks.intrusion.guard import Fingerprint
        from lstmkit.tasks.intrusion.watch import Scale

        config, tensors = model.config, model.tensors
        found = cls(**config["options"])
        found.shape_ = Geometry.from_json(config["geometry"])
        found.classes_ = tuple(config["classes"])
        found.detector_ = model.program
        handicap = tuple(config["handicap"])
        tails = [Tail.from_tensors(_under(tensors, f"{k}/")) for k in range(len(handicap))]
        found.scale_ = Scale(tuple(tails), handicap)
        found.held_ = _under(tensors, "held/")
        found.start_ = _under(tensors, "start/")
        found.fingerprint_ = Fingerprint.from_json(config["fingerprint"])
        found.facts_, found.notes_ = config["facts"], config["notes"]
        stored: Mapping[str, Any] = config["report"]
        parts = ("metrics", "baselines", "data", "model")
        given = {name: stored[name] for name in parts}
        found.report_ = Report(cls.TASK, **given, notes=config["report_notes"])
        return found


def _under(tensors: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
