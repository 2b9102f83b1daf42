"""What a person is shown of one watched series: what came, what was expected, what alerted.

numpy only; pictures and pages are drawn from it, and know no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lstmkit.errors import UserError
from lstmkit.tasks.anomaly.alerts import Alert


@dataclass(frozen=True, eq=False)
class Story:
    """One series on its grid of n rows with C channels.

    Attributes:
        name: of the series, "" for a single one.
        time: (n,) datetime64[us], or int64 numbers of rows; rising.
        values: (n, C) float64 in the user's units, NaN missing.
        channels: the C names of the columns.
        scores: (n,) float64, minus log10 of the probability of such a normal row; NaN where none.
        levels: (n,) float64, the threshold that each score was compared with; NaN where none.
        contributions: (n, C) float64; each row sums to its score, NaN where there is none.
        expected: (n, C) float64 in the user's units, NaN where nothing was expected; or None.
        alerts: of this series, in time order.
        labels: (n,) float64, 1 where a row is known to be anomalous, 0 where not, NaN where
            unknown; or None.

    Raises:
        UserError: lengths or numbers of channels differ, or an alert lies outside the rows.
    """

    name: str
    time: np.ndarray
    values: np.ndarray
    channels: tuple[str, ...]
    scores: np.ndarray
    levels: np.ndarray
    contributions: np.ndarray
    expected: np.ndarray | None
    alerts: Sequence[Alert]
    labels: np.ndarray | None = None

    def __post_init__(self) -> None:
        rows, table = (len(self.time),), (len(self.time), len(self.channels))
        wanted = {"values": table, "scores": rows, "levels": rows, "contributions": table}
        wanted |= {"expected": table, "labels": rows}
        for field, shape in wanted.items():
            found = getattr(self, field)
            if found is not None and np.shape(found) != shape:
                raise UserError(
                    f"cannot show {self.name or 'the series'}: {field} does not fit its rows",
                    got=f"shape {np.shape(found)}",
                    expected=f"shape {shape}, rows and channels as time and channels say",
                )
        for alert in self.alerts:
            if not 0 <= alert.first <= alert.peak_row <= alert.last < len(self.time):
                raise UserError(
                    f"cannot show {self.name or 'the series'}: an alert lies outside its rows",
                    got=f"rows {alert.first} to {alert.last}, peak at {alert.peak_row}",
                    expected=f"rows from 0 to {len(self.time) - 1}, the peak between",
                )

    @property
    def dated(self) -> bool:
        """Whether times are dates, and not numbers."""
        return np.issubdtype(self.time.dtype, np.datetime64)


def worst_alerts(stories: Sequence[Story]) -> list[tuple[int, Alert]]:
    """All alerts with the position of their story, the furthest above its level first."""
    found = [(k, alert) for k, story in enumerate(stories) for alert in story.alerts]
    return sorted(found, key=lambda one: (one[1].level - one[1].peak, one[0], one[1].first))
