"""`lstmkit train` in two processes: one model, one voice, and the same scores as one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lstmkit.cli.console import Console

train_verb: Any = import_module("lstmkit.cli.train")

OPTIONS = ["--horizon", "7", "--size", "tiny", "--epochs", "1", "--dropout", "0", "--json"]


def train(sales: Path, output: Path, processes: int) -> tuple[dict[str, Any], str]:
    words = ["train", "forecast", str(sales), *OPTIONS, "-o", str(output), "--threads", "1"]
    command = [sys.executable, "-m", "lstmkit", *words]
    if processes > 1:
        start = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        command = [sys.executable, "-m", *start, "-m", "lstmkit", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout), done.stderr


def test_the_others_need_no_checkpoint_and_share_no_stream(
    sales: Path, tmp_path: Path, lstmkit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "RANK": "0"}
    for name, value in facts.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(train_verb, "fit", lambda *_: None)
    words = ["train", "forecast", sales, "-o", tmp_path / "m.safetensors", "--resume"]
    first = lstmkit(*words)
    assert first.exit_code == 2 and "nothing to resume" in first.stderr
    assert "cannot share standard input" in lstmkit("train", "forecast", "-", *words[3:]).stderr
    monkeypatch.setenv("RANK", "1")
    other = lstmkit(*words)
    assert (other.exit_code, other.stdout, other.stderr) == (0, "", "")


@pytest.mark.parametrize(("resume", "words"), [(True, "going on from"), (False, "starting anew")])
def test_what_becomes_of_an_older_checkpoint_is_said(
    resume: bool, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = SimpleNamespace(notes_=["freq: 1d"])
    notes = train_verb.Notes(model, Console(), Path("m.checkpoint"))
    for _ in range(2):
        notes.on_start(SimpleNamespace(resume=resume))
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and words in said[0] and "m.checkpoint" in said[0]


@pytest.mark.slow  # three interpreters import torch
def test_two_processes_make_the_model_of_one(sales: Path, tmp_path: Path) -> None:
    one, _ = train(sales, tmp_path / "one.safetensors", 1)
    two, said = train(sales, tmp_path / "two.safetensors", 2)
    for name, value in one["metrics"].items():
        assert two["metrics"][name] == pytest.approx(value, rel=1e-3), name
    assert "warn" not in said.lower()
    assert said.count("1 epochs in") == 2  # the first process's, of both trainings
    left = sorted(path.name for path in tmp_path.glob("*.safetensors*"))
    assert left == ["one.safetensors", "two.safetensors"]
