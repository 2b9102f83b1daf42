"""The few functions that numpy and torch spell differently."""

from __future__ import annotations

from typing import Any

import numpy as np

from lstmkit.notation import NORM_EPS


def _is_numpy(x: Any) -> bool:
    return isinstance(x, np.ndarray)


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), without overflow; sigmoid(x) = (1 + tanh(x / 2)) / 2 in numpy."""
    return 0.5 * (1.0 + np.tanh(0.5 * x)) if _is_numpy(x) else x.sigmoid()


def tanh(x: Any) -> Any:
    return np.tanh(x) if _is_numpy(x) else x.tanh()


def where(condition: Any, a: Any, b: Any) -> Any:
    if _is_numpy(condition):
        return np.where(condition, a, b)
    return a.where(condition, b)


def matmul_t(x: Any, weight: Any) -> Any:
    """x (.., K) times weight (N, K) transposed: (.., N). A matrix of low precision knows how."""
    if hasattr(weight, "product"):
        return weight.product(x)
    return x @ weight.swapaxes(-1, -2)


def split_rows(z: Any, parts: int) -> list[Any]:
    """z (.., parts * H) as `parts` arrays (.., H)."""
    width = z.shape[-1] // parts
    return [z[..., k * width : (k + 1) * width] for k in range(parts)]


def normalise(x: Any, eps: float = NORM_EPS) -> Any:
    """Zero mean and unit (biased) variance over the last axis (Ba 2016, without gain and bias)."""
    axis = {"axis": -1, "keepdims": True} if _is_numpy(x) else {"dim": -1, "keepdim": True}
    centred = x - x.mean(**axis)
    return centred / ((centred * centred).mean(**axis) + eps) ** 0.5
