"""The figures of an inspection as files: gates of each layer, horizon, attribution."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.inspection.plots import plot_attribution

if TYPE_CHECKING:
    from lstmkit.inspection.examine import Inspection

KINDS = (".png", ".svg")
DATE = re.compile(r"\d{4}-\d\d-\d\d")


def write(found: Inspection, folder: str | Path, sample: int = 0) -> list[Path]:
    """`gates-LAYER`, `horizon` and `attribution`, of one sample, as PNG and SVG."""
    from lstmkit.style import save

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return [
        save(figure, folder / f"{name}{kind}")
        for name, figure in figures(found, sample).items()
        for kind in KINDS
    ]


def figures(found: Inspection, sample: int = 0) -> dict[str, Any]:
    """matplotlib figures by name."""
    probe = found.probe
    note = (
        f"{probe.title}, {probe.samples[sample]}{f'; a step is {probe.step}' * bool(probe.step)}."
    )
    made: dict[str, Any] = {}
    for layer in found.recording.layers:
        made[f"gates-{layer.name}"] = found.recording.plot(
            layer.name,
            sample,
            time=_times(probe.labels[sample]),
            series=_by_step(found, sample),
            series_label=f"{probe.quantity}, mean of each step",
            ahead=len(layer.cell) - int(probe.anchor[sample]) - 1,
            title=f"Gates of {layer.name}",
            note=note,
        )
    made["horizon"] = found.horizon.plot(title="Memory horizon", note=note)
    if found.attribution is not None:
        made["attribution"] = plot_attribution(
            found.attribution[sample],
            found.features,
            labels=list(np.asarray(probe.labels)[sample]),
            title=f"What moved {found.answer}",
            note=f"{note} {found.method.replace('-', ' ')}, in units of {probe.quantity}.",
        )
    return made


def _times(labels: np.ndarray) -> np.ndarray | None:
    """Labels that are dates as such; None otherwise: steps are numbered."""
    if not all(DATE.match(str(label)) for label in labels):
        return None
    found: np.ndarray = labels.astype("datetime64[s]")
    return found


def _by_step(found: Inspection, sample: int) -> np.ndarray:
    """(T,) the mean of the rows that a step reads, or answers; NaN where there are none."""
    T = found.probe.labels.shape[1]
    total, count = np.zeros(T), np.zeros(T)
    for curve in found.curves:
        if curve.kind in ("input", "prediction"):
            x = curve.x if curve.x.ndim == 1 else curve.x[sample]
            y, step = curve.y[sample], np.floor(x + 0.5).astype(int)
            there = ~np.isnan(y) & (step >= 0) & (step < T)
            np.add.at(total, step[there], y[there])
            np.add.at(count, step[there], 1)
    return np.divide(total, count, out=np.full(T, np.nan), where=count > 0)
