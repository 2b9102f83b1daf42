"""Several processes are one: same weights, same decisions, and a lost one costs little."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import runner
import several
from torch.distributed import DistBackendError, HashStore

from lstmkit import training
from lstmkit.errors import Interrupted, UserError
from lstmkit.training.meeting import agree, lost
from lstmkit.training.processes import Council, fabric_options, launch, restarted

SCRIPT = Path(__file__).with_name("several.py")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
ALONE = "--standalone"


def command(
    folder: Path, processes: int, given: Sequence[str], options: Sequence[str]
) -> list[str]:
    """One process, or what starts several on this machine."""
    folder.mkdir(exist_ok=True)
    start = ["-m", "torch.distributed.run", f"--nproc-per-node={processes}", *options]
    return [sys.executable, *(start if options else []), str(SCRIPT), str(folder), *given]


def start(
    folder: Path, processes: int, *given: str, restarts: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run to the end, whatever that is; processes that wait for each other for ever fail."""
    options = [ALONE, f"--max-restarts={restarts}"] if processes > 1 else []
    words = command(folder, processes, given, options)
    return subprocess.run(words, capture_output=True, text=True, timeout=150, env=ENVIRONMENT)


def run(folder: Path, processes: int, *given: str, restarts: int = 0) -> dict[str, np.ndarray]:
    """What the first process wrote; all must have the same weights."""
    done = start(folder, processes, *given, restarts=restarts)
    assert done.returncode == 0, done.stderr[-6000:]
    return written(folder, processes)


def written(folder: Path, processes: int) -> dict[str, np.ndarray]:
    found = [dict(np.load(folder / f"rank{rank}.npz")) for rank in range(processes)]
    for other in found[1:]:
        for name, array in found[0].items():
            assert np.array_equal(array, other[name]), name
    return found[0]


def steps(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "steps").read_text().split()]


def difference(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    names = [name for name in one if name != "facts"]
    return max(float(np.abs(one[name] - other[name]).max()) for name in names)


def test_alone_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert training.share() == (0, 1) and training.share().alone and training.share().speaks
    assert not restarted() and launch() == ""
    assert fabric_options("cpu") == {"accelerator": "cpu", "devices": 1}
    assert Council("cpu").sums([1.0, 2.0]) == [1.0, 2.0]
    monkeypatch.setenv("RANK", "3")  # another launcher's, or left over
    assert training.share() == (0, 1)


def test_torchrun_says_who_is_who(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {"RANK": "3", "WORLD_SIZE": "6", "LOCAL_WORLD_SIZE": "2"}
    for name, value in {**facts, "TORCHELASTIC_RUN_ID": "x"}.items():
        monkeypatch.setenv(name, value)
    assert training.share() == (3, 6) and not training.share().speaks
    assert fabric_options("cuda").items() >= {"devices": 2, "num_nodes": 3}.items()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(UserError, match="equally many"):
        fabric_options("cpu")


def test_processes_never_meet_those_of_an_earlier_attempt() -> None:
    store = HashStore()
    store.set("word/1", "old")  # left by a process that is gone
    with ThreadPoolExecutor() as pool:
        first = pool.submit(agree, store, training.Share(0, 3))
        time.sleep(0.1)
        late = [pool.submit(agree, store, training.Share(rank, 3)) for rank in (1, 2)]
        names = {found.result(timeout=10) for found in (first, *late)}
    assert len(names) == 1
    with pytest.raises(TimeoutError, match=r"processes \[1\] of 2"):
        agree(HashStore(), training.Share(0, 2), timedelta(seconds=0.1))


class Stop:
    """Ctrl-C in the third epoch."""

    def on_step(self, step: int, *_: object) -> None:
        if step == 15:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(("number", "first"), [("x", 16), ("y", 1)])
def test_where_a_machine_joins_nobody_counts_a_loss_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: str, first: int
) -> None:
    facts = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "TORCHELASTIC_RESTART_COUNT": "0"}
    for name, value in {**facts, "TORCHELASTIC_RUN_ID": "x"}.items():
        monkeypatch.setenv(name, value)
    plan, diary = runner.plan(checkpoint=tmp_path / "checkpoint"), several.Diary(tmp_path)
    given = (runner.network(), runner.batches, runner.loss, plan)
    with pytest.raises(Interrupted):
        training.fit(*given, callbacks=[Stop()])
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", number)  # y: another torchrun begins anew
    training.fit(*given, callbacks=[diary])
    assert steps(tmp_path) == [*range(first, 4 * runner.STEPS + 1)]


def test_gloo_says_that_a_process_is_gone() -> None:
    said = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:537] Read error: Connection reset"
    assert lost(RuntimeError(said)) and lost(DistBackendError("NCCL error"))
    assert not lost(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not lost(KeyboardInterrupt())


# Slow, all of them: an interpreter that imports torch and Lightning takes 3 s on an idle core, and
# each test starts torchrun and two more.
@pytest.mark.slow
def test_two_processes_equal_one(tmp_path: Path) -> None:
    one, two = run(tmp_path / "one", 1), run(tmp_path / "two", 2)
    assert difference(one, two) < 2e-6
    assert one["facts"] == pytest.approx(two["facts"], rel=1e-6)
    begun = {name: w.numpy() for name, w in several.Ragged().state_dict().items()}
    assert difference(begun, one) > 1e-2
    draws = [
        np.load(tmp_path / path) for path in ("one/draw0.npy", "two/draw0.npy", "two/draw1.npy")
    ]
    assert np.array_equal(draws[0], draws[1]) and not np.isclose(draws[0], draws[2]).any()


@pytest.mark.slow
def test_a_lost_process_costs_no_more_than_the_steps_since_the_checkpoint(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", 2, "checkpoint=1", "logs=1")
    killed = run(tmp_path / "killed", 2, "checkpoint=1", "logs=1", "kill=10", restarts=1)
    assert difference(whole, killed) == 0
    assert steps(tmp_path / "killed") in ([*range(1, k), *range(7, 19)] for k in (10, 11))
    logs = [tmp_path / name / "logs" / "training.csv" for name in ("whole", "killed")]
    assert len({columns(path) for path in logs}) == 1


def columns(log: Path) -> str:
    """The log without the seconds left."""
    return "\n".join(line.rpartition(",")[0] for line in log.read_text().splitlines())


@pytest.mark.slow
def test_a_lost_machine_is_waited_for(tmp_path: Path) -> None:
    whole, folder = run(tmp_path / "whole", 2, "checkpoint=1"), tmp_path / "two"
    with socket.socket() as free:
        free.bind(("localhost", 0))
        place = f"--rdzv-endpoint=localhost:{free.getsockname()[1]}"
    options = ["--nnodes=2", "--max-restarts=2", "--rdzv-backend=c10d", place]
    words = command(folder, 1, ["checkpoint=1", "kill=10"], options)
    with ExitStack() as stack:
        machines = [stack.enter_context(subprocess.Popen(words, env=ENVIRONMENT)) for _ in "12"]
        assert [machine.wait(150) for machine in machines] == [0, 0]
    assert difference(whole, written(folder, 2)) == 0
    assert steps(folder) in ([*range(1, k), *range(7, 19)] for k in (10, 11))


@pytest.mark.slow
def test_ctrl_c_on_one_stops_all_and_any_number_goes_on(tmp_path: Path) -> None:
    whole, folder = run(tmp_path / "whole", 1), tmp_path / "stopped"
    said = start(folder, 2, "checkpoint=1", "stop=4").stderr
    assert said.count("resume=True goes on") >= 2 and steps(folder) in (
        [1, 2, 3, 4],
        [1, 2, 3, 4, 5],
    )
    again = start(folder, 2, "checkpoint=1", "resume=1", "stop=6").stderr
    assert again.count("resume=True goes on") >= 2
    assert difference(whole, run(folder, 1, "checkpoint=1", "resume=1")) < 2e-6
    assert steps(folder) == [*range(1, 19)]


@pytest.mark.slow
def test_a_restart_does_not_go_on_from_another_run(tmp_path: Path) -> None:
    folder, older = tmp_path / "killed", tmp_path / "older"
    run(older, 1, "checkpoint=1", "minutes=0.02")
    run(folder, 1, "checkpoint=1")
    (folder / "steps").unlink()
    (older / "checkpoint").rename(folder / "refit0")  # of other settings, for the second training
    run(folder, 2, "checkpoint=1", "kill=3", "twice=1", restarts=1)
    assert steps(folder) in ([*range(1, k), *range(1, 19)] for k in (3, 4))


@pytest.mark.slow
def test_a_step_that_fails_on_one_is_skipped_by_all(tmp_path: Path) -> None:
    found = run(tmp_path / "nan", 2, "nan=4")
    assert found["facts"][:2].tolist() == [18, 1]
    assert all(np.isfinite(array).all() for array in found.values())


@pytest.mark.slow
def test_all_stop_at_the_same_step_when_time_is_up_and_may_begin_again(tmp_path: Path) -> None:
    done = start(tmp_path / "minutes", 2, "minutes=0.03", "twice=1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert written(tmp_path / "minutes", 2)["facts"][0] >= 1
