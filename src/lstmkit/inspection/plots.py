"""Figures of horizons and attributions, in the house style; matplotlib is imported inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.style import COLOURS, INK, QUIET, SIGNED, canvas, caption, headline, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lstmkit.inspection.cut import Cut
    from lstmkit.inspection.horizon import Horizon

SERIES = (COLOURS["forget"], COLOURS["forecast"], COLOURS["output"], COLOURS["cell"], QUIET)
LOWEST = 1e-12  # of the largest sensitivity: what float32 gradients still tell apart


@styled
def plot_horizons(
    horizons: Mapping[str, Horizon], *, title: str = "", note: str = "", cells: bool = False
) -> Figure:
    """Sensitivity by lag of several models, each as a share of its own largest, logarithmic.

    `cells` draws the cells' sensitivities too, one thin line a layer. `note` is the caption.
    """
    figure = canvas(8.5, 3.6)
    axes = figure.subplots()
    longest = 1
    for colour, (name, horizon) in zip(_colours(len(horizons)), horizons.items(), strict=True):
        longest = max(longest, len(horizon.sensitivity))
        _decay(axes, horizon.sensitivity, name, colour, 1.8)
        for layer, values in horizon.cells.items() if cells else ():
            _decay(axes, values, f"{name}, cell of {layer}", colour, 0.8)
        _reach(axes, horizon, colour)
    _lag_axes(axes, longest, horizons)
    axes.legend(loc="best")
    headline(figure, title)
    caption(figure, note)
    return figure


def _colours(count: int) -> list[str]:
    return [SERIES[k % len(SERIES)] for k in range(count)]


def _decay(axes: Axes, values: np.ndarray, name: str, colour: str, width: float) -> None:
    largest = values.max()
    share = values / largest if largest > 0 else values
    shown = np.where(share > LOWEST, share, np.nan)
    axes.plot(np.arange(len(values)), shown, color=colour, linewidth=width, label=name)


def _reach(axes: Axes, horizon: Horizon, colour: str) -> None:
    """A tick on the axis where 95 % of the sensitivity lies within."""
    axes.axvline(horizon.reach - 1, color=colour, linewidth=0.8, linestyle=(0, (4, 3)))


def _lag_axes(axes: Axes, longest: int, horizons: Mapping[str, Horizon]) -> None:
    step = next((h.step for h in horizons.values() if h.step), "")
    unit = f"steps of {step}" if step else "steps"
    axes.set_yscale("log")
    axes.set_xlim(longest - 1, -0.01 * longest)  # as time runs: old on the left
    axes.set_xlabel(f"lag before the answer, {unit}")
    axes.set_title("gradient of the answer by the input, share of the largest; dashes: 95 % of it")
    axes.grid(axis="y")


@styled
def plot_horizon(horizon: Horizon, *, title: str = "", note: str = "") -> Figure:
    """One model: sensitivity by lag, the units' time constants, and the cost of forgetting."""
    parts = [horizon.cut is not None, bool(horizon.time_constants)]
    figure = canvas(10.0, 3.2)
    axes = list(np.atleast_1d(figure.subplots(1, 1 + sum(parts), width_ratios=_widths(parts))))
    first = axes.pop(0)
    _decay(first, horizon.sensitivity, "input", INK, 1.6)
    for colour, (layer, values) in zip(_colours(9), horizon.cells.items(), strict=False):
        _decay(first, values, f"cell of {layer}", colour, 1.1)
    _reach(first, horizon, INK)
    _lag_axes(first, len(horizon.sensitivity), {"": horizon})
    first.set_title("sensitivity by lag, share of the largest; dashes: 95 %")
    first.legend(loc="best")
    if horizon.cut is not None:
        _draw_cut(axes.pop(0), horizon.cut)
    if horizon.time_constants:
        _draw_constants(axes.pop(0), horizon.time_constants)
    headline(figure, title)
    caption(figure, note)
    return figure


def _widths(parts: Sequence[bool]) -> list[float]:
    return [1.5, *([1.0] * sum(parts))]


def _draw_cut(axes: Axes, cut: Cut) -> None:
    places = np.arange(len(cut.kept))
    axes.plot(places, cut.score, color=COLOURS["forget"], marker="o", markersize=3)
    axes.axhline(cut.full, color=QUIET, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.annotate("whole memory", (0.98, cut.full), xycoords=("axes fraction", "data"), ha="right",
                  va="top", fontsize=7.5, color=QUIET)  # fmt: skip
    every = max(1, len(places) // 8)
    axes.set_xticks(places[::every], [str(k) for k in cut.kept[::every]])
    axes.set_xlabel("steps that may be remembered")
    axes.set_title(f"{cut.metric} when what is older is forgotten")
    axes.grid(axis="y")


def _draw_constants(axes: Axes, constants: Mapping[str, np.ndarray]) -> None:
    for colour, (layer, values) in zip(_colours(len(constants)), constants.items(), strict=False):
        ordered = np.sort(np.clip(values, None, 1e6))
        axes.plot(ordered, np.linspace(0, 1, len(ordered)), color=colour, label=layer)
    _plain_log_axis(axes)
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1], ["0", "half", "all"])
    axes.set_xlabel("time constant, steps")
    axes.set_title("units that forget within so many steps")
    axes.grid(axis="y")
    axes.legend(loc="lower right")


def _plain_log_axis(axes: Axes) -> None:
    """Logarithmic, labelled 1 2 5 10 20 ..."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=9))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))


@styled
def plot_attribution(
    values: np.ndarray,
    features: Sequence[str],
    *,
    labels: Sequence[str] | None = None,
    title: str = "",
    note: str = "",
) -> Figure:
    """(F, T) contributions of one sample as a heat map over steps, signed around 0."""
    from matplotlib.colors import LinearSegmentedColormap

    values = np.asarray(values, float)
    figure = canvas(9.0, 1.2 + 0.3 * len(features))
    axes = figure.subplots()
    reach = float(np.abs(values).max()) or 1.0
    image = axes.imshow(
        values,
        aspect="auto",
        cmap=LinearSegmentedColormap.from_list("signed", SIGNED),
        vmin=-reach,
        vmax=reach,
        interpolation="nearest",
    )
    axes.set_yticks(range(len(features)), features)
    if labels is not None:
        every = max(1, len(labels) // 8)
        axes.set_xticks(range(0, len(labels), every), [str(x) for x in labels[::every]])
    bar: Any = figure.colorbar(image, ax=axes, pad=0.01, fraction=0.03)
    bar.outline.set_visible(False)
    headline(figure, title)
    caption(figure, note)
    return figure
