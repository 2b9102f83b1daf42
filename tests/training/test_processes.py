"""Several processes are one: same weights, same decisions, and a lost one costs little."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lstmkit import training
from lstmkit.training.processes import Council, restarted

SCRIPT = Path(__file__).with_name("several.py")
TORCHRUN = ["-m", "torch.distributed.run", "--standalone"]


def run(folder: Path, processes: int, *given: str, restarts: int = 0) -> dict[str, np.ndarray]:
    """What the first process wrote; all must have the same weights."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, str(SCRIPT), str(folder), *given]
    if processes > 1:
        options = [f"--nproc-per-node={processes}", f"--max-restarts={restarts}"]
        command[1:1] = [*TORCHRUN, *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-6000:]
    found = [dict(np.load(folder / f"rank{rank}.npz")) for rank in range(processes)]
    for other in found[1:]:
        for name, array in found[0].items():
            assert np.array_equal(array, other[name]), name
    return found[0]


def difference(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    names = [name for name in one if name != "facts"]
    return max(float(np.abs(one[name] - other[name]).max()) for name in names)


def test_alone_there_is_one_process() -> None:
    assert training.share() == (0, 1) and training.share().alone and training.share().speaks
    assert not restarted()
    assert Council("cpu").sums([1.0, 2.0]) == [1.0, 2.0]


@pytest.mark.slow  # three interpreters import torch
def test_two_processes_equal_one(tmp_path: Path) -> None:
    one, two = run(tmp_path / "one", 1), run(tmp_path / "two", 2)
    assert difference(one, two) < 2e-6
    assert one["facts"] == pytest.approx(two["facts"], rel=1e-6)
    assert difference(one, run(tmp_path / "none", 1, "epochs=1")) > 1e-2


@pytest.mark.slow
def test_a_lost_process_costs_no_more_than_the_steps_since_the_checkpoint(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", 2, "checkpoint=1")
    # One restart would do; gloo's first connection after one is sometimes refused.
    killed = run(tmp_path / "killed", 2, "checkpoint=1", "kill=10", restarts=4)
    assert difference(whole, killed) == 0
    steps = [int(line) for line in (tmp_path / "killed" / "steps").read_text().split()]
    assert steps in ([*range(1, 10), *range(7, 19)], [*range(1, 11), *range(7, 19)])


@pytest.mark.slow
def test_a_step_that_fails_on_one_is_skipped_by_all(tmp_path: Path) -> None:
    found = run(tmp_path / "nan", 2, "nan=4")
    assert found["facts"][:2].tolist() == [18, 1]
    assert all(np.isfinite(array).all() for array in found.values())


@pytest.mark.slow
def test_all_stop_at_the_same_step_when_time_is_up_and_may_begin_again(tmp_path: Path) -> None:
    found = run(tmp_path / "minutes", 2, "minutes=0.03", "twice=1")
    assert found["facts"][0] >= 1
