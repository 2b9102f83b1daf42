"""ETTh1 and ETTm1, multivariate: 12/4/4 months, all windows, MSE and MAE on scaled values.

    python benchmarks/accuracy/forecast_ett.py FOLDER --data ETTh1 --horizons 96,192,336,720

FOLDER holds ETTh1.csv.gz and ETTm1.csv.gz (github.com/zhouhaoyi/ETDataset). The protocol is that of
SegRNN (Lin et al. 2023, Table II: 720 rows seen): values scaled by the training months' mean and
deviation, rows 0-8,639 to train, to 11,519 to stop early, to 14,399 to test (ETTm1: four times as
many); every window of the test months counts, none is dropped with the last batch. The seven
columns are seven series of one model. Options were chosen on the validation months at horizon 96
of ETTh1.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lstmkit.bench.machine import cpu_name
from lstmkit.modelfile import atomic_write, provenance
from lstmkit.tasks.forecast import assembly, scoring
from lstmkit.tasks.forecast.data import Corpus
from lstmkit.tasks.forecast.features import geometry
from lstmkit.tasks.forecast.fitting import PRESETS, Split
from lstmkit.tasks.forecast.learning import Course
from lstmkit.training.progress import RichProgress

TRAIN, VALID, TEST = 8640, 11520, 14400  # hours
PUBLISHED = {  # MSE at 96, 192, 336, 720
    "SegRNN": {"ETTh1": (0.351, 0.392, 0.423, 0.466), "ETTm1": (0.293, 0.328, 0.357, 0.410)},
}
HORIZONS = (96, 192, 336, 720)
QUANTILES = (0.025, 0.1, 0.5, 0.9, 0.975)
RESULTS = Path(__file__).parents[1] / "results"
AT_ONCE = 2048  # windows scored


def load(folder: Path, data: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Times (N,), scaled values (N, 7), rows an hour."""
    frame = pl.read_csv(folder / f"{data}.csv.gz", try_parse_dates=True)
    per_hour = 4 if "m" in data[3:] else 1
    values = frame.select(pl.exclude("date")).to_numpy().astype(np.float64)
    past = values[: TRAIN * per_hour]
    return (
        frame["date"].to_numpy().astype("datetime64[us]")[: TEST * per_hour],
        ((values - past.mean(0)) / past.std(0))[: TEST * per_hour],
        per_hour,
    )


def run(folder: Path, data: str, horizon: int, given: argparse.Namespace) -> dict[str, Any]:
    """Train on the first twelve months, score every window of the last four."""
    times, values, per_hour = load(folder, data)
    series = values.shape[1]
    first = TRAIN * per_hour
    shape = geometry(
        horizon, 24 * per_hour, f"{60 // per_hour}m", lookback=given.lookback,
        lengths=[first] * series, days=365.0,
    )  # fmt: skip
    corpus = Corpus([times] * series, list(values.T), shape)
    parts = Split(*(np.full(series, n * per_hour) for n in (TRAIN, VALID, TEST)))
    preset = replace(
        PRESETS["small"], width=given.width, dropout=given.dropout, batch_size=given.batch_size,
        learning_rate=given.learning_rate,
    )  # fmt: skip
    course = Course(
        shape, QUANTILES, preset, point="mean", members=given.members, seed=given.seed,
        epochs=given.epochs, threads=given.threads, callbacks=[RichProgress()], refit=False,
    )  # fmt: skip
    started = time.perf_counter()
    network, histories = course.first(corpus, parts, None)
    model = scoring.Model.of(network)
    seen, windows = corpus.until(parts.cut), assembly.validated(corpus, parts)
    model = model.calibrated(assembly.calibrate(model, seen, *windows)[0])
    trained = time.perf_counter() - started
    found = score(model, corpus, parts)
    return {
        "horizon": horizon,
        **found,
        "validation": [h.best_score for h in histories],
        "epochs": [h.best_epoch for h in histories],
        "train_seconds": round(trained, 1),
        "parameters": sum(p.numel() for p in network.parameters()),
        "segment": shape.segment,
    }


def score(model: scoring.Model, corpus: Corpus, parts: Split) -> dict[str, float]:
    """MSE, MAE and coverage over every window whose rows all lie in the test months."""
    horizon = corpus.shape.horizon
    origins = np.arange(parts.cut[0], parts.length[0] - horizon + 1)
    series = np.repeat(np.arange(len(corpus)), len(origins))
    origin = np.tile(origins, len(corpus))
    sums, count = np.zeros(4), 0
    for k in range(0, len(series), AT_ONCE):
        chosen = scoring.Selection(series[k : k + AT_ONCE], origin[k : k + AT_ONCE], True)
        answer = scoring.forecast(model, corpus, chosen)
        _, truth = corpus.rows(chosen.series, chosen.origin)
        error = answer[..., model.middle] - truth
        inside = [(truth >= answer[..., low]) & (truth <= answer[..., -2 - low]) for low in (1, 0)]
        sums += [(error**2).sum(), np.abs(error).sum(), *(i.sum() for i in inside)]
        count += truth.size
    names = ("mse", "mae", "coverage_80", "coverage_95")
    return dict(zip(names, (sums / count).tolist(), strict=True)) | {"windows": len(series)}


def main() -> None:
    """Parse, run each horizon, write the result after each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", choices=("ETTh1", "ETTm1"), default="ETTh1")
    parser.add_argument("--horizons", default=",".join(map(str, HORIZONS)))
    parser.add_argument("--lookback", type=int, default=720)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--dropout", type=float, default=0.5)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--members", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    output = given.output or RESULTS / f"forecast_{given.data.lower()}.json"
    rows: list[dict[str, Any]] = []
    for horizon in map(int, given.horizons.split(",")):
        rows.append(run(given.folder, given.data, horizon, given))
        published = PUBLISHED["SegRNN"][given.data][HORIZONS.index(horizon)]
        print(f"{given.data} {horizon}: MSE {rows[-1]['mse']:.4f}, SegRNN {published}", rows[-1])
        result = {
            "benchmark": f"{given.data}, 12/4/4 months, all windows, {given.lookback} rows seen",
            "command": shlex.join(["python", *sys.argv]).replace(str(given.folder), "FOLDER"),
            "results": rows,
            "published_mse": {k: v[given.data] for k, v in PUBLISHED.items()},
            "cpu": cpu_name(),
            "date": datetime.date.today().isoformat(),
            "versions": {**provenance(), "torch": __import__("torch").__version__},
        }
        with atomic_write(output, mode="w") as file:
            json.dump(result, file, indent=2, default=float)


if __name__ == "__main__":
    main()
