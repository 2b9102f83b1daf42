"""Intervals that go on learning from their errors, as rows arrive that the weights have not seen.

Split conformal prediction holds while the future is like the calibration windows; where series
drift, the corrections are made again from the windows that have been answered since (Gibbs & Candès
2021 name the problem). The weights stay as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lstmkit.calibration import conformal
from lstmkit.errors import UserError
from lstmkit.tasks.forecast import scoring

if TYPE_CHECKING:
    from lstmkit.tasks.forecast.data import Corpus
    from lstmkit.tasks.forecast.scoring import Model, Selection


def corrected(model: Model, corpus: Corpus, chosen: Selection) -> np.ndarray:
    """Forecasts (W, H, Q) of rolling origins, each corrected by the errors of those before it.

    Windows that end equally long before the end of their series belong together; the first of
    them are left as the model gives them.
    """
    answer, unit = scoring.forecast_and_units(model, corpus, chosen)
    truth, Q = corpus.rows(chosen.series, chosen.origin)[1], len(model.quantiles)
    back = (corpus.lengths[chosen.series] - chosen.origin) // corpus.shape.horizon
    found = answer.copy()
    for now in np.unique(back)[-2::-1]:
        known, here = back > now, back == now
        offsets = conformal.offsets(
            truth[known], answer[known][..., :Q], unit[known], model.quantiles, float(known.sum())
        )
        moved = answer[here][..., :Q] + offsets * unit[here][:, None, None]
        found[here, :, :Q] = np.sort(moved, -1)
    return found


def recalibrated(model: Model, corpus: Corpus, chosen: Selection) -> tuple[Model, np.ndarray]:
    """The model with quantiles and copula by its errors in windows newer than its training.

    Raises:
        UserError: the windows are those that were held out, which it was calibrated before.
    """
    from lstmkit.tasks.forecast import assembly

    if chosen.heldout:
        raise UserError(
            "there is nothing newer than the training to recalibrate by",
            expected="rows after those that the model was trained on",
            hint="leave out --recalibrate",
        )
    offsets, copula = assembly.calibrate(model, corpus, chosen, float(len(chosen.series)))
    return model.calibrated(offsets), copula
