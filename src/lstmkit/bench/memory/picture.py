"""Success against lag: the share of seeds that solve the task, and the sequences that they need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lstmkit.bench.memory import MODELS
from lstmkit.bench.memory.tasks import LAG_SEQUENCES, lag_tasks
from lstmkit.style import COLOURS, QUIET, canvas, caption, headline, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = Mapping[str, Any]
LOOK = {  # label, colour, marker
    "rnn": ("plain RNN", COLOURS["forget"], "s"),
    "lstm": ("LSTM", COLOURS["input"], "o"),
    "chrono": ("LSTM, chrono", COLOURS["output"], "^"),
}


def points(rows: Sequence[Row], model: str) -> list[tuple[int, float, float | None]]:
    """(steps, share of seeds that solved, median sequences of these), by steps."""
    steps = {task.name: task.problem.lag for task in lag_tasks()}
    found = []
    for name, T in steps.items():
        mine = [row for row in rows if row["task"] == name and row["model"] == model]
        needed = sorted(row["sequences"] for row in mine if row["solved"])
        if mine:
            median = needed[(len(needed) - 1) // 2] if needed else None
            found.append((T, len(needed) / len(mine), median))
    return found


def fails_from(rows: Sequence[Row], model: str) -> int | None:
    """The fewest steps from which on no seed solves the task; None where some always does."""
    found: int | None = None
    for T, share, _ in reversed(points(rows, model)):
        if share > 0:
            break
        found = T
    return found


@styled
def plot_lags(rows: Sequence[Row], *, note: str = "") -> Figure:
    """Two panels over the sequence's length: solved seeds, and sequences needed."""
    figure = canvas(8.0, 3.4)
    solved, needed = figure.subplots(1, 2)
    for model in MODELS:
        curve = points(rows, model)
        if curve:
            draw(solved, needed, model, curve)
    finish(solved, needed)
    lost = fails_from(rows, "rnn")
    said = f"The plain RNN fails from {lost} steps on, the LSTM does not"
    headline(figure, said if lost and not fails_from(rows, "lstm") else "Success against lag")
    caption(
        figure,
        "Temporal order (6a of Hochreiter & Schmidhuber 1997) scaled to T steps; "
        f"{seeds(rows)} seeds, at most {LAG_SEQUENCES:,} sequences. {note}".strip(),
    )
    return figure


def seeds(rows: Sequence[Row]) -> str:
    """How many there are of each point: "3", or "1 to 3"."""
    names = {task.name for task in lag_tasks()}
    points = [(row["task"], row["model"]) for row in rows if row["task"] in names]
    counts = sorted({points.count(point) for point in points}) or [0]
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def draw(solved: Axes, needed: Axes, model: str, curve: Sequence[Any]) -> None:
    """One model in both panels; lines that coincide are set a little apart."""
    label, colour, marker = LOOK[model]
    look: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 5, "label": label}
    apart = {"rnn": 0.0, "lstm": 0.015, "chrono": -0.015}[model]
    solved.plot([T for T, _, _ in curve], [share + apart for _, share, _ in curve], **look)
    known = [(T, count) for T, _, count in curve if count is not None]
    needed.plot([T for T, _ in known], [count for _, count in known], **look)


def finish(solved: Axes, needed: Axes) -> None:
    """Axes, units and words."""
    lags = [task.problem.lag for task in lag_tasks()]
    for axes in (solved, needed):
        axes.set_xscale("log")
        axes.set_xticks(lags, [str(T) for T in lags])
        axes.minorticks_off()
        axes.set_xlabel("length of the sequence, steps", color=QUIET)
        axes.grid(axis="y")
    solved.set_ylim(-0.06, 1.06)
    solved.set_yticks([0, 0.5, 1], ["none", "half", "all"])
    solved.set_title("seeds that solve it")
    solved.legend(loc="center right", bbox_to_anchor=(1.0, 0.45))
    needed.set_ylim(0)
    needed.yaxis.set_major_formatter("{x:,.0f}")
    needed.set_title("sequences needed, median of the seeds that solve it")
