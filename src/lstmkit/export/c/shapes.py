"""Operations that move elements: concat, reshape, transpose, slice, take, sort."""

from __future__ import annotations

import math

import numpy as np

from lstmkit.export.c.elementwise import Writer
from lstmkit.export.c.layout import Call, Sheet, Value
from lstmkit.export.c.text import collapsed, contiguous, index


def around(shape: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    """A shape as (before, along, after) an axis."""
    axis %= len(shape)
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


def copy(sheet: Sheet, out: Value, x: Value) -> None:
    """All of x to out."""
    sheet.emit(f"memcpy({out.expression}, {x.expression}, {x.bytes});")


def runs(
    sheet: Sheet, out: Value, x: Value, count: int, length: int, steps: tuple[int, int, int, int]
) -> None:
    """`count` runs of `length` elements from x to out; `steps` are the strides and offsets of out
    and x: (stride of out, offset of out, stride of x, offset of x)."""
    to, first, of, start = steps
    with sheet.loops([count]) as variables:
        target = out.part(index(variables, [to], first))
        source = x.part(index(variables, [of], start))
        sheet.emit(f"memcpy({target}, {source}, {length} * sizeof(float));")


def concat(sheet: Sheet, call: Call) -> None:
    """x0, x1, ... along an axis."""
    out, offset = call.outputs["y"], 0
    for given in call.inputs.values():
        x = sheet.placed(given)
        before, along, after = around(x.shape, call.attributes["axis"])
        length = along * after
        runs(sheet, out, x, before, length, (out.size // before, offset, length, 0))
        offset += length


def reshape(sheet: Sheet, call: Call) -> None:
    """The same elements in another shape."""
    copy(sheet, call.outputs["y"], sheet.placed(call.inputs["x"]))


def transpose(sheet: Sheet, call: Call) -> None:
    """Dimensions in the order `axes`."""
    x, out = sheet.placed(call.inputs["x"]), call.outputs["y"]
    own = contiguous(x.shape)
    moved = [own[axis] for axis in call.attributes["axes"]]
    shape, (to, of) = collapsed(out.shape, [contiguous(out.shape), moved])
    with sheet.loops(shape) as variables:
        source = f"{x.expression}[{index(variables, of)}]"
        sheet.emit(f"{out.expression}[{index(variables, to)}] = {source};")


def cut(sheet: Sheet, call: Call) -> None:
    """start <= k < stop along an axis."""
    x, out, a = sheet.placed(call.inputs["x"]), call.outputs["y"], call.attributes
    before, along, after = around(x.shape, a["axis"])
    length = (a["stop"] - a["start"]) * after
    runs(sheet, out, x, before, length, (length, 0, along * after, a["start"] * after))


def take(sheet: Sheet, call: Call) -> None:
    """The places `indices` along an axis."""
    x, out = sheet.placed(call.inputs["x"]), call.outputs["y"]
    before, along, after = around(x.shape, call.attributes["axis"])
    places = np.asarray(call.attributes["indices"], np.int32)
    table = sheet.constant((call.label, "indices"), places, "int32_t")
    shape = [before, len(places), after]
    with sheet.loops(shape) as (i, j, k):
        target = index([i, j, k], contiguous(shape))
        source = index([i, f"{table}[{j}]", k], [along * after, after, 1])
        sheet.emit(f"{out.expression}[{target}] = {x.expression}[{source}];")


def sort(sheet: Sheet, call: Call) -> None:
    """Ascending along an axis."""
    x, out = sheet.placed(call.inputs["x"]), call.outputs["y"]
    before, along, after = around(x.shape, call.attributes["axis"])
    copy(sheet, out, x)
    with sheet.loops([before, after]) as variables:
        line = out.part(index(variables, [along * after, 1]))
        sheet.emit(f"{sheet.call('sort')}({line}, {along}, {after});")


WRITERS: dict[str, Writer] = {
    "concat": concat,
    "reshape": reshape,
    "transpose": transpose,
    "slice": cut,
    "take": take,
    "sort": sort,
}
