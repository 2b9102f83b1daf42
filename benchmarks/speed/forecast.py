"""Many series: seconds and peak memory from a Parquet file to a fitted model and to its forecasts.

    python benchmarks/speed/forecast.py --series 100000 --rows 365 [--peers PYTHON]

The table (daily, weekly season, noise; float64, one id column) is generated. Each contestant runs
in a process of its own; memory is the largest resident set of that process, beside the 8 bytes a
value that the numbers alone take. PYTHON is an interpreter with neuralforecast; its LSTM and ours
train for so few steps that reading, windows and forecasting dominate.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RESULT = Path(__file__).parents[1] / "results" / "forecast_scale.json"
HORIZON, STEPS = 28, 50


def generate(path: Path, series: int, rows: int) -> None:
    """Write the table, so many series at once that memory stays small."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    days = (np.datetime64("2024-01-01") + np.arange(rows)).astype("datetime64[us]")
    week = 10 * np.sin(2 * np.pi * np.arange(rows) / 7)
    writer = None
    for first in range(0, series, 5000):
        count = min(5000, series - first)
        noise = np.random.default_rng(first).normal(50, 3, (count, rows))
        table = pa.table(
            {
                "unique_id": np.repeat([f"s{first + k:06d}" for k in range(count)], rows),
                "ds": np.tile(days, count),
                "y": (noise + week).ravel(),
            }
        )
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer:
        writer.close()


def lstmkit(path: Path) -> dict[str, float]:
    """Ours, as a user would call it."""
    started = time.perf_counter()
    from lstmkit import Forecaster
    from lstmkit.tasks.forecast import learning

    learning.STEPS_PER_EPOCH = STEPS
    imported = time.perf_counter()
    model = Forecaster(HORIZON, size="tiny", epochs=1, refit=False, threads=1).fit(str(path))
    fitted = time.perf_counter()
    rows = model.predict(str(path)).height
    return _found(started, imported, fitted, rows)


def neuralforecast(path: Path) -> dict[str, float]:
    """neuralforecast's LSTM of the same width."""
    started = time.perf_counter()
    import logging

    import pandas as pd
    from neuralforecast import NeuralForecast
    from neuralforecast.models import LSTM

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    imported = time.perf_counter()
    frame = pd.read_parquet(path)
    model = LSTM(
        h=HORIZON, input_size=112, encoder_hidden_size=16, decoder_hidden_size=16,
        max_steps=STEPS, logger=False, enable_progress_bar=False, enable_checkpointing=False,
    )  # fmt: skip
    forecaster = NeuralForecast(models=[model], freq="D")
    forecaster.fit(frame)
    fitted = time.perf_counter()
    return _found(started, imported, fitted, len(forecaster.predict()))


def _found(started: float, imported: float, fitted: float, rows: int) -> dict[str, float]:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    return {
        "import_seconds": round(imported - started, 1),
        "fit_seconds": round(fitted - imported, 1),
        "predict_seconds": round(time.perf_counter() - fitted, 1),
        "peak_gigabytes": round(peak, 2),
        "forecast_rows": rows,
    }


CONTESTANTS = {"lstmkit": lstmkit, "neuralforecast": neuralforecast}


def alone(name: str, python: str, path: Path, minutes: float) -> dict[str, float | str]:
    """A contestant in a process of its own."""
    command = [python, __file__, "--run", name, str(path)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60 * minutes, check=False
        )
    except subprocess.TimeoutExpired:
        return {"stopped": f"after {minutes:g} minutes"}
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1][:300] if done.stderr else "killed"}
    found: dict[str, float | str] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    """Generate, run each contestant, write the result."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=365)
    parser.add_argument("--peers", metavar="PYTHON")
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--run", nargs=2, metavar=("NAME", "FILE"), help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", type=Path, default=RESULT)
    given = parser.parse_args()
    if given.run:
        print(json.dumps(CONTESTANTS[given.run[0]](Path(given.run[1]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "many.parquet"
        generate(path, given.series, given.rows)
        found = {"lstmkit": alone("lstmkit", sys.executable, path, given.minutes)}
        if given.peers:
            found["neuralforecast"] = alone("neuralforecast", given.peers, path, given.minutes)
    values = given.series * given.rows * 8 / 1024**3
    result = {
        "benchmark": f"{given.series} series of {given.rows} rows, {HORIZON} ahead, {STEPS} steps",
        "command": shlex.join(["python", *sys.argv]),
        "values_alone_gigabytes": round(values, 3),
        "contestants": found,
        "cores": os.cpu_count(),
        "date": datetime.date.today().isoformat(),
    }
    print(json.dumps(result, indent=2))
    given.output.write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
