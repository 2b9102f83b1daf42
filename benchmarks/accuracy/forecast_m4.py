"""M4 Hourly: 414 series, 48 steps ahead, the official split, sMAPE and MASE.

    python benchmarks/accuracy/forecast_m4.py FOLDER

FOLDER holds M4-Hourly-train.csv.gz and M4-Hourly-test.csv (github.com/Mcompetitions/M4-methods).
The model is fitted on the training file alone: its hyperparameters were chosen on the last 48 rows
of that file, and the test file is read after the fit. The seasonal naive forecast is scored by the
same code in the same run and must give the published 13.912 and 1.193 (Makridakis et al. 2020).
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import re
import shlex
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

import lstmkit
from lstmkit.modelfile import atomic_write, provenance
from lstmkit.training.progress import RichProgress

HORIZON, SEASON = 48, 24
PUBLISHED = {
    "seasonal naive": {"smape": 13.912, "mase": 1.193},
    "M4 benchmark RNN": {"smape": 14.698, "mase": 3.048},
    "FFORMA, 2nd of M4": {"smape": 11.506, "mase": 0.819},
    "ES-RNN, 1st of M4": {"smape": 9.328, "mase": 0.893},
}
RESULT = Path(__file__).parents[1] / "results" / "forecast_m4.json"


def read(path: Path, first: dict[str, int] | None = None) -> pl.DataFrame:
    """A file of M4 (a row a series, short rows padded) as a long frame: unique_id, ds, y.

    `ds` numbers the rows of a series from `first` on, from 1 where it is left out.
    """
    wide = pl.read_csv(path, infer_schema=False)
    ids = wide.to_series(0)
    cells = wide.select(pl.exclude(wide.columns[0])).cast(pl.Float64)
    frames = []
    for name, row in zip(ids, cells.iter_rows(), strict=True):
        values = [value for value in row if value is not None]
        start = (first or {}).get(name, 1)
        steps = range(start, start + len(values))
        frames.append(pl.DataFrame({"unique_id": name, "ds": list(steps), "y": values}))
    return pl.concat(frames)


def compare(report: lstmkit.evaluation.Report) -> None:
    """Raise where the seasonal naive forecast does not score as published: a wrong split."""
    naive = report.baselines["seasonal_naive"]
    for metric, published in PUBLISHED["seasonal naive"].items():
        if abs(naive[metric] - published) > 5e-4:
            raise SystemExit(f"seasonal naive {metric} is {naive[metric]}, published {published}")


def cpu_name() -> str:
    """The processor, as Linux or the platform name it."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else None
    return found[1] if found else platform.processor()


def run(folder: Path, model: lstmkit.Forecaster) -> dict[str, object]:
    """Fit on the training file, save, load, score the test file."""
    history = read(folder / "M4-Hourly-train.csv.gz")
    started = time.perf_counter()
    model.fit(history, callbacks=[RichProgress()])
    seconds = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "m4.safetensors"
        model.save(path)
        loaded = lstmkit.load(path)
    lengths = dict(history.group_by("unique_id").len().iter_rows())
    future = read(folder / "M4-Hourly-test.csv", {k: n + 1 for k, n in lengths.items()})
    started = time.perf_counter()
    report = loaded.evaluate(pl.concat([history, future]))
    print(report)
    compare(report)
    return {
        "report": report.to_dict(),
        "heldout_end_of_training_file": model.report_.metrics,
        "fit_seconds": round(seconds, 1),
        "evaluate_seconds": round(time.perf_counter() - started, 1),
    }


def main() -> None:
    """Parse, run, write the result."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--size", default="small")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("-o", "--output", type=Path, default=RESULT)
    given = parser.parse_args()
    options = {k: getattr(given, k) for k in ("minutes", "epochs", "size", "seed", "threads")}
    found = run(given.folder, lstmkit.Forecaster(HORIZON, season=SEASON, **options))
    result = {
        "benchmark": "M4 Hourly, official split, 414 series, 48 steps ahead",
        "command": shlex.join(["python", *sys.argv]).replace(str(given.folder), "FOLDER"),
        "options": options,
        **found,
        "published": PUBLISHED,
        "cpu": cpu_name(),
        "date": datetime.date.today().isoformat(),
        "versions": {**provenance(), "torch": __import__("torch").__version__},
    }
    with atomic_write(given.output, mode="w") as file:
        json.dump(result, file, indent=2, default=float, allow_nan=False)


if __name__ == "__main__":
    main()
