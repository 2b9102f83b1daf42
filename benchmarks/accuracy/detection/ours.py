"""lstmkit.AnomalyDetector as a contestant, as a user would call it; and the baselines beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from detection.datasets import Series


class Lstmkit:
    """A model for each file; `options` are those of AnomalyDetector, all others its defaults."""

    packages: tuple[str, ...] = ("lstmkit", "torch", "polars")

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        self.options = options or {}
        self.settings: dict[str, Any] = dict(self.options)

    def load(self) -> None:
        """Import what is needed."""
        import polars

        import lstmkit

        self.make, self.frame = lstmkit.AnomalyDetector, polars.DataFrame

    def fit(self, series: Series) -> None:
        """On the train rows."""
        self.model = self.make(**self.options).fit(self.table(series, len(series.train), True))

    def predict(self, series: Series) -> dict[str, np.ndarray]:
        """Of the test rows `scores` and `alarms` (n,), and `contributions` (n, C)."""
        found = self.model.predict_scores(self.table(series, len(series.test), False))
        rows = np.arange(len(series.test))
        if found.height != len(rows):  # rows that share a time have one score
            times = found["time"].to_numpy().astype("datetime64[us]")
            rows = np.maximum(np.searchsorted(times, series.time, side="right") - 1, 0)
        return {
            "scores": found["score"].to_numpy()[rows],
            "contributions": found.select(channels(series)).to_numpy()[rows],
            "alarms": found["alarm"].to_numpy()[rows],
        }

    def stepper(self, series: Series) -> tuple[int, Callable[[int], float]]:
        """The first row, and what pushes a row into a stream and reads its score."""
        stream, names = self.model.stream(), channels(series)
        rows = [dict(zip(names, map(str, row), strict=True)) for row in series.test.tolist()]
        return 0, lambda k: float(stream.step(rows[k])["score"] or 0.0)

    def table(self, series: Series, rows: int, train: bool) -> Any:
        """The first rows of the train or of the test as a user's table."""
        values = series.train if train else series.test
        time = {"time": series.time[:rows]} if len(series.time) else {}
        columns = dict(zip(channels(series), values[:rows].T, strict=True))
        return self.frame({**time, **columns})


class Baselines:
    """All of lstmkit's baselines in one process, each an array of scores by its name."""

    packages: tuple[str, ...] = ("lstmkit", "scikit-learn")
    seed = 0

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {"seed": self.seed}

    def load(self) -> None:
        """Import what is needed."""
        from lstmkit.tasks.anomaly import baselines

        self.scores = baselines.scores

    def fit(self, series: Series) -> None:
        """Nothing: they fit and score in one call."""

    def predict(self, series: Series) -> dict[str, np.ndarray]:
        """Scores (n,) of the test rows by baseline."""
        found = self.scores([series.train], [series.test], self.seed)
        return {name.replace("_", " "): each[0] for name, each in found.items()}


def channels(series: Series) -> list[str]:
    """c1, c2, ..."""
    return [f"c{k + 1}" for k in range(series.test.shape[1])]
