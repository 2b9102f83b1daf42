"""What a layer is given, checked: rates at construction, lengths and resets at a call."""

from __future__ import annotations

import torch
from torch import Tensor

from lstmkit.errors import UserError


def probability(name: str, p: float) -> float:
    if isinstance(p, bool) or not isinstance(p, (int, float)) or not 0 <= p < 1:
        raise UserError(f"{name} is a probability", got=repr(p), expected="0 <= p < 1")
    return float(p)


def pair(zoneout: float | tuple[float, float]) -> tuple[float, float]:
    pair = tuple(zoneout) if isinstance(zoneout, (tuple, list)) else (zoneout, zoneout)
    if len(pair) != 2:
        raise UserError("zoneout is a number or (hidden, cell)", got=repr(zoneout))
    return probability("zoneout", pair[0]), probability("zoneout", pair[1])


def triple(rates: tuple[float, float, float] | None) -> tuple[float, float, float] | None:
    if rates is None:
        return None
    if not isinstance(rates, (tuple, list)) or len(rates) != 3:
        raise UserError("variational_dropout is (input, between, output)", got=repr(rates))
    a, b, c = (probability("variational_dropout", p) for p in rates)
    return a, b, c


def check_lengths(lengths: Tensor | None, x: Tensor) -> Tensor | None:
    """(B,) int64 on x's device; None for a batch of nothing."""
    if lengths is None:
        return None
    T, B = x.shape[:2]
    lengths = torch.as_tensor(lengths).reshape(-1) if B == 1 else torch.as_tensor(lengths)
    if lengths.shape != (B,) or lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise UserError(
            "lengths must be one whole number a sample",
            got=f"{lengths.dtype} {tuple(lengths.shape)}",
            expected=f"integers ({B},)",
        )
    if not torch.compiler.is_compiling() and lengths.device.type == "cpu" and B > 0:
        low, high = int(lengths.min()), int(lengths.max())
        if low < 0 or high > T:
            raise UserError(
                "lengths are outside the sequence", got=f"{low} to {high}", expected=f"0 to {T}"
            )
    return lengths.to(device=x.device, dtype=torch.int64) if B > 0 else None


def check_sample_ids(sample_ids: Tensor | None, batch: int, device: torch.device) -> Tensor | None:
    """(B,) int64 on `device`."""
    if sample_ids is None:
        return None
    ids = torch.as_tensor(sample_ids)
    ids = ids.reshape(-1) if batch == 1 else ids
    if ids.shape != (batch,) or ids.is_floating_point() or ids.dtype == torch.bool:
        raise UserError(
            "sample_ids must be one whole number a sample",
            got=f"{ids.dtype} {tuple(ids.shape)}",
            expected=f"integers ({batch},)",
        )
    return ids.to(device=device, dtype=torch.int64)


def check_resets(resets: Tensor | None, x: Tensor, batch_first: bool) -> Tensor | None:
    """(T, B) bool on x's device."""
    if resets is None:
        return None
    T, B = x.shape[:2]
    resets = torch.as_tensor(resets)
    resets = resets.t() if batch_first and resets.dim() == 2 else resets
    resets = resets.reshape(T, 1) if resets.shape == (T,) and B == 1 else resets
    if resets.shape != (T, B) or resets.dtype != torch.bool:
        layout = f"({B}, {T})" if batch_first else f"({T}, {B})"
        raise UserError(
            "resets must mark the first steps of segments",
            got=f"{resets.dtype} {tuple(resets.shape)}",
            expected=f"torch.bool {layout}",
        )
    return resets.to(x.device)
