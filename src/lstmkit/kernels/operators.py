"""The registered torch operator `lstmkit::lstm_sequence`, once for all backends.

It is opaque to the compiler: one node under torch.compile(fullgraph=True) and torch.export, whose
compile time does not depend on T. The rules that PyTorch asks for are here and nowhere else: shapes
(fake), autocast, autograd, double backward (to any order, through the reference's equations).
functorch's transforms (vmap, grad, jvp) see the reference's equations themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import Parameter

from lstmkit.kernels import eager, registry
from lstmkit.kernels.contract import DIFFERENTIABLE, Arguments, CellOptions, Result, Steer
from lstmkit.kernels.recover import recover

GRADIENTS = len(DIFFERENTIABLE)


@torch.library.custom_op("lstmkit::lstm_sequence", mutates_args=())
def lstm_sequence(
    input: Tensor,
    h0: Tensor,
    c0: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    weight_hr: Tensor | None,
    weight_peephole: Tensor | None,
    norm_ih_weight: Tensor | None,
    norm_hh_weight: Tensor | None,
    norm_c_weight: Tensor | None,
    norm_c_bias: Tensor | None,
    lengths: Tensor | None,
    resets: Tensor | None,
    seed: Tensor | None,
    sample_ids: Tensor | None,
    reverse: bool,
    coupled: bool,
    recurrent_dropout: float,
    zoneout_h: float,
    zoneout_c: float,
    training: bool,
    layer: int,
    keep: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """One layer, one direction, all steps: see `lstmkit.kernels.contract`."""
    a = Arguments(
        input, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, weight_hr, weight_peephole,
        norm_ih_weight, norm_hh_weight, norm_c_weight, norm_c_bias, lengths, resets, seed,
        sample_ids,
    )  # fmt: skip
    o = CellOptions(reverse, coupled, recurrent_dropout, zoneout_h, zoneout_c, training, layer)
    return tuple(_run(a, o, keep, backend))  # type: ignore[return-value]


def _run(a: Arguments, o: CellOptions, keep: bool, backend: str) -> Result:
    result = registry.backend(backend).forward(a, o, keep)
    if not keep or result.gates.dim() > 1:
        return result
    gates, cell = recover(a, result.output, o.reverse)
    return result._replace(gates=gates, cell=cell)


@lstm_sequence.register_fake
def _(input: Tensor, h0: Tensor, c0: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    keep = rest[-2]
    T, B = input.shape[:2]
    H = c0.shape[-1]
    gates = input.new_empty(T, B, 4, H) if keep else input.new_empty(0)
    cell = input.new_empty(T, B, H) if keep else input.new_empty(0)
    output = input.new_empty(T, B, h0.shape[-1])
    return output, input.new_empty(h0.shape), input.new_empty(c0.shape), gates, cell


@torch.library.custom_op("lstmkit::lstm_sequence_backward", mutates_args=())
def lstm_sequence_backward(
    tensors: Sequence[Tensor],
    present: Sequence[int],
    grads: Sequence[Tensor],
    results: Sequence[Tensor],
    reverse: bool,
    coupled: bool,
    recurrent_dropout: float,
    zoneout_h: float,
    zoneout_c: float,
    training: bool,
    layer: int,
    backend: str,
) -> list[Tensor]:
    """Gradients of those arguments in `present` that are differentiable, in order.

    `tensors` are the arguments that are there, `present` their places in `Arguments`.
    """
    a = _unpack(tensors, present)
    o = CellOptions(reverse, coupled, recurrent_dropout, zoneout_h, zoneout_c, training, layer)
    result = Result(*results)
    if result.gates.dim() == 1:  # recompute: trades time for memory
        result = _run(a, o, True, backend)
    backward = registry.backend(backend).backward or registry.backend("reference").backward
    assert backward is not None
    found = backward(a, o, result, grads)
    return _distinct([found[k] for k in present if k < GRADIENTS])


@lstm_sequence_backward.register_fake
def _(tensors: Sequence[Tensor], present: Sequence[int], *rest: Any) -> list[Tensor]:
    return [x.new_empty(x.shape) for x, k in zip(tensors, present, strict=True) if k < GRADIENTS]


def _unpack(tensors: Sequence[Tensor], present: Sequence[int]) -> Arguments:
    slots: list[Tensor | None] = [None] * len(Arguments._fields)
    for k, x in zip(present, tensors, strict=True):
        slots[k] = x
    return Arguments(*slots)  # type: ignore[arg-type]


def _distinct(found: list[Tensor | None]) -> list[Tensor]:
    """No two results of an operator may be the same memory (both biases have one gradient)."""
    seen: set[int] = set()
    results = []
    for x in found:
        assert x is not None
        results.append(x.clone() if id(x) in seen else x.contiguous())
        seen.add(id(x))
    return results


# --- autograd -------------------------------------------------------------------------------------


def _setup_forward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    n = len(Arguments._fields)
    ctx.present = [k for k in range(n) if inputs[k] is not None]
    ctx.options = inputs[n:]
    ctx.save_for_backward(*(inputs[k] for k in ctx.present), *output)


def _backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
    saved = ctx.saved_tensors
    tensors, results = saved[: len(ctx.present)], saved[len(ctx.present) :]
    *options, _keep, backend = ctx.options
    a, o = _unpack(tensors, ctx.present), CellOptions(*options)
    found = differentiable_backward(a, o, Result(*results), grads, backend)
    n = len(Arguments._fields) + len(ctx.options)
    return (*found, *[None] * (n - len(found)))


def _full(grad: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if grad is None else grad


def _full_kept(grads: Sequence[Tensor], tensors: Sequence[Any]) -> list[Tensor]:
    """Gradients of gates and cell; where these were not kept, zeros in their shape (no memory)."""
    gates, cell = grads
    if gates.dim() > 1:
        return [gates, cell]
    (T, B), H = tensors[0].shape[:2], tensors[2].shape[-1]
    zero = gates.new_zeros(1)
    return [zero.expand(T, B, 4, H), zero.expand(T, B, H)]


def differentiable_backward(
    a: Arguments, o: CellOptions, result: Result, grads: Sequence[Tensor | None], backend: str
) -> list[Tensor | None]:
    """Gradients of the 13 differentiable arguments through the operator, whose own backward
    differentiates them again."""
    present = [k for k, x in enumerate(a) if x is not None]
    full = [_full(g, r) for g, r in zip(grads, result, strict=True)]
    full[3:] = _full_kept(full[3:], a)
    found = lstm_sequence_backward(
        [a[k] for k in present],
        present,
        full,
        list(result),
        o.reverse,
        o.coupled,
        float(o.recurrent_dropout),
        float(o.zoneout_h),
        float(o.zoneout_c),
        o.training,
        o.layer,
        backend,
    )
    by_place = dict(zip([k for k in present if k < GRADIENTS], found, strict=True))
    return [by_place.get(k) for k in range(GRADIENTS)]


lstm_sequence.register_autograd(_backward, setup_context=_setup_forward)


def _setup_backward(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    tensors, ctx.present, grads, _results, *ctx.options, _backend = inputs
    ctx.counts = len(tensors), len(grads), len(_results)
    ctx.save_for_backward(*tensors, *grads)


def _double_backward(ctx: Any, grads_of_grads: Sequence[Tensor]) -> tuple[Any, ...]:
    """Differentiates the reference's equations twice: exact, and itself differentiable."""
    n, _, r = ctx.counts
    saved = ctx.saved_tensors
    tensors, grads = list(saved[:n]), list(saved[n:])
    with torch.enable_grad():
        tensors = [independent(x) for x in tensors]
        grads = [independent(g) for g in grads]
        a, o = _unpack(tensors, ctx.present), CellOptions(*ctx.options)
        results = registry.backend("reference").forward(a, o, True)
        wanted = [x for x, k in zip(tensors, ctx.present, strict=True) if k < GRADIENTS]
        first = _grad(results, wanted, grads, create_graph=True)
        pairs = zip(first, grads_of_grads, strict=True)
        total = sum((g * v).sum() for g, v in pairs if v is not None)
        sources = [*wanted, *grads]
        second = _grad([total], sources, None, create_graph=torch.is_grad_enabled())
    places = iter(second)
    d_tensors = [next(places) if k < GRADIENTS else None for k in ctx.present]
    d_grads = list(places)
    return (d_tensors, None, d_grads, [None] * r, *[None] * (len(ctx.options) + 1))


def independent(x: Tensor) -> Tensor:
    """x as a variable of its own: derivatives with respect to it do not see that x may depend on
    other variables (the input of one layer on the weights of another), yet pass on to x."""
    if not x.is_floating_point():
        return x
    return x.view_as(x) if x.requires_grad else x.detach().requires_grad_()


def _grad(
    outputs: Sequence[Any], inputs: Sequence[Tensor], grads: Any, create_graph: bool
) -> list[Tensor]:
    found = torch.autograd.grad(
        list(outputs), list(inputs), grads, create_graph=create_graph, allow_unused=True
    )
    return [torch.zeros_like(x) if g is None else g for g, x in zip(found, inputs, strict=True)]


lstm_sequence_backward.register_autograd(_double_backward, setup_context=_setup_backward)


# --- the call that layers make --------------------------------------------------------------------


def transformed() -> bool:
    """Whether functorch transforms, or forward-mode derivatives are taken."""
    if torch._C._are_functorch_transforms_active():
        return True
    return not torch.compiler.is_compiling() and forward_ad._current_level >= 0


def _plain(a: Arguments) -> bool:
    """Whether nothing stands between the caller and the memory of real tensors: then the call may
    go past the operator, whose dispatch costs more than a small kernel."""
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack():
        return False
    if torch._C._get_tracing_state() is not None:
        return False
    return all(x is None or type(x) is Tensor or type(x) is Parameter for x in a)


def _one_dtype(a: Arguments) -> None:
    dtype = a.input.dtype
    for name, x in zip(DIFFERENTIABLE, a, strict=False):
        if x is not None and x.dtype != dtype:
            raise RuntimeError(
                f"input and {name} are not the same dtype, found {dtype} and {x.dtype}"
            )


def steered(a: Arguments, o: CellOptions, steer: Steer) -> Result:
    """`sequence` on the reference, where `steer` may change every quantity of every step."""
    _one_dtype(a)
    reference: Any = registry.backend("reference")
    found: Result = reference.forward(a, o, True, steer)
    return found


def sequence(
    a: Arguments, o: CellOptions, *, keep: bool, backend: str, trace: bool = True
) -> Result:
    """One layer, one direction. `keep` asks for gates and cell: for the caller where it wants a
    `trace`, else for the backward pass alone. Under autocast everything is cast to the autocast
    dtype first."""
    device = a.input.device.type
    autocast = device != "meta" and torch.is_autocast_enabled(device)
    if autocast and a.input.dtype != torch.float64:
        a = a.to(torch.get_autocast_dtype(device))
    _one_dtype(a)
    if transformed():
        return registry.backend("reference").forward(a, o, keep)
    if backend == "native" and _plain(a):
        return eager.sequence(a, o, keep, trace)
    return Result(
        *lstm_sequence(
            *a,
            o.reverse,
            o.coupled,
            float(o.recurrent_dropout),
            float(o.zoneout_h),
            float(o.zoneout_c),
            o.training,
            o.layer,
            keep,
            backend,
        )
    )
