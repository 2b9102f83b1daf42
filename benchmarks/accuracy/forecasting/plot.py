"""Accuracy against minutes: MASE of every contestant over the time to fit and to forecast."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from forecasting.contest import is_ours, minutes
from lstmkit.style import COLOURS, INK, PAPER, QUIET, canvas, caption, headline, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Point = tuple[float, float, float, str]  # minutes, MASE, gigabytes, name

TITLES = {"m4_hourly": "M4 Hourly", "exchange": "Exchange rates", "pjm": "PJM hourly load"}
APART = 0.06  # of the height of the axes: the least distance of two labels
NEAR = 1.0  # decades: labels that are closer than this may touch


@styled
def plot(results: dict[str, Any]) -> Figure:
    """The figure of a results file; contestants without scores are named in the caption.

    Raises:
        SystemExit: no contestant has both scores and times.
    """
    points = measured(results)
    if not points:
        raise SystemExit("error: no model of the file has both scores and times")
    figure = canvas(8.8, 4.2)
    axes = figure.subplots()
    axes.set_xscale("log")
    _levels(axes, results)
    _points(axes, points)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("minutes to fit and to forecast")
    axes.set_ylabel("MASE, lower is better")
    axes.grid(axis="y")
    headline(figure, f"{TITLES[results['dataset']]}: accuracy against time")
    caption(figure, _note(results))
    return figure


def measured(results: dict[str, Any]) -> list[Point]:
    """Every contestant with scores and times."""
    return [
        (max(minutes(entry) or 0.0, 1e-3), entry["scores"]["mase"], entry["peak_gigabytes"], name)
        for name, entry in results["models"].items()
        if "scores" in entry and "fit_seconds" in entry
    ]


def levels(results: dict[str, Any]) -> dict[str, float]:
    """MASE of what has no time: naive forecasts of this run, and published figures but theirs."""
    models, published = results["models"], results["published"]
    naive = {
        name.replace("_", " "): entry["scores"]["mase"]
        for name, entry in models.items()
        if "scores" in entry and "fit_seconds" not in entry
    }
    return naive | {f"{k} (published)": v["mase"] for k, v in published.items() if k not in naive}


def _levels(axes: Axes, results: dict[str, Any]) -> None:
    found = levels(results)
    for name, value in found.items():
        axes.axhline(value, color=COLOURS["baseline"], linewidth=0.8, linestyle=(0, (4, 3)))
        axes.annotate(
            name, (1.0, value), xycoords=("axes fraction", "data"), xytext=(4, 0),
            textcoords="offset points", va="center", fontsize=7.5, color=QUIET,
        )  # fmt: skip


def _points(axes: Axes, points: list[Point]) -> None:
    """The contestants, each with its label on the side where no other point lies."""
    for x, y, _, name in points:
        axes.plot(x, y, "o", color=_colour(name), markersize=6 if is_ours(name) else 4.5, zorder=3)
    axes.margins(y=0.12)
    axes.set_xlim(min(p[0] for p in points) / 12, max(p[0] for p in points) * 12)
    axes.autoscale_view(scalex=False)
    low, high = axes.get_ylim()
    apart = APART * (high - low)
    for point, height in zip(points, spaced(points, apart), strict=True):
        _label(axes, point, height, left=crowded(point, points, apart))


def _label(axes: Axes, point: Point, height: float, left: bool) -> None:
    x, y, gigabytes, name = point
    text = f"{name}  {y:.3f}, {gigabytes:.1f} GB"
    axes.annotate(
        text, (x, y), xytext=(x / 1.2 if left else x * 1.2, height),
        ha="right" if left else "left", va="center", fontsize=8, color=_colour(name),
        fontweight="bold" if is_ours(name) else "normal",
        bbox={"boxstyle": "square,pad=0.1", "facecolor": PAPER, "edgecolor": "none"},
    )  # fmt: skip


def _colour(name: str) -> str:
    return COLOURS["forecast"] if is_ours(name) else INK


def crowded(point: Point, points: list[Point], apart: float) -> bool:
    """Whether another point lies right of `point`, where its label would stand."""
    near = [p for p in points if 0 < math.log10(p[0] / point[0]) < NEAR]
    return any(abs(p[1] - point[1]) < apart for p in near)


def spaced(points: list[Point], apart: float) -> list[float]:
    """A height for each label: its point's, or just above a label that it would touch."""
    heights: dict[int, float] = {}
    for k in sorted(range(len(points)), key=lambda k: points[k][1]):
        x, height = points[k][:2]
        for other, taken in sorted(heights.items(), key=lambda item: item[1]):
            close = abs(math.log10(x / points[other][0])) < NEAR
            if close and abs(height - taken) < apart:
                height = taken + apart
        heights[k] = height
    return [heights[k] for k in range(len(points))]


def _note(results: dict[str, Any]) -> str:
    """Sample, machine, and who is missing."""
    models = results["models"]
    missing = [
        f"{name} {'stopped ' + entry['stopped'] if 'stopped' in entry else 'failed'}"
        for name, entry in models.items()
        if "scores" not in entry
    ]
    machine = results["machine"]
    sample = (
        f"{results['series']} series, {results['series'] * results['origins']} forecasts, "
        f"{results['horizon']} rows ahead; {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['date'][:10]}; GB: largest resident set"
    )
    return "\n".join([sample, *missing])
