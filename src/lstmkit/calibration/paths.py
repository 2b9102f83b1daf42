"""Sample paths from quantile forecasts, with the dependence between steps that past errors had.

Each step has its quantiles; what they leave open is how steps go together. A Gaussian copula says
it: errors at rolling origins become normal scores through their own forecasts' quantiles, and
paths are random combinations of those scores, put back through the quantiles of the new forecast.
So each step keeps its distribution, and a sum or a maximum over the horizon has an honest one too.
(Copulas: Sklar 1959; over the horizon of a forecast: Pinson et al. 2009, "From probabilistic
forecasts to statistical scenarios of short-term wind power production".)
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

LARGEST = 4.0  # normal score
MOST_SCORES = 512  # windows kept
IDIOSYNCRATIC = 2.0  # windows that independence of the steps is worth


def normal_scores(
    truth: np.ndarray, quantiles: np.ndarray, probabilities: Sequence[float]
) -> np.ndarray:
    """Where truths (W, H) fell in the distributions (W, H, Q) of their forecasts: (W, H).

    Linear between quantiles on the scale of normal scores, and so beyond them; NaN where missing.
    """
    knots = knots_of(probabilities)
    rising = increasing(quantiles)
    y = np.nan_to_num(truth)
    upper = np.clip((y[..., None] > rising).sum(-1), 1, len(knots) - 1)
    low, high = (np.take_along_axis(rising, k[..., None], -1)[..., 0] for k in (upper - 1, upper))
    share = (y - low) / (high - low)
    score = knots[upper - 1] + share * (knots[upper] - knots[upper - 1])
    return np.where(np.isnan(truth), np.nan, np.clip(score, -LARGEST, LARGEST))


def at_scores(
    scores: np.ndarray, quantiles: np.ndarray, probabilities: Sequence[float]
) -> np.ndarray:
    """Values of distributions (.., H, Q) at normal scores (.., n, H): (.., n, H)."""
    knots = knots_of(probabilities)
    upper = np.clip(np.searchsorted(knots, scores), 1, len(knots) - 1)
    each = np.broadcast_to(quantiles[..., None, :, :], (*scores.shape, len(knots)))
    low, high = (np.take_along_axis(each, k[..., None], -1)[..., 0] for k in (upper - 1, upper))
    share = (scores - knots[upper - 1]) / (knots[upper] - knots[upper - 1])
    values: np.ndarray = low + share * (high - low)
    return values


def template(scores: np.ndarray) -> np.ndarray:
    """Normal scores (W, H) as the rows of a copula: (n, H) float32, each step with deviation 1.

    Windows with missing steps are left out, or filled with 0 where every one has some.
    """
    whole = scores[~np.isnan(scores).any(1)]
    rows = whole if len(whole) else np.nan_to_num(scores)
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MOST_SCORES)).astype(int))
    rows = rows[chosen] - rows.mean(0)
    deviation = rows.std(0)
    return (rows / np.where(deviation > 1e-3, deviation, 1.0)).astype(np.float32)


def sample(
    quantiles: np.ndarray,
    probabilities: Sequence[float],
    rows: np.ndarray,
    count: int,
    generator: np.random.Generator,
) -> np.ndarray:
    """`count` paths of each forecast (N, H, Q): (N, count, H).

    Args:
        rows: the copula, (n, H) as `template` gives it; none of them means independent steps.
    """
    N, H, _ = quantiles.shape
    n = len(rows)
    own = IDIOSYNCRATIC / (n + IDIOSYNCRATIC)
    scores = np.sqrt(own) * generator.standard_normal((N, count, H))
    if n:
        weights = generator.standard_normal((N, count, n)) / np.sqrt(n)
        scores += np.sqrt(1 - own) * (weights @ rows[:, :H].astype(np.float64))
    return at_scores(scores, quantiles, probabilities)


def knots_of(probabilities: Sequence[float]) -> np.ndarray:
    """Normal scores of probabilities; a single one gets a neighbour, so that there is a line."""
    normal = NormalDist()
    return np.array([normal.inv_cdf(p) for p in probabilities])


def increasing(quantiles: np.ndarray) -> np.ndarray:
    """Quantiles (.., Q) with ties pulled apart by a trillionth of their size."""
    size = np.maximum(np.abs(quantiles).max(-1, keepdims=True), 1e-12)
    return quantiles + 1e-12 * size * np.arange(quantiles.shape[-1])
