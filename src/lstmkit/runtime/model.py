"""A program that is ready to run: its entry points planned once, shared by all sessions."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from lstmkit.operations import Array, Arrays, ProgramError
from lstmkit.program import EntryPoint, Program
from lstmkit.runtime.plan import Plan, Sizes, Unplanned, state_size

if TYPE_CHECKING:
    from lstmkit.runtime.session import Session
    from lstmkit.runtime.window import WindowSession

MOST_PLANS = 32  # lengths of sequences that are kept ready


def load(source: str | os.PathLike[str] | Program) -> Model:
    """A model file, or a program in memory, made ready.

    Raises:
        ModelFileError: the file is missing, damaged, foreign or newer.
        ProgramError: the program is not well formed.
    """
    if isinstance(source, Program):
        source.validate()
        return Model(source)
    from lstmkit import modelfile

    return Model(modelfile.load(source).program)


class Model:
    """Any number of threads may run one model.

    Attributes:
        program: what it runs. `kind`, "recurrent" or "windowed", is the program's.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.kind = program.kind
        self.state_size = state_size(program)
        self._plans: dict[tuple[str, Sizes], Plan | None] = {}  # replaced, never changed
        self._packed: dict[object, object] = {}  # weights that all plans share
        self._planning = threading.Lock()

    def run(
        self, entry: str, inputs: Mapping[str, Array], state: Mapping[str, Array] | None = None
    ) -> tuple[Arrays, Arrays]:
        """Runs an entry point for a whole batch, in float32: as `Program.run`, natively.

        Args:
            entry: its name.
            inputs: one array a port, batch first.
            state: slots, (B, ...); the initial state if left out.

        Returns:
            The outputs by name, and the whole new state. Nothing given is changed.

        Raises:
            ProgramError: inputs that are missing, unknown or do not fit their ports; an index or a
                length out of range.
        """
        point = self.program.entry(entry)
        given = single(self.program.bind(point, inputs))
        batch = len(next(iter(given.values()))) if given else 1
        plan = self.plan(point, given)
        if plan is None:
            return self.program.run(entry, given, None if state is None else single(state))
        states = self.flat(state, batch)
        return plan_run(plan, given, states), self.slots(states)

    def session(self, entry: str | None = None, *, every: int = 1) -> Session | WindowSession:
        """A stream at its beginning: of the entry point `step`, the only one, or the one named.

        Args:
            entry: its name.
            every: of a windowed program: answer only each so many rows.

        Raises:
            ProgramError: no such entry point, or one that takes whole sequences.
        """
        from lstmkit.runtime.session import Session
        from lstmkit.runtime.window import WindowSession

        if self.kind == "windowed":
            return WindowSession(self, self.point(entry), every)
        if every != 1:
            raise ProgramError("a recurrent model answers each step", got=f"every={every}")
        return Session(self, self.point(entry))

    def point(self, entry: str | None) -> EntryPoint:
        """The entry point that a session steps; see `session`."""
        names = list(self.program.entries)
        if entry is None:
            entry = names[0] if len(names) == 1 else "step"
        point = self.program.entry(entry)
        long = [p.name for p in point.inputs if any(isinstance(n, str) for n in p.shape[1:])]
        if long:
            raise ProgramError(
                f"entry point {entry!r} takes whole sequences and cannot be stepped",
                got=f"input {long[0]!r}",
                hint=f"Model.run({entry!r}, ...) runs it",
            )
        return point

    def plan(self, point: EntryPoint, given: Mapping[str, Array]) -> Plan | None:
        """What runs these inputs natively; None where numpy has to."""
        key = (point.name, sizes(point, given))
        plans = self._plans
        if key in plans:
            return plans[key]
        with self._planning:
            found = self._planned(point, key[1])
            self._plans = {**dict(list(self._plans.items())[1 - MOST_PLANS :]), key: found}
        return found

    def _planned(self, point: EntryPoint, found: Sizes) -> Plan | None:
        try:
            return Plan(self.program, point, found, self._packed)
        except Unplanned:
            return None

    # --- states

    @cached_property
    def fingerprint(self) -> bytes:
        """16 bytes that tell this model's states from those of others."""
        return bytes.fromhex(self.program.fingerprint())

    @cached_property
    def initial(self) -> Array:
        """The state of a session that has seen nothing, (S,) float32."""
        return self.flat(None, 1)[0]

    def flat(self, state: Mapping[str, Array] | None, batch: int) -> Array:
        """Slots (B, ...) side by side: (B, S) float32, new memory."""
        if state is None:
            state = self.program.initial_state(batch)
        self.program.check_state(state, batch)
        parts = [
            np.asarray(state[name], np.float32).reshape(batch, -1) for name in self.program.slots
        ]
        return np.concatenate(parts, 1) if parts else np.empty((batch, 0), np.float32)

    def slots(self, states: Array) -> Arrays:
        """The inverse of `flat`: slots by name, copies in their own types."""
        found, at = {}, 0
        for slot in self.program.slots.values():
            size = math.prod(slot.shape)
            part = states[:, at : at + size].reshape(len(states), *slot.shape)
            found[slot.name] = part.astype(slot.dtype)
            at += size
        return found


def plan_run(plan: Plan, given: Mapping[str, Array], states: Array) -> Arrays:
    """`Plan.run`, with what the engine refuses said as ProgramError."""
    try:
        return plan.run(given, states)
    except ValueError as error:
        raise refused(error) from error


def refused(error: ValueError) -> ProgramError:
    """What the engine says of inputs that it cannot run."""
    return error if isinstance(error, ProgramError) else ProgramError(str(error))


def single(arrays: Mapping[str, Array]) -> Arrays:
    """The same in float32 where they are in float64."""
    return {
        name: np.asarray(a, np.float32) if np.asarray(a).dtype == np.float64 else np.asarray(a)
        for name, a in arrays.items()
    }


def sizes(point: EntryPoint, given: Mapping[str, Array]) -> Sizes:
    """What the symbols but "B" stand for in these inputs."""
    found = {
        dim: given[port.name].shape[k]
        for port in point.inputs
        for k, dim in enumerate(port.shape)
        if isinstance(dim, str) and dim != "B"
    }
    return tuple(sorted(found.items()))
