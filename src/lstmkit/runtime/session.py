"""Recurrent sessions: a state, and one step at a time.

After its first step a session's steps take no lock, and no memory but for the array that is
returned (none with `out`). A session belongs to one thread at a time; sessions of one model to any
number.
"""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.engine import NATIVE
from lstmkit.operations import Array, ProgramError
from lstmkit.program import EntryPoint
from lstmkit.runtime.model import plan_run, refused, single
from lstmkit.runtime.plan import Plan, addresses

if TYPE_CHECKING:
    from lstmkit.runtime.model import Model

MAGIC = b"LSTMSTAT"
VERSION = 1
HEADER = struct.Struct("<8sHH16sI")  # magic, version, kind, the model's fingerprint, checksum
KINDS = {"recurrent": 0, "windowed": 1}

Row = Array | Mapping[str, Array]


class _NumpyState:
    """The state where numpy runs the entry point, or a part of it; used as a context, it is one
    thread's. Raises RuntimeError where it is another's."""

    __slots__ = ("_busy", "flat")

    def __init__(self, size: int) -> None:
        self.flat, self._busy = np.zeros(size, np.float32), threading.Lock()

    def __enter__(self) -> _NumpyState:
        if not self._busy.acquire(blocking=False):
            raise RuntimeError("a session is in use by another thread, or given twice")
        return self

    def __exit__(self, *error: object) -> None:
        self._busy.release()

    def get(self) -> bytes:
        return self.flat.tobytes()

    def set(self, state: bytes) -> None:
        self.flat[:] = np.frombuffer(state, np.float32)


class Session:
    """One stream of a recurrent model; made by `Model.session`."""

    __slots__ = ("_core", "_plan", "_point", "model")

    def __init__(self, model: Model, point: EntryPoint) -> None:
        self.model, self._point = model, point
        self._plan: Plan | None = model.plan(point, {})
        native = self._plan is not None and self._plan.native
        if native and NATIVE is not None and self._plan is not None:
            machine = self._plan.machine if self._plan.simple else None
            self._core: Any = NATIVE.Core(machine, model.state_size)
        else:
            self._core = _NumpyState(model.state_size)
        self._core.set(model.initial.tobytes())

    def step(self, x: Row, out: Array | None = None) -> Any:
        """One step.

        Args:
            x: the row: an array where the entry point has one input, else arrays by name; shapes
                are those of the ports without the batch.
            out: float32 array of the only output's shape that takes the answer.

        Returns:
            The output, or outputs by name where there are several.

        Raises:
            ProgramError: x does not fit; the state is what it was.
            RuntimeError: another thread is stepping this session.
        """
        plan = self._plan
        if plan is not None and plan.simple:
            answer = self._core.step(x, out)
            if answer is not None:
                return answer
        check_out(self._point, out, ())
        found = {name: a[0] for name, a in self._along(_rows(self._point, x, 1), 1).items()}
        return _given_back(found, out)

    def run(self, xs: Row) -> Any:
        """Steps along a sequence: as `step` for each row of xs (T, ...), in one call.

        Raises:
            ProgramError: xs does not fit, and nothing is stepped; or a row has an index out of
                range, and the rows before it are.
        """
        given = _rows(self._point, xs, None)
        steps = len(next(iter(given.values())))
        return _given_back(self._along(given, steps), None)

    def _along(self, given: Mapping[str, Array], steps: int) -> dict[str, Array]:
        bound = single(self.model.program.bind(self._point, given))
        plan = self._plan
        if plan is None or not plan.native:
            with self._core:
                return self._along_numpy(bound, steps)
        arrays, results = plan.arrays(bound), plan.results(steps)
        try:
            plan.machine.step_along(self._core, steps, addresses(arrays), addresses(results))
        except ValueError as error:
            raise refused(error) from error
        return results

    def _along_numpy(self, bound: Mapping[str, Array], steps: int) -> dict[str, Array]:
        found = {
            port.name: np.empty([steps, *(int(n) for n in port.shape[1:])], np.float32)
            for port in self._point.outputs
        }
        for t in range(steps):
            row = {name: array[t : t + 1] for name, array in bound.items()}
            states = self._core.flat[None].copy()
            answer = _batch(self.model, self._point, self._plan, row, states)
            self._core.flat[:] = states[0]
            for name, array in found.items():
                array[t] = answer[name][0]
        return found

    def save(self) -> bytes:
        """The state: 32 bytes and its own size; for `restore` in any process, of any machine."""
        return packed(self.model, self._core.get())

    def restore(self, saved: bytes) -> None:
        """Go on from a `save` of the same model.

        Raises:
            ProgramError: it is damaged, or another model's.
        """
        self._core.set(unpacked(self.model, saved))

    def clone(self) -> Session:
        """Another session that goes on from here."""
        twin = Session(self.model, self._point)
        twin._core.set(self._core.get())
        return twin

    def reset(self) -> None:
        """Back to the beginning."""
        self._core.set(self.model.initial.tobytes())

    @property
    def state(self) -> dict[str, Array]:
        """The slots by name, copies without the batch."""
        flat = np.frombuffer(self._core.get(), np.float32)
        return {name: a[0] for name, a in self.model.slots(flat[None]).items()}


def step_many(sessions: Sequence[Session], xs: Row, out: Array | None = None) -> Any:
    """One step of many sessions of one model together; each gets what it would get alone, bit for
    bit.

    Args:
        sessions: each once; any may come and go from call to call.
        xs: as `Session.step` takes them, with a first axis over the sessions.
        out: float32 array (N, ...) of the only output that takes the answers.

    Raises:
        ProgramError: sessions of different models, or rows that do not fit; nothing is stepped.
        RuntimeError: a session is given twice, or another thread is stepping it.
    """
    if not sessions:
        raise ProgramError("there are no sessions to step")
    if not all(isinstance(s, Session) for s in sessions):
        raise ProgramError("only sessions of recurrent models step together")
    first = sessions[0]
    model, point, plan = first.model, first._point, first._plan
    if any(s.model is not model or s._point is not point for s in sessions):
        raise ProgramError("sessions of one call must be of one model and entry point")
    check_out(point, out, (len(sessions),))
    bound = single(model.program.bind(point, _rows(point, xs, len(sessions))))
    cores = [s._core for s in sessions]
    if plan is None or not plan.native:
        found = _many_numpy(model, point, plan, bound, cores)
    else:
        arrays, found = plan.arrays(bound), _results(plan, len(sessions), out)
        try:
            plan.machine.step_many(cores, addresses(arrays), addresses(found))
        except ValueError as error:
            raise refused(error) from error
    return _given_back(found, out)


def _many_numpy(
    model: Model, point: EntryPoint, plan: Plan | None, bound: dict[str, Array], cores: list[Any]
) -> dict[str, Array]:
    with ExitStack() as held:
        for core in cores:
            held.enter_context(core)
        states = np.stack([core.flat for core in cores])
        found = _batch(model, point, plan, bound, states)
        for core, state in zip(cores, states, strict=True):
            core.flat[:] = state
    return found


def _batch(
    model: Model, point: EntryPoint, plan: Plan | None, bound: Mapping[str, Array], states: Array
) -> dict[str, Array]:
    """Runs B samples with their states (B, S), changed in place."""
    if plan is not None:
        return plan_run(plan, bound, states)
    outputs, after = model.program.run(point.name, bound, model.slots(states))
    states[:] = model.flat(after, len(states))
    return outputs


def _results(plan: Plan, batch: int, out: Array | None) -> dict[str, Array]:
    """Where the machine writes: `out` itself where it can be written to."""
    if out is None or not out.flags.c_contiguous:
        return plan.results(batch)
    return dict.fromkeys(plan.outputs, out)


def _rows(point: EntryPoint, x: Row, count: int | None) -> dict[str, Array]:
    """Rows by name with a first axis over them: added where count is 1 and x is one row."""
    if isinstance(x, Mapping):
        given = {name: np.asarray(a) for name, a in x.items()}
    elif len(point.inputs) == 1:
        given = {point.inputs[0].name: np.asarray(x)}
    else:
        names = ", ".join(port.name for port in point.inputs)
        raise ProgramError(
            f"entry point {point.name!r} has {len(point.inputs)} inputs",
            got="one array",
            expected=f"arrays by name: {names}",
        )
    if count == 1:
        ranks = {port.name: len(port.shape) for port in point.inputs}
        given = {k: a[None] if a.ndim == ranks.get(k, 0) - 1 else a for k, a in given.items()}
    lengths = {len(a) if a.ndim else 0 for a in given.values()}
    if not given or len(lengths) != 1 or (count is not None and lengths != {count}):
        raise ProgramError(
            f"inputs of entry point {point.name!r} have different numbers of rows",
            got=", ".join(f"{k} {a.shape}" for k, a in given.items()) or "none",
            expected="one row each" if count == 1 else f"{count or 'as many'} rows each",
        )
    return given


def check_out(point: EntryPoint, out: Any, leading: tuple[int, ...]) -> None:
    """Raises ProgramError unless `out` can take the only output, (*leading, ...)."""
    if out is None:
        return
    if len(point.outputs) != 1:
        names = ", ".join(port.name for port in point.outputs)
        raise ProgramError("out is for entry points of one output", got=names)
    shape = (*leading, *point.outputs[0].shape[1:])
    good = isinstance(out, np.ndarray) and out.dtype == np.float32 and out.shape == shape
    if not good or not out.flags.writeable:
        raise ProgramError(
            "out does not fit",
            got=f"{getattr(out, 'dtype', type(out).__name__)} {getattr(out, 'shape', '')}",
            expected=f"float32 {shape}, writable",
        )


def _given_back(found: dict[str, Array], out: Array | None) -> Any:
    """What the caller gets: the only output, or all by name."""
    if len(found) != 1:
        return found
    (answer,) = found.values()
    if out is None or out is answer:
        return answer
    out[...] = answer
    return out


# --- saved states ---------------------------------------------------------------------------------


def packed(model: Model, state: bytes) -> bytes:
    """A state with what tells whose it is, and whether it is whole."""
    kind = KINDS[model.kind]
    return HEADER.pack(MAGIC, VERSION, kind, model.fingerprint, zlib.crc32(state)) + state


def unpacked(model: Model, saved: bytes, size: int | None = None) -> bytes:
    """The inverse of `packed`; `size` is how many bytes it must be, those of the slots if None.

    Raises:
        ProgramError: damaged, newer, or of another model.
    """
    saved = bytes(saved)
    if len(saved) < HEADER.size or saved[:8] != MAGIC:
        raise ProgramError("this is no saved state of lstmkit")
    _, version, kind, fingerprint, checksum = HEADER.unpack(saved[: HEADER.size])
    state = saved[HEADER.size :]
    if version > VERSION:
        raise ProgramError(
            "the state was saved by a newer lstmkit", got=f"version {version}", expected="1"
        )
    if fingerprint != model.fingerprint or kind != KINDS[model.kind]:
        raise ProgramError("the state belongs to another model")
    if len(state) != (4 * model.state_size if size is None else size) or (
        zlib.crc32(state) != checksum
    ):
        raise ProgramError("the saved state is damaged")
    return state
