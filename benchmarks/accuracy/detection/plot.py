"""Detectors beside each other: VUS-PR of every machine, or NAB's score in every profile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from detection.contest import PEERS, is_ours
from lstmkit.style import COLOURS, INK, QUIET, canvas, caption, headline, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLES = {
    "smd": "Server Machine Dataset: VUS-PR of three machines",
    "nab": "Numenta Anomaly Benchmark: score in three profiles",
}
AXES = {"smd": "VUS-PR, higher is better", "nab": "NAB score, 100 is perfect, higher is better"}
PROFILES = {"standard": "o", "low_fp": "<", "low_fn": ">"}
MARKS = "osD^v<>P"
Row = tuple[str, float, dict[str, float]]  # name, the figure to rank by, the others


@styled
def plot(results: Mapping[str, Any]) -> Figure:
    """The figure of a results file, best on top; published figures in grey.

    Raises:
        SystemExit: no detector of the file has scores.
    """
    found = rows(results)
    if not found:
        raise SystemExit("error: no detector of the file has scores")
    figure = canvas(8.0, 1.5 + 0.28 * len(found))
    axes = figure.subplots()
    _dots(axes, found, PEERS[results["dataset"]])
    axes.set_xlabel(AXES[results["dataset"]])
    axes.grid(axis="x")
    headline(figure, TITLES[results["dataset"]])
    caption(figure, _note(results))
    return figure


def rows(results: Mapping[str, Any]) -> list[Row]:
    """Worst first, as they stand from below."""
    smd = results["dataset"] == "smd"
    found: list[Row] = []
    for name, entry in results["models"].items():
        if "scores" in entry:
            parts = {m: f["vus_pr"] for m, f in entry["files"].items()} if smd else _profiles(entry)
            found.append((name, entry["scores"]["vus_pr" if smd else "standard"], parts))
    if not smd:
        found += [
            (f"{name} (published)", f["standard"], _profiles({"scores": f}))
            for name, f in results["published"].items()
        ]
    return sorted(found, key=lambda row: row[1])


def _profiles(entry: Mapping[str, Any]) -> dict[str, float]:
    return {p: entry["scores"][p] for p in PROFILES}


def _dots(axes: Axes, found: list[Row], peers: tuple[str, ...]) -> None:
    """A line for each detector: small marks for the parts, a thick bar for the figure of rank."""
    names = list(found[0][2])
    for height, (name, figure, parts) in enumerate(found):
        colour = _colour(name, peers)
        axes.plot([min(parts.values()), max(parts.values())], [height, height], color=colour, lw=1)
        for part, mark in zip(names, MARKS, strict=False):
            mark = PROFILES.get(part, mark)
            axes.plot(parts[part], height, mark, color=colour, markersize=4, zorder=3)
        axes.plot(figure, height, "|", color=colour, markersize=13, markeredgewidth=2.5, zorder=4)
    axes.set_yticks(range(len(found)), [name for name, _, _ in found])
    for tick, (name, _, _) in zip(axes.get_yticklabels(), found, strict=True):
        tick.set_color(_colour(name, peers))
        tick.set_fontweight("bold" if is_ours(name) else "normal")
    axes.set_ylim(-0.6, len(found) - 0.4)


def _colour(name: str, peers: tuple[str, ...]) -> str:
    """Ours, peers, and the rest: baselines and published figures."""
    if is_ours(name):
        return COLOURS["forecast"]
    return INK if name in peers else QUIET


def _note(results: Mapping[str, Any]) -> str:
    machine = results["machine"]
    marks = {
        "smd": "bar: mean; marks: " + ", ".join(
            f"{_word(mark)} {name}" for name, mark in zip(results["windows"], MARKS, strict=False)
        ),
        "nab": "bar and circle: standard; < fewer false alarms; > fewer missed windows; the best "
        "threshold on the labels, for all",
    }  # fmt: skip
    made = f"{machine['cpu']}, {machine['cores']} cores, {machine['date'][:10]}"
    return f"{marks[results['dataset']]}\n{made}"


def _word(mark: str) -> str:
    return {"o": "circle", "s": "square", "D": "diamond"}.get(mark, mark)
