"""Masks of one call, drawn from `equations.philox`: the same for every backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from lstmkit.equations import philox

if TYPE_CHECKING:
    from torch import Tensor

    from lstmkit.kernels.contract import Arguments, CellOptions


class Masks(NamedTuple):
    """`keep_*`: zoneout, a 0-1 mask in training and the probability in evaluation."""

    drop_h: Tensor | None  # (B, P), scaled by 1 / (1 - p)
    keep_h: Tensor | float  # (T, B, P) or a number
    keep_c: Tensor | float  # (T, B, H) or a number


def uniform_words(
    seed: Tensor, purpose: int, layer: int, reverse: bool, samples: Tensor, steps: int, units: int
) -> Tensor:
    """24-bit words (steps, B, units) for `samples` (B,)."""
    device = samples.device
    step = torch.arange(steps, device=device)[:, None, None]
    quad = torch.arange((units + 3) // 4, device=device)
    given = (seed.to(device), purpose, layer, int(reverse), samples[:, None], step, quad)
    return torch.stack(philox.quads(*given), -1).flatten(-2)[..., :units]


def dropout_mask(
    p: float,
    seed: Tensor,
    purpose: int,
    layer: int,
    reverse: bool,
    samples: Tensor,
    units: int,
    dtype: torch.dtype,
    steps: int = 1,
) -> Tensor:
    """Scaled dropout mask (steps, B, units): 0 with probability p, else 1 / (1 - p)."""
    word = uniform_words(seed, purpose, layer, reverse, samples, steps, units)
    return (~philox.dropped(p, word)).to(dtype) * (1.0 / (1.0 - p) if p < 1.0 else 0.0)


def draw(a: Arguments, o: CellOptions, dtype: torch.dtype) -> Masks:
    """The masks of one layer and direction; in evaluation zoneout is its expectation."""
    if not o.training or a.seed is None:
        return Masks(None, o.zoneout_h, o.zoneout_c)
    T, B = a.input.shape[:2]
    seed, samples = a.seed, _sample_ids(a, B)

    def keep(p: float, purpose: int, units: int) -> Tensor | float:
        if p == 0.0:
            return 0.0
        word = uniform_words(seed, purpose, o.layer, o.reverse, samples, T, units)
        return philox.dropped(p, word).to(dtype)

    drop_h = None
    if o.recurrent_dropout:
        p, P = o.recurrent_dropout, a.h0.shape[-1]
        purpose = philox.RECURRENT
        drop_h = dropout_mask(p, seed, purpose, o.layer, o.reverse, samples, P, dtype)[0]
    keep_h = keep(o.zoneout_h, philox.ZONEOUT_H, a.h0.shape[-1])
    return Masks(drop_h, keep_h, keep(o.zoneout_c, philox.ZONEOUT_C, a.c0.shape[-1]))


def _sample_ids(a: Arguments, B: int) -> Tensor:
    if a.sample_ids is not None:
        return a.sample_ids
    return torch.arange(B, device=a.input.device)
