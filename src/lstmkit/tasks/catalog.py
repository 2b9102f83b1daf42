"""Which class does which task, known without importing any of them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from lstmkit.errors import UserError

if TYPE_CHECKING:
    from lstmkit.tasks.estimator import Estimator

TASKS = {
    "forecast": "lstmkit.tasks.forecast.estimator:Forecaster",
    "anomaly": "lstmkit.tasks.anomaly.estimator:AnomalyDetector",
    "intrusion": "lstmkit.tasks.intrusion.estimator:IntrusionDetector",
    "language": "lstmkit.tasks.language.estimator:LanguageModel",
}


def names() -> tuple[str, ...]:
    """All tasks."""
    return tuple(TASKS)


def resolve(task: str) -> type[Estimator]:
    """The estimator class of a task; imports no torch.

    Raises:
        UserError: no such task, as when a newer lstmkit wrote the model.
    """
    if task not in TASKS:
        raise UserError(
            f"there is no task {task!r}",
            expected=f"one of {', '.join(TASKS)}",
            hint="a model of an unknown task was saved by a newer lstmkit: upgrade lstmkit",
        )
    module, _, name = TASKS[task].partition(":")
    estimator: type[Estimator] = getattr(importlib.import_module(module), name)
    return estimator
