"""The peers, with the settings of their documentation; nothing here was tuned on a test set.

neuralforecast, with the multi-quantile loss: LSTM as in the request that this benchmark answers (2
layers of 128, 500 steps, else the library's defaults), seeing a week of hours, 168 rows (the
default is three horizons: 144 rows of M4, 72 of PJM); NHITS as the library's tutorial of M4 Hourly
with prediction intervals has it: seven horizons, `n_freq_downsample`, 2,000 steps
(nixtlaverse.nixtla.io/neuralforecast/docs/tutorials/uncertainty_quantification.html).

statsforecast: AutoETS and AutoTheta of the data's season, on all cores.

LightGBM: mlforecast with the differences, scaler, lags and dates of its tutorials of M4
(mlforecast/docs/tutorials/m4.html) and of this same electricity load
(mlforecast/docs/tutorials/electricity_load_forecasting.html, of one series, hence without the
scaler), recursive; exchange rates have no tutorial: first differences and lags 1 to 24. Intervals
are the library's conformal ones, made here: quantiles of each series' errors at each row ahead, at
origins before the first one, of trees that have not seen those rows; then the trees learn from all
rows. (The library's code computes the features of the whole history anew at each of these origins,
which takes hours for ten years of hourly load; here, of the rows that all models are given.) M4 has
ten such origins, as the library's tutorial; more do not fit into its shortest series.
"""

from __future__ import annotations

import logging
import os
import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from forecasting.datasets import LEVELS, Task
from forecasting.scoring import Answer

SIDES = ("lo-95", "lo-80", "hi-80", "hi-95")  # LEVELS
WEEK = 168
CALIBRATED = {"m4_hourly": (10, 48), "exchange": (60, 24), "pjm": (61, 144)}  # origins, rows apart


class Neural:
    """A network of neuralforecast, fitted once, used unchanged at every origin.

    `rows` says how many it sees; a negative number stands for so many horizons.
    """

    packages: tuple[str, ...] = ("neuralforecast", "torch", "pytorch-lightning", "pandas")

    def __init__(self, name: str, rows: int, **options: Any) -> None:
        self.name, self.rows, self.options = name, rows, options
        self.settings: dict[str, Any] = {**options, "loss": "MQLoss(level=[80, 95])"}

    def load(self) -> None:
        """Import what is needed, and make it quiet."""
        import pandas
        from neuralforecast import NeuralForecast, models
        from neuralforecast.losses.pytorch import MQLoss

        _quiet()
        self.frame, self.network = pandas.DataFrame, getattr(models, self.name)
        self.forecaster, self.loss = NeuralForecast, MQLoss(level=[80, 95])

    def fit(self, task: Task) -> None:
        """On the rows before the first origin."""
        rows = self.rows if self.rows > 0 else -self.rows * task.horizon
        self.settings |= {"input_size": rows}
        network = self.network(
            h=task.horizon, input_size=rows, loss=self.loss, **self.options,
            logger=False, enable_progress_bar=False, enable_checkpointing=False,
            enable_model_summary=False,
        )  # fmt: skip
        self.model = self.forecaster(models=[network], freq=task.freq or 1)
        self.model.fit(self.frame(task.training()))

    def predict(self, task: Task) -> Answer:
        """The same weights at every origin."""
        frames = [self.model.predict(df=self.frame(rows)) for rows in task.histories(task.rows)]
        return _answer(task, frames, f"{self.name}-median", self.name)


class Statistical:
    """A model of statsforecast, fitted to each series at every origin."""

    packages: tuple[str, ...] = ("statsforecast", "pandas")

    def __init__(self, name: str) -> None:
        self.name = name
        self.settings: dict[str, Any] = {"n_jobs": os.cpu_count() or 1}

    def load(self) -> None:
        """Import what is needed."""
        import pandas
        from statsforecast import StatsForecast, models

        self.frame, self.model = pandas.DataFrame, getattr(models, self.name)
        self.forecaster = StatsForecast

    def fit(self, task: Task) -> None:
        """Nothing: the last rows before an origin matter too much."""
        self.settings |= {"season_length": task.season}
        if int(task.rows_refitted) < int(task.origins.max()):
            self.settings |= {"rows": task.rows_refitted}

    def predict(self, task: Task) -> Answer:
        """Fit and forecast at every origin."""
        library = self.forecaster(
            [self.model(season_length=task.season)], task.freq or 1, self.settings["n_jobs"]
        )
        frames = [
            library.forecast(df=self.frame(rows), h=task.horizon, level=[80, 95])
            for rows in task.histories(task.rows_refitted)
        ]
        return _answer(task, frames, self.name, self.name)


class Boosted:
    """LightGBM on lags of all series, fitted once, used unchanged at every origin."""

    packages: tuple[str, ...] = ("mlforecast", "lightgbm", "pandas")

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}

    def load(self) -> None:
        """Import what is needed."""
        import lightgbm
        import mlforecast
        import pandas

        self.frame, self.tree = pandas.DataFrame, lightgbm.LGBMRegressor
        self.forecaster = mlforecast.MLForecast

    def fit(self, task: Task) -> None:
        """Errors on the last rows before the first origin, then trees of all rows before it."""
        self.settings = _described(task.dataset)
        earlier = before(task, *CALIBRATED[task.dataset])
        self.errors = errors(earlier, self._rolled(self._trained(earlier), earlier))
        self.model = self._trained(task)

    def predict(self, task: Task) -> Answer:
        """The same trees at every origin."""
        point = self._rolled(self.model, task)
        return Answer(point, point[..., None] + self.errors[:, None])

    def _trained(self, task: Task) -> Any:
        """A model of the rows that may be fitted on."""
        tree = self.tree(random_state=0, verbosity=-1)
        features = _features(task.dataset)
        model = self.forecaster({"LightGBM": tree}, freq=task.freq or 1, **features)
        return model.fit(self.frame(task.training()))

    def _rolled(self, model: Any, task: Task) -> np.ndarray:
        """Its forecasts (S, O, horizon) from the last rows before each origin."""
        frames = [
            model.predict(task.horizon, new_df=self.frame(rows))
            for rows in task.histories(task.rows)
        ]
        return np.stack([_arrays(task, frame, ["LightGBM"])[..., 0] for frame in frames], axis=1)


def before(task: Task, count: int, apart: int) -> Task:
    """`task` with `count` origins, `apart` rows apart, whose truths end where its training ends."""
    back = np.arange(count - 1, -1, -1) * apart + task.horizon
    origins = task.train[:, None] - back
    return replace(task, train=origins[:, 0], origins=origins)


def errors(task: Task, point: np.ndarray) -> np.ndarray:
    """(S, horizon, levels): quantiles, over origins, of what forecasts `point` missed, either way.

    Each error counts above and below, as in mlforecast's `conformal_distribution`.
    """
    rows = task.origins[..., None] + np.arange(task.horizon)
    truth = np.stack([v[chosen] for v, chosen in zip(task.values, rows, strict=True)])
    both = np.concatenate([truth - point, point - truth], axis=1)
    return np.moveaxis(np.quantile(both, LEVELS, axis=1), 0, -1)


def _described(dataset: str) -> dict[str, Any]:
    """Lags, dates and differences, as text; origins that calibrate and rows between them."""
    names = {
        "m4_hourly": "lags 24, 48 .. 168, differences 24, scaled, exponential mean of lag 48",
        "exchange": "lags 1 .. 24, differences 1, scaled",
        "pjm": "lags 1, 12, 24, differences 24 and 168, scaled, means, month, hour, weekday",
    }
    return {"features": names[dataset], "calibrated_on": CALIBRATED[dataset]}


def _features(dataset: str) -> dict[str, Any]:
    """Of mlforecast, by its tutorials."""
    from mlforecast.lag_transforms import ExpandingMean, ExponentiallyWeightedMean, RollingMean
    from mlforecast.target_transforms import Differences, LocalStandardScaler

    known: dict[str, dict[str, Any]] = {
        "m4_hourly": {
            "lags": [24 * (k + 1) for k in range(7)],
            "lag_transforms": {48: [ExponentiallyWeightedMean(alpha=0.3)]},
            "target_transforms": [Differences([24]), LocalStandardScaler()],
        },
        "exchange": {
            "lags": list(range(1, 25)),
            "target_transforms": [Differences([1]), LocalStandardScaler()],
        },
        "pjm": {
            "lags": [1, 12, 24],
            "lag_transforms": {1: [ExpandingMean()], 24: [RollingMean(window_size=48)]},
            "date_features": ["month", "hour", "dayofweek"],
            "target_transforms": [Differences([24, 168]), LocalStandardScaler()],
        },
    }
    return known[dataset]


def _answer(task: Task, frames: list[Any], point: str, prefix: str) -> Answer:
    """Frames of forecasts, one an origin, as arrays."""
    columns = [point, *(f"{prefix}-{side}" for side in SIDES)]
    each = [_arrays(task, frame, columns) for frame in frames]
    values = np.stack(each, axis=1)
    return Answer(values[..., 0], values[..., 1:])


def _arrays(task: Task, frame: Any, columns: list[str]) -> np.ndarray:
    """(S, horizon, columns) in the task's order of series; a level may be written 95 or 95.0."""
    named = frame.rename(columns=lambda name: str(name).removesuffix(".0"))
    groups = dict(iter(named.groupby("unique_id", sort=False)))
    return np.stack([groups[name].sort_values("ds")[columns].to_numpy() for name in task.ids])


def _quiet() -> None:
    warnings.filterwarnings("ignore")
    for name in ("pytorch_lightning", "lightning", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)


def peers() -> dict[str, Neural | Statistical | Boosted]:
    """Name to contestant."""
    layers = {"encoder_n_layers": 2, "encoder_hidden_size": 128}
    return {
        "neuralforecast LSTM": Neural("LSTM", WEEK, **layers, max_steps=500),
        "neuralforecast NHITS": Neural("NHITS", -7, n_freq_downsample=[24, 12, 1], max_steps=2000),
        "AutoETS": Statistical("AutoETS"),
        "AutoTheta": Statistical("AutoTheta"),
        "LightGBM on lags": Boosted(),
    }
