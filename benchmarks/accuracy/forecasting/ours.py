"""lstmkit.Forecaster as a contestant, as a user would call it."""

from __future__ import annotations

from typing import Any

import numpy as np

from forecasting.datasets import LEVELS, Task
from forecasting.scoring import Answer

COLUMNS = {"id": "unique_id", "time": "ds", "target": "y"}


class Lstmkit:
    """One model of all series; `options` are those of Forecaster, all others at their defaults."""

    packages: tuple[str, ...] = ("lstmkit", "torch", "polars")

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        self.options = options or {}
        self.settings: dict[str, Any] = dict(self.options)

    def load(self) -> None:
        """Import what is needed."""
        import lstmkit

        self.forecaster = lstmkit.Forecaster
        import polars

        self.frame = polars.DataFrame

    def fit(self, task: Task) -> None:
        """On the rows before the first origin: held-out score, then again on all of them."""
        given = {"season": task.season, **COLUMNS, **self.options}
        self.model = self.forecaster(task.horizon, **given).fit(self.frame(task.training()))
        self.settings = {"season": given["season"], **self.options, **_facts(self.model)}

    def predict(self, task: Task) -> Answer:
        """The same weights at every origin."""
        frames = [self.model.predict(self.frame(rows)) for rows in task.histories(task.rows)]
        point = [_of(task, frame, "y_hat") for frame in frames]
        bounds = [[_of(task, frame, f"q{level}") for level in LEVELS] for frame in frames]
        return Answer(np.stack(point, axis=1), np.moveaxis(np.array(bounds), (0, 1), (1, -1)))


def _of(task: Task, frame: Any, column: str) -> np.ndarray:
    """A column as (S, horizon) in the task's order of series."""
    ids = frame["unique_id"].to_numpy()
    values = frame[column].to_numpy()
    return np.stack([values[ids == name] for name in task.ids])


def _facts(model: Any) -> dict[str, Any]:
    names = ("size", "width", "parameters", "lookback", "best_epoch")
    return {name: model.facts_[name] for name in names if name in model.facts_}
