"""What a detector must beat: chance, and three methods that people would try first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lstmkit.errors import UserError, require

WINDOW = 100  # rows of the moving mean and deviation
BLOCK = 2000  # rows whose sums are taken together
VARIANCE = 0.9  # that the principal components explain
LAGS = 5  # rows that the isolation forest sees together
MOST_FITTED = 50_000  # rows that the forest and the components are fitted on

Rows = Sequence[np.ndarray]


def scores(train: Rows, test: Rows, seed: int = 0) -> dict[str, list[np.ndarray]]:
    """Scores (n,) of each test series (n, C) by each baseline; NaN where a row has no value.

    Args:
        train: rows of each series to learn from.
        test: rows to score, NaN where missing.

    Raises:
        UserError: a series has no row to learn from.
    """
    require("sklearn", "train")
    found: dict[str, list[np.ndarray]] = {
        "random": [],
        "moving_z_score": [],
        "pca": [],
        "isolation_forest": [],
    }
    draw = np.random.default_rng(seed)
    for before, rows in zip(train, test, strict=True):
        if not len(before):
            raise UserError("the baselines have no row to learn from", expected="at least one row")
        past, new = _filled(before, rows)
        nothing = np.isnan(rows).all(1)
        each = {
            "random": draw.random(len(rows)),
            "moving_z_score": moving_z_score(new),
            "pca": pca(past, new),
            "isolation_forest": isolation_forest(past, new, seed),
        }
        for name, score in each.items():
            found[name].append(np.where(nothing, np.nan, score))
    return found


def _filled(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Missing values as the last one before, or the median of the training; in deviations."""
    with np.errstate(all="ignore"):
        some = ~np.isnan(train).all(0)
        middle = np.zeros(train.shape[1])
        middle[some] = np.nanmedian(train[:, some], axis=0)
        found = [_forward(x, middle) for x in (train, test)]
    deviation = found[0].std(0)
    deviation = np.where(deviation > 1e-12, deviation, 1.0)
    return (found[0] - middle) / deviation, (found[1] - middle) / deviation


def _forward(x: np.ndarray, middle: np.ndarray) -> np.ndarray:
    place = np.where(np.isnan(x), -1, np.arange(len(x))[:, None])
    place = np.maximum.accumulate(place, 0)
    filled = np.take_along_axis(x, np.maximum(place, 0), 0)
    found: np.ndarray = np.where(place < 0, middle, filled)
    return found


def moving_z_score(rows: np.ndarray) -> np.ndarray:
    """The largest distance of a channel from its mean over the WINDOW rows before, in deviations.

    rows (n, C) -> (n,); 0 for the first rows. The cost of a row does not depend on WINDOW. Sums
    begin anew with each block, so that one huge value does not spoil the digits of all after it.
    """
    found = np.zeros(len(rows))
    for begin in range(0, len(rows), BLOCK):
        early = max(begin - WINDOW, 0)
        found[begin : begin + BLOCK] = _distances(rows[early : begin + BLOCK], begin - early)
    found[: WINDOW // 10] = 0.0
    return found


def _distances(rows: np.ndarray, begin: int) -> np.ndarray:
    """Of the rows from `begin` on, each from up to WINDOW before it."""
    shifted = rows - rows.mean(0)
    sums, squares = (np.cumsum(np.pad(x, ((1, 0), (0, 0))), 0) for x in (shifted, shifted**2))
    ends = np.arange(begin, len(rows))
    begins = np.maximum(ends - WINDOW, 0)
    count = np.maximum(ends - begins, 1)[:, None]
    mean = (sums[ends] - sums[begins]) / count
    variance = (squares[ends] - squares[begins]) / count - mean**2
    z = np.abs(shifted[begin:] - mean) / np.sqrt(np.maximum(variance, 0) + 1e-6)
    found: np.ndarray = z.max(1)
    return found


def pca(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """The squared error of the principal components that explain VARIANCE of the training."""
    from sklearn.decomposition import PCA

    if (train.std(0) > 0).sum() < 2:  # one channel has no components: its last rows have
        train, test = (lagged(x, LAGS) for x in (train, test))
    kept = train[:: max(1, len(train) // MOST_FITTED)]
    if len(kept) < 2 or kept.std() == 0:
        return np.asarray((test**2).sum(1))
    model = PCA(VARIANCE, svd_solver="full").fit(kept)
    rest = test - model.inverse_transform(model.transform(test))
    return np.asarray((rest**2).sum(1))


def isolation_forest(train: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    """Isolation forest (Liu et al. 2008) on rows with those before them."""
    from sklearn.ensemble import IsolationForest

    lags = LAGS if test.shape[1] <= 20 else 1
    past, new = lagged(train, lags), lagged(test, lags)
    model = IsolationForest(random_state=seed).fit(past[:: max(1, len(past) // MOST_FITTED)])
    return np.asarray(-model.score_samples(new))


def lagged(rows: np.ndarray, lags: int) -> np.ndarray:
    """Rows (n, C) beside the rows before them: (n, lags C); the first repeats."""
    padded = np.concatenate([np.repeat(rows[:1], lags - 1, 0), rows])
    return np.concatenate([padded[k : k + len(rows)] for k in range(lags)], 1)
