"""One contestant in a process of its own: python -m forecasting.worker NAME TASK ANSWER OPTIONS.

TASK and ANSWER are .npz files, OPTIONS JSON. The last line of stdout is JSON: what was measured.
"""

from __future__ import annotations

import json
import platform
import resource
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from forecasting import ours, peers
from forecasting.datasets import Task
from forecasting.scoring import Answer


class Contestant(Protocol):
    """What is measured: importing, fitting, forecasting."""

    packages: tuple[str, ...]
    settings: dict[str, Any]

    def load(self) -> None:
        """Import what is needed."""

    def fit(self, task: Task) -> None:
        """Learn from the rows before the first origin."""

    def predict(self, task: Task) -> Answer:
        """Forecast from every origin."""


def contestant(name: str, options: dict[str, Any]) -> Contestant:
    """By name; only our own takes options."""
    return ours.Lstmkit(options) if name.startswith("lstmkit") else peers.peers()[name]


def measure(model: Contestant, task: Task) -> tuple[Answer, dict[str, Any]]:
    """Import, fit and forecast; seconds by the clock, and what the process took."""
    at = [time.perf_counter()]
    model.load()
    at.append(time.perf_counter())
    model.fit(task)
    at.append(time.perf_counter())
    answer = model.predict(task)
    at.append(time.perf_counter())
    names = ("import_seconds", "fit_seconds", "predict_seconds")
    seconds = {n: round(b - a, 2) for n, a, b in zip(names, at, at[1:], strict=False)}
    return answer, {**seconds, **consumed(), "settings": model.settings}


def consumed() -> dict[str, float]:
    """Processor seconds of all threads and child processes; peak memory of the largest process."""
    used = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    children = used[1].ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {
        "cpu_seconds": round(sum(u.ru_utime + u.ru_stime for u in used), 1),
        "peak_gigabytes": round(max(peak_bytes(), children) / 1024**3, 3),
    }


def peak_bytes() -> int:
    """The largest resident set of this process so far.

    Linux says it exactly as VmHWM; its ru_maxrss would also hold the parent's size at the fork.
    """
    status = Path("/proc/self/status")
    if status.exists():
        found = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(found[0].split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Of those that are installed, and of Python."""
    found = {"python": platform.python_version()}
    for package in (*packages, "numpy"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def main() -> None:
    """Measure one contestant, write its forecasts, print what it took."""
    name, task_file, answer_file, options = sys.argv[1:]
    model = contestant(name, json.loads(options))
    task = Task.load(Path(task_file))
    answer, found = measure(model, task)
    answer.save(Path(answer_file))
    print("\n" + json.dumps({**found, "versions": versions(model.packages)}))


if __name__ == "__main__":
    main()
