"""For every operation of a program, its ONNX nodes.

A writer takes the inputs by role, names of ONNX values, and complete attributes, and returns the
outputs by role. What they mean is said by the numpy reference of the operation
(`lstmkit.operations`). Arithmetic is in float32, whatever type comes; what only moves numbers keeps
their type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lstmkit.export.onnx.cell import lstm_cell
from lstmkit.export.onnx.graph import INT, Graph
from lstmkit.export.onnx.sequence import lstm
from lstmkit.operations import OPERATIONS

Roles = Mapping[str, str]
Attributes = Mapping[str, Any]
Writer = Callable[[Graph, Roles, Attributes], dict[str, str]]

# Operations that are one ONNX operator of float32.
SAME = {
    "add": "Add",
    "subtract": "Sub",
    "multiply": "Mul",
    "divide": "Div",
    "maximum": "Max",
    "minimum": "Min",
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "relu": "Relu",
    "softplus": "Softplus",
    "exp": "Exp",
    "abs": "Abs",
    "sqrt": "Sqrt",
}


def _same(operator: str) -> Writer:
    def write(g: Graph, i: Roles, a: Attributes) -> dict[str, str]:
        return {"z": g.node(operator, *g.floats(i).values())}

    return write


def _affine(g: Graph, i: Roles, a: Attributes) -> dict[str, str]:
    scaled = g.node("Mul", g.cast(i["x"], "float32"), g.constant(float(a["scale"])))
    return {"y": g.node("Add", scaled, g.constant(float(a["shift"])))}


def _linear(g: Graph, i: Roles, a: Attributes) -> dict[str, str]:
    v = g.floats(i)
    y = g.matmul_t(v["x"], v["weight"])
    return {"y": g.node("Add", y, v["bias"]) if "bias" in v else y}


def _embedding(g: Graph, i: Roles, a: Attributes) -> dict[str, str]:
    rows, weight = g.cast(i["indices"], INT), i["weight"]
    return {"y": g.node("Gather", weight, rows, dtype=g.dtype(weight), axis=0)}


def _layer_norm(g: Graph, i: Roles, a: Attributes) -> dict[str, str]:
    v = g.floats(i)
    y = g.normalise(v["x"], a["eps"])
    y = g.node("Mul", y, v["weight"]) if "weight" in v else y
    return {"y": g.node("Add", y, v["bias"]) if "bias" in v else y}


def _instance_norm(g: Graph, i: Roles, a: Attributes) -> dict[str, str]:
    v = g.floats(i)
    x = g.node("Where", g.cast(i["mask"], "bool"), v["x"], g.constant(0.0))
    count = g.node("Max", g.sum(v["mask"], 1), g.constant(1.0))
    mean = g.node("Div", g.sum(g.node("Mul", x, v["mask"]), 1), count)
    centred = g.node("Mul", g.node("Sub", x, mean), v["mask"])
    variance = g.node("Div", g.sum(g.node("Mul", centred, centred), 1), count)
    scale = g.node("Sqrt", g.node("Add", variance, g.constant(a["eps"] ** 2)))
    return {"y": g.node("Div", centred, scale), "mean": mean, "scale": scale}


def _softmax(g: Graph, i: Roles, a: Attributes) -> dict[str, str]:
    return {"y": g.node("Softmax", g.cast(i["x"], "float32"), axis=a["axis"])}


def _log_softmax(g: Graph, i: Roles, a: Attributes) -> dict[str, str]:
    return {"y": g.node("LogSoftmax", g.cast(i["x"], "float32"), axis=a["axis"])}


def _sum(g: Graph, i: Roles, a: Attributes) -> dict[str, str]:
    return {"y": g.sum(g.cast(i["x"], "float32"), a["axis"], a["keepdims"])}


def _mean(g: Graph, i: Roles, a: Attributes) -> dict[str, str]:
    return {"y": g.mean(g.cast(i["x"], "float32"), a["axis"], a["keepdims"])}


def _concat(g: Graph, i: Roles, a: Attributes) -> dict[str, str]:
    values = g.same(*i.values())
    return {"y": g.node("Concat", *values, dtype=g.dtype(values[0]), axis=a["axis"])}


def _reshape(g: Graph, i: Roles, a: Attributes) -> dict[str, str]:
    """Every size is said but those of symbols, which keep their place."""
    shape = OPERATIONS["reshape"].shapes({"x": g.shapes[i["x"]]}, a)["y"]
    sizes = g.constant([0 if isinstance(n, str) else n for n in shape], INT)
    return {"y": g.node("Reshape", i["x"], sizes, dtype=g.dtype(i["x"]))}


def _transpose(g: Graph, i: Roles, a: Attributes) -> dict[str, str]:
    return {"y": g.transpose(i["x"], *a["axes"])}


def _slice(g: Graph, i: Roles, a: Attributes) -> dict[str, str]:
    bounds = [g.constant([a[k]], INT) for k in ("start", "stop", "axis")]
    return {"y": g.node("Slice", i["x"], *bounds, dtype=g.dtype(i["x"]))}


def _take(g: Graph, i: Roles, a: Attributes) -> dict[str, str]:
    return {"y": g.gather(i["x"], list(a["indices"]), a["axis"])}


def _sort(g: Graph, i: Roles, a: Attributes) -> dict[str, str]:
    x, axis = i["x"], a["axis"]
    given = {"axis": axis, "largest": 0, "sorted": 1}
    places = g.size(x, axis)
    return {"y": g.nodes_out("TopK", x, places, count=2, dtype=g.dtype(x), **given)[0]}


def _where(g: Graph, i: Roles, a: Attributes) -> dict[str, str]:
    x, y = g.same(i["x"], i["y"])
    return {"z": g.node("Where", g.cast(i["condition"], "bool"), x, y, dtype=g.dtype(x))}


WRITERS: dict[str, Writer] = {
    **{name: _same(operator) for name, operator in SAME.items()},
    "affine": _affine,
    "linear": _linear,
    "embedding": _embedding,
    "layer_norm": _layer_norm,
    "instance_norm": _instance_norm,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "concat": _concat,
    "reshape": _reshape,
    "transpose": _transpose,
    "slice": _slice,
    "take": _take,
    "sum": _sum,
    "mean": _mean,
    "sort": _sort,
    "where": _where,
    "lstm": lstm,
    "lstm_cell": lstm_cell,
}
