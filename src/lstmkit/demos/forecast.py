"""The forecasting demo: carbon dioxide at Mauna Loa, a year ahead, from file to model."""

from __future__ import annotations

import time
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.errors import require

if TYPE_CHECKING:
    from lstmkit.cli.console import Console
    from lstmkit.tasks.forecast.estimator import Forecaster
    from lstmkit.tasks.forecast.plots import Panel

HORIZON, TEST_WINDOWS, EPOCHS = 52, 5, 8
UNIT = "CO2 in the air at Mauna Loa, ppmv"
SOURCE = "Weekly means, Keeling & Whorf 2004, public domain."


def run(folder: Path, console: Console, seed: int, epochs: int | None) -> dict[str, Any]:
    """Train, score beside the seasonal naive, draw, save; returns what was made, as JSON values."""
    require("torch", "train")
    from lstmkit.cli.train import Notes
    from lstmkit.tasks.forecast.estimator import Forecaster
    from lstmkit.training.progress import RichProgress

    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    model = Forecaster(HORIZON, test_windows=TEST_WINDOWS, seed=seed, epochs=epochs or EPOCHS)
    with as_file(files("lstmkit.demos") / "data" / "co2_weekly.csv") as packaged:
        data = folder / "co2_weekly.csv"
        data.write_bytes(packaged.read_bytes())
    console.say(f"{UNIT}: {data}")
    console.say(f"{SOURCE} Learning to forecast a year; the last five years are held out.")
    model.fit(str(data), callbacks=[Notes(model, console), RichProgress(quiet=console.quiet)])
    console.say(f"\n{model.report_}\n")
    saved = folder / "co2.safetensors"
    model.save(saved)
    pictures = draw(model, data, folder)
    console.say(f"forecast over the held-out years:  {pictures['forecast']}")
    console.say(f"gates over the series:             {pictures['gates']}")
    console.say(f"model:                             {saved}")
    console.say(f"({time.monotonic() - started:.0f} s)  next:")
    console.say(f"  lstmkit predict {saved} {data} -o {folder / 'next_year.csv'} --plot next.png")
    return {
        "model": str(saved),
        "data": str(data),
        "pictures": {name: str(path) for name, path in pictures.items()},
        "report": model.report_.to_dict(),
    }


def draw(model: Forecaster, data: Path, folder: Path) -> dict[str, Path]:
    """The held-out forecast and the gates, as PNG files."""
    from lstmkit.style import save
    from lstmkit.tasks.forecast.plots import plot_forecast

    score = model.report_.metrics["mase"]
    naive = model.report_.baselines["seasonal_naive"]["mase"]
    forecast = plot_forecast(
        heldout_panels(model, data),
        title="Five years that the model never saw, each forecast from its first day",
        label=UNIT,
        note=f"{SOURCE} LSTM: MASE {score:.2f}; seasonal naive: {naive:.2f}.",
    )
    gates = model.trace(str(data)).plot(
        series_label=f"{UNIT}, mean of each step",
        title="What the LSTM keeps, takes in and shows: three years of CO2 and the year ahead",
        note=f"{SOURCE} One step is {model.shape_.segment} weeks.",
    )
    return {
        "forecast": save(forecast, folder / "forecast.png"),
        "gates": save(gates, folder / "gates.png"),
    }


def heldout_panels(model: Forecaster, data: Path) -> list[Panel]:
    """One picture of all held-out years, each forecast by the weights that never saw any."""
    from lstmkit.tasks.forecast import scoring
    from lstmkit.tasks.forecast.baselines import seasonal_naive
    from lstmkit.tasks.forecast.plots import Panel

    table, corpus = model._read(str(data))
    series = table.series[0]
    chosen = scoring.unseen(corpus, [series.id], model.seen_, None)
    answer = np.concatenate(scoring.forecast(model.heldout_, corpus, chosen))
    first = int(chosen.origin.min())
    seen = slice(first - 2 * HORIZON, first)
    past = [series.values[:origin] for origin in chosen.origin]
    naive = [seasonal_naive(values, model.shape_.season, HORIZON) for values in past]
    return [
        Panel(
            name="",
            time=series.time[seen],
            history=series.values[seen],
            future=series.time[first:],
            quantiles={q: answer[:, k] for k, q in enumerate(model.quantiles_)},
            truth=series.values[first:],
            baseline=np.concatenate(naive),
        )
    ]
