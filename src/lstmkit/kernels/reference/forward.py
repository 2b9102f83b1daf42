"""The equations, unrolled over time. Differentiable to any order by autograd."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from lstmkit.equations.lstm import Step, Weights, project_input, step, unedited
from lstmkit.kernels.contract import Arguments, CellOptions, Result, Steer, valid_steps
from lstmkit.kernels.masks import Masks, draw

if TYPE_CHECKING:
    from torch import Tensor


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """float32 for what is narrower, else the dtype itself."""
    return torch.float32 if dtype in (torch.bfloat16, torch.float16) else dtype


def widen(a: Arguments) -> Arguments:
    """The arguments in the dtype that is computed in, and 0 where the input is padding: NaN there
    must not reach a gradient."""
    dtype = compute_dtype(a.input.dtype)
    a = a.to(dtype)
    if a.lengths is None:
        return a
    padding = ~valid_steps(a.input, a.lengths)
    return a._replace(input=a.input.masked_fill(padding[..., None], 0.0))


def weights(a: Arguments) -> Weights:
    return Weights(*a[3:13])


def order(T: int, reverse: bool) -> range:
    """The steps in the order in which they are processed."""
    return range(T - 1, -1, -1) if reverse else range(T)


def forward(a: Arguments, o: CellOptions, keep: bool = True, steer: Steer | None = None) -> Result:
    """See `contract`: one layer, one direction, all steps; `steer` may change what they compute."""
    dtype = a.input.dtype
    a = widen(a)
    w, masks = weights(a), draw(a, o, a.input.dtype)
    zx = project_input(a.input, w)
    valid = None if a.lengths is None else valid_steps(a.input, a.lengths)
    h, c = a.h0, a.c0
    T = a.input.shape[0]
    outputs: list[Tensor] = [h] * T
    kept: list[tuple[Tensor, Tensor]] = [(h, c)] * T
    for t in order(T, o.reverse):
        starts = segment_starts(a.resets, valid, t)
        if not o.reverse:
            h, c = zeroed(h, starts), zeroed(c, starts)
        edit = unedited if steer is None else partial(steer, o, t)
        s = step(zx[t], h, c, w, coupled=o.coupled, edit=edit, **_at(masks, t))
        outputs[t], kept[t] = s.hidden, (gates(s), s.cell)
        h, c = _carried(valid, t, s.hidden, h), _carried(valid, t, s.cell, c)
        if o.reverse:
            h, c = zeroed(h, starts), zeroed(c, starts)
    output = _masked(torch.stack(outputs), valid)
    all_gates, cell = output.new_empty(0), output.new_empty(0)
    if keep:
        all_gates = _masked(torch.stack([k[0] for k in kept]), valid)
        cell = _masked(torch.stack([k[1] for k in kept]), valid)
    found = Result(output, _own(h, a.h0), _own(c, a.c0), all_gates, cell)
    return Result(*(x.to(dtype) for x in found))


def gates(s: Step) -> Tensor:
    """(B, 4, H): i, f, g, o."""
    return torch.stack([s.input_gate, s.forget_gate, s.candidate, s.output_gate], dim=-2)


def _at(masks: Masks, t: int) -> dict[str, Any]:
    keep_h, keep_c = (k if isinstance(k, float) else k[t] for k in (masks.keep_h, masks.keep_c))
    return {"drop_h": masks.drop_h, "keep_h": keep_h, "keep_c": keep_c}


def segment_starts(resets: Tensor | None, valid: Tensor | None, t: int) -> Tensor | None:
    """(B, 1) bool: where step t begins a segment; a reset in padding does nothing."""
    if resets is None:
        return None
    return (resets[t] if valid is None else resets[t] & valid[t])[:, None]


def zeroed(state: Tensor, starts: Tensor | None) -> Tensor:
    """`state` (B, .), or its gradient, cut at the start of a segment."""
    return state if starts is None else state.masked_fill(starts, 0.0)


def _carried(valid: Tensor | None, t: int, new: Tensor, old: Tensor) -> Tensor:
    return new if valid is None else new.where(valid[t][:, None], old)


def _masked(x: Tensor, valid: Tensor | None) -> Tensor:
    if valid is None:
        return x
    return x.masked_fill(~valid.reshape(*valid.shape, *[1] * (x.dim() - 2)), 0.0)


def _own(state: Tensor, initial: Tensor) -> Tensor:
    """A result must not alias an argument, and is contiguous as the operator promises."""
    if state is initial:
        return state.clone(memory_format=torch.contiguous_format)
    return state.contiguous()
