"""The picture of alerts: the whole time on top, then each alert with what caused it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.style import COLOURS, INK, QUIET, canvas, caption, date_axis, headline, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SEVERITY = {"warning": "#e69f00", "major": "#d55e00", "critical": "#a4133c"}
LABEL = COLOURS["candidate"]  # rows that are known to be anomalous
LANE, SCORE, CHANNEL, GAP = 0.8, 0.95, 0.85, 0.12  # inches of a strip, a score, a channel
FONT = 8.0


@dataclass(frozen=True, eq=False)
class Lane:
    """The whole time of one series: `score` and `level` (B,) at `time` (B,), thinned.

    `alerts` are (start, end, severity); `labels` are (start, end).
    """

    name: str
    time: np.ndarray
    score: np.ndarray
    level: np.ndarray
    alerts: Sequence[tuple[Any, Any, str]]
    labels: Sequence[tuple[Any, Any]] = ()


@dataclass(frozen=True, eq=False)
class Curve:
    """A channel around an alert: values and what was expected (P,), and its share of the score."""

    name: str
    values: np.ndarray
    expected: np.ndarray | None
    share: float


@dataclass(frozen=True, eq=False)
class Panel:
    """One alert: score and level (P,) at `time` (P,), and the channels that caused it.

    `span` is its first and last time; `remark` stands at the right of the title.
    """

    title: str
    remark: str
    severity: str
    time: np.ndarray
    span: tuple[Any, Any]
    score: np.ndarray
    level: np.ndarray
    curves: Sequence[Curve]
    labels: Sequence[tuple[Any, Any]] = field(default_factory=tuple)


@styled
def plot_alerts(
    lanes: Sequence[Lane], panels: Sequence[Panel], *, title: str = "", note: str = ""
) -> Figure:
    """Lanes of the whole time over a grid of alerts; `note` is the caption."""
    columns = 1 if len(panels) < 2 else 2
    rows = [panels[k : k + columns] for k in range(0, len(panels), columns)]
    heights = [LANE * (1 if panels else 2)] * max(1, len(lanes))
    starts = []  # the row of the grid at which a row of alerts begins, after an empty one
    for row in rows:
        starts.append(len(heights) + 1)
        heights += [GAP, SCORE] + [CHANNEL] * max(len(panel.curves) for panel in row)
    figure = canvas(11.0, 1.1 + sum(heights))
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    drawn = _lanes(figure, grid, lanes)
    for start, row in zip(starts, rows, strict=True):
        for column, panel in enumerate(row):
            drawn += _alert(figure, grid[start:, column], start, panel)
    _legend(figure, drawn)
    headline(figure, f"{_plain(title)}\n")  # the second line is the legend's
    caption(figure, note)
    return figure


def _lanes(figure: Figure, grid: Any, lanes: Sequence[Lane]) -> list[Axes]:
    """The whole time: one lane a series, on one axis."""
    found: list[Axes] = []
    for k, lane in enumerate(lanes):
        axes = figure.add_subplot(grid[k, :], sharex=found[0] if found else None)
        _lane(axes, lane)
        axes.tick_params(labelbottom=k == len(lanes) - 1)
        found.append(axes)
    if lanes:
        date_axis(found[-1], lanes[-1].time)
        return found[:1]
    axes = figure.add_subplot(grid[0, :])
    axes.set_axis_off()
    axes.text(0.0, 0.5, "There are no rows.", color=QUIET, transform=axes.transAxes)
    return []


def _lane(axes: Axes, lane: Lane) -> None:
    """One strip of the whole time: a mark on top for each alert."""
    axes.fill_between(lane.time, 0, lane.score, color=QUIET, alpha=0.35, linewidth=0)
    _score(axes, lane.time, lane.score, lane.level)
    for start, end, severity in lane.alerts:
        axes.axvspan(start, end, color=SEVERITY[severity], alpha=0.25, linewidth=0)
        axes.plot(
            [start + (end - start) / 2],
            [1.0],
            marker="v",
            color=SEVERITY[severity],
            markersize=4,
            transform=axes.get_xaxis_transform(),
            clip_on=False,
            linewidth=0,
        )
    _labels(axes, lane.labels)
    _name(axes, lane.name)
    axes.margins(x=0.005 if len(lane.time) > 1 else 3)


def _alert(figure: Figure, place: Any, start: int, panel: Panel) -> list[Axes]:
    """One alert: its score, then the channels that caused it, on one axis of time."""
    grid, column = place.get_gridspec(), place.colspan.start
    found = [figure.add_subplot(grid[start, column])]
    for k in range(len(panel.curves)):
        found.append(figure.add_subplot(grid[start + 1 + k, column], sharex=found[0]))
    _score(found[0], panel.time, panel.score, panel.level)
    for axes, curve in zip(found[1:], panel.curves, strict=True):
        _curve(axes, panel.time, curve)
    for axes in found:
        axes.axvspan(*panel.span, color=SEVERITY[panel.severity], alpha=0.16, linewidth=0)
        axes.tick_params(labelbottom=axes is found[-1])
        axes.margins(x=0 if len(panel.time) > 1 else 3)
    _labels(found[0], panel.labels)
    _name(found[0], panel.title, bold=True)
    found[0].set_title(panel.remark, loc="right", fontsize=FONT, color=QUIET, pad=3.0)
    _dates(found[-1], panel.time)
    return found[:2]


def _score(axes: Axes, time: np.ndarray, score: np.ndarray, level: np.ndarray) -> None:
    """Score and level, from 0."""
    marker = "o" if _lonely(score) else ""
    axes.plot(time, score, color=INK, linewidth=0.8, label="score", marker=marker, markersize=3)
    axes.plot(
        time, level, color=SEVERITY["major"], linewidth=0.9, linestyle=(0, (4, 2)), label="level"
    )
    known = np.concatenate([score[np.isfinite(score)], level[np.isfinite(level)], [1.0]])
    axes.set_ylim(0, 1.12 * float(known.max()))
    _few(axes, 3)


def _curve(axes: Axes, time: np.ndarray, curve: Curve) -> None:
    """What came and what was expected, and the share of the alert."""
    seen = np.isfinite(curve.values)
    if curve.expected is not None:
        axes.plot(
            time,
            curve.expected,
            color=COLOURS["forecast"],
            linewidth=1.0,
            label="expected",
            marker="o" if _lonely(curve.expected) else "",
            markersize=3,
        )
    marker = "o" if _lonely(curve.values) else ""
    axes.plot(
        time, curve.values, color=INK, linewidth=1.1, label="what came", marker=marker, markersize=3
    )
    if not seen.any():
        axes.text(
            0.5,
            0.1,
            "no value came",
            transform=axes.transAxes,
            ha="center",
            va="center",
            color=QUIET,
            fontsize=FONT,
        )
    _name(axes, f"{curve.name}   {curve.share:.0%} of the score")
    _few(axes, 3)
    axes.grid(axis="y")


def _lonely(values: np.ndarray) -> bool:
    """Whether no two neighbours are known, so that no line would show them."""
    seen = np.isfinite(values)
    return bool(seen.any() and not (seen[1:] & seen[:-1]).any())


def _labels(axes: Axes, labels: Sequence[tuple[Any, Any]]) -> None:
    """A bar under the axis for the rows that are known to be anomalous."""
    for start, end in labels:
        axes.plot(
            [start, end],
            [0.0, 0.0],
            color=LABEL,
            linewidth=4,
            solid_capstyle="butt",
            transform=axes.get_xaxis_transform(),
            clip_on=False,
            label="known anomaly",
            zorder=5,
        )


def _name(axes: Axes, text: str, bold: bool = False) -> None:
    weight = "bold" if bold else "normal"
    axes.set_title(text, fontsize=FONT, fontweight=weight, color=INK, parse_math=False, pad=3.0)


def _few(axes: Axes, most: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(most))


def _dates(axes: Axes, time: np.ndarray) -> None:
    """Few labels under a panel."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.ticker import MaxNLocator

    if not np.issubdtype(time.dtype, np.datetime64):
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        return
    locator = AutoDateLocator(minticks=2, maxticks=6)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def _plain(text: str) -> str:
    """Text in which $ is a dollar, and begins no formula."""
    return text.replace("$", r"\$")


def _legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """One legend for all panels, on the line under the headline; each name once."""
    pairs = [a.get_legend_handles_labels() for a in axes]
    once = {label: h for handles, labels in pairs for h, label in zip(handles, labels, strict=True)}
    if once:
        figure.legend(
            once.values(),
            once.keys(),
            loc="upper left",
            bbox_to_anchor=(0.0, 1 - 0.24 / figure.get_figheight()),
            ncols=len(once),
            columnspacing=1.4,
        )
