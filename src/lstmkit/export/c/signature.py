"""What the generated function takes and carries, and the C text that declares it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from lstmkit.export.c.layout import Memory
from lstmkit.export.c.text import indented, number


@dataclass(frozen=True)
class Parameter:
    """A port or slot in C: its shape for batch 1, and of a port the macro that holds its size."""

    name: str
    identifier: str
    shape: tuple[int, ...]
    ctype: str
    macro: str = ""
    initial: float = 0.0

    @property
    def size(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)


@dataclass
class Signature:
    """Of `name_step`: state if there are slots, working memory if the caller gives it, ports."""

    name: str
    slots: list[Parameter] = field(default_factory=list)
    inputs: list[Parameter] = field(default_factory=list)
    outputs: list[Parameter] = field(default_factory=list)
    work: Sequence[Memory] = ()

    def parameters(self) -> str:
        """As a function declares them."""
        found = [f"{self.name}_state *state"] if self.slots else []
        found += [f"{self.name}_work *work"] if self.work else []
        found += [f"const {p.ctype} *{p.identifier}" for p in self.inputs]
        found += [f"{p.ctype} *{p.identifier}" for p in self.outputs]
        return ", ".join(found) or "void"

    def arguments(self) -> str:
        """As a caller gives them who has variables of the same names."""
        found = ["&state"] if self.slots else []
        found += ["&work"] if self.work else []
        return ", ".join(found + [p.identifier for p in (*self.inputs, *self.outputs)])

    def macros(self) -> str:
        """The size of every port."""
        ports = [*self.inputs, *self.outputs]
        return "".join(f"#define {p.macro} {p.size}\n" for p in ports)

    def types(self) -> str:
        """The structures of state and working memory."""
        state = [f"{s.ctype} {s.identifier}[{s.size}];" for s in self.slots]
        work = [f"{m.ctype} {m.name}[{m.size}];" for m in self.work]
        found = [
            indented(["typedef struct {", *fields, f"}} {self.name}_{kind};"])
            for kind, fields in (("state", state), ("work", work))
            if fields
        ]
        return "\n".join(found)

    def init(self) -> str:
        """The function that sets every slot to its first value."""
        if not self.slots:
            return ""
        lines = [f"static inline void {self.name}_init({self.name}_state *state) {{"]
        for s in self.slots:
            value = number(s.initial) if s.ctype == "float" else str(int(s.initial))
            lines += [f"for (int i = 0; i < {s.size}; i++) {{"]
            lines += [f"state->{s.identifier}[i] = {value};", "}"]
        return indented([*lines, "}"])

    def step(self, local: Sequence[Memory], lines: Sequence[str]) -> str:
        """The function itself, with its working memory where that is local."""
        head = f"static inline void {self.name}_step({self.parameters()}) {{"
        arrays = [f"{m.ctype} {m.name}[{m.size}];" for m in local]
        return indented([head, *arrays, *lines, "}"])
