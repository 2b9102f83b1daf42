"""Memory horizon: how far back a recurrent model looks, in three measures and one sentence.

1. Sensitivity: how much an infinitesimal change of the input (or of the cell) `lag` steps before
   the answer moves the answer: ||d answer / d x_{t-lag}||, the quantity whose exponential decay
   makes plain recurrent networks forget (Hochreiter 1991; Bengio, Simard & Frasconi 1994; Pascanu,
   Mikolov & Bengio 2013).
2. Time constants: a cell that takes nothing in decays as f^t, so unit j forgets over
   tau_j = -1 / mean(ln f_j) steps (Tallec & Ollivier 2018).
3. The cut: the score when the state is wiped `k` steps before the answer, so that nothing older
   can matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.errors import UserError
from lstmkit.inspection.cut import Cut
from lstmkit.inspection.entrance import anchors, entrance, recurrent_parts, watched_input
from lstmkit.inspection.modules import evaluating, recurrent
from lstmkit.inspection.record import Recording

if TYPE_CHECKING:
    from torch import Tensor, nn

Answer = Callable[[Any], "Tensor"]

REACH = 0.95  # of the sensitivity
MOST_STEPS = 20_000  # of the equations in Python, for the gradient of cells: steps x projections


@dataclass(frozen=True)
class Horizon:
    """How far back a model looks.

    Attributes:
        sensitivity: (K,) mean over samples of the gradient's norm, by lag; lag 0 is the last input
            before the answer. By the input of the first recurrent layer.
        cells: the same by the cell state of each layer.
        time_constants: (H,) steps, by layer; inf where a forget gate never closes.
        cut: what older input is worth, or None.
        available: steps that the model could look back on.
        step: what one step is, such as "4 weeks"; "" where it is nothing but a step.
    """

    sensitivity: np.ndarray
    cells: Mapping[str, np.ndarray] = field(default_factory=dict)
    time_constants: Mapping[str, np.ndarray] = field(default_factory=dict)
    cut: Cut | None = None
    available: int = 0
    step: str = ""

    def lag_holding(self, share: float) -> int:
        """The smallest lag at which so much of the sensitivity lies within."""
        total = np.cumsum(self.sensitivity, dtype=np.float64)
        if not total[-1] > 0:
            return 0
        return int(np.searchsorted(total, share * total[-1] * (1 - 1e-9)))

    @property
    def half_life(self) -> int:
        """Steps within which half of the sensitivity lies: the last 1, 2, ... steps."""
        return self.lag_holding(0.5) + 1

    @property
    def reach(self) -> int:
        """Steps within which 95 % of the sensitivity lies. The one number."""
        return self.lag_holding(REACH) + 1

    @property
    def sentence(self) -> str:
        """The horizon in words."""
        if not np.any(self.sensitivity > 0):
            return "The answer does not depend on any input step: the model looks at nothing."
        said = (
            f"The memory reaches back {self.reach} of the {self.available} steps that it is given"
            f"{f' (a step is {self.step})' if self.step else ''}: 95 % of the answer's sensitivity "
            f"lies there, half of it within the last {_last(self.half_life)}."
        )
        return said if self.cut is None else f"{said} {self._cut_sentence(self.cut)}"

    def _cut_sentence(self, cut: Cut) -> str:
        worst = cut.score[0] / cut.full - 1 if cut.full else 0.0
        least = f"only {_steps(int(cut.kept[0]))}" if cut.kept[0] else "no memory at all"
        none = f"with {least} it changes by {worst:+.1%}"
        if cut.needed == 0:
            return f"Yet forgetting everything worsens {cut.metric} by less than 1 %."
        return (
            f"Forgetting what is older than {_steps(cut.needed)} worsens {cut.metric} by less than "
            f"1 %; {none}."
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        cut = self.cut and {
            "metric": self.cut.metric,
            "full": self.cut.full,
            "kept": self.cut.kept,
            "score": self.cut.score,
            "needed": self.cut.needed,
        }
        return {
            "reach": self.reach,
            "half_life": self.half_life,
            "available": self.available,
            "step": self.step,
            "sentence": self.sentence,
            "sensitivity": self.sensitivity,
            "cells": dict(self.cells),
            "time_constants": dict(self.time_constants),
            "cut": cut,
        }

    def plot(self, **options: Any) -> Any:
        """A matplotlib figure; options as `plots.plot_horizon`."""
        from lstmkit.inspection.plots import plot_horizon

        return plot_horizon(self, **options)

    def _repr_html_(self) -> str:
        return f"<p>{self.sentence}</p>"


def _steps(count: int) -> str:
    return f"{count} step{'s' * (count != 1)}"


def _last(count: int) -> str:
    return "step" if count == 1 else f"{count} steps"


def time_constants(recording: Recording) -> dict[str, np.ndarray]:
    """(H,) of each layer: tau = -1 / mean(ln f) over valid steps and samples, in steps."""
    return {
        layer.name: time_constant(layer.forget_gate[recording.valid(layer)])
        for layer in recording.layers
    }


def time_constant(forget: np.ndarray) -> np.ndarray:
    """(H,) of forget gates (M, H); inf where one never closes."""
    rate = np.abs(np.log(np.clip(forget, 1e-12, 1.0)).mean(0, dtype=np.float64))
    with np.errstate(divide="ignore"):
        found: np.ndarray = 1.0 / rate
    return found


def gradient_by_lag(
    module: nn.Module,
    *inputs: Any,
    anchor: Any = None,
    answer: Answer | None = None,
    projections: int = 16,
    seed: int = 0,
    cells: bool = False,
    **named: Any,
) -> Horizon:
    """The sensitivity of the answer to each earlier step.

    Args:
        module: called as `module(*inputs, **named)`, in evaluation mode. Gradients are taken at its
            first recurrent layer (any torch.nn.RNNBase: lstmkit.LSTM, torch.nn.RNN ...), at that
            layer's first call: what reaches the answer on another way is left out.
        anchor: (N,) or one number: the last step that is looked at; the last valid one if left out.
        answer: (N, A) from the module's output; all of it if left out.
        projections: the norm of the Jacobian is exact up to so many answers, else estimated from so
            many random +-1 projections (Hutchinson 1990).
        cells: also by the cell states of lstmkit.LSTM layers, forward in time; runs in Python.

    Raises:
        UserError: no recurrent layer ran, or the answer does not depend on it.
    """
    import torch

    first = recurrent_parts(module)
    read = answer or _flat
    with evaluating(module), torch.enable_grad(), watched_input(first) as seen:
        output = read(module(*inputs, **named))
        x, lengths = entrance(seen)
        squares = _squared_gradients(output, [x.leaf], projections, seed)[0]
    by_step = np.sqrt(x.time_first(squares).sum(-1))  # (T, N)
    lags, available = _by_lag(by_step, anchors(anchor, lengths, by_step.shape))
    found = Horizon(lags, available=available)
    if not cells:
        return found
    few = max(1, min(projections, MOST_STEPS // len(by_step)))
    by_cell = _cell_gradients(module, inputs, named, read, few, seed)
    lagged = {name: _by_lag(g, anchors(anchor, lengths, g.shape))[0] for name, g in by_cell.items()}
    return replace(found, cells=lagged)


def _flat(output: Any) -> Tensor:
    """The module's output, the first part of a tuple, as (N, A)."""
    first = output[0] if isinstance(output, (tuple, list)) else output
    found: Tensor = first.reshape(len(first), -1)
    return found


def _squared_gradients(
    output: Tensor, leaves: Sequence[Tensor], projections: int, seed: int
) -> list[np.ndarray]:
    """Sum over answers of the squared gradient at each leaf, exact or estimated."""
    import torch

    if output.grad_fn is None:
        raise UserError(
            "the answer does not depend on the recurrent layer",
            hint="answer= must be computed from the module's output, without detach",
        )
    output = output.reshape(len(output), -1)
    count = output.shape[1]
    if count <= projections:
        directions = torch.eye(count, dtype=output.dtype)[:, None].expand(-1, len(output), -1)
        scale = 1.0
    else:
        generator = torch.Generator().manual_seed(seed)
        shape = (projections, *output.shape)
        directions = torch.randint(0, 2, shape, generator=generator).to(output.dtype) * 2 - 1
        scale = 1.0 / projections
    total = [np.zeros(leaf.shape) for leaf in leaves]
    for direction in directions.to(output.device):
        found = torch.autograd.grad(
            output, list(leaves), direction, retain_graph=True, allow_unused=True
        )
        for k, g in enumerate(found):
            if g is not None:
                total[k] += scale * g.double().cpu().numpy() ** 2
    return total


def _by_lag(by_step: np.ndarray, anchor: np.ndarray) -> tuple[np.ndarray, int]:
    """(T, N) by step -> (K,) means by lag over the samples that are that long, and K."""
    available = int(anchor.max()) + 1
    steps = anchor[None, :] - np.arange(available)[:, None]  # (K, N): lag 0 first
    there = steps >= 0
    values = by_step[np.where(there, steps, 0), np.arange(len(anchor))]
    return np.where(there, values, 0.0).sum(1) / np.maximum(there.sum(1), 1), available


def _cell_gradients(
    module: nn.Module,
    inputs: Sequence[Any],
    named: Mapping[str, Any],
    read: Answer,
    projections: int,
    seed: int,
) -> dict[str, np.ndarray]:
    """||d answer / d c_t|| of each layer, forward in time: (T, N). A zero is added to every cell
    and its gradient is taken."""
    from lstmkit.inspection.record import layer_name

    added: dict[tuple[str, int], list[tuple[int, Tensor]]] = {}

    def nudge(name: str, options: Any, t: int, quantity: str, value: Any) -> Any:
        if quantity != "cell" or options.reverse:
            return value
        zero = value.new_zeros(value.shape).requires_grad_()
        added.setdefault((name, options.layer), []).append((t, zero))
        return value + zero

    with evaluating(module), _steered(module, nudge):
        output = read(module(*inputs, **named))
        leaves = [zero for parts in added.values() for _, zero in parts]
        squares = iter(_squared_gradients(output, leaves, projections, seed))
    return {
        layer_name(name, k, False): np.sqrt(np.stack([next(squares).sum(-1) for _ in parts]))
        for (name, k), parts in added.items()
    }


@contextmanager
def _steered(module: nn.Module, nudge: Callable[..., Any]) -> Iterator[None]:
    """Every lstmkit.LSTM inside runs on the equations and asks `nudge(name, ...)`."""
    layers = [(name, layer) for name, layer, is_cell in recurrent(module) if not is_cell]
    before = [layer.steer for _, layer in layers]
    try:
        for name, layer in layers:
            layer.steer = partial(nudge, name)
        yield
    finally:
        for (_, layer), old in zip(layers, before, strict=True):
            layer.steer = old
