"""The operations of a program as instructions of the native machine (native/machine.h).

A writer returns False, having written nothing, for what the machine cannot do; numpy does it then.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from lstmkit.engine import NATIVE
from lstmkit.lowprecision import BFloat16, Int8
from lstmkit.operations import Array
from lstmkit.recurrence import cell_sizes

LINE = 16  # floats: where a value of the arena may begin
MOST_AXES = 16
MOST_INDICES = 64
LARGEST_EXACT = 1 << 24  # whole numbers that float32 holds
LONGEST_INT8 = 130_000  # products of 127 * 127 that an int32 sum holds

# As in native/machine.h.
COPY, BINARY, WHERE, UNARY, REDUCE, SOFTMAX, SORT, LAYER_NORM = range(8)
INSTANCE_NORM, EMBEDDING, LINEAR, CELL, LSTM, LOG_SOFTMAX = range(8, 14)
BINARIES = ("add", "subtract", "multiply", "divide", "maximum", "minimum")
UNARIES = ("tanh", "sigmoid", "relu", "softplus", "exp", "abs", "sqrt", "affine")
PRECISIONS = {"float32": 0, "bfloat16": 1, "int8": 2}

Place = tuple[int, bool]  # offset, constant
NOTHING: Place = (-1, False)


class Value(NamedTuple):
    """What a name stands for: a constant (its array), or (B, *shape) at an offset of the arena."""

    shape: tuple[int, ...]
    offset: int = -1
    constant: Any = None

    @property
    def size(self) -> int:
        """Elements of a sample, or of the constant."""
        return math.prod(self.shape)


@dataclass
class Code:
    """What is written: instructions, constants, packed weights, and how large the arena is."""

    instructions: list[tuple[int, list[Place], list[Place], list[int], list[float]]] = field(
        default_factory=list
    )
    constants: list[Array] = field(default_factory=list)
    packed: list[Any] = field(default_factory=list)
    shared: dict[Any, Any] = field(default_factory=dict)  # packed weights of all plans of a model
    arena: int = 0
    stored: int = 0

    def room(self, shape: tuple[int, ...]) -> Value:
        """A new value of the arena."""
        value = Value(shape, self.arena)
        self.arena += -(-max(value.size, 1) // LINE) * LINE
        return value

    def place(self, value: Value | None) -> Place:
        """Where a value stands; a constant is stored at its first use."""
        if value is None:
            return NOTHING
        if value.constant is None:
            return (value.offset, False)
        array = np.ascontiguousarray(value.constant, np.float32)
        self.constants.append(array)
        self.stored += array.size
        return (self.stored - array.size, True)

    def emit(
        self,
        operation: int,
        given: Sequence[Value | None],
        made: Sequence[Value],
        numbers: Sequence[int] = (),
        factors: Sequence[float] = (),
    ) -> bool:
        """Write one instruction."""
        places = [self.place(v) for v in given]
        results = [(v.offset, False) for v in made]
        self.instructions.append((operation, places, results, list(numbers), list(factors)))
        return True

    def pack(
        self, kind: str, precision: str, sizes: Sequence[int], weights: Any, scales: Any
    ) -> int:
        """Packed weights, those of another plan where they are the same arrays; their number.

        Args:
            kind: `cell`, `linear` or `table`, of native/sessions.cpp.
            precision: of PRECISIONS.
            sizes, weights, scales: as there; arrays or None.
        """
        key = (kind, *sizes, *map(id, weights))
        if key not in self.shared:
            arrays = [_floats(a) for a in (*weights, *scales)]
            addresses = [0 if a is None else a.ctypes.data for a in arrays]
            n = len(weights)
            make = getattr(NATIVE, f"packed_{kind}")
            found = make(PRECISIONS[precision], list(sizes), addresses[:n], addresses[n:])
            self.shared[key] = (found, weights)  # the arrays stay: their ids are theirs
        self.packed.append(self.shared[key][0])
        return len(self.packed) - 1


def _floats(array: Any) -> Array | None:
    return None if array is None else np.ascontiguousarray(array, np.float32)


Inputs = Mapping[str, Value]
Writer = Callable[[Code, Inputs, Mapping[str, Value], Mapping[str, Any]], bool]


def strides(value: Value, shape: tuple[int, ...]) -> list[int] | None:
    """By which a value moves along the batch and the axes of `shape` (of a sample), 0 where it is
    repeated; None where it is not batch first."""
    full = value.shape if value.constant is not None else (0, *value.shape)
    if len(full) > len(shape) + 1 or (value.constant is None and len(full) != len(shape) + 1):
        return None
    full = (1,) * (len(shape) + 1 - len(full)) + tuple(full)
    if value.constant is not None and full[0] != 1:
        return None
    found, step = [], 1
    for have in reversed(full[1:]):
        found.append(0 if have == 1 else step)
        step *= have
    return [value.size if value.constant is None else 0, *reversed(found)]


def axes(shape: tuple[int, ...], *moves: list[int]) -> list[int]:
    """The numbers of a strided instruction."""
    return [len(shape), *shape, *(n for move in moves for n in move)]


def _binary(kind: int) -> Writer:
    def write(code: Code, i: Inputs, o: Mapping[str, Value], a: Mapping[str, Any]) -> bool:
        out = o["z"]
        moves = [strides(v, out.shape) for v in (i["x"], i["y"], out)]
        if None in moves or len(out.shape) >= MOST_AXES:
            return False
        numbers = [kind, *axes(out.shape, *moves)]  # type: ignore[arg-type]
        return code.emit(BINARY, [i["x"], i["y"]], [out], numbers)

    return write


def _unary(kind: int) -> Writer:
    def write(code: Code, i: Inputs, o: Mapping[str, Value], a: Mapping[str, Any]) -> bool:
        (out,) = o.values()
        factors = [a["scale"], a["shift"]] if "scale" in a else []
        return code.emit(UNARY, [i["x"]], [out], [kind, out.size], factors)

    return write


def _where(code: Code, i: Inputs, o: Mapping[str, Value], a: Mapping[str, Any]) -> bool:
    out, given = o["z"], [i["condition"], i["x"], i["y"]]
    moves = [strides(v, out.shape) for v in (*given, out)]
    if None in moves or len(out.shape) >= MOST_AXES:
        return False
    return code.emit(WHERE, given, [out], axes(out.shape, *moves))  # type: ignore[arg-type]


# --- shape ----------------------------------------------------------------------------------------


def _copy(code: Code, x: Value, out: Value, shape: tuple[int, ...], part: _Part) -> bool:
    """Copy `shape` by strides, from and to the beginnings that `part` names."""
    numbers = [part.start, part.to, *axes(shape, part.moves, part.moves_out)]
    return code.emit(COPY, [x], [out], numbers)


class _Part(NamedTuple):
    start: int
    moves: list[int]
    to: int
    moves_out: list[int]


def _whole(value: Value) -> list[int]:
    """Strides of a value over its own axes, none repeated."""
    found, step = [], 1
    for n in reversed(value.shape):
        found.append(step)
        step *= n
    return [value.size, *reversed(found)]


def _concat(code: Code, i: Inputs, o: Mapping[str, Value], a: Mapping[str, Any]) -> bool:
    out, given = o["y"], list(i.values())
    axis = a["axis"] % (len(out.shape) + 1)
    if axis == 0 or any(v.constant is not None for v in given):
        return False
    moves, at = _whole(out), 0
    for x in given:
        _copy(code, x, out, x.shape, _Part(0, _whole(x), at * moves[axis], moves))
        at += x.shape[axis - 1]
    return True


def _slice(code: Code, i: Inputs, o: Mapping[str, Value], a: Mapping[str, Any]) -> bool:
    x, out = i["x"], o["y"]
    axis = a["axis"] % (len(x.shape) + 1)
    if axis == 0:
        return False
    moves = _whole(x)
    return _copy(code, x, out, out.shape, _Part(a["start"] * moves[axis], moves, 0, _whole(out)))


def _take(code: Code, i: Inputs, o: Mapping[str, Value], a: Mapping[str, Any]) -> bool:
    x, out = i["x"], o["y"]
    axis = a["axis"] % (len(x.shape) + 1)
    if axis == 0 or len(a["indices"]) > MOST_INDICES:
        return False
    moves, moves_out = _whole(x), _whole(out)
    one = (*x.shape[: axis - 1], 1, *x.shape[axis:])
    for to, start in enumerate(a["indices"]):
        part = _Part(start * moves[axis], moves, to * moves_out[axis], moves_out)
        _copy(code, x, out, one, part)
    return True


def _transpose(code: Code, i: Inputs, o: Mapping[str, Value], a: Mapping[str, Any]) -> bool:
    x, out, order = i["x"], o["y"], a["axes"]
    if order[0] != 0:
        return False
    moves = _whole(x)
    turned = [moves[k] for k in order]
    return _copy(code, x, out, out.shape, _Part(0, turned, 0, _whole(out)))


# --- along an axis --------------------------------------------------------------------------------


def _around(x: Value, axis: int) -> list[int] | None:
    """Outer, length and inner of an axis of (B, *shape); None for the batch."""
    axis %= len(x.shape) + 1
    if axis == 0:
        return None
    return [math.prod(x.shape[: axis - 1]), x.shape[axis - 1], math.prod(x.shape[axis:])]


def _along(operation: int, *first: int) -> Writer:
    def write(code: Code, i: Inputs, o: Mapping[str, Value], a: Mapping[str, Any]) -> bool:
        sizes = _around(i["x"], a["axis"])
        if sizes is None:
            return False
        return code.emit(operation, [i["x"]], [o["y"]], [*first, *sizes])

    return write


def _layer_norm(code: Code, i: Inputs, o: Mapping[str, Value], a: Mapping[str, Any]) -> bool:
    x, gains = i["x"], [i.get("weight"), i.get("bias")]
    if not x.shape or any(v is not None and v.constant is None for v in gains):
        return False
    sizes = [math.prod(x.shape[:-1]), x.shape[-1]]
    return code.emit(LAYER_NORM, [x, *gains], [o["y"]], sizes, [a["eps"]])


def _instance_norm(code: Code, i: Inputs, o: Mapping[str, Value], a: Mapping[str, Any]) -> bool:
    results = [o["y"], o["mean"], o["scale"]]
    return code.emit(INSTANCE_NORM, [i["x"], i["mask"]], results, [i["x"].size], [a["eps"]])


# --- weights --------------------------------------------------------------------------------------


def _embedding(code: Code, i: Inputs, o: Mapping[str, Value], a: Mapping[str, Any]) -> bool:
    indices, table = i["indices"], i["weight"]
    if table.constant is None or len(table.constant) >= LARGEST_EXACT:
        return False
    rows, width = table.shape
    number = code.pack("table", "float32", [rows * width], [table.constant], [])
    return code.emit(EMBEDDING, [indices], [o["y"]], [number, indices.size, rows, width])


def numbers_of(matrix: Any) -> tuple[Any, Any, str]:
    """A matrix as the machine packs it: its numbers, its scale or None, its precision."""
    if isinstance(matrix, Int8):
        return matrix.values, matrix.scale, "int8"
    return matrix, None, "bfloat16" if isinstance(matrix, BFloat16) else "float32"


def _linear(code: Code, i: Inputs, o: Mapping[str, Value], a: Mapping[str, Any]) -> bool:
    x, weight, bias = i["x"], i["weight"], i.get("bias")
    if weight.constant is None or (bias is not None and bias.constant is None):
        return False
    N, K = weight.shape
    numbers, scale, precision = numbers_of(weight.constant)
    if precision == "int8" and K > LONGEST_INT8:
        return False
    arrays = [numbers, None if bias is None else bias.constant]
    number = code.pack("linear", precision, [K, N], arrays, [scale])
    return code.emit(LINEAR, [x], [o["y"]], [number, x.size // K])


PLAIN = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
VARIANTS = ("weight_peephole", "norm_ih_weight")


def _pack_cell(code: Code, i: Inputs, a: Mapping[str, Any]) -> int | None:
    """Pack the weights of a plain or projected cell; its number, or None for a variant."""
    variant = a["coupled"] or a["zoneout_h"] or a["zoneout_c"] or any(n in i for n in VARIANTS)
    if variant or any(n in i and i[n].constant is None for n in PLAIN):
        return None
    parts = [numbers_of(i[n].constant) if n in i else (None, None, "") for n in PLAIN]
    precisions = {parts[k][2] for k in (0, 1, 4)} - {""}
    H, P = cell_sizes({k: v.shape for k, v in i.items()}, a)
    (inputs,) = i["weight_ih"].shape[1:]
    if len(precisions) > 1 or max(inputs, H, P) > LONGEST_INT8:
        return None
    shape = [inputs, H, P, int("weight_hr" in i), int(a.get("reverse", False))]
    scales = [parts[k][1] for k in (0, 1, 4)]
    return code.pack("cell", precisions.pop(), shape, [p[0] for p in parts], scales)


def _cell(code: Code, i: Inputs, o: Mapping[str, Value], a: Mapping[str, Any]) -> bool:
    number = _pack_cell(code, i, a)
    if number is None or any(i[n].constant is not None for n in "xhc"):
        return False
    return code.emit(CELL, [i["x"], i["h"], i["c"]], [o["h"], o["c"]], [number])


def _lstm(code: Code, i: Inputs, o: Mapping[str, Value], a: Mapping[str, Any]) -> bool:
    given = [i.get(n) for n in ("x", "h0", "c0", "lengths", "resets")]
    number = _pack_cell(code, i, a)
    if number is None or any(v is not None and v.constant is not None for v in given):
        return False
    steps = i["x"].shape[0]
    return code.emit(LSTM, given, [o["y"], o["h"], o["c"]], [number, steps])


WRITERS: dict[str, Writer] = {
    **{name: _binary(k) for k, name in enumerate(BINARIES)},
    **{name: _unary(k) for k, name in enumerate(UNARIES)},
    "where": _where,
    "concat": _concat,
    "slice": _slice,
    "take": _take,
    "transpose": _transpose,
    "sum": _along(REDUCE, 0),
    "mean": _along(REDUCE, 1),
    "softmax": _along(SOFTMAX),
    "log_softmax": _along(LOG_SOFTMAX),
    "sort": _along(SORT),
    "layer_norm": _layer_norm,
    "instance_norm": _instance_norm,
    "embedding": _embedding,
    "linear": _linear,
    "lstm_cell": _cell,
    "lstm": _lstm,
}
