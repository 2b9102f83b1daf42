"""What the header of one entry point is made of while it is written: where each value lies,
working memory, constants, helpers and lines of code."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lstmkit.export.c.text import LOOPS, Names, array, identifier
from lstmkit.operations import Array, ProgramError
from lstmkit.program import EntryPoint, Port, Program

SIZES = {"float": 4, "int32_t": 4, "uint16_t": 2, "int8_t": 1}
LARGEST_STACK = 64 << 10  # bytes of working memory that a function may hold by itself


@dataclass(frozen=True)
class Value:
    """A value of the program: the C expression of its first element, its shape for batch 1, its
    type, and of a weight its name in the program."""

    expression: str
    shape: tuple[int, ...]
    ctype: str = "float"
    weight: str | None = None

    @property
    def size(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> str:
        """Its size as C text, for memcpy."""
        return f"{self.size} * sizeof({self.ctype})"

    def part(self, offset: str) -> str:
        """The address of an element, as C text."""
        return self.expression if offset == "0" else f"{self.expression} + {offset}"


@dataclass
class Memory:
    """An array of working memory."""

    ctype: str
    name: str
    size: int


@dataclass
class Call:
    """One operation with its inputs in C, by role, and its attributes, complete."""

    kind: str
    label: str
    inputs: dict[str, Value]
    outputs: dict[str, Value]
    attributes: dict[str, Any]


@dataclass
class Sheet:
    """The page that writers write on; `on_stack` says where working memory lies."""

    name: str
    program: Program
    point: EntryPoint
    sizes: dict[str, int]
    on_stack: bool = True
    names: Names = field(default_factory=Names)
    weight_names: Names = field(default_factory=Names)
    values: dict[str, Value] = field(default_factory=dict)
    memory: list[Memory] = field(default_factory=list)
    constants: dict[tuple[str, ...], tuple[str, str, Array]] = field(default_factory=dict)
    helpers: set[str] = field(default_factory=set)
    lines: list[str] = field(default_factory=list)

    def emit(self, *lines: str) -> None:
        """Lines of code, without indentation."""
        self.lines += lines

    def call(self, helper: str) -> str:
        """The name of a helper function, which the header will then hold."""
        self.helpers.add(helper)
        return f"{self.name}_{helper}"

    def fixed(self, shape: Sequence[int | str]) -> tuple[int, ...]:
        """A shape with its symbols replaced: batch 1, and the steps asked for.

        Raises:
            ProgramError: a symbol without a size.
        """
        free = [d for d in shape if isinstance(d, str) and d not in self.sizes]
        if free:
            raise ProgramError(
                f"entry point {self.point.name!r} takes any number of steps; C needs it fixed",
                got=f"shape {tuple(shape)}",
                expected="sizes that are numbers, but for the batch",
                hint=_steps_hint(self.program),
            )
        return tuple(self.sizes[d] if isinstance(d, str) else d for d in shape)

    def array(self, wanted: str, size: int, ctype: str = "float") -> str:
        """Working memory of `size` elements; returns its name in C."""
        memory = Memory(ctype, self.names.take(wanted), size)
        self.memory.append(memory)
        return memory.name if self.on_stack else f"work->{memory.name}"

    def new(self, name: str, shape: Sequence[int]) -> Value:
        """A value that an operation is about to make."""
        value = Value(self.array(name, math.prod(shape)), tuple(shape))
        self.values[name] = value
        return value

    def value(self, name: str) -> Value:
        """The value of that name; a weight becomes a constant array on first use."""
        if name not in self.values:
            weight = name.removeprefix("weights/")
            shape = tuple(np.shape(self.program.weights[weight]))
            self.values[name] = Value("", shape, "float", weight)
        return self.values[name]

    def constant(self, key: tuple[str, ...], values: Array, ctype: str = "float") -> str:
        """A constant array, written once for each key; returns its name in C."""
        if key not in self.constants:
            name = f"{self.name}_w_{self.weight_names.take('_'.join(key))}"
            self.constants[key] = (ctype, name, values)
        return self.constants[key][1]

    def placed(self, value: Value) -> Value:
        """The value as float numbers that lie in memory in order: a weight as a constant, whole
        numbers converted."""
        if value.weight is not None:
            values = np.asarray(self.program.weights[value.weight])
            return Value(self.constant((value.weight,), values), value.shape)
        if value.ctype == "float":
            return value
        found = Value(self.array(f"{identifier(value.expression)}_float", value.size), value.shape)
        self.emit(f"for (int i = 0; i < {value.size}; i++) {{")
        self.emit(f"{found.expression}[i] = (float){value.expression}[i];", "}")
        return found

    def working_bytes(self) -> int:
        """Of all working memory."""
        return sum(m.size * SIZES[m.ctype] for m in self.memory)

    def constants_text(self) -> str:
        """Every constant array."""
        return "\n".join(array(*constant) for constant in self.constants.values())

    @contextmanager
    def loops(self, shape: Sequence[int], *, outside: int = 0) -> Iterator[list[str]]:
        """Nested loops over a shape, within `outside` others; gives a variable a dimension, "0"
        for one of size 1."""
        variables, depth = [], outside
        for size in shape:
            if size == 1:
                variables.append("0")
                continue
            v = LOOPS[depth] if depth < len(LOOPS) else f"i{depth}"
            self.emit(f"for (int {v} = 0; {v} < {size}; {v}++) {{")
            variables.append(v)
            depth += 1
        yield variables
        self.emit(*["}"] * (depth - outside))


def c_type(port: Port) -> str:
    """Of a port's elements in C.

    Raises:
        ProgramError: double precision.
    """
    return type_of(port.dtype, f"port {port.name!r}")


def type_of(dtype: str, what: str) -> str:
    """float for float32, int32_t for whole numbers and bool.

    Raises:
        ProgramError: double precision.
    """
    if dtype == "float64":
        raise ProgramError(
            f"{what} cannot be written as C", got=dtype, expected="float32, int64, int32 or bool"
        )
    return "float" if dtype == "float32" else "int32_t"


def slots_of(point: EntryPoint, slots: Iterable[str]) -> list[str]:
    """The slots that an entry point reads or writes, in the program's order."""
    read = {name for o in point.operations for name in o.inputs.values()}
    read |= {port.name for port in point.outputs} | set(point.state.values())
    return [slot for slot in slots if slot in point.state or f"state/{slot}" in read]


def _steps_hint(program: Program) -> str:
    step = "export the entry point 'step', or " if "step" in program.entries else ""
    return f"{step}give the number of steps: steps=N"
