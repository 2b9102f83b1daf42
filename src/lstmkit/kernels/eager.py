"""The native kernels as one autograd node, without the dispatch of an operator."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lstmkit.kernels import registry
from lstmkit.kernels.contract import Arguments, CellOptions, Result

GRADIENTS = 8


def sequence(a: Arguments, o: CellOptions, keep: bool, trace: bool) -> Result:
    """One layer, one direction, of plain tensors on a CPU. Without `keep`, where gradients are
    needed, gates are computed again for them."""
    native: Any = registry.backend("native")
    if not torch.is_grad_enabled() or not any(
        x is not None and x.requires_grad for x in a[:GRADIENTS]
    ):
        found = native.results(a, o, keep and trace, True)
    else:
        found = _Sequence.apply(o, keep, trace, *a[13:15], *a[:GRADIENTS])
    return Result(*found, *(found[0],) * (5 - len(found)))  # what nobody asked for, nobody reads


def _arguments(tensors: Any, lengths: Tensor | None, resets: Tensor | None) -> Arguments:
    return Arguments(*tensors)._replace(lengths=lengths, resets=resets)


class _Sequence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        o: CellOptions,
        keep: bool,
        trace: bool,
        lengths: Tensor | None,
        resets: Tensor | None,
        *tensors: Tensor | None,
    ) -> Any:
        native: Any = registry.backend("native")
        a = _arguments(tensors, lengths, resets)
        ctx.set_materialize_grads(False)
        ctx.options = o
        if keep:
            result = native.forward(a, o, True, trace)
            ctx.save_for_backward(lengths, resets, *tensors, result.output, *result[3:], None)
        else:
            result, cells = native.checkpointed(a, o)
            ctx.save_for_backward(lengths, resets, *tensors, result.output, None, None, cells)
        return tuple(result) if trace and keep else tuple(result[:3])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        native: Any = registry.backend("native")
        lengths, resets, *saved = ctx.saved_tensors
        *tensors, output, gates, cell, cells = saved
        a = _arguments(tensors, lengths, resets)
        grads = (*grads, *[None] * (5 - len(grads)))
        if torch.is_grad_enabled():
            from lstmkit.kernels.operators import differentiable_backward

            empty = output.new_empty(0)
            kept = (empty, empty) if gates is None else (gates, cell)
            result = Result(output, a.h0, a.c0, *kept)
            found = differentiable_backward(a, ctx.options, result, grads, "native")
        elif cells is None:
            result = Result(output, output, output, gates, cell)
            found = native.backward(a, ctx.options, result, grads, ctx.needs_input_grad[5:])
        else:
            wanted = ctx.needs_input_grad[5:]
            found = native.from_checkpoints(a, ctx.options, output, cells, grads, wanted)
        return (None, None, None, None, None, *found[:GRADIENTS])
