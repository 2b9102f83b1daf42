"""lstmkit puts the Long Short-Term Memory network to work: layers, tasks, a runtime.

Names load what they need when they are first used: `import lstmkit` alone imports no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lstmkit.layers import LSTM as LSTM
    from lstmkit.layers import Chrono as Chrono
    from lstmkit.layers import LSTMCell as LSTMCell
    from lstmkit.layers import convert as convert
    from lstmkit.tasks.anomaly.estimator import AnomalyDetector as AnomalyDetector
    from lstmkit.tasks.estimator import load as load
    from lstmkit.tasks.forecast.estimator import Forecaster as Forecaster

__version__ = "0.1.0"

_NAMES = {
    "LSTM": "lstmkit.layers",
    "LSTMCell": "lstmkit.layers",
    "Chrono": "lstmkit.layers",
    "convert": "lstmkit.layers",
    "AnomalyDetector": "lstmkit.tasks.anomaly.estimator",
    "Forecaster": "lstmkit.tasks.forecast.estimator",
    "IntrusionDetector": "lstmkit.tasks.intrusion.estimator",
    "LanguageModel": "lstmkit.tasks.language.estimator",
    "load": "lstmkit.tasks.estimator",
}
_MODULES = {"kernels", "layers", "equations", "program", "modelfile", "notation", "engine"}
_MODULES |= {"runtime", "inspection"}

__all__ = [
    "LSTM",
    "AnomalyDetector",
    "Chrono",
    "Forecaster",
    "IntrusionDetector",
    "LSTMCell",
    "convert",
    "load",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"lstmkit.{name}")
    if name not in _NAMES:
        raise AttributeError(f"module 'lstmkit' has no attribute {name!r}")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES, *_MODULES})
