"""How well anomalies were found: measures over all thresholds, and of the alarms of one.

`measures` is what a report shows; `volume` has VUS, `events` what alarms found, `nab` the score of
the Numenta Anomaly Benchmark.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lstmkit.evaluation.detection.measuring import measures as measures

_NAMES = {"measures": "measuring"}

__all__ = ["measures"]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'lstmkit.evaluation.detection' has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
