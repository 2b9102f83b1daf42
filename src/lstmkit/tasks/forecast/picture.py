"""A forecast as a picture: the end of each series, how the model did on it, and what follows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.readers.calendar import future_times
from lstmkit.tasks.forecast.backtest import Backtest, backtests, name_of, worst_first
from lstmkit.tasks.forecast.plots import DENSE, MOST_PANELS, Panel, Tested, plot_forecast
from lstmkit.tasks.forecast.scoring import Model

if TYPE_CHECKING:
    from lstmkit.readers.tables import Series, SeriesTable
    from lstmkit.tasks.forecast.data import Corpus
    from lstmkit.tasks.forecast.estimator import Forecaster
    from lstmkit.tasks.forecast.features import Geometry

SHOWN, SHOWN_SMALL = 4, 3  # horizons of rows that are drawn, in a small panel
FEWEST = 48  # rows that are drawn
MOST_WORST = 24  # panels, where the worst come first
PAGE = ".html"


def write(
    forecaster: Forecaster,
    table: SeriesTable,
    corpus: Corpus,
    answer: np.ndarray,
    path: str | Path,
) -> Path:
    """Write forecasts (N, H, Q) of all series, worst first: a page (.html), else a figure.

    Raises:
        UserError: the suffix is not known, or the file cannot be written.
    """
    found = backtests(forecaster, table, corpus)
    if Path(path).suffix.lower() == PAGE:
        from lstmkit.tasks.forecast import page

        return page.write(table, forecaster.model_, answer, found, path)
    from lstmkit.style import save

    return save(draw(table, forecaster.model_, answer, found), path)


def draw(
    table: SeriesTable, model: Model, answer: np.ndarray, tests: Sequence[Backtest] | None = None
) -> Any:
    """A matplotlib figure of forecasts (N, H, Q) after the series of a table.

    With the backtest of each series, the worst 24 come first; else the first nine are drawn.
    """
    shape, count = model.shape, len(table.series)
    title = f"{table.target_column}, {answer.shape[1]} steps ahead"
    note = f"LSTM, {shape.lookback} rows seen, {shape.horizon} ahead, freq {shape.freq}."
    if tests is None:
        order, most = np.arange(count), MOST_PANELS
    else:
        order, most = worst_first(tests), MOST_WORST
        title += f": the worst {most} of {count} series" if count > most else ""
        note += told(tests)
    rows = rows_drawn(shape, answer.shape[1], SHOWN_SMALL if min(count, most) > DENSE else SHOWN)
    panels = [
        _panel(table.series[k], model, answer[k], rows, tests[k] if tests else None)
        for k in order.tolist()
    ]
    return plot_forecast(panels, title=title, label=table.target_column, note=note, most=most)


def told(tests: Sequence[Backtest]) -> str:
    """What the panels show, in words."""
    if not any(b.scored for b in tests):
        return " No series has a score."
    if len(tests) == 1:
        return " MASE: over the last rows that the weights have not seen."
    return (
        " Worst first, by MASE over the last rows that the weights have not seen;"
        " grey title: the seasonal naive was better."
    )


def rows_drawn(shape: Geometry, horizon: int, horizons: int) -> int:
    """How many of the last rows of a series are drawn: so many horizons, at least two seasons."""
    return max(horizons * max(horizon, shape.horizon), 2 * shape.season, FEWEST)


def score_text(test: Backtest) -> str:
    """`MASE 1.32 (naive 1.10)`, or why there is none."""
    if test.scored:
        return f"MASE {test.mase:.2f} (naive {test.naive_mase:.2f})"
    return "MASE undefined" if len(test.truth) else "no score"


def _panel(
    series: Series, model: Model, answer: np.ndarray, rows: int, test: Backtest | None
) -> Panel:
    origin = test.origin if test else len(series.values)
    first = max(0, len(series.values) - rows)
    return Panel(
        name=name_of(series),
        time=series.time[first:origin],
        history=series.values[first:origin],
        future=future_times(series.time[-1], model.shape.freq, len(answer)),
        quantiles={q: answer[:, k] for k, q in enumerate(model.quantiles)},
        tested=_tested(series, test, model) if test else None,
        remark=score_text(test) if test else "",
        beaten=test is not None and test.beaten,
    )


def _tested(series: Series, test: Backtest, model: Model) -> Tested | None:
    """The backtest over the rows that there are; it may reach beyond them."""
    time = series.time[test.origin :]
    if not len(time):
        return None
    many = slice(len(time))
    return Tested(
        time=time,
        quantiles={q: test.quantiles[many, k] for k, q in enumerate(model.quantiles)},
        truth=test.truth[many],
        baseline=test.naive[many],
    )
