"""Products with a large vocabulary and their cross-entropy, together and in pieces.

The usual way keeps logits, probabilities and their gradient, (N, V) each, and goes over memory for
all of them. Here a few rows at a time become logits, losses and gradients while they are in the
cache: what is kept is the gradient of the loss, ready for backward. After an idea of Cut
Cross-Entropy (Wijmans et al. 2025) and Liger (Hsu et al. 2024).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CACHED = 1 << 20  # floats of a piece of logits
LEAST = 1e-37  # no probability is taken for less: a loss of at most 85 nats


def fast_half() -> bool:
    """Whether this CPU multiplies bfloat16 faster than float32."""
    cpu = torch.cpu
    return bool(cpu._is_avx512_bf16_supported() or cpu._is_amx_tile_supported())


class CrossEntropy(torch.autograd.Function):
    """sum over rows n of -log softmax(x_n W^T + b)[target_n]: a scalar.

    x (N, E), weight (V, E), bias (V), targets (N,). With `half` the three products are of bfloat16
    with sums in float32, their results rounded to bfloat16; else all is in the type of x.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, half: bool
    ) -> Tensor:
        kind = torch.bfloat16 if half else x.dtype
        rows, table = x.detach().to(kind), weight.detach().to(kind)
        slope = torch.empty(len(x), len(weight), dtype=kind, device=x.device)
        slope_bias = torch.zeros_like(bias)
        total = x.new_zeros((), dtype=torch.float64)
        step = max(1, CACHED // len(weight))
        for first in range(0, len(x), step):
            piece = slice(first, first + step)
            total += _piece(rows[piece], table, bias, targets[piece], slope[piece], slope_bias)
        ctx.save_for_backward(rows, table, slope, slope_bias)
        ctx.types = x.dtype, weight.dtype
        return total.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        rows, table, slope, slope_bias = ctx.saved_tensors
        of_x = torch.mm(slope, table).to(ctx.types[0]).mul_(given)
        of_weight = torch.mm(slope.T, rows).to(ctx.types[1]).mul_(given)
        return of_x, of_weight, slope_bias * given, None, None


def _piece(
    rows: Tensor, table: Tensor, bias: Tensor, targets: Tensor, slope: Tensor, slope_bias: Tensor
) -> Tensor:
    """The loss of a few rows; their softmax minus what was right goes to `slope`."""
    logits = torch.mm(rows, table.T).to(bias.dtype).add_(bias)
    chances = logits.softmax(1)
    places = targets[:, None]
    right = chances.gather(1, places).clamp(min=LEAST)
    chances.scatter_add_(1, places, -torch.ones_like(right))
    slope.copy_(chances)
    slope_bias += chances.sum(0)
    return -right.double().log().sum()
