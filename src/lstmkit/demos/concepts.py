"""The pictures of docs/concepts/lstm.md: what a cell state and the three gates are."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.demos.measured import (
    FORGETS,
    GAINS,
    HORIZON_SAMPLES,
    HORIZON_STEPS,
    LAGS,
    UNITS,
    horizons,
    jacobian_norms,
    noise,
    steered_unit,
)
from lstmkit.errors import require
from lstmkit.style import COLOURS, INK, PAPER, QUIET, canvas, caption, headline, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import nn

WINDOW = (20, 24)  # steps at which the gate of a picture is open


def run(folder: Path, console: Any, seed: int, epochs: int | None) -> dict[str, Any]:
    """Measure, train a unit, draw; returns what was made, as JSON values.

    `epochs` is the number of the one trained unit's updates.
    """
    require("torch", "train")
    from lstmkit.demos.belt import draw_belt
    from lstmkit.demos.marked import train
    from lstmkit.style import save

    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    console.say("Training one LSTM unit to remember a marked number until it is asked for ...")
    losses, network = train(seed, epochs)
    figures = {
        "forgetting": draw_forgetting(seed),
        "belt": draw_belt(),
        "held": draw_held(seed),
        "input_gate": draw_input_gate(seed),
        "forget_gate": draw_forget_gate(),
        "output_gate": draw_output_gate(seed),
        "learnt": draw_learnt(network, seed),
        "horizons": draw_horizons(seed),
    }
    pictures = {name: save(figure, folder / f"{name}.png") for name, figure in figures.items()}
    for name, path in pictures.items():
        console.say(f"{name:12} {path}")
    console.say(f"({time.monotonic() - started:.0f} s)  read on: docs/concepts/lstm.md")
    return {"pictures": {name: str(path) for name, path in pictures.items()}, "losses": losses}


# --- what is drawn --------------------------------------------------------------------------------


@styled
def draw_forgetting(seed: int) -> Figure:
    """The gradient of a plain recurrent network by lag, for three sizes of its weights."""
    figure = canvas(8.5, 3.5)
    axes = figure.subplots()
    lags = np.arange(LAGS + 1)
    for gain, colour in zip(GAINS, (COLOURS["forget"], COLOURS["forecast"], QUIET), strict=True):
        axes.plot(lags, jacobian_norms(gain, seed=seed), color=colour, linewidth=1.8)
        axes.plot(lags, gain**lags, color=colour, linewidth=0.9, linestyle=(0, (4, 3)))
        end = max(gain**LAGS, 1e-9)
        place = (LAGS, end) if gain > 0.5 else (30, 8e-9)
        axes.annotate(f" a = {gain}", place, color=colour, va="center", fontweight="bold")
    axes.set_yscale("log")
    axes.set_ylim(1e-9, 1e6)
    axes.set_xlim(0, LAGS + 5)
    axes.set_xlabel("k, steps between the two")
    axes.set_title("how much the state now depends on the state k steps ago; dashes: a^k")
    axes.grid(axis="y")
    headline(figure, "A plain recurrent network forgets")
    caption(figure, f"Plain recurrent network, {UNITS} units, largest singular value a, reading "
            "noise. Lines: norm of the measured Jacobian, no unit.")  # fmt: skip
    return figure


@styled
def draw_held(seed: int) -> Figure:
    """The cell over 1000 steps of noise with f = 1 and i = 0, beside f = 0.99."""
    from lstmkit.inspection import clamp

    x = noise(1000, seed)
    shut = clamp("0.input_gate", 0)
    figure, (top, below) = _two_panels("input: noise, 1000 steps", x)
    top.lines[0].set_linewidth(0.4)
    for f, colour in ((1.0, COLOURS["cell"]), (0.99, QUIET)):
        cell = steered_unit(x, 0.7, shut, clamp("0.forget_gate", f)).cell[:, 0, 0]
        below.plot(cell, color=colour, linewidth=1.8, label=f"f = {f:g}")
    below.set_ylim(-0.02, 0.85)
    below.legend(loc="center right", fontsize=9)
    below.set_title("cell state, from 0.7, with i = 0")
    headline(figure, "With f = 1 and i = 0 the cell is held, whatever comes")
    caption(figure, "One LSTM unit whose gates are held by hand, 1000 steps of noise. No units.")
    return figure


@styled
def draw_input_gate(seed: int) -> Figure:
    """Nothing enters while i = 0; four steps with i = 1 put something on the belt."""
    from lstmkit.inspection import clamp

    first, last = WINDOW
    x = noise(60, seed)
    shut = [clamp("0.input_gate", 0, steps=s) for s in ((0, first), (last, 60))]
    changes = [*shut, clamp("0.input_gate", 1, steps=WINDOW), clamp("0.forget_gate", 1)]
    cell = steered_unit(x, 0.0, *changes).cell[:, 0, 0]
    figure, (top, below) = _two_panels("input: noise", x)
    below.plot(cell, color=COLOURS["cell"], linewidth=1.8)
    below.set_title("cell state, with f = 1")
    for axes in (top, below):
        axes.axvspan(first - 0.5, last - 0.5, color=COLOURS["input"], alpha=0.15, linewidth=0)
    top.set_ylim(-2.8, 4.0)
    _say(top, (last, 1.0), "i = 1: the gate is open for four steps", COLOURS["input"])
    headline(figure, "The input gate decides what goes on the belt")
    caption(figure, "One untrained LSTM unit, i = 0 outside the band, 60 steps of noise. No units.")
    return figure


@styled
def draw_forget_gate() -> Figure:
    """f^t for three forget gates with their time constants, and a reset by f = 0."""
    from lstmkit.inspection import clamp

    steps, shut = np.zeros(80), clamp("0.input_gate", 0)
    figure = canvas(8.5, 3.2)
    axes = figure.subplots()
    for f, alpha in zip(FORGETS, (0.45, 0.7, 1.0), strict=True):
        cell = steered_unit(steps, 1.0, shut, clamp("0.forget_gate", f)).cell[:, 0, 0]
        cell, tau = np.append(1.0, cell), -1 / np.log(f)
        axes.plot(cell, color=COLOURS["forget"], alpha=alpha, label=f"f = {f}: {tau:.1f} steps")
        axes.plot([tau], [np.exp(-1)], "o", color=COLOURS["forget"], alpha=alpha, markersize=6)
    held = clamp("0.forget_gate", 1, steps=(0, 50)), clamp("0.forget_gate", 0, steps=(50, 51))
    cell = steered_unit(steps, 1.0, shut, *held).cell[:, 0, 0]
    axes.plot(np.append(1.0, cell), color=INK, label="f = 1, then f = 0 at step 51: reset")
    axes.axhline(np.exp(-1), color=QUIET, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set_ylim(-0.02, 1.08)
    axes.set_xlabel("step")
    axes.set_title("cell state, from 1, with i = 0; dots: the time constant, where 37 % is left")
    axes.legend(loc="center right", bbox_to_anchor=(1.0, 0.62))
    headline(figure, "The forget gate decides what comes off the belt")
    caption(figure, "One LSTM unit whose gates are held by hand, 80 steps. No units.")
    return figure


@styled
def draw_output_gate(seed: int) -> Figure:
    """The cell moves on while o = 0 shows nothing; o = 1 shows it."""
    from lstmkit.inspection import clamp

    first, last = 30, 40
    x = noise(60, seed)
    shut = [clamp("0.output_gate", 0, steps=s) for s in ((0, first), (last, 60))]
    record = steered_unit(x, 0.0, *shut, clamp("0.output_gate", 1, steps=(first, last)))
    figure, (top, below) = _two_panels("cell state c", record.cell[:, 0, 0])
    top.lines[0].set(color=COLOURS["cell"], linewidth=1.8)
    below.plot(record.hidden[:, 0, 0], color=COLOURS["output"], linewidth=1.8)
    below.set_title("hidden state h, what the others see")
    below.set_ylim(*top.get_ylim())
    for axes in (top, below):
        axes.axvspan(first - 0.5, last - 0.5, color=COLOURS["output"], alpha=0.15, linewidth=0)
    _say(below, (last, 0.55), "o = 1: the gate is open for ten steps", COLOURS["output"])
    headline(figure, "The output gate decides what is shown")
    caption(figure, "One untrained LSTM unit, o = 0 outside the band, 60 steps of noise. No units.")
    return figure


@styled
def draw_learnt(network: nn.Module, seed: int) -> Figure:
    """One unseen sequence of the task: input, the three gates, the cell, the answer."""
    import torch

    from lstmkit.demos.marked import STEPS, draw_batch
    from lstmkit.inspection import observe

    batch = draw_batch(64, STEPS, torch.Generator().manual_seed(10_000 + seed))
    large = batch.y.abs().amax(1) * (batch.mark > 6) * (batch.ask > 22)
    chosen = int(large.argmax())  # a large number, with room for words left of its mark
    one = batch.x[chosen : chosen + 1]
    record = observe(network, one)[0]
    with torch.no_grad():
        answer = network(one)[0].numpy()
    mark, ask = int(batch.mark[chosen]), int(batch.ask[chosen])
    return _learnt_figure(one[0, :, 0].numpy(), record, answer, mark, ask)


def _learnt_figure(
    numbers: np.ndarray, record: Any, answer: np.ndarray, mark: int, ask: int
) -> Figure:
    figure = canvas(8.5, 5.6)
    axes = figure.subplots(5, 1, sharex=True, height_ratios=[1.2, 0.8, 0.8, 0.8, 1.2])
    steps = np.arange(len(numbers))
    axes[0].bar(steps, numbers, color=COLOURS["baseline"], width=0.7)
    axes[0].bar([mark], numbers[[mark]], color=INK, width=0.7)
    for panel, name in zip(axes[1:4], ("input", "forget", "output"), strict=True):
        gate = getattr(record, f"{name}_gate")[:, 0, 0]
        panel.bar(steps, gate, color=COLOURS[name], width=0.7)
        panel.set_ylim(0, 1)
        panel.set_yticks([0, 1], ["0 shut", "1 open"])
        panel.set_title(f"{name} gate", color=COLOURS[name])
    axes[4].step(steps, record.cell[:, 0, 0], where="mid", color=COLOURS["cell"], label="cell")
    axes[4].bar(steps, answer, color=INK, width=0.7, label="answer")
    axes[4].axhline(0, color=QUIET, linewidth=0.6)
    axes[4].set_title("cell state, and the answer")
    axes[4].legend(loc="upper right", bbox_to_anchor=(1.0, 1.3), ncols=2)
    axes[4].set_xlabel("step")
    for panel in axes:
        for where in (mark, ask):
            panel.axvline(where, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    for where, text in ((mark, "the mark: store this"), (ask, "the request: show it")):
        axes[0].annotate(text, (where, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 4),
                         textcoords="offset points", ha="center", fontweight="bold")  # fmt: skip
    axes[0].set_title("numbers, in")
    axes[0].set_xlim(-0.6, len(numbers) - 0.4)
    headline(figure, "Nobody set these gates: they were learnt")
    caption(figure, "One LSTM unit, trained for seconds on made sequences; this one it has never "
            "seen. Numbers without unit; gates from 0 to 1.")  # fmt: skip
    return figure


def draw_horizons(seed: int) -> Figure:
    """The gradient by lag of four untrained networks."""
    from lstmkit.inspection import plot_horizons

    figure = plot_horizons(
        horizons(seed),
        title="How far back the gradient reaches before anything is learnt",
        note=f"Untrained networks, {UNITS} units; {HORIZON_SAMPLES} sequences of {HORIZON_STEPS} "
        "steps of noise. No units.",
    )
    legend = figure.axes[0].get_legend()
    if legend is not None:  # no dashed line runs through its words
        legend.set(frame_on=True)
        legend.get_frame().set(facecolor=PAPER, edgecolor="none", alpha=1.0)
    return figure


def _two_panels(title: str, values: np.ndarray) -> tuple[Figure, Any]:
    figure = canvas(8.5, 3.4)
    panels = figure.subplots(2, 1, sharex=True)
    panels[0].plot(values, color=INK, linewidth=1.1)
    panels[0].set_title(title)
    panels[1].set_xlabel("step")
    for panel in panels:
        panel.grid(axis="y")
        panel.set_xlim(-1, len(values))
    return figure, panels


def _say(axes: Axes, place: tuple[float, float], text: str, colour: str) -> None:
    axes.annotate(text, place, xycoords=("data", "axes fraction"), xytext=(4, -4),
                  textcoords="offset points", color=colour, va="top", fontsize=8.5)  # fmt: skip
