"""What a task gives to inspection: its network, a few samples, and how to read them. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lstmkit.inspection.view import Curve

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Feature:
    """One thing that the answer can be attributed to.

    Attributes:
        name: as the user knows it.
        input: the network's argument that holds it, (N, L, ...) or (N, L).
        columns: of the last axis of a three-dimensional input; None is all of it.
        baseline: what it is compared with, of the input's shape.
        steps: (L,) the LSTM step that reads each position.
    """

    name: str
    input: str
    columns: tuple[int, ...] | None
    baseline: np.ndarray
    steps: np.ndarray


@dataclass(frozen=True)
class Scoring:
    """Windows with a known truth that the network has not seen, and how they are scored.

    Attributes:
        inputs: the network's arguments, float32.
        anchor: (N,) the last step that is read.
        score: of the network's output, lower is better.
        metric: its name.
    """

    inputs: Arrays
    anchor: np.ndarray
    score: Callable[[Any], float]
    metric: str


@dataclass(frozen=True)
class Probe:
    """N samples of T steps.

    Attributes:
        network: the torch module, in evaluation mode.
        inputs: its arguments by name, float32, samples first.
        samples: (N,) names.
        labels: (N, T) a label of each LSTM step.
        anchor: (N,) the last step that reads an input; the answer is about what follows.
        studied: inputs of more samples, for sensitivity, time constants and health: a few windows
            make units look alike. Nothing is scored on them, so the network may have seen them.
        studied_anchor: their anchors.
        answers: the network's output as (N, A), differentiable, comparable between samples.
        answer_names: (A,).
        scale: (N,) an answer's unit in the user's unit.
        features: what an answer is attributed to.
        curves: input, prediction and truth from the network's output, in the user's units.
        title, facts, quantity: for people.
        step: what one LSTM step is, such as "4 weeks", or "".
        scoring: for the cost of forgetting, or None where nothing is known to be unseen.
        notes: what was chosen or left out.
    """

    network: nn.Module
    inputs: Arrays
    samples: tuple[str, ...]
    labels: np.ndarray
    anchor: np.ndarray
    studied: Arrays
    studied_anchor: np.ndarray
    answers: Callable[[Any], Tensor]
    answer_names: tuple[str, ...]
    scale: np.ndarray
    features: Sequence[Feature]
    curves: Callable[[Any], list[Curve]]
    title: str
    facts: Sequence[tuple[str, str]] = ()
    quantity: str = ""
    step: str = ""
    scoring: Scoring | None = None
    notes: Sequence[str] = ()
