"""What runs one entry point: instructions of the native machine, and numpy's reference between them
for what the machine cannot do.

A plan fits any batch. Each length of a sequence has its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lstmkit.engine import NATIVE
from lstmkit.operations import OPERATIONS, Array, Shape
from lstmkit.program import EntryPoint, Operation, Program, complete
from lstmkit.runtime.instructions import WRITERS, Code, Value

ELEMENTS = {"float32": 0, "int32": 1, "int64": 2, "bool": 3}
FLOATS_AT_ONCE = 1 << 22  # of arena, where numpy takes part

Sizes = tuple[tuple[str, int], ...]


class Numpy(NamedTuple):
    """An operation that numpy runs, with its values by role."""

    operation: Operation
    attributes: dict[str, Any]
    given: dict[str, Value]
    made: dict[str, Value]


Step = tuple[int, int] | Numpy  # instructions [first, last) of the machine, or numpy


class Unplanned(Exception):  # noqa: N818
    """This entry point needs numpy as a whole; the message says why."""


class Plan:
    """One entry point for one length: `run` maps inputs and states to outputs and new states.

    Attributes:
        machine: the native part.
        native: whether it is all of the entry point.
        inputs, outputs: shapes of a sample, by name.
    """

    def __init__(
        self, program: Program, point: EntryPoint, sizes: Sizes, shared: dict[Any, Any]
    ) -> None:
        if NATIVE is None:
            raise Unplanned("the native engine is not there")
        _check(program, point)
        self._code, self._values = Code(shared=shared), dict[str, Value]()
        self._steps: list[Step] = []
        self._bind(program, point, dict(sizes))
        for operation in point.operations:
            self._add(operation, dict(sizes))
        self.native = not any(isinstance(step, Numpy) for step in self._steps)
        self.inputs = {p.name: self._values[p.name].shape for p in point.inputs}
        self.dtypes = {p.name: p.dtype for p in point.inputs}
        self._ports = [self._values[p.name] for p in point.inputs]
        self._results = {p.name: self._result(p.name) for p in point.outputs}
        self.outputs = {name: value.shape for name, value in self._results.items()}
        self._slots = self._slot_places(program, point)
        self.machine = self._machine(state_size(program))
        self.simple = self._is_simple()
        del self._values

    # --- writing

    def _bind(self, program: Program, point: EntryPoint, sizes: dict[str, int]) -> None:
        """Inputs and slots get their room, weights are constants."""
        for port in point.inputs:
            self._values[port.name] = self._code.room(_numbers(port.shape, sizes))
        used = _used(point)
        for slot in program.slots.values():
            if f"state/{slot.name}" in used:
                self._values[f"state/{slot.name}"] = self._code.room(slot.shape)
        for name, weight in program.weights.items():
            self._values[f"weights/{name}"] = Value(tuple(weight.shape), constant=weight)

    def _add(self, operation: Operation, sizes: dict[str, int]) -> None:
        schema = OPERATIONS[operation.kind]
        attributes = complete(schema, operation.attributes)
        given = {role: self._values[name] for role, name in operation.inputs.items()}
        if all(v.constant is not None for v in given.values()):
            found = schema.run({k: v.constant for k, v in given.items()}, attributes)
            made = {role: Value(found[role].shape, constant=found[role]) for role in found}
        else:
            made = self._made(operation, schema.shapes(_shapes(given), attributes), given)
            self._write(operation, attributes, given, made)
        self._values |= {name: made[role] for role, name in operation.outputs.items()}

    def _made(
        self, operation: Operation, shapes: Mapping[str, Shape], given: Mapping[str, Value]
    ) -> dict[str, Value]:
        for shape in shapes.values():
            if shape[:1] != ("B",) or "B" in shape[1:]:
                raise Unplanned(f"{operation.kind} makes {shape}, not batch first")
        inner = {role: tuple(int(n) for n in shape[1:]) for role, shape in shapes.items()}
        if any(n < 1 for shape in inner.values() for n in shape):
            raise Unplanned(f"{operation.kind} makes nothing")
        if operation.kind == "reshape":
            return {"y": given["x"]._replace(shape=inner["y"])}
        return {role: self._code.room(shape) for role, shape in inner.items()}

    def _write(
        self,
        operation: Operation,
        attributes: dict[str, Any],
        given: dict[str, Value],
        made: dict[str, Value],
    ) -> None:
        if operation.kind == "reshape":
            return
        first = len(self._code.instructions)
        if WRITERS[operation.kind](self._code, given, made, attributes):
            last = len(self._code.instructions)
            before = self._steps[-1] if self._steps else None
            if before is not None and not isinstance(before, Numpy):
                first = self._steps.pop()[0]  # type: ignore[assignment]
            self._steps.append((first, last))
        else:
            self._steps.append(Numpy(operation, attributes, given, made))

    def _result(self, name: str) -> Value:
        """What the caller gets, or a slot becomes."""
        value = self._values[name]
        if value.constant is not None:
            raise Unplanned(f"{name!r} is always the same")
        return value

    def _slot_places(self, program: Program, point: EntryPoint) -> list[tuple[int, int, int, int]]:
        """(offset in the state, size, offset in the arena before, after) of every slot that is
        read or written; -1 for what is not."""
        found, at = [], 0
        for slot in program.slots.values():
            size = math.prod(slot.shape)
            before = self._values.get(f"state/{slot.name}")
            after = self._result(point.state[slot.name]) if slot.name in point.state else None
            places = (before.offset if before else -1, after.offset if after else -1)
            if places != (-1, -1):
                found.append((at, size, *places))
            at += size
        return found

    def _machine(self, state: int) -> Any:
        """The native machine; constants become its own, packed weights are shared."""
        code = self._code
        inputs = [
            (v.offset, v.size, ELEMENTS[dtype])
            for v, dtype in zip(self._ports, self.dtypes.values(), strict=True)
        ]
        outputs = [(v.offset, v.size) for v in self._results.values()]
        constants = [(c.ctypes.data, c.size) for c in code.constants]
        assert NATIVE is not None
        machine = NATIVE.Machine(
            code.arena,
            constants,
            code.instructions,
            code.packed,
            inputs,
            outputs,
            self._slots,
            state,
            self._make_output(),
        )
        code.constants.clear()
        return machine

    def _make_output(self) -> Any:
        """What makes the array of the only output, where that is a vector."""
        shapes = list(self.outputs.values())
        if len(shapes) != 1 or len(shapes[0]) != 1:
            return None
        return np.empty(shapes[0], np.float32).copy

    def _is_simple(self) -> bool:
        """Whether a step is from one vector of float32 to another, all of it native."""
        inputs = list(self.inputs.values())
        one = len(inputs) == 1 and len(inputs[0]) == 1 and [*self.dtypes.values()] == ["float32"]
        return self.native and one and self._make_output() is not None

    # --- running

    def arrays(self, given: Mapping[str, Array]) -> list[Array]:
        """Bound inputs as the machine reads them."""
        return [np.ascontiguousarray(given[name], dtype) for name, dtype in self.dtypes.items()]

    def results(self, batch: int) -> dict[str, Array]:
        """Arrays for the outputs."""
        return {name: np.empty((batch, *s), np.float32) for name, s in self.outputs.items()}

    def run(self, given: Mapping[str, Array], states: Array) -> dict[str, Array]:
        """Runs B samples; states (B, S) are changed in place."""
        batch = len(states)
        arrays, results = self.arrays(given), self.results(batch)
        if self.native:
            self.machine.run(batch, addresses(arrays), states.ctypes.data, addresses(results))
            return results
        at_once = max(1, FLOATS_AT_ONCE // max(self._code.arena, 1))
        for first in range(0, batch, at_once):
            rows = slice(first, first + at_once)
            part = {name: array[rows] for name, array in results.items()}
            self._run_mixed([array[rows] for array in arrays], states[rows], part)
        return results

    def _run_mixed(
        self, arrays: Sequence[Array], states: Array, results: Mapping[str, Array]
    ) -> None:
        """Instructions and numpy in turn, on an arena of numpy's."""
        batch = len(states)
        arena = aligned(self._code.arena * batch)
        view = _View(arena, batch)
        for value, array in zip(self._ports, arrays, strict=True):
            view.write(value, array)
        for at, size, before, _ in self._slots:
            if before >= 0:
                view.write(Value((size,), before), states[:, at : at + size])
        for step in self._steps:
            if isinstance(step, Numpy):
                view.perform(step)
            else:
                self.machine.execute(step[0], step[1], batch, arena.ctypes.data)
        for name, value in self._results.items():
            results[name][...] = view.read(value)
        for at, size, _, after in self._slots:
            if after >= 0:
                states[:, at : at + size] = view.read(Value((size,), after))


class _View(NamedTuple):
    """Values in an arena, as numpy arrays."""

    arena: Array
    batch: int

    def read(self, value: Value) -> Any:
        if value.constant is not None:
            return value.constant
        first = value.offset * self.batch
        return self.arena[first : first + value.size * self.batch].reshape(self.batch, *value.shape)

    def write(self, value: Value, array: Array) -> None:
        self.read(value)[...] = array.reshape(self.batch, *value.shape)

    def perform(self, step: Numpy) -> None:
        given = {role: self.read(value) for role, value in step.given.items()}
        with np.errstate(all="ignore"):  # infinities and NaN flow on, as in the machine
            found = OPERATIONS[step.operation.kind].run(given, step.attributes)
        for role, value in step.made.items():
            self.write(value, found[role])


def addresses(arrays: Any) -> list[int]:
    """Of arrays, or of the values of a mapping."""
    return [a.ctypes.data for a in (arrays.values() if isinstance(arrays, dict) else arrays)]


def aligned(floats: int) -> Array:
    """Room for so many floats, 64 bytes aligned."""
    room = np.empty(floats + 16, np.float32)
    first = -room.ctypes.data % 64 // 4
    return room[first : first + floats]


def state_size(program: Program) -> int:
    """Floats of the state of a sample."""
    return sum(math.prod(slot.shape) for slot in program.slots.values())


def _check(program: Program, point: EntryPoint) -> None:
    for slot in program.slots.values():
        if slot.dtype != "float32":
            raise Unplanned(f"slot {slot.name!r} is of {slot.dtype}")
    for port in point.inputs:
        if port.dtype not in ELEMENTS or "B" in port.shape[1:]:
            raise Unplanned(f"input {port.name!r} is {port.dtype} {port.shape}")


def _used(point: EntryPoint) -> set[str]:
    used = {name for operation in point.operations for name in operation.inputs.values()}
    return used | set(point.state.values()) | {port.name for port in point.outputs}


def _numbers(shape: Shape, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The shape of a sample, its symbols bound."""
    return tuple(sizes[n] if isinstance(n, str) else n for n in shape[1:])


def _shapes(given: Mapping[str, Value]) -> dict[str, Shape]:
    return {
        role: v.shape if v.constant is not None else ("B", *v.shape) for role, v in given.items()
    }
