"""The operations that programs are made of: for each a schema, shape inference, and the numpy
reference that says what it means.

Shapes are tuples of ints and symbols ("B" the batch, "T" steps). float32 in, float32 out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lstmkit.equations.namespace import matmul_t, normalise, sigmoid
from lstmkit.errors import UserError

Shape = tuple[int | str, ...]
Array = np.ndarray
Arrays = dict[str, Array]


class ProgramError(UserError):
    """A program that is not well formed, or input that does not fit it."""


class Attribute(NamedTuple):
    """The type of an attribute's value and its default; REQUIRED where there is none."""

    type: type
    default: Any


REQUIRED = object()


class Schema(NamedTuple):
    """What an operation takes and gives.

    `shapes(inputs, attributes)` infers the outputs' shapes or raises ValueError;
    `run(inputs, attributes)` computes them. A variadic operation takes x0, x1, ... `matrices` are
    the inputs that may be weights of low precision (`lstmkit.lowprecision`).
    """

    required: tuple[str, ...]
    optional: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]
    shapes: Callable[[Mapping[str, Shape], Mapping[str, Any]], dict[str, Shape]]
    run: Callable[[Mapping[str, Array], Mapping[str, Any]], Arrays]
    variadic: bool = False
    matrices: tuple[str, ...] = ()


OPERATIONS: dict[str, Schema] = {}


def register(
    name: str,
    inputs: Sequence[str],
    outputs: Sequence[str] = ("y",),
    optional: Sequence[str] = (),
    attributes: Mapping[str, Attribute] | None = None,
    variadic: bool = False,
    matrices: Sequence[str] = (),
) -> Callable[[type], type]:
    """Class decorator: `shapes` and `run` of the class become the operation `name`."""

    def add(cls: Any) -> Any:
        OPERATIONS[name] = Schema(
            tuple(inputs),
            tuple(optional),
            tuple(outputs),
            attributes or {},
            cls.shapes,
            cls.run,
            variadic,
            tuple(matrices),
        )
        return cls

    return add


def check(condition: bool, what: str) -> None:
    """Raises ValueError, which the program's validation completes with the place."""
    if not condition:
        raise ValueError(what)


def broadcast(a: Shape, b: Shape) -> Shape:
    """numpy's rule; a symbol goes with itself and with 1."""
    size = max(len(a), len(b))
    a, b = (1,) * (size - len(a)) + a, (1,) * (size - len(b)) + b
    found: list[int | str] = []
    for m, n in zip(a, b, strict=True):
        check(m == n or m == 1 or n == 1, f"shapes {a} and {b} do not go together")
        found.append(n if m == 1 else m)
    return tuple(found)


def _axis(shape: Shape, axis: int) -> int:
    check(-len(shape) <= axis < len(shape), f"axis {axis} is not in shape {shape}")
    return axis % len(shape)


def _worked(shape: Shape, axis: int) -> int:
    """`_axis`, of an operation that mixes what lies along it: never the samples of a batch."""
    axis = _axis(shape, axis)
    check(shape[axis] != "B", f"axis {axis} of {shape} is the batch, whose samples do not mix")
    return axis


def number(dim: int | str, what: str) -> int:
    check(isinstance(dim, int), f"{what} must be a number, not {dim!r}")
    assert isinstance(dim, int)
    return dim


# --- elementwise ----------------------------------------------------------------------------------


def _elementwise(name: str, function: Callable[..., Array], arity: int) -> None:
    names = ("x", "y")[:arity]

    class Elementwise:
        @staticmethod
        def shapes(i: Mapping[str, Shape], _: Mapping[str, Any]) -> dict[str, Shape]:
            return {"z": i["x"] if arity == 1 else broadcast(i["x"], i["y"])}

        @staticmethod
        def run(i: Mapping[str, Array], _: Mapping[str, Any]) -> Arrays:
            return {"z": function(*(i[k] for k in names))}

    register(name, names, ("z",))(Elementwise)


def softplus(x: Array) -> Array:
    """log(1 + exp(x)), without overflow."""
    return np.logaddexp(x, np.zeros((), x.dtype))


for _name, _function, _arity in (
    ("add", np.add, 2),
    ("subtract", np.subtract, 2),
    ("multiply", np.multiply, 2),
    ("divide", np.divide, 2),
    ("maximum", np.maximum, 2),
    ("minimum", np.minimum, 2),
    ("tanh", np.tanh, 1),
    ("sigmoid", sigmoid, 1),
    ("relu", lambda x: np.maximum(x, np.zeros((), x.dtype)), 1),
    ("softplus", softplus, 1),
    ("exp", np.exp, 1),
    ("abs", np.abs, 1),
    ("sqrt", np.sqrt, 1),
):
    _elementwise(_name, _function, _arity)


@register(
    "affine", ["x"], attributes={"scale": Attribute(float, 1.0), "shift": Attribute(float, 0.0)}
)
class _Affine:
    """scale * x + shift, with constants."""

    @staticmethod
    def shapes(i: Mapping[str, Shape], a: Mapping[str, Any]) -> dict[str, Shape]:
        return {"y": i["x"]}

    @staticmethod
    def run(i: Mapping[str, Array], a: Mapping[str, Any]) -> Arrays:
        x = i["x"]
        return {"y": x * x.dtype.type(a["scale"]) + x.dtype.type(a["shift"])}


# --- products and norms ---------------------------------------------------------------------------


@register("linear", ["x", "weight"], optional=["bias"], matrices=["weight"])
class _Linear:
    """x (.., K), weight (N, K), bias (N): (.., N)."""

    @staticmethod
    def shapes(i: Mapping[str, Shape], a: Mapping[str, Any]) -> dict[str, Shape]:
        check(len(i["weight"]) == 2, f"weight has shape {i['weight']}, not (N, K)")
        n, k = i["weight"]
        check(len(i["x"]) > 0 and i["x"][-1] == k, f"x {i['x']} does not end in {k}")
        check("bias" not in i or i["bias"] == (n,), f"bias is not ({n},)")
        return {"y": (*i["x"][:-1], n)}

    @staticmethod
    def run(i: Mapping[str, Array], a: Mapping[str, Any]) -> Arrays:
        y = matmul_t(i["x"], i["weight"])
        return {"y": y + i["bias"] if "bias" in i else y}


@register("embedding", ["indices", "weight"], matrices=["weight"])
class _Embedding:
    """indices (..) whole numbers, weight (N, E): (.., E)."""

    @staticmethod
    def shapes(i: Mapping[str, Shape], a: Mapping[str, Any]) -> dict[str, Shape]:
        check(len(i["weight"]) == 2, f"weight has shape {i['weight']}, not (N, E)")
        return {"y": (*i["indices"], i["weight"][1])}

    @staticmethod
    def run(i: Mapping[str, Array], a: Mapping[str, Any]) -> Arrays:
        indices, rows = i["indices"].astype(np.int64), len(i["weight"])
        if indices.size and (indices.min() < 0 or indices.max() >= rows):
            raise ProgramError("an index is outside the embedding", expected=f"0 to {rows - 1}")
        return {"y": i["weight"][indices]}


@register(
    "layer_norm",
    ["x"],
    optional=["weight", "bias"],
    attributes={"eps": Attribute(float, 1e-5)},
)
class _LayerNorm:
    """Ba et al. 2016 over the last axis."""

    @staticmethod
    def shapes(i: Mapping[str, Shape], a: Mapping[str, Any]) -> dict[str, Shape]:
        for name in ("weight", "bias"):
            check(name not in i or i[name] == i["x"][-1:], f"{name} is not {i['x'][-1:]}")
        return {"y": i["x"]}

    @staticmethod
    def run(i: Mapping[str, Array], a: Mapping[str, Any]) -> Arrays:
        y = normalise(i["x"], a["eps"])
        y = y * i["weight"] if "weight" in i else y
        return {"y": y + i["bias"] if "bias" in i else y}


@register(
    "instance_norm",
    ["x", "mask"],
    ["y", "mean", "scale"],
    attributes={"eps": Attribute(float, 1e-5)},
)
class _InstanceNorm:
    """x, mask (B, L): mean 0, deviation 1 over observed places, 0 elsewhere; mean, scale (B, 1).

    scale = sqrt(variance + eps^2): constant and empty windows stay finite.
    """

    @staticmethod
    def shapes(i: Mapping[str, Shape], a: Mapping[str, Any]) -> dict[str, Shape]:
        check(len(i["x"]) == 2 and i["x"] == i["mask"], "x and mask must both be (B, L)")
        one: Shape = (i["x"][0], 1)
        return {"y": i["x"], "mean": one, "scale": one}

    @staticmethod
    def run(i: Mapping[str, Array], a: Mapping[str, Any]) -> Arrays:
        mask = i["mask"]
        x = np.where(mask != 0, i["x"], i["x"].dtype.type(0))  # what is not observed may be NaN
        count = np.maximum(mask.sum(1, keepdims=True), mask.dtype.type(1))
        mean = (x * mask).sum(1, keepdims=True) / count
        centred = (x - mean) * mask
        variance = (centred * centred).sum(1, keepdims=True) / count
        scale = np.sqrt(variance + x.dtype.type(a["eps"] ** 2))
        return {"y": centred / scale, "mean": mean, "scale": scale}


@register("softmax", ["x"], attributes={"axis": Attribute(int, -1)})
class _Softmax:
    @staticmethod
    def shapes(i: Mapping[str, Shape], a: Mapping[str, Any]) -> dict[str, Shape]:
        _worked(i["x"], a["axis"])
        return {"y": i["x"]}

    @staticmethod
    def run(i: Mapping[str, Array], a: Mapping[str, Any]) -> Arrays:
        e = np.exp(i["x"] - i["x"].max(a["axis"], keepdims=True))
        return {"y": e / e.sum(a["axis"], keepdims=True)}


@register("log_softmax", ["x"], attributes={"axis": Attribute(int, -1)})
class _LogSoftmax:
    """x - log(sum(exp(x))) along an axis, without overflow."""

    @staticmethod
    def shapes(i: Mapping[str, Shape], a: Mapping[str, Any]) -> dict[str, Shape]:
        _worked(i["x"], a["axis"])
        return {"y": i["x"]}

    @staticmethod
    def run(i: Mapping[str, Array], a: Mapping[str, Any]) -> Arrays:
        shifted = i["x"] - i["x"].max(a["axis"], keepdims=True)
        return {"y": shifted - np.log(np.exp(shifted).sum(a["axis"], keepdims=True))}


# --- shape ----------------------------------------------------------------------------------------


@register("concat", [], attributes={"axis": Attribute(int, -1)}, variadic=True)
class _Concat:
    """x0, x1, ... along an axis."""

    @staticmethod
    def shapes(i: Mapping[str, Shape], a: Mapping[str, Any]) -> dict[str, Shape]:
        shapes = list(i.values())
        axis = _axis(shapes[0], a["axis"])
        total = sum(number(s[axis], "a joined axis") for s in shapes if len(s) > axis)
        for s in shapes:
            same = len(s) == len(shapes[0])
            same = same and s[:axis] + s[axis + 1 :] == shapes[0][:axis] + shapes[0][axis + 1 :]
            check(same, f"{s} and {shapes[0]} differ beside axis {axis}")
        return {"y": (*shapes[0][:axis], total, *shapes[0][axis + 1 :])}

    @staticmethod
    def run(i: Mapping[str, Array], a: Mapping[str, Any]) -> Arrays:
        return {"y": np.concatenate(list(i.values()), a["axis"])}


@register("reshape", ["x"], attributes={"shape": Attribute(list, REQUIRED)})
class _Reshape:
    """As ONNX: 0 keeps the dimension at its place, one -1 is what remains."""

    @staticmethod
    def shapes(i: Mapping[str, Shape], a: Mapping[str, Any]) -> dict[str, Shape]:
        x, wanted = i["x"], a["shape"]
        check(wanted.count(-1) <= 1, "only one -1 can be inferred")
        check(all(type(n) is int and n >= -1 for n in wanted), "a shape is of whole numbers")
        check(all(n != 0 or k < len(x) for k, n in enumerate(wanted)), "0 keeps no dimension")
        new: list[int | str] = [x[k] if n == 0 else n for k, n in enumerate(wanted)]
        symbols = [n for n in x if isinstance(n, str)]
        check(symbols == [n for n in new if isinstance(n, str)], f"{x} loses a symbol in {wanted}")
        have = math.prod(n for n in x if isinstance(n, int))
        known = math.prod(n for n in new if isinstance(n, int) and n != -1)
        if -1 in new:
            check(known > 0 and have % known == 0, f"{x} does not divide into {wanted}")
            new[new.index(-1)] = have // known
            known = have
        check(known == have, f"{x} has not the size of {wanted}")
        return {"y": tuple(new)}

    @staticmethod
    def run(i: Mapping[str, Array], a: Mapping[str, Any]) -> Arrays:
        x = i["x"]
        return {"y": x.reshape([x.shape[k] if n == 0 else n for k, n in enumerate(a["shape"])])}


@register("transpose", ["x"], attributes={"axes": Attribute(list, REQUIRED)})
class _Transpose:
    @staticmethod
    def shapes(i: Mapping[str, Shape], a: Mapping[str, Any]) -> dict[str, Shape]:
        axes = a["axes"]
        check(sorted(axes) == list(range(len(i["x"]))), f"{axes} is no order of {i['x']}")
        return {"y": tuple(i["x"][k] for k in axes)}

    @staticmethod
    def run(i: Mapping[str, Array], a: Mapping[str, Any]) -> Arrays:
        return {"y": i["x"].transpose(a["axes"])}


@register(
    "slice",
    ["x"],
    attributes={
        "axis": Attribute(int, REQUIRED),
        "start": Attribute(int, 0),
        "stop": Attribute(int, REQUIRED),
    },
)
class _Slice:
    """start <= k < stop along an axis, both from 0."""

    @staticmethod
    def shapes(i: Mapping[str, Shape], a: Mapping[str, Any]) -> dict[str, Shape]:
        axis = _axis(i["x"], a["axis"])
        size, start, stop = number(i["x"][axis], "a cut axis"), a["start"], a["stop"]
        check(0 <= start < stop <= size, f"{start}:{stop} is not within 0:{size}")
        return {"y": (*i["x"][:axis], stop - start, *i["x"][axis + 1 :])}

    @staticmethod
    def run(i: Mapping[str, Array], a: Mapping[str, Any]) -> Arrays:
        axis = a["axis"] % i["x"].ndim
        return {"y": i["x"][(slice(None),) * axis + (slice(a["start"], a["stop"]),)]}


@register(
    "take",
    ["x"],
    attributes={"axis": Attribute(int, REQUIRED), "indices": Attribute(list, REQUIRED)},
)
class _Take:
    """The places `indices`, fixed in the program, along an axis."""

    @staticmethod
    def shapes(i: Mapping[str, Shape], a: Mapping[str, Any]) -> dict[str, Shape]:
        axis, indices = _axis(i["x"], a["axis"]), a["indices"]
        size = number(i["x"][axis], "an indexed axis")
        inside = all(type(k) is int and 0 <= k < size for k in indices)
        check(bool(indices) and inside, f"indices are outside 0:{size}")
        return {"y": (*i["x"][:axis], len(indices), *i["x"][axis + 1 :])}

    @staticmethod
    def run(i: Mapping[str, Array], a: Mapping[str, Any]) -> Arrays:
        return {"y": i["x"].take(a["indices"], a["axis"])}


def _reduced(shape: Shape, a: Mapping[str, Any]) -> Shape:
    axis = _worked(shape, a["axis"])
    return (*shape[:axis], *([1] if a["keepdims"] else []), *shape[axis + 1 :])


_REDUCE = {"axis": Attribute(int, -1), "keepdims": Attribute(bool, False)}


@register("sum", ["x"], attributes=_REDUCE)
class _Sum:
    @staticmethod
    def shapes(i: Mapping[str, Shape], a: Mapping[str, Any]) -> dict[str, Shape]:
        return {"y": _reduced(i["x"], a)}

    @staticmethod
    def run(i: Mapping[str, Array], a: Mapping[str, Any]) -> Arrays:
        return {"y": i["x"].sum(a["axis"], keepdims=a["keepdims"])}


@register("mean", ["x"], attributes=_REDUCE)
class _Mean:
    @staticmethod
    def shapes(i: Mapping[str, Shape], a: Mapping[str, Any]) -> dict[str, Shape]:
        return {"y": _reduced(i["x"], a)}

    @staticmethod
    def run(i: Mapping[str, Array], a: Mapping[str, Any]) -> Arrays:
        return {"y": i["x"].mean(a["axis"], keepdims=a["keepdims"])}


@register("sort", ["x"], attributes={"axis": Attribute(int, -1)})
class _Sort:
    """Ascending."""

    @staticmethod
    def shapes(i: Mapping[str, Shape], a: Mapping[str, Any]) -> dict[str, Shape]:
        _worked(i["x"], a["axis"])
        return {"y": i["x"]}

    @staticmethod
    def run(i: Mapping[str, Array], a: Mapping[str, Any]) -> Arrays:
        return {"y": np.sort(i["x"], a["axis"])}


@register("where", ["condition", "x", "y"], ["z"])
class _Where:
    """x where condition is not 0, else y."""

    @staticmethod
    def shapes(i: Mapping[str, Shape], a: Mapping[str, Any]) -> dict[str, Shape]:
        return {"z": broadcast(broadcast(i["condition"], i["x"]), i["y"])}

    @staticmethod
    def run(i: Mapping[str, Array], a: Mapping[str, Any]) -> Arrays:
        return {"z": np.where(i["condition"] != 0, i["x"], i["y"])}
