"""Every operation on the native machine beside its numpy reference, and programs that are both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from runtime.cases import apart

from lstmkit import runtime
from lstmkit.lowprecision import lower
from lstmkit.operations import OPERATIONS, ProgramError
from lstmkit.program import Builder, Program
from lstmkit.runtime.instructions import WRITERS

RANDOM = np.random.default_rng(0)
X, Y = ("x", (4, 6)), ("y", (4, 6))
W, BIAS = RANDOM.standard_normal((5, 6)), RANDOM.standard_normal(5)
GAIN = RANDOM.standard_normal(6)
CONSTANT = RANDOM.standard_normal((4, 6))

# operation, ports (of a sample), weights, attributes
CASES: list[tuple[str, list[tuple[str, tuple[int, ...]]], dict[str, np.ndarray], dict[str, Any]]]
CASES = [
    *((kind, [X, Y], {}, {}) for kind in ("add", "subtract", "multiply", "divide")),
    *((kind, [X, Y], {}, {}) for kind in ("maximum", "minimum")),
    ("add", [X, ("y", (1, 6))], {}, {}),
    ("subtract", [("x", (4, 1)), Y], {}, {}),
    ("multiply", [X], {"y": CONSTANT}, {}),
    ("add", [X], {"y": GAIN}, {}),
    ("divide", [X], {"y": CONSTANT[None]}, {}),
    ("add", [("x", ()), ("y", ())], {}, {}),
    *((kind, [X], {}, {}) for kind in ("tanh", "sigmoid", "relu", "softplus", "exp", "abs")),
    ("sqrt", [X], {}, {}),
    ("affine", [X], {}, {"scale": 3.0, "shift": -1.0}),
    ("linear", [X], {"weight": W, "bias": BIAS}, {}),
    ("linear", [("x", (6,))], {"weight": W}, {}),
    ("linear", [("x", (130, 6))], {"weight": W, "bias": BIAS}, {}),
    ("embedding", [("indices", (3,))], {"weight": W}, {}),
    ("layer_norm", [X], {"weight": GAIN, "bias": GAIN}, {}),
    ("layer_norm", [X], {}, {"eps": 1e-3}),
    ("instance_norm", [("x", (9,)), ("mask", (9,))], {}, {}),
    ("softmax", [X], {}, {"axis": 1}),
    ("log_softmax", [X], {}, {"axis": 1}),
    ("log_softmax", [X], {}, {"axis": -1}),
    ("softmax", [X], {}, {"axis": -1}),
    ("concat", [("x0", (4, 6)), ("x1", (2, 6))], {}, {"axis": 1}),
    ("concat", [("x0", (4, 6)), ("x1", (4, 1))], {}, {"axis": -1}),
    ("reshape", [X], {}, {"shape": [0, -1, 3]}),
    ("transpose", [X], {}, {"axes": [0, 2, 1]}),
    ("slice", [X], {}, {"axis": 1, "start": 1, "stop": 3}),
    ("slice", [X], {}, {"axis": -1, "start": 2, "stop": 5}),
    ("take", [X], {}, {"axis": 1, "indices": [3, 0, 0]}),
    ("take", [X], {}, {"axis": 2, "indices": [5]}),
    ("sum", [X], {}, {"axis": 1, "keepdims": True}),
    ("sum", [X], {}, {"axis": -1}),
    ("mean", [X], {}, {"axis": 1}),
    ("sort", [X], {}, {"axis": 1}),
    ("sort", [X], {}, {"axis": -1}),
    ("where", [("condition", (4, 6)), X, ("y", (4, 1))], {}, {}),
    ("where", [("condition", (4, 1)), X], {"y": GAIN}, {}),
]


def given(ports: Any, batch: int, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    drawn: dict[str, np.ndarray] = {}
    for name, shape in ports:
        if name == "indices":
            drawn[name] = random.integers(0, 5, (batch, *shape))
        elif name in ("mask", "condition"):
            drawn[name] = (random.random((batch, *shape)) < 0.6).astype(np.float32)
        else:
            drawn[name] = random.standard_normal((batch, *shape)).astype(np.float32)
    return drawn


def program(kind: str, ports: Any, weights: Any, attributes: Any) -> Program:
    b = Builder("recurrent")
    schema = OPERATIONS[kind]
    roles = {
        name: b.input(name, ("B", *shape), "int64" if name == "indices" else "float32")
        for name, shape in ports
    }
    roles |= {name: b.weight(name, w.astype(np.float32)) for name, w in weights.items()}
    shapes = {n: ("B", *s) for n, s in ports} | {n: w.shape for n, w in weights.items()}
    defaults = {k: a.default for k, a in schema.attributes.items()}
    found = schema.shapes(shapes, {**defaults, **attributes})
    values = list(roles.values()) if schema.variadic else []
    made = b.op(kind, *values, **({} if values else roles), **attributes)
    for value, role in zip(
        made if isinstance(made, tuple) else [made], schema.outputs, strict=True
    ):
        b.output(f"out_{role}", value, found[role])
    b.entry("step")
    return b.build()


@pytest.mark.parametrize("case", CASES, ids=[f"{c[0]}-{k}" for k, c in enumerate(CASES)])
@pytest.mark.parametrize("batch", [1, 7])
def test_machine_equals_numpy(case: Any, batch: int) -> None:
    kind, ports, weights, attributes = case
    p = program(kind, ports, weights, attributes)
    model, inputs = runtime.load(p), given(ports, batch)
    plan = model.plan(p.entries["step"], inputs)
    assert plan is not None and plan.native
    wanted, _ = p.run("step", inputs)
    found, _ = model.run("step", inputs)
    for name, value in wanted.items():
        assert apart(found[name], value) < 1e-6 or (
            np.isnan(value).any() and np.array_equal(np.isnan(value), np.isnan(found[name]))
        )


def test_every_operation_has_a_writer_and_a_case() -> None:
    assert set(WRITERS) | {"reshape"} == set(OPERATIONS)
    assert {case[0] for case in CASES} | {"lstm", "lstm_cell"} == set(OPERATIONS)


@pytest.mark.parametrize("kind", ["maximum", "minimum", "relu", "sort", "tanh", "sigmoid", "exp"])
def test_what_is_no_number_flows_on(kind: str) -> None:
    ports = [X, Y] if kind in ("maximum", "minimum") else [X]
    p, inputs = program(kind, ports, {}, {}), given(ports, 2)
    for k, value in enumerate((np.nan, np.inf, -np.inf)):
        for array in inputs.values():
            array[0, k, k] = value
        if len(ports) == 2:
            inputs["y"][1, k, 3] = value
    wanted, _ = p.run("step", inputs)
    found, _ = runtime.load(p).run("step", inputs)
    (name,) = wanted
    np.testing.assert_allclose(found[name], wanted[name], rtol=1e-6)


def test_masked_rows_may_be_anything() -> None:
    ports = [("x", (9,)), ("mask", (9,))]
    p, inputs = program("instance_norm", ports, {}, {}), given(ports, 4)
    inputs["mask"][3] = 0
    inputs["x"][2] = 5.0
    inputs["x"] = np.where(inputs["mask"] > 0, inputs["x"], np.nan).astype(np.float32)
    wanted, _ = p.run("step", inputs)
    found, _ = runtime.load(p).run("step", inputs)
    for name, value in wanted.items():
        assert np.isfinite(found[name]).all()
        assert apart(found[name], value) < 1e-6


@pytest.mark.parametrize("index", [-1, 5, 2**40])
def test_an_index_out_of_range_is_refused(index: int) -> None:
    p = program("embedding", [("indices", (3,))], {"weight": W}, {})
    for run in (runtime.load(p).run, p.run):
        with pytest.raises(ProgramError, match="outside the embedding"):
            run("step", {"indices": np.array([[0, 1, index]])})


@pytest.mark.parametrize("dtype", ["int32", "int64", "bool", "float32"])
def test_inputs_of_every_type(dtype: str) -> None:
    b = Builder("recurrent")
    x = b.input("x", ("B", 3), dtype)
    b.output("y", b.op("affine", x, scale=2.0), ("B", 3))
    b.entry("step")
    found, _ = runtime.load(b.build()).run("step", {"x": np.array([[0, 1, 1]], dtype)})
    assert found["y"].tolist() == [[0, 2, 2]]


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
@pytest.mark.parametrize("kind", ["linear", "embedding"])
def test_weights_of_low_precision(kind: str, precision: str) -> None:
    ports = [X] if kind == "linear" else [("indices", (3,))]
    weights = {"weight": W, "bias": BIAS} if kind == "linear" else {"weight": W}
    p = lower(program(kind, ports, weights, {}), precision)
    inputs = given(ports, 7)
    wanted, _ = p.run("step", inputs)
    found, _ = runtime.load(p).run("step", inputs)
    assert apart(found["out_y"], wanted["out_y"]) < 1e-6


def mixed() -> Program:
    """Machine, numpy (a variant's cell), machine again."""
    b = Builder("recurrent")
    x, h, c = b.input("x", ("B", 4)), b.slot("h", (3,)), b.slot("c", (3,), initial=0.5)
    weights = {"weight_ih": (12, 4), "weight_hh": (12, 3), "weight_peephole": (3, 3)}
    roles = {n: b.weight(n, RANDOM.standard_normal(s).astype("f4")) for n, s in weights.items()}
    x = b.op("tanh", x)
    new_h, new_c = b.op("lstm_cell", x=x, h=h, c=c, hidden_size=3, **roles)
    b.write(h, new_h)
    b.write(c, new_c)
    b.output("y", b.op("affine", new_h, scale=2.0), ("B", 3))
    b.entry("step")
    return b.build()


def test_machine_and_numpy_in_turn() -> None:
    p = mixed()
    model = runtime.load(p)
    inputs = {"x": RANDOM.standard_normal((5, 4)).astype(np.float32)}
    plan = model.plan(p.entries["step"], inputs)
    assert plan is not None and not plan.native and len(plan._steps) == 3
    state: Any = None
    wanted_state: Any = None
    for _ in range(3):
        found, state = model.run("step", inputs, state)
        wanted, wanted_state = p.run("step", inputs, wanted_state)
        assert apart(found["y"], wanted["y"]) < 1e-6
        assert apart(state["c"], wanted_state["c"]) < 1e-6


def test_what_depends_on_weights_alone_is_computed_once() -> None:
    b = Builder("recurrent")
    x, w = b.input("x", ("B", 6)), b.weight("w", GAIN.astype(np.float32))
    b.output("y", b.op("add", x, b.op("tanh", b.op("reshape", w, shape=[1, 6]))), ("B", 6))
    b.entry("step")
    p = b.build()
    model, inputs = runtime.load(p), {"x": RANDOM.standard_normal((2, 6)).astype(np.float32)}
    plan = model.plan(p.entries["step"], inputs)
    assert plan is not None and len(plan._code.instructions) == 1
    assert apart(model.run("step", inputs)[0]["y"], p.run("step", inputs)[0]["y"]) < 1e-6


def test_what_is_not_batch_first_is_left_to_numpy() -> None:
    b = Builder("recurrent")
    x = b.op("transpose", b.input("x", ("B", 3, 2)), axes=[1, 0, 2])
    b.output("y", b.op("transpose", b.op("tanh", x), axes=[1, 0, 2]), ("B", 3, 2))
    b.entry("step")
    p = b.build()
    model, inputs = runtime.load(p), {"x": RANDOM.standard_normal((4, 3, 2)).astype(np.float32)}
    assert model.plan(p.entries["step"], inputs) is None
    assert np.array_equal(model.run("step", inputs)[0]["y"], p.run("step", inputs)[0]["y"])
