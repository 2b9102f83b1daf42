"""Starting from the weights of an earlier model (`--from`) without learning from held-out rows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.errors import UserError

if TYPE_CHECKING:
    from lstmkit.tasks.forecast.data import Corpus
    from lstmkit.tasks.forecast.estimator import Forecaster
    from lstmkit.tasks.forecast.fitting import Split
    from lstmkit.tasks.forecast.scoring import Model

COMPARED = ("mase", "smape", "wql")


def load(path: str | os.PathLike[str]) -> Forecaster:
    """The forecaster saved at `path`.

    Raises:
        UserError: the file holds something else.
    """
    from lstmkit.tasks import estimator
    from lstmkit.tasks.forecast.estimator import Forecaster

    model = estimator.load(path)
    if not isinstance(model, Forecaster):
        raise UserError(f"{path} is no forecaster", got=model.TASK, expected=Forecaster.TASK)
    return model


def check(earlier: Forecaster, asked: Forecaster, freq: str, quantiles: tuple[float, ...]) -> None:
    """Raise UserError where `asked` or its data do not fit the weights of `earlier`."""
    there = earlier.shape_
    pairs = {
        "horizon": (asked.horizon, there.horizon),
        "freq": (freq, there.freq),
        "season": (asked.season, there.season),
        "lookback": (asked.lookback, there.lookback),
        "quantiles": (quantiles, earlier.quantiles_),
        "kind": (asked.kind, there.kind),
        "members": (asked.members, earlier.members),
        "point": (asked.point, earlier.point),
        "width": (asked.width, earlier.facts_["width"]),
    }
    for name, (here, expected) in pairs.items():
        if here is not None and here != expected:
            raise UserError(
                f"the model to start from has another {name}",
                got=f"{name} {here}",
                expected=f"{name} {expected}, as in the model",
                hint=f"--{name} as in the model, or train without --from",
            )


def innocent(
    earlier: Forecaster, corpus: Corpus, parts: Split, ids: Sequence[tuple[Any, ...]]
) -> Model:
    """The weights of `earlier` that saw the most, but none of the rows to be held out.

    Raises:
        UserError: both sets of weights have seen such rows.
    """
    cut = corpus.times[corpus.start + parts.cut - 1].astype(np.int64)
    known = [(k, earlier.seen_.locate(name)) for k, name in enumerate(ids)]
    for until, model in (
        (earlier.seen_.end, earlier.model_),
        (earlier.seen_.cut, earlier.heldout_),
    ):
        if all(number is None or until[number] <= cut[k] for k, number in known):
            return model
    raise UserError(
        "the model to start from has already learnt from the rows to be held out",
        expected="newer rows, or as many held-out rows as the model had",
        hint=f"--test-windows {earlier.test_windows}",
    )


def compared(old: dict[str, float], new: dict[str, float]) -> str:
    """One line: the scores before and after, on the same held-out rows."""
    said = ", ".join(f"{name} {old[name]:.4g} -> {new[name]:.4g}" for name in COMPARED)
    return f"started from a model; before -> after, on the same held-out rows: {said}"
