"""What looking costs: a forward call, the same recorded, and the same under an intervention.

    OMP_NUM_THREADS=1 python benchmarks/speed/trace.py

Writes benchmarks/results/trace.json. The three are timed in turn, in one process; figures are
medians of the rounds, ratios those of neighbours, with their 10th and 90th percentile.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import lstmkit
from lstmkit.bench.machine import machine
from lstmkit.inspection import clamp, intervene, observe, recording
from lstmkit.modelfile import atomic_write

RESULT = Path(__file__).parents[1] / "results" / "trace.json"
SHAPES = ((100, 1, 64, 1), (100, 32, 128, 1), (100, 32, 128, 2), (1000, 1, 256, 2))  # T B H layers


def main() -> None:
    """Time all shapes, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21)
    rounds = parser.parse_args().rounds
    rows = [row(*shape, rounds) for shape in SHAPES]
    for r in rows:
        print(json.dumps(r))
    with atomic_write(RESULT, "w") as file:
        json.dump({"machine": machine(), "rows": rows}, file, indent=1)


def row(T: int, B: int, H: int, layers: int, rounds: int) -> dict[str, Any]:
    """One shape, inputs as wide as the cells."""
    torch.manual_seed(0)
    network, x = lstmkit.LSTM(H, H, layers).eval(), torch.randn(T, B, H)
    hold = clamp("0.forget_gate", 1.0, [0])

    def plain() -> None:
        network(x)

    def hooked() -> None:
        with recording(network):
            network(x)

    def to_numpy() -> None:
        observe(network, x)

    def steered() -> None:
        with intervene(network, hold):
            network(x)

    with torch.no_grad():
        times = in_turn([plain, hooked, to_numpy, steered], rounds)
    found: dict[str, Any] = {"T": T, "B": B, "H": H, "layers": layers}
    found["plain_ms"] = round(float(np.median(times[:, 0])) * 1e3, 3)
    for k, name in enumerate(("recording", "observe", "intervene"), 1):
        ratio = times[:, k] / times[:, 0]
        low, middle, high = np.percentile(ratio, [10, 50, 90])
        found[f"{name}_ratio"] = round(float(middle), 2)
        found[f"{name}_spread"] = [round(float(low), 2), round(float(high), 2)]
    return found


def in_turn(calls: list[Callable[[], None]], rounds: int) -> np.ndarray:
    """(rounds, calls) seconds; the first round only warms up."""
    found = []
    for _ in range(rounds + 1):
        line = []
        for call in calls:
            begun = time.perf_counter()
            call()
            line.append(time.perf_counter() - begun)
        found.append(line)
    return np.array(found[1:])


if __name__ == "__main__":
    main()
