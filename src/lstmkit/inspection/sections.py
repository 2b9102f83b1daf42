"""The parts of a report under the traces: horizon, interventions, health, attribution."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from lstmkit.inspection import health
from lstmkit.inspection.view import Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lstmkit.inspection.examine import Change, Inspection

SHOWN = 12  # units in a table's cell


def sections(found: Inspection) -> list[Section]:
    """All parts that there is something to say in."""
    made = [_horizon(found)]
    if found.change is not None:
        made.append(_change(found, found.change))
    made.append(_health(found))
    if found.attribution is not None:
        made.append(_attribution(found))
    if found.probe.notes:
        made.append(Section("Notes", tuple(found.probe.notes), key="notes"))
    return made


def svg(figure: Figure) -> str:
    """A figure as SVG text, the same bytes each time."""
    from lstmkit.style import styled

    buffer = io.StringIO()
    styled(figure.savefig)(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _horizon(found: Inspection) -> Section:
    from lstmkit.inspection.plots import plot_horizon

    horizon = found.horizon
    text = [
        horizon.sentence,
        "Sensitivity is the gradient of the answer by the LSTM's input, and by its cells, so many "
        "steps back. A unit's time constant is -1 / ln f: the steps in which it forgets all but "
        "1/e of what it holds.",
    ]
    figure = plot_horizon(horizon, note=f"{found.probe.title}; {len(found.probe.samples)} samples.")
    rows = [("layer", "median time constant", "10 % of units above", "never forget")]
    for layer, values in horizon.time_constants.items():
        middle, high = np.quantile(values, [0.5, 0.9])
        never = int((values > 10 * max(1, horizon.available)).sum())
        rows.append((layer, f"{middle:.1f} steps", f"{high:.1f} steps", str(never)))
    return Section("Memory horizon", text, svg(figure), rows, "horizon")


def _change(found: Inspection, change: Change) -> Section:
    text = ["Made at once: " + "; ".join(str(one) for one in change.interventions) + "."]
    text.append("The gates above are those with the interventions made.")
    if change.scores is not None and found.horizon.cut is not None:
        before, after = change.scores
        text.append(f"{found.horizon.cut.metric} goes from {before:.4g} to {after:.4g}.")
    rows = [("sample", "mean answer", "with the interventions", "change")]
    for name, (before, after) in zip(found.probe.samples, change.means(), strict=True):
        rows.append((name, f"{before:.6g}", f"{after:.6g}", f"{after - before:+.4g}"))
    return Section("Interventions", text, table=rows, key="interventions")


def _health(found: Inspection) -> Section:
    rows = [("layer", "finding", "units", "advice")]
    for f in found.findings:
        which = ", ".join(map(str, f.units[:SHOWN])) + " ..." * (len(f.units) > SHOWN)
        count = f"{len(f.units)} of {f.of}: {which}" if f.units else ""
        rows.append((f.layer, f.kind, count, f.advice))
    table = rows if found.findings else ()
    return Section("Health", [health.summary(found.findings) + "."], table=table, key="health")


def _attribution(found: Inspection) -> Section:
    assert found.attribution is not None and found.gap is not None
    total = np.abs(found.attribution).sum((0, 2))
    share = total / (total.sum() or 1.0)
    ranked = sorted(zip(found.features, share, strict=True), key=lambda pair: -pair[1])
    said = ", ".join(f"{name} {s:.0%}" for name, s in ranked)
    text = [
        f"What moved {found.answer}, by {found.method.replace('-', ' ')}: {said} of all "
        "contributions, sizes added up.",
    ]
    if found.method == "integrated-gradients":
        whole = np.abs(found.attribution.sum((1, 2))) + 1e-12
        text.append(
            "The contributions of a sample add up to its answer less that of the baseline; "
            f"unexplained: {np.median(np.abs(found.gap) / whole):.1%} of that difference."
        )
    return Section("Attribution", text, key="attribution")
