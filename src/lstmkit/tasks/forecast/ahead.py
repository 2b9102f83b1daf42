"""Sample paths, and horizons other than the one that was learnt.

A shorter horizon is the beginning of the forecast. A longer one is reached by paths: each goes on
as if its own first part had come, so that the uncertainty of every block carries over to the next,
and the quantiles are those of the paths.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lstmkit.calibration import paths
from lstmkit.errors import UserError
from lstmkit.readers import calendar
from lstmkit.tasks.forecast import scoring
from lstmkit.tasks.forecast.features import Geometry, encode, inputs

if TYPE_CHECKING:
    from lstmkit.tasks.forecast.data import Corpus
    from lstmkit.tasks.forecast.scoring import Model, Selection

ROLLED = 100  # paths, where quantiles are taken from them
AT_ONCE = 2048  # windows


def quantiles(
    model: Model, corpus: Corpus, chosen: Selection, copula: np.ndarray, horizon: int, seed: int
) -> np.ndarray:
    """Forecasts (W, horizon, Q) for any horizon, the mean after the quantiles where there is
    one."""
    if horizon <= model.shape.horizon:
        return scoring.forecast(model, corpus, chosen)[:, :horizon]
    walked = sample(model, corpus, chosen, copula, horizon, ROLLED, seed)
    channels = [np.moveaxis(np.quantile(walked, model.quantiles, axis=1), 0, -1)]
    if model.point == "mean":
        channels.append(walked.mean(1)[..., None])
    found = np.concatenate(channels, -1)
    known = scoring.forecast(model, corpus, chosen)
    found[:, : known.shape[1]] = known
    return found


def sample(
    model: Model,
    corpus: Corpus,
    chosen: Selection,
    copula: np.ndarray,
    horizon: int,
    count: int,
    seed: int,
) -> np.ndarray:
    """`count` sample paths of each window: (W, count, horizon).

    Raises:
        UserError: the model forecasts one quantile only; a recurrent one is asked beyond its
        horizon.
    """
    if len(model.quantiles) < 2:
        raise UserError(
            "sample paths need a forecast of more than one quantile", hint="--quantiles 0.1,0.5,0.9"
        )
    shape, generator = model.shape, np.random.default_rng(seed)
    if horizon > shape.horizon and shape.kind == "recurrent":
        raise UserError(
            "a recurrent model forecasts its own horizon and shorter ones",
            got=f"{horizon} steps",
            expected=f"at most {shape.horizon}",
            hint="--kind windowed, or train with a longer --horizon",
        )
    first = scoring.forecast(model, corpus, chosen)[..., : len(model.quantiles)]
    found = [_draw(model, first, copula, count, generator)]
    for begin in range(shape.horizon, horizon, shape.horizon):
        came = np.concatenate(found, -1)
        found.append(_further(model, corpus, chosen, came, begin, copula, generator))
    return np.concatenate(found, -1)[..., :horizon]


def _draw(
    model: Model, answer: np.ndarray, copula: np.ndarray, count: int, g: np.random.Generator
) -> np.ndarray:
    walked = paths.sample(answer, model.quantiles, copula, count, g)
    return np.maximum(walked, 0.0) if model.shape.nonnegative else walked


def _further(
    model: Model,
    corpus: Corpus,
    chosen: Selection,
    came: np.ndarray,
    begin: int,
    copula: np.ndarray,
    generator: np.random.Generator,
) -> np.ndarray:
    """One more horizon of each path (W, count, begin), which it takes for what came."""
    shape, (W, count, _) = model.shape, came.shape
    blocks = []
    for k in range(0, W, max(1, AT_ONCE // count)):
        rows = slice(k, k + max(1, AT_ONCE // count))
        series, origin = chosen.series[rows], chosen.origin[rows]
        past = np.repeat(corpus.rows(series, origin)[0], count, 0)
        past = np.concatenate([past, came[rows].reshape(len(past), -1)], 1)[:, -shape.lookback :]
        window = encode(past)
        given = inputs(
            shape,
            window,
            np.repeat(_last(corpus, series, origin, begin), count),
            *_covariates(corpus, shape, series, origin + begin, count),
        )
        answer = model.run(given, window)[..., : len(model.quantiles)]
        blocks.append(_draw(model, answer, copula, 1, generator).reshape(len(series), count, -1))
    return np.concatenate(blocks)


def _last(corpus: Corpus, series: np.ndarray, origin: np.ndarray, begin: int) -> np.ndarray:
    """Times (W,) of the last row that each path has walked."""
    last = corpus.times[corpus.start[series] + origin - 1]
    return calendar.step_times(last, corpus.shape.freq, np.full(len(last), begin))


def _covariates(
    corpus: Corpus, shape: Geometry, series: np.ndarray, origin: np.ndarray, count: int
) -> tuple[np.ndarray | None, np.ndarray]:
    rows = corpus.covariate_rows(series, origin, shape.lookback, shape.window_rows - shape.lookback)
    fixed = np.repeat(corpus.static[series], count, 0)
    return (None if rows is None else np.repeat(rows, count, 0)), fixed
