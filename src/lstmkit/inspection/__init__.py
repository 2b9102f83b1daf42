"""Look inside a trained model: what its gates did, how far back it looks, what moved its answer.

Works on any module with lstmkit layers inside, by hooks, without a change to its forward:

- `observe(module, *inputs)`: gates, candidate, cell and hidden state of every layer, as numpy.
- `gradient_by_lag`, `cut_by_lag`, `time_constants`: the memory horizon.
- `attribute`: integrated gradients and occlusion.
- `check`: saturated, dead, never-forgetting and duplicate units; lost and exploding gradients.
- `intervene` with `clamp`, `ablate`, `edit_cell`: change a gate or the cell, see what follows.
- `inspect(estimator.probe(data))`: all of it, with a report; `Watch`: the gates while training.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lstmkit.inspection.attribution import attribute as attribute
    from lstmkit.inspection.cut import cut_by_lag as cut_by_lag
    from lstmkit.inspection.examine import inspect as inspect
    from lstmkit.inspection.health import check as check
    from lstmkit.inspection.horizon import gradient_by_lag as gradient_by_lag
    from lstmkit.inspection.horizon import time_constants as time_constants
    from lstmkit.inspection.intervention import ablate as ablate
    from lstmkit.inspection.intervention import clamp as clamp
    from lstmkit.inspection.intervention import edit_cell as edit_cell
    from lstmkit.inspection.intervention import intervene as intervene
    from lstmkit.inspection.plots import plot_horizon as plot_horizon
    from lstmkit.inspection.plots import plot_horizons as plot_horizons
    from lstmkit.inspection.record import observe as observe
    from lstmkit.inspection.record import recording as recording
    from lstmkit.inspection.watch import Watch as Watch

_NAMES = {
    "attribute": "attribution",
    "inspect": "examine",
    "check": "health",
    "cut_by_lag": "cut",
    "gradient_by_lag": "horizon",
    "time_constants": "horizon",
    "ablate": "intervention",
    "clamp": "intervention",
    "edit_cell": "intervention",
    "intervene": "intervention",
    "plot_horizon": "plots",
    "plot_horizons": "plots",
    "observe": "record",
    "recording": "record",
    "Watch": "watch",
}

__all__ = [
    "Watch",
    "ablate",
    "attribute",
    "check",
    "clamp",
    "cut_by_lag",
    "edit_cell",
    "gradient_by_lag",
    "inspect",
    "intervene",
    "observe",
    "plot_horizon",
    "plot_horizons",
    "recording",
    "time_constants",
]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'lstmkit.inspection' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"lstmkit.inspection.{_NAMES[name]}"), name)
    globals()[name] = value
    return value
