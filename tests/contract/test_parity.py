"""Every backend beside oracle, torch.nn.LSTM and float64: outputs, states, traces, gradients."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from contract.cases import CASES, GRADIENT_TOLERANCE, TOLERANCE, Case, scaled_error
from contract.oracle import Direction, drops, philox
from torch import Tensor, nn

import lstmkit
from lstmkit.equations import philox as ours
from lstmkit.errors import UserError
from lstmkit.kernels import registry
from lstmkit.layers.trace import FIELDS

pytestmark = [
    pytest.mark.usefixtures("poisoned"),
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN"),
]
BACKENDS = list(registry.backends())
IDS = [case.name for case in CASES]


def all_results(case: Case, backend: str, dtype: torch.dtype, wide: bool = False) -> Any:
    """Outputs and gradients of one call in training, through every result and the trace; `wide`
    computes in float64 with what was rounded to dtype."""
    used = torch.float64 if wide else dtype
    layer = case.make(backend, dtype).to(used)
    layer.generator = torch.Generator().manual_seed(7)
    x, call = case.input(dtype).to(used).requires_grad_(), case.call(dtype)
    if "hx" in call:
        call["hx"] = tuple(s.to(used).requires_grad_() for s in call["hx"])
    output, (h, c), trace = layer(x, trace=True, **call)
    kept = [getattr(trace, name) for name in FIELDS]
    results = [output, h, c, *kept]
    g = torch.Generator().manual_seed(4)
    total = sum(
        (r.double() * torch.randn(r.shape, generator=g, dtype=torch.float64)).sum() for r in results
    )
    sources = [x, *call.get("hx", ()), *layer.parameters()]
    grads = torch.autograd.grad(total, sources)
    return results, grads


def runs(backend: str, case: Case, dtype: torch.dtype) -> bool:
    layer = case.make(backend, dtype)
    return registry.backend(backend).supports(layer.case(case.input(dtype), **case.call())) is None


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("case", "dtype"),
    [pytest.param(c, dtype, id=f"{c.name}-{dtype}") for c in CASES for dtype in c.dtypes],
)
def test_agrees_with_float64(case: Case, backend: str, dtype: torch.dtype) -> None:
    if not runs(backend, case, dtype):
        with pytest.raises(UserError, match="cannot run"):
            case.make(backend, dtype)(case.input(dtype), **case.call(dtype))
        return
    expected, expected_grads = all_results(case, "reference", dtype, wide=True)
    results, grads = all_results(case, backend, dtype)
    for found, wanted in zip(results, expected, strict=True):
        assert found.dtype == dtype
        assert scaled_error(found, wanted) < TOLERANCE[dtype]
    for found, wanted in zip(grads, expected_grads, strict=True):
        assert scaled_error(found, wanted) < GRADIENT_TOLERANCE[dtype]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", [c for c in CASES if c.plain], ids=lambda c: c.name)
def test_agrees_with_torch(case: Case, backend: str) -> None:
    if case.resets or not runs(backend, case, torch.float64):
        return
    layer = case.make(backend)
    peer = nn.LSTM(case.I, case.H, dtype=torch.float64, **case.layer)
    peer.load_state_dict(layer.state_dict())
    call = case.call()
    lengths = call.pop("lengths", None)
    for b in range(case.B):
        n = case.T if lengths is None else int(lengths[b])
        x = case.input()[:n, b : b + 1].clone().requires_grad_()
        y = x.detach().clone().requires_grad_()
        one = {"hx": tuple(s[:, b : b + 1] for s in call["hx"])} if "hx" in call else {}
        if n == 0:
            continue
        found, expected = layer(x, **one), peer(y, **one)
        pairs = [(found[0], expected[0]), *zip(found[1], expected[1], strict=True)]
        assert max(scaled_error(a, e) for a, e in pairs) < TOLERANCE[torch.float64]
        found[0].sin().sum().backward()
        expected[0].sin().sum().backward()
        assert scaled_error(x.grad, y.grad) < GRADIENT_TOLERANCE[torch.float64]
    for p, q in zip(layer.parameters(), peer.parameters(), strict=True):
        assert scaled_error(p.grad, q.grad) < GRADIENT_TOLERANCE[torch.float64]


# --- the oracle -----------------------------------------------------------------------------------


def oracle(case: Case, layer: lstmkit.LSTM, seed: int | None, training: bool) -> dict[str, Any]:
    """Output, h_n, c_n and gates by the scalar oracle; masks around layers included."""
    x, call = case.input().numpy(), case.call()
    T, B = x.shape[:2]
    lengths = case.lengths or (T,) * B
    resets = call.get("resets", torch.zeros(T, B, dtype=torch.bool)).numpy()
    key = seed if training else None
    h_n, c_n, traces = [], [], []
    rates = layer.variational_dropout if training else None
    for k in range(layer.num_layers):
        if rates:
            which, place = ("input", 0) if k == 0 else ("between", k - 1)
            x = x * around(rates[min(k, 1)], seed, which, place, x.shape)
        outputs = []
        for reverse in (False, True)[: 1 + layer.bidirectional]:
            weights = {n: w.detach().numpy() for n, w in layer.weights_of(k, reverse).items()}
            if training and layer.weight_drop:
                weights["weight_hh"] = dropped_weight(layer, weights, seed, k, reverse)
            options = {
                "layer": k,
                "reverse": reverse,
                "coupled": layer.coupled_gates,
                "zoneout": layer.zoneout,
                "recurrent_dropout": layer.recurrent_dropout,
            }
            place = k * (1 + layer.bidirectional) + reverse
            h0, c0 = (
                (s[place].numpy() for s in call["hx"])
                if "hx" in call
                else (np.zeros((B, layer.proj_size or case.H)), np.zeros((B, case.H)))
            )
            one = Direction(weights, options, key)
            found = [one.run(x[:, b], h0[b], c0[b], lengths[b], resets[:, b], b) for b in range(B)]
            outputs.append(np.stack([f[0] for f in found], 1))
            h_n.append(np.stack([f[1] for f in found]))
            c_n.append(np.stack([f[2] for f in found]))
            traces.append([f[3] for f in found])
        y = np.concatenate(outputs, -1)
        x = y + np.nan_to_num(x) if layer.residual and k > 0 else y
    if rates:
        x = x * around(rates[2], seed, "output", layer.num_layers - 1, x.shape)
    return {"output": x, "h_n": np.stack(h_n), "c_n": np.stack(c_n), "traces": traces}


def around(p: float, seed: int | None, which: str, layer: int, shape: Any) -> np.ndarray:
    _, B, N = shape
    kept = [
        [not drops(p, seed or 0, which, layer, False, b, 0, u) for u in range(N)] for b in range(B)
    ]
    return np.array(kept) / (1 - p)


def dropped_weight(
    layer: lstmkit.LSTM, weights: dict[str, np.ndarray], seed: int | None, k: int, reverse: bool
) -> np.ndarray:
    w, p = weights["weight_hh"], layer.weight_drop
    rows, columns = w.shape
    kept = [
        [not drops(p, seed or 0, "weight_drop", k, reverse, r, 0, u) for u in range(columns)]
        for r in range(rows)
    ]
    return w * np.array(kept) / (1 - p)


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_agrees_with_the_oracle(case: Case, training: bool, monkeypatch: Any) -> None:
    seed = -(2**62) + 12345
    monkeypatch.setattr(torch, "randint", lambda *a, **k: torch.tensor(seed))
    layer = case.make().train(training)
    output, (h, c), trace = layer(case.input(), trace=True, **case.call())
    expected = oracle(case, layer, seed, training)
    assert scaled_error(output, torch.tensor(expected["output"])) < 1e-11
    assert scaled_error(h, torch.tensor(expected["h_n"])) < 1e-11
    assert scaled_error(c, torch.tensor(expected["c_n"])) < 1e-11
    for one, samples in zip(trace.layers, expected["traces"], strict=True):
        for b, steps in enumerate(samples):
            for t in range(case.T):
                for k, name in enumerate(FIELDS[:5]):
                    found = getattr(one, name)[t, b]
                    wanted = torch.tensor(steps[t][k]) if t in steps else torch.zeros_like(found)
                    assert scaled_error(found, wanted) < 1e-11


def test_philox_known_answers() -> None:
    """The test vectors of Random123, for the oracle and for the package."""
    for word, expected in (
        (0, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        (0xFFFFFFFF, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    ):
        assert philox([word] * 4, [word] * 2) == expected
        for make in (np.int64, torch.tensor):
            found = ours.philox((make(word),) * 4, (make(word),) * 2)
            assert [int(v) for v in found] == expected


def test_masks_have_their_rate() -> None:
    words = ours.words(torch.tensor(5), 0, 0, 0, torch.arange(100)[:, None], 0, torch.arange(100))
    for p in (0.1, 0.5, 0.9):
        assert abs(ours.dropped(p, words).double().mean().item() - p) < 0.02
    assert not ours.dropped(0.0, words).any()


# --- registry -------------------------------------------------------------------------------------


def test_explicit_backend_that_cannot_raises_and_says_why() -> None:
    layer = lstmkit.LSTM(3, 4, peephole=True, backend="vendor")
    with pytest.raises(UserError, match="no peephole"):
        layer(torch.zeros(2, 1, 3))
    with pytest.raises(UserError, match="no backend 'fast'"):
        lstmkit.LSTM(3, 4, backend="fast")


def test_explain_names_every_backend() -> None:
    text = lstmkit.kernels.explain(lstmkit.LSTM(3, 4, layer_norm=True), torch.zeros(2, 1, 3))
    assert "* reference" in text
    assert "no layer_norm" in text
    plain = lstmkit.kernels.explain(lstmkit.LSTM(3, 4), torch.zeros(2, 1, 3))
    assert "* native" in plain
    assert "vendor     could run this" in plain


def test_auto_takes_a_fast_backend_where_it_can_and_warns_once_where_not(monkeypatch: Any) -> None:
    monkeypatch.setattr(registry, "_warned", set())
    x = torch.zeros(2, 1, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lstmkit.LSTM(3, 4)(x)
    layer = lstmkit.LSTM(3, 4, peephole=True)
    with pytest.warns(UserWarning, match="reference kernel runs peephole"):
        layer(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(x)


def test_which_path_ran(monkeypatch: Any) -> None:
    called: list[str] = []
    for name, backend in registry.backends().items():
        for method in ("forward", "stack"):
            if hasattr(backend, method):
                original = getattr(backend, method)

                def spy(*a: Any, _n: str = name, _f: Any = original) -> Any:
                    called.append(_n)
                    return _f(*a)

                monkeypatch.setattr(backend, method, spy, raising=False)
    x: Tensor = torch.zeros(2, 1, 3)
    for name in ("native", "vendor", "reference"):
        called.clear()
        lstmkit.LSTM(3, 4, backend=name)(x)
        assert set(called) == {name}
