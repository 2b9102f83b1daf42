"""THE case table: one list of cases drives parity, gradient checks and laws for every backend.

Tolerances are on |a - b| / max(1, |b|) against float64, with their reason:

- float64: two orders of summation over a few dozen terms and steps, 1e-15 each: 1e-11.
- float32: the same at 1e-7 each; gradients sum over T * B products: 2e-5 and 2e-4.
- bfloat16, float16: beside float64 on the same, already rounded, weights and inputs. Results are
  rounded once, to 8 and 11 bits (4e-3, 5e-4); a bidirectional stack rounds between layers, and
  gradients pass through kept gates that were rounded, norms and sums over T * B: 2e-2, 2e-3 and
  1.5e-1, 1e-2.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

import lstmkit

TOLERANCE = {
    torch.float64: 1e-11,
    torch.float32: 2e-5,
    torch.bfloat16: 2e-2,
    torch.float16: 2e-3,
}
GRADIENT_TOLERANCE = {
    torch.float64: 1e-10,
    torch.float32: 2e-4,
    torch.bfloat16: 1.5e-1,
    torch.float16: 1e-2,
}


@dataclass(frozen=True)
class Case:
    """One layer and one call of it."""

    name: str
    T: int = 5
    B: int = 3
    I: int = 4
    H: int = 6
    layer: dict[str, Any] = field(default_factory=dict)
    lengths: tuple[int, ...] | None = None
    resets: tuple[tuple[int, int], ...] = ()  # (step, sample)
    initial: bool = False
    strided: bool = False
    # False where a layer norm meets states near 0: its slope there, 316 = 1e-5 ** -0.5, turns the
    # rounding of float16 and bfloat16 into errors of no meaning.
    narrow: bool = True

    @property
    def dtypes(self) -> list[torch.dtype]:
        return list(TOLERANCE) if self.narrow else [torch.float64, torch.float32]

    @property
    def plain(self) -> bool:
        """Whether torch.nn.LSTM has this layer."""
        return set(self.layer) <= {"proj_size", "bias", "num_layers", "bidirectional"}

    def make(self, backend: str = "reference", dtype: torch.dtype = torch.float64) -> lstmkit.LSTM:
        """The layer, always with the same weights, rounded to dtype."""
        torch.manual_seed(1)
        layer = lstmkit.LSTM(self.I, self.H, dtype=torch.float64, backend=backend, **self.layer)
        with torch.no_grad():
            for p in layer.parameters():
                p.add_(0.3 * torch.randn_like(p))
        return layer.to(dtype)

    def input(self, dtype: torch.dtype = torch.float64) -> Tensor:
        """x (T, B, I), rounded to dtype; NaN in what is padding."""
        g = torch.Generator().manual_seed(2)
        x = torch.randn(self.T, self.B, self.I, generator=g, dtype=torch.float64)
        if self.lengths is not None:
            for b, n in enumerate(self.lengths):
                x[n:, b] = torch.nan
        if self.strided:
            x = torch.stack([x, x], -1).transpose(0, 1).contiguous().transpose(0, 1)[..., 0]
        return x.to(dtype)

    def call(self, dtype: torch.dtype = torch.float64) -> dict[str, Any]:
        """Arguments of the call beside the input."""
        found: dict[str, Any] = {}
        if self.lengths is not None:
            found["lengths"] = torch.tensor(self.lengths)
        if self.resets:
            resets = torch.zeros(self.T, self.B, dtype=torch.bool)
            for t, b in self.resets:
                resets[t, b] = True
            found["resets"] = resets
        if self.initial:
            g = torch.Generator().manual_seed(3)
            D = self.layer.get("num_layers", 1) * (1 + self.layer.get("bidirectional", False))
            P = self.layer.get("proj_size") or self.H
            h, c = (
                torch.randn(D, self.B, n, generator=g, dtype=torch.float64) for n in (P, self.H)
            )
            found["hx"] = (h.to(dtype), c.to(dtype))
        return found


RAGGED = {"lengths": (5, 0, 2)}
# Sample 2 is 2 steps long where lengths are ragged: its resets lie in padding, one at its start.
RESETS = {"resets": ((0, 0), (2, 0), (3, 1), (2, 2), (4, 2))}
ALL = {
    "peephole": True,
    "layer_norm": True,
    "zoneout": (0.2, 0.3),
    "recurrent_dropout": 0.3,
    "weight_drop": 0.2,
    "proj_size": 4,
}
DEEP = {"num_layers": 2, "bidirectional": True}

CASES = [
    Case("plain"),
    Case("one-step", T=1),
    Case("one-sample", B=1, H=1, I=1),
    Case("one-of-all", T=1, B=1, I=1, H=1, initial=True),
    Case("odd-sizes", T=7, B=5, I=3, H=17),
    Case("vector-width", T=3, B=8, I=16, H=16),
    Case("no-bias", layer={"bias": False}),
    Case("initial", initial=True),
    Case("strided", strided=True, initial=True),
    Case("projected", layer={"proj_size": 2}, initial=True),
    Case("deep", layer=DEEP, initial=True),
    Case("deep-projected", layer={**DEEP, "proj_size": 5}, initial=True),
    Case("ragged", initial=True, **RAGGED),
    Case("ragged-deep", layer=DEEP, initial=True, **RAGGED),
    Case("ragged-projected", layer={"proj_size": 2, "bidirectional": True}, **RAGGED),
    Case("resets", initial=True, **RESETS),
    Case("resets-deep", layer=DEEP, initial=True, **RESETS),
    Case("ragged-resets", layer=DEEP, initial=True, **RAGGED, **RESETS),
    Case("peephole", layer={"peephole": True}, initial=True),
    Case("layer-norm", layer={"layer_norm": True}, initial=True),
    Case("coupled", layer={"coupled_gates": True}, initial=True),
    Case("zoneout", layer={"zoneout": (0.2, 0.3)}, initial=True),
    Case("recurrent-dropout", layer={"recurrent_dropout": 0.3}, initial=True),
    Case("weight-drop", layer={"weight_drop": 0.3}),
    Case("residual", layer={"residual": True, "num_layers": 3}),
    Case("residual-both-ways", layer={**DEEP, "residual": True}, **RAGGED),
    Case("variational", layer={"variational_dropout": (0.2, 0.3, 0.1), "num_layers": 2}),
    Case("recompute", layer={"recompute": True, "layer_norm": True}, initial=True),
    Case("recompute-masks", layer={"recompute": True, "zoneout": 0.3, "recurrent_dropout": 0.3}),
    Case("peephole-coupled", layer={"peephole": True, "coupled_gates": True}, initial=True),
    Case("norm-coupled-ragged", layer={"layer_norm": True, "coupled_gates": True}, **RAGGED),
    Case("peephole-resets", layer={"peephole": True, "bidirectional": True}, **RESETS),
    Case("zoneout-projected", layer={"zoneout": 0.4, "proj_size": 2}, initial=True, **RAGGED),
    Case("norm-projected-no-bias", layer={"layer_norm": True, "proj_size": 3, "bias": False}),
    Case("all", layer=ALL, initial=True),
    Case("all-ragged", layer={**ALL, **DEEP}, initial=True, **RAGGED),
    Case("all-coupled", layer={**ALL, "coupled_gates": True}, initial=True, **RESETS),
    Case(
        "everything",
        layer={
            **ALL,
            **DEEP,
            "coupled_gates": True,
            "residual": True,
            "variational_dropout": (0.1, 0.2, 0.3),
        },
        initial=True,
        **RAGGED,
        **RESETS,
    ),
]

# Every two of these choices stand together, and apart, in some case of `covering`.
FACTORS: dict[str, dict[str, Any]] = {
    "peephole": {"peephole": True},
    "layer_norm": {"layer_norm": True},
    "coupled": {"coupled_gates": True},
    "projection": {"proj_size": 3},
    "zoneout": {"zoneout": (0.3, 0.2)},
    "recurrent_dropout": {"recurrent_dropout": 0.3},
    "weight_drop": {"weight_drop": 0.3},
    "variational": {"variational_dropout": (0.1, 0.3, 0.1)},
    "residual": {"residual": True, "num_layers": 2},
    "bidirectional": {"bidirectional": True},
    "recompute": {"recompute": True},
    "no_bias": {"bias": False},
    "lengths": {},
    "resets": {},
    "initial": {},
    "strided": {},
}


def covering(seed: int = 0) -> list[dict[str, bool]]:
    """Rows of choices in which every pair of factors takes all of its four values."""
    draw = random.Random(seed)
    names = list(FACTORS)
    missing = {
        (a, b, p, q)
        for a, b in itertools.combinations(names, 2)
        for p, q in itertools.product((False, True), repeat=2)
    }
    rows: list[dict[str, bool]] = []

    def new(row: dict[str, bool]) -> set[tuple[str, str, bool, bool]]:
        pairs = itertools.combinations(names, 2)
        return missing & {(a, b, row[a], row[b]) for a, b in pairs}

    while missing:
        drawn = [{name: draw.random() < 0.5 for name in names} for _ in range(50)]
        rows.append(max(drawn, key=lambda row: len(new(row))))
        missing -= new(rows[-1])
    return rows


def _combined(k: int, row: dict[str, bool]) -> Case:
    chosen = [FACTORS[name] for name, wanted in row.items() if wanted]
    return Case(
        f"pairs-{k}",
        T=4,
        I=7,
        H=9,
        layer={name: value for options in chosen for name, value in options.items()},
        lengths=(4, 0, 2) if row["lengths"] else None,
        resets=((0, 2), (2, 0), (1, 2), (2, 2)) if row["resets"] else (),
        initial=row["initial"],
        strided=row["strided"],
        narrow=not row["layer_norm"],
    )


PAIRS = [_combined(k, row) for k, row in enumerate(covering())]
CASES += PAIRS
BY_NAME = {case.name: case for case in CASES}


def scaled_error(found: Tensor, expected: Tensor) -> float:
    """max |a - b| / max(1, |b|), in float64; NaN is an infinite error."""
    a, b = found.detach().double(), expected.detach().double()
    assert a.shape == b.shape, f"{tuple(a.shape)} is not {tuple(b.shape)}"
    if a.numel() == 0:
        return 0.0
    error = ((a - b).abs() / b.abs().clamp(min=1)).max().item()
    return float("inf") if error != error else error
