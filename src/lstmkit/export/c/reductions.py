"""Operations that mix what lies along an axis: sums, softmax, norms."""

from __future__ import annotations

from lstmkit.export.c.elementwise import Writer
from lstmkit.export.c.layout import Call, Sheet
from lstmkit.export.c.shapes import around, copy
from lstmkit.export.c.text import index, number


def total(sheet: Sheet, call: Call) -> None:
    """The sum along an axis."""
    _reduce(sheet, call, "")


def mean(sheet: Sheet, call: Call) -> None:
    """The mean along an axis."""
    along = around(call.inputs["x"].shape, call.attributes["axis"])[1]
    _reduce(sheet, call, f" / {along}.0f")


def _reduce(sheet: Sheet, call: Call, divided: str) -> None:
    x, out = sheet.placed(call.inputs["x"]), call.outputs["y"]
    before, along, after = around(x.shape, call.attributes["axis"])
    with sheet.loops([before, after]) as variables:
        line = x.part(index(variables, [along * after, 1]))
        target = f"{out.expression}[{index(variables, [after, 1])}]"
        sheet.emit(f"{target} = {sheet.call('sum')}({line}, {along}, {after}){divided};")


def softmax(sheet: Sheet, call: Call) -> None:
    """exp(x - max) over its sum, along an axis."""
    x, out = sheet.placed(call.inputs["x"]), call.outputs["y"]
    before, along, after = around(x.shape, call.attributes["axis"])
    each, here = f"for (int k = 0; k < {along}; k++) {{", index(["k"], [after])
    with sheet.loops([before, after]) as variables:
        first = index(variables, [along * after, 1])
        sheet.emit(f"const float *in = {x.part(first)};", f"float *out = {out.part(first)};")
        sheet.emit("float largest = in[0];", each)
        sheet.emit(f"largest = in[{here}] > largest ? in[{here}] : largest;", "}", each)
        sheet.emit(f"out[{here}] = {sheet.call('exp')}(in[{here}] - largest);", "}")
        sheet.emit(f"const float whole = {sheet.call('sum')}(out, {along}, {after});", each)
        sheet.emit(f"out[{here}] /= whole;", "}")


def log_softmax(sheet: Sheet, call: Call) -> None:
    """x - max - log of the sum of exp(x - max), along an axis."""
    x, out = sheet.placed(call.inputs["x"]), call.outputs["y"]
    before, along, after = around(x.shape, call.attributes["axis"])
    each, here = f"for (int k = 0; k < {along}; k++) {{", index(["k"], [after])
    with sheet.loops([before, after]) as variables:
        first = index(variables, [along * after, 1])
        sheet.emit(f"const float *in = {x.part(first)};", f"float *out = {out.part(first)};")
        sheet.emit("float largest = in[0];", each)
        sheet.emit(f"largest = in[{here}] > largest ? in[{here}] : largest;", "}", each)
        sheet.emit(f"out[{here}] = {sheet.call('exp')}(in[{here}] - largest);", "}")
        whole = f"{sheet.call('log')}({sheet.call('sum')}(out, {along}, {after}))"
        sheet.emit(f"const float whole = {whole};", each)
        sheet.emit(f"out[{here}] = in[{here}] - largest - whole;", "}")


def layer_norm(sheet: Sheet, call: Call) -> None:
    """Mean 0 and variance 1 over the last axis, then gain and bias."""
    x, out = sheet.placed(call.inputs["x"]), call.outputs["y"]
    rows, n, _ = around(x.shape, -1)
    square = sheet.array(f"{call.label}_square", n)
    copy(sheet, out, x)
    gain, bias = (
        f" {sign} {sheet.placed(call.inputs[role]).expression}[r]" if role in call.inputs else ""
        for role, sign in (("weight", "*"), ("bias", "+"))
    )
    with sheet.loops([rows]) as variables:
        start = index(variables, [n])
        normalise = f"{sheet.call('normalise')}({out.part(start)}, {square}, {n}"
        sheet.emit(f"{normalise}, {number(call.attributes['eps'])});")
        if gain or bias:
            at = f"{out.expression}[{index([*variables, 'r'], [n, 1])}]"
            sheet.emit(f"for (int r = 0; r < {n}; r++) {{", f"{at} = {at}{gain}{bias};", "}")


def instance_norm(sheet: Sheet, call: Call) -> None:
    """Mean 0 and deviation 1 over the places whose mask is not 0, 0 elsewhere."""
    x, mask = (sheet.placed(call.inputs[role]).expression for role in ("x", "mask"))
    y, mean, scale = (call.outputs[role].expression for role in ("y", "mean", "scale"))
    n, total = call.inputs["x"].size, sheet.call("sum")
    work = sheet.array(f"{call.label}_work", n)
    each = f"for (int i = 0; i < {n}; i++) {{"
    eps = number(call.attributes["eps"] ** 2)
    sheet.emit(f"const float seen = {total}({mask}, {n}, 1);")
    sheet.emit(f"const float count = {sheet.call('maximum')}(seen, 1.0f);", each)
    sheet.emit(f"{work}[i] = {mask}[i] != 0.0f ? {x}[i] * {mask}[i] : 0.0f;", "}")
    sheet.emit(f"{mean}[0] = {total}({work}, {n}, 1) / count;", each)
    centred = f"({x}[i] - {mean}[0]) * {mask}[i]"
    sheet.emit(f"{y}[i] = {mask}[i] != 0.0f ? {centred} : 0.0f;")
    sheet.emit(f"{work}[i] = {y}[i] * {y}[i];", "}")
    variance = f"{total}({work}, {n}, 1) / count"
    sheet.emit(f"{scale}[0] = {sheet.call('sqrt')}({variance} + {eps});", each)
    sheet.emit(f"{y}[i] /= {scale}[0];", "}")


WRITERS: dict[str, Writer] = {
    "sum": total,
    "mean": mean,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "layer_norm": layer_norm,
    "instance_norm": instance_norm,
}
