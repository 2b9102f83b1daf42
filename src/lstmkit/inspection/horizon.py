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
from lstmkit.inspection.modules import evaluating, recurrent
from lstmkit.inspection.record import Recording, lengths_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Answer = Callable[[Any], "Tensor"]

REACH = 0.95  # of the sensitivity
TOLERANCE = 0.01  # of the score
MOST_STEPS = 20_000  # of the equations in Python, for the gradient of cells: steps x projections


@dataclass(frozen=True)
class Cut:
    """The score where only the last `kept` steps before the answer could be remembered.

    Attributes:
        kept: (K,) steps, ascending; 0 keeps none.
        score: (K,) lower is better.
        full: with the whole memory.
        metric: its name.
    """

    kept: np.ndarray
    score: np.ndarray
    full: float
    metric: str = "score"

    @property
    def needed(self) -> int:
        """The fewest steps from which on the score stays within 1 % of the whole memory's."""
        near = self.score <= self.full + TOLERANCE * abs(self.full)
        enough = np.flatnonzero(np.logical_and.accumulate(near[::-1])[::-1])
        return int(self.kept[enough[0]]) if len(enough) else int(self.kept[-1])


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
    found = {}
    for layer in recording.layers:
        f = layer.forget_gate[recording.valid(layer)].astype(np.float64)
        rate = np.abs(np.log(np.clip(f, 1e-12, 1.0)).mean(0))
        with np.errstate(divide="ignore"):
            found[layer.name] = 1.0 / rate
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
        module: called as `module(*inputs, **named)`, in evaluation mode. Its first recurrent layer
            (any torch.nn.RNNBase: lstmkit.LSTM, torch.nn.RNN ...) is where gradients are taken, so
            that what reaches the answer on another way is left out.
        anchor: (N,) or one number: the last step that is looked at; the last valid one if left out.
        answer: (N, A) from the module's output; all of it if left out.
        projections: the norm of the Jacobian is exact up to so many answers, else estimated from so
            many random +-1 projections (Hutchinson 1990).
        cells: also by the cell states of lstmkit.LSTM layers, forward in time; runs in Python.

    Raises:
        UserError: no recurrent layer ran, or the answer does not depend on it.
    """
    import torch

    first = _first_recurrent(module)
    read = answer or _flat
    with evaluating(module), torch.enable_grad(), _watched_input(first) as seen:
        output = read(module(*inputs, **named))
        x, lengths = _seen(seen)
        squares = _squared_gradients(output, [x.leaf], projections, seed)[0]
    by_step = np.sqrt(x.time_first(squares).sum(-1))  # (T, N)
    lags, available = _by_lag(by_step, _anchor(anchor, lengths, by_step.shape))
    found = Horizon(lags, available=available)
    if not cells:
        return found
    few = max(1, min(projections, MOST_STEPS // len(by_step)))
    by_cell = _cell_gradients(module, inputs, named, read, few, seed)
    lagged = {name: _by_lag(g, _anchor(anchor, lengths, g.shape))[0] for name, g in by_cell.items()}
    return replace(found, cells=lagged)


def _flat(output: Any) -> Tensor:
    """The module's output, the first part of a tuple, as (N, A)."""
    first = output[0] if isinstance(output, (tuple, list)) else output
    found: Tensor = first.reshape(len(first), -1)
    return found


def _first_recurrent(module: nn.Module) -> list[Any]:
    from torch import nn

    found = [part for part in module.modules() if isinstance(part, nn.RNNBase)]
    if not found:
        raise UserError(
            "there is no recurrent layer in this module",
            expected="lstmkit.LSTM, or any torch.nn.RNNBase",
        )
    return found


@dataclass
class _Input:
    """What the first recurrent layer was given, as a leaf that gradients arrive at."""

    leaf: Tensor
    batch_first: bool
    unpack: Callable[[Tensor], Tensor] | None = None

    def time_first(self, gradient: np.ndarray) -> np.ndarray:
        """(T, N, I) of a gradient in the leaf's own layout."""
        import torch

        if self.unpack is not None:
            found: np.ndarray = self.unpack(torch.from_numpy(gradient)).numpy()
            return found
        gradient = gradient if gradient.ndim == 3 else gradient[:, None]
        return gradient.swapaxes(0, 1) if self.batch_first and self.leaf.dim() == 3 else gradient


@contextmanager
def _watched_input(layers: Sequence[Any]) -> Iterator[list[Any]]:
    """The input of whichever layer runs first becomes a leaf; it and its lengths are noted."""
    from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

    seen: list[Any] = []

    def before(layer: Any, args: Any, kwargs: Any) -> Any:
        if seen:
            return None
        given = args[0] if args else kwargs["input"]
        lengths = lengths_of(given, kwargs)
        if isinstance(given, PackedSequence):
            leaf = given.data.detach().requires_grad_()
            entered: Any = given._replace(data=leaf)
            seen.append((_Input(leaf, False, lambda g: _unpacked(given, g)), lengths))
        else:
            leaf = entered = given.detach().requires_grad_()
            seen.append((_Input(leaf, layer.batch_first), lengths))
        return ((entered, *args[1:]), kwargs) if args else ((), {**kwargs, "input": entered})

    def _unpacked(packed: Any, gradient: Tensor) -> Tensor:
        padded: Tensor = pad_packed_sequence(packed._replace(data=gradient.to(packed.data)))[0]
        return padded.double()

    handles = [layer.register_forward_pre_hook(before, with_kwargs=True) for layer in layers]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _seen(seen: list[Any]) -> tuple[_Input, Any]:
    if not seen:
        raise UserError("the module did not call any of its recurrent layers")
    found: tuple[_Input, Any] = seen[0]
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


def _anchor(anchor: Any, lengths: Any, shape: tuple[int, ...]) -> np.ndarray:
    """(N,) the last step that is looked at."""
    T, N = shape[:2]
    if anchor is None:
        anchor = T - 1 if lengths is None else np.asarray(lengths.cpu()) - 1
    found = np.broadcast_to(np.asarray(anchor, np.int64), (N,))
    if (found >= T).any():
        raise UserError(f"the anchor {found.max()} is no step", expected=f"0 to {T - 1}")
    return found


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


def cut_by_lag(
    module: nn.Module,
    *inputs: Any,
    score: Callable[[Any], float],
    anchor: Any = None,
    kept: Sequence[int] | None = None,
    metric: str = "score",
    **named: Any,
) -> Cut:
    """The score where the state is wiped so that only the last `kept` steps can be remembered.

    Every lstmkit.LSTM inside is reset before step anchor - kept + 1 of each sample, as `resets`
    does: what follows equals a run that begins there.

    Args:
        score: of the module's output, lower is better.
        anchor: (N,) or one number, as in `gradient_by_lag`.
        kept: how many steps: 1, 2, 3, 4, 6, 8, 12 ... if left out; before them 0, a reset after the
            anchor, where steps follow it.

    Raises:
        UserError: no recurrent layer ran, or it was given a PackedSequence.
    """
    import torch

    with evaluating(module), torch.no_grad():
        with _watched_input(_first_recurrent(module)) as seen:
            full = float(score(module(*inputs, **named)))
        x, lengths = _seen(seen)
        shape = _shape(x)
        last = _anchor(anchor, lengths, shape)
        follow = bool((last + 1 < shape[0]).all())
        kept = list(kept) if kept is not None else ladder(int(last.max()) + 1, 0 if follow else 1)
        scores = []
        for k in kept:
            with _reset_before(module, last - k + 1, shape):
                scores.append(float(score(module(*inputs, **named))))
    return Cut(np.asarray(kept), np.asarray(scores), full, metric)


def ladder(most: int, least: int = 1) -> list[int]:
    """`least`, ... 1, 2, 3, 4, 6, 8, 12, 16, 24 ... and `most`."""
    steps = {0, *(2**k for k in range(32)), *(3 * 2**k for k in range(30))}
    return sorted(k for k in steps if least <= k < most) + [most]


def _shape(x: _Input) -> tuple[int, int]:
    if x.unpack is not None:
        raise UserError(
            "the state of a packed sequence cannot be cut", hint="give lengths= instead of packing"
        )
    if x.leaf.dim() == 2:
        return x.leaf.shape[0], 1
    T, N = x.leaf.shape[:2]
    return (N, T) if x.batch_first else (T, N)


@contextmanager
def _reset_before(module: nn.Module, step: np.ndarray, shape: tuple[int, int]) -> Iterator[None]:
    """Every lstmkit.LSTM inside forgets before `step` (N,); a step outside is no reset."""
    import torch

    T, N = shape
    resets = torch.zeros(T, N, dtype=torch.bool)
    inside = (step > 0) & (step < T)
    resets[step[inside], np.flatnonzero(inside)] = True

    def before(layer: Any, args: Any, kwargs: Any) -> Any:
        given = args[0] if args else kwargs["input"]
        mine = _resets_for(layer, given, resets)
        old = kwargs.get("resets")
        return args, {**kwargs, "resets": mine if old is None else mine | old}

    layers = [layer for _, layer, is_cell in recurrent(module) if not is_cell]
    handles = [layer.register_forward_pre_hook(before, with_kwargs=True) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _resets_for(layer: Any, given: Any, resets: torch.Tensor) -> Any:
    """The resets in the layout of this layer's input; those of steps that it does not have go."""
    if given.dim() == 2:
        return resets[: len(given), 0].to(given.device)
    T = given.shape[1 if layer.batch_first else 0]
    mine = resets[:T].to(given.device)
    return mine.T if layer.batch_first else mine
