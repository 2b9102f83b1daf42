"""What is shown and logged while training: a bar or plain lines, CSV, TensorBoard."""

from __future__ import annotations

import csv
import io
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from lstmkit.errors import UserError, require
from lstmkit.modelfile import atomic_write
from lstmkit.training.plan import History, TrainingPlan

STEPS_BETWEEN_POINTS = 10  # of TensorBoard's curve over steps
ENDINGS = {
    "epochs": "",
    "minutes": "the minutes are over",
    "early": "no better score for long enough",
    "interrupted": "interrupted",
    "failed": "failed",
}


class RichProgress:
    """Loss, score and time left on stderr: a bar on a terminal, else a line now and then.

    Lines also serve notebooks, whose stderr is no terminal.

    Args:
        quiet: show nothing.
        stream: in place of stderr.
        pause: seconds between plain lines; the first and the last epoch are always shown.
    """

    def __init__(
        self, *, quiet: bool = False, stream: TextIO | None = None, pause: float = 5.0
    ) -> None:
        self.quiet, self.stream, self.pause = quiet, stream, pause
        self.label, self.facts, self.last_line = "training", "", 0.0
        self.waiting = ""  # a line that was left out
        self.bar: Any = None
        self.task: Any = None

    def on_start(self, plan: TrainingPlan, description: str = "") -> None:
        """Put up the bar where there is a terminal."""
        self.label, self.facts = description or "training", ""
        self.last_line, self.waiting = float("-inf"), ""
        out = self.stream or sys.stderr
        if not self.quiet and out.isatty():
            self.bar = _bar(out)
            self.task = self.bar.add_task(self.label, total=None, facts="")
            self.bar.start()

    def on_step(self, step: int, total: int, loss: float) -> None:
        """Move the bar."""
        if self.bar is not None:
            facts = self.facts or f"loss {loss:.4g}"
            self.bar.update(self.task, completed=step, total=total, facts=facts)

    def on_epoch(
        self,
        epoch: int,
        train_loss: float,
        score: float | None,
        best: float | None,
        eta_seconds: float,
    ) -> None:
        """Say how the epoch went."""
        parts = [f"epoch {epoch}", f"loss {train_loss:.4g}"]
        parts += [f"score {score:.4g}"] if score is not None else []
        parts += [f"best {best:.4g}"] if best is not None else []
        self.facts = "  ".join(parts)
        self.waiting = f"{self.facts}  {duration(eta_seconds)} left"
        if time.monotonic() - self.last_line >= self.pause:
            self._line()

    def on_end(self, history: History) -> None:
        """Take the bar down; one line stays that says what came of it."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
        elif self.waiting:
            self._line()
        ending = [ENDINGS.get(history.stopped, history.stopped)]
        ending += [f"{history.skipped} steps skipped"] if history.skipped else []
        parts = [f"{history.epochs} epochs in {duration(history.seconds)}"]
        if history.best_score is not None:
            parts.append(f"best score {history.best_score:.4g} in epoch {history.best_epoch}")
        self._print(", ".join(part for part in [*parts, *ending] if part))

    def _line(self) -> None:
        if self.bar is None:
            self._print(self.waiting)
            self.last_line, self.waiting = time.monotonic(), ""

    def _print(self, text: str) -> None:
        if not self.quiet:
            print(f"{self.label}: {text}", file=self.stream or sys.stderr, flush=True)


def _bar(out: TextIO) -> Any:
    """A rich bar: what, how far, how it goes, how long yet."""
    progress = require("rich.progress", "train")
    console = require("rich.console", "train").Console(file=out)
    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(bar_width=24),
        progress.TaskProgressColumn(),
        progress.TextColumn("{task.fields[facts]}"),
        progress.TimeRemainingColumn(compact=True),
        console=console,
        transient=True,
    )


def duration(seconds: float) -> str:
    """As a person says it: 8 s, 3 min 20 s, 2 h 5 min.

    >>> duration(200)
    '3 min 20 s'
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class CsvLog:
    """folder/training.csv: one row an epoch; a resumed run goes on in the same file."""

    COLUMNS = ("epoch", "steps", "train_loss", "score", "best", "seconds_left")

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / "training.csv"
        self.rows: list[list[str]] = []
        self.steps = 0

    def on_start(self, plan: TrainingPlan, description: str = "") -> None:
        """Read the rows of the run that is resumed."""
        with _disk(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if plan.resume and self.path.exists():
                text = self.path.read_text(encoding="utf-8")
                self.rows = [row for row in csv.reader(text.splitlines()[1:]) if row]

    def on_step(self, step: int, total: int, loss: float) -> None:
        """Note how far it is."""
        self.steps = step

    def on_epoch(
        self,
        epoch: int,
        train_loss: float,
        score: float | None,
        best: float | None,
        eta_seconds: float,
    ) -> None:
        """Write the file anew, without rows of a later time that was lost in a crash."""
        facts = (epoch, self.steps, train_loss, score, best, round(eta_seconds, 1))
        earlier = [row for row in self.rows if int(row[0]) < epoch]
        self.rows = [*earlier, ["" if fact is None else str(fact) for fact in facts]]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.COLUMNS, *self.rows])
        with _disk(self.path), atomic_write(self.path) as file:
            file.write(text.getvalue().encode())


class TensorBoardLog:
    """TensorBoard's events in `folder`: loss over steps, loss and score over epochs.

    Raises:
        MissingExtra: at once, where TensorBoard is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        require("tensorboard", "train")
        self.folder = Path(folder)
        self.writer: Any = None
        self.steps = 0

    def on_step(self, step: int, total: int, loss: float) -> None:
        """A point of the curve over steps."""
        self.steps = step
        if step % STEPS_BETWEEN_POINTS == 0:
            self._open().add_scalar("loss/step", loss, step)

    def on_epoch(
        self,
        epoch: int,
        train_loss: float,
        score: float | None,
        best: float | None,
        eta_seconds: float,
    ) -> None:
        """The points of an epoch."""
        self._open().add_scalar("loss/epoch", train_loss, self.steps)
        if score is not None:
            self._open().add_scalar("score/validation", score, self.steps)
        with _disk(self.folder):
            self.writer.flush()

    def on_end(self, history: History) -> None:
        """Close the file of events."""
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    def _open(self) -> Any:
        """The writer; points at or after the first step are of a time lost in a crash: purged."""
        if self.writer is None:
            module = require("torch.utils.tensorboard", "train")
            with _disk(self.folder):
                self.writer = module.SummaryWriter(str(self.folder), purge_step=self.steps)
        return self.writer


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write the log {path}: {error.strerror or error}",
            hint="make room, or choose another log folder",
        ) from error
