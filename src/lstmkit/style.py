"""The look of every figure of the house, and the figure of the gates.

One colour a gate, gate axes from 0 to 1, a caption with model, sample and units. Figures are made
without pyplot: nothing is global, no display is needed. matplotlib is imported inside functions.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

from lstmkit.errors import UserError, require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")
R = TypeVar("R")

INK, QUIET, PAPER, RULE = "#1f2430", "#6b7280", "#ffffff", "#e5e7eb"
COLOURS = {  # Okabe & Ito 2008, told apart by colour-blind readers too
    "input": "#0072b2",
    "forget": "#d55e00",
    "output": "#009e73",
    "candidate": "#8e5ea2",
    "cell": "#8e5ea2",
    "forecast": "#0072b2",
    "baseline": "#9aa0a6",
    "truth": INK,
}
SIGNED = ("#2b5c8a", "#ffffff", "#a63d40")  # below zero, zero, above zero
STYLE: dict[str, Any] = {
    "font.size": 9.0,
    "font.family": "sans-serif",
    "text.color": INK,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9.0,
    "axes.titlelocation": "left",
    "axes.titlepad": 4.0,
    "axes.formatter.useoffset": False,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.3,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "svg.hashsalt": "lstmkit",
}


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Decorator: `draw` runs under the house style, or raises MissingExtra without matplotlib."""

    @functools.wraps(draw)
    def under_style(*args: P.args, **options: P.kwargs) -> R:
        with require("matplotlib", "train").rc_context(STYLE):
            return draw(*args, **options)

    return under_style


def canvas(width: float, height: float) -> Figure:
    """An empty figure of `width` by `height` inches that needs no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def caption(figure: Figure, text: str) -> None:
    """Model, sample and units under the figure, small and quiet."""
    figure.supxlabel(text, x=0.012, ha="left", fontsize=7.5, color=QUIET)


def headline(figure: Figure, text: str) -> None:
    """What the figure shows, above it."""
    if text:
        figure.suptitle(text, x=0.012, ha="left", fontsize=11, fontweight="bold", color=INK)


def date_axis(axes: Axes, time: np.ndarray) -> None:
    """Few, short date labels where `time` holds dates."""
    if not np.issubdtype(time.dtype, np.datetime64):
        return
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=3, maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


@styled
def save(figure: Figure, path: str | Path, dpi: int = 150) -> Path:
    """Write `figure` to `path`, whole or not at all; the suffix says the format.

    Raises:
        UserError: the suffix is not one that matplotlib writes.
    """
    from lstmkit.modelfile import atomic_write

    path = Path(path)
    kind = path.suffix.lstrip(".").lower()
    known = figure.canvas.get_supported_filetypes()
    if kind not in known:
        raise UserError(f"cannot draw a file named {path}", expected=f"one of {' '.join(known)}")
    with atomic_write(path) as file:
        figure.savefig(file, format=kind, dpi=dpi, metadata=_undated(kind))
    return path


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table for notebooks, as text."""
    lines = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"


def _undated(kind: str) -> dict[str, Any] | None:
    """Metadata that makes the same figure the same bytes."""
    return {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)


@styled
def plot_gates(
    fields: Mapping[str, Any],
    *,
    time: Any = None,
    series: Any = None,
    series_label: str = "",
    ahead: int = 0,
    title: str = "",
    note: str = "",
) -> Figure:
    """The gates of one layer over one sequence: means, and every unit as a row of a heat map.

    Args:
        fields: input_gate, forget_gate, candidate, output_gate and cell, each (T, H), gates after
            their nonlinearity.
        time: (T,) positions of the steps, numbers or datetime64; steps from 0 if left out.
        series: (T,) what the layer read, drawn on top of the gates if given.
        series_label: its name and unit.
        ahead: how many of the last steps lie in the future, set off by a line.
        title: the headline.
        note: the caption: model, sample, units.
    """
    gates = {name: np.asarray(fields[f"{name}_gate"], float) for name in GATE_PANELS}
    inner = {name: np.asarray(fields[name], float) for name in ("candidate", "cell")}
    steps = np.arange(len(inner["cell"])) if time is None else np.asarray(time)
    order = np.argsort(gates["forget"].mean(axis=0), kind="stable")
    heights = [1.25] * (series is not None) + [1.25, 0.8, 0.8, 0.8, 0.8, 0.8]
    figure = canvas(9.0, 1.35 * sum(heights))
    axes = list(figure.subplots(len(heights), 1, sharex=True, height_ratios=heights))
    if series is not None:
        _draw_series(axes.pop(0), steps, series, series_label)
    _draw_means(axes.pop(0), steps, gates)
    for name, values in gates.items():
        _heat(figure, axes.pop(0), steps, values[:, order], name)
    for name, values in inner.items():
        _heat(figure, axes.pop(0), steps, values[:, order], name, signed=True)
    _set_off(figure, steps, ahead)
    date_axis(figure.axes[0], steps)
    headline(figure, title)
    hidden = gates["forget"].shape[1]
    rows = f"{hidden} units, one a row, sorted by their mean forget gate."
    caption(figure, f"{note} {rows}".strip())
    return figure


GATE_PANELS = ("input", "forget", "output")


def _set_off(figure: Figure, steps: np.ndarray, ahead: int) -> None:
    """A dashed line through all panels, half a step before the last `ahead` steps."""
    if not 0 < ahead < len(steps):
        return
    first = len(steps) - ahead
    between = steps[first - 1] + (steps[first] - steps[first - 1]) / 2
    panels = [axes for axes in figure.axes if axes.get_subplotspec() is not None]
    for axes in panels:
        axes.axvline(between, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
    panels[0].annotate(
        "the forecast begins",
        (between, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(0, 4),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=8,
        color=QUIET,
    )


def _draw_series(axes: Axes, steps: np.ndarray, series: Any, label: str) -> None:
    axes.plot(steps, np.asarray(series, float), color=INK, linewidth=1.1)
    axes.set_title(label)
    axes.grid(axis="y")


def _draw_means(axes: Axes, steps: np.ndarray, gates: Mapping[str, np.ndarray]) -> None:
    """Each gate's mean over the units, and the band that holds the middle 80 % of them."""
    for name, values in gates.items():
        low, high = np.quantile(values, [0.1, 0.9], axis=1)
        axes.fill_between(steps, low, high, color=COLOURS[name], alpha=0.10, linewidth=0)
        axes.plot(steps, values.mean(axis=1), color=COLOURS[name], label=f"{name} gate")
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1], ["0 shut", "0.5", "1 open"])
    axes.grid(axis="y")
    axes.set_title("gates: mean over the units; band: the middle 80 % of them")
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.98), ncols=3, borderaxespad=0.1)


def _heat(
    figure: Figure,
    axes: Axes,
    steps: np.ndarray,
    values: np.ndarray,
    name: str,
    signed: bool = False,
) -> None:
    """(T, H) as H rows: from paper to the gate's colour over 0..1, or signed around 0."""
    from matplotlib.colors import LinearSegmentedColormap

    colours = SIGNED if signed else (PAPER, COLOURS[name])
    reach = 1.0 if name != "cell" else _reach(values)
    image = axes.pcolormesh(
        steps,
        np.arange(values.shape[1]),
        values.T,
        cmap=LinearSegmentedColormap.from_list(name, colours),
        vmin=-reach if signed else 0.0,
        vmax=reach,
        shading="nearest",
        rasterized=True,
    )
    axes.set_yticks([])
    axes.set_title(
        {"candidate": "candidate, -1 to 1", "cell": "cell state"}.get(name, f"{name} gate")
    )
    axes.title.set_color(INK if signed else COLOURS[name])
    extend = "both" if name == "cell" else "neither"
    bar = figure.colorbar(image, ax=axes, pad=0.01, aspect=9, fraction=0.04, extend=extend)
    bar.set_ticks([-reach, 0, reach] if signed else [0, 1])
    bar.outline.set_visible(False)


def _reach(values: np.ndarray) -> float:
    """A whole number that 99 % of the values stay within; 1 where all are 0."""
    return float(np.ceil(np.quantile(np.abs(values), 0.99))) or 1.0
