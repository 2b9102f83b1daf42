"""The contract's forward over torch._VF.lstm, for use inside the operator (no autograd here).

One direction at a time: against time is with time on the reversed valid part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from lstmkit.kernels.contract import Arguments, CellOptions, Result, StackOptions
from lstmkit.kernels.packing import pack, unpack

if TYPE_CHECKING:
    from torch import Tensor

    from lstmkit.kernels.packing import States


def forward(a: Arguments, o: CellOptions, keep: bool) -> Result:
    """See `contract`. PyTorch does not give the gates: the operator recovers them where asked."""
    x = _reversed(a.input, a.lengths) if o.reverse else a.input
    output, h_n, c_n = _run(x, a)
    output = _reversed(output, a.lengths) if o.reverse else output
    return Result(output.contiguous(), h_n, c_n, x.new_empty(0), x.new_empty(0))


def stack(
    x: Tensor, batch_sizes: Tensor | None, hx: States, weights: list[Tensor], o: StackOptions
) -> tuple[Tensor, Tensor, Tensor]:
    """A whole stack in one call: x (T, B, I), or packed data (N, I) with batch_sizes."""
    rest = (o.bias, o.num_layers, 0.0, o.training, o.bidirectional)
    lstm = torch._VF.lstm
    if batch_sizes is None:
        found = lstm(x, hx, weights, *rest, False)
    else:
        found = lstm(x, batch_sizes, hx, weights, *rest)
    return found


def _run(x: Tensor, a: Arguments) -> tuple[Tensor, Tensor, Tensor]:
    weights = (a.weight_ih, a.weight_hh, a.bias_ih, a.bias_hh, a.weight_hr)
    flat = [w.contiguous() for w in weights if w is not None]
    hx = (a.h0[None].contiguous(), a.c0[None].contiguous())
    o = StackOptions(bias=a.bias_ih is not None, projected=a.weight_hr is not None)
    if a.lengths is None:
        out, h, c = stack(x.contiguous(), None, hx, flat, o)
        return out, h[0], c[0]
    packed = pack(x, hx, a.lengths)
    data, h, c = stack(packed.data, packed.batch_sizes, packed.hx, flat, o)
    out, (h, c) = unpack(data, (h, c), packed, hx, x.shape[0])
    return out, h[0], c[0]


def _reversed(x: Tensor, lengths: Tensor | None) -> Tensor:
    """The valid part of each sample, back to front; padding stays where it is."""
    if lengths is None:
        return x.flip(0)
    steps = torch.arange(x.shape[0], device=x.device)[:, None]
    source = torch.where(steps < lengths, lengths - 1 - steps, steps)
    return x.gather(0, source[..., None].expand_as(x))
