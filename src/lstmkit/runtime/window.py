"""Windowed sessions: the last rows of a stream, and the program run again over all of them.

The cost of an answer is that of a whole window; `every` asks for fewer answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.operations import Array, ProgramError
from lstmkit.program import EntryPoint
from lstmkit.runtime.session import packed, unpacked

if TYPE_CHECKING:
    from lstmkit.runtime.model import Model


class WindowSession:
    """One stream of a windowed model; made by `Model.session`.

    Inputs whose second axis is the window are fed row by row, and begin as 0, as if nothing had
    been seen; others are given whole at each step.
    """

    def __init__(self, model: Model, point: EntryPoint, every: int = 1) -> None:
        if every < 1:
            raise ProgramError("every must be 1 or more", got=str(every))
        window = model.program.window
        self.model, self.every, self.seen = model, every, 0
        self._point = point
        self._rings: dict[str, Array] = {
            port.name: np.zeros([int(n) for n in port.shape[1:]], port.dtype)
            for port in point.inputs
            if port.shape[1:2] == (window,)
        }
        if not self._rings:
            raise ProgramError(
                f"entry point {point.name!r} has no input over the window of {window} rows"
            )

    def step(self, x: Array | Mapping[str, Array]) -> Any:
        """One row: moves the window on, and answers, each `every` rows; None between.

        Args:
            x: the row: an array where the entry point has one input, else by name: a row without
                the window's axis, or the whole of what is not over the window.

        Raises:
            ProgramError: x does not fit; the window is what it was.
        """
        rows = self._rows(x)
        windows = {name: np.concatenate([r[1:], rows[name]]) for name, r in self._rings.items()}
        answer, due = None, (self.seen + 1) % self.every == 0
        if due:
            given = {name: a[None] for name, a in (rows | windows).items()}
            outputs, _ = self.model.run(self._point.name, given)
            found = {name: a[0] for name, a in outputs.items()}
            answer = next(iter(found.values())) if len(found) == 1 else found
        for name, window in windows.items():
            self._rings[name][...] = window
        self.seen += 1
        return answer

    def run(self, xs: Array | Mapping[str, Array]) -> list[Any]:
        """`step` for each row of xs (T, ...): the answers, without those left out."""
        by_name = xs if isinstance(xs, Mapping) else {self._point.inputs[0].name: xs}
        steps = {len(a) for a in by_name.values()}
        if len(steps) != 1:
            raise ProgramError("inputs have different numbers of rows", got=str(sorted(steps)))
        found = [self.step({k: a[t] for k, a in by_name.items()}) for t in range(steps.pop())]
        return [answer for answer in found if answer is not None]

    def _rows(self, x: Array | Mapping[str, Array]) -> dict[str, Array]:
        """Rows by name, (1, ...) for what is over the window."""
        names = [port.name for port in self._point.inputs]
        given = dict(x) if isinstance(x, Mapping) else {names[0]: x}
        if set(given) != set(names):
            raise ProgramError(
                f"entry point {self._point.name!r} takes other inputs",
                got=", ".join(given),
                expected=", ".join(names),
            )
        rows = {}
        for port in self._point.inputs:
            shape = port.shape[2:] if port.name in self._rings else port.shape[1:]
            array = np.asarray(given[port.name])
            same_kind = np.can_cast(array.dtype, port.dtype, "same_kind")
            if array.shape != tuple(shape) or not same_kind:
                raise ProgramError(
                    f"input {port.name!r} does not fit",
                    got=f"{array.dtype} {array.shape}",
                    expected=f"{port.dtype} {shape}",
                )
            array = array.astype(port.dtype, copy=False)
            rows[port.name] = array[None] if port.name in self._rings else array
        return rows

    def save(self) -> bytes:
        """The window: a header and its rows; for `restore`."""
        seen = np.array([self.seen, self.every], np.int64).tobytes()
        return packed(self.model, seen + b"".join(r.tobytes() for r in self._rings.values()))

    def restore(self, saved: bytes) -> None:
        """Go on from a `save` of the same model.

        Raises:
            ProgramError: it is damaged, or another model's.
        """
        size = 16 + sum(r.nbytes for r in self._rings.values())
        state = unpacked(self.model, saved, size)
        self.seen, self.every = (int(n) for n in np.frombuffer(state[:16], np.int64))
        at = 16
        for ring in self._rings.values():
            ring[...] = np.frombuffer(state[at : at + ring.nbytes], ring.dtype).reshape(ring.shape)
            at += ring.nbytes

    def clone(self) -> WindowSession:
        """Another session that goes on from here."""
        twin = WindowSession(self.model, self._point, self.every)
        twin.seen = self.seen
        for name, ring in self._rings.items():
            twin._rings[name][...] = ring
        return twin
