"""Forecast a year of weekly carbon dioxide, and see what the forecast is worth.

python examples/forecast.py [FOLDER]    half a minute; pictures and the model go to FOLDER
"""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

import lstmkit
from lstmkit.style import save


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    co2 = str(files("lstmkit.demos") / "data" / "co2_weekly.csv")

    # The last year of the record is held out and scored; then the model learns from all of it.
    model = lstmkit.Forecaster(horizon=52, size="tiny", epochs=4).fit(co2)
    print(model.report_)

    # A table like the one that was given: times, the median and the quantiles.
    print(model.predict(co2).select("week", "y_hat", "q0.1", "q0.9").head())

    save(model.plot(co2), folder / "forecast.png")
    save(model.trace(co2).plot(series_label="CO2, ppmv"), folder / "gates.png")

    model.save(folder / "co2.safetensors")
    again = lstmkit.load(folder / "co2.safetensors")
    assert again.predict(co2).equals(model.predict(co2))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "forecast-example"))
