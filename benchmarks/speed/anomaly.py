"""Detectors: time and peak memory a million values, on one core.

    python benchmarks/speed/anomaly.py --peers PYTHON [--rows 10000 --channels 38]

A series of daily curves with noise is generated, half to fit on and half to score (--rows each).
Each detector runs in a process of its own with one thread: fitting, then scoring the other half at
once and again row after row, as rows arrive. A stream of ours keeps its state; a peer takes its
window anew for every row (the network alone, without TSB-AD's data loader around it, which would be
slower). PYTHON is an interpreter with the peers: pip install TSB-AD==1.5

Memory is the largest resident set after scoring at once, less that after importing. PCA is fitted
on the train rows. The whole test is scored three times, rows one at a time in three spans: median,
lowest and highest.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from timing import write

sys.path.insert(0, str(Path(__file__).parents[1] / "accuracy"))
from detection import contest
from detection.datasets import Series
from forecast import parse_options
from forecasting.contest import alone

PEERS = ("PCA on train", "CNN", "LSTMAD")
DAY = 1440  # rows: minutes


def generate(rows: int, channels: int) -> Series:
    """Twice so many rows of daily curves on 0 to 1, with noise that has a memory."""
    draw = np.random.default_rng(0)
    hours = np.arange(2 * rows)[:, None] / DAY + draw.random(channels)
    noise = draw.normal(0, 0.02, (2 * rows, channels))
    for k in range(1, 2 * rows):
        noise[k] += 0.9 * noise[k - 1]
    values = np.clip(0.5 + 0.3 * np.sin(2 * np.pi * hours) + noise, 0, 1)
    none = np.zeros(0, "datetime64[us]")
    return Series("generated", values[:rows], values[rows:], none, False)


def paced(name: str, given: argparse.Namespace, path: Path) -> dict[str, Any]:
    """What a process measured, and that a million values; or why there is nothing."""
    ours = contest.is_ours(name)
    python = sys.executable if ours else given.peers
    options = json.dumps(parse_options(given.options) if ours else {})
    rows = str(given.stream_rows)
    command = [python, "-m", "detection.pace", name, str(path), rows, options]
    found = alone(command, given.limit_minutes)
    if "failed" in found or "stopped" in found:
        return found
    millions = given.rows * given.channels / 1e6
    return {"per_million": per_million(found, millions, given.channels), **found}


def per_million(found: dict[str, Any], millions: float, channels: int) -> dict[str, float]:
    """Seconds and gigabytes a million values (rows times channels)."""
    return {
        "fit_seconds": found["fit_seconds"] / millions,
        "score_seconds": found["score_seconds"]["median"] / millions,
        "row_by_row_seconds": found["row_seconds"]["median"] / channels * 1e6,
        "gigabytes": (found["score_bytes"] - found["import_bytes"]) / 1024**3 / millions,
    }


def table(found: dict[str, dict[str, Any]]) -> str:
    """A line for each detector."""
    names = ("fit_seconds", "score_seconds", "row_by_row_seconds", "gigabytes")
    wide = max(map(len, found))
    lines = [" ".join([f"{'a million values':<{wide}}", *[f"{n:>19}" for n in names], " us a row"])]
    for name, entry in found.items():
        if "per_million" not in entry:
            lines.append(f"{name:<{wide}}  {entry.get('failed') or entry['stopped']}")
            continue
        cells = [f"{entry['per_million'][n]:19.3f}" for n in names]
        lines.append(
            " ".join([f"{name:<{wide}}", *cells, f"{entry['row_seconds']['median'] * 1e6:9.0f}"])
        )
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    made.add_argument("--peers", metavar="PYTHON", help="interpreter that has TSB-AD")
    made.add_argument("--rows", type=int, default=10_000, help="to fit on, and again to score")
    made.add_argument("--channels", type=int, default=38)
    made.add_argument("--stream-rows", type=int, default=3000, help="scored one at a time")
    made.add_argument("--options", default="", metavar="K=V,K=V", help="of lstmkit.AnomalyDetector")
    made.add_argument("--only", default="", metavar="NAMES", help="a trial, not a result")
    made.add_argument("--limit-minutes", type=float, default=30.0, metavar="N")
    return made


def main() -> None:
    """Generate, run each detector, print the table, write benchmarks/results/anomaly_speed.json."""
    given = parser().parse_args()
    contest.one_thread()
    names = [contest.OURS, *(PEERS if given.peers else ())]
    chosen = [n.strip() for n in given.only.split(",") if n.strip()] or names
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "series.npz"
        generate(given.rows, given.channels).save(path)
        for name in chosen:
            print(f"{name} ...", file=sys.stderr, flush=True)
            found[name] = paced(name, given, path)
    print(table(found))
    if not given.only:
        words = ["PYTHON" if word == given.peers else word for word in sys.argv[1:]]
        sizes = {"rows": given.rows, "channels": given.channels}
        command = shlex.join(["python", "benchmarks/speed/anomaly.py", *words])
        print(write("anomaly_speed", [{**sizes, "command": command, "detectors": found}]))


if __name__ == "__main__":
    main()
