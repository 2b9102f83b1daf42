"""Random inputs that an entry point can take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from lstmkit.operations import OPERATIONS, Array, Arrays, Shape
from lstmkit.program import EntryPoint, Operation, Port, Program, complete

MOVING = ("reshape", "transpose", "slice", "take", "concat")  # numbers pass through unchanged

# By operation and role: whole numbers below (the size of this input's axis) + this.
BOUNDS = {"embedding": {"indices": ("weight", 0, 0)}, "lstm": {"lengths": ("x", 1, 1)}}
MASKS = {"where": ("condition",), "instance_norm": ("mask",), "lstm": ("resets",)}


def drawn(
    random: np.random.Generator,
    program: Program,
    point: EntryPoint,
    ports: Iterable[Port],
    batch: int,
    steps: int,
) -> Arrays:
    """An array a port, by name: normal numbers, whole numbers in range, 0 and 1 for masks.

    "B" is `batch`, the first other symbol `steps`, a second one more, and so on. A slot is drawn as
    a port of its name.
    """
    sizes = _sizes(point, batch, steps)
    below, masks = _ranges(program, point, sizes)
    found = {}
    for port in ports:
        shape = [_size(n, sizes) for n in port.shape]
        array: Array
        if port.name in below:
            array = random.integers(0, below[port.name], shape)
        elif port.name in masks or port.dtype not in ("float32", "float64"):
            array = random.random(shape) < 0.7
        else:
            array = random.standard_normal(shape)
        found[port.name] = array.astype(port.dtype)
    return found


def _sizes(point: EntryPoint, batch: int, steps: int) -> dict[str, int]:
    """Of every symbol, each another."""
    symbols = {n for port in point.inputs for n in port.shape if isinstance(n, str)} - {"B"}
    return {"B": batch, **{n: steps + k for k, n in enumerate(sorted(symbols))}}


def _size(dim: int | str, sizes: Mapping[str, int]) -> int:
    return sizes[dim] if isinstance(dim, str) else dim


def _ranges(
    program: Program, point: EntryPoint, sizes: Mapping[str, int]
) -> tuple[dict[str, int], set[str]]:
    """By the names of ports and slots: what whole numbers must be below, and which are masks."""
    shapes = _shapes(program, point)
    made = {name: o for o in point.operations for name in o.outputs.values()}
    below: dict[str, int] = {}
    masks: set[str] = set()
    for o in point.operations:
        for role, (of, axis, more) in BOUNDS.get(o.kind, {}).items():
            limit = _size(shapes[o.inputs[of]][axis], sizes) + more
            for name in _sources(made, o.inputs.get(role)):
                below[name] = min(limit, below.get(name, limit))
        for role in MASKS.get(o.kind, ()):
            masks |= _sources(made, o.inputs.get(role))
    return below, masks


def _shapes(program: Program, point: EntryPoint) -> dict[str, Shape]:
    """Of everything that the entry point names."""
    shapes: dict[str, Shape] = {f"weights/{k}": w.shape for k, w in program.weights.items()}
    shapes |= {f"state/{s.name}": ("B", *s.shape) for s in program.slots.values()}
    shapes |= {port.name: port.shape for port in point.inputs}
    for o in point.operations:
        schema = OPERATIONS[o.kind]
        given = {role: shapes[name] for role, name in o.inputs.items()}
        found = schema.shapes(given, complete(schema, o.attributes))
        shapes |= {name: found[role] for role, name in o.outputs.items()}
    return shapes


def _sources(made: Mapping[str, Operation], value: str | None) -> set[str]:
    """The ports and slots whose numbers a value holds unchanged."""
    if value is None:
        return set()
    if value not in made:
        return {value.removeprefix("state/")}
    if made[value].kind not in MOVING:
        return set()
    return set().union(*(_sources(made, name) for name in made[value].inputs.values()))
