"""Conformal calibration of quantile forecasts, one correction for each step ahead and quantile.

Conformalised quantile regression (Romano, Patterson & Candès 2019), each quantile by itself: what
is added to a forecast quantile is the same quantile of its own errors at rolling origins, with the
finite-sample correction of split conformal prediction. Errors count in units of their window, so
that series of any size share them; neighbouring steps ahead lend each other theirs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SHRINKAGE = 4.0  # independent windows that the belief "no correction" is worth
REACH = 0.08  # of the horizon, to either side, from which a step borrows errors


def offsets(
    truth: np.ndarray,
    quantiles: np.ndarray,
    unit: np.ndarray,
    probabilities: Sequence[float],
    independent: float,
) -> np.ndarray:
    """What to add to each quantile, in units of the windows: (H, Q).

    The median is left alone: a forecast's centre is the model's business.

    Args:
        truth: (W, H), NaN where missing.
        quantiles: (W, H, Q), of forecasts at rolling origins that the model had not seen.
        unit: (W,) above 0.
        probabilities: (Q,).
        independent: how many of the windows do not overlap; few of them err on the wide side.
    """
    score = (truth[..., None] - quantiles) / unit[:, None, None]
    found = np.zeros(quantiles.shape[1:])
    steps = np.arange(truth.shape[1])
    reach = max(1, round(REACH * len(steps)))
    for k, p in enumerate(probabilities):
        if abs(p - 0.5) < 1e-9:
            continue
        for h in steps:
            near = score[:, max(0, h - reach) : h + reach + 1, k].ravel()
            found[h, k] = conformal_quantile(near[~np.isnan(near)], p, independent)
    shrunk: np.ndarray = found * independent / (independent + SHRINKAGE)
    return shrunk


def conformal_quantile(scores: np.ndarray, p: float, independent: float) -> float:
    """The quantile of scores (m,) that a new one exceeds with probability 1 - p at most.

    As split conformal prediction takes rank ceil((n + 1) p) of n scores, so this takes their
    quantile
    at (n + 1) p / n for p above one half, and its mirror image below; n is how many of them are
    `independent`, so that overlapping windows do not make it sure of itself. 0 without scores.
    """
    if not len(scores):
        return 0.0
    n = max(1.0, min(independent, len(scores)))
    upper = min(1.0, (n + 1) * max(p, 1 - p) / n)
    return float(np.quantile(scores, upper if p > 0.5 else 1 - upper))
