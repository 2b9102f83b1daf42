"""The nodes, constants and weights of an ONNX graph while it is being written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.errors import require
from lstmkit.operations import Array, Shape

if TYPE_CHECKING:
    import onnx

FLOAT, INT = "float32", "int64"


class Graph:
    """Writes nodes down; values are named by text.

    Arithmetic is in float32. `dtypes` holds the types of values that are not float32, `shapes` the
    shapes of what a program names. A child is the body of a loop: it shares names and initializers
    with its parent and sees the parent's values.
    """

    def __init__(self, parent: Graph | None = None) -> None:
        self.helper: Any = require("onnx.helper", "export")
        self.nodes: list[onnx.NodeProto] = []
        self.taken: set[str] = set() if parent is None else parent.taken
        self.dtypes: dict[str, str] = {} if parent is None else parent.dtypes
        self.shapes: dict[str, Shape] = {} if parent is None else parent.shapes
        self.initializers: dict[str, onnx.TensorProto]
        self.initializers = {} if parent is None else parent.initializers
        self._constants: dict[Any, str] = {} if parent is None else parent._constants

    def child(self) -> Graph:
        """An empty graph for the body of a loop in this one."""
        return Graph(self)

    def fresh(self, wish: str) -> str:
        """`wish`, or where it is taken `wish_2`, `wish_3`, ..."""
        name, count = wish, 1
        while name in self.taken:
            count += 1
            name = f"{wish}_{count}"
        self.taken.add(name)
        return name

    def node(self, kind: str, *inputs: str, dtype: str = FLOAT, **attributes: Any) -> str:
        """One node with one output, whose name is returned; an input "" is left out."""
        return self.nodes_out(kind, *inputs, count=1, dtype=dtype, **attributes)[0]

    def nodes_out(
        self, kind: str, *inputs: str, count: int, dtype: str = FLOAT, **attributes: Any
    ) -> list[str]:
        """One node with `count` outputs of one type; their names."""
        names = [self.fresh(kind.lower()) for _ in range(count)]
        node = self.helper.make_node(kind, inputs, names, name=names[0], **attributes)
        self.nodes.append(node)
        if dtype != FLOAT:
            self.dtypes |= dict.fromkeys(names, dtype)
        return names

    def rename(self, value: str, name: str) -> None:
        """Gives a value out under `name`, which nothing else has."""
        if value != name:
            self.nodes.append(self.helper.make_node("Identity", [value], [name], name=name))

    def weight(self, wish: str, array: Any) -> str:
        """A tensor of the model, as float32; weights of low precision by the values they stand
        for. Returns its name."""
        name = self.fresh(wish)
        self._store(name, np.asarray(array, np.float32))
        return name

    def constant(self, value: Any, dtype: str = FLOAT) -> str:
        """A number or list of numbers; the same one is stored once."""
        array = np.asarray(value, dtype)
        key = (dtype, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.fresh("constant")
            self._store(self._constants[key], array)
        return self._constants[key]

    def _store(self, name: str, array: Array) -> None:
        from_array = require("onnx.numpy_helper", "export").from_array
        self.initializers[name] = from_array(np.ascontiguousarray(array).reshape(array.shape), name)
        if str(array.dtype) != FLOAT:
            self.dtypes[name] = str(array.dtype)

    def dtype(self, value: str) -> str:
        """The type of a value, as numpy names it."""
        return self.dtypes.get(value, FLOAT)

    def cast(self, value: str, dtype: str) -> str:
        """The value in another type."""
        if self.dtype(value) == dtype:
            return value
        return self.node("Cast", value, dtype=dtype, to=element(dtype))

    def same(self, *values: str) -> list[str]:
        """The values in one type: their own where they share it, else float32."""
        kinds = {self.dtype(v) for v in values}
        return [self.cast(v, kinds.copy().pop() if len(kinds) == 1 else FLOAT) for v in values]

    def floats(self, values: Mapping[str, str]) -> dict[str, str]:
        """The values by role, each in float32."""
        return {role: self.cast(value, FLOAT) for role, value in values.items()}

    # --- what several operations are made of ------------------------------------------------------

    def transpose(self, value: str, *axes: int) -> str:
        """The axes in another order."""
        return self.node("Transpose", value, dtype=self.dtype(value), perm=axes)

    def unsqueeze(self, value: str, *axes: int) -> str:
        """New axes of size 1."""
        axes_of = self.constant(list(axes), INT)
        return self.node("Unsqueeze", value, axes_of, dtype=self.dtype(value))

    def squeeze(self, value: str, *axes: int) -> str:
        """Without axes of size 1."""
        axes_of = self.constant(list(axes), INT)
        return self.node("Squeeze", value, axes_of, dtype=self.dtype(value))

    def gather(self, value: str, indices: list[int] | int, axis: int) -> str:
        """The places `indices` along an axis; a whole number takes the axis away."""
        places = self.constant(indices, INT)
        return self.node("Gather", value, places, dtype=self.dtype(value), axis=axis)

    def size(self, value: str, axis: int) -> str:
        """The length of an axis (1,), found when the model runs."""
        return self.gather(self.node("Shape", value, dtype=INT), [axis], 0)

    def matmul_t(self, x: str, weight: str) -> str:
        """x (.., K) times weight (N, K) transposed: (.., N)."""
        return self.node("MatMul", x, self.transpose(weight, 1, 0))

    def sum(self, x: str, axis: int, keepdims: bool = True) -> str:
        """Along one axis."""
        return self.node("ReduceSum", x, self.constant([axis], INT), keepdims=int(keepdims))

    def mean(self, x: str, axis: int, keepdims: bool = True) -> str:
        """Along one axis."""
        return self.node("ReduceMean", x, axes=[axis], keepdims=int(keepdims))

    def normalise(self, x: str, eps: float) -> str:
        """Zero mean and unit variance over the last axis, as `equations.namespace.normalise`.

        Not LayerNormalization, whose mean of squares loses digits in some runtimes.
        """
        centred = self.node("Sub", x, self.mean(x, -1))
        variance = self.mean(self.node("Mul", centred, centred), -1)
        root = self.node("Sqrt", self.node("Add", variance, self.constant(eps)))
        return self.node("Div", centred, root)


def element(dtype: str) -> int:
    """ONNX's number for a type that numpy names."""
    helper = require("onnx.helper", "export")
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
