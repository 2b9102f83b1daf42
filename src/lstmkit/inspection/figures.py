"""The figures of an inspection as files: gates of each layer, horizon, attribution."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.inspection.plots import plot_attribution

if TYPE_CHECKING:
    from lstmkit.inspection.examine import Inspection

KINDS = (".png", ".svg")


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
        ahead = len(layer.cell) - int(probe.anchor[sample]) - 1
        made[f"gates-{layer.name}"] = found.recording.plot(
            layer.name, sample, ahead=ahead, title=f"Gates of {layer.name}", note=note
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
