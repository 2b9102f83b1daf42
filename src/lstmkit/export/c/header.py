"""From one entry point of a program to the text of a C header."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from lstmkit.errors import UserError
from lstmkit.export.c import elementwise, matrices, recurrence, reductions, shapes
from lstmkit.export.c.arithmetic import helpers
from lstmkit.export.c.description import description
from lstmkit.export.c.elementwise import Writer
from lstmkit.export.c.layout import LARGEST_STACK, Call, Sheet, Value, slots_of, type_of
from lstmkit.export.c.signature import Parameter, Signature
from lstmkit.export.c.text import Names, is_identifier
from lstmkit.operations import OPERATIONS, ProgramError
from lstmkit.program import EntryPoint, Operation, Port, Program, complete

WRITERS: Mapping[str, Writer] = {
    **elementwise.WRITERS,
    **matrices.WRITERS,
    **recurrence.WRITERS,
    **reductions.WRITERS,
    **shapes.WRITERS,
}


def to_c(
    program: Program, entry: str | None = None, name: str = "model", *, steps: int | None = None
) -> str:
    """One entry point of a program as one header of C99, which C++ takes too, that runs it for
    batch 1 without any library, allocation or global state; its comment shows how to use it.

    Args:
        program: of any kind; weights of low precision stay so.
        entry: a name; left out, the only entry point, or `step`.
        name: what every name in the header begins with: an identifier.
        steps: T, for an entry point over a sequence.

    Raises:
        ProgramError: no such entry point, a symbol without size, double precision, numbers that
            are not finite.
        UserError: `name` is no identifier, or `steps` is no number of steps.
    """
    if not is_identifier(name):
        hint = "letters, digits and _, a letter first, no word of C or C++"
        raise UserError("the header's name is no identifier", got=repr(name), hint=hint)
    program.validate()
    point = chosen(program, entry)
    sizes = _sizes(point, steps)
    sheet, signature = _written(Sheet(name, program, point, sizes))
    if sheet.working_bytes() > LARGEST_STACK:
        sheet, signature = _written(Sheet(name, program, point, sizes, on_stack=False))
    return _assembled(sheet, signature)


def chosen(program: Program, entry: str | None) -> EntryPoint:
    """The entry point of that name; of None, the only one or `step`.

    Raises:
        ProgramError: there is none, or several and none is `step`.
    """
    if entry is not None:
        return program.entry(entry)
    if len(program.entries) == 1:
        return next(iter(program.entries.values()))
    if "step" in program.entries:
        return program.entries["step"]
    raise ProgramError("which entry point should be exported?", expected=", ".join(program.entries))


def _sizes(point: EntryPoint, steps: int | None) -> dict[str, int]:
    """The symbols of the entry point's ports that have a size."""
    if steps is None:
        return {"B": 1}
    if type(steps) is not int or steps < 1:
        raise UserError("steps is no number of steps", got=repr(steps), expected="1 or more")
    if not any("T" in port.shape for port in point.inputs):
        what = f"entry point {point.name!r} has no number of steps to fix"
        raise UserError(what, got=f"steps={steps}", hint="leave steps out")
    return {"B": 1, "T": steps}


def _written(sheet: Sheet) -> tuple[Sheet, Signature]:
    """The sheet with all operations written, and what the function takes."""
    signature = Signature(sheet.name, _slots(sheet))
    signature.inputs = _ports(sheet, sheet.point.inputs, "INPUT")
    signature.outputs = _ports(sheet, sheet.point.outputs, "OUTPUT")
    for port in signature.inputs:
        sheet.values[port.name] = Value(port.identifier, port.shape, port.ctype)
    for count, operation in enumerate(sheet.point.operations, 1):
        _perform(sheet, operation, count)
    _give(sheet, signature)
    signature.work = () if sheet.on_stack else sheet.memory
    return sheet, signature


def _slots(sheet: Sheet) -> list[Parameter]:
    """The slots of the entry point; their values are then known to the sheet."""
    names, found = Names(), []
    for slot in (sheet.program.slots[s] for s in slots_of(sheet.point, sheet.program.slots)):
        ctype = type_of(slot.dtype, f"slot {slot.name!r}")
        own = names.take(slot.name)
        found.append(Parameter(slot.name, own, slot.shape, ctype, initial=slot.initial))
        sheet.values[f"state/{slot.name}"] = Value(f"state->{own}", (1, *slot.shape), ctype)
    return found


def _ports(sheet: Sheet, ports: tuple[Port, ...], side: str) -> list[Parameter]:
    """The inputs or the outputs as parameters, in order."""
    macros, found = Names(), []
    for port in ports:
        macro = f"{sheet.name.upper()}_{side}_{macros.take(port.name.upper())}"
        ctype = type_of(port.dtype, f"port {port.name!r}")
        own, shape = sheet.names.take(port.name), sheet.fixed(port.shape)
        found.append(Parameter(port.name, own, shape, ctype, macro))
    return found


def _perform(sheet: Sheet, operation: Operation, count: int) -> None:
    """One operation, in a block of its own under a comment."""
    schema = OPERATIONS[operation.kind]
    inputs = {role: sheet.value(name) for role, name in operation.inputs.items()}
    attributes = complete(schema, operation.attributes)
    found = schema.shapes({role: v.shape for role, v in inputs.items()}, attributes)
    made = {role: sheet.fixed(shape) for role, shape in found.items()}
    outputs = {role: sheet.new(name, made[role]) for role, name in operation.outputs.items()}
    call = Call(operation.kind, f"{operation.kind}{count}", inputs, outputs, attributes)
    sheet.emit("", f"/* {_sentence(call)} */", "{")
    WRITERS[call.kind](sheet, call)
    sheet.emit("}")


def _sentence(call: Call) -> str:
    """`add: x (1, 3), y (3,) -> z (1, 3)`: sizes by role, weights left out."""
    sides = [
        ", ".join(f"{role} {v.shape}" for role, v in values.items() if v.weight is None)
        for values in (call.inputs, call.outputs)
    ]
    return f"{call.kind}: {' -> '.join(sides)}"


def _give(sheet: Sheet, signature: Signature) -> None:
    """Outputs and new state, written last: every operation has then read the old state."""
    sheet.emit("", "/* outputs and new state */")
    fields = {s.name: replace(s, identifier=f"state->{s.identifier}") for s in signature.slots}
    targets = [(port, sheet.value(port.name)) for port in signature.outputs]
    targets += [(fields[slot], sheet.value(name)) for slot, name in sheet.point.state.items()]
    ready = [(target, _apart(sheet, value)) for target, value in targets]
    for target, value in ready:
        _assign(sheet, target, value)
    code = "\n".join(sheet.lines)
    spare = [p.identifier for p in signature.inputs if not re.search(rf"\b{p.identifier}\b", code)]
    sheet.emit(*(f"(void){name};" for name in spare))


def _apart(sheet: Sheet, value: Value) -> Value:
    """The value in a place that no write of the state can change before it is read."""
    if value.weight is not None:
        return sheet.placed(value)
    if not value.expression.startswith("state->"):
        return value
    copy = sheet.array(value.expression.replace("state->", "old_"), value.size, value.ctype)
    sheet.emit(f"memcpy({copy}, {value.expression}, {value.bytes});")
    return replace(value, expression=copy)


def _assign(sheet: Sheet, target: Parameter, value: Value) -> None:
    if target.ctype == value.ctype:
        sheet.emit(f"memcpy({target.identifier}, {value.expression}, {value.bytes});")
        return
    sheet.emit(f"for (int i = 0; i < {value.size}; i++) {{")
    sheet.emit(f"{target.identifier}[i] = ({target.ctype}){value.expression}[i];", "}")


def _assembled(sheet: Sheet, signature: Signature) -> str:
    """The whole text of the header."""
    guard = f"LSTMKIT_C_{sheet.name}_H"
    parts = [
        description(sheet.program, sheet.point, signature),
        f"#ifndef {guard}\n#define {guard}\n\n#include <stdint.h>\n#include <string.h>\n",
        signature.macros(),
        signature.types(),
        sheet.constants_text(),
        helpers(sheet.helpers, sheet.name).lstrip("\n"),
        signature.init(),
        signature.step(sheet.memory if sheet.on_stack else (), sheet.lines),
        f"#endif /* {guard} */\n",
    ]
    return "\n".join(part for part in parts if part)
