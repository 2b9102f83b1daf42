"""A forecast as a picture: the end of each series and what is expected to follow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.readers.calendar import future_times
from lstmkit.tasks.forecast.plots import Panel, plot_forecast
from lstmkit.tasks.forecast.scoring import Model

if TYPE_CHECKING:
    from lstmkit.readers.tables import Series, SeriesTable

SHOWN = 4  # horizons of history


def draw(table: SeriesTable, model: Model, answer: np.ndarray) -> Any:
    """A matplotlib figure of forecasts (N, H, Q) after the series of a table."""
    panels = [_panel(s, model, a) for s, a in zip(table.series, answer, strict=True)]
    shape = model.shape
    note = f"LSTM, {shape.lookback} rows seen, {shape.horizon} ahead, freq {shape.freq}."
    return plot_forecast(
        panels,
        title=f"{table.target_column}, {shape.horizon} steps ahead",
        label=table.target_column,
        note=note,
    )


def _panel(series: Series, model: Model, answer: np.ndarray) -> Panel:
    shape = model.shape
    rows = slice(-max(SHOWN * shape.horizon, 2 * shape.season), None)
    return Panel(
        name=", ".join(str(part) for part in series.id),
        time=series.time[rows],
        history=series.values[rows],
        future=future_times(series.time[-1], shape.freq, shape.horizon),
        quantiles={q: answer[:, k] for k, q in enumerate(model.quantiles)},
    )
