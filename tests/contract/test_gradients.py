"""Gradients beside finite differences, once and twice, in float64."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import pytest
import torch
from contract.cases import BY_NAME, CASES, DEEP, RAGGED, RESETS, Case
from torch import Tensor
from torch.func import functional_call

import lstmkit
from lstmkit.kernels import registry
from lstmkit.layers.trace import FIELDS

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported")


@pytest.fixture(autouse=True)
def quick_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed fast check would build the whole Jacobian for its message: minutes."""
    checks = sys.modules["torch.autograd.gradcheck"]
    monkeypatch.setattr(checks, "_run_slow_mode_and_get_error", lambda *_: "", raising=False)


def runs(case: Case, backend: str) -> bool:
    found = case.make(backend).case(case.input(), **case.call())
    return registry.backend(backend).supports(found) is None


def function(case: Case, backend: str, trace: bool = True) -> tuple[Any, Tensor]:
    """The call as a function of one vector (input, states and parameters end to end) to one vector
    of all results, trace included, and a point to check it at."""
    layer, call = case.make(backend), case.call()
    names = [name for name, _ in layer.named_parameters()]
    parts = [case.input().nan_to_num(), *call.pop("hx", ()), *layer.parameters()]
    sizes, shapes = [p.numel() for p in parts], [p.shape for p in parts]
    states = len(parts) - 1 - len(names)

    def f(point: Tensor) -> Tensor:
        layer.generator = torch.Generator().manual_seed(3)
        pieces = zip(point.split(sizes), shapes, strict=True)
        x, *rest = (piece.view(shape) for piece, shape in pieces)
        given = {**call, "hx": tuple(rest[:states])} if states else call
        weights = dict(zip(names, rest[states:], strict=True))
        found = functional_call(layer, weights, (x,), {**given, "trace": trace})
        kept = [getattr(found[2], name) for name in FIELDS] if trace else []
        return torch.cat([r.flatten() for r in (found[0], *found[1], *kept)])

    return f, torch.cat([p.detach().flatten() for p in parts]).requires_grad_()


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_first_derivatives(case: Case) -> None:
    if case.H > 9:
        case = dataclasses.replace(case, T=2, B=2, I=2, H=5)
    f, point = function(case, "reference")
    assert torch.autograd.gradcheck(f, (point,), fast_mode=True, atol=1e-6)


SMALL = {"T": 3, "B": 2, "I": 2, "H": 2}
SMALL_EVERYTHING: dict[str, Any] = {
    **SMALL,
    "layer": {**BY_NAME["everything"].layer, "proj_size": 1},
    "lengths": (3, 1),
    "resets": ((0, 0), (2, 0), (1, 1)),
}
TWICE = [
    Case("plain", **SMALL, initial=True),
    Case("ragged", **SMALL, lengths=(3, 1)),
    Case("resets", **SMALL, resets=((1, 0), (2, 1)), layer={"bidirectional": True}),
    Case("peephole", **SMALL, layer={"peephole": True}),
    Case("layer-norm", **SMALL, layer={"layer_norm": True}),
    Case("coupled", **SMALL, layer={"coupled_gates": True, "peephole": True}),
    Case("masks", **SMALL, layer={"zoneout": 0.3, "recurrent_dropout": 0.3, "weight_drop": 0.2}),
    Case("recompute", **SMALL, layer={"recompute": True, "proj_size": 1}),
    Case("zoneout", **SMALL, layer={"zoneout": (0.3, 0.2)}, initial=True),
    Case("recurrent-dropout", **SMALL, layer={"recurrent_dropout": 0.3}),
    Case("projected-no-bias", **SMALL, layer={"proj_size": 1, "bias": False}, initial=True),
    Case("residual", **SMALL, layer={**DEEP, "residual": True, "peephole": True}),
    dataclasses.replace(BY_NAME["everything"], name="everything", **SMALL_EVERYTHING),
]


@pytest.mark.parametrize("trace", [False, True], ids=["results", "trace"])
@pytest.mark.parametrize(
    ("case", "backend"),
    [
        pytest.param(c, name, id=f"{c.name}-{name}")
        for c in CASES
        for name in ("native", "vendor")
        if runs(c, name)
    ],
)
def test_first_derivatives_of_the_fast_paths(case: Case, backend: str, trace: bool) -> None:
    if case.H > 9:
        case = dataclasses.replace(case, T=2, B=2, I=2, H=5)
    f, point = function(case, backend, trace)
    assert torch.autograd.gradcheck(f, (point,), fast_mode=True, atol=1e-6)


@pytest.mark.parametrize("case", TWICE, ids=lambda c: c.name)
def test_second_derivatives(case: Case) -> None:
    f, point = function(case, "reference", trace=not case.layer.get("recompute"))
    assert torch.autograd.gradgradcheck(f, (point,), fast_mode=True, atol=1e-6)


@pytest.mark.parametrize(
    "layer",
    [
        pytest.param({}, id="plain"),
        pytest.param({"bias": False}, id="no-bias"),
        pytest.param({"proj_size": 1}, id="projected"),
        pytest.param(DEEP, id="deep-both-ways"),
        pytest.param({"weight_drop": 0.3}, id="weight-drop"),
        pytest.param({**DEEP, "residual": True}, id="residual"),
        pytest.param({"num_layers": 2, "variational_dropout": (0.1, 0.3, 0.2)}, id="variational"),
    ],
)
@pytest.mark.parametrize("lengths", [None, (3, 1)], ids=["dense", "ragged"])
@pytest.mark.parametrize("backend", ["native", "vendor"])
def test_second_derivatives_of_the_fast_paths(layer: Any, lengths: Any, backend: str) -> None:
    """oneDNN refuses to be differentiated twice; the replay through the operator does it."""
    case = Case("fast", **SMALL, layer=layer, lengths=lengths, initial=True)
    f, point = function(case, backend, trace=False)
    assert torch.autograd.gradgradcheck(f, (point,), fast_mode=True, atol=1e-6)


def test_double_backward_of_float32_equals_float64() -> None:
    penalties = []
    for dtype in (torch.float32, torch.float64):
        layer = BY_NAME["plain"].make("vendor", dtype)
        x = BY_NAME["plain"].input(dtype).requires_grad_()
        (g,) = torch.autograd.grad(layer(x)[0].sum(), x, create_graph=True)
        g.pow(2).sum().backward()
        penalties.append(layer.weight_hh_l0.grad)
    torch.testing.assert_close(penalties[0].double(), penalties[1], atol=1e-5, rtol=1e-4)


def test_packed_double_backward() -> None:
    layer = lstmkit.LSTM(2, 3, dtype=torch.float64)
    x = torch.randn(4, 2, 2, dtype=torch.float64, requires_grad=True)

    def f(x: Tensor) -> Tensor:
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, [2, 4], enforce_sorted=False)
        return layer(packed)[0].data

    assert torch.autograd.gradgradcheck(f, (x,), fast_mode=True)


def test_third_derivative() -> None:
    case = Case("third", T=2, B=1, I=1, H=1)
    layer, x = case.make(), case.input().requires_grad_()
    one = layer(x)[0].pow(2).sum()
    two = torch.autograd.grad(one, x, create_graph=True)[0].sum()
    three = torch.autograd.grad(two, x, create_graph=True)[0].sum()

    def g(x: Tensor) -> Tensor:
        y = layer(x)[0].pow(2).sum()
        first = torch.autograd.grad(y, x, create_graph=True)[0].sum()
        return torch.autograd.grad(first, x, create_graph=True)[0].sum()

    assert torch.autograd.gradcheck(g, (x,))
    assert three.requires_grad


def test_padding_takes_no_gradient() -> None:
    case = BY_NAME["ragged"]
    for backend in registry.backends():
        layer, x = case.make(backend), case.input().requires_grad_()
        layer(x, **case.call())[0].sum().backward()
        assert torch.isfinite(x.grad).all()
        for b, n in enumerate(RAGGED["lengths"]):
            assert (x.grad[n:, b] == 0).all()
        assert all(torch.isfinite(p.grad).all() for p in layer.parameters())


def test_gradient_stops_at_a_reset() -> None:
    case = BY_NAME["resets"]
    layer, x = case.make(), case.input().requires_grad_()
    layer(x, **case.call())[0][4].sum().backward()
    for b, first in ((0, 2), (1, 3), (2, 4)):
        assert (x.grad[:first, b] == 0).all()
        assert (x.grad[first:, b] != 0).any()
    assert RESETS["resets"][1] == (2, 0)


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_recompute_keeps_less(backend: str) -> None:
    kept: dict[bool, int] = {}
    for recompute in (False, True):
        layer = lstmkit.LSTM(8, 16, recompute=recompute, backend=backend)
        sizes: dict[int, int] = {}

        def pack(t: Tensor, sizes: dict[int, int] = sizes) -> Tensor:
            sizes[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            layer(torch.randn(100, 4, 8))
        kept[recompute] = sum(sizes.values())
    assert kept[True] < 0.5 * kept[False]
