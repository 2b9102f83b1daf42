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


def project_hidden(g: Graph, h: str, weight: str, w: Roles) -> str:
    """What the state adds to it, (B, P) to (B, G*H); `weight` is weight_hh transposed."""
    z = g.node("MatMul", h, weight)
    if "norm_hh_weight" in w:
        z = g.node("Mul", g.normalise(z, NORM_EPS), w["norm_hh_weight"])
    return z


def step(g: Graph, z: str, h: str, c: str, w: Roles, a: Mapping[str, Any]) -> tuple[str, str]:
    """One step: z (B, G*H), h (B, P), c (B, H) to the new h and c, zoneout included.

    Rows of `weight_peephole` are named peephole_i, peephole_f, peephole_o in `w`.
    """
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
    hidden = g.matmul_t(hidden, w["weight_hr"]) if "weight_hr" in w else hidden
    return _blend(g, a["zoneout_h"], h, hidden), _blend(g, a["zoneout_c"], c, cell)


def peepholes(g: Graph, w: Roles, coupled: bool) -> dict[str, str]:
    """The rows of weight_peephole by name, each (H,)."""
    if "weight_peephole" not in w:
        return {}
    gates = "io" if coupled else "ifo"
    return {f"peephole_{x}": g.gather(w["weight_peephole"], k, 0) for k, x in enumerate(gates)}


def lstm_cell(g: Graph, i: Roles, a: Mapping[str, Any]) -> dict[str, str]:
    """The operation `lstm_cell`: one step, so nodes of its equations."""
    w = g.floats(i)
    w |= peepholes(g, w, a["coupled"])
    from_state = project_hidden(g, w["h"], g.transpose(w["weight_hh"], 1, 0), w)
    z = g.node("Add", project_input(g, w["x"], w), from_state)
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
