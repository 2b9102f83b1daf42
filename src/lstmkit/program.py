"""What a model is, without torch: named entry points, operations with named inputs and outputs,
declared state slots, and weights.

A *recurrent* program carries its state in slots from call to call: whole = chunked = streamed. A
*windowed* one is run again over the last `window` rows for each answer: same window, same answer.

Values are named: "weights/NAME" is a tensor, "state/NAME" a slot, anything else an input of the
entry point or what an operation made. Every value is made once, before it is used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lstmkit.notation import suffix
from lstmkit.operations import (
    OPERATIONS,
    REQUIRED,
    Array,
    Arrays,
    ProgramError,
    Schema,
    Shape,
)
from lstmkit.recurrence import RECURRENT

KINDS = ("recurrent", "windowed")
DTYPES = ("float32", "float64", "int64", "int32", "bool")
MOST = 10_000  # operations, values, weights: far above any real program

Observer = Callable[["Operation", Arrays], None]


@dataclass(frozen=True)
class Port:
    """An input or output of an entry point; shapes begin with the batch, "B"."""

    name: str
    shape: Shape
    dtype: str = "float32"


@dataclass(frozen=True)
class Slot:
    """State carried between calls; its shape is without the batch."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    initial: float = 0.0


@dataclass(frozen=True)
class Operation:
    """One call of OPERATIONS[kind]: role -> value name, both ways."""

    kind: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EntryPoint:
    """What can be asked of a program: `outputs` name values, `state` maps slots to new values."""

    name: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    operations: tuple[Operation, ...]
    state: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Program:
    """A model: see the module. `validate` before the first `run` of one that came from outside."""

    kind: str
    entries: Mapping[str, EntryPoint]
    slots: Mapping[str, Slot]
    weights: Mapping[str, Array]
    window: int | None = None

    def validate(self) -> None:
        """Raises ProgramError, naming the entry point and operation, unless all is well formed:
        kinds, roles, attribute types, names, order, shapes, slots, weights."""
        from lstmkit.validation import validate

        validate(self)

    def to_json(self) -> dict[str, Any]:
        """Everything but the weights, as JSON values."""
        return {
            "kind": self.kind,
            "window": self.window,
            "slots": [
                {"name": s.name, "shape": list(s.shape), "dtype": s.dtype, "initial": s.initial}
                for s in self.slots.values()
            ],
            "entries": [_entry_to_json(e) for e in self.entries.values()],
        }

    @classmethod
    def from_json(cls, stored: Any, weights: Mapping[str, Array]) -> Program:
        """The inverse of `to_json`; the result is validated.

        Raises:
            ProgramError: anything that is not a well-formed program.
        """
        from lstmkit.validation import parse

        program = parse(stored, weights)
        program.validate()
        return program

    def fingerprint(self) -> str:
        """32 hexadecimal digits that tell this program, weights included, from others."""
        digest = hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode())
        for name in sorted(self.weights):
            digest.update(np.ascontiguousarray(self.weights[name], np.float32).tobytes())
        return digest.hexdigest()[:32]

    def initial_state(self, batch: int = 1) -> Arrays:
        """Every slot's first value, (batch, ...)."""
        return {s.name: np.full((batch, *s.shape), s.initial, s.dtype) for s in self.slots.values()}

    def entry(self, name: str) -> EntryPoint:
        """The entry point of that name; ProgramError where there is none."""
        if name not in self.entries:
            known = ", ".join(self.entries)
            raise ProgramError(f"this program has no entry point {name!r}", expected=known)
        return self.entries[name]

    def run(
        self,
        entry: str,
        inputs: Mapping[str, Array],
        state: Mapping[str, Array] | None = None,
        *,
        memoryless: bool = False,
        observe: Observer | None = None,
    ) -> tuple[Arrays, Arrays]:
        """Runs an entry point with the numpy reference of every operation.

        Args:
            entry: its name.
            inputs: one array a port.
            state: slots, (B, ...); the initial state if left out.
            memoryless: every recurrence forgets its state before every step.
            observe: called after each operation with its outputs by role; recurrent operations
                then also give their gates (`recurrence.GATES`).

        Returns:
            The outputs by name, and the whole new state. Nothing given is changed.

        Raises:
            ProgramError: inputs that are missing, unknown or do not fit their ports.
        """
        point = self.entry(entry)
        values = self.bind(point, inputs)
        batch = next(iter(values.values())).shape[0] if values else 1
        carried = dict(self.initial_state(batch) if state is None else state)
        self.check_state(carried, batch)
        values |= {f"state/{name}": value for name, value in carried.items()}
        values |= {f"weights/{name}": value for name, value in self.weights.items()}
        for operation in point.operations:
            given = {role: values[name] for role, name in operation.inputs.items()}
            with np.errstate(all="ignore"):  # infinities and NaN flow on, as in torch
                found = _perform(operation, given, memoryless, observe is not None)
            if observe is not None:
                observe(operation, found)
            values |= {name: found[role] for role, name in operation.outputs.items()}
        written = {slot: values[name].copy() for slot, name in point.state.items()}
        outputs = {port.name: values[port.name] for port in point.outputs}
        owned = {k: v if v.flags.owndata else v.copy() for k, v in outputs.items()}
        return owned, carried | written

    def bind(self, point: EntryPoint, inputs: Mapping[str, Array]) -> Arrays:
        """The inputs as arrays that fit the entry point's ports; ProgramError where they do not."""
        names = {port.name for port in point.inputs}
        if set(inputs) != names:
            raise ProgramError(
                f"entry point {point.name!r} takes other inputs",
                got=", ".join(sorted(inputs)) or "none",
                expected=", ".join(sorted(names)) or "none",
            )
        sizes: dict[str, int] = {}
        return {port.name: _fitting(port, inputs[port.name], sizes) for port in point.inputs}

    def check_state(self, state: Mapping[str, Array], batch: int) -> None:
        """Raises ProgramError unless every slot is there with `batch` samples."""
        for slot in self.slots.values():
            shape = getattr(state.get(slot.name), "shape", None)
            if shape != (batch, *slot.shape):
                raise ProgramError(
                    f"the state does not fit slot {slot.name!r}",
                    got=str(shape),
                    expected=str((batch, *slot.shape)),
                )


def complete(schema: Schema, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes with the defaults of those left out."""
    defaults = {k: a.default for k, a in schema.attributes.items() if a.default is not REQUIRED}
    return {**defaults, **attributes}


def _perform(operation: Operation, given: Arrays, memoryless: bool, observed: bool) -> Arrays:
    schema = OPERATIONS[operation.kind]
    attributes = complete(schema, operation.attributes)
    if operation.kind in RECURRENT:
        run = RECURRENT[operation.kind]
        return run(given, attributes, memoryless=memoryless, observed=observed)
    return schema.run(given, attributes)


def _fitting(port: Port, value: Any, sizes: dict[str, int]) -> Array:
    """The array, where its shape fits the port's; `sizes` binds symbols. float64 may come for
    float32, to compute in double precision."""
    array = np.asarray(value)
    fits = array.ndim == len(port.shape)
    for n, dim in zip(array.shape, port.shape, strict=False):
        fits = fits and n == (sizes.setdefault(dim, n) if isinstance(dim, str) else dim)
        fits = fits and (n > 0 or dim == "B")  # only the batch may be empty
    if not fits:
        raise ProgramError(
            f"input {port.name!r} does not fit",
            got=str(array.shape),
            expected=str(tuple(sizes.get(d, d) if isinstance(d, str) else d for d in port.shape)),
        )
    if port.dtype == "float32" and array.dtype == np.float64:
        return array
    if not np.can_cast(array.dtype, port.dtype, "same_kind"):
        raise ProgramError(
            f"input {port.name!r} has another type", got=str(array.dtype), expected=port.dtype
        )
    return array.astype(port.dtype, copy=False)


def _entry_to_json(e: EntryPoint) -> dict[str, Any]:
    def ports(found: Sequence[Port]) -> list[dict[str, Any]]:
        return [{"name": p.name, "shape": list(p.shape), "dtype": p.dtype} for p in found]

    return {
        "name": e.name,
        "inputs": ports(e.inputs),
        "outputs": ports(e.outputs),
        "operations": [
            {
                "kind": o.kind,
                "inputs": dict(o.inputs),
                "outputs": dict(o.outputs),
                "attributes": dict(o.attributes),
            }
            for o in e.operations
        ],
        "state": dict(e.state),
    }


class Builder:
    """Writes a program down, operation by operation; `build` validates it."""

    def __init__(self, kind: str, window: int | None = None) -> None:
        self.kind, self.window = kind, window
        self._entries: dict[str, EntryPoint] = {}
        self._slots: dict[str, Slot] = {}
        self._weights: Arrays = {}
        self._count = 0
        self._begin()

    def _begin(self) -> None:
        self._inputs: list[Port] = []
        self._outputs: list[Port] = []
        self._operations: list[Operation] = []
        self._writes: dict[str, str] = {}

    def input(self, name: str, shape: Sequence[int | str], dtype: str = "float32") -> str:
        """An input of the entry point that is being written."""
        self._inputs.append(Port(name, tuple(shape), dtype))
        return name

    def weight(self, name: str, array: Array) -> str:
        """A tensor of the model; the same name may be asked for again with the same array."""
        old = self._weights.setdefault(name, np.asarray(array))
        if old is not array and not np.array_equal(old, array):
            raise ProgramError(f"weight {name!r} is there already, with other numbers")
        return f"weights/{name}"

    def slot(
        self, name: str, shape: Sequence[int], initial: float = 0.0, dtype: str = "float32"
    ) -> str:
        """A state slot; entry points may share it."""
        slot = Slot(name, tuple(shape), dtype, initial)
        if self._slots.setdefault(name, slot) != slot:
            raise ProgramError(f"slot {name!r} is there already, and another")
        return f"state/{name}"

    def op(self, kind: str, *values: str, **arguments: Any) -> Any:
        """One operation. Inputs by role (or in the schema's order), the rest are attributes; an
        input that is None is left out. Returns the name of its output, or a tuple of names."""
        if kind not in OPERATIONS:
            raise ProgramError(f"there is no operation {kind!r}", expected=", ".join(OPERATIONS))
        schema = OPERATIONS[kind]
        roles = [f"x{k}" for k in range(len(values))] if schema.variadic else schema.required
        given = {**dict(zip(roles, values, strict=False)), **arguments}
        attributes = {k: v for k, v in given.items() if k in schema.attributes}
        inputs = {k: v for k, v in given.items() if k not in attributes and v is not None}
        outputs = {role: self._fresh(kind, role, schema) for role in schema.outputs}
        self._operations.append(Operation(kind, inputs, outputs, attributes))
        names = tuple(outputs.values())
        return names[0] if len(names) == 1 else names

    def _fresh(self, kind: str, role: str, schema: Schema) -> str:
        self._count += len(schema.outputs) == 1 or role == schema.outputs[0]
        return f"{kind}{self._count}" + ("" if len(schema.outputs) == 1 else f".{role}")

    def write(self, slot: str, value: str) -> None:
        """The new value of a slot, named with or without "state/"."""
        self._writes[slot.removeprefix("state/")] = value

    def output(self, name: str, value: str, shape: Sequence[int | str]) -> None:
        """Gives a value to the caller under `name`."""
        self._rename(value, name)
        self._outputs.append(Port(name, tuple(shape)))

    def _rename(self, old: str, new: str) -> None:
        if old == new:
            return
        made = {name for o in self._operations for name in o.outputs.values()}
        if old not in made or new in made or new in {p.name for p in self._inputs}:
            raise ProgramError(f"output {new!r} must be what an operation made, under a new name")

        def renamed(names: Mapping[str, str]) -> dict[str, str]:
            return {role: new if name == old else name for role, name in names.items()}

        self._operations = [
            Operation(o.kind, renamed(o.inputs), renamed(o.outputs), o.attributes)
            for o in self._operations
        ]
        self._writes = renamed(self._writes)

    def entry(self, name: str) -> None:
        """Closes the entry point that was being written, and begins the next."""
        if name in self._entries:
            raise ProgramError(f"entry point {name!r} is there already")
        self._entries[name] = EntryPoint(
            name,
            tuple(self._inputs),
            tuple(self._outputs),
            tuple(self._operations),
            dict(self._writes),
        )
        self._begin()

    def lstm(
        self,
        x: str,
        arrays: Mapping[str, Array],
        prefix: str,
        options: Mapping[str, Any],
        lengths: str | None = None,
        carried: bool = False,
    ) -> str:
        """A whole stack over x (B, T, I), from the arrays of an lstmkit.LSTM whose names begin with
        `prefix` and its `options()`; returns its output (B, T, D*P).

        `carried`: it begins with the slots of `lstm_cell` and writes them, so that sequences may
        come in pieces; not for both directions.
        """
        _only_forward(options, carried)
        ways = (False, True) if options["bidirectional"] else (False,)
        for layer in range(options["num_layers"]):
            outputs = []
            state = self._state(prefix, layer, options) if carried else {}
            for reverse in ways:
                roles = self._roles(arrays, prefix, suffix(layer, reverse)) | state
                shared = _attributes(options)
                y, h, c = self.op("lstm", x=x, lengths=lengths, reverse=reverse, **roles, **shared)
                outputs.append(y)
            if carried:
                self.write(state["h0"], h)
                self.write(state["c0"], c)
            y = self.op("concat", *outputs, axis=-1) if len(outputs) > 1 else outputs[0]
            x = self.op("add", y, x) if options["residual"] and layer > 0 else y
        return x

    def lstm_cell(
        self, x: str, arrays: Mapping[str, Array], prefix: str, options: Mapping[str, Any]
    ) -> str:
        """One step of a whole stack over x (B, I), its state in slots PREFIX.h_lK, PREFIX.c_lK;
        returns its output (B, P)."""
        _only_forward(options, True)
        for layer in range(options["num_layers"]):
            h, c = self._state(prefix, layer, options).values()
            roles = self._roles(arrays, prefix, suffix(layer))
            new_h, new_c = self.op("lstm_cell", x=x, h=h, c=c, **roles, **_attributes(options))
            self.write(h, new_h)
            self.write(c, new_c)
            x = self.op("add", new_h, x) if options["residual"] and layer > 0 else new_h
        return x

    def _state(self, prefix: str, layer: int, options: Mapping[str, Any]) -> dict[str, str]:
        """The slots of one layer: PREFIX.h_lK (P,), PREFIX.c_lK (H,)."""
        H = options["hidden_size"]
        return {
            "h0": self.slot(f"{prefix}h{suffix(layer)}", (options["proj_size"] or H,)),
            "c0": self.slot(f"{prefix}c{suffix(layer)}", (H,)),
        }

    def _roles(self, arrays: Mapping[str, Array], prefix: str, end: str) -> dict[str, str]:
        """The weights of one layer and direction, by role."""
        found = {}
        for name, array in arrays.items():
            role = name.removeprefix(prefix).removesuffix(end)
            if name == prefix + role + end and "_l" not in role:
                found[role] = self.weight(name, array)
        return found

    def build(self) -> Program:
        """The program, validated."""
        program = Program(self.kind, self._entries, self._slots, self._weights, self.window)
        program.validate()
        return program


def _only_forward(options: Mapping[str, Any], carried: bool) -> None:
    if carried and options["bidirectional"]:
        raise ProgramError(
            "a bidirectional LSTM cannot be stepped", hint="it needs the whole sequence: lstm"
        )


def _attributes(options: Mapping[str, Any]) -> dict[str, Any]:
    keep_h, keep_c = options["zoneout"]
    return {
        "hidden_size": options["hidden_size"],
        "coupled": options["coupled_gates"],
        "zoneout_h": float(keep_h),
        "zoneout_c": float(keep_c),
    }
