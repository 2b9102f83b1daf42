"""Thresholds on scores, chosen without labels: one interface, for whole files and for streams.

`evt` extreme values (Siffer et al. 2017), `dynamic` (Hundman et al. 2018), `conformal` (Vovk et al.
2005), `budget` (so many alerts a day).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lstmkit.errors import UserError

if TYPE_CHECKING:
    from lstmkit.calibration.thresholds.base import Threshold

_KINDS = {
    "evt": "extreme:ExtremeValue",
    "dynamic": "dynamic:Dynamic",
    "conformal": "conformal:Conformal",
    "budget": "budget:Budget",
}
NAMES = tuple(_KINDS)


def make(name: str, **options: Any) -> Threshold:
    """A threshold that is not fitted yet.

    Raises:
        UserError: no such kind, or an impossible option.
    """
    if name not in _KINDS:
        raise UserError(f"there is no threshold {name!r}", expected=f"one of {', '.join(NAMES)}")
    module, _, kind = _KINDS[name].partition(":")
    made: Threshold = getattr(importlib.import_module(f"{__name__}.{module}"), kind)(**options)
    return made
