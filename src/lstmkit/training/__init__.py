"""Training: one readable loop on Lightning Fabric (`loop`), and what it keeps and shows."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lstmkit.training.device import choose_device as choose_device
    from lstmkit.training.loop import fit as fit
    from lstmkit.training.plan import History as History
    from lstmkit.training.plan import TrainingPlan as TrainingPlan
    from lstmkit.training.processes import Share as Share
    from lstmkit.training.processes import share as share

_NAMES = {"TrainingPlan": "plan", "History": "plan", "fit": "loop", "choose_device": "device"}
_NAMES |= {"Share": "processes", "share": "processes"}

__all__ = ["History", "Share", "TrainingPlan", "choose_device", "fit", "share"]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'lstmkit.training' has no attribute {name!r}")
    return getattr(importlib.import_module(f"lstmkit.training.{_NAMES[name]}"), name)
