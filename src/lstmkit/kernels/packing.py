"""Ragged batches as PyTorch's kernels take them: steps one after the other, longest sample first.

Samples of length 0, which PyTorch refuses, run one step of zeros whose result is thrown away.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

States = tuple[Tensor, Tensor]  # h (L*D, B, P), c (L*D, B, H)


class Packed(NamedTuple):
    data: Tensor  # (sum of lengths, I)
    batch_sizes: Tensor  # (max length,), on the CPU
    hx: States  # in sorted order
    order: Tensor  # (B,): sorted position -> sample
    rank: Tensor  # (B,): sample -> sorted position
    lengths: Tensor  # (B,), in the callers' order


def pack(x: Tensor, hx: States, lengths: Tensor) -> Packed:
    """x (T, B, I), lengths (B,) on any device."""
    empty = (lengths == 0)[None, :, None]
    sizes, order = lengths.clamp(min=1).sort(descending=True, stable=True)
    rank = order.argsort()
    x = x.masked_fill(empty, 0.0)
    data, batch_sizes = torch._VF._pack_padded_sequence(
        x.index_select(1, order), sizes.cpu(), False
    )
    h, c = (s.index_select(1, order) for s in hx)
    return Packed(data, batch_sizes, (h, c), order, rank, lengths)


def unpack(data: Tensor, states: States, p: Packed, hx: States, T: int) -> tuple[Tensor, States]:
    """Back to (T, B, .), 0 in padding, and the final states in the callers' order."""
    out, _ = torch._VF._pad_packed_sequence(data, p.batch_sizes, False, 0.0, T)
    empty = (p.lengths == 0)[None, :, None]
    out = out.index_select(1, p.rank).masked_fill(empty, 0.0)
    h, c = (s.index_select(1, p.rank) for s in states)
    return out, (torch.where(empty, hx[0], h), torch.where(empty, hx[1], c))
