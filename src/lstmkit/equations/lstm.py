"""The LSTM cell: one step, every variant, for numpy and torch alike.

    z_k = W_ih x + b_ih + W_hh h + b_hh             for k in i, f, g, o
    i, f, o = sigmoid(z_i), sigmoid(z_f), sigmoid(z_o);  g = tanh(z_g)
    c' = f * c + i * g
    h' = W_hr (o * tanh(c'))                        without projection W_hr is the identity

Hochreiter & Schmidhuber 1997; forget gate: Gers, Schmidhuber & Cummins 2000; peepholes: Gers &
Schmidhuber 2000; projection: Sak, Senior & Beaufays 2014; layer normalisation: Ba, Kiros & Hinton
2016; coupled gates: Greff et al. 2017; zoneout: Krueger et al. 2017; dropout on h: Gal &
Ghahramani 2016.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from lstmkit.equations.namespace import matmul_t, normalise, sigmoid, split_rows, tanh


class Weights(NamedTuple):
    """The arrays of one layer and direction; what a variant does not have is None.

    With coupled gates weight_ih, weight_hh, biases and norms have 3H rows (i, g, o) and
    weight_peephole has 2 (i, o).
    """

    weight_ih: Any  # (G*H, I)
    weight_hh: Any  # (G*H, P)
    bias_ih: Any = None  # (G*H,)
    bias_hh: Any = None  # (G*H,)
    weight_hr: Any = None  # (P, H)
    weight_peephole: Any = None  # (3, H) rows i, f, o; coupled (2, H) rows i, o
    norm_ih_weight: Any = None  # (G*H,)
    norm_hh_weight: Any = None  # (G*H,)
    norm_c_weight: Any = None  # (H,)
    norm_c_bias: Any = None  # (H,)


Edit = Callable[[str, Any], Any]  # name of a quantity, its value (B, H) -> the value to go on with


def unedited(name: str, value: Any) -> Any:
    """The value as it is."""
    return value


class Step(NamedTuple):
    """One step's result: what is carried on, and the gates after their nonlinearity."""

    hidden: Any  # (B, P)
    cell: Any  # (B, H), after zoneout
    input_gate: Any  # (B, H)
    forget_gate: Any
    candidate: Any
    output_gate: Any


def project_input(x: Any, w: Weights) -> Any:
    """W_ih x without bias, (.., I) to (.., G*H): it needs no state, one product for all steps."""
    return matmul_t(x, w.weight_ih)


def preactivation(zx: Any, hidden: Any, w: Weights, drop_h: Any = None) -> Any:
    """z before peepholes, (B, G*H). `drop_h` (B, P) is a scaled dropout mask on h."""
    zh = matmul_t(hidden if drop_h is None else hidden * drop_h, w.weight_hh)
    if w.norm_ih_weight is not None:
        zx, zh = normalise(zx) * w.norm_ih_weight, normalise(zh) * w.norm_hh_weight
    z = zx + zh
    return z if w.bias_ih is None else z + w.bias_ih + w.bias_hh


def blend(keep: Any, old: Any, new: Any) -> Any:
    """Zoneout: keep * old + (1 - keep) * new, `keep` a 0-1 mask in training, p in evaluation."""
    return new if isinstance(keep, float) and keep == 0.0 else keep * old + (1.0 - keep) * new


def step(
    zx: Any,
    hidden: Any,
    cell: Any,
    w: Weights,
    *,
    coupled: bool = False,
    keep_h: Any = 0.0,
    keep_c: Any = 0.0,
    drop_h: Any = None,
    edit: Edit = unedited,
) -> Step:
    """One step of every variant; zx (B, G*H) from `project_input`, hidden (B, P), cell (B, H).

    `edit` sees input_gate, forget_gate, candidate, cell and output_gate as each is computed, and
    hidden at the end; the step goes on with what it returns.
    """
    p = w.weight_peephole
    if coupled:
        z_i, z_g, z_o = split_rows(preactivation(zx, hidden, w, drop_h), 3)
        i = edit("input_gate", sigmoid(z_i if p is None else z_i + p[0] * cell))
        f = edit("forget_gate", 1.0 - i)
    else:
        z_i, z_f, z_g, z_o = split_rows(preactivation(zx, hidden, w, drop_h), 4)
        i = edit("input_gate", sigmoid(z_i if p is None else z_i + p[0] * cell))
        f = edit("forget_gate", sigmoid(z_f if p is None else z_f + p[1] * cell))
    g = edit("candidate", tanh(z_g))
    c = edit("cell", f * cell + i * g)
    o = edit("output_gate", sigmoid(z_o if p is None else z_o + p[-1] * c))
    shown = c if w.norm_c_weight is None else normalise(c) * w.norm_c_weight + w.norm_c_bias
    h = o * tanh(shown)
    h = h if w.weight_hr is None else matmul_t(h, w.weight_hr)
    return Step(edit("hidden", blend(keep_h, hidden, h)), blend(keep_c, cell, c), i, f, g, o)
