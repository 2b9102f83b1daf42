"""Alerts of a network as a picture: traffic and score over time, and under it the worst hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit import style
from lstmkit.tasks.intrusion.page import SEVERITY, said, worst_first

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_HOSTS = 20
LONGEST = 40  # characters of a name

Alerts = Sequence[Mapping[str, Any]]


def write_picture(
    path: str | Path, alerts: Alerts, *, summary: Mapping[str, Any], curves: Mapping[str, Any]
) -> Path:
    """Draw into a file: .png, .svg or .pdf; arguments as `page.write_page`."""
    return style.save(draw(alerts, summary, curves), path)


@style.styled
def draw(alerts: Alerts, summary: Mapping[str, Any], curves: Mapping[str, Any]) -> Any:
    """A matplotlib figure."""
    hosts = list(dict.fromkeys(str(a["host"]) for a in worst_first(alerts)))[:MOST_HOSTS]
    figure = style.canvas(11.0, 4.2 + 0.24 * max(len(hosts), 3))
    heights = [2.4, max(0.24 * len(hosts), 0.7)]
    top, lanes = figure.subplots(2, 1, sharex=True, height_ratios=heights)
    time = (np.asarray(curves["time"], float) * 1e6).astype(np.int64).astype("datetime64[us]")
    _scores(top, time, curves)
    _lanes(lanes, alerts, hosts)
    if len(time):
        style.date_axis(lanes, time)
        each = (time[-1] - time[0]) // max(len(time) - 1, 1)
        lanes.set_xlim(time[0], time[-1] + max(each, np.timedelta64(1, "s")))
    style.headline(figure, said(alerts, len(alerts), summary))
    shown = (
        f", the worst {len(hosts)} hosts" if len({a["host"] for a in alerts}) > MOST_HOSTS else ""
    )
    told = f"{summary['flows']:,} flows of {summary['source']}{shown}; times are UTC. "
    told += "A score is minus log10 of the probability of so strange a normal flow."
    style.caption(figure, told)
    return figure


def _scores(axes: Axes, time: np.ndarray, curves: Mapping[str, Any]) -> None:
    """The highest score of each stretch, the level, and the flows behind them."""
    if len(time):
        behind = axes.twinx()
        behind.fill_between(time, curves["flows"], step="post", color=style.RULE, linewidth=0)
        behind.set_ylim(0, 2.2 * max(max(curves["flows"]), 1))
        behind.set_yticks([])
        behind.spines[:].set_visible(False)
        axes.set_zorder(behind.get_zorder() + 1)
        axes.patch.set_visible(False)
        axes.step(time, curves["top_score"], where="post", linewidth=0.9,
                  color=style.COLOURS["forecast"], label="highest score")  # fmt: skip
    axes.axhline(curves["threshold"], color=style.QUIET, linewidth=0.9, linestyle=(0, (4, 2)),
                 label="level")  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.set_ylabel("score")
    axes.legend(loc="upper left", ncols=2)


def _plain(text: str) -> str:
    """The beginning of a text, whatever a log holds, in letters that can be drawn."""
    return "".join(c if c.isprintable() else "?" for c in text[:LONGEST])


def _lanes(axes: Axes, alerts: Alerts, hosts: Sequence[str]) -> None:
    """A lane a host, a dot an alert, the class of the worst one beside it."""
    lane = {host: k for k, host in enumerate(hosts)}
    for severity, colour in SEVERITY.items():
        mine = [a for a in alerts if a["severity"] == severity and a["host"] in lane and a["time"]]
        when = np.array([a["time"].removesuffix("Z") for a in mine], "datetime64[us]")
        places = [lane[a["host"]] for a in mine]
        axes.scatter(when, places, s=26, color=colour, label=severity, zorder=3)
    named: dict[str, str] = {}
    for a in worst_first(alerts):
        named.setdefault(str(a["host"]), str(a["class"]))
    labels = [f"{_plain(host)}  {_plain(named[host])}" for host in hosts]
    axes.set_yticks(range(len(hosts)), labels, parse_math=False)
    axes.set_ylim(len(hosts) - 0.4, -0.6)
    axes.grid(axis="y", color=style.RULE, linewidth=0.6)
    if hosts:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=len(SEVERITY))
