"""One code scores all forecasts: sMAPE, MASE, MSIS, MAE, MAPE, coverage; and the seasonal naive.

Definitions of the M4 competition (Makridakis, Spiliotis & Assimakopoulos 2020). A metric is first
averaged over the rows of a forecast, then over forecasts; rows without a truth do not count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np

from forecasting.datasets import LEVELS, Problem, Task

ALPHA = 0.05  # of MSIS
RESAMPLED = 2000


@dataclass(frozen=True)
class Answer:
    """Forecasts: `point` (S, O, horizon), `bounds` (S, O, horizon, 4) at LEVELS."""

    point: np.ndarray
    bounds: np.ndarray

    def save(self, path: Path) -> None:
        """As an .npz."""
        np.savez(path, point=self.point, bounds=self.bounds)

    @classmethod
    def load(cls, path: Path) -> Answer:
        """What `save` wrote."""
        with np.load(path) as file:
            return cls(file["point"], file["bounds"])

    def check(self, task: Task) -> None:
        """Raise ValueError where something is missing: no forecast is left out of a mean."""
        shape = (*task.origins.shape, task.horizon)
        if self.point.shape != shape or self.bounds.shape != (*shape, len(LEVELS)):
            raise ValueError(f"forecasts of shape {self.point.shape}, asked for {shape}")
        if not (np.isfinite(self.point).all() and np.isfinite(self.bounds).all()):
            raise ValueError("forecasts are not all finite")


def score(problem: Problem, answer: Answer) -> dict[str, float]:
    """The problem's metrics; percentages for sMAPE and MAPE, fractions for coverage."""
    answer.check(problem.task)
    each = errors(problem, answer)
    return {name: float(np.nanmean(each[name])) for name in problem.metrics}


def errors(problem: Problem, answer: Answer) -> dict[str, np.ndarray]:
    """Each metric of each forecast, (S, O)."""
    return {name: METRICS[name](problem, answer) for name in problem.metrics}


def scale(problem: Problem) -> np.ndarray:
    """(S, 1): mean absolute seasonal difference of the rows to fit on, of MASE and MSIS."""
    m = problem.scale_season
    pasts = [v[:n] for v, n in zip(problem.task.values, problem.task.train, strict=True)]
    return np.array([[np.abs(past[m:] - past[:-m]).mean()] for past in pasts])


def smape(problem: Problem, answer: Answer) -> np.ndarray:
    """200 |y - f| / (|y| + |f|), 0 where both are 0; (S, O)."""
    truth, point = problem.truth, answer.point
    size = np.abs(truth) + np.abs(point)
    return _mean(200 * np.abs(truth - point) / np.where(size == 0, 1, size))


def mape(problem: Problem, answer: Answer) -> np.ndarray:
    """100 |y - f| / |y|, rows with y = 0 left out; (S, O)."""
    truth = np.where(problem.truth == 0, np.nan, problem.truth)
    return _mean(100 * np.abs((truth - answer.point) / truth))


def mae(problem: Problem, answer: Answer) -> np.ndarray:
    """|y - f| in units of the data; (S, O)."""
    return _mean(np.abs(problem.truth - answer.point))


def mase(problem: Problem, answer: Answer) -> np.ndarray:
    """MAE over the scale; (S, O)."""
    return np.asarray(mae(problem, answer) / scale(problem))


def msis(problem: Problem, answer: Answer) -> np.ndarray:
    """Width of the 95 % interval and 2 / alpha times what lies outside, over the scale; (S, O)."""
    low, high = answer.bounds[..., 0], answer.bounds[..., -1]
    truth = problem.truth
    missed = np.where(truth < low, low - truth, 0) + np.where(truth > high, truth - high, 0)
    width = np.where(np.isnan(truth), np.nan, high - low)
    return np.asarray(_mean(width + 2 / ALPHA * missed) / scale(problem))


def coverage(inner: int) -> Callable[[Problem, Answer], np.ndarray]:
    """Share of truths within the interval of bounds `inner` and -1 - `inner`; (S, O)."""

    def covered(problem: Problem, answer: Answer) -> np.ndarray:
        low, high = answer.bounds[..., inner], answer.bounds[..., -1 - inner]
        inside = (problem.truth >= low) & (problem.truth <= high)
        return _mean(np.where(np.isnan(problem.truth), np.nan, inside))

    return covered


def _mean(rows: np.ndarray) -> np.ndarray:
    return np.asarray(np.nanmean(rows, axis=-1))


METRICS: dict[str, Callable[[Problem, Answer], np.ndarray]] = {
    "smape": smape,
    "mape": mape,
    "mae": mae,
    "mase": mase,
    "msis": msis,
    "coverage_80": coverage(1),
    "coverage_95": coverage(0),
}


def spread(problem: Problem, answer: Answer, metric: str = "mase") -> list[float]:
    """95 % bootstrap interval of the mean: of series, or of origins where there are several.

    Series at one origin err together, so a forecast of all of them is one draw.
    """
    each = METRICS[metric](problem, answer)
    units = each.mean(axis=1) if each.shape[1] == 1 else each.mean(axis=0)
    drawn = np.random.default_rng(0).integers(0, len(units), (RESAMPLED, len(units)))
    low, high = np.quantile(units[drawn].mean(axis=1), [ALPHA / 2, 1 - ALPHA / 2])
    return [float(low), float(high)]


def naive(task: Task, season: int) -> Answer:
    """The last season again; intervals from the deviation of seasonal differences before.

    They widen by the square root of the seasons ahead (Hyndman & Athanasopoulos 2021, 5.5).
    """
    step = np.arange(task.horizon)
    rows = task.origins[..., None] - season + step % season
    point = np.stack([v[chosen] for v, chosen in zip(task.values, rows, strict=True)])
    pasts = [v[:n] for v, n in zip(task.values, task.train, strict=True)]
    deviation = np.array([np.sqrt(np.mean((v[season:] - v[:-season]) ** 2)) for v in pasts])
    wide = deviation[:, None, None] * np.sqrt(step // season + 1)
    away = [NormalDist().inv_cdf(level) for level in LEVELS]
    return Answer(point, np.stack([point + z * wide for z in away], axis=-1))
