"""The operation `lstm`: ONNX's LSTM operator where that can say it, else a Scan over time.

ONNX orders gates i, o, f, c and peepholes i, o, f; ours are i, f, g, o and i, f, o, coupled i, g, o
and i, o. It has coupled gates (`input_forget`, where it reads no row of f) but neither projection,
layer normalisation, zoneout nor resets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lstmkit.export.onnx.cell import Roles, prepared, project_hidden, project_input, step
from lstmkit.export.onnx.graph import INT, Graph, element
from lstmkit.notation import gate_rows
from lstmkit.operations import number

# Rows of ours that become ONNX's, by block of H: (gates, peepholes).
PLAIN = ([0, 3, 1, 2], [0, 2, 1])
COUPLED = ([0, 2, 0, 1], [0, 1, 0])  # what stands for f is not read
BEYOND = {"weight_hr", "norm_ih_weight", "resets"}  # roles that the operator does not have


def lstm(g: Graph, i: Roles, a: Mapping[str, Any]) -> dict[str, str]:
    """The operation `lstm`: y (B, T, P), h (B, P), c (B, H)."""
    zoned = a["zoneout_h"] != 0 or a["zoneout_c"] != 0
    return _scan(g, i, a) if zoned or BEYOND & set(i) else _operator(g, i, a)


# --- the operator ---------------------------------------------------------------------------------


def _operator(g: Graph, i: Roles, a: Mapping[str, Any]) -> dict[str, str]:
    lengths = g.cast(i["lengths"], "int32") if "lengths" in i else ""
    first = {role: g.cast(i[role], "float32") for role in ("h0", "c0") if role in i}
    inputs = [
        g.transpose(g.cast(i["x"], "float32"), 1, 0, 2),
        *_packed(g, i, a),
        lengths,
        *(g.unsqueeze(first[role], 0) if role in first else "" for role in ("h0", "c0")),
        _packed_peephole(g, i, a),
    ]
    attributes = {"hidden_size": a["hidden_size"], "input_forget": int(a["coupled"])}
    way = "reverse" if a["reverse"] else "forward"
    y, h, c = g.nodes_out("LSTM", *inputs, count=3, direction=way, **attributes)
    last = {"h": g.squeeze(h, 0), "c": g.squeeze(c, 0)}
    if lengths:
        last = {role: _unless_empty(g, i, v, first.get(f"{role}0")) for role, v in last.items()}
    return {"y": g.transpose(g.squeeze(y, 1), 1, 0, 2), **last}


def _packed(g: Graph, i: Roles, a: Mapping[str, Any]) -> list[str]:
    """W (1, 4H, I), R (1, 4H, H), and B (1, 8H) or ""."""
    found = [g.unsqueeze(_reordered(g, i[role], a), 0) for role in ("weight_ih", "weight_hh")]
    if "bias_ih" not in i:
        return [*found, ""]
    biases = [_reordered(g, i[role], a) for role in ("bias_ih", "bias_hh")]
    return [*found, g.unsqueeze(g.node("Concat", *biases, axis=0), 0)]


def _packed_peephole(g: Graph, i: Roles, a: Mapping[str, Any]) -> str:
    """P (1, 3H), or ""."""
    if "weight_peephole" not in i:
        return ""
    order = (COUPLED if a["coupled"] else PLAIN)[1]
    rows = g.gather(g.cast(i["weight_peephole"], "float32"), order, 0)
    return g.node("Reshape", rows, g.constant([1, -1], INT))


def _reordered(g: Graph, weight: str, a: Mapping[str, Any]) -> str:
    """The rows in ONNX's order of gates."""
    H, order = a["hidden_size"], (COUPLED if a["coupled"] else PLAIN)[0]
    rows = [block * H + k for block in order for k in range(H)]
    return g.gather(g.cast(weight, "float32"), rows, 0)


def _unless_empty(g: Graph, i: Roles, last: str, first: str | None) -> str:
    """The last state; of a sequence of length 0 the first, where onnxruntime gives 0."""
    if first is None:
        return last
    some = g.node("Greater", g.cast(i["lengths"], INT), g.constant(0, INT), dtype="bool")
    return g.node("Where", g.unsqueeze(some, 1), last, first)


# --- any variant ----------------------------------------------------------------------------------


def _scan(g: Graph, i: Roles, a: Mapping[str, Any]) -> dict[str, str]:
    w, H = prepared(g, i, a), a["hidden_size"]
    P = number(g.shapes[i["weight_hh"]][1], "the state")
    first = [_first(g, w, "h0", P), _first(g, w, "c0", H)]
    sequences = {"z": project_input(g, w["x"], w), **_masks(g, i)}
    widths = {"h": P, "c": H, "z": gate_rows(a["coupled"]) * H, "valid": 1, "cut": 1}
    ways = [int(a["reverse"])] * len(sequences)
    h, c, y = g.nodes_out(
        "Scan",
        *first,
        *sequences.values(),
        count=3,
        body=_body(g, {k: widths[k] for k in ("h", "c", *sequences)}, w, a),
        num_scan_inputs=len(sequences),
        scan_input_axes=[1] * len(sequences),
        scan_output_axes=[1],
        scan_input_directions=ways,
        scan_output_directions=ways[:1],
    )
    return {"y": y, "h": h, "c": c}


def _first(g: Graph, w: Roles, role: str, width: int) -> str:
    """The state before the first step, zeros if it is not given."""
    if role in w:
        return w[role]
    shape = g.node("Concat", g.size(w["x"], 0), g.constant([width], INT), dtype=INT, axis=0)
    return g.node("Expand", g.constant(0.0), shape)


def _masks(g: Graph, i: Roles) -> dict[str, str]:
    """`valid`, before the sequence's end, and `cut`, a reset there: (B, T, 1), where needed."""
    found = {}
    if "lengths" in i:
        steps = g.squeeze(g.size(i["x"], 1), 0)
        places = g.node("Range", g.constant(0, INT), steps, g.constant(1, INT), dtype=INT)
        lengths = g.unsqueeze(g.cast(i["lengths"], INT), 1)
        valid = g.node("Less", g.unsqueeze(places, 0), lengths, dtype="bool")
        found["valid"] = g.unsqueeze(valid, 2)
    if "resets" in i:
        cut = g.unsqueeze(g.cast(i["resets"], "bool"), 2)
        found["cut"] = g.node("And", cut, found["valid"], dtype="bool") if found else cut
    return found


def _body(g: Graph, widths: Mapping[str, int], w: Roles, a: Mapping[str, Any]) -> Any:
    """The graph of one step, from the state and one step of the sequences, by name and width, to
    the new state and output, all (B, width)."""
    body = g.child()
    v = {role: body.fresh(role) for role in widths}
    body.dtypes |= {v[role]: "bool" for role in ("valid", "cut") if role in v}
    taken = [_port(body, v[role], width) for role, width in widths.items()]
    made = _masked_step(body, v, w, a)
    given = [_port(body, name, widths[role]) for role, name in zip("hch", made, strict=True)]
    return body.helper.make_graph(body.nodes, body.fresh("body"), taken, given)


def _port(g: Graph, name: str, width: int) -> Any:
    return g.helper.make_tensor_value_info(name, element(g.dtype(name)), [None, width])


def _masked_step(g: Graph, v: Roles, w: Roles, a: Mapping[str, Any]) -> list[str]:
    """The new h and c and the output, as one turn of the loop in `recurrence.unroll`."""
    h, c = old = [v["h"], v["c"]] if a["reverse"] else _zeroed(g, v, [v["h"], v["c"]])
    z = g.node("Add", v["z"], project_hidden(g, h, w))
    new = list(step(g, z, h, c, w, a))
    y = new[0]
    if "valid" in v:
        y = g.node("Where", v["valid"], y, g.constant(0.0))
        new = [g.node("Where", v["valid"], n, o) for n, o in zip(new, old, strict=True)]
    new = _zeroed(g, v, new) if a["reverse"] else new
    return [*new, g.node("Identity", y)]  # two outputs of one name would be one


def _zeroed(g: Graph, v: Roles, state: list[str]) -> list[str]:
    """The state, 0 where the sequence is cut."""
    if "cut" not in v:
        return state
    return [g.node("Where", v["cut"], g.constant(0.0), s) for s in state]
