"""The backward pass, derived by hand; d_x is the gradient of the loss with respect to x.

Of a step (see `equations.lstm`), with k the zoneout mask, n the shown cell (c, or its layer norm),
m = o * tanh(n) the unprojected output, and h', c' the carried state:

    d_h = (1 - k_h) d_h'             d_m = d_h W_hr
    d_o = d_m * tanh(n)              d_n = d_m * o * (1 - tanh(n)^2)
    d_z_o = d_o * o * (1 - o)
    d_c = (1 - k_c) d_c' + d_n (through the norm) + d_z_o * p_o
    d_i = d_c * g      d_f = d_c * c_prev      d_g = d_c * i       coupled: d_i -= d_f
    d_z_i = d_i * i * (1 - i)    d_z_f = d_f * f * (1 - f)    d_z_g = d_g * (1 - g^2)
    d_c_prev = k_c d_c' + d_c * f + d_z_i * p_i + d_z_f * p_f
    d_h_prev = k_h d_h' + (d_z through its norm) W_hh * drop_h

All states are known, so everything that does not need d_h' or d_c' is computed for all steps at
once, and so are the gradients of the weights, after the loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from lstmkit.equations.lstm import Weights, project_input
from lstmkit.equations.namespace import matmul_t, normalise
from lstmkit.kernels.contract import Arguments, CellOptions, Result, previous, valid_steps
from lstmkit.kernels.masks import Masks, draw
from lstmkit.kernels.reference.forward import (
    compute_dtype,
    order,
    segment_starts,
    weights,
    widen,
    zeroed,
)
from lstmkit.notation import NORM_EPS

if TYPE_CHECKING:
    from torch import Tensor


class Known(NamedTuple):
    """What the forward pass left, for all steps."""

    h_prev: Tensor  # (T, B, P)
    c_prev: Tensor  # (T, B, H)
    i: Tensor  # (T, B, H), as are all that follow but the last four
    f: Tensor
    g: Tensor
    o: Tensor
    c: Tensor  # before zoneout
    tanh_n: Tensor
    m: Tensor
    norm_c: Norm | None
    norm_x: Norm | None  # (T, B, G*H)
    norm_h: Norm | None
    h_in: Tensor  # (T, B, P): h_prev as it enters W_hh


class Norm(NamedTuple):
    """A normalised tensor and the inverse standard deviation that made it."""

    value: Tensor
    inverse: Tensor

    @classmethod
    def of(cls, x: Tensor) -> Norm:
        variance = x.var(-1, unbiased=False, keepdim=True)
        return cls(normalise(x), (variance + NORM_EPS).rsqrt())

    def backward(self, d: Tensor, t: int | slice = slice(None)) -> Tensor:
        """d through x -> (x - mean) / std, at step t."""
        value, inverse = self.value[t], self.inverse[t]
        along = (d * value).mean(-1, keepdim=True)
        return inverse * (d - d.mean(-1, keepdim=True) - value * along)


class StepGradients(NamedTuple):
    d_z: Tensor  # (B, G*H): of the pre-activation, after its norms
    d_h: Tensor  # (B, P): of the projected output before zoneout
    d_n: Tensor  # (B, H): of the shown cell
    d_h_prev: Tensor
    d_c_prev: Tensor


def backward(
    a: Arguments, o: CellOptions, result: Result, grads: Sequence[Tensor]
) -> list[Tensor | None]:
    """Gradients of the 13 differentiable arguments, from those of the five results."""
    dtype = a.input.dtype
    a, wide = widen(a), compute_dtype(dtype)
    known = recall(a, o, Result(*(x.to(wide) for x in result)))
    masks, w = draw(a, o, wide), weights(a)
    valid = None if a.lengths is None else valid_steps(a.input, a.lengths)
    d_output, d_h, d_c, d_gates, d_cell = (x.to(wide) for x in grads)
    T = a.input.shape[0]
    found: list[StepGradients] = [None] * T  # type: ignore[list-item]
    for t in reversed(order(T, o.reverse)):
        starts = segment_starts(a.resets, valid, t)
        if o.reverse:
            d_h, d_c = zeroed(d_h, starts), zeroed(d_c, starts)
        s = _step(known, masks, w, o, t, d_h + d_output[t], d_c + d_cell[t], d_gates[t])
        found[t] = s if valid is None else _only(valid[t][:, None], s)
        d_h = s.d_h_prev if valid is None else s.d_h_prev.where(valid[t][:, None], d_h)
        d_c = s.d_c_prev if valid is None else s.d_c_prev.where(valid[t][:, None], d_c)
        if not o.reverse:
            d_h, d_c = zeroed(d_h, starts), zeroed(d_c, starts)
    d_weights = _weights(a, w, known, o, found)
    all_grads = [d_weights[0], d_h, d_c, *d_weights[1:]]
    return [None if g is None else g.to(dtype) for g in all_grads]


def recall(a: Arguments, o: CellOptions, result: Result) -> Known:
    """All that the forward pass knew, from its results."""
    w, masks = weights(a), draw(a, o, a.input.dtype)
    h_prev = previous(result.output, a.h0, a.lengths, a.resets, o.reverse)
    c_prev = previous(result.cell, a.c0, a.lengths, a.resets, o.reverse)
    i, f, g, out = result.gates.unbind(-2)
    c = f * c_prev + i * g
    norm_c = None if w.norm_c_weight is None else Norm.of(c)
    tanh_n = (c if norm_c is None else norm_c.value * w.norm_c_weight + w.norm_c_bias).tanh()
    h_in = h_prev if masks.drop_h is None else h_prev * masks.drop_h
    norm_x = norm_h = None
    if w.norm_ih_weight is not None:
        norm_x = Norm.of(project_input(a.input, w))
        norm_h = Norm.of(matmul_t(h_in, w.weight_hh))
    return Known(
        h_prev, c_prev, i, f, g, out, c, tanh_n, out * tanh_n, norm_c, norm_x, norm_h, h_in
    )


def _step(
    k: Known,
    masks: Masks,
    w: Weights,
    options: CellOptions,
    t: int,
    d_h_carried: Tensor,
    d_c_carried: Tensor,
    d_gates: Tensor,
) -> StepGradients:
    i, f, g, o, c_prev = k.i[t], k.f[t], k.g[t], k.o[t], k.c_prev[t]
    d_i, d_f, d_g, d_o = d_gates.unbind(-2)
    keep_h, keep_c = _keep(masks.keep_h, t), _keep(masks.keep_c, t)
    p = w.weight_peephole

    d_h = (1.0 - keep_h) * d_h_carried
    d_m = d_h if w.weight_hr is None else d_h @ w.weight_hr
    d_o = d_o + d_m * k.tanh_n[t]
    d_n = d_m * o * (1.0 - k.tanh_n[t] ** 2)
    d_z_o = d_o * o * (1.0 - o)

    d_c = (1.0 - keep_c) * d_c_carried
    d_c = d_c + (d_n if k.norm_c is None else k.norm_c.backward(d_n * w.norm_c_weight, t))
    d_c = d_c if p is None else d_c + d_z_o * p[-1]

    d_i, d_f, d_g = d_i + d_c * g, d_f + d_c * c_prev, d_g + d_c * i
    d_c_prev = keep_c * d_c_carried + d_c * f
    d_z_g = d_g * (1.0 - g**2)
    if options.coupled:
        d_z_i = (d_i - d_f) * i * (1.0 - i)
        d_z = torch.cat([d_z_i, d_z_g, d_z_o], -1)
    else:
        d_z_i, d_z_f = d_i * i * (1.0 - i), d_f * f * (1.0 - f)
        d_z = torch.cat([d_z_i, d_z_f, d_z_g, d_z_o], -1)
        d_c_prev = d_c_prev if p is None else d_c_prev + d_z_f * p[1]
    d_c_prev = d_c_prev if p is None else d_c_prev + d_z_i * p[0]

    d_zh = d_z if k.norm_h is None else k.norm_h.backward(d_z * w.norm_hh_weight, t)
    d_h_in = d_zh @ w.weight_hh
    d_h_in = d_h_in if masks.drop_h is None else d_h_in * masks.drop_h
    return StepGradients(d_z, d_h, d_n, keep_h * d_h_carried + d_h_in, d_c_prev)


def _weights(
    a: Arguments, w: Weights, k: Known, o: CellOptions, found: list[StepGradients]
) -> list[Tensor | None]:
    """Gradients of the input and of the ten weights, each one product over all steps."""
    d_z = torch.stack([s.d_z for s in found])
    d_zx, d_zh = d_z, d_z
    d_norms: list[Tensor | None] = [None, None, None, None]
    if k.norm_x is not None and k.norm_h is not None and k.norm_c is not None:
        d_n = torch.stack([s.d_n for s in found])
        d_norms = [
            _sum(d_z * k.norm_x.value),
            _sum(d_z * k.norm_h.value),
            _sum(d_n * k.norm_c.value),
            _sum(d_n),
        ]
        d_zx = k.norm_x.backward(d_z * w.norm_ih_weight)
        d_zh = k.norm_h.backward(d_z * w.norm_hh_weight)
    d_bias = None if w.bias_ih is None else _sum(d_z)
    d_hr = None
    if w.weight_hr is not None:
        d_hr = _outer(torch.stack([s.d_h for s in found]), k.m)
    return [
        d_zx @ w.weight_ih,
        _outer(d_zx, a.input),
        _outer(d_zh, k.h_in),
        d_bias,
        d_bias,
        d_hr,
        None if w.weight_peephole is None else _peephole(k, o, d_z),
        *d_norms,
    ]


def _peephole(k: Known, o: CellOptions, d_z: Tensor) -> Tensor:
    rows = d_z.unflatten(-1, (-1, k.c.shape[-1])).unbind(-2)
    seen = [rows[0] * k.c_prev, rows[-1] * k.c]
    if not o.coupled:
        seen.insert(1, rows[1] * k.c_prev)
    return torch.stack([_sum(x) for x in seen])


def _keep(mask: Tensor | float, t: int) -> Tensor | float:
    return mask if isinstance(mask, float) else mask[t]


def _only(valid: Tensor, s: StepGradients) -> StepGradients:
    return StepGradients(*(x.masked_fill(~valid, 0.0) for x in s))


def _sum(x: Tensor) -> Tensor:
    return x.sum((0, 1))


def _outer(d: Tensor, x: Tensor) -> Tensor:
    """Sum over steps and batch of d x^T: (N, K)."""
    return d.flatten(0, 1).t() @ x.flatten(0, 1)
