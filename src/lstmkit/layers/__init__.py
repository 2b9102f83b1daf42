"""Layers: torch modules that hold weights and call the kernels."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lstmkit.layers.cell import LSTMCell as LSTMCell
    from lstmkit.layers.convert import convert as convert
    from lstmkit.layers.initialisation import Chrono as Chrono
    from lstmkit.layers.lstm import LSTM as LSTM
    from lstmkit.layers.trace import LayerTrace as LayerTrace
    from lstmkit.layers.trace import Trace as Trace

_NAMES = {
    "LSTM": "lstm",
    "LSTMCell": "cell",
    "convert": "convert",
    "Chrono": "initialisation",
    "Trace": "trace",
    "LayerTrace": "trace",
}


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'lstmkit.layers' has no attribute {name!r}")
    return getattr(importlib.import_module(f"lstmkit.layers.{_NAMES[name]}"), name)
