"""The LSTM: one step of every variant, and the loop over a sequence. `lstmkit.equations.lstm`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lstmkit.export.c.elementwise import Writer
from lstmkit.export.c.layout import Call, Sheet, Value
from lstmkit.export.c.matrices import add_product, begin, stored, transposed
from lstmkit.export.c.text import index, number
from lstmkit.notation import NORM_EPS, gate_rows


@dataclass
class Cell:
    """One step: the code from x, h and c (C expressions) to new ones, which may be the old."""

    sheet: Sheet
    call: Call

    def __post_init__(self) -> None:
        a, inputs = self.call.attributes, self.call.inputs
        self.H, self.G, self.coupled = a["hidden_size"], gate_rows(a["coupled"]), a["coupled"]
        self.P = inputs["weight_hr"].shape[0] if "weight_hr" in inputs else self.H
        self.I = inputs["weight_ih"].shape[1]
        self.rows = self.G * self.H
        self.arrays: dict[str, str] = {}

    def scratch(self, name: str, size: int) -> str:
        """Working memory of this cell."""
        if name not in self.arrays:
            self.arrays[name] = self.sheet.array(f"{self.call.label}_{name}", size)
        return self.arrays[name]

    def weight(self, role: str) -> str:
        """The array of a weight that is no matrix."""
        return self.sheet.placed(self.call.inputs[role]).expression

    def step(self, x: str, h: str, c: str, new_h: str, new_c: str) -> None:
        """The whole step."""
        self.preactivation(x, h)
        shown = self.scratch("shown", self.H) if "weight_hr" in self.call.inputs else new_h
        if "norm_c_weight" in self.call.inputs:
            self.normalised(h, c, shown, new_c)
        else:
            self.plain(h, c, shown, new_c)
        if "weight_hr" in self.call.inputs:
            self.project(h, shown, new_h)

    def preactivation(self, x: str, h: str) -> None:
        """z (G*H), before peepholes."""
        weights = [self.call.inputs["weight_ih"], self.call.inputs["weight_hh"]]
        z = self.scratch("z", self.rows)
        joined = None
        if "norm_ih_weight" in self.call.inputs:
            self.normalised_products(z, weights, x, h)
            return
        begin(self.sheet, z, self.bias(), self.rows)
        joined = transposed(self.sheet, weights) if _alike(self.sheet, weights) else None
        if joined is None:
            add_product(self.sheet, z, weights[0], x)
            add_product(self.sheet, z, weights[1], h)
        else:
            self.joined_product(z, *joined, x, h)

    def joined_product(self, z: str, helper: str, w: str, x: str, h: str) -> None:
        """z += [W_ih | W_hh] [x; h]."""
        both = self.scratch("x_and_h", self.I + self.P)
        self.sheet.emit(f"memcpy({both}, {x}, {self.I} * sizeof(float));")
        self.sheet.emit(f"memcpy({both} + {self.I}, {h}, {self.P} * sizeof(float));")
        size = f"{self.rows}, {self.I + self.P}"
        self.sheet.emit(f"{self.sheet.call(helper)}({z}, {w}, {both}, {size});")

    def normalised_products(self, z: str, weights: list[Value], x: str, h: str) -> None:
        """z = LN(W_ih x) * gain + LN(W_hh h) * gain + bias."""
        zh, square = self.scratch("zh", self.rows), self.scratch("square", self.rows)
        for target, matrix, vector in ((z, weights[0], x), (zh, weights[1], h)):
            begin(self.sheet, target, None, self.rows)
            add_product(self.sheet, target, matrix, vector)
            self.normalise(target, square, self.rows)
        gains = [self.weight(f"norm_{k}_weight") for k in ("ih", "hh")]
        bias = self.bias()
        added = "" if bias is None else f" + {bias}[r]"
        self.each(f"{z}[r] = {z}[r] * {gains[0]}[r] + {zh}[r] * {gains[1]}[r]{added};", self.rows)

    def bias(self) -> str | None:
        """b_ih + b_hh, summed here where both are weights."""
        roles = [self.call.inputs.get(role) for role in ("bias_ih", "bias_hh")]
        given = [b for b in roles if b is not None]
        names = [b.weight for b in given if b.weight is not None]
        if len(names) == 2:
            arrays = [np.asarray(self.sheet.program.weights[n], np.float32) for n in names]
            return self.sheet.constant(("sum", *names), arrays[0] + arrays[1])
        if not given:
            return None
        both, (ih, hh) = self.scratch("bias", self.rows), map(self.sheet.placed, given)
        self.each(f"{both}[r] = {ih.expression}[r] + {hh.expression}[r];", self.rows)
        return both

    def gates(self, c: str) -> list[str]:
        """Lines that compute f, g, the new `cell` and o of unit r; i is within them."""
        z, seen = self.scratch("z", self.rows), "weight_peephole" in self.call.inputs
        p = self.weight("weight_peephole") if seen else ""

        def gate(helper: str, block: int, peephole: int, cell: str) -> str:
            at = f"{z}[{index(['r'], [1], block * self.H)}]"
            look = f" + {p}[{index(['r'], [1], peephole * self.H)}] * {cell}" if cell else ""
            return f"{self.sheet.call(helper)}({at}{look})"

        old, new = ("c", "cell") if seen else ("", "")
        f = "1.0f - i" if self.coupled else gate("sigmoid", 1, 1, old)
        return [
            f"const float c = {c}[r];",
            f"const float i = {gate('sigmoid', 0, 0, old)};",
            f"const float f = {f};",
            f"const float g = {gate('tanh', self.G - 2, 0, '')};",
            "const float cell = f * c + i * g;",
            f"const float o = {gate('sigmoid', self.G - 1, self.G - 2, new)};",
        ]

    def plain(self, h: str, c: str, shown: str, new_c: str) -> None:
        """Gates, the new cell and o * tanh(cell), in one loop."""
        out = f"o * {self.sheet.call('tanh')}(cell)"
        last = [self.carry_cell(new_c), f"{shown}[r] = {self.hidden(h, out)};"]
        self.each([*self.gates(c), *last], self.H)

    def normalised(self, h: str, c: str, shown: str, new_c: str) -> None:
        """The same with LN(cell) in place of cell inside the tanh."""
        level, gate = self.scratch("cell", self.H), self.scratch("o", self.H)
        square = self.scratch("square", self.rows)
        kept = [f"{level}[r] = cell;", f"{gate}[r] = o;", self.carry_cell(new_c)]
        self.each([*self.gates(c), *kept], self.H)
        self.normalise(level, square, self.H)
        gain, bias = self.weight("norm_c_weight"), self.weight("norm_c_bias")
        inner = f"{level}[r] * {gain}[r] + {bias}[r]"
        out = f"{gate}[r] * {self.sheet.call('tanh')}({inner})"
        self.each(f"{shown}[r] = {self.hidden(h, out)};", self.H)

    def project(self, h: str, shown: str, new_h: str) -> None:
        """h = W_hr shown."""
        found = self.scratch("projected", self.P)
        begin(self.sheet, found, None, self.P)
        add_product(self.sheet, found, self.call.inputs["weight_hr"], shown)
        keep = self.call.attributes["zoneout_h"]
        self.each(f"{new_h}[r] = {blended(keep, f'{h}[r]', f'{found}[r]')};", self.P)

    def hidden(self, h: str, out: str) -> str:
        """The output of unit r: with zoneout, unless it is still to be projected."""
        projected = "weight_hr" in self.call.inputs
        return out if projected else blended(self.call.attributes["zoneout_h"], f"{h}[r]", out)

    def carry_cell(self, new_c: str) -> str:
        """The line that keeps the new cell of unit r."""
        return f"{new_c}[r] = {blended(self.call.attributes['zoneout_c'], 'c', 'cell')};"

    def normalise(self, x: str, square: str, n: int) -> None:
        """x with mean 0 and variance 1."""
        helper = self.sheet.call("normalise")
        self.sheet.emit(f"{helper}({x}, {square}, {n}, {number(NORM_EPS)});")

    def each(self, body: str | list[str], n: int) -> None:
        """A loop over r."""
        lines = [body] if isinstance(body, str) else body
        self.sheet.emit(f"for (int r = 0; r < {n}; r++) {{", *lines, "}")


def blended(keep: float, old: str, new: str) -> str:
    """Zoneout in evaluation: keep * old + (1 - keep) * new."""
    return f"{number(keep)} * {old} + {number(1.0 - keep)} * ({new})" if keep else new


def _alike(sheet: Sheet, weights: list[Value]) -> bool:
    """Whether the matrices can be one: stored in the same way."""
    return len({type(stored(sheet, w)) for w in weights}) == 1


def lstm_cell(sheet: Sheet, call: Call) -> None:
    """One step."""
    x, h, c = (sheet.placed(call.inputs[role]).expression for role in ("x", "h", "c"))
    Cell(sheet, call).step(x, h, c, *(call.outputs[role].expression for role in ("h", "c")))


def lstm(sheet: Sheet, call: Call) -> None:
    """All steps of a sequence, either way."""
    x, cell = sheet.placed(call.inputs["x"]), Cell(sheet, call)
    y, h, c = (call.outputs[role] for role in ("y", "h", "c"))
    for state, first in ((h, "h0"), (c, "c0")):
        given = call.inputs.get(first)
        start = None if given is None else sheet.placed(given).expression
        begin(sheet, state.expression, start, state.size)
    reverse, T = call.attributes["reverse"], x.shape[1]
    clear = _clear(sheet, call, h, c)
    sheet.emit(*_loop(sheet, call, y, T))
    sheet.emit(*([] if reverse else clear))
    at = x.part(index(["t"], [cell.I]))
    cell.step(at, h.expression, c.expression, h.expression, c.expression)
    sheet.emit(f"memcpy({y.part(index(['t'], [cell.P]))}, {h.expression}, {h.bytes});")
    sheet.emit(*(clear if reverse else []), "}")


def _loop(sheet: Sheet, call: Call, y: Value, T: int) -> list[str]:
    """The head of the loop over t: steps beyond a length are left out, their output 0."""
    end, before = str(T), []
    if "lengths" in call.inputs:
        n = f"{_whole(sheet, call.inputs['lengths']).expression}[0]"
        bounded = f"{n} > 0 ? ({n} < {T} ? (int){n} : {T}) : 0"
        before = [f"const int length = {bounded};", f"memset({y.expression}, 0, {y.bytes});"]
        end = "length"
    if call.attributes["reverse"]:
        return [*before, f"for (int t = {end} - 1; t >= 0; t--) {{"]
    return [*before, f"for (int t = 0; t < {end}; t++) {{"]


def _clear(sheet: Sheet, call: Call, h: Value, c: Value) -> list[str]:
    """Lines that forget the state where a segment begins."""
    if "resets" not in call.inputs:
        return []
    zero = [f"memset({v.expression}, 0, {v.bytes});" for v in (h, c)]
    resets = _whole(sheet, call.inputs["resets"]).expression
    return [f"if ({resets}[t] != 0) {{", *zero, "}"]


def _whole(sheet: Sheet, value: Value) -> Value:
    """A value of whole numbers, as it is."""
    return value if value.ctype == "int32_t" else sheet.placed(value)


WRITERS: dict[str, Writer] = {"lstm": lstm, "lstm_cell": lstm_cell}
