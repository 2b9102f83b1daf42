"""The picture of a forecast: history, median, and the bands of 80 and 95 %."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.style import COLOURS, INK, QUIET, RULE, canvas, caption, date_axis, headline, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 9
DENSE = 9  # more panels than this are small ones, in four columns
BANDS = {0.95: 0.16, 0.80: 0.30}  # nominal coverage: opacity
LONGEST_NAME = {1: 99, 2: 60, 3: 36, 4: 28}  # characters above a panel, by columns


@dataclass(frozen=True)
class Tested:
    """A forecast of rows that came since: quantiles, truth and baseline (K,) at `time` (K,)."""

    time: np.ndarray
    quantiles: Mapping[float, np.ndarray]
    truth: np.ndarray
    baseline: np.ndarray


@dataclass(frozen=True)
class Panel:
    """One series: what was seen, and what is expected.

    `history` (N,) with NaN where missing, at `time` (N,); `quantiles` maps a probability to (K,)
    values at `future` (K,). `truth` (K,) and `baseline` (K,) are drawn where given. `tested` lies
    between history and future; `remark` stands after the name, and both in the baseline's colour
    where the model was `beaten` by it.
    """

    name: str
    time: np.ndarray
    history: np.ndarray
    future: np.ndarray
    quantiles: Mapping[float, np.ndarray]
    truth: np.ndarray | None = None
    baseline: np.ndarray | None = None
    baseline_name: str = "seasonal naive"
    tested: Tested | None = None
    remark: str = ""
    beaten: bool = False


@styled
def plot_forecast(
    panels: Sequence[Panel],
    *,
    title: str = "",
    label: str = "",
    note: str = "",
    most: int = MOST_PANELS,
) -> Figure:
    """A grid of the first `most` series; `label` names the values and their unit.

    `note` is the caption (model, sample); where series are left out it says so.
    """
    shown = panels[:most]
    columns = _columns(len(shown))
    rows = -(-len(shown) // columns)
    width, height = {1: (8.5, 3.6), 4: (11.0, 1.75)}.get(columns, (9.0, 2.2))
    figure = canvas(width, 0.7 + height * rows)
    axes = figure.subplots(rows, columns, squeeze=False)
    for panel, place in zip(shown, axes.flat, strict=False):
        _draw(place, panel, len(shown))
    for place in axes.flat[len(shown) :]:
        place.set_visible(False)
    axes[0, 0].set_ylabel(label, parse_math=False)
    _legend(figure, axes[0, 0])
    headline(figure, f"{_plain(title)}\n")  # the second line is the legend's
    left_out = len(panels) - len(shown)
    caption(
        figure, f"{note} {f'{left_out} more series are not drawn.' if left_out else ''}".strip()
    )
    return figure


def _columns(count: int) -> int:
    """Of a grid of so many panels."""
    return 4 if count > DENSE else 2 if count == 4 else min(count, 3)


def _draw(axes: Axes, panel: Panel, count: int) -> None:
    """History, the test where there was one, and the forecast."""
    width = 1.1 if count > DENSE else 1.6
    axes.plot(panel.time, panel.history, color=QUIET, label="seen", linewidth=1.1)
    if panel.tested is not None:
        past = panel.tested
        _expect(axes, past.time, past.quantiles, width)
        _known(axes, past.time, past.truth, past.baseline, panel.baseline_name)
        axes.axvline(past.time[-1], color=RULE, linewidth=0.9, zorder=0)
    _known(axes, panel.future, panel.truth, panel.baseline, panel.baseline_name)
    _expect(axes, panel.future, panel.quantiles, width)
    axes.grid(axis="y")
    _room(axes, panel)
    _title(axes, panel, count)
    _few_ticks(axes, panel.future, count)


def _expect(
    axes: Axes, time: np.ndarray, quantiles: Mapping[float, np.ndarray], width: float
) -> None:
    """Bands and median."""
    for coverage, opacity in BANDS.items():
        _band(axes, time, quantiles, coverage, opacity)
    axes.plot(time, quantiles[0.5], color=COLOURS["forecast"], label="median", linewidth=width)


def _known(
    axes: Axes,
    time: np.ndarray,
    truth: np.ndarray | None,
    baseline: np.ndarray | None,
    name: str,
) -> None:
    """Baseline and truth, where there are such."""
    if baseline is not None:
        grey, dashed = COLOURS["baseline"], (0, (4, 2))
        axes.plot(time, baseline, color=grey, linestyle=dashed, label=name, linewidth=1.1)
    if truth is not None:
        axes.plot(time, truth, color=INK, label="what came", linewidth=1.1)


def _band(
    axes: Axes,
    time: np.ndarray,
    quantiles: Mapping[float, np.ndarray],
    coverage: float,
    opacity: float,
) -> None:
    """The central interval of `coverage`, where the model has both its quantiles."""
    low, high = (nearest(quantiles, p) for p in ((1 - coverage) / 2, (1 + coverage) / 2))
    if low is None or high is None:
        return
    axes.fill_between(
        time,
        low,
        high,
        color=COLOURS["forecast"],
        alpha=opacity,
        linewidth=0,
        label=f"{coverage:.0%} interval",
    )


def nearest(quantiles: Mapping[float, np.ndarray], p: float) -> np.ndarray | None:
    """The quantile of probability `p`, spared from floating-point spelling; None if absent."""
    return next((values for q, values in quantiles.items() if abs(q - p) < 1e-9), None)


def _room(axes: Axes, panel: Panel) -> None:
    """A series that never changes is drawn on the scale of its size, not of its intervals."""
    seen = panel.history[~np.isnan(panel.history)]
    if not len(seen) or (seen != seen[0]).any():
        return
    low, high = axes.get_ylim()
    room = abs(seen[0]) / 10 or 1.0
    axes.set_ylim(min(low, seen[0] - room), max(high, seen[0] + room))


def _title(axes: Axes, panel: Panel, count: int) -> None:
    """Name and remark; a name is cut short where it is long, and left out where it is alone."""
    most, name = LONGEST_NAME[_columns(count)], panel.name
    name = name if len(name) <= most else f"{name[: most - 1]}…"
    name = name if count > 1 else ""
    text = "\n".join(part for part in (name, panel.remark) if part)
    colour = COLOURS["baseline"] if panel.beaten else INK
    axes.set_title(text, color=colour, parse_math=False, fontsize=8.0 if count > DENSE else 9.0)


def _few_ticks(axes: Axes, time: np.ndarray, count: int) -> None:
    """Dates where `time` holds such, and no more ticks than a small panel has room for."""
    date_axis(axes, time)
    if count <= DENSE:
        return
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(4))
    if not np.issubdtype(time.dtype, np.datetime64):
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        return
    locator = AutoDateLocator(minticks=2, maxticks=5)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def _plain(text: str) -> str:
    """Text in which $ is a dollar, and begins no formula."""
    return text.replace("$", r"\$")


def _legend(figure: Figure, axes: Any) -> None:
    """One legend for all panels, on the line under the headline; each name once."""
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    figure.legend(
        once.values(),
        once.keys(),
        loc="upper left",
        bbox_to_anchor=(0.0, 1 - 0.24 / figure.get_figheight()),
        ncols=len(once),
        columnspacing=1.4,
    )
