"""Whole stacks through a backend that takes them, with double backward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lstmkit.kernels import registry
from lstmkit.kernels.contract import Arguments, CellOptions, StackOptions
from lstmkit.kernels.operators import independent, sequence
from lstmkit.kernels.packing import States


def run_stack(
    x: Tensor, batch_sizes: Tensor | None, hx: States, weights: Sequence[Tensor], o: StackOptions
) -> tuple[Tensor, Tensor, Tensor]:
    """x (T, B, I), or packed data (N, I) with batch_sizes; states (L*D, B, .)."""
    tensors = (x, *hx, *weights)
    if not torch.is_grad_enabled() or not any(t.requires_grad for t in tensors):
        return _call(x, batch_sizes, hx, list(weights), o)
    found: tuple[Tensor, Tensor, Tensor] = _Stack.apply(o, batch_sizes, *tensors)
    return found


def _call(
    x: Tensor, batch_sizes: Tensor | None, hx: States, weights: list[Tensor], o: StackOptions
) -> tuple[Tensor, Tensor, Tensor]:
    vendor: Any = registry.backend("vendor")
    found: tuple[Tensor, Tensor, Tensor] = vendor.stack(x, batch_sizes, hx, weights, o)
    return found


class _Stack(torch.autograd.Function):
    """PyTorch's graph inside one node: its backward runs as ever, and a backward that must itself
    be differentiated (which oneDNN and cuDNN refuse) goes through the operator."""

    @staticmethod
    def forward(ctx: Any, o: StackOptions, batch_sizes: Tensor | None, *tensors: Tensor) -> Any:
        inner = [t.detach().requires_grad_(t.requires_grad) for t in tensors]
        with torch.enable_grad():
            results = _call(inner[0], batch_sizes, (inner[1], inner[2]), inner[3:], o)
        ctx.options, ctx.inner, ctx.results = o, inner, results
        ctx.dtype = results[0].dtype  # not the inputs' under autocast
        ctx.save_for_backward(*tensors, *([] if batch_sizes is None else [batch_sizes]))
        ctx.set_materialize_grads(False)
        return tuple(r.detach() for r in results)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        saved = list(ctx.saved_tensors)  # raises where the graph was freed
        n, keep = len(ctx.inner), torch._C._autograd._get_current_graph_task_keep_graph()
        if torch.is_grad_enabled():
            sizes = saved[n] if len(saved) > n else None
            inputs, create = [_own_variable(t) for t in saved[:n]], True
            results = _replay([t.to(ctx.dtype) for t in inputs], sizes, ctx.options)
        else:
            results, inputs, create = ctx.results, ctx.inner, False
        given = [(r, g) for r, g in zip(results, grads, strict=True) if g is not None]
        wanted = [k for k in range(n) if inputs[k].requires_grad]
        found = torch.autograd.grad(
            [r for r, _ in given],
            [inputs[k] for k in wanted],
            [g for _, g in given],
            retain_graph=keep or create,
            create_graph=create,
            allow_unused=True,
        )
        if not keep:
            ctx.inner = ctx.results = None
        by_place = dict(zip(wanted, found, strict=True))
        return (None, None, *(by_place.get(k) for k in range(n)))


def _own_variable(t: Tensor) -> Tensor:
    return independent(t) if t.requires_grad else t


def _replay(
    tensors: list[Tensor], batch_sizes: Tensor | None, o: StackOptions
) -> tuple[Tensor, Tensor, Tensor]:
    """The same stack through the operator, whose backward can be differentiated."""
    x, h0, c0, *weights = tensors
    lengths = None
    if batch_sizes is not None:
        x, lengths = torch._VF._pad_packed_sequence(x, batch_sizes, False, 0.0, batch_sizes.numel())
        lengths = lengths.to(x.device)
    directions, per = 1 + o.bidirectional, 2 + 2 * o.bias + o.projected
    finals: list[tuple[Tensor, Tensor]] = []
    for layer in range(o.num_layers):
        outputs = []
        for direction in range(directions):
            k = layer * directions + direction
            w = weights[k * per : (k + 1) * per]
            a = _arguments(x, h0[k], c0[k], w, o, lengths)
            options = CellOptions(reverse=bool(direction), training=o.training, layer=layer)
            r = sequence(a, options, keep=True, backend="reference")
            outputs.append(r.output)
            finals.append((r.h_n, r.c_n))
        x = torch.cat(outputs, -1)
    if batch_sizes is not None and lengths is not None:
        x, _ = torch._VF._pack_padded_sequence(x, lengths.cpu(), False)
    return x, torch.stack([h for h, _ in finals]), torch.stack([c for _, c in finals])


def _arguments(
    x: Tensor, h0: Tensor, c0: Tensor, w: list[Tensor], o: StackOptions, lengths: Tensor | None
) -> Arguments:
    names = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if o.bias else [])]
    names += ["weight_hr"] if o.projected else []
    return Arguments(x, h0, c0, **dict(zip(names, w, strict=True)), lengths=lengths)
