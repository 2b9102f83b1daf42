"""The LSTM's step in ONNX nodes, every variant: `lstmkit.equations.lstm`, in evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lstmkit.export.onnx.graph import Graph
from lstmkit.notation import NORM_EPS, gate_rows

Roles = Mapping[str, str]


def project_input(g: Graph, x: str, w: Roles) -> str:
    """What of the pre-activation needs no state, biases included: (.., I) to (.., G*H)."""
    z = g.matmul_t(x, w["weight_ih"])
    if "norm_ih_weight" in w:
        z = g.node("Mul", g.normalise(z, NORM_EPS), w["norm_ih_weight"])
    for bias in ("bias_ih", "bias_hh"):
        z = g.node("Add", z, w[bias]) if bias in w else z
    return z


def project_hidden(g: Graph, h: str, w: Roles) -> str:
    """What the state adds to it, (B, P) to (B, G*H)."""
    z = g.node("MatMul", h, w["recurrence"])
    if "norm_hh_weight" in w:
        z = g.node("Mul", g.normalise(z, NORM_EPS), w["norm_hh_weight"])
    return z


def step(g: Graph, z: str, h: str, c: str, w: Roles, a: Mapping[str, Any]) -> tuple[str, str]:
    """One step: z (B, G*H), h (B, P), c (B, H) to the new h and c, zoneout included; `w` from
    `prepared`."""
    *gates, z_g, z_o = g.nodes_out("Split", z, count=gate_rows(a["coupled"]), axis=-1)
    i = _gate(g, gates[0], c, w.get("peephole_i"))
    if a["coupled"]:
        f = g.node("Sub", g.constant(1.0), i)
    else:
        f = _gate(g, gates[1], c, w.get("peephole_f"))
    added = g.node("Mul", i, g.node("Tanh", z_g))
    cell = g.node("Add", g.node("Mul", f, c), added)
    o = _gate(g, z_o, cell, w.get("peephole_o"))
    hidden = g.node("Mul", o, g.node("Tanh", _shown(g, cell, w)))
    hidden = g.node("MatMul", hidden, w["projection"]) if "projection" in w else hidden
    return _blend(g, a["zoneout_h"], h, hidden), _blend(g, a["zoneout_c"], c, cell)


def prepared(g: Graph, i: Roles, a: Mapping[str, Any]) -> dict[str, str]:
    """The inputs of numbers in float32, and what every step needs of the weights: `recurrence`
    (P, G*H) and `projection` (H, P), transposed, and the rows `peephole_i`, `peephole_f`,
    `peephole_o` (H,)."""
    w = g.floats({role: value for role, value in i.items() if role not in ("lengths", "resets")})
    for role, matrix in (("recurrence", "weight_hh"), ("projection", "weight_hr")):
        if matrix in w:
            w[role] = g.transpose(w[matrix], 1, 0)
    if "weight_peephole" in w:
        for row, gate in enumerate("io" if a["coupled"] else "ifo"):
            w[f"peephole_{gate}"] = g.gather(w["weight_peephole"], row, 0)
    return w


def lstm_cell(g: Graph, i: Roles, a: Mapping[str, Any]) -> dict[str, str]:
    """The operation `lstm_cell`: one step, so nodes of its equations."""
    w = prepared(g, i, a)
    z = g.node("Add", project_input(g, w["x"], w), project_hidden(g, w["h"], w))
    h, c = step(g, z, w["h"], w["c"], w, a)
    return {"h": h, "c": c}


def _gate(g: Graph, z: str, cell: str, peephole: str | None) -> str:
    if peephole is not None:
        z = g.node("Add", z, g.node("Mul", peephole, cell))
    return g.node("Sigmoid", z)


def _shown(g: Graph, cell: str, w: Roles) -> str:
    """What tanh sees of the cell."""
    if "norm_c_weight" not in w:
        return cell
    scaled = g.node("Mul", g.normalise(cell, NORM_EPS), w["norm_c_weight"])
    return g.node("Add", scaled, w["norm_c_bias"])


def _blend(g: Graph, keep: float, old: str, new: str) -> str:
    if keep == 0.0:
        return new
    kept = g.node("Mul", g.constant(float(keep)), old)
    return g.node("Add", kept, g.node("Mul", g.constant(1.0 - float(keep)), new))
