"""The shared alphabet.

T steps, B batch, I input width, H cells, P projected width (P = H without projection), L layers,
D directions, G gate rows (4, or 3 when input and forget gate are coupled).

Rows of every weight are ordered i, f, g, o, as in PyTorch; coupled weights have the rows i, g, o.
A name with z is a pre-activation (`z_f`), the bare letter is the gate (`f`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

GATES = ("input", "forget", "candidate", "output")
COUPLED_GATES = ("input", "candidate", "output")
NORM_EPS = 1e-5


class State(NamedTuple):
    """What a layer carries from step to step: hidden (.., P) and cell (.., H)."""

    hidden: Any
    cell: Any


def suffix(layer: int, reverse: bool = False) -> str:
    """`_l0`, `_l0_reverse`, ...: the ending of every parameter name, as in PyTorch."""
    return f"_l{layer}{'_reverse' if reverse else ''}"


def gate_rows(coupled: bool) -> int:
    """G: how many blocks of H rows the weights have."""
    return 3 if coupled else 4
