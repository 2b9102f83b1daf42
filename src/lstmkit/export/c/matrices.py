"""Products with matrices of weights in float32, bfloat16 and int8, and rows of them."""

from __future__ import annotations

import numpy as np

from lstmkit.export.c.elementwise import Writer
from lstmkit.export.c.layout import Call, Sheet, Value
from lstmkit.export.c.shapes import around
from lstmkit.export.c.text import index
from lstmkit.lowprecision import BFloat16, Int8


def stored(sheet: Sheet, matrix: Value) -> object:
    """The tensor of a weight; None of what the program computes."""
    return None if matrix.weight is None else sheet.program.weights[matrix.weight]


def transposed(sheet: Sheet, matrices: list[Value]) -> tuple[str, str] | None:
    """[A | B | ..] transposed, as one constant of float32 or bfloat16: the helper that multiplies
    it, and its name. None where these cannot be one."""
    tensors = [stored(sheet, m) for m in matrices]
    key = ("columns", *(m.weight or "" for m in matrices))
    words = [t.words for t in tensors if isinstance(t, BFloat16)]
    if len(words) == len(tensors):
        joined = np.concatenate(words, 1).T
        return "product_bfloat16", sheet.constant(key, joined, "uint16_t")
    if words or any(t is None or isinstance(t, Int8) for t in tensors):
        return None
    arrays = [np.asarray(t, np.float32) for t in tensors]
    return "product", sheet.constant(key, np.concatenate(arrays, 1).T)


def add_product(sheet: Sheet, z: str, matrix: Value, x: str) -> None:
    """z (N) += matrix (N, K) x (K), as its numbers are stored."""
    rows, cols = matrix.shape
    tensor, joined = stored(sheet, matrix), transposed(sheet, [matrix])
    if joined is not None:
        helper, w = joined
        sheet.emit(f"{sheet.call(helper)}({z}, {w}, {x}, {rows}, {cols});")
    elif isinstance(tensor, Int8):
        _add_int8(sheet, z, matrix, tensor, x)
    else:
        w = sheet.placed(matrix).expression
        sheet.emit(f"{sheet.call('product_rows')}({z}, {w}, {x}, {rows}, {cols});")


def _add_int8(sheet: Sheet, z: str, matrix: Value, tensor: Int8, x: str) -> None:
    rows, cols = matrix.shape
    name = matrix.weight or ""
    w = sheet.constant(("rows", name), tensor.values, "int8_t")
    scale = sheet.constant(("scale", name), tensor.scale)
    q = sheet.array(f"{name}_q", cols, "int8_t")
    sheet.emit(f"{sheet.call('product_int8')}({z}, {w}, {scale}, {x}, {q}, {rows}, {cols});")


def begin(sheet: Sheet, z: str, bias: str | None, n: int) -> None:
    """z = bias, or 0."""
    fill = f"memset({z}, 0, " if bias is None else f"memcpy({z}, {bias}, "
    sheet.emit(f"{fill}{n} * sizeof(float));")


def linear(sheet: Sheet, call: Call) -> None:
    """x (.., K), weight (N, K), bias (N): (.., N)."""
    x, out, weight = sheet.placed(call.inputs["x"]), call.outputs["y"], call.inputs["weight"]
    given = call.inputs.get("bias")
    bias = None if given is None else sheet.placed(given).expression
    n, k = weight.shape
    with sheet.loops([around(x.shape, -1)[0]]) as variables:
        z = out.part(index(variables, [n]))
        begin(sheet, z, bias, n)
        add_product(sheet, z, weight, x.part(index(variables, [k])))


def embedding(sheet: Sheet, call: Call) -> None:
    """Rows of weight (N, E); an index outside gives NaN."""
    indices, weight, out = call.inputs["indices"], call.inputs["weight"], call.outputs["y"]
    indices = indices if indices.ctype == "int32_t" else sheet.placed(indices)
    rows, width = weight.shape
    element = _element(sheet, weight, index(["row", "j"], [width, 1]))
    nan = f"{sheet.call('number')}(0x7fc00000u)"
    with sheet.loops([indices.size]) as variables:
        at = f"{indices.expression}[{index(variables, [1])}]"
        sheet.emit(f"const int inside = {at} >= 0 && {at} < {rows};")
        sheet.emit(f"const int row = inside ? (int){at} : 0;")
        sheet.emit(f"for (int j = 0; j < {width}; j++) {{")
        target = f"{out.expression}[{index([*variables, 'j'], [width, 1])}]"
        sheet.emit(f"{target} = inside ? {element} : {nan};", "}")


def _element(sheet: Sheet, matrix: Value, at: str) -> str:
    """One number of a matrix, as C text."""
    tensor, name = stored(sheet, matrix), matrix.weight or ""
    if isinstance(tensor, BFloat16):
        words = sheet.constant(("rows", name), tensor.words, "uint16_t")
        return f"{sheet.call('wide')}({words}[{at}])"
    if isinstance(tensor, Int8):
        values = sheet.constant(("rows", name), tensor.values, "int8_t")
        scale = sheet.constant(("scale", name), tensor.scale)
        return f"(float){values}[{at}] * {scale}[row]"
    return f"{sheet.placed(matrix).expression}[{at}]"


WRITERS: dict[str, Writer] = {"linear": linear, "embedding": embedding}
