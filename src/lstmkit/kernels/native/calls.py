"""Calls of the native kernels: results are allocated, addresses passed.

The kernels trust their addresses, so shapes, dtypes and devices are checked here. Arguments whose
last index is not contiguous, or that are not contiguous where native/contract.h wants it, are
copied here, in sight.
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


def forward(a: Arguments, o: CellOptions, keep: bool, clear: bool = True) -> Result:
    """See `contract`. Without `clear`, gates and cell are not written in padding."""
    shape, a = _checked(a, o)
    T, B, _, H, P = shape[:5]
    new = a.input.new_empty
    output, h_n, c_n = new(T, B, P), new(B, P), new(B, H)
    gates, cell = (new(T, B, 4, H), new(T, B, H)) if keep else (new(0), new(0))
    kept = (gates.data_ptr(), cell.data_ptr()) if keep else (0, 0)
    _call("forward", a)(
        *_inputs(shape, a),
        output.data_ptr(),
        h_n.data_ptr(),
        c_n.data_ptr(),
        *kept,
        0,
        clear,
        torch.get_num_threads(),
    )
    return Result(output, h_n, c_n, gates, cell)


def backward(
    a: Arguments,
    o: CellOptions,
    result: Result,
    grads: Sequence[Tensor | None],
    wanted: Sequence[bool] | None = None,
) -> list[Tensor | None]:
    """Gradients of the 13 differentiable arguments; of those only that are `wanted`."""
    return _backward(a, o, result.output, (result.gates, result.cell), None, grads, wanted)


def checkpointed(a: Arguments, o: CellOptions) -> tuple[Result, Tensor]:
    """Forward that keeps no gates: a result without them, and the cells (K, B, H) from which
    `from_checkpoints` goes."""
    shape, a = _checked(a, o)
    T, B, _, H, P = shape[:5]
    new = a.input.new_empty
    output, h_n, c_n = new(T, B, P), new(B, P), new(B, H)
    checkpoints = new(_native().checkpoint_count(shape, _at(a.lengths)), B, H)
    _call("forward", a)(
        *_inputs(shape, a),
        output.data_ptr(),
        h_n.data_ptr(),
        c_n.data_ptr(),
        0,
        0,
        checkpoints.data_ptr(),
        False,
        torch.get_num_threads(),
    )
    return Result(output, h_n, c_n, new(0), new(0)), checkpoints


def from_checkpoints(
    a: Arguments,
    o: CellOptions,
    output: Tensor,
    checkpoints: Tensor,
    grads: Sequence[Tensor | None],
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """As `backward`, computing gates again stretch by stretch: the same bits, less memory."""
    return _backward(a, o, output, None, checkpoints, grads, wanted)


def _backward(
    a: Arguments,
    o: CellOptions,
    output: Tensor,
    kept: tuple[Tensor, Tensor] | None,
    checkpoints: Tensor | None,
    grads: Sequence[Tensor | None],
    wanted: Sequence[bool] | None,
) -> list[Tensor | None]:
    shape, a = _checked(a, o)
    found: list[Tensor | None] = [
        torch.empty(x.shape, dtype=x.dtype)
        if x is not None and (wanted is None or wanted[k])
        else None
        for k, x in enumerate(a[:8])
    ]
    d_output, d_h_n, d_c_n, d_gates, d_cell = grads
    d_output = _last_contiguous(d_output)
    rest = [_contiguous(g) for g in (d_h_n, d_c_n, _or_zero(d_gates), _or_zero(d_cell))]
    gates, cell = (k.contiguous() for k in kept) if kept else (None, None)
    output = output.contiguous()
    d_input, d_h0, d_c0, *d_weights = found
    _call("backward", a)(
        *_inputs(shape, a),
        output.data_ptr(),
        _at(gates),
        _at(cell),
        _at(checkpoints),
        _frame(d_output),
        *(_at(g) for g in rest),
        _at(d_input),
        _at(d_h0),
        _at(d_c0),
        tuple(_at(d) for d in d_weights),
        torch.get_num_threads(),
    )
    return [*found, None, None, None, None, None]


def _or_zero(grad: Tensor | None) -> Tensor | None:
    """None for zeros that were expanded to a shape (where nothing was kept, or asked for)."""
    if grad is None or (grad.numel() > 1 and not any(grad.stride()) and not grad.any()):
        return None
    return grad


# --- checks and addresses -------------------------------------------------------------------------


def _checked(a: Arguments, o: CellOptions) -> tuple[Shape, Arguments]:
    """Sizes, and the arguments as the kernels take them."""
    T, B, I = a.input.shape
    H, P, projected = a.c0.shape[1], a.h0.shape[1], a.weight_hr is not None
    expected = (
        (a.h0, (B, P)),
        (a.c0, (B, H)),
        (a.weight_ih, (4 * H, I)),
        (a.weight_hh, (4 * H, P)),
        (a.bias_ih, (4 * H,)),
        (a.bias_hh, (4 * H,)),
        (a.weight_hr, (P, H)),
    )
    dtype = a.input.dtype
    for x, size in expected:
        if x is not None and (x.shape != size or x.dtype != dtype or x.device.type != "cpu"):
            raise UserError(
                "arguments of the sequence operation do not fit together",
                got=f"{tuple(x.shape)} {x.dtype} on {x.device}",
                expected=f"{size} {dtype} on cpu",
            )
    if not projected and P != H or any(x is not None for x in a[8:13]):
        raise UserError("the native kernels have no such cell")
    lengths, resets = a.lengths, a.resets
    if lengths is not None:
        lengths = lengths.to("cpu", torch.int64).contiguous()
        assert lengths.shape == (B,)
    if resets is not None:
        resets = resets.to("cpu", torch.bool).contiguous()
        assert resets.shape == (T, B)
    tensors = [None if x is None else x.contiguous() for x in a[1:8]]
    x = _last_contiguous(a.input)
    found = Arguments(x, *tensors, lengths=lengths, resets=resets)  # type: ignore[arg-type]
    return (T, B, I, H, P, projected, o.reverse), found


def _contiguous(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.contiguous()


def _last_contiguous(x: Any) -> Any:
    return x if x is None or x.stride(-1) == 1 or x.shape[-1] == 1 else x.contiguous()


def _at(x: Tensor | None) -> int:
    return 0 if x is None else x.data_ptr()


def _frame(x: Tensor | None) -> tuple[int, int, int]:
    return (0, 0, 0) if x is None else (x.data_ptr(), x.stride(0), x.stride(1))


def _inputs(shape: Shape, a: Arguments) -> tuple[Any, ...]:
    weights = (a.weight_ih, a.weight_hh, a.bias_ih, a.bias_hh, a.weight_hr)
    return (
        shape,
        tuple(_at(w) for w in weights),
        _at(a.lengths),
        _at(a.resets),
        _frame(a.input),
        a.h0.data_ptr(),
        a.c0.data_ptr(),
    )


def _native() -> Any:
    if NATIVE is None:
        raise UserError(f"the native engine is not there: {status()['reason']}")
    return NATIVE


def _call(name: str, a: Arguments) -> Any:
    return getattr(_native(), f"{name}_f32" if a.input.dtype == torch.float32 else f"{name}_f64")
