"""One detector on one series in a process of its own.

    python -m detection.worker NAME SERIES ANSWER OPTIONS

SERIES and ANSWER are .npz files, OPTIONS JSON. The last line of stdout is JSON: what was measured.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from forecasting.worker import consumed, versions

from detection import ours, peers
from detection.datasets import Series


class Detector(Protocol):
    """What is measured: importing, fitting, scoring."""

    packages: tuple[str, ...]
    settings: dict[str, Any]

    def load(self) -> None:
        """Import what is needed."""

    def fit(self, series: Series) -> None:
        """Learn from the train rows."""

    def predict(self, series: Series) -> dict[str, np.ndarray]:
        """`scores` (n,) of the test rows, the higher the stranger; further arrays by name."""


def detector(name: str, options: dict[str, Any]) -> Detector:
    """By name; only our own takes options."""
    if name == "baselines":
        return ours.Baselines()
    return ours.Lstmkit(options) if name.startswith("lstmkit") else peers.peers()[name]


def measure(model: Detector, series: Series) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Import, fit and score; seconds by the clock, and what the process took."""
    at = [time.perf_counter()]
    model.load()
    at.append(time.perf_counter())
    model.fit(series)
    at.append(time.perf_counter())
    answer = model.predict(series)
    at.append(time.perf_counter())
    names = ("import_seconds", "fit_seconds", "predict_seconds")
    seconds = {n: round(b - a, 2) for n, a, b in zip(names, at, at[1:], strict=False)}
    return answer, {**seconds, **consumed(), "settings": model.settings}


def main() -> None:
    """Measure one detector, write its scores, print what it took."""
    name, series_file, answer_file, options = sys.argv[1:]
    model = detector(name, json.loads(options))
    answer, found = measure(model, Series.load(Path(series_file)))
    np.savez(answer_file, **answer)  # type: ignore[arg-type]
    print("\n" + json.dumps({**found, "versions": versions(model.packages)}))


if __name__ == "__main__":
    main()
