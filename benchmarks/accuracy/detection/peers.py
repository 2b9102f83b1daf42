"""The peers: PCA, CNN and LSTMAD of TSB-AD 1.5, run as TSB-AD runs them.

TSB-AD (Liu & Paparrizos 2024) takes a series whole, and of detectors that learn from normal rows
says how many at its start may be learnt from. So here train and test of a machine are one series:
CNN and LSTMAD are fitted on the train rows and score all rows; PCA is fitted on all rows, those of
the test included, without labels. Scores of the test rows are kept. PCA is also fitted on the train
rows alone (`PCA on train`), as the other detectors are; its `decision_function` then lacks the step
of its `fit` that drops columns which never change, which is made up for here.

Settings are TSB-AD's own: HP_list's Optimal_Multi_algo_HP_dict for several channels, and
Optimal_Uni_algo_HP_dict for one, where its PCA is called Sub_PCA and takes the series' period as
its window. Its main program's seed, 2024. Normalisation is its own: PCA standardises columns; the
networks' data loader computes one and does not use it, so rows are taken as they are. That is no
handicap on machines, whose metrics come scaled to 0 to 1, but on NAB it is; there they also run on
rows `standardised` by the train rows.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from detection.datasets import Series

SEED = 2024
Scores = dict[str, np.ndarray]  # `scores` (n,)
Step = Callable[[int], float]  # the score of a row of the test by its number, rows in order


class Peer:
    """What all three share."""

    packages: tuple[str, ...] = ("TSB-AD", "torch", "scikit-learn")
    key = ""

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        self.settings: dict[str, Any] = {}

    def load(self) -> None:
        """Import what is needed; seed everything that TSB-AD seeds."""
        import torch

        torch.manual_seed(SEED)
        np.random.seed(SEED)
        random.seed(SEED)

    def choose(self, series: Series) -> dict[str, Any]:
        """TSB-AD's settings for so many channels."""
        from TSB_AD import HP_list

        several = series.test.shape[1] > 1
        table = HP_list.Optimal_Multi_algo_HP_dict if several else HP_list.Optimal_Uni_algo_HP_dict
        chosen = dict(table[self.key if several or self.key != "PCA" else "Sub_PCA"])
        self.settings = {**chosen, "seed": SEED}
        return chosen


class Pca(Peer):
    """Distances of windows to the weighted principal directions, fitted on every row."""

    packages = ("TSB-AD", "scikit-learn")
    key = "PCA"

    def load(self) -> None:
        """Import what is needed; it draws nothing at random."""
        from TSB_AD.models import PCA as module  # noqa: N811

        module.check_is_fitted = lambda *_: None  # scikit-learn's of today wants its own base class
        self.make = module.PCA

    def choose(self, series: Series) -> dict[str, Any]:
        """Also the window: 100 rows of several channels, of one its period."""
        from TSB_AD.utils.slidingWindows import find_length_rank

        chosen = super().choose(series)
        period = chosen.pop("periodicity", None)
        rows = 100 if period is None else int(find_length_rank(series.test, rank=period))
        self.settings["window"] = rows
        return {"slidingWindow": rows, **chosen}

    def fit(self, series: Series) -> None:
        """On all rows, as one series; not where nothing ever changes, which it refuses."""
        rows = _whole(series)
        made = self.make(**self.choose(series))
        self.model = made.fit(rows) if np.ptp(rows, axis=0).any() else None

    def predict(self, series: Series) -> Scores:
        """Scores of the rows fitted on, the test last; 0 where nothing ever changes."""
        if self.model is None:
            return {"scores": np.zeros(len(series.test))}
        return {"scores": self.model.decision_scores_[-len(series.test) :]}


class PcaOnTrain(Pca):
    """The same, fitted on the train rows alone."""

    def fit(self, series: Series) -> None:
        """On the train rows."""
        self.model = self.make(**self.choose(series)).fit(series.train)

    def predict(self, series: Series) -> Scores:
        """Scores of all rows, of which the test's are the last."""
        self.model.scaler_ = _Changing(self.model.scaler_)
        return {"scores": self.model.decision_function(_whole(series))[-len(series.test) :]}

    def stepper(self, series: Series) -> tuple[int, Step]:
        """The first row that has a window behind it, and what scores a row from its window."""
        self.model.scaler_ = _Changing(self.model.scaler_)
        rows = self.model.slidingWindow
        score = self.model.decision_function
        return rows - 1, lambda k: float(score(series.test[k + 1 - rows : k + 1])[-1])


class _Changing:
    """A scaler that leaves out the columns that did not change in what it was fitted on."""

    def __init__(self, scaler: Any) -> None:
        self.scaler = getattr(scaler, "scaler", scaler)
        self.kept = self.scaler.var_ > 0

    def transform(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(self.scaler.transform(rows)[:, self.kept])


class Network(Peer):
    """CNN or LSTMAD: forecasts a row from a window, and scores its squared error."""

    def __init__(self, key: str, standardised: bool = False) -> None:
        super().__init__()
        self.key, self.standardised = key, standardised

    def load(self) -> None:
        """Import what is needed."""
        super().load()
        self.make = getattr(import_module(f"TSB_AD.models.{self.key}"), self.key)

    def fit(self, series: Series) -> None:
        """On the train rows, of which the last fifth says when to stop."""
        chosen = self.choose(series)
        self.settings["standardised"] = self.standardised
        self.model = self.make(feats=series.test.shape[1], batch_size=128, **chosen)
        self.model.fit(self.scaled(series, series.train))

    def predict(self, series: Series) -> Scores:
        """Scores of all rows, of which the test's are the last."""
        rows = self.scaled(series, _whole(series))
        return {"scores": self.model.decision_function(rows)[-len(series.test) :]}

    def stepper(self, series: Series) -> tuple[int, Step]:
        """The same with the network alone, without TSB-AD's data loader around it."""
        import torch

        rows, network = self.model.window_size, self.model.model.eval()
        values = torch.from_numpy(self.scaled(series, series.test)).float()

        def step(k: int) -> float:
            with torch.no_grad():
                ahead = network(values[None, k - rows : k])
            return float(((ahead.ravel() - values[k]) ** 2).mean())

        return rows, step

    def scaled(self, series: Series, rows: np.ndarray) -> np.ndarray:
        """By the mean and the deviation of the train rows, where asked."""
        if not self.standardised:
            return rows
        spread = series.train.std(axis=0)
        return np.asarray((rows - series.train.mean(axis=0)) / np.where(spread > 0, spread, 1))


def _whole(series: Series) -> np.ndarray:
    """Train and test as one series."""
    return series.test if series.prefix else np.concatenate([series.train, series.test])


class Window(Peer):
    """No detector: the window of VUS, by TSB-AD's rule, from the first channel that is scored."""

    packages = ("TSB-AD", "statsmodels")

    def load(self) -> None:
        """Import what is needed."""
        from TSB_AD.utils.slidingWindows import find_length_rank

        self.find = find_length_rank

    def fit(self, series: Series) -> None:
        """Nothing."""

    def predict(self, series: Series) -> Scores:
        """One number."""
        return {"scores": np.array([int(self.find(series.test[:, :1], rank=1))])}


def peers() -> dict[str, Peer]:
    """By the names of the tables."""
    return {
        "window": Window(),
        "PCA": Pca(),
        "PCA on train": PcaOnTrain(),
        "CNN": Network("CNN"),
        "LSTMAD": Network("LSTMAD"),
        "CNN standardised": Network("CNN", standardised=True),
        "LSTMAD standardised": Network("LSTMAD", standardised=True),
    }
