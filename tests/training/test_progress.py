"""What a user sees while training, and the logs."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import runner

from lstmkit.errors import MissingExtra, UserError
from lstmkit.training import fit
from lstmkit.training.progress import CsvLog, RichProgress, TensorBoardLog, duration


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def train(*callbacks: Any, **options: Any) -> None:
    plan = runner.plan(**options)
    fit(
        runner.network(),
        runner.batches,
        runner.loss,
        plan,
        validate=runner.validate,
        callbacks=callbacks,
        description="sales",
    )


def test_plain_lines_where_there_is_no_terminal() -> None:
    out = io.StringIO()
    train(RichProgress(stream=out, pause=0.0), epochs=3)
    lines = out.getvalue().splitlines()
    assert len(lines) == 4
    assert all(line.startswith("sales: ") and "\x1b" not in line for line in lines)
    assert "epoch 1  loss " in lines[0] and " best " in lines[0] and lines[0].endswith(" left")
    assert "3 epochs in" in lines[3] and "best score" in lines[3]


def test_lines_that_come_too_fast_are_left_out_but_not_the_last() -> None:
    out = io.StringIO()
    train(RichProgress(stream=out, pause=1e6), epochs=9)
    shown = [line.split("  ")[0] for line in out.getvalue().splitlines()]
    assert shown[:2] == ["sales: epoch 1", "sales: epoch 9"] and len(shown) == 3


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    train(RichProgress(stream=out), epochs=2)
    assert "\x1b[" in out.getvalue() and "loss" in out.getvalue()
    assert out.getvalue().splitlines()[-1].endswith("in epoch 2")


def test_quiet_is_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    train(RichProgress(quiet=True), epochs=1)
    train(epochs=1)
    assert capfd.readouterr() == ("", "")


def test_the_bar_goes_when_training_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    shown = RichProgress(stream=out)
    with pytest.raises(ZeroDivisionError):
        fit(runner.network(), runner.batches, lambda m, b: 1 / 0, runner.plan(), callbacks=[shown])
    assert shown.bar is None and "failed" in out.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "training.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_csv_and_tensorboard_logs(tmp_path: Path) -> None:
    train(log_dir=tmp_path, epochs=3)
    found = rows(tmp_path)
    assert [row["epoch"] for row in found] == ["1", "2", "3"]
    assert [int(row["steps"]) for row in found] == [runner.STEPS * k for k in (1, 2, 3)]
    assert all(float(row["train_loss"]) > 0 and float(row["score"]) > 0 for row in found)
    scalars = events(tmp_path)
    assert len(scalars["loss/epoch"]) == len(scalars["score/validation"]) == 3
    assert scalars["score/validation"][-1] == pytest.approx(float(found[-1]["score"]))
    assert len(scalars["loss/step"]) == 3 * runner.STEPS // 10


def events(folder: Path) -> dict[str, list[float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    tags = accumulator.Tags()["scalars"]
    return {tag: [point.value for point in accumulator.Scalars(tag)] for tag in tags}


def test_a_resumed_log_has_every_epoch_once(tmp_path: Path) -> None:
    log = CsvLog(tmp_path)
    log.on_start(runner.plan(), "")
    for epoch in (1, 2, 3):
        log.on_epoch(epoch, 1.0, None, None, 0.0)
    resumed = CsvLog(tmp_path)
    resumed.on_start(runner.plan(checkpoint=tmp_path / "c", resume=True), "")
    resumed.on_epoch(3, 0.5, 0.25, 0.25, 0.0)
    assert [(r["epoch"], r["train_loss"]) for r in rows(tmp_path)] == [
        ("1", "1.0"), ("2", "1.0"), ("3", "0.5"),
    ]  # fmt: skip


def test_a_new_run_starts_a_new_log(tmp_path: Path) -> None:
    train(log_dir=tmp_path, epochs=3)
    train(log_dir=tmp_path, epochs=1)
    assert len(rows(tmp_path)) == 1


def test_a_log_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UserError, match="cannot write the log"):
        train(log_dir=tmp_path / "taken", epochs=1)


def test_tensorboard_is_imported_only_if_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    train(epochs=1)
    with pytest.raises(MissingExtra, match=r"lstmkit\[train\]"):
        TensorBoardLog(tmp_path)


@pytest.mark.slow
def test_training_says_nothing_by_itself(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", runner.__file__, str(tmp_path / "c"), "1", "resume"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["epoch", "done"]
