"""Does an ONNX model compute what its program says? Asked of onnxruntime, before it is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lstmkit.errors import UserError, require
from lstmkit.export.onnx.model import chosen, interface, to_onnx
from lstmkit.export.onnx.random_inputs import drawn
from lstmkit.lowprecision import lower
from lstmkit.modelfile import Name, atomic_write
from lstmkit.operations import Array, Arrays
from lstmkit.program import EntryPoint, Port, Program

if TYPE_CHECKING:
    import onnx

TOLERANCE = 1e-5
ROUNDINGS = 16
LOOSEST = 1e-3
BATCH = 3
STEPS = (7, 11)  # of two calls, the second from the state that the first left


class Agreement(NamedTuple):
    """What `verify` found, largest of all outputs and new states, scaled by max(1, |y|)."""

    difference: float  # between model and program
    batch: int
    steps: tuple[int, ...]
    rounding: float  # between the program in float32 and in float64


def verify(
    model: onnx.ModelProto, program: Program, entry: str | None = None, seed: int = 0
) -> Agreement:
    """Runs the model in onnxruntime beside `Program.run` on random inputs and state: twice, at
    other lengths, the second time from the state that the first left.

    They may differ by TOLERANCE, or where the program itself is so sensitive that its own rounding
    is larger (layer normalisation of small states is), by ROUNDINGS times that, never by more than
    LOOSEST. Matrices of low precision count as the float32 values that they stand for, as in
    `to_onnx`.

    Raises:
        UserError: they differ by more, or inputs, outputs or their symbols differ.
        ProgramError: no such entry point.
        MissingExtra: onnx or onnxruntime is not installed.
    """
    program = lower(program, "float32")
    point = chosen(program, entry)
    inputs, outputs = interface(program, point)
    _check_ports(model.graph.input, inputs, "input")
    _check_ports(model.graph.output, outputs, "output")
    random = np.random.default_rng(seed)
    slots = [port for port in inputs if port not in point.inputs]
    batch = BATCH if point.inputs else 1  # which Program.run takes where nothing else says it
    state = drawn(random, program, point, slots, batch, STEPS[0])
    calls = [drawn(random, program, point, point.inputs, batch, steps) for steps in STEPS]
    got = _onnx_runs(model, [port.name for port in outputs], calls, state)
    expected = _program_runs(program, point, calls, state)
    exact = _program_runs(program, point, _doubled(calls), _doubled([state])[0])
    rounding = max(_gap(expected[k], exact[k]).max(initial=0) for k in got)
    difference = _largest(got, expected, max(TOLERANCE, min(ROUNDINGS * rounding, LOOSEST)))
    return Agreement(difference, batch, STEPS, float(rounding))


def write(program: Program, path: Name, entry: str | None = None) -> Agreement:
    """Writes an entry point as an ONNX file, once `verify` has found that it agrees.

    Raises:
        UserError: it does not agree, or the file cannot be written; an old file is untouched.
        ProgramError: see `to_onnx`.
        MissingExtra: onnx or onnxruntime is not installed.
    """
    model = to_onnx(program, entry)
    agreement = verify(model, program, entry)
    with atomic_write(path) as file:
        file.write(model.SerializeToString())
    return agreement


# --- what the model says of itself ----------------------------------------------------------------


def _check_ports(found: Any, wanted: list[Port], what: str) -> None:
    """Names, types and shapes with their symbols."""
    helper = require("onnx.helper", "export")
    got = {v.name: _described(_dims(v), _dtype(helper, v)) for v in found}
    expected = {p.name: _described(p.shape, p.dtype) for p in wanted}
    for name in sorted({*got, *expected}):
        if got.get(name) != expected.get(name):
            raise UserError(
                f"{what} {name!r} of the ONNX model is not the program's",
                got=got.get(name, "none"),
                expected=expected.get(name, "none"),
                hint="export it again: to_onnx keeps the symbols of batch and steps",
            )


def _described(shape: Iterable[int | str], dtype: str) -> str:
    return f"{dtype} ({', '.join(map(str, shape))})"


def _dims(value: Any) -> Iterator[int | str]:
    for dim in value.type.tensor_type.shape.dim:
        yield dim.dim_param or dim.dim_value


def _dtype(helper: Any, value: Any) -> str:
    return str(helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))


def _session(runtime: Any, model: onnx.ModelProto) -> Any:
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = 1
    given = {"sess_options": options, "providers": ["CPUExecutionProvider"]}
    return runtime.InferenceSession(model.SerializeToString(), **given)


# --- the comparison -------------------------------------------------------------------------------


# Outputs of several calls are in one mapping, by (call, output).
Results = dict[tuple[int, str], Array]


def _onnx_runs(
    model: onnx.ModelProto, names: list[str], calls: list[Arrays], state: Arrays
) -> Results:
    found: Results = {}
    runtime = require("onnxruntime", "export")
    try:
        session = _session(runtime, model)
        for k, given in enumerate(calls):
            results = dict(zip(names, session.run(names, given | state), strict=True))
            found |= {(k, name): value for name, value in results.items()}
            state = {name: results[f"{name}_out"] for name in state}
    except Exception as error:  # onnxruntime's own have no common class
        raise UserError("onnxruntime does not run this model", got=str(error)) from error
    return found


def _program_runs(
    program: Program, point: EntryPoint, calls: list[Arrays], state: Arrays
) -> Results:
    found: Results = {}
    batch = len(next(iter({**state, **calls[0]}.values())))
    carried = program.initial_state(batch) | state
    for k, given in enumerate(calls):
        outputs, carried = program.run(point.name, given, carried)
        outputs |= {f"{name}_out": value for name, value in carried.items()}
        found |= {(k, name): value for name, value in outputs.items()}
    return found


def _doubled(calls: list[Arrays]) -> list[Arrays]:
    """Numbers in float64."""

    def doubled(array: Array) -> Array:
        return array.astype(np.float64) if array.dtype == np.float32 else array

    return [{name: doubled(array) for name, array in given.items()} for given in calls]


def _largest(got: Results, expected: Results, tolerance: float) -> float:
    """The largest scaled difference; UserError above the tolerance."""
    worst = 0.0
    for (k, name), found in got.items():
        wanted = expected[k, name]
        gap = _gap(found, wanted)
        if gap.max(initial=0) > tolerance:
            place = np.unravel_index(gap.argmax(), gap.shape)
            raise UserError(
                f"output {name!r} of the ONNX model is not what the program computes",
                got=f"{found[place]} at {tuple(map(int, place))}, off by {gap.max():.3g}",
                expected=f"{wanted[place]}, within {tolerance:.3g} of max(1, |y|)",
            )
        worst = max(worst, float(gap.max(initial=0)))
    return worst


def _gap(got: Array, wanted: Array) -> Array:
    """|got - wanted| / max(1, |wanted|); 0 where both are the same infinity or no number."""
    a, b = got.astype(np.float64), wanted.astype(np.float64)
    with np.errstate(invalid="ignore"):
        gap = np.abs(a - b) / np.maximum(1, np.abs(b))
    gap = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0, gap)
    return np.where(np.isnan(gap), np.inf, gap)
