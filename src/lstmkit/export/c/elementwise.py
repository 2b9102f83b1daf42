"""Operations on each element by itself, with numpy's broadcasting."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lstmkit.export.c.layout import Call, Sheet, Value
from lstmkit.export.c.text import collapsed, contiguous, index, number

Writer = Callable[[Sheet, Call], None]
BINARY = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
FUNCTIONS = ("maximum", "minimum", "tanh", "sigmoid", "softplus", "exp", "sqrt")


def strides(value: Value, shape: Sequence[int]) -> list[int]:
    """Of a value that is broadcast to `shape`: 0 where it repeats."""
    own = contiguous(value.shape)
    lacking = len(shape) - len(value.shape)
    kept = [0 if size == 1 else s for size, s in zip(value.shape, own, strict=True)]
    return [0] * lacking + kept


def every(sheet: Sheet, out: Value, inputs: Sequence[Value], formula: str) -> None:
    """out = formula, element by element; `formula` names the inputs' elements {0}, {1}, ..."""
    operands = [strides(v, out.shape) for v in (out, *inputs)]
    shape, steps = collapsed(out.shape, operands)
    with sheet.loops(shape) as variables:
        places = [index(variables, step) for step in steps]
        elements = [f"{v.expression}[{at}]" for v, at in zip(inputs, places[1:], strict=True)]
        sheet.emit(f"{out.expression}[{places[0]}] = {formula.format(*elements)};")


def binary(sign: str) -> Writer:
    """The writer of x SIGN y."""

    def write(sheet: Sheet, call: Call) -> None:
        x, y = (sheet.placed(call.inputs[role]) for role in ("x", "y"))
        every(sheet, call.outputs["z"], [x, y], f"{{0}} {sign} {{1}}")

    return write


def function(helper: str) -> Writer:
    """The writer of a helper function of one or two numbers."""

    def write(sheet: Sheet, call: Call) -> None:
        inputs = [sheet.placed(call.inputs[r]) for r in ("x", "y") if r in call.inputs]
        arguments = ", ".join(f"{{{k}}}" for k in range(len(inputs)))
        every(sheet, call.outputs["z"], inputs, f"{sheet.call(helper)}({arguments})")

    return write


def formula(text: str) -> Writer:
    """The writer of a formula of one number, {0}."""

    def write(sheet: Sheet, call: Call) -> None:
        every(sheet, call.outputs["z"], [sheet.placed(call.inputs["x"])], text)

    return write


def affine(sheet: Sheet, call: Call) -> None:
    """scale * x + shift."""
    scale, shift = (number(call.attributes[name]) for name in ("scale", "shift"))
    x = sheet.placed(call.inputs["x"])
    every(sheet, call.outputs["y"], [x], f"{{0}} * {scale} + {shift}")


def where(sheet: Sheet, call: Call) -> None:
    """x where condition is not 0, else y."""
    condition = call.inputs["condition"]
    condition = condition if condition.ctype == "int32_t" else sheet.placed(condition)
    x, y = (sheet.placed(call.inputs[role]) for role in ("x", "y"))
    every(sheet, call.outputs["z"], [condition, x, y], "{0} != 0 ? {1} : {2}")


WRITERS: dict[str, Writer] = {
    **{kind: binary(sign) for kind, sign in BINARY.items()},
    **{kind: function(kind) for kind in FUNCTIONS},
    "relu": formula("{0} < 0.0f ? 0.0f : {0}"),
    "abs": formula("{0} < 0.0f ? -{0} : {0}"),
    "affine": affine,
    "where": where,
}
