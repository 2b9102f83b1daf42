"""How good a forecaster was on the end of each series: its last window that no weight has seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lstmkit.errors import UserError
from lstmkit.tasks.forecast import scoring
from lstmkit.tasks.forecast.baselines import seasonal_naive
from lstmkit.tasks.forecast.data import Corpus
from lstmkit.tasks.forecast.metrics import seasonal_scale
from lstmkit.tasks.forecast.scoring import Selection

if TYPE_CHECKING:
    from lstmkit.readers.tables import Series, SeriesTable
    from lstmkit.tasks.forecast.estimator import Forecaster
    from lstmkit.tasks.forecast.features import Geometry
    from lstmkit.tasks.seen import Seen


@dataclass(frozen=True)
class Backtest:
    """One window of one series: forecasts made before its row `origin`, and what came.

    Where the model has learnt from every row, `origin` is the number of rows and the arrays are
    empty. MASE is that of the point forecast, scaled by the rows before the origin; NaN where
    nothing came or the series never changed.

    Attributes:
        id, name: of the series; the name is its id as text.
        mase, naive_mase: of the model and of the seasonal naive.
        origin: the first row of the window.
        quantiles: (H, Q), in the user's units.
        truth: (H,), NaN where missing or not there yet.
        naive: (H,), the seasonal naive forecast.
    """

    id: tuple[Any, ...]
    name: str
    mase: float
    naive_mase: float
    origin: int
    quantiles: np.ndarray
    truth: np.ndarray
    naive: np.ndarray

    @property
    def scored(self) -> bool:
        """Whether both the model and the baseline have a score."""
        return bool(np.isfinite(self.mase) and np.isfinite(self.naive_mase))

    @property
    def beaten(self) -> bool:
        """Whether the seasonal naive was better."""
        return self.scored and self.naive_mase < self.mase


def backtests(forecaster: Forecaster, table: SeriesTable, corpus: Corpus) -> list[Backtest]:
    """The backtest of each series of a table, in its order.

    Rows newer than the training are forecast by the final weights, held-out rows by the weights
    that never saw them. At most `scoring.BATCH` windows are read at once.
    """
    shape, width = forecaster.shape_, len(forecaster.model_.quantiles)
    windows = [_last_unseen(forecaster.seen_, series, shape) for series in table.series]
    answers: dict[int, np.ndarray] = {}
    for heldout, model in ((False, forecaster.model_), (True, forecaster.heldout_)):
        rows = [k for k, w in enumerate(windows) if w and w.heldout is heldout]
        if rows:
            origin = np.array([w.origin for k in rows if (w := windows[k])])
            chosen = Selection(np.array(rows), origin, heldout)
            answers |= zip(rows, scoring.forecast(model, corpus, chosen), strict=True)
    middle = forecaster.model_.middle
    return [
        _judged(series, window.origin, answers[k], middle, width, shape)
        if window
        else _unjudged(series, width)
        for k, (series, window) in enumerate(zip(table.series, windows, strict=True))
    ]


def worst_first(found: Sequence[Backtest]) -> np.ndarray:
    """The order (N,) of falling MASE; series without one come last, in their own order."""
    mase = np.array([b.mase for b in found])
    return np.argsort(np.where(np.isfinite(mase), -mase, np.inf), kind="stable")


def name_of(series: Series) -> str:
    """The id of a series as text; empty for a single one."""
    return ", ".join(str(part) for part in series.id)


class _Window(NamedTuple):
    """Where the last unseen window of a series begins, and whether it was held out."""

    origin: int
    heldout: bool


def _last_unseen(seen: Seen, series: Series, shape: Geometry) -> _Window | None:
    """What `evaluate` would score last of this series alone; None where there is nothing."""
    try:
        chosen = scoring.unseen(Corpus.of([series], shape), [series.id], seen, 1)
    except UserError:
        return None
    return _Window(int(chosen.origin[-1]), chosen.heldout)


def _judged(
    series: Series, origin: int, answer: np.ndarray, middle: int, width: int, shape: Geometry
) -> Backtest:
    past, came = series.values[:origin], series.values[origin : origin + len(answer)]
    truth = np.full(len(answer), np.nan)
    truth[: len(came)] = came
    naive = seasonal_naive(past, shape.season, len(answer))
    scale = seasonal_scale(past, shape.season)
    mase, naive_mase = (_mase(truth, point, scale) for point in (answer[:, middle], naive))
    return Backtest(
        series.id, name_of(series), mase, naive_mase, origin, answer[:, :width], truth, naive
    )


def _unjudged(series: Series, width: int) -> Backtest:
    nan, none = float("nan"), np.empty(0)
    rows = len(series.values)
    return Backtest(series.id, name_of(series), nan, nan, rows, np.empty((0, width)), none, none)


def _mase(truth: np.ndarray, point: np.ndarray, scale: float) -> float:
    """The mean absolute error (H,) in units of `scale`; NaN where there is none."""
    error = np.abs(truth - point)
    error = error[~np.isnan(error)]
    return float(error.mean() / scale) if len(error) and scale > 0 else float("nan")
