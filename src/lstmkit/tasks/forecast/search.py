"""Trying settings before the training that counts, by Optuna (Akiba et al. 2019).

Each trial is one training on the rows before the validation windows, judged by its best loss on
them; the rows held out for the score are never looked at. The first trial is the preset, so that
the choice is never worse than it on these windows; a hopeless trial is stopped early.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lstmkit.errors import require
from lstmkit.tasks.forecast import features, fitting

if TYPE_CHECKING:
    from lstmkit.tasks.forecast.data import Corpus
    from lstmkit.tasks.forecast.estimator import Forecaster
    from lstmkit.tasks.forecast.fitting import Preset
    from lstmkit.tasks.forecast.learning import Course

SHARE = 0.5  # of the minutes
LOOKBACKS = (0.5, 1.0, 2.0)  # times the usual one


def best(asked: Forecaster, course: Course, corpus: Corpus) -> tuple[Course, Corpus]:
    """The course and the corpus of the best of `asked.trials` settings."""
    optuna = require("optuna", "train")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    parts = fitting.split(corpus.lengths, asked.shape_.horizon, asked.test_windows)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=asked.seed, n_startup_trials=4),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=4),
    )
    study.enqueue_trial(usual(course.preset))

    def attempt(trial: Any) -> float:
        tried = arranged(trial, course, asked)
        here = replace(tried, callbacks=[*course.callbacks, Pruning(trial, optuna)])
        _, (history, *_) = here.first(corpus.shaped(tried.shape), parts, None)
        score = history.best_score
        return float("inf") if score is None else score

    study.optimize(attempt, n_trials=asked.trials)
    found = arranged(optuna.trial.FixedTrial(study.best_params), course, asked)
    left = asked.minutes and asked.minutes * (1 - SHARE)
    asked.shape_ = found.shape
    told = ", ".join(f"{k} {_short(v)}" for k, v in study.best_params.items())
    first = study.trials[0].value
    gain = "" if not first else f" (loss {study.best_value:.4g}, the preset's {first:.4g})"
    asked.notes_.append(f"best of {len(study.trials)} trials: {told}{gain}")
    final = replace(course, shape=found.shape, preset=found.preset, minutes=left)
    return final, corpus.shaped(found.shape)


def usual(preset: Preset) -> dict[str, Any]:
    """The preset as a trial."""
    return {
        "width": preset.width,
        "dropout": preset.dropout,
        "learning_rate": preset.learning_rate,
        "lookback": 1.0,
    }


def arranged(trial: Any, course: Course, asked: Forecaster) -> Course:
    """The course of a trial: one network, no checkpoint, its share of the minutes."""
    usually = course.preset
    widths = sorted({max(16, usually.width // 2), usually.width, usually.width * 2})
    preset = replace(
        usually,
        width=trial.suggest_categorical("width", widths),
        dropout=trial.suggest_float("dropout", 0.0, 0.6),
        learning_rate=trial.suggest_float("learning_rate", 5e-4, 2e-2, log=True),
    )
    shape = course.shape
    longer = trial.suggest_categorical("lookback", LOOKBACKS)
    if asked.lookback is None and shape.kind == "windowed":
        shape = features.stretched(shape, longer)
    minutes = asked.minutes and asked.minutes * SHARE / (asked.trials or 1)
    changes: dict[str, Any] = {"members": 1, "checkpoint": None, "resume": False, "refit": False}
    return replace(course, shape=shape, preset=preset, minutes=minutes, **changes)


class Pruning:
    """A training callback that ends a trial which is worse than half of those before it."""

    def __init__(self, trial: Any, optuna: Any) -> None:
        self.trial, self.optuna = trial, optuna

    def on_epoch(
        self, epoch: int, train_loss: float, score: float, best: float, eta: float
    ) -> None:
        """Report the score; raises optuna.TrialPruned."""
        self.trial.report(score, epoch)
        if self.trial.should_prune():
            raise self.optuna.TrialPruned


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
