"""Changing what an LSTM computes while it runs: clamp or ablate units and gates, edit the cell.

    with intervene(network, clamp("lstm.0.forget_gate", 1.0, units=[3]), ablate("lstm.1", [7])):
        changed = network(x)

The layers concerned run on the equations in Python while it is open (every step and variant, in
training and evaluation), all others as ever.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lstmkit.errors import UserError
from lstmkit.inspection.modules import recurrent
from lstmkit.inspection.record import FIELDS, layer_name

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lstmkit.kernels.contract import CellOptions

QUANTITIES = FIELDS[:5]  # what may be changed; an unchanged output gate shows an edited cell
GRAMMAR = re.compile(
    r"(?P<target>[\w.]+?)(\[(?P<units>[\d,-]+)\])?(@(?P<steps>[\d-]+))?(=(?P<value>\S+))?"
)


@dataclass(frozen=True)
class Intervention:
    """One change.

    Attributes:
        layer: as recordings name it, `lstm.0`, `encoder.1.reverse`.
        quantity: input_gate, forget_gate, output_gate, candidate or cell.
        value: what it becomes.
        units: which units; None is all.
        steps: [first, last) steps in input time; None is all.
    """

    layer: str
    quantity: str
    value: float
    units: tuple[int, ...] | None = None
    steps: tuple[int, int] | None = None

    def __str__(self) -> str:
        units = "" if self.units is None else f"[{','.join(map(str, self.units))}]"
        ends = "" if self.steps is None else sorted({self.steps[0], self.steps[1] - 1})
        steps = f"@{'-'.join(map(str, ends))}" if ends else ""
        return f"{self.layer}.{self.quantity}{units}{steps}={self.value:g}"

    def __post_init__(self) -> None:
        """Raises UserError for what cannot be."""
        if self.quantity not in QUANTITIES:
            raise UserError(
                f"an LSTM has no {self.quantity!r} to change",
                expected=f"one of {', '.join(QUANTITIES)}",
            )
        if self.quantity.endswith("_gate") and not 0 <= self.value <= 1:
            raise UserError(f"a gate is between 0 and 1, not {self.value:g}")
        if self.quantity == "candidate" and not -1 <= self.value <= 1:
            raise UserError(f"a candidate is between -1 and 1, not {self.value:g}")

    def at(self, t: int) -> bool:
        """Whether it concerns step t."""
        return self.steps is None or self.steps[0] <= t < self.steps[1]

    def apply(self, value: Tensor) -> Tensor:
        """`value` (N, H) of the quantity with the units changed."""
        changed = value.clone()
        changed[:, slice(None) if self.units is None else list(self.units)] = self.value
        return changed


def clamp(
    target: str,
    value: float,
    units: Sequence[int] | None = None,
    steps: tuple[int, int] | None = None,
) -> Intervention:
    """Hold a quantity, `lstm.0.forget_gate`, at a value, for some units and steps or for all."""
    layer, _, quantity = target.rpartition(".")
    return Intervention(
        layer, quantity, float(value), None if units is None else tuple(units), steps
    )


def ablate(layer: str, units: Sequence[int] | None = None) -> Intervention:
    """Take units out: their output gate stays shut, so that nothing reads what they hold."""
    return clamp(f"{layer}.output_gate", 0.0, units)


def edit_cell(
    layer: str, step: int, value: float, units: Sequence[int] | None = None
) -> Intervention:
    """Write a value into the cell state at one step; it goes on from there."""
    return clamp(f"{layer}.cell", value, units, (step, step + 1))


def parse(text: str, kind: str) -> Intervention:
    """An intervention as the command line spells it.

    `clamp`: `lstm.0.forget_gate[3,5-7]=1`, with `@10-20` before `=` for steps 10 to 20; `edit`:
    `lstm.0.cell[3]@12=0.5`; `ablate`: `lstm.0[3,5]`. Without brackets all units.

    Raises:
        UserError: it cannot be read.
    """
    example = {
        "clamp": "lstm.0.forget_gate[3,5-7]@10-20=1",
        "edit": "lstm.0.cell[3]@12=0.5",
        "ablate": "lstm.0[3,5]",
    }[kind]
    found = GRAMMAR.fullmatch(text.replace(" ", ""))
    wrong = UserError(f"cannot read the {kind} {text!r}", expected=example)
    if found is None:
        raise wrong
    units = None if found["units"] is None else numbers(found["units"])
    if kind == "ablate":
        if found["value"] or found["steps"]:
            raise wrong
        return ablate(found["target"], units)
    steps = None if found["steps"] is None else numbers(found["steps"])
    try:
        value = float(found["value"])
    except (TypeError, ValueError):
        raise wrong from None
    target: str = found["target"]
    if kind == "edit":
        if not steps or len(steps) != 1 or not target.endswith(".cell"):
            raise wrong
        return edit_cell(target.removesuffix(".cell"), steps[0], value, units)
    return clamp(target, value, units, None if steps is None else (min(steps), max(steps) + 1))


def numbers(text: str) -> list[int]:
    """`3,5-7` as [3, 5, 6, 7].

    Raises:
        UserError: it is no such list.
    """
    found: list[int] = []
    for part in text.split(","):
        ends = part.split("-")
        if not all(end.isdigit() for end in ends) or len(ends) > 2 or int(ends[0]) > int(ends[-1]):
            raise UserError(f"cannot read the numbers {text!r}", expected="such as 3,5-7")
        found += range(int(ends[0]), int(ends[-1]) + 1)
    return found


@contextmanager
def intervene(module: nn.Module, *interventions: Intervention) -> Iterator[None]:
    """While it is open, every call of `module` computes with these changes.

    Raises:
        UserError: a layer or unit that is not there; at the end, a step that never came.
    """
    chosen = _by_module(module, interventions)
    before = {layer: layer.steer for layer in chosen}
    handles = []
    try:
        for layer, steering in chosen.items():
            layer.steer = steering
            if steering.is_cell:
                handles.append(layer.register_forward_hook(steering.count))
        handles.append(module.register_forward_pre_hook(lambda *_: _rewind(chosen.values())))
        yield
        _check_all_happened(chosen.values())
    finally:
        for layer, old in before.items():
            layer.steer = old
        for handle in handles:
            handle.remove()


@dataclass
class Steering:
    """What a layer's `steer` calls: the interventions of one module, by layer and direction."""

    parts: dict[tuple[int, bool], list[Intervention]]
    is_cell: bool
    at: int = 0  # calls of a cell so far in this forward pass
    last: int = -1  # the latest step that was seen
    happened: set[Intervention] = field(default_factory=set)

    def __call__(self, options: CellOptions, t: int, quantity: str, value: Tensor) -> Tensor:
        t = self.at if self.is_cell else t
        self.last = max(self.last, t)
        for one in self.parts.get((options.layer, options.reverse), ()):
            if one.quantity == quantity and one.at(t):
                value = one.apply(value)
                self.happened.add(one)
        return value

    def count(self, *_: Any) -> None:
        """A step of a cell is over."""
        self.at += 1


def _rewind(steerings: Any) -> None:
    for steering in steerings:
        steering.at = 0


def _check_all_happened(steerings: Any) -> None:
    """Raise UserError where sequences ran and ended before an intervention's steps."""
    for steering in steerings:
        for one in (one for part in steering.parts.values() for one in part):
            if steering.last >= 0 and one not in steering.happened:
                raise UserError(
                    f"{one} never happened", expected=f"steps from 0 to {steering.last}"
                )


def _by_module(module: nn.Module, interventions: Sequence[Intervention]) -> dict[Any, Steering]:
    places = {
        layer_name(name, *place): (part, is_cell, place)
        for name, part, is_cell in recurrent(module)
        for place in ([(0, False)] if is_cell else part.directions())
    }
    found: dict[Any, Steering] = {}
    for one in interventions:
        if one.layer not in places:
            raise UserError(
                f"there is no layer {one.layer!r} to change", expected=f"one of {', '.join(places)}"
            )
        part, is_cell, place = places[one.layer]
        wrong = [u for u in one.units or () if not 0 <= u < part.hidden_size]
        if wrong:
            raise UserError(
                f"{one.layer} has no unit {wrong[0]}", expected=f"0 to {part.hidden_size - 1}"
            )
        found.setdefault(part, Steering({}, is_cell)).parts.setdefault(place, []).append(one)
    return found
