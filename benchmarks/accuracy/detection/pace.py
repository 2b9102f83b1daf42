"""Time and memory of one detector in a process of its own: fit, whole test, row after row.

    python -m detection.pace NAME SERIES ROWS OPTIONS

SERIES is an .npz file, ROWS how many are scored one at a time. The last line of stdout is JSON.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from forecasting.worker import peak_bytes, versions

from detection.datasets import Series
from detection.worker import detector

ROUNDS = 3  # of scoring the whole test, and of the rows one at a time


def timed(run: Callable[[], Any]) -> float:
    """Seconds by the clock."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def spread(seconds: list[float]) -> dict[str, float]:
    """Median, lowest and highest."""
    found = (statistics.median(seconds), min(seconds), max(seconds))
    return dict(zip(("median", "min", "max"), found, strict=True))


def measure(name: str, series: Series, rows: int, options: dict[str, Any]) -> dict[str, Any]:
    """Seconds, and bytes at the most after each stage."""
    model: Any = detector(name, options)
    found: dict[str, Any] = {"import_seconds": timed(model.load), "import_bytes": peak_bytes()}
    found["fit_seconds"] = timed(lambda: model.fit(series))
    found["fit_bytes"] = peak_bytes()
    found["score_seconds"] = spread([timed(lambda: model.predict(series)) for _ in range(ROUNDS)])
    found["score_bytes"] = peak_bytes()
    found["row_seconds"] = spread(one_at_a_time(model, series, rows))
    return {**found, "settings": model.settings, "versions": versions(model.packages)}


def one_at_a_time(model: Any, series: Series, rows: int) -> list[float]:
    """Seconds a row, of some rows in a row, thrice."""
    first, step = model.stepper(series)
    size = max(1, min(rows, len(series.test) - first) // ROUNDS)
    step(first)
    starts = [first + 1 + k * size for k in range(ROUNDS)]
    stops = [min(start + size, len(series.test)) for start in starts]
    spans = [range(a, b) for a, b in zip(starts, stops, strict=True)]
    return [timed(lambda span=span: [step(k) for k in span]) / len(span) for span in spans]


def main() -> None:
    """Measure, print."""
    name, series, rows, options = sys.argv[1:]
    found = measure(name, Series.load(Path(series)), int(rows), json.loads(options))
    print("\n" + json.dumps(found))


if __name__ == "__main__":
    main()
