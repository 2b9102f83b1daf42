"""What a forecaster is given, read and checked: tables, quantiles, a stored report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.errors import UserError, require

if TYPE_CHECKING:
    from lstmkit.evaluation.report import Report
    from lstmkit.readers.tables import Series, SeriesTable


def read(data: Any, columns: dict[str, Any]) -> SeriesTable:
    """`readers.tables.read_series`, or MissingExtra where polars is not installed."""
    require("polars", "train")
    from lstmkit.readers.tables import read_series

    return read_series(data, **{name: v for name, v in columns.items() if v is not None})


def long_enough(table: SeriesTable, horizon: int) -> list[Series]:
    """The series that are longer than the horizon.

    Raises:
        UserError: there is none.
    """
    kept = [s for s in table.series if len(s.values) > horizon]
    if kept:
        return kept
    longest = max(len(s.values) for s in table.series)
    raise UserError(
        f"no series is longer than the horizon of {horizon} steps",
        got=f"{longest} rows in the longest of {len(table.series)} series",
        expected=f"at least {3 * horizon + 1} rows",
        hint=f"--horizon {max(1, (longest - 1) // 3)}",
    )


def restored_report(task: str, stored: dict[str, Any]) -> Report:
    """The inverse of `Report.to_dict`, where what is not finite became None."""
    from lstmkit.evaluation import Report

    def scores(values: dict[str, float | None]) -> dict[str, float]:
        return {name: float("nan") if v is None else v for name, v in values.items()}

    spans = {
        k: scores({"low": low, "high": high}) for k, (low, high) in stored["intervals"].items()
    }
    return Report(
        task=task,
        metrics=scores(stored["metrics"]),
        baselines={name: scores(values) for name, values in stored["baselines"].items()},
        data=stored["data"],
        model=stored["model"],
        intervals={name: (span["low"], span["high"]) for name, span in spans.items()},
        memory_worth=scores(stored["memory_worth"]),
        notes=list(stored["notes"]),
    )


def parse_quantiles(given: Sequence[float] | str) -> tuple[float, ...]:
    """Sorted probabilities with 0.5 among them, from numbers or a text such as `0.1,0.9`.

    Raises:
        UserError: something is no number between 0 and 1.
    """
    try:
        parts = given.split(",") if isinstance(given, str) else given
        found = sorted({float(part) for part in parts} | {0.5})
    except (TypeError, ValueError):
        found = [float("nan")]
    if not all(0 < p < 1 for p in found):
        raise UserError(
            "quantiles must be numbers between 0 and 1",
            got=str(given),
            hint="--quantiles 0.1,0.5,0.9",
        )
    return tuple(found)


def days(time: np.ndarray) -> float:
    """Days that times (n,) span; integer time knows no days."""
    if time.dtype.kind != "M":
        return 0.0
    return float((time[-1] - time[0]) / np.timedelta64(1, "D"))
