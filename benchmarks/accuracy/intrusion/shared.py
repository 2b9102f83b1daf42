"""Detectors of one shape, measured in one way; results that are kept after each."""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import lstmkit
from lstmkit.bench.machine import machine
from lstmkit.modelfile import atomic_write
from lstmkit.readers.flows import BENIGN, Flows, read
from lstmkit.tasks.intrusion import baselines, metrics
from lstmkit.tasks.intrusion.features import flow_geometry
from lstmkit.tasks.intrusion.kitsune import Kitsune

RESULTS = Path(__file__).parent.parent.parent / "results"
DAYS = ("008", "010", "011")
HOME = "147.32.0.0/16"

Array = np.ndarray


class Ours(baselines.Baseline):
    """lstmkit.IntrusionDetector, all of its options the defaults but those named."""

    def __init__(self, memory: bool = True, **options: Any) -> None:
        self.memory, self.options = memory, options

    def fit(self, train: Flows, attack: Array | None) -> Ours:
        """With labels where they are given."""
        model = lstmkit.IntrusionDetector(supervised=attack is not None, **self.options)
        self.model = model.fit(train)
        return self

    def score(self, test: Flows) -> Array:
        """Minus log10 of a probability."""
        return self.model.score(test, memory=self.memory)


def unsupervised(home: str, seed: int) -> dict[str, baselines.Baseline]:
    """Detectors that need no labels."""
    shape = flow_geometry("zeek", (home,))
    return {
        "lstmkit": Ours(home_net=home, seed=seed),
        "isolation forest, with context": baselines.Forest(shape, True, seed),
        "isolation forest, flow alone": baselines.Forest(shape, False, seed),
        "kitsune's idea, on flows": Kitsune(seed),
        "rarity": baselines.Rarity(shape),
        "periodicity": baselines.Periodicity(),
        "random": baselines.Random(seed),
    }


def supervised(home: str, seed: int) -> dict[str, baselines.Baseline]:
    """Detectors that learn labels."""
    shape = flow_geometry("zeek", (home,))
    return {
        "lstmkit": Ours(home_net=home, seed=seed),
        "boosting, with context": baselines.Boosting(shape, True, seed),
        "boosting, flow alone": baselines.Boosting(shape, False, seed),
        "rarity": baselines.Rarity(shape),
        "random": baselines.Random(seed),
    }


def without_memory(detector: Ours) -> Ours:
    """The same fitted detector, its LSTMs reset at every flow."""
    found = Ours(memory=False, **detector.options)
    found.model = detector.model
    return found


def labels(found: Flows) -> tuple[Array, Array]:
    """Which flows are known, and which are attacks."""
    known = found["label"] != ""
    return known, known & (found["label"] != BENIGN)


def measured(score: Array, found: Flows) -> dict[str, float]:
    """As `lstmkit evaluate` measures."""
    known, attack = labels(found)
    return metrics.measures(score, found, attack=attack, known=known)


def skipped(name: str, asked: str) -> bool:
    """Whether a detector is among those of --skip."""
    return name.startswith(tuple(part for part in asked.split(",") if part))


def timed(act: Callable[[], Any]) -> tuple[Any, float]:
    """What came of it, and the seconds."""
    began = time.perf_counter()
    return act(), round(time.perf_counter() - began, 2)


def mean(each: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of figures by name."""
    return {name: float(np.mean([one[name] for one in each])) for name in each[0]}


def days(folder: str) -> dict[str, Flows]:
    """The labelled days of a working computer under attack."""
    base = Path(folder) / "zeek" / "stratosphere"
    return {day: read(base / f"{day}-zeek-mixed.conn.log.labeled.gz").all() for day in DAYS}


def arguments(about: str, name: str, several: bool = True) -> argparse.Namespace:
    """FOLDER, -o; where there are several detectors --seeds and --skip."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("-o", "--output", default=str(RESULTS / f"{name}.json"))
    if not several:
        return parser.parse_args()
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--skip", default="", help="how names of detectors begin, commas between")
    return parser.parse_args()


def keep(path: str, found: Mapping[str, Any]) -> None:
    """Write results with the machine and the command, whole or not at all."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    command = "python " + " ".join(sys.argv)
    whole = {
        **found,
        "machine": {**machine(), "command": command},
        "peak_gigabytes": round(peak, 2),
    }
    text = json.dumps(whole, indent=1, allow_nan=False, default=float)
    with atomic_write(Path(path)) as file:
        file.write((text + "\n").encode())


def table(rows: Mapping[str, Mapping[str, float]], names: Sequence[str]) -> str:
    """Figures by detector."""
    wide = max(map(len, rows))
    lines = [" " * wide + "".join(f"{n.replace('recall', 'rec'):>24}" for n in names)]
    for who, row in rows.items():
        lines.append(f"{who:<{wide}}" + "".join(f"{row.get(n, float('nan')):24.4f}" for n in names))
    return "\n".join(lines)
