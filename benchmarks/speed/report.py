"""The inspection report of a large recording: its size, how long it takes to make and to redraw.

    python benchmarks/speed/report.py

10,000 steps of two layers of 512 cells, gates of smoothed noise. Writes
benchmarks/results/report.json. The redraw is timed in a headless Chromium (playwright; the browser
is found on the PATH or named by LSTMKIT_CHROMIUM) while it zooms in from all steps to a few.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from lstmkit.bench.machine import machine
from lstmkit.inspection import report
from lstmkit.inspection.record import LayerRecord, Recording
from lstmkit.inspection.view import Curve, View
from lstmkit.modelfile import atomic_write

RESULT = Path(__file__).parents[1] / "results" / "report.json"
T, H, LAYERS, ZOOMS = 10_000, 512, 2, 12
SMOOTH = 0.9


def main() -> None:
    """Make, measure, print, write."""
    view = large()
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        path = report.write(view, Path(folder) / "report.html")
        found: dict[str, Any] = {
            "steps": T,
            "units": H,
            "layers": LAYERS,
            "megabytes": round(path.stat().st_size / 1e6, 2),
            "make_seconds": round(time.perf_counter() - began, 2),
            **redraws(path),
        }
    print(json.dumps(found))
    with atomic_write(RESULT, "w") as file:
        json.dump({"machine": machine(), **found}, file, indent=1)


def large() -> View:
    """A view of smoothed noise."""
    draw = np.random.default_rng(0)
    layers = tuple(LayerRecord("lstm", k, False, *fields(draw)) for k in range(LAYERS))
    recording = Recording(layers, np.array([T]))
    curve = Curve("input", "input", np.arange(T), draw.standard_normal((1, T)))
    return View("a large model", recording, ("one",), np.arange(T)[None], curves=[curve])


def fields(draw: np.random.Generator) -> list[np.ndarray]:
    """Six fields (T, 1, H): gates in 0..1, then candidate, cell and hidden."""
    noise = draw.standard_normal((6, T, 1, H)).astype(np.float32)
    for t in range(1, T):
        noise[:, t] += SMOOTH * noise[:, t - 1]
    gates, inner = 1 / (1 + np.exp(-noise[:3])), np.tanh(noise[3:])
    return [*gates, inner[0], 3 * inner[1], inner[2]]


def redraws(path: Path) -> dict[str, Any]:
    """Milliseconds of script for each frame of a zoom; nothing where there is no browser."""
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = os.environ.get("LSTMKIT_CHROMIUM") or next(filter(None, map(shutil.which, names)), "")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return {}
    with sync_playwright() as play:
        page = play.chromium.launch(
            executable_path=browser or None, args=["--no-sandbox"]
        ).new_page(viewport={"width": 1400, "height": 1000})
        began = time.perf_counter()
        page.goto(path.as_uri())
        page.wait_for_function("window.lstmkit && lstmkit.state().ready")
        opened = time.perf_counter() - began
        page.mouse.move(700, 500)
        taken = []
        for _ in range(ZOOMS):
            page.mouse.wheel(0, -150)
            page.wait_for_timeout(80)
            taken.append(round(page.evaluate("lstmkit.state().milliseconds"), 1))
    return {
        "open_seconds": round(opened, 2),
        "redraw_ms": taken,
        "redraw_ms_median": float(np.median(taken)),
    }


if __name__ == "__main__":
    main()
