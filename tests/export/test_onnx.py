"""ONNX models beside `Program.run`: every operation, every variant, streams, and refusals."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lstmkit
from lstmkit.errors import MissingExtra, UserError
from lstmkit.export.onnx import TOLERANCE, agreement, to_onnx, verify, write
from lstmkit.export.onnx.random_inputs import drawn as drawn_of
from lstmkit.export.onnx.writers import WRITERS
from lstmkit.lowprecision import lower
from lstmkit.operations import OPERATIONS, ProgramError
from lstmkit.program import Builder, Program
from lstmkit.tasks.forecast import features
from lstmkit.tasks.forecast.network import ForecastNetwork, Sizes
from lstmkit.tasks.forecast.network import program as forecasting

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

RANDOM = np.random.default_rng(0)
Arrays = dict[str, np.ndarray]


def normal(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def outcome(model: Any, inputs: Arrays) -> Arrays:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    given = {"sess_options": options, "providers": ["CPUExecutionProvider"]}
    session = onnxruntime.InferenceSession(model.SerializeToString(), **given)
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def close(got: np.ndarray, expected: np.ndarray, tolerance: float = TOLERANCE) -> None:
    assert got.shape == expected.shape
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(got[~finite], expected[~finite])
    gap = np.abs(got[finite] - expected[finite]) / np.maximum(1, np.abs(expected[finite]))
    assert gap.max(initial=0) <= tolerance


def agrees(program: Program, model: Any, entry: str, inputs: Arrays, state: Arrays) -> Arrays:
    """The model's outputs, which are the program's, new state included; as far as `verify` lets
    them differ where the program's own rounding is larger, as that of normalised layers is."""
    got = outcome(model, inputs | state)
    expected, carried = program.run(entry, inputs, state)
    expected |= {f"{name}_out": value for name, value in carried.items()}
    assert set(got) == set(expected)
    exact, after = program.run(entry, doubled(inputs), doubled(state))
    exact |= {f"{name}_out": value for name, value in after.items()}
    for name, value in expected.items():
        with np.errstate(invalid="ignore"):  # of what is infinite
            rounding = np.abs(value - exact[name]) / np.maximum(1, np.abs(value))
        allowed = agreement.ROUNDINGS * np.nan_to_num(rounding, posinf=0).max(initial=0)
        close(got[name], value, max(TOLERANCE, min(allowed, agreement.LOOSEST)))
    return got


def doubled(arrays: Arrays) -> Arrays:
    return {k: a.astype(np.float64) if a.dtype == np.float32 else a for k, a in arrays.items()}


def kinds(model: Any) -> list[str]:
    return [node.op_type for node in model.graph.node]


def dims(value: Any) -> list[int | str]:
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


# --- operations -----------------------------------------------------------------------------------

ONE, TWO = ("B", "T", 6), {"x": ("B", "T", 6), "y": ("B", 1, 6)}
LONG = ("B", 8)
# A tuple is the shape of a port, an array is a weight.
CASES: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = {
    **{k: [({"x": ONE}, {})] for k in ("tanh", "sigmoid", "relu", "softplus", "exp", "abs")},
    **{k: [(TWO, {})] for k in ("add", "subtract", "multiply", "divide", "maximum", "minimum")},
    "sqrt": [({"x": ONE}, {})],  # the root of a negative number is none, in both
    "affine": [({"x": ONE}, {"scale": -3.0, "shift": 0.5}), ({"x": ONE}, {})],
    "linear": [
        ({"x": ONE, "weight": normal(5, 6), "bias": normal(5)}, {}),
        ({"x": ("B", 6), "weight": normal(5, 6)}, {}),
    ],
    "embedding": [({"indices": ("B", "T"), "weight": normal(5, 6)}, {})],
    "layer_norm": [
        ({"x": ONE, "weight": normal(6), "bias": normal(6)}, {}),
        ({"x": ONE}, {"eps": 0.1}),
    ],
    "instance_norm": [({"x": LONG, "mask": LONG}, {"eps": 0.1})],
    "softmax": [({"x": ONE}, {}), ({"x": ONE}, {"axis": 1})],
    "log_softmax": [({"x": ONE}, {}), ({"x": ONE}, {"axis": 1})],
    "concat": [({"x0": ("B", 2, 6), "x1": ("B", 3, 6)}, {"axis": 1}), ({"x0": ONE}, {})],
    "reshape": [
        ({"x": ONE}, {"shape": [0, 0, -1, 3]}),
        ({"x": ("B", 4, 6)}, {"shape": [0, 3, -1]}),
        ({"x": ("B", 4, 6)}, {"shape": [0, 24]}),
    ],
    "transpose": [({"x": ("B", "T", 4, 6)}, {"axes": [0, 3, 1, 2]})],
    "slice": [
        ({"x": ONE}, {"axis": -1, "start": 2, "stop": 5}),
        ({"x": ONE}, {"axis": 2, "stop": 6}),
    ],
    "take": [({"x": ("B", 4, "T")}, {"axis": 1, "indices": [3, 0, 0]})],
    "sum": [({"x": ONE}, {"axis": 1, "keepdims": True}), ({"x": ONE}, {})],
    "mean": [({"x": ONE}, {"axis": 1, "keepdims": True}), ({"x": ONE}, {})],
    "sort": [({"x": ONE}, {}), ({"x": ("B", 5, "T")}, {"axis": 1}), ({"x": ONE}, {"axis": 1})],
    "where": [({"condition": ("B", 1, 6), "x": ONE, "y": ("B", "T", 1)}, {})],
}  # fmt: skip
TYPES = {"indices": "int64", "lengths": "int64", "resets": "bool"}


def one_operation(kind: str, inputs: dict[str, Any], attributes: dict[str, Any]) -> Program:
    b, schema = Builder("recurrent"), OPERATIONS[kind]
    values = {
        role: b.weight(role, given)
        if isinstance(given, np.ndarray)
        else b.input(role, given, TYPES.get(role, "float32"))
        for role, given in inputs.items()
    }
    given = {role: getattr(v, "shape", v) for role, v in inputs.items()}
    defaults = {name: a.default for name, a in schema.attributes.items()}
    shapes = schema.shapes(given, defaults | attributes)
    if schema.variadic:
        made = b.op(kind, *values.values(), **attributes)
    else:
        made = b.op(kind, **values, **attributes)
    for role, name in zip(schema.outputs, made if isinstance(made, tuple) else [made], strict=True):
        b.output(f"{role}_made", name, shapes[role])
    b.entry("sequence")
    return b.build()


def drawn(program: Program, B: int, T: int) -> Arrays:
    inputs = {}
    for port in program.entry("sequence").inputs:
        shape = [{"B": B, "T": T}.get(n, n) for n in port.shape]
        array = 3 * RANDOM.standard_normal(shape)
        if port.name in ("indices", "lengths"):
            array = RANDOM.integers(0, 5, shape)
        elif port.name in ("mask", "condition", "resets"):
            array = RANDOM.random(shape) < 0.6
        inputs[port.name] = array.astype(port.dtype)
    return inputs


def test_every_operation_has_a_writer_and_a_test() -> None:
    assert set(WRITERS) == set(OPERATIONS)
    assert set(OPERATIONS) == set(CASES) | {"lstm", "lstm_cell"}


@pytest.mark.parametrize("kind", CASES)
def test_operation_equals_its_reference(kind: str) -> None:
    for inputs, attributes in CASES[kind]:
        program = one_operation(kind, inputs, attributes)
        model = to_onnx(program)
        for B, T in ((1, 4), (5, 9)):
            agrees(program, model, "sequence", drawn(program, B, T), {})


def test_instance_norm_reads_nothing_that_is_not_observed() -> None:
    program = one_operation("instance_norm", *CASES["instance_norm"][0])
    mask = np.array([[1, 1, 0, 1, 0.5, 0, 1, 1], [0] * 8], np.float32)
    x = np.where(mask, normal(2, 8), np.nan).astype(np.float32)
    got = agrees(program, to_onnx(program), "sequence", {"x": x, "mask": mask}, {})
    assert all(np.isfinite(value).all() for value in got.values())


@pytest.mark.parametrize("kind", ["maximum", "relu", "sort", "softplus", "where", "sigmoid"])
def test_what_is_no_number_stays_as_in_the_reference(kind: str) -> None:
    inputs, attributes = CASES[kind][0]
    program = one_operation(kind, inputs, attributes)
    given = drawn(program, 2, 4)
    for name, places in zip(given, ([1, 3], [0, 3], [2, 5]), strict=False):
        given[name][..., places[0] % given[name].shape[-1]] = np.nan
        given[name][0, ..., places[1] % given[name].shape[-1]] = -np.inf
    agrees(program, to_onnx(program), "sequence", given, {})


# --- the LSTM operation ---------------------------------------------------------------------------

I, H = 3, 5  # widths
LSTMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "without bias": {"bias": False},
    "coupled": {"coupled": True},
    "peephole": {"peephole": True},
    "coupled peephole": {"coupled": True, "peephole": True, "bias": False},
    "projection": {"P": 2},
    "norm": {"norm": True},
    "zoneout h": {"zoneout_h": 0.2},
    "zoneout c": {"zoneout_c": 0.3, "coupled": True},
    "all": {"P": 2, "norm": True, "peephole": True, "zoneout_h": 0.1, "zoneout_c": 0.2},
    "all coupled": {"P": 2, "norm": True, "peephole": True, "coupled": True, "zoneout_c": 0.2},
}
OPERATOR = {"plain", "without bias", "coupled", "peephole", "coupled peephole"}


def weights(
    coupled: bool = False,
    bias: bool = True,
    peephole: bool = False,
    norm: bool = False,
    P: int = H,
    **_: float,
) -> Arrays:
    G = 3 if coupled else 4
    found = {"weight_ih": normal(G * H, I), "weight_hh": normal(G * H, P)}
    found |= {"bias_ih": normal(G * H), "bias_hh": normal(G * H)} if bias else {}
    found |= {"weight_peephole": normal(G - 1, H)} if peephole else {}
    found |= {"weight_hr": normal(P, H)} if P != H else {}
    if norm:  # small gains: with larger ones rounding grows from step to step
        found |= {f"norm_{k}_weight": 0.3 * normal(G * H) for k in ("ih", "hh")}
        found |= {"norm_c_weight": 0.3 * normal(H), "norm_c_bias": normal(H)}
    return found


def attributes_of(variant: dict[str, Any], **more: Any) -> dict[str, Any]:
    names = ("coupled", "zoneout_h", "zoneout_c")
    return {k: v for k, v in variant.items() if k in names} | {"hidden_size": H} | more


OPTIONAL = {"h0": ("B", "P"), "c0": ("B", H), "lengths": ("B",), "resets": ("B", "T")}
GIVEN = [(), ("h0",), ("c0", "lengths"), ("h0", "c0", "resets"), tuple(OPTIONAL)]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", LSTMS)
def test_lstm_with_state_lengths_and_resets(name: str, reverse: bool) -> None:
    variant = LSTMS[name]
    attributes = attributes_of(variant, reverse=reverse)
    for roles in GIVEN:
        ports = {
            r: tuple(variant.get("P", H) if n == "P" else n for n in OPTIONAL[r]) for r in roles
        }
        inputs = {"x": ("B", "T", I), **weights(**variant), **ports}
        program = one_operation("lstm", inputs, attributes)
        model = to_onnx(program)
        for B, T in ((1, 4), (5, 6)):
            given = drawn(program, B, T)
            if "lengths" in given:
                given["lengths"] = np.array([0, T, 1, 3, 4][-B:])
            agrees(program, model, "sequence", given, {})
        single = "LSTM" if name in OPERATOR and "resets" not in roles else "Scan"
        assert [k for k in kinds(model) if k in ("LSTM", "Scan")] == [single]


@pytest.mark.parametrize("reverse", [False, True])
def test_a_sequence_of_no_length_keeps_its_state(reverse: bool) -> None:
    shapes = {"x": ("B", "T", I), "h0": ("B", H), "c0": ("B", H), "lengths": ("B",)}
    inputs = shapes | weights()
    program = one_operation("lstm", inputs, attributes_of({}, reverse=reverse))
    given = drawn(program, 3, 4) | {"lengths": np.array([0, 4, 0])}
    got = outcome(to_onnx(program), given)
    for role in ("h", "c"):
        np.testing.assert_array_equal(got[f"{role}_made"][::2], given[f"{role}0"][::2])
    assert (got["y_made"][::2] == 0).all()


@pytest.mark.parametrize("name", LSTMS)
def test_lstm_cell(name: str) -> None:
    variant = LSTMS[name]
    ports = {"x": ("B", I), "h": ("B", variant.get("P", H)), "c": ("B", H)}
    program = one_operation("lstm_cell", ports | weights(**variant), attributes_of(variant))
    model = to_onnx(program)
    assert not {"LSTM", "Scan"} & set(kinds(model))
    for B in (1, 5):
        agrees(program, model, "sequence", drawn(program, B, 1), {})


# --- layers ---------------------------------------------------------------------------------------

EVERYTHING = {
    "num_layers": 2,
    "proj_size": 3,
    "peephole": True,
    "layer_norm": True,
    "zoneout": (0.1, 0.2),
    "residual": True,
}
LAYERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "bias": {"bias": False},
    "two layers": {"num_layers": 2},
    "bidirectional": {"num_layers": 2, "bidirectional": True},
    "projected": {"proj_size": 3},
    "peephole": {"peephole": True},
    "layer_norm": {"layer_norm": True},
    "coupled": {"coupled_gates": True},
    "zoneout": {"zoneout": 0.2},
    "residual": {"num_layers": 3, "residual": True},
    "peephole coupled": {"peephole": True, "coupled_gates": True, "num_layers": 2},
    "everything": EVERYTHING,
    "everything coupled": {**EVERYTHING, "coupled_gates": True, "bias": False},
    "everything both ways": {**EVERYTHING, "bidirectional": True},
}


def layer(**options: Any) -> Program:
    torch.manual_seed(0)
    return lstmkit.LSTM(4, 8, **options).eval().program()


def random_state(program: Program, B: int) -> Arrays:
    return {k: 0.5 * normal(*v.shape) for k, v in program.initial_state(B).items()}


@pytest.mark.parametrize("name", LAYERS)
def test_every_variant_at_several_lengths_and_batches(name: str) -> None:
    program = layer(**LAYERS[name])
    for entry in program.entries:
        model = to_onnx(program, entry)
        for B, T in ((1, 1), (2, 9), (5, 4)):
            x = normal(B, T, 4) if entry == "sequence" else normal(B, 4)
            agrees(program, model, entry, {"x": x}, random_state(program, B))
        found = verify(model, program, entry)
        assert 0 < found.difference <= max(TOLERANCE, agreement.ROUNDINGS * found.rounding)
        assert (found.batch, found.steps) == (3, (7, 11))


@pytest.mark.parametrize("name", ["plain", "peephole", "coupled", "bidirectional", "two layers"])
def test_one_lstm_node_a_layer_and_direction_and_symbols_stay(name: str) -> None:
    program = layer(**LAYERS[name])
    model = to_onnx(program)
    layers = {"bidirectional": 4, "two layers": 2}.get(name, 1)
    assert kinds(model).count("LSTM") == layers and "Scan" not in kinds(model)
    assert dims(model.graph.input[0]) == ["B", "T", 4]
    assert dims(model.graph.output[0])[:2] == ["B", "T"]
    assert all(dims(value) == ["B", 8] for value in model.graph.input[1:])


@pytest.mark.parametrize("name", ["plain", "everything"])
def test_chunks_equal_the_whole_and_the_steps(name: str) -> None:
    program = layer(**LAYERS[name])
    whole, step = (to_onnx(program, entry) for entry in ("sequence", "step"))
    x, state = normal(2, 9, 4), random_state(program, 2)
    expected = outcome(whole, {"x": x} | state)
    pieces, by_step = [], []
    for k, piece in enumerate((x[:, :5], x[:, 5:6], x[:, 6:])):
        got = outcome(whole, {"x": piece} | (after(pieces[-1]) if k else state))
        pieces.append(got)
    for k in range(9):
        got = outcome(step, {"x": x[:, k]} | (after(by_step[-1]) if k else state))
        by_step.append(got)
    close(np.concatenate([p["y"] for p in pieces], 1), expected["y"])
    close(np.stack([p["y"] for p in by_step], 1), expected["y"])
    for last in (pieces[-1], by_step[-1]):
        for slot in state:
            close(last[f"{slot}_out"], expected[f"{slot}_out"])


def after(results: Arrays) -> Arrays:
    """What a stream feeds back in."""
    return {k.removesuffix("_out"): v for k, v in results.items() if k.endswith("_out")}


# --- whole programs -------------------------------------------------------------------------------


def forecast() -> Program:
    torch.manual_seed(0)
    shape = features.geometry(9, 7, "1d", lengths=[400], days=400.0)
    network = ForecastNetwork(shape, Sizes(8, 2, 6, 0.0), (0.1, 0.5, 0.9)).eval()
    with torch.no_grad():
        for head in (network.season_head, network.offset_head):
            head.weight.normal_()
    return forecasting(network)


def test_the_forecasting_program_at_two_batches() -> None:
    program = forecast()
    model = to_onnx(program)
    for B in (1, 5):
        point = program.entry("forecast")
        inputs = {p.name: normal(B, *(int(n) for n in p.shape[1:])) for p in point.inputs}
        inputs["mask"] = (RANDOM.random(inputs["mask"].shape) < 0.7).astype(np.float32)
        inputs["values"][inputs["mask"] == 0] = np.nan
        got = agrees(program, model, "forecast", inputs, {})
        assert np.isfinite(got["quantiles"]).all()
    assert kinds(model).count("LSTM") == 2
    verify(model, program)


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_low_precision_is_exported_as_the_numbers_it_stands_for(dtype: str) -> None:
    low = lower(layer(), dtype)
    model = to_onnx(low)
    verify(model, low)
    agrees(lower(low, "float32"), model, "sequence", {"x": normal(2, 5, 4)}, random_state(low, 2))
    stored = {w.name: onnx.numpy_helper.to_array(w) for w in model.graph.initializer}
    np.testing.assert_array_equal(stored["weight_hh_l0"], np.asarray(low.weights["weight_hh_l0"]))
    assert stored["weight_hh_l0"].dtype == np.float32


def test_the_model_says_who_made_it_and_what_it_is() -> None:
    model = to_onnx(layer(), "step")
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert (said["producer"], said["version"]) == ("lstmkit", lstmkit.__version__)
    assert (said["entry"], said["kind"]) == ("step", "recurrent")
    assert said["initial_state"] == '{"h_l0": 0.0, "c_l0": 0.0}'
    assert (model.opset_import[0].version, model.ir_version) == (17, 8)
    names = [value.name for value in (*model.graph.input, *model.graph.output)]
    assert names == ["x", "h_l0", "c_l0", "y", "h_l0_out", "c_l0_out"]
    assert set(layer().weights) <= {w.name for w in model.graph.initializer}


def mixed() -> Program:
    """Whole numbers, masks of every type, slots that are only read, only written, or integers,
    and an output that is an input."""
    b = Builder("recurrent")
    words, x = b.input("words", ("B", 4), "int32"), b.input("x", ("B", "T", I))
    ends, cuts = b.input("ends", ("B", 1), "int32"), b.input("cuts", ("B", "T"), "float32")
    cells = {role: b.weight(role, w) for role, w in weights(P=2).items()}
    lengths = b.op("reshape", ends, shape=[0])
    y, h, _ = b.op("lstm", x=x, hidden_size=H, lengths=lengths, resets=cuts, **cells)
    b.output("y", y, ("B", "T", 2))
    table = b.weight("x", normal(3, 2))  # the name of a port
    rows = b.op("take", words, axis=1, indices=[2, 0])
    found = b.op("embedding", rows, table)
    b.output("found", found, ("B", 2, 2))
    b.output("words", words, ("B", 4))
    b.slot("memory", (2,), initial=0.5)
    count = b.slot("count", (1,), initial=2, dtype="int64")
    b.write("count", b.op("add", count, b.weight("one", np.ones(1, np.float32))))
    b.write("memory", h)
    b.entry("other")
    b.output("kept", b.op("affine", "state/memory", scale=2.0), ("B", 2))
    b.entry("reader")
    return b.build()


def test_types_names_and_slots_of_every_kind() -> None:
    program = mixed()
    for entry in program.entries:
        model = to_onnx(program, entry)
        found = verify(model, program, entry)
        assert found.difference < TOLERANCE
    assert [v.name for v in model.graph.input] == ["memory"]
    assert [v.name for v in model.graph.output] == ["kept", "memory_out"]
    other = to_onnx(program, "other")
    types = {v.name: v.type.tensor_type.elem_type for v in other.graph.input}
    assert types["words"] == types["ends"] == onnx.TensorProto.INT32
    assert types["count"] == onnx.TensorProto.INT64


def test_inputs_are_drawn_from_what_operations_take() -> None:
    program = mixed()
    point = program.entry("other")
    found = drawn_of(np.random.default_rng(0), program, point, point.inputs, batch=60, steps=7)
    assert set(found["words"].flat) == {0, 1, 2}  # the rows of the embedding
    assert set(found["ends"].flat) == set(range(8))
    assert set(found["cuts"].flat) == {0, 1}
    assert found["x"].shape == (60, 7, I) and found["x"].std() > 0.9


def test_a_program_that_magnifies_rounding_is_judged_by_its_own() -> None:
    torch.manual_seed(0)
    options = {**EVERYTHING, "coupled_gates": True}
    program = lstmkit.LSTM(4, 6, **options).eval().program()
    model = to_onnx(program)
    found = [verify(model, program, seed=seed) for seed in range(30)]
    worst = max(found, key=lambda one: one.difference)
    assert worst.difference <= max(TOLERANCE, agreement.ROUNDINGS * worst.rounding)
    assert any(one.rounding > TOLERANCE for one in found)


# --- refusals -------------------------------------------------------------------------------------


def tampered(model: Any, name: str) -> Any:
    weight = next(w for w in model.graph.initializer if w.name == name)
    array = onnx.numpy_helper.to_array(weight).copy()
    array.flat[0] += 0.01
    weight.CopyFrom(onnx.numpy_helper.from_array(array, name))
    return model


@pytest.mark.parametrize("name", ["plain", "everything"])
def test_a_changed_weight_is_found(name: str) -> None:
    program = layer(**LAYERS[name])
    for weight in ("weight_ih_l0", "weight_hh_l0"):
        for entry in program.entries:
            model = tampered(to_onnx(program, entry), weight)
            with pytest.raises(
                UserError, match=r"is not what the program computes\n  got: .* off by"
            ):
                verify(model, program, entry)


def test_a_lost_symbol_is_found() -> None:
    for axis, symbol in enumerate("BT"):
        model = to_onnx(layer())
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = 3
        with pytest.raises(UserError, match=f"(?s)input 'x' .*got: .*3.*expected: .*{symbol}"):
            verify(model, layer())


def test_another_entry_point_and_a_broken_model_are_refused() -> None:
    program = layer()
    with pytest.raises(UserError, match=r"(?s)'x' of the ONNX.*B, T, 4.*expected: float32 \(B, 4"):
        verify(to_onnx(program), program, "step")
    model = to_onnx(program)
    model.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(UserError, match="onnxruntime does not run this model"):
        verify(model, program)


def test_an_entry_point_must_be_clear() -> None:
    with pytest.raises(ProgramError, match=r"(?s)one entry point.*other or reader.*entry="):
        to_onnx(mixed())
    with pytest.raises(ProgramError, match="no entry point 'nowhere'"):
        to_onnx(layer(), "nowhere")
    assert to_onnx(layer()).graph.name == "sequence"


def test_two_of_one_name_are_refused() -> None:
    b = Builder("recurrent")
    x = b.input("h", ("B", 4))
    b.write(b.slot("h", (4,)), b.op("add", x, "state/h"))
    b.entry("sequence")
    with pytest.raises(ProgramError, match=r"(?s)names of their own.*got: h more than once"):
        to_onnx(b.build())


def test_too_many_weights_are_refused_before_they_are_copied() -> None:
    huge = np.broadcast_to(np.float32(1), (2**15, 2**14 + 1))
    b = Builder("recurrent")
    x = b.input("x", ("B", 2**14 + 1))
    b.output("y", b.op("linear", x, b.weight("huge", huge)), ("B", 2**15))
    b.entry("sequence")
    with pytest.raises(UserError, match="do not fit into one ONNX file"):
        to_onnx(b.build())


def test_only_a_model_that_agrees_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, path = layer(), tmp_path / "model.onnx"
    monkeypatch.setattr(agreement, "to_onnx", lambda p, e: tampered(to_onnx(p, e), "weight_hh_l0"))
    with pytest.raises(UserError, match="not what the program computes"):
        write(program, path)
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    assert write(program, path, "step") == verify(onnx.load(path), program, "step")
    with pytest.raises(UserError, match="folder"):
        write(program, tmp_path / "nowhere" / "model.onnx")


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_without_the_packages_the_extra_is_named(package: str, tmp_path: Path) -> None:
    code = f"""
import sys
sys.modules[{package!r}] = None
import numpy as np
from lstmkit.export.onnx import write
from lstmkit.program import Builder
b = Builder("recurrent")
b.output("y", b.op("abs", b.input("x", ("B", 2))), ("B", 2))
b.entry("sequence")
write(b.build(), "model.onnx")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert f"this needs {package}, which is not installed" in done.stderr
    assert "pip install 'lstmkit[export]'" in done.stderr
    assert not list(tmp_path.iterdir())


def test_missing_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    model = to_onnx(layer())
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"lstmkit\[export\]"):
        verify(model, layer())
