"""The comment on top of a generated header."""

from __future__ import annotations

from textwrap import wrap

import lstmkit
from lstmkit.export.c.signature import Parameter, Signature
from lstmkit.export.c.text import WIDTH, identifier, indented
from lstmkit.lowprecision import dtype_of
from lstmkit.program import EntryPoint, Program


def description(program: Program, point: EntryPoint, signature: Signature) -> str:
    """What the header holds and how it is used. Names that came from outside appear only as
    identifiers: nothing in them can end the comment."""
    lines = [
        *_origin(program, point),
        "",
        *_sizes(signature),
        "",
        *_rules(signature),
        "",
        *(f"    {line}" for line in _example(signature)),
    ]
    body = "\n".join(f" * {line}".rstrip() for line in lines)
    return f"/*\n{body}\n */\n"


def _origin(program: Program, point: EntryPoint) -> list[str]:
    weights = sum(w.size for w in program.weights.values())
    window = f" over the last {program.window} rows" if program.window else ""
    return wrap(
        f"Written by lstmkit {lstmkit.__version__}: a {program.kind} model{window}, entry point "
        f"{identifier(point.name)}, batch 1. The weights are the model's own, {weights} numbers, "
        f"matrices in {dtype_of(program)}. C99 and C++; no library, no allocation, no global "
        "state. Compile it with optimisation.",
        WIDTH - len(" * "),
    )


def _sizes(signature: Signature) -> list[str]:
    """Ports and slots with their shapes."""

    def row(word: str, p: Parameter) -> str:
        return f"{word:<7}{p.identifier} {p.shape} {p.ctype}"

    groups = (("input", signature.inputs), ("output", signature.outputs), ("slot", signature.slots))
    return [row(word, p) for word, ports in groups for p in ports]


def _rules(signature: Signature) -> list[str]:
    name = signature.name
    found = ["Arrays are whole and in C order, and share no memory with another that is written."]
    if signature.slots:
        found += [f"{name}_step carries the state on: one {name}_state for every stream."]
    if signature.work:
        found += [f"{name}_work is room to work in: one for every thread, of any content."]
    return [*found, *_outside(signature)]


def _outside(signature: Signature) -> list[str]:
    """What becomes of whole numbers that mean nothing; `Program.run` raises there."""
    if all(p.ctype == "float" for p in signature.inputs):
        return []
    return ["An index outside its table gives NaN, a length outside the sequence is cut to it."]


def _example(signature: Signature) -> list[str]:
    name = signature.name
    arrays = [f"{p.ctype} {p.identifier}[{p.macro}];" for p in signature.inputs]
    arrays += [f"{p.ctype} {p.identifier}[{p.macro}];" for p in signature.outputs]
    lines = [f'#include "{name}.h"', ""]
    lines += [f"static {name}_work work;"] if signature.work else []
    lines += [f"{name}_state state;"] if signature.slots else []
    lines += arrays
    lines += [f"{name}_init(&state);"] if signature.slots else []
    fill = ", ".join(p.identifier for p in signature.inputs) or "nothing"
    call = f"{name}_step({signature.arguments()});"
    loop = ["for (;;) {", f"// fill {fill}", call, "}"]
    return [*lines, *indented(loop).splitlines()]
