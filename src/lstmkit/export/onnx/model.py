"""From one entry point of a program to an ONNX model."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from lstmkit.errors import UserError, require
from lstmkit.export.onnx.graph import Graph, element
from lstmkit.export.onnx.writers import WRITERS
from lstmkit.operations import OPERATIONS, ProgramError
from lstmkit.program import EntryPoint, Operation, Port, Program, Slot, complete

if TYPE_CHECKING:
    import onnx

OPSET = 17
IR_VERSION = 8  # of opset 17
LARGEST = 2**31 - 2**20  # bytes that one protocol buffer can hold, with room for the nodes


def to_onnx(program: Program, entry: str | None = None) -> onnx.ModelProto:
    """One entry point of a validated program as an ONNX model, checked by `onnx.checker`.

    Inputs are the entry point's ports, then every slot that it reads or writes under the slot's
    name, (B, ...); outputs are its outputs, then the new state as SLOT_out. A stream begins with
    `program.initial_state`, also in the metadata, and feeds SLOT_out back in as SLOT. Symbols of
    ports stay symbols ("B", "T"). Weights are float32 initializers under their own names; those of
    low precision are the values that they stand for, so an int8 program is computed in float32.
    The batch has at least one sample: onnxruntime 1.32 ends the process where a sequence has none.

    Args:
        program: validated.
        entry: a name; left out, the only entry point, or `sequence`.

    Raises:
        ProgramError: no such entry point, or two inputs or outputs would have one name.
        UserError: more weights than one ONNX file can hold.
        MissingExtra: onnx is not installed.
    """
    checker = require("onnx.checker", "export")
    point = chosen(program, entry)
    inputs, outputs = interface(program, point)
    g = Graph()
    g.taken |= {port.name for port in (*inputs, *outputs)}
    values = _given(g, program, point, inputs)
    for operation in point.operations:
        _perform(g, operation, values)
    _give(g, program, point, values, outputs)
    described = [[_info(g, port) for port in ports] for ports in (inputs, outputs)]
    weights = list(g.initializers.values())
    graph = g.helper.make_graph(g.nodes, point.name, *described, initializer=weights)
    model = _model(g, graph, program, point)
    checker.check_model(model, full_check=True)
    return model


def chosen(program: Program, entry: str | None) -> EntryPoint:
    """The entry point of that name; of None, the only one or `sequence`.

    Raises:
        ProgramError: there is none, or it is not clear which.
    """
    if entry is not None:
        return program.entry(entry)
    if len(program.entries) == 1:
        return next(iter(program.entries.values()))
    if "sequence" not in program.entries:
        raise ProgramError(
            "an ONNX model is one entry point, and this program has several",
            got="no name",
            expected=" or ".join(program.entries),
            hint="say which with entry=",
        )
    return program.entry("sequence")


def interface(program: Program, point: EntryPoint) -> tuple[list[Port], list[Port]]:
    """The model's inputs and outputs, state included.

    Raises:
        ProgramError: two of them would have one name.
    """
    state = [Port(s.name, ("B", *s.shape), s.dtype) for s in _slots(program, point)]
    passed = {port.name: port for port in point.inputs}
    inputs = [*point.inputs, *state]
    outputs = [passed.get(port.name, port) for port in point.outputs]
    outputs += [Port(f"{port.name}_out", port.shape, port.dtype) for port in state]
    new = [port.name for port in outputs if port not in passed.values()]
    _check_names([*(port.name for port in inputs), *new])
    return inputs, outputs


def _slots(program: Program, point: EntryPoint) -> list[Slot]:
    """Those that the entry point reads or writes."""
    read, slots = _read(point), program.slots.values()
    return [s for s in slots if f"state/{s.name}" in read or s.name in point.state]


def _read(point: EntryPoint) -> set[str]:
    """The names of the values that the entry point uses."""
    names = {name for o in point.operations for name in o.inputs.values()}
    return names | {*point.state.values(), *(port.name for port in point.outputs)}


def _check_names(names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ProgramError(
            "inputs, outputs and state of an ONNX model need names of their own",
            got=f"{', '.join(twice)} more than once",
            expected="ports, slots SLOT and their new values SLOT_out, all different",
        )


def _given(g: Graph, program: Program, point: EntryPoint, ports: list[Port]) -> dict[str, str]:
    """ONNX's names of the program's values that are there from the start: `ports` and weights."""
    own = {port.name for port in point.inputs}
    values = {}
    for port in ports:
        values[port.name if port.name in own else f"state/{port.name}"] = port.name
        g.dtypes[port.name], g.shapes[port.name] = port.dtype, port.shape
    read = _read(point)
    used = {name: w for name, w in program.weights.items() if f"weights/{name}" in read}
    _check_size(used.values())
    for name, weight in used.items():
        values[f"weights/{name}"] = stored = g.weight(name, weight)
        g.shapes[stored] = weight.shape
    return values


def _check_size(weights: Iterable[Any]) -> None:
    total = sum(4 * weight.size for weight in weights)
    if total > LARGEST:
        raise UserError(
            "the weights do not fit into one ONNX file",
            got=f"{total} bytes as float32",
            expected=f"at most {LARGEST}",
        )


def _perform(g: Graph, operation: Operation, values: dict[str, str]) -> None:
    """Writes one operation down; `values` gains what it makes."""
    schema = OPERATIONS[operation.kind]
    attributes = complete(schema, operation.attributes)
    given = {role: values[name] for role, name in operation.inputs.items()}
    made = WRITERS[operation.kind](g, given, attributes)
    shapes = schema.shapes({role: g.shapes[name] for role, name in given.items()}, attributes)
    for role, name in operation.outputs.items():
        values[name] = made[role]
        g.shapes[made[role]] = shapes[role]


def _give(
    g: Graph, program: Program, point: EntryPoint, values: dict[str, str], outputs: list[Port]
) -> None:
    """Names what the model gives: outputs, then the new state."""
    found = [port.name for port in point.outputs]
    found += [point.state.get(s.name, f"state/{s.name}") for s in _slots(program, point)]
    for port, name in zip(outputs, found, strict=True):
        g.rename(g.cast(values[name], port.dtype), port.name)


def _info(g: Graph, port: Port) -> Any:
    return g.helper.make_tensor_value_info(port.name, element(port.dtype), port.shape)


def _model(g: Graph, graph: Any, program: Program, point: EntryPoint) -> onnx.ModelProto:
    import lstmkit

    initial = {s.name: s.initial for s in _slots(program, point)}
    model: onnx.ModelProto = g.helper.make_model(
        graph,
        producer_name="lstmkit",
        producer_version=lstmkit.__version__,
        opset_imports=[g.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    metadata = {"producer": "lstmkit", "version": lstmkit.__version__, "entry": point.name}
    metadata |= {"kind": program.kind, "initial_state": json.dumps(initial)}
    g.helper.set_model_props(model, metadata)
    return model
