"""Timing side by side: every round runs each competitor once, in turn, and ratios are taken within
a round, so that a machine whose speed drifts does not favour anyone."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lstmkit.bench.machine import machine

# Thread pools of the one before spin on for a while; and caches are its own at first.
PAUSE = 0.02
RESULTS = Path(__file__).parent.parent / "results"


def side_by_side(
    competitors: dict[str, Callable[[], Any]], peer: str, rounds: int = 7, seconds: float = 0.15
) -> dict[str, dict[str, float]]:
    """For each competitor: median milliseconds a call, and the ratio of its time to the peer's,
    as median, lowest and highest over the rounds."""
    calls = {name: _calls_for(run, seconds) for name, run in competitors.items()}
    times: dict[str, list[float]] = {name: [] for name in competitors}
    for _ in range(rounds):
        for name, run in competitors.items():
            times[name].append(_time(run, calls[name]))
    found = {}
    for name, mine in times.items():
        ratios = [a / b for a, b in zip(mine, times[peer], strict=True)]
        found[name] = {
            "ms": statistics.median(mine) * 1e3,
            "ratio": statistics.median(ratios),
            "ratio_min": min(ratios),
            "ratio_max": max(ratios),
        }
    return found


def _time(run: Callable[[], Any], calls: int) -> float:
    time.sleep(PAUSE)
    run()
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


def _calls_for(run: Callable[[], Any], seconds: float) -> int:
    run()
    return max(1, int(seconds / max(_time(run, 1), 1e-6)))


def write(name: str, rows: Any) -> Path:
    """benchmarks/results/NAME.json: the machine and the rows."""
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        json.dumps({"machine": {**machine(), "threads": torch_threads()}, "rows": rows}, indent=1)
        + "\n"
    )
    return path


def torch_threads() -> int:
    """How many PyTorch uses."""
    import torch

    return torch.get_num_threads()
