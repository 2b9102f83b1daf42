"""Forecasts as a table under the user's names: times ahead, quantiles, sample paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.readers.calendar import future_times
from lstmkit.readers.tables import forecast_frame, to_user_kind
from lstmkit.tasks.forecast.features import column

if TYPE_CHECKING:
    from lstmkit.readers.tables import Series, SeriesTable
    from lstmkit.tasks.forecast.scoring import Model


def frame_of(table: SeriesTable, model: Model, answer: np.ndarray, paths: bool) -> Any:
    """Quantiles (N, H, Q), or paths (N, samples, H), as a frame of the kind that was given."""
    ids, steps = [s.id for s in table.series], answer.shape[2 if paths else 1]
    times = np.stack([times_ahead(s, table, steps) for s in table.series])
    if not paths:
        columns = {"y_hat": answer[..., model.middle]}
        columns |= {column(q): answer[..., k] for k, q in enumerate(model.quantiles)}
        return to_user_kind(forecast_frame(table, ids, times, columns), table.kind)
    count = answer.shape[1]
    flat = {
        "sample": np.tile(np.repeat(np.arange(count), steps), (len(ids), 1)),
        "y_hat": answer.reshape(len(ids), -1),
    }
    return to_user_kind(forecast_frame(table, ids, np.tile(times, (1, count)), flat), table.kind)


def times_ahead(series: Series, table: SeriesTable, steps: int) -> np.ndarray:
    """The times (steps,) after a series; of events, those given, then one typical gap after
    another."""
    if series.moments is None:
        return future_times(series.time[-1], table.freq, steps)
    given = series.moments[len(series.values) :][:steps]
    gap = next(c.scale for c in table.covariates if c.scale is not None)
    last = given[-1] if len(given) else series.moments[len(series.values) - 1]
    more = np.arange(1, steps - len(given) + 1) * np.timedelta64(round(gap * 1e6), "us")
    return np.concatenate([given, last + more])
