"""Checkpoints: a run that is killed or interrupted goes on to the very same bits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runner
import torch
from torch import nn

from lstmkit.errors import Interrupted, UserError
from lstmkit.modelfile import read_tensors, write_tensors
from lstmkit.training import History, fit

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


class At:
    """Does something at a step."""

    def __init__(self, step: int, act: Callable[[], Any]) -> None:
        self.step, self.act = step, act

    def on_step(self, step: int, *_: Any) -> None:
        if step == self.step:
            self.act()


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def train(module: nn.Module, callbacks: Any = (), **options: Any) -> History:
    plan = runner.plan(**options)
    return fit(
        module, runner.batches, runner.loss, plan, validate=runner.validate, callbacks=callbacks
    )


def uninterrupted(**options: Any) -> tuple[str, History]:
    module = runner.network()
    history = train(module, **options)
    return runner.digest(module), history


def start(path: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, runner.__file__, str(path), "5", *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)


@pytest.mark.slow
def test_killed_and_resumed_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    with start(path) as process:
        assert process.stdout is not None
        while process.stdout.readline() != "epoch 2\n":
            assert process.poll() is None
        process.kill()
    assert process.returncode == -signal.SIGKILL
    with start(path, "resume") as process:
        rest, _ = process.communicate()
    assert rest.splitlines()[0] == "epoch 3"
    expected, history = uninterrupted(epochs=5)
    assert rest.splitlines()[-1] == f"done {history.steps} {expected}"


@pytest.mark.parametrize("step", [1, 8, runner.STEPS, 4 * runner.STEPS])
def test_interrupted_in_the_middle_and_resumed(tmp_path: Path, step: int) -> None:
    path = tmp_path / "run.checkpoint"
    with pytest.raises(Interrupted, match="resume=True"):
        train(runner.network(), [At(step, press_ctrl_c)], checkpoint=path)
    module = runner.network(dropout=0.3)
    history = train(module, checkpoint=path, resume=True)
    weights, whole = uninterrupted()
    assert runner.digest(module) == weights
    assert (history.steps, history.scores) == (whole.steps, whole.scores)
    assert history.train_loss == whole.train_loss


def test_the_best_weights_outlive_an_interruption(tmp_path: Path) -> None:
    def run(callbacks: Any = (), **options: Any) -> str:
        module = runner.network()
        scores = iter([1.0, 3.0, 2.0, 2.0][options.pop("scored", 0) :])
        plan = runner.plan(**options)
        fit(
            module,
            runner.batches,
            runner.loss,
            plan,
            validate=lambda _: next(scores),
            callbacks=callbacks,
        )
        return runner.digest(module)

    path = tmp_path / "run.checkpoint"
    with pytest.raises(Interrupted):
        run([At(15, press_ctrl_c)], checkpoint=path)
    assert run(checkpoint=path, resume=True, scored=2) == run()


def test_ctrl_c_without_a_checkpoint_is_a_plain_one() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt) as stop:
        train(runner.network(), [At(3, press_ctrl_c)])
    assert not isinstance(stop.value, Interrupted)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_stops_at_once() -> None:
    steps = []

    def twice() -> None:
        press_ctrl_c()
        press_ctrl_c()
        steps.append("after")

    with pytest.raises(KeyboardInterrupt):
        train(runner.network(), [At(3, twice)])
    assert steps == []


def test_a_finished_run_resumes_to_its_result(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    weights, _ = uninterrupted(checkpoint=path)
    module = runner.network()
    steps = []
    history = train(module, [At(1, lambda: steps.append(1))], checkpoint=path, resume=True)
    assert (runner.digest(module), steps, history.stopped) == (weights, [], "epochs")


def test_without_a_file_resume_starts_at_the_beginning(tmp_path: Path) -> None:
    weights, _ = uninterrupted(checkpoint=tmp_path / "new", resume=True)
    assert weights == uninterrupted()[0]


def test_used_minutes_count(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    options = {"epochs": None, "minutes": 10 / 60, "checkpoint": path}
    with pytest.raises(Interrupted):
        train(runner.network(), [At(3, press_ctrl_c)], **options)
    arrays, metadata = read_tensors(path)
    facts = json.loads(metadata["lstmkit_training"])
    facts["history"]["seconds"] = 9.9999
    write_tensors(path, arrays, {"lstmkit_training": json.dumps(facts)})
    history = train(runner.network(), resume=True, **options)
    assert history.stopped == "minutes"
    assert history.steps == 4 and history.seconds > 9.9


@pytest.mark.parametrize(
    ("options", "width", "line"),
    [
        ({"seed": 1}, 8, r"another run\n  got: seed 1\n  expected: seed 0"),
        ({"epochs": 9}, 8, r"another run\n  got: epochs 9\n  expected: epochs 4"),
        ({"identity": {"batch_size": 16}}, 8, "batch_size 32"),
        ({}, 9, r"another model\n  got: 0.bias \(9,\)\n  expected: 0.bias \(8,\)"),
    ],
)
def test_checkpoints_of_others_are_refused(
    tmp_path: Path, options: dict[str, Any], width: int, line: str
) -> None:
    path = tmp_path / "run.checkpoint"
    identity = {"batch_size": 32}
    train(runner.network(), checkpoint=path, identity=identity)
    before = path.read_bytes()
    module = runner.network(width)
    weights = runner.digest(module)
    with pytest.raises(UserError, match=line):
        train(module, **{"checkpoint": path, "resume": True, "identity": identity, **options})
    assert path.read_bytes() == before
    assert runner.digest(module) == weights


def rewritten(path: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> None:
    arrays, metadata = read_tensors(path)
    facts = json.loads(metadata["lstmkit_training"])
    change(arrays, facts)
    write_tensors(path, arrays, {"lstmkit_training": json.dumps(facts)})


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda a, f: f.update(format=2), "another version"),
        (lambda a, f: f.pop("cursor"), "damaged\n  got: no cursor"),
        (lambda a, f: f["cursor"].update(evil=1), "damaged"),
        (lambda a, f: a.pop("rng/cpu"), "damaged"),
        (lambda a, f: a.update({"rng/cpu": np.zeros(3, np.uint8)}), "damaged"),
        (lambda a, f: f["optimizer"].update(groups=[]), "damaged"),
    ],
)
def test_damaged_checkpoints_are_refused(tmp_path: Path, change: Any, line: str) -> None:
    path = tmp_path / "run.checkpoint"
    train(runner.network(), checkpoint=path)
    rewritten(path, change)
    with pytest.raises(UserError, match=line):
        train(runner.network(), checkpoint=path, resume=True)


def test_files_that_are_no_checkpoints_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    write_tensors(path, {"x": np.zeros(2)}, {"other": "thing"})
    with pytest.raises(UserError, match="is not a training checkpoint"):
        train(runner.network(), checkpoint=path, resume=True)
    path.write_bytes(b"nonsense")
    with pytest.raises(UserError, match=str(path)):
        train(runner.network(), checkpoint=path, resume=True)


def test_a_full_disk_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.checkpoint"
    synced = iter([os.fsync])

    def fsync(handle: int) -> None:
        next(synced, full)(handle)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(UserError, match="No space left"):
        train(runner.network(), checkpoint=path)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    module = runner.network()
    history = train(module, checkpoint=path, resume=True)
    assert (runner.digest(module), history.epochs) == (uninterrupted()[0], 4)


def test_a_checkpoint_holds_no_pickle_and_strict_json(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    plan = runner.plan(checkpoint=path)
    fit(runner.network(), runner.batches, runner.loss, plan, validate=lambda _: float("nan"))
    arrays, metadata = read_tensors(path)
    json.loads(metadata["lstmkit_training"], parse_constant=pytest.fail)
    assert {name.partition("/")[0] for name in arrays} == {"weights", "optimizer", "rng"}
    assert arrays["rng/cpu"].dtype == np.uint8


def test_bfloat16_weights_come_back_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"

    def batches(epoch: int) -> Any:
        return [(x.bfloat16(), y.bfloat16()) for x, y in runner.batches(epoch)]

    def run(**options: Any) -> torch.Tensor:
        module = runner.network().bfloat16()
        callbacks = options.pop("callbacks", ())
        fit(module, batches, runner.loss, runner.plan(**options), callbacks=callbacks)
        return module[0].weight.detach()

    with pytest.raises(Interrupted):
        run(checkpoint=path, callbacks=[At(8, press_ctrl_c)])
    assert torch.equal(run(checkpoint=path, resume=True), run())
