"""Layers of every variant, as programs, and how far two answers are apart."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch

import lstmkit
from lstmkit.program import Program

INPUTS, HIDDEN = 5, 6
TOLERANCE = 1e-5  # float32, scaled by max(1, |y|)

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no_bias": {"bias": False},
    "deep": {"num_layers": 3},
    "residual": {"num_layers": 2, "residual": True},
    "bidirectional": {"bidirectional": True, "num_layers": 2},
    "projected": {"proj_size": 3, "num_layers": 2},
    "peephole": {"peephole": True},
    "layer_norm": {"layer_norm": True},
    "coupled": {"coupled_gates": True},
    "coupled_peephole": {"coupled_gates": True, "peephole": True, "bidirectional": True},
    "zoneout": {"zoneout": (0.1, 0.3)},
    "everything": {
        "peephole": True,
        "layer_norm": True,
        "coupled_gates": True,
        "zoneout": (0.1, 0.3),
        "num_layers": 2,
        "residual": True,
        "proj_size": 2,
    },
}
NATIVE_VARIANTS = ("plain", "no_bias", "deep", "residual", "bidirectional", "projected")


def layer(variant: str, **sizes: Any) -> Any:
    """In evaluation, weights drawn wide enough for gates to open and close."""
    torch.manual_seed(0)
    sizes = {"input_size": INPUTS, "hidden_size": HIDDEN, **sizes}
    found = lstmkit.LSTM(batch_first=True, **sizes, **VARIANTS[variant])
    with torch.no_grad():
        for p in found.parameters():
            p.copy_(torch.randn_like(p) * (0.5 if p.ndim == 1 else p.shape[1] ** -0.5))
    return found.eval()


def program(variant: str, **sizes: Any) -> Program:
    return layer(variant, **sizes).program()


def answer(module: Any, x: np.ndarray) -> np.ndarray:
    """The layer's own output, (B, T, D*P)."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return module(torch.from_numpy(x))[0].numpy()


def sequences(batch: int = 4, steps: int = 11, seed: int = 0, width: int = INPUTS) -> np.ndarray:
    shape = (batch, steps, width)
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def apart(found: Any, wanted: Any) -> float:
    """The largest difference, scaled by max(1, |wanted|); infinite where shapes differ."""
    found, wanted = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    if found.shape != wanted.shape:
        return float("inf")
    difference = np.abs(found - wanted) / np.maximum(1, np.abs(wanted))
    return float(np.nan_to_num(difference, nan=np.inf).max(initial=0))
