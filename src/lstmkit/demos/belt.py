"""A drawing of one step of an LSTM: the belt, and the three gates at it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lstmkit.style import COLOURS, INK, PAPER, QUIET, canvas, caption, headline, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BELT = 3.0  # height of the belt
FORGET, ADD, SHOW = 2.2, 4.6, 7.0  # places along it


@styled
def draw_belt() -> Figure:
    """The cell state as a conveyor belt, in the colours that the gates have everywhere."""
    figure = canvas(8.5, 3.5)
    axes = figure.subplots()
    axes.set_xlim(0, 9.4)
    axes.set_ylim(0.1, 3.4)
    axes.axis("off")
    axes.plot([0.9, 8.4], [BELT, BELT], color=COLOURS["cell"], linewidth=9, alpha=0.25, zorder=0)
    _arrow(axes, (0.9, BELT), (8.45, BELT), COLOURS["cell"])
    axes.text(0.8, BELT, "c before", ha="right", va="center", color=COLOURS["cell"], fontsize=11)
    axes.text(8.55, BELT, "c now", ha="left", va="center", color=COLOURS["cell"], fontsize=11)
    _gate(axes, FORGET, BELT, "×", "f", "forget gate", "what comes off", "forget", 1.6)
    _gate(axes, ADD, 1.6, "×", "i", "input gate", "what goes on", "input", 0.55)
    _adding(axes)
    _showing(axes)
    headline(figure, "The cell state is a belt; three gates work on it")
    caption(figure, "One LSTM unit, one step. Each gate is a number from 0, shut, to 1, open, "
            "computed anew from the input and the last h.")  # fmt: skip
    return figure


def _adding(axes: Axes) -> None:
    """The candidate, through the input gate, up on the belt."""
    _arrow(axes, (5.9, 1.6), (ADD + 0.22, 1.6), QUIET)
    axes.text(6.0, 1.6, "g", va="center", color=INK, fontsize=12, fontweight="bold")
    axes.text(6.0, 1.18, "candidate:", va="center", color=QUIET)
    axes.text(6.0, 0.9, "what could go on", va="center", color=QUIET)
    _arrow(axes, (ADD, 1.82), (ADD, BELT - 0.22), COLOURS["input"])
    _circle(axes, ADD, BELT, "+", INK)


def _showing(axes: Axes) -> None:
    """From the belt, through the output gate, to the hidden state."""
    _arrow(axes, (SHOW + 0.8, BELT), (SHOW + 0.8, 1.82), COLOURS["cell"])
    axes.text(SHOW + 0.9, 2.4, "tanh", va="center", color=QUIET)
    _gate(axes, SHOW + 0.8, 1.6, "×", "o", "output gate", "what is shown", "output", 0.55)
    _arrow(axes, (SHOW + 1.02, 1.6), (8.75, 1.6), COLOURS["output"])
    axes.text(8.85, 1.6, "h", va="center", color=COLOURS["output"], fontsize=12, fontweight="bold")


def _gate(
    axes: Axes, x: float, y: float, sign: str, letter: str, name: str, does: str, kind: str,
    foot: float,
) -> None:  # fmt: skip
    """A circle at the belt with its gate below it."""
    colour = COLOURS[kind]
    _arrow(axes, (x, foot + 0.16), (x, y - 0.22), colour)
    _circle(axes, x, y, sign, colour)
    axes.text(x, foot, f"{letter}, {name}", ha="center", va="center", color=colour,
              fontsize=10, fontweight="bold")  # fmt: skip
    axes.text(x, foot - 0.27, does, ha="center", va="center", color=QUIET)


def _circle(axes: Axes, x: float, y: float, sign: str, colour: str) -> None:
    axes.plot([x], [y], "o", markersize=19, color=PAPER, markeredgecolor=colour, zorder=3)
    axes.text(x, y - 0.01, sign, ha="center", va="center", color=colour, fontsize=13, zorder=4)


def _arrow(axes: Axes, start: Any, end: Any, colour: str) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 1.4,
                                              "shrinkA": 0, "shrinkB": 0}, zorder=2)  # fmt: skip
