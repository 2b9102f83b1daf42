"""The picture of a forecast: history, median, and the bands of 80 and 95 %."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.style import COLOURS, INK, QUIET, canvas, caption, date_axis, headline, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 9
BANDS = {0.95: 0.16, 0.80: 0.30}  # nominal coverage: opacity


@dataclass(frozen=True)
class Panel:
    """One series: what was seen, and what is expected.

    `history` (N,) with NaN where missing, at `time` (N,); `quantiles` maps a probability to (K,)
    values at `future` (K,). `truth` (K,) and `baseline` (K,) are drawn where given.
    """

    name: str
    time: np.ndarray
    history: np.ndarray
    future: np.ndarray
    quantiles: Mapping[float, np.ndarray]
    truth: np.ndarray | None = None
    baseline: np.ndarray | None = None
    baseline_name: str = "seasonal naive"


@styled
def plot_forecast(
    panels: Sequence[Panel], *, title: str = "", label: str = "", note: str = ""
) -> Figure:
    """A grid of at most nine series; `label` names the values and their unit.

    `note` is the caption (model, sample); where series are left out it says so.
    """
    shown = panels[:MOST_PANELS]
    columns = min(len(shown), 3) if len(shown) != 4 else 2
    rows = -(-len(shown) // columns)
    figure = canvas(9.0 if columns > 1 else 8.5, 0.7 + (2.2 if columns > 1 else 3.6) * rows)
    axes = figure.subplots(rows, columns, squeeze=False)
    for panel, place in zip(shown, axes.flat, strict=False):
        _draw(place, panel, single=len(shown) == 1)
    for place in axes.flat[len(shown) :]:
        place.set_visible(False)
    axes[0, 0].set_ylabel(label)
    _legend(figure, axes[0, 0])
    headline(figure, f"{title}\n")  # the second line is the legend's
    left_out = len(panels) - len(shown)
    caption(
        figure, f"{note} {f'{left_out} more series are not drawn.' if left_out else ''}".strip()
    )
    return figure


def _draw(axes: Axes, panel: Panel, single: bool) -> None:
    """History, bands, median, and truth and baseline where known."""
    axes.plot(panel.time, panel.history, color=QUIET, label="seen", linewidth=1.1)
    for coverage, opacity in BANDS.items():
        _band(axes, panel, coverage, opacity)
    if panel.baseline is not None:
        axes.plot(
            panel.future,
            panel.baseline,
            color=COLOURS["baseline"],
            linestyle=(0, (4, 2)),
            linewidth=1.1,
            label=panel.baseline_name,
        )
    if panel.truth is not None:
        axes.plot(panel.future, panel.truth, color=INK, label="what came", linewidth=1.1)
    axes.plot(panel.future, panel.quantiles[0.5], color=COLOURS["forecast"], label="median", lw=1.6)
    axes.set_title("" if single else panel.name)
    axes.grid(axis="y")
    date_axis(axes, panel.time)


def _band(axes: Axes, panel: Panel, coverage: float, opacity: float) -> None:
    """The central interval of `coverage`, where the model has both its quantiles."""
    low, high = (_nearest(panel.quantiles, p) for p in ((1 - coverage) / 2, (1 + coverage) / 2))
    if low is None or high is None:
        return
    axes.fill_between(
        panel.future,
        low,
        high,
        color=COLOURS["forecast"],
        alpha=opacity,
        linewidth=0,
        label=f"{coverage:.0%} interval",
    )


def _nearest(quantiles: Mapping[float, np.ndarray], p: float) -> np.ndarray | None:
    """The quantile of probability `p`, spared from floating-point spelling; None if absent."""
    return next((values for q, values in quantiles.items() if abs(q - p) < 1e-9), None)


def _legend(figure: Figure, axes: Any) -> None:
    """One legend for all panels, on the line under the headline."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="upper left",
        bbox_to_anchor=(0.0, 1 - 0.24 / figure.get_figheight()),
        ncols=len(labels),
        columnspacing=1.4,
    )
