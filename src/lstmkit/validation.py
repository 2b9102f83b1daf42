"""Programs from outside: parsed without trust, and checked for being well formed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from lstmkit.operations import (
    OPERATIONS,
    REQUIRED,
    Array,
    Attribute,
    ProgramError,
    Schema,
    Shape,
)
from lstmkit.program import (
    DTYPES,
    KINDS,
    MOST,
    EntryPoint,
    Operation,
    Port,
    Program,
    Slot,
    complete,
)

LONGEST_NAME = 200
LARGEST_SIZE = 2**31
LARGEST_VALUE = 2**26  # elements of one value, a sample and a step of every symbolic axis
LARGEST_TOTAL = 2**28  # of all that an entry point makes


def parse(stored: Any, weights: Mapping[str, Array]) -> Program:
    """A program from JSON values, every type checked; not yet validated."""
    given = _fields(stored, "program", {"kind": str, "slots": list, "entries": list}, ("window",))
    slots = [_slot(s) for s in _bounded(given["slots"], "slots")]
    entries = [_entry(e) for e in _bounded(given["entries"], "entry points")]
    window = given.get("window")
    _need(window is None or _size(window), "window must be a whole number above 0")
    return Program(
        given["kind"],
        _named(entries, "entry point"),
        _named(slots, "slot"),
        dict(weights),
        window,
    )


def _need(condition: bool, what: str) -> None:
    if not condition:
        raise ProgramError(f"not a well-formed program: {what}")


def _size(n: Any) -> bool:
    return type(n) is int and 0 < n < LARGEST_SIZE


def _fields(
    stored: Any, where: str, required: Mapping[str, type], optional: tuple[str, ...] = ()
) -> dict[str, Any]:
    _need(isinstance(stored, dict), f"{where} is no object")
    known = {*required, *optional}
    _need(set(required) <= set(stored) <= known, f"{where} has fields {sorted(map(str, stored))}")
    for name, kind in required.items():
        _need(type(stored[name]) is kind, f"{where}: {name} is no {kind.__name__}")
    return dict(stored)


def _bounded(items: list[Any], what: str) -> list[Any]:
    _need(len(items) <= MOST, f"more than {MOST} {what}")
    return items


def _named(items: list[Any], what: str) -> dict[str, Any]:
    found = {item.name: item for item in items}
    _need(len(found) == len(items), f"two {what}s of one name")
    return found


def _name(name: Any) -> str:
    good = isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and name.isprintable()
    _need(good, "a name must be a short printable text")
    return str(name)


def _names(stored: Any, where: str) -> dict[str, str]:
    _need(isinstance(stored, dict), f"{where} is no object")
    return {_name(k): _name(v) for k, v in _bounded(list(stored.items()), where)}


def _slot(stored: Any) -> Slot:
    given = _fields(stored, "slot", {"name": str, "shape": list, "dtype": str}, ("initial",))
    initial = given.get("initial", 0.0)
    number = isinstance(initial, (int, float)) and not isinstance(initial, bool)
    _need(number and math.isfinite(initial), "a slot's initial value is no finite number")
    _need(len(given["shape"]) <= 8 and all(map(_size, given["shape"])), "a slot's shape")
    return Slot(_name(given["name"]), tuple(given["shape"]), given["dtype"], float(initial))


def _port(stored: Any) -> Port:
    given = _fields(stored, "port", {"name": str, "shape": list, "dtype": str})
    dims = given["shape"]
    good = len(dims) <= 8 and all(
        _size(d) or (isinstance(d, str) and d.isidentifier()) for d in dims
    )
    _need(good, f"shape of port {given['name']!r}")
    return Port(_name(given["name"]), tuple(dims), given["dtype"])


def _entry(stored: Any) -> EntryPoint:
    lists = {"inputs": list, "outputs": list, "operations": list}
    given = _fields(stored, "entry point", {"name": str, **lists, "state": dict})
    for name in lists:
        _bounded(given[name], name)
    return EntryPoint(
        _name(given["name"]),
        tuple(_port(p) for p in given["inputs"]),
        tuple(_port(p) for p in given["outputs"]),
        tuple(_operation(o) for o in given["operations"]),
        _names(given["state"], "state"),
    )


def _operation(stored: Any) -> Operation:
    given = _fields(
        stored, "operation", {"kind": str, "inputs": dict, "outputs": dict, "attributes": dict}
    )
    inputs, outputs = _names(given["inputs"], "inputs"), _names(given["outputs"], "outputs")
    attributes = {_name(k): v for k, v in _bounded(list(given["attributes"].items()), "attributes")}
    return Operation(given["kind"], inputs, outputs, attributes)


# --- well-formedness ------------------------------------------------------------------------------


def validate(p: Program) -> None:
    """See `Program.validate`."""
    _need(p.kind in KINDS, f"kind {p.kind!r} is none of {', '.join(KINDS)}")
    _need(bool(p.entries), "it has no entry point")
    _need(p.kind == "recurrent" or p.window is not None, "a windowed program states its window")
    for slot in p.slots.values():
        _need(slot.dtype in DTYPES, f"slot {slot.name!r} has dtype {slot.dtype!r}")
        _need(_holds(slot), f"slot {slot.name!r} of {slot.dtype} cannot begin at {slot.initial}")
    used: set[str] = set()
    written: set[str] = set()
    for point in p.entries.values():
        used |= _validate_entry(p, point)
        written |= set(point.state)
    unused = {f"weights/{name}" for name in p.weights} - used
    _need(not unused, f"nothing uses {', '.join(sorted(unused)[:3])}")
    idle = set(p.slots) - written
    _need(not idle, f"nothing writes slot {', '.join(sorted(idle)[:3])}")


def _holds(slot: Slot) -> bool:
    """Whether the slot's type has its initial value."""
    if slot.dtype.startswith("float"):
        return abs(slot.initial) <= float(np.finfo(slot.dtype).max)
    most = 1 if slot.dtype == "bool" else 2**31 - 1
    return slot.initial == int(slot.initial) and abs(slot.initial) <= most


def _validate_entry(p: Program, point: EntryPoint) -> set[str]:
    """Checks one entry point; returns the names that it uses."""
    where = f"entry point {point.name!r}"
    shapes: dict[str, Shape] = {f"weights/{k}": w.shape for k, w in p.weights.items()}
    shapes |= {f"state/{s.name}": ("B", *s.shape) for s in p.slots.values()}
    for port in point.inputs:
        _need(port.name not in shapes, f"{where}: two inputs {port.name!r}")
        _need(port.dtype in DTYPES, f"{where}: dtype {port.dtype!r}")
        _need(port.shape[:1] == ("B",), f"{where}: input {port.name!r} does not begin with B")
        shapes[port.name] = port.shape
    used: set[str] = set()
    total = 0
    low = {f"weights/{k}" for k, w in p.weights.items() if hasattr(w, "product")}
    for number, operation in enumerate(point.operations):
        place = f"{where}, operation {number} ({operation.kind})"
        _check_precision(operation, low, place)
        used |= set(operation.inputs.values())
        made = _validate_operation(operation, shapes, place)
        total += _elements(made, place)
        _need(total <= LARGEST_TOTAL, f"{place}: {where} makes too much")
        shapes |= made
    _validate_results(p, point, shapes, where)
    return used | set(point.state.values()) | {port.name for port in point.outputs}


def _elements(made: Mapping[str, Shape], place: str) -> int:
    sizes = [math.prod(n for n in shape if isinstance(n, int)) for shape in made.values()]
    _need(max(sizes) <= LARGEST_VALUE, f"{place}: its result is too large")
    return sum(sizes)


def _validate_results(
    p: Program, point: EntryPoint, shapes: Mapping[str, Shape], where: str
) -> None:
    _need(bool(point.outputs) or bool(point.state), f"{where} gives nothing")
    given = {*point.state.values(), *(port.name for port in point.outputs)}
    low = [k for k, w in p.weights.items() if hasattr(w, "product")]
    _need(not given & {f"weights/{k}" for k in low}, f"{where} gives weights of low precision")
    _named(list(point.outputs), "output")
    for port in point.outputs:
        found = shapes.get(port.name)
        _need(found == port.shape, f"{where}: output {port.name!r} is {found}, not {port.shape}")
    for slot, name in point.state.items():
        _need(slot in p.slots, f"{where} writes slot {slot!r}, which is not declared")
        wanted = ("B", *p.slots[slot].shape)
        _need(
            shapes.get(name) == wanted,
            f"{where}: slot {slot!r} becomes {shapes.get(name)}, not {wanted}",
        )


def _validate_operation(o: Operation, shapes: Mapping[str, Shape], place: str) -> dict[str, Shape]:
    """The shapes of what the operation makes."""
    _need(o.kind in OPERATIONS, f"{place}: there is no such operation")
    schema = OPERATIONS[o.kind]
    _check_roles(schema, o, place)
    for role, name in o.inputs.items():
        _need(name in shapes, f"{place}: {role} is {name!r}, which is not made yet")
    attributes = _checked_attributes(schema, o.attributes, place)
    for name in o.outputs.values():
        _need(name not in shapes, f"{place}: {name!r} is made twice")
        _need(not name.startswith(("weights/", "state/")), f"{place}: {name!r} is not a value")
    _need(len(set(o.outputs.values())) == len(o.outputs), f"{place}: two outputs of one name")
    try:
        found = schema.shapes({role: shapes[name] for role, name in o.inputs.items()}, attributes)
    except ValueError as error:
        raise ProgramError(f"not a well-formed program: {place}: {error}") from error
    return {name: found[role] for role, name in o.outputs.items()}


def _check_precision(o: Operation, low: set[str], place: str) -> None:
    """Weights of low precision only where an operation can take them."""
    taken = OPERATIONS[o.kind].matrices if o.kind in OPERATIONS else ()
    for role, name in o.inputs.items():
        _need(name not in low or role in taken, f"{place}: {role} cannot be of low precision")


def _check_roles(schema: Schema, o: Operation, place: str) -> None:
    given = set(o.inputs)
    if schema.variadic:
        wanted = {f"x{k}" for k in range(len(given))}
        _need(
            bool(given) and list(o.inputs) == sorted(wanted, key=lambda r: int(r[1:])),
            f"{place}: inputs must be x0, x1, ... in order",
        )
    else:
        missing = set(schema.required) - given
        _need(not missing, f"{place}: no input {', '.join(sorted(missing))}")
        extra = given - {*schema.required, *schema.optional}
        _need(not extra, f"{place}: unknown input {', '.join(sorted(extra))}")
    _need(set(o.outputs) == set(schema.outputs), f"{place}: outputs must be {schema.outputs}")


def _checked_attributes(
    schema: Schema, attributes: Mapping[str, Any], place: str
) -> dict[str, Any]:
    unknown = set(attributes) - set(schema.attributes)
    _need(not unknown, f"{place}: unknown attribute {', '.join(sorted(unknown))}")
    for name, attribute in schema.attributes.items():
        if name not in attributes:
            _need(attribute.default is not REQUIRED, f"{place}: no attribute {name}")
        else:
            _need(
                _of_type(attributes[name], attribute), f"{place}: attribute {name} has a bad value"
            )
    return complete(schema, attributes)


def _of_type(value: Any, attribute: Attribute) -> bool:
    if attribute.type is float:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and abs(value) < 1e30
    if attribute.type is int:
        return type(value) is int and abs(value) < LARGEST_SIZE
    if attribute.type is list:
        return (
            type(value) in (list, tuple)
            and len(value) <= MOST
            and all(type(k) is int and abs(k) < LARGEST_SIZE for k in value)
        )
    return type(value) is attribute.type
