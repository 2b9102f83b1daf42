"""THE sequence operation: one layer, one direction, over all steps.

Shapes: T steps, B batch, I input width, H cells, P hidden width (H without projection), G gate rows
(4; 3 with coupled gates: i, g, o).

Every backend computes, for t = 0 .. T-1 (or T-1 .. 0 with `reverse`), the step of
`lstmkit.equations.lstm`. Step t of sample b is valid where t < lengths[b]; at other steps the state
is carried on untouched and all results are 0. `resets[t, b]` marks the first step of a segment: the
state is zeroed before step t, or, in reverse, after it. A reset in padding does nothing.

Arguments are read only; results are new memory that aliases no argument. Tensors may have any
strides. dtypes: all floating arguments share one (float64, float32, bfloat16 or float16); below
float32 a backend computes and accumulates in float32 and rounds what it returns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Arguments(NamedTuple):
    """The tensors of one call; what a case does not have is None."""

    input: Tensor  # (T, B, I)
    h0: Tensor  # (B, P)
    c0: Tensor  # (B, H)
    weight_ih: Tensor  # (G*H, I)
    weight_hh: Tensor  # (G*H, P)
    bias_ih: Tensor | None = None  # (G*H,)
    bias_hh: Tensor | None = None  # (G*H,)
    weight_hr: Tensor | None = None  # (P, H)
    weight_peephole: Tensor | None = None  # (3, H) rows i, f, o; coupled (2, H) rows i, o
    norm_ih_weight: Tensor | None = None  # (G*H,)
    norm_hh_weight: Tensor | None = None  # (G*H,)
    norm_c_weight: Tensor | None = None  # (H,)
    norm_c_bias: Tensor | None = None  # (H,)
    lengths: Tensor | None = None  # (B,) int64, 0 <= length <= T, on the input's device
    resets: Tensor | None = None  # (T, B) bool
    seed: Tensor | None = None  # () int64: the key of all masks of this call
    sample_ids: Tensor | None = None  # (B,) int64: the samples' names in the masks

    def to(self, dtype: torch.dtype) -> Arguments:
        """Every floating tensor in another dtype."""
        found = [x.to(dtype) if x is not None and x.is_floating_point() else x for x in self]
        return Arguments(*found)  # type: ignore[arg-type]


DIFFERENTIABLE = Arguments._fields[:13]


@dataclass(frozen=True)
class CellOptions:
    """What a kernel is compiled for. Probabilities are of zoneout (keep the old state) and of
    dropout on h; masks are drawn in training only, from `equations.philox`."""

    reverse: bool = False
    coupled: bool = False
    recurrent_dropout: float = 0.0
    zoneout_h: float = 0.0
    zoneout_c: float = 0.0
    training: bool = False
    layer: int = 0


@dataclass(frozen=True)
class StackOptions:
    """A whole stack of plain layers, for backends that take one. Weights are listed as
    torch.nn.LSTM lists them: layer by layer, forward then reverse, weight_ih, weight_hh,
    [bias_ih, bias_hh], [weight_hr]."""

    num_layers: int = 1
    bidirectional: bool = False
    bias: bool = True
    projected: bool = False
    training: bool = False


class Result(NamedTuple):
    """What a call returns. `gates` and `cell` are kept for the backward pass and for traces; with
    keep=False both are empty, shape (0,)."""

    output: Tensor  # (T, B, P), 0 in padding
    h_n: Tensor  # (B, P): after the last valid step; h0 where the length is 0
    c_n: Tensor  # (B, H)
    gates: Tensor  # (T, B, 4, H): i, f, g, o after their nonlinearity, 0 in padding
    cell: Tensor  # (T, B, H): the carried cell, 0 in padding


# (options of the call, step t, name of a quantity, its value (B, H)) -> the value to go on with;
# names as in `equations.lstm.step`. Only the reference can be steered.
Steer = Callable[[CellOptions, int, str, "Tensor"], "Tensor"]


@dataclass(frozen=True)
class Case:
    """What `registry.select` decides on: a static description of one call of a layer."""

    device: str
    dtype: torch.dtype
    hidden_size: int
    projected: bool = False
    peephole: bool = False
    layer_norm: bool = False
    coupled: bool = False
    zoneout: bool = False
    recurrent_dropout: bool = False
    lengths: bool = False
    resets: bool = False
    recompute: bool = False
    autocast: bool = False  # then dtype is the one that is cast to

    def variants(self) -> list[str]:
        """Names of what a plain LSTM does not have, in this case."""
        names = ("peephole", "layer_norm", "coupled", "zoneout", "recurrent_dropout", "resets")
        return [name for name in names if getattr(self, name)]


class Backend(Protocol):
    """One implementation of the contract. `backward` None lends the reference's."""

    name: str
    description: str

    def supports(self, case: Case) -> str | None:
        """None, or why not."""
        ...

    def forward(self, a: Arguments, o: CellOptions, keep: bool) -> Result: ...

    backward: BackwardFunction | None


class BackwardFunction(Protocol):
    def __call__(
        self, a: Arguments, o: CellOptions, result: Result, grads: Sequence[Tensor]
    ) -> list[Tensor | None]:
        """Gradients of the DIFFERENTIABLE arguments, from those of the five results."""
        ...


def previous(
    states: Tensor, first: Tensor, lengths: Tensor | None, resets: Tensor | None, reverse: bool
) -> Tensor:
    """The state that each step starts from, (T, B, .), given the state that each step left.

    `states` (T, B, .) are 0 in padding, `first` (B, .) is the initial state. A reverse sample
    starts at its last valid step.
    """
    if reverse:
        left = states.roll(-1, 0)
        left[-1] = first
        if lengths is not None:
            steps = _steps(states)
            left = left.where((steps + 1 != lengths)[..., None], first)
        if resets is not None:
            after = resets.roll(-1, 0)
            after[-1] = False
            after = after & valid_steps(states, lengths).roll(-1, 0)
            left = left.masked_fill(after[..., None], 0.0)
        return left
    left = states.roll(1, 0)
    left[0] = first
    return left if resets is None else left.masked_fill(resets[..., None], 0.0)


def _steps(states: Tensor) -> Tensor:
    import torch

    return torch.arange(states.shape[0], device=states.device)[:, None]


def valid_steps(states: Tensor, lengths: Tensor | None) -> Tensor:
    """(T, B) bool: t < lengths[b], for any (T, B, ..) tensor."""
    steps = _steps(states)
    if lengths is None:
        return (steps >= 0).expand(states.shape[0], states.shape[1])
    return steps < lengths
