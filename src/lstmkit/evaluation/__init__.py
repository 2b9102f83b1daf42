"""Evaluation: `report` (scores beside baselines), `bootstrap` (how sure they are)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lstmkit.evaluation.bootstrap import interval as interval
    from lstmkit.evaluation.report import Report as Report

_NAMES = {"Report": "report", "interval": "bootstrap"}

__all__ = ["Report", "interval"]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'lstmkit.evaluation' has no attribute {name!r}")
    return getattr(importlib.import_module(f"lstmkit.evaluation.{_NAMES[name]}"), name)
