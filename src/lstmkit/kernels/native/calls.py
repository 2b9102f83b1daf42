"""Calls of the native kernels: results are allocated, addresses passed.

The kernels trust their addresses, so sizes, dtypes and devices are checked here. Arguments that are
not laid out as native/contract.h wants them are copied here, in sight. Short on purpose: at small
sizes a call costs as much as the kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lstmkit.engine import NATIVE, status
from lstmkit.errors import UserError
from lstmkit.kernels.contract import Arguments, CellOptions, Result

Shape = tuple[int, int, int, int, int, bool, bool]  # T, B, I, H, P, projected, reverse
GRADIENTS = 8  # differentiable arguments of the cells that run here


def forward(a: Arguments, o: CellOptions, keep: bool, clear: bool = True) -> Result:
    """See `contract`. Without `clear`, gates and cell are not written in padding."""
    found = results(a, o, keep, clear)
    if not keep:
        found += [a.input.new_empty(0), a.input.new_empty(0)]
    return Result(*found)


def results(a: Arguments, o: CellOptions, keep: bool, clear: bool) -> list[Tensor]:
    """As `forward`, without empty tensors for what is not kept."""
    shape, a, inputs = _prepared(a, o)
    T, B, _, H, P = shape[:5]
    new = a.input.new_empty
    found = [new((T, B, P)), new((B, P)), new((B, H))]
    if keep:
        found += [new((T, B, 4, H)), new((T, B, H))]
    addresses = [x.data_ptr() for x in found] + ([0] if keep else [0, 0, 0])
    _function("forward", a)(*inputs, *addresses, clear, torch.get_num_threads())
    return found


def checkpointed(a: Arguments, o: CellOptions) -> tuple[Result, Tensor]:
    """Forward that keeps no gates: a result without them, and the cells (K, B, H) from which
    `from_checkpoints` goes."""
    shape, a, inputs = _prepared(a, o)
    T, B, _, H, P = shape[:5]
    new = a.input.new_empty
    output, h_n, c_n = new((T, B, P)), new((B, P)), new((B, H))
    cells = new((_native().checkpoint_count(shape, inputs[2]), B, H))
    addresses = [output.data_ptr(), h_n.data_ptr(), c_n.data_ptr(), 0, 0, cells.data_ptr()]
    _function("forward", a)(*inputs, *addresses, False, torch.get_num_threads())
    return Result(output, h_n, c_n, new(0), new(0)), cells


def backward(
    a: Arguments,
    o: CellOptions,
    result: Result,
    grads: Sequence[Tensor | None],
    wanted: Sequence[bool] | None = None,
) -> list[Tensor | None]:
    """Gradients of the 13 differentiable arguments; of those only that are `wanted`."""
    kept = (result.output.contiguous(), result.gates.contiguous(), result.cell.contiguous())
    return _backward(a, o, (*kept, None), grads, wanted)


def from_checkpoints(
    a: Arguments,
    o: CellOptions,
    output: Tensor,
    cells: Tensor,
    grads: Sequence[Tensor | None],
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """As `backward`, computing gates again stretch by stretch: the same bits, less memory."""
    return _backward(a, o, (output, None, None, cells), grads, wanted)


def _backward(
    a: Arguments,
    o: CellOptions,
    kept: tuple[Tensor | None, ...],  # output, gates, cell, checkpoints
    grads: Sequence[Tensor | None],
    wanted: Sequence[bool] | None,
) -> list[Tensor | None]:
    _, a, inputs = _prepared(a, o)
    new = a.input.new_empty
    found: list[Tensor | None] = [None] * 13
    for k in range(GRADIENTS):
        x = a[k]
        if x is not None and (wanted is None or wanted[k]):
            found[k] = new(x.shape)
    d_output = _frame_like(grads[0])
    others = [None if g is None else _real(g) for g in grads[1:]]
    d = [0 if x is None else x.data_ptr() for x in found[:GRADIENTS]]
    _function("backward", a)(
        *inputs,
        *[_at(x) for x in kept],
        _frame(d_output),
        *[_at(g) for g in others],
        *d[:3],
        tuple(d[3:]),
        torch.get_num_threads(),
    )
    return found


# --- checks and addresses -------------------------------------------------------------------------


def _prepared(a: Arguments, o: CellOptions) -> tuple[Shape, Arguments, tuple[Any, ...]]:
    """Sizes; the arguments as the kernels take them, which the caller holds on to; addresses."""
    x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr = a[:GRADIENTS]
    assert x is not None and h0 is not None and c0 is not None
    (T, B, I), H, P = x.shape, c0.shape[1], h0.shape[1]
    sizes: tuple[tuple[Tensor | None, int], ...]
    sizes = ((h0, B * P), (c0, B * H), (w_ih, 4 * H * I), (w_hh, 4 * H * P))
    sizes += ((b_ih, 4 * H), (b_hh, 4 * H), (w_hr, P * H))
    addresses = []
    copies = None
    for k, (t, size) in enumerate(sizes):
        if t is None:
            addresses.append(0)
            continue
        if t.numel() != size or t.dtype != x.dtype or not t.is_cpu:
            raise _misfit(a, k + 1, size)
        if not t.is_contiguous():
            t = t.contiguous()
            copies = copies or list(a)
            copies[k + 1] = t
        addresses.append(t.data_ptr())
    if (w_hr is None and P != H) or T == 0 or not x.is_cpu:
        raise _misfit(a, 0, T * B * I)
    lengths, resets = a.lengths, a.resets
    if lengths is not None:
        lengths = _flags(lengths, torch.int64, (B,))
    if resets is not None:
        resets = _flags(resets, torch.bool, (T, B))
    frame = _frame_like(x)
    if frame is not x or lengths is not a.lengths or resets is not a.resets or copies:
        copies = copies or list(a)
        copies[0], copies[13], copies[14] = frame, lengths, resets
    if copies:
        a = Arguments(*copies)  # type: ignore[arg-type]
    shape = (T, B, I, H, P, w_hr is not None, o.reverse)
    weights = tuple(addresses[2:])
    steps = _at(lengths), _at(resets)
    return shape, a, (shape, weights, *steps, _frame(frame), *addresses[:2])


def _misfit(a: Arguments, k: int, size: int) -> UserError:
    x, name = a[k], Arguments._fields[k]
    assert x is not None
    return UserError(
        f"{name} does not fit the other arguments of the sequence operation",
        got=f"{tuple(x.shape)} {x.dtype} on {x.device}",
        expected=f"{size} elements, {a.input.dtype} on cpu, as input {tuple(a.input.shape)} and "
        f"c0 {tuple(a.c0.shape)} have it",
    )


def _flags(x: Tensor, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    if x.shape != shape:
        raise UserError(f"expected {shape} lengths or resets, got {tuple(x.shape)}")
    if x.dtype is dtype and x.is_cpu and x.is_contiguous():
        return x
    return x.to("cpu", dtype).contiguous()


def _real(grad: Tensor) -> Tensor | None:
    """None for zeros that were expanded to a shape: of what was not kept, or not asked for."""
    if not grad.is_contiguous():
        if not any(grad.stride()) and not grad.any():
            return None
        return grad.contiguous()
    return grad


def _frame_like(x: Any) -> Any:
    """x with its last index contiguous."""
    if x is None or x.is_contiguous() or x.stride(-1) == 1 or x.shape[-1] == 1:
        return x
    return x.contiguous()


def _frame(x: Tensor | None) -> tuple[int, int, int]:
    return (0, 0, 0) if x is None else (x.data_ptr(), x.stride(0), x.stride(1))


def _at(x: Tensor | None) -> int:
    return 0 if x is None else x.data_ptr()


def _native() -> Any:
    if NATIVE is None:
        raise UserError(f"the native engine is not there: {status()['reason']}")
    return NATIVE


def _function(name: str, a: Arguments) -> Any:
    return getattr(_native(), f"{name}_f32" if a.input.dtype == torch.float32 else f"{name}_f64")
