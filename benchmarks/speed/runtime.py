"""Steps of streams beside PyTorch, ONNX Runtime, and figures that others publish.

    OMP_NUM_THREADS=1 python benchmarks/speed/runtime.py [--quick] [--neuralforecast PYTHON]

1. `lstmkit bench runtime`: one stream and a thousand, through Python, in one run with its peers.
2. C++ without Python: the exported header of an LSTM with one input and a linear layer to one,
   compiled with -O3 -march=native, beside what RTNeural publishes for the same sizes.
3. One series through the forecaster, from a frame to a frame of quantiles; and neuralforecast's own
   LSTM on the same series in an environment that has it, named by --neuralforecast.
4. How fast this machine reads memory of the weights' sizes: what bounds a step.

The results go to benchmarks/results/runtime.json.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from timing import RESULTS

from lstmkit.bench import runtime as bench
from lstmkit.bench.machine import machine

HERE = Path(__file__).parent
# Microseconds a sample, i7-8700B, static Eigen backend: github.com/jatinchowdhury18/RTNeural,
# performance comparison of version 1fb1f07 (48 kHz, 23.6 and 6.5 times real time).
RTNEURAL_US = {32: 0.88, 64: 3.2}
NEURALFORECAST_US = 90_000  # what its users report: github.com/Nixtla/neuralforecast issues

DRIVER = r"""
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>
#include "model.h"
int main() {
    model_state state;
    model_init(&state);
    float x[MODEL_INPUT_X] = {0.5f}, y[MODEL_OUTPUT_Y], sum = 0;
    std::vector<double> blocks;
    for (int block = 0; block < 200; block++) {
        const auto begun = std::chrono::steady_clock::now();
        for (int k = 0; k < 1000; k++) {
            x[0] = 0.001f * float(k);
            model_step(&state, x, y);
            sum += y[0];
        }
        blocks.push_back(std::chrono::duration<double, std::micro>(
            std::chrono::steady_clock::now() - begun).count() / 1000);
    }
    std::sort(blocks.begin(), blocks.end());
    std::printf("%.4f %.4f %f\n", blocks[100], blocks[20], double(sum));
}
"""
READER = r"""
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>
int main(int, char** a) {
    const size_t n = size_t(std::atoi(a[1])) * 256;
    float* p = static_cast<float*>(aligned_alloc(1 << 21, (n * 4 + (1 << 21) - 1) >> 21 << 21));
    std::fill(p, p + n, 1e-9f);
    std::vector<double> rates;
    float keep = 0;
    for (int r = 0; r < 400; r++) {
        const auto begun = std::chrono::steady_clock::now();
        float s[64] = {};
        for (size_t i = 0; i < n; i += 64)
            for (int k = 0; k < 64; k++) s[k] += p[i + size_t(k)];
        for (float v : s) keep += v;
        rates.push_back(double(n) * 4e-9 / std::chrono::duration<double>(
            std::chrono::steady_clock::now() - begun).count());
    }
    std::sort(rates.begin(), rates.end());
    std::printf("%.1f %f\n", rates[200], double(keep));
}
"""
PEER = r"""
import sys, time, json, logging, warnings
warnings.simplefilter("ignore"); logging.disable(logging.CRITICAL)
import numpy as np, pandas as pd
from neuralforecast import NeuralForecast
from neuralforecast.models import LSTM
t = np.arange(400)
frame = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2024-01-01", periods=400),
                      "y": 10 + 3 * np.sin(2 * np.pi * t / 7)})
model = NeuralForecast([LSTM(h=7, input_size=56, max_steps=5, accelerator="cpu",
                             enable_progress_bar=False, logger=False)], freq="D")
model.fit(frame)
times = []
for _ in range(12):
    begun = time.perf_counter(); model.predict(frame); times.append(time.perf_counter() - begun)
print("RESULT", json.dumps({"us": float(np.median(times[2:])) * 1e6}))
"""


def compiled(source: str, folder: Path, name: str) -> list[str]:
    """A C++ program, compiled for this machine."""
    (folder / f"{name}.cpp").write_text(source)
    program = folder / name
    command = ["g++", "-O3", "-march=native", "-std=c++17", f"{folder / name}.cpp", "-o", program]
    subprocess.run([*map(str, command)], check=True, cwd=folder)
    return [str(program)]


def without_python() -> list[dict[str, Any]]:
    """The exported header beside RTNeural's published figures."""
    from lstmkit.export.c import write

    found = []
    for hidden, published in RTNEURAL_US.items():
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            write(rtneural_like(hidden), folder / "model.h", "step", name="model")
            command = compiled(DRIVER, folder, "driver")
            times = [
                subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
                for _ in range(5)
            ]
            median = float(np.median([float(t[0]) for t in times]))
            found.append({"hidden": hidden, "c_us": median, "rtneural_published_us": published})
    return found


def rtneural_like(hidden: int) -> Any:
    """LSTM(1 -> hidden) and a linear layer to one output, as RTNeural's benchmark has them."""
    from lstmkit.program import Builder

    random = np.random.default_rng(0)
    shapes = {"weight_ih": (4 * hidden, 1), "weight_hh": (4 * hidden, hidden)}
    shapes |= {"bias_ih": (4 * hidden,), "bias_hh": (4 * hidden,)}
    arrays = {
        f"{k}_l0": random.uniform(-(hidden**-0.5), hidden**-0.5, s).astype(np.float32)
        for k, s in shapes.items()
    }
    options = {"hidden_size": hidden, "proj_size": 0, "num_layers": 1, "bidirectional": False}
    options |= {"coupled_gates": False, "residual": False, "zoneout": (0.0, 0.0)}
    b = Builder("recurrent")
    h = b.lstm_cell(b.input("x", ("B", 1)), arrays, "", options)
    weight = b.weight("head.weight", random.standard_normal((1, hidden)).astype(np.float32))
    bias = b.weight("head.bias", np.zeros(1, np.float32))
    b.output("y", b.op("linear", h, weight, bias=bias), ("B", 1))
    b.entry("step")
    return b.build()


def one_series(peer: str | None) -> dict[str, Any]:
    """Milliseconds from a frame of one series to its forecast."""
    import polars as pl

    from lstmkit.tasks.forecast.estimator import Forecaster

    t = np.arange(400)
    days = np.datetime64("2024-01-01") + t
    frame = pl.DataFrame({"id": "a", "day": days, "y": 10 + 3 * np.sin(2 * np.pi * t / 7)})
    model = Forecaster(7, lookback=56, epochs=1, threads=1, id="id").fit(frame)
    predict = bench.block(lambda: model.predict(frame), 60)[10:]
    stream = model.stream()
    rows = [{k: str(v) for k, v in row.items()} for row in frame.to_dicts()]
    steps = []
    for row in rows:
        begun = time.perf_counter()
        stream.step(row)
        steps.append((time.perf_counter() - begun) * 1e6)
    return {
        "predict_us": bench.percentile(predict, 50),
        "stream_step_us": bench.percentile(steps[50:], 50),
        "neuralforecast_us": neuralforecast(peer),
        "neuralforecast_reported_us": NEURALFORECAST_US,
    }


def neuralforecast(python: str | None) -> float | None:
    """Its predict on one series, in the environment of `python`."""
    if python is None:
        return None
    done = subprocess.run([python, "-c", PEER], capture_output=True, text=True)
    found = re.search(r"RESULT (.*)", done.stdout)
    return float(json.loads(found[1])["us"]) if found else None


def reading() -> dict[str, float]:
    """GB/s of one core's reads, by KiB."""
    with tempfile.TemporaryDirectory() as temporary:
        command = compiled(READER, Path(temporary), "reader")
        sizes = [32 * h * h // 1024 for h in bench.HIDDEN]
        return {
            str(size): float(
                subprocess.run(
                    [*command, str(size)], capture_output=True, text=True, check=True
                ).stdout.split()[0]
            )
            for size in sizes
        }


def main() -> None:
    """Measure everything and write it down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--neuralforecast", metavar="PYTHON")
    given = parser.parse_args()
    found = bench.bench(blocks=3 if given.quick else bench.BLOCKS)
    peer = " --neuralforecast PYTHON" if given.neuralforecast else ""
    found["machine"] = machine() | {"command": f"python benchmarks/speed/runtime.py{peer}"}
    found["read_gb_per_s"] = reading()
    found["without_python"] = without_python()
    with bench.one_thread():
        found["forecaster"] = one_series(given.neuralforecast)
    path = RESULTS / "runtime.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
