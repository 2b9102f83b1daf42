"""What a report shows, as plain numpy: the recording, and what stands above it on the same axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from lstmkit.inspection.record import Recording

Kind = Literal["input", "prediction", "truth", "band", "changed"]


@dataclass(frozen=True)
class Curve:
    """One line, or one band, over the steps of every sample.

    Attributes:
        name: what it is, with its unit.
        kind: how it is drawn; "changed" is a prediction after an intervention.
        x: (M,) or (N, M) places on the axis of steps, 0 the first step; rows that share a step
            stand between k - 0.5 and k + 0.5.
        y: (N, M), NaN where there is nothing.
        upper: (N, M), the other edge of a band.
    """

    name: str
    kind: Kind
    x: np.ndarray
    y: np.ndarray
    upper: np.ndarray | None = None


@dataclass(frozen=True)
class Section:
    """A part of the report under the traces: a heading, sentences, a table, a drawing.

    Attributes:
        title: the heading.
        text: paragraphs, plain text.
        svg: a drawing as SVG, drawn in the house style.
        table: rows of cells, plain text; the first row is the head.
        key: where a page may refer to it, such as "horizon".
    """

    title: str
    text: Sequence[str] = ()
    svg: str = ""
    table: Sequence[Sequence[str]] = ()
    key: str = ""


@dataclass(frozen=True)
class View:
    """Everything that a report shows.

    Attributes:
        title: the model and its data, in a few words.
        facts: (name, value) pairs under the title.
        recording: N samples, T steps.
        samples: (N,) names.
        labels: (N, T) a label of each step: a date, a number, a token.
        curves: what was read and what was answered.
        quantity: what the curves are, with its unit.
        anchor: (N,) the last step that read an input; the answer is about what follows it.
        attribution: (N, F, T) what each feature of each step added to the answer, or None.
        features: (F,) their names.
        answer: what was attributed, in words.
        sections: the parts below.
    """

    title: str
    recording: Recording
    samples: tuple[str, ...]
    labels: np.ndarray
    facts: Sequence[tuple[str, str]] = ()
    curves: Sequence[Curve] = ()
    quantity: str = ""
    anchor: np.ndarray | None = None
    attribution: np.ndarray | None = None
    features: tuple[str, ...] = ()
    answer: str = ""
    sections: Sequence[Section] = field(default_factory=list)
