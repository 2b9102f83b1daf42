"""One matrix: batch = stream = chunks = runtime = ONNX = C, for every variant, and the forecaster.

The judge is the layer itself. Where the engine steps a variant natively, bits are compared.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from export.compiled import Compiled, compiled, needs_compiler
from runtime.cases import NATIVE_VARIANTS, TOLERANCE, VARIANTS, answer, apart, layer, sequences

from lstmkit import runtime
from lstmkit.program import Program

B, T = 3, 13
X = sequences(B, T)
STREAMED = [name for name in VARIANTS if not VARIANTS[name].get("bidirectional")]


@pytest.fixture(scope="module", params=VARIANTS)
def case(request: pytest.FixtureRequest) -> tuple[str, Any, Program]:
    module = layer(request.param)
    return request.param, answer(module, X), module.program()


def streamed(model: runtime.Model, x: np.ndarray) -> np.ndarray:
    session: Any = model.session()
    return np.stack([session.step(row) for row in x])


def test_runtime_whole(case: Any) -> None:
    name, wanted, p = case
    found, _ = runtime.load(p).run("sequence", {"x": X})
    assert apart(found["y"], wanted) < TOLERANCE
    if name in NATIVE_VARIANTS:
        assert np.array_equal(found["y"], wanted)


def test_a_sample_alone_is_a_sample_in_a_batch(case: Any) -> None:
    name, wanted, p = case
    model = runtime.load(p)
    for b in range(B):
        found, _ = model.run("sequence", {"x": X[b : b + 1]})
        assert apart(found["y"][0], wanted[b]) < TOLERANCE
        assert name not in NATIVE_VARIANTS or np.array_equal(found["y"][0], wanted[b])


def test_runtime_in_chunks(case: Any) -> None:
    name, wanted, p = case
    if not p.slots:
        pytest.skip("both directions need the whole sequence")
    model, state, parts = runtime.load(p), None, []
    for part in np.split(X, [1, 2, 9], axis=1):
        found, state = model.run("sequence", {"x": part}, state)
        parts.append(found["y"])
    assert apart(np.concatenate(parts, 1), wanted) < TOLERANCE
    assert name not in NATIVE_VARIANTS or np.array_equal(np.concatenate(parts, 1), wanted)


def test_runtime_streamed_alone_and_together(case: Any) -> None:
    name, wanted, p = case
    if not p.slots:
        pytest.skip("both directions need the whole sequence")
    model = runtime.load(p)
    for b in range(B):
        assert apart(streamed(model, X[b]), wanted[b]) < TOLERANCE
    sessions: list[Any] = [model.session() for _ in range(B)]
    together = np.stack([runtime.step_many(sessions, X[:, t]) for t in range(T)], 1)
    assert apart(together, wanted) < TOLERANCE
    assert name not in NATIVE_VARIANTS or np.array_equal(together, wanted)


def onnx_session(p: Program, entry: str) -> Any:
    onnxruntime = pytest.importorskip("onnxruntime")
    from lstmkit.export.onnx import to_onnx

    model = to_onnx(p, entry).SerializeToString()
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


def test_onnx_whole_and_in_chunks(case: Any) -> None:
    _, wanted, p = case
    session = onnx_session(p, "sequence")
    state, parts = p.initial_state(B), []
    for part in np.split(X, [4, 5], axis=1) if state else [X]:
        y, *after = session.run(["y", *(f"{n}_out" for n in state)], {"x": part, **state})
        state = dict(zip(state, after, strict=True))
        parts.append(y)
    assert apart(np.concatenate(parts, 1), wanted) < TOLERANCE


@pytest.mark.parametrize("variant", STREAMED)
def test_onnx_streamed(variant: str) -> None:
    module = layer(variant)
    p, wanted = module.program(), answer(module, X)
    session, state = onnx_session(p, "step"), p.initial_state(B)
    for t in range(T):
        y, *after = session.run(["y", *(f"{n}_out" for n in state)], {"x": X[:, t], **state})
        state = dict(zip(state, after, strict=True))
        assert apart(y, wanted[:, t]) < TOLERANCE


@pytest.fixture(scope="module")
def c(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    programs = {f"{name}_whole": (layer(name).program(), "sequence", T) for name in VARIANTS}
    programs |= {f"{name}_step": (layer(name).program(), "step", None) for name in STREAMED}
    return compiled(tmp_path_factory.mktemp("c"), programs)


@needs_compiler
@pytest.mark.parametrize("variant", VARIANTS)
def test_c_whole(c: Compiled, variant: str) -> None:
    wanted = answer(layer(variant), X)
    for b in range(B):
        found = c.stream(f"{variant}_whole").step({"x": X[b]})
        assert apart(found["y"], wanted[b]) < TOLERANCE


@needs_compiler
@pytest.mark.parametrize("variant", STREAMED)
def test_c_streamed(c: Compiled, variant: str) -> None:
    wanted = answer(layer(variant), X)
    stream = c.stream(f"{variant}_step")
    found = np.stack([stream.step({"x": row})["y"] for row in X[0]])
    assert apart(found, wanted[0]) < TOLERANCE


# --- the forecasting model ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def forecaster() -> tuple[Any, Program]:
    import torch

    from lstmkit.tasks.forecast.features import geometry
    from lstmkit.tasks.forecast.network import ForecastNetwork, Sizes, program

    torch.manual_seed(0)
    shape = geometry(10, 7, "1d", lookback=28, lengths=[100], days=100)
    network = ForecastNetwork(shape, Sizes(12, 2, 8, 0.1), (0.1, 0.5, 0.9)).eval()
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return network, program(network)


def windows(p: Program, batch: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    ports = {port.name: port.shape[1:] for port in p.entries["forecast"].inputs}
    given = {n: random.standard_normal((batch, *s)).astype(np.float32) for n, s in ports.items()}
    given["mask"] = (random.random(given["mask"].shape) < 0.8).astype(np.float32)
    given["values"] *= given["mask"]
    return given


def test_the_forecaster_everywhere(forecaster: Any, tmp_path: Path) -> None:
    import torch

    network, p = forecaster
    given = windows(p, 5)
    with torch.no_grad():
        wanted = network(*(torch.from_numpy(a) for a in given.values())).numpy()
    model = runtime.load(p)
    plan = model.plan(p.entries["forecast"], given)
    assert plan is not None and plan.native
    whole = model.run("forecast", given)[0]["quantiles"]
    assert apart(whole, wanted) < TOLERANCE
    for b in range(5):
        alone = model.run("forecast", {k: a[b : b + 1] for k, a in given.items()})
        assert np.array_equal(alone[0]["quantiles"][0], whole[b])
    (found,) = onnx_session(p, "forecast").run(["quantiles"], given)
    assert apart(found, wanted) < TOLERANCE


@needs_compiler
def test_the_forecaster_in_c(forecaster: Any, tmp_path: Path) -> None:
    _, p = forecaster
    given = windows(p, 3)
    stream = compiled(tmp_path, {"forecast": (p, None, None)}).stream("forecast")
    wanted, _ = p.run("forecast", given)
    for b in range(3):
        found = stream.step({k: a[b] for k, a in given.items()})
        assert apart(found["quantiles"], wanted["quantiles"][b]) < TOLERANCE
