"""One contract, several backends, one operator: `contract`, `registry`, `operators`."""

from __future__ import annotations

import importlib
from typing import Any

_NAMES = {"explain": "registry", "select": "registry", "backends": "registry"}


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'lstmkit.kernels' has no attribute {name!r}")
    return getattr(importlib.import_module(f"lstmkit.kernels.{_NAMES[name]}"), name)
