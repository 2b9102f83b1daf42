"""Programs: every operation beside torch or its definition, the laws of both kinds, validation."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from runtime.cases import VARIANTS as ALL_VARIANTS
from torch.nn import functional

import lstmkit
from lstmkit.operations import OPERATIONS, ProgramError
from lstmkit.program import Builder, Program

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((3, 4, 6))
T = torch.tensor(X)
W, BIAS = RANDOM.standard_normal((5, 6)), RANDOM.standard_normal(5)
MASK = (RANDOM.random((3, 8)) < 0.7).astype(float)


def perform(kind: str, inputs: dict[str, np.ndarray], **attributes: Any) -> dict[str, np.ndarray]:
    schema = OPERATIONS[kind]
    defaults = {k: a.default for k, a in schema.attributes.items()}
    given_ = {**defaults, **attributes}
    found = schema.run(inputs, given_)
    inferred = schema.shapes({k: v.shape for k, v in inputs.items()}, given_)
    assert {k: v.shape for k, v in found.items()} == inferred
    return found


def only(kind: str, inputs: dict[str, np.ndarray], **attributes: Any) -> np.ndarray:
    return next(iter(perform(kind, inputs, **attributes).values()))


BESIDE_TORCH = {
    "linear": ({"x": X, "weight": W, "bias": BIAS}, {},
               functional.linear(T, torch.tensor(W), torch.tensor(BIAS))),
    "add": ({"x": X, "y": X[:1]}, {}, T + T[:1]),
    "subtract": ({"x": X, "y": X[:1]}, {}, T - T[:1]),
    "multiply": ({"x": X, "y": X[..., :1]}, {}, T * T[..., :1]),
    "divide": ({"x": X, "y": X**2 + 1}, {}, T / (T**2 + 1)),
    "maximum": ({"x": X, "y": -X}, {}, T.maximum(-T)),
    "minimum": ({"x": X, "y": -X}, {}, T.minimum(-T)),
    "tanh": ({"x": X}, {}, T.tanh()),
    "sigmoid": ({"x": X * 500}, {}, (T * 500).sigmoid()),
    "relu": ({"x": X}, {}, T.relu()),
    "softplus": ({"x": X * 500}, {}, functional.softplus(T * 500)),
    "exp": ({"x": X}, {}, T.exp()),
    "abs": ({"x": X}, {}, T.abs()),
    "sqrt": ({"x": X**2}, {}, T.abs()),
    "affine": ({"x": X}, {"scale": 3.0, "shift": -1.0}, 3 * T - 1),
    "embedding": (
        {"indices": np.array([[0, 4], [2, 2]]), "weight": W},
        {},
        functional.embedding(torch.tensor([[0, 4], [2, 2]]), torch.tensor(W)),
    ),
    "layer_norm": (
        {"x": X, "weight": X[0, 0], "bias": X[0, 1]},
        {},
        functional.layer_norm(T, (6,), T[0, 0], T[0, 1]),
    ),
    "softmax": ({"x": X * 300}, {"axis": 1}, (T * 300).softmax(1)),
    "log_softmax": ({"x": X * 300}, {"axis": 1}, (T * 300).log_softmax(1)),
    "concat": ({"x0": X, "x1": X[:, :1]}, {"axis": 1}, torch.cat([T, T[:, :1]], 1)),
    "reshape": ({"x": X}, {"shape": [0, -1, 3]}, T.reshape(3, 8, 3)),
    "transpose": ({"x": X}, {"axes": [0, 2, 1]}, T.transpose(1, 2)),
    "slice": ({"x": X}, {"axis": -1, "start": 2, "stop": 5}, T[..., 2:5]),
    "take": ({"x": X}, {"axis": 1, "indices": [3, 0, 0]}, T[:, [3, 0, 0]]),
    "sum": ({"x": X}, {"axis": 1, "keepdims": True}, T.sum(1, keepdim=True)),
    "mean": ({"x": X}, {"axis": -1, "keepdims": False}, T.mean(-1)),
    "sort": ({"x": X}, {"axis": 1}, T.sort(1).values),
    "where": ({"condition": MASK[:, :6], "x": X[:, 0], "y": X[:, 1]}, {},
              torch.where(torch.tensor(MASK[:, :6]) != 0, T[:, 0], T[:, 1])),
}  # fmt: skip


@pytest.mark.parametrize("kind", BESIDE_TORCH)
def test_operation_equals_torch(kind: str) -> None:
    inputs, attributes, expected = BESIDE_TORCH[kind]
    np.testing.assert_allclose(only(kind, inputs, **attributes), expected.numpy(), atol=1e-12)


@pytest.mark.parametrize("kind", BESIDE_TORCH)
def test_operation_stays_float32(kind: str) -> None:
    inputs, attributes, _ = BESIDE_TORCH[kind]
    narrow = {k: v if k == "indices" else v.astype(np.float32) for k, v in inputs.items()}
    assert only(kind, narrow, **attributes).dtype == np.float32


def test_every_operation_is_tested() -> None:
    assert set(OPERATIONS) == set(BESIDE_TORCH) | {"instance_norm", "lstm", "lstm_cell"}


def test_instance_norm_ignores_what_is_masked_and_stays_finite() -> None:
    x = RANDOM.standard_normal((3, 8)) * 9 + 4
    mask = MASK.copy()
    mask[2] = 0
    x[1] = 7.0
    found = perform("instance_norm", {"x": np.where(mask > 0, x, 1e9 * (mask > 0)), "mask": mask})
    seen = x[0][mask[0] > 0]
    np.testing.assert_allclose(found["mean"][0, 0], seen.mean())
    np.testing.assert_allclose(found["scale"][0, 0], seen.std(), rtol=1e-9)
    assert np.isfinite(found["y"]).all()
    assert (found["y"][1:] == 0).all()


# --- the LSTM -------------------------------------------------------------------------------------

VARIANTS = {name: v for name, v in ALL_VARIANTS.items() if not v.get("bidirectional")}


def layer_and_arrays(**variant: Any) -> tuple[Any, dict[str, np.ndarray]]:
    torch.manual_seed(0)
    layer = lstmkit.LSTM(5, 6, batch_first=True, dtype=torch.float64, **variant).eval()
    return layer, {f"net.{k}": v.numpy() for k, v in layer.state_dict().items()}


def windowed(layer: Any, arrays: dict[str, np.ndarray], steps: int = 7) -> Program:
    b = Builder("windowed", window=steps)
    y = b.lstm(b.input("x", ("B", steps, 5)), arrays, "net.", layer.options())
    width = (layer.proj_size or 6) * (1 + layer.bidirectional)
    b.output("y", y, ("B", steps, width))
    b.entry("run")
    return b.build()


def recurrent(layer: Any, arrays: dict[str, np.ndarray]) -> Program:
    b = Builder("recurrent")
    y = b.lstm_cell(b.input("x", ("B", 5)), arrays, "net.", layer.options())
    b.output("y", y, ("B", layer.proj_size or 6))
    b.entry("step")
    return b.build()


def stream(p: Program, x: np.ndarray, state: Any = None) -> tuple[np.ndarray, Any]:
    if state is None:
        state = {k: v.astype(np.float64) for k, v in p.initial_state(len(x)).items()}
    outputs = []
    for t in range(x.shape[1]):
        found, state = p.run("step", {"x": x[:, t]}, state)
        outputs.append(found["y"])
    return np.stack(outputs, 1), state


@pytest.mark.filterwarnings("ignore:only the reference kernel")
@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("name", VARIANTS)
def test_whole_chunked_and_streamed_equal_the_layer(name: str) -> None:
    layer, arrays = layer_and_arrays(**VARIANTS[name])
    x = RANDOM.standard_normal((3, 7, 5))
    expected = layer(torch.tensor(x))[0].detach().numpy()
    whole, _ = windowed(layer, arrays).run("run", {"x": x})
    np.testing.assert_allclose(whole["y"], expected, atol=1e-12)
    p = recurrent(layer, arrays)
    streamed, _ = stream(p, x)
    np.testing.assert_allclose(streamed, expected, atol=1e-12)
    first, state = stream(p, x[:, :3])
    second, _ = stream(p, x[:, 3:], state)
    np.testing.assert_array_equal(np.concatenate([first, second], 1), streamed)


def test_bidirectional_window_equals_torch() -> None:
    layer, arrays = layer_and_arrays(bidirectional=True, num_layers=2)
    peer = torch.nn.LSTM(5, 6, 2, batch_first=True, bidirectional=True, dtype=torch.float64)
    peer.load_state_dict(layer.state_dict())
    x = RANDOM.standard_normal((3, 7, 5))
    found, _ = windowed(layer, arrays).run("run", {"x": x})
    expected = peer(torch.tensor(x))[0].detach().numpy()
    np.testing.assert_allclose(found["y"], expected, atol=1e-12)
    with pytest.raises(ProgramError, match="bidirectional"):
        recurrent(layer, arrays)


@pytest.mark.filterwarnings("ignore:only the reference kernel")
@pytest.mark.parametrize("reverse", [False, True])
def test_lengths_and_resets_equal_the_layer(reverse: bool) -> None:
    layer, arrays = layer_and_arrays(bidirectional=True)
    x = RANDOM.standard_normal((3, 7, 5))
    lengths, resets = np.array([7, 0, 4]), RANDOM.random((3, 7)) < 0.3
    end = "_l0_reverse" if reverse else "_l0"
    weights = {k: arrays[f"net.{k}{end}"] for k in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    inputs = {"x": x, "lengths": lengths, "resets": resets, **weights}
    found = perform("lstm", inputs, hidden_size=6, reverse=reverse)
    y, (h, c) = layer(torch.tensor(x), lengths=torch.tensor(lengths), resets=torch.tensor(resets))
    half = slice(6, 12) if reverse else slice(0, 6)
    np.testing.assert_allclose(found["y"], y[..., half].detach().numpy(), atol=1e-12)
    np.testing.assert_allclose(found["h"], h[int(reverse)].detach().numpy(), atol=1e-12)
    np.testing.assert_allclose(found["c"], c[int(reverse)].detach().numpy(), atol=1e-12)


def test_observed_gates_equal_the_trace() -> None:
    layer, arrays = layer_and_arrays()
    x = RANDOM.standard_normal((3, 7, 5))
    seen: dict[str, np.ndarray] = {}
    windowed(layer, arrays).run("run", {"x": x}, observe=lambda o, found: seen.update(found))
    trace = layer(torch.tensor(x), trace=True)[2]
    for field in ("input_gate", "forget_gate", "candidate", "output_gate", "cell", "hidden"):
        expected = getattr(trace[0], field).detach().numpy().swapaxes(0, 1)
        np.testing.assert_allclose(seen[field], expected, atol=1e-12)


def test_memoryless_equals_a_reset_at_every_step() -> None:
    layer, arrays = layer_and_arrays()
    x = RANDOM.standard_normal((3, 7, 5))
    found, _ = windowed(layer, arrays).run("run", {"x": x}, memoryless=True)
    alone = [layer(torch.tensor(x[:, t : t + 1]))[0] for t in range(7)]
    np.testing.assert_allclose(found["y"], torch.cat(alone, 1).detach().numpy(), atol=1e-12)
    p = recurrent(layer, arrays)
    state = {k: v + 1.0 for k, v in p.initial_state(3).items()}
    stepped, _ = p.run("step", {"x": x[:, 0]}, state, memoryless=True)
    np.testing.assert_allclose(stepped["y"], found["y"][:, 0], atol=1e-12)


def test_entry_points_share_slots() -> None:
    """As translation does: encode writes the state that decode reads and writes."""
    layer, arrays = layer_and_arrays()
    b = Builder("recurrent")
    b.output("y", b.lstm_cell(b.input("x", ("B", 5)), arrays, "net.", layer.options()), ("B", 6))
    b.entry("encode")
    b.output("y", b.lstm_cell(b.input("x", ("B", 5)), arrays, "net.", layer.options()), ("B", 6))
    b.entry("decode")
    p = b.build()
    x = RANDOM.standard_normal((2, 5))
    zero = {k: v.astype(float) for k, v in p.initial_state(2).items()}
    _, state = p.run("encode", {"x": x}, zero)
    second, _ = p.run("decode", {"x": x}, state)
    expected = layer(torch.tensor(np.stack([x, x], 1)))[0][:, 1].detach().numpy()
    np.testing.assert_allclose(second["y"], expected, atol=1e-12)


def test_running_changes_nothing_that_was_given() -> None:
    layer, arrays = layer_and_arrays()
    p = recurrent(layer, arrays)
    state = p.initial_state(2)
    before = {k: v.copy() for k, v in state.items()}
    p.run("step", {"x": np.ones((2, 5))}, state)
    for name, value in state.items():
        np.testing.assert_array_equal(value, before[name])


# --- validation -----------------------------------------------------------------------------------


def small() -> Program:
    b = Builder("recurrent")
    x = b.input("x", ("B", 3))
    h = b.slot("h", (2,))
    z = b.op("linear", x, b.weight("w", np.ones((2, 3), np.float32)))
    y = b.op("tanh", b.op("add", z, h))
    b.write(h, y)
    b.output("y", y, ("B", 2))
    b.entry("step")
    return b.build()


def test_json_round_trip_is_identical() -> None:
    p = small()
    again = Program.from_json(json.loads(json.dumps(p.to_json())), p.weights)
    assert again.to_json() == p.to_json()
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(
        p.run("step", {"x": x})[0]["y"], again.run("step", {"x": x})[0]["y"]
    )


def broken(change: Any) -> str:
    p = small()
    stored = copy.deepcopy(p.to_json())
    change(stored)
    with pytest.raises(ProgramError) as error:
        Program.from_json(stored, p.weights)
    return str(error.value)


def test_validation_names_the_place() -> None:
    operations = lambda s: s["entries"][0]["operations"]  # noqa: E731
    assert "kind 'odd'" in broken(lambda s: s.update(kind="odd"))
    assert "window" in broken(lambda s: s.update(kind="windowed"))
    assert "operation 0 (magic)" in broken(lambda s: operations(s)[0].update(kind="magic"))
    assert "not made yet" in broken(lambda s: operations(s).reverse())
    assert "unknown attribute" in broken(lambda s: operations(s)[0]["attributes"].update(eval=1))
    assert "unknown input" in broken(lambda s: operations(s)[0]["inputs"].update(odd="x"))
    assert "no input weight" in broken(lambda s: operations(s)[0]["inputs"].pop("weight"))
    assert "does not end in 3" in broken(
        lambda s: s["entries"][0]["inputs"][0].update(shape=["B", 4])
    )
    assert "output 'y'" in broken(lambda s: s["entries"][0]["outputs"][0].update(shape=["B", 9]))
    assert "slot 'h' becomes" in broken(lambda s: s["entries"][0].update(state={"h": "x"}))
    assert "nothing writes" in broken(lambda s: s["entries"][0].update(state={}))
    assert "not declared" in broken(lambda s: s["entries"][0]["state"].update(k="y"))
    assert "made twice" in broken(lambda s: operations(s)[1].update(outputs={"z": "linear1"}))


def test_unused_weights_are_refused() -> None:
    p = small()
    with pytest.raises(ProgramError, match="nothing uses weights/odd"):
        Program.from_json(p.to_json(), {**p.weights, "odd": np.ones(1)})


def test_inputs_that_do_not_fit_are_refused() -> None:
    p = small()
    with pytest.raises(ProgramError, match="no entry point"):
        p.run("decode", {})
    with pytest.raises(ProgramError, match="other inputs"):
        p.run("step", {"z": np.ones((1, 3))})
    with pytest.raises(ProgramError, match="does not fit"):
        p.run("step", {"x": np.ones((1, 4))})
    with pytest.raises(ProgramError, match="slot 'h'"):
        p.run("step", {"x": np.ones((1, 3))}, {"h": np.ones((2, 2))})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**40) | st.floats() | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children)
    ),
    max_leaves=5,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        return found + [p for k, v in value.items() for p in places(v, (*path, k))]
    if isinstance(value, list):
        return found + [p for k, v in enumerate(value) for p in places(v, (*path, k))]
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_mutated_programs_are_refused_or_run(data: st.DataObject) -> None:
    p = small()
    stored = copy.deepcopy(p.to_json())
    *path, last = data.draw(st.sampled_from(places(stored)))
    target = stored
    for key in path:
        target = target[key]
    target[last] = data.draw(JSON)
    try:
        q = Program.from_json(stored, p.weights)
        q.run(next(iter(q.entries)), {"x": np.ones((2, 3), np.float32)})
    except ProgramError:
        pass


def one(kind: str, inputs: dict[str, Any], result: tuple[Any, ...], **attributes: Any) -> Program:
    """A program of one operation; `inputs`: role -> shape of an input of that name."""
    b = Builder("windowed", window=4)
    roles = {role: b.input(role, of) for role, of in inputs.items()}
    found = b.op(kind, **roles, **attributes)
    b.output("out", found if isinstance(found, str) else found[0], result)
    b.entry("run")
    return b.build()


@pytest.mark.parametrize("kind", ["softmax", "log_softmax", "sort", "sum", "mean"])
def test_samples_of_a_batch_do_not_mix(kind: str) -> None:
    with pytest.raises(ProgramError, match="batch"):
        one(kind, {"x": ("B", 4)}, ("B", 4), axis=0)


def test_values_are_bounded_before_they_are_made() -> None:
    b = Builder("windowed", window=4)
    x = b.input("x", ("B", 4))
    for _ in range(40):
        x = b.op("concat", x, x, axis=1)
    b.output("y", x, ("B", 4 * 2**40))
    b.entry("run")
    with pytest.raises(ProgramError, match="too large"):
        b.build()


def test_infinities_flow_without_a_warning() -> None:
    p = one("exp", {"x": ("B", 2)}, ("B", 2))
    found, _ = p.run("run", {"x": np.array([[1000.0, -1000.0]])})
    np.testing.assert_array_equal(found["out"], [[np.inf, 0.0]])


def test_results_share_no_memory_with_inputs() -> None:
    p = one("reshape", {"x": ("B", 4)}, ("B", 2, 2), shape=[0, 2, 2])
    x = np.ones((3, 4), np.float32)
    assert not np.shares_memory(p.run("run", {"x": x})[0]["out"], x)


def test_what_instance_norm_does_not_observe_may_be_nan() -> None:
    x, mask = np.array([[1.0, np.nan, 3.0, 5.0]]), np.array([[1.0, 0.0, 1.0, 1.0]])
    found = perform("instance_norm", {"x": x, "mask": mask})
    assert found["mean"] == 3.0
    assert np.isfinite(found["y"]).all()


@pytest.mark.parametrize("length", [-1, 5])
def test_lengths_lie_within_the_sequence(length: int) -> None:
    weights = {"weight_ih": np.ones((8, 3)), "weight_hh": np.ones((8, 2))}
    inputs = {"x": np.ones((1, 4, 3)), "lengths": np.array([length]), **weights}
    with pytest.raises(ProgramError, match="length"):
        perform("lstm", inputs, hidden_size=2)


def test_only_the_batch_may_be_empty() -> None:
    p = one("softmax", {"x": ("B", "T", 3)}, ("B", "T", 3), axis=1)
    assert p.run("run", {"x": np.ones((0, 2, 3))})[0]["out"].shape == (0, 2, 3)
    with pytest.raises(ProgramError, match="does not fit"):
        p.run("run", {"x": np.ones((2, 0, 3))})
