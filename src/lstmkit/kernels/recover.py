"""Gates from hidden states: where a kernel returns only h, the gates of all steps come from one
product, and c from an elementwise scan. Exact, differentiable, and cheap beside the recurrence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from lstmkit.equations.lstm import Weights
from lstmkit.kernels.contract import Arguments, previous, valid_steps

if TYPE_CHECKING:
    from torch import Tensor


def recover(a: Arguments, output: Tensor, reverse: bool) -> tuple[Tensor, Tensor]:
    """Gates (T, B, 4, H) and cells (T, B, H) of a plain or projected LSTM without resets, from its
    output (T, B, P); 0 in padding."""
    x, w = a.input, Weights(*a[3:13])
    padding = None if a.lengths is None else ~valid_steps(x, a.lengths)
    x = x if padding is None else x.masked_fill(padding[..., None], 0.0)
    h_prev = previous(output, a.h0, a.lengths, None, reverse)
    weight = torch.cat([w.weight_ih, w.weight_hh], 1)
    bias = None if w.bias_ih is None else w.bias_ih + w.bias_hh
    z = functional.linear(torch.cat([x, h_prev], -1), weight, bias)
    H = a.c0.shape[-1]
    z_if, z_g, z_o = z.split([2 * H, H, H], -1)
    gates = torch.cat([z_if.sigmoid(), z_g.tanh(), z_o.sigmoid()], -1).unflatten(-1, (4, H))
    i, f, g, _ = gates.unbind(-2)
    cells = _scan(f, i * g, a.c0, a.lengths, reverse)
    return gates if padding is None else gates.masked_fill(padding[..., None, None], 0.0), cells


def _scan(f: Tensor, new: Tensor, c0: Tensor, lengths: Tensor | None, reverse: bool) -> Tensor:
    """c_t = f_t * c_{t-1} + new_t from c0, in the direction of time or against it."""
    T = f.shape[0]
    valid = None if lengths is None else valid_steps(f, lengths)[..., None]
    cells, c = [c0] * T, c0
    for t in range(T - 1, -1, -1) if reverse else range(T):
        cells[t] = torch.addcmul(new[t], f[t], c)
        if valid is not None:
            c = cells[t].where(valid[t], c)
            cells[t] = cells[t].masked_fill(~valid[t], 0.0)
        else:
            c = cells[t]
    return torch.stack(cells)
