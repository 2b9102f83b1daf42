"""`lstmkit train` in two processes: one model, one voice, and the same scores as one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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


@pytest.mark.slow  # three interpreters import torch
def test_two_processes_make_the_model_of_one(sales: Path, tmp_path: Path) -> None:
    one, _ = train(sales, tmp_path / "one.safetensors", 1)
    two, said = train(sales, tmp_path / "two.safetensors", 2)
    for name, value in one["metrics"].items():
        assert two["metrics"][name] == pytest.approx(value, rel=1e-3), name
    assert said.count("1 epochs in") == 2  # the first process's, of both trainings
    left = sorted(path.name for path in tmp_path.glob("*.safetensors*"))
    assert left == ["one.safetensors", "two.safetensors"]
