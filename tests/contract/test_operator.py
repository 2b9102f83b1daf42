"""The operator's promises to PyTorch: schema, strides, dtypes, freed graphs, transforms."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
from contract.cases import Case, scaled_error
from torch import Tensor, nn
from torch.autograd import forward_ad

import lstmkit
from lstmkit.kernels import registry
from lstmkit.kernels.contract import Arguments, CellOptions, Result
from lstmkit.kernels.operators import lstm_sequence, lstm_sequence_backward

pytestmark = pytest.mark.filterwarnings("ignore:only the reference kernel")
T, B, I, H = 4, 3, 2, 5
OPTIONS = {"plain": (0.0, 0.0), "zoneout": (0.3, 0.2)}


def arguments(strided: bool) -> Arguments:
    """Plain float64 arguments, each contiguous or transposed in memory."""

    def make(*shape: int) -> Tensor:
        x = torch.randn(*shape, dtype=torch.float64)
        if strided and x.dim() > 1:
            x = x.transpose(0, 1).contiguous().transpose(0, 1)
        return x.requires_grad_()

    states = make(B, H), make(B, H)
    weights = make(4 * H, I), make(4 * H, H), make(4 * H), make(4 * H)
    return Arguments(make(T, B, I), *states, *weights)


@pytest.mark.parametrize("strided", [False, True], ids=["contiguous", "strided"])
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize(
    ("backend", "options"), [("vendor", "plain"), ("reference", "plain"), ("reference", "zoneout")]
)
def test_forward_keeps_what_its_registration_promises(
    backend: str, options: str, reverse: bool, strided: bool
) -> None:
    a = arguments(strided)._replace(lengths=torch.tensor([4, 0, 2]))
    o = CellOptions(reverse, False, 0.0, *OPTIONS[options])
    flat = (o.reverse, o.coupled, o.recurrent_dropout, o.zoneout_h, o.zoneout_c, False, 0)
    torch.library.opcheck(lstm_sequence, (*a, *flat, True, backend))


@pytest.mark.parametrize("strided", [False, True], ids=["contiguous", "strided"])
def test_backward_keeps_what_its_registration_promises(strided: bool) -> None:
    a = arguments(strided)
    results = registry.backend("reference").forward(a, CellOptions(), True)
    results = Result(*(r.detach() for r in results))
    grads = [torch.randn_like(r) for r in results]
    flat = (False, False, 0.0, 0.0, 0.0, False, 0, "reference")
    tensors = [x for x in a if x is not None]
    torch.library.opcheck(
        lstm_sequence_backward,
        (tensors, list(range(len(tensors))), grads, list(results), *flat),
        test_utils=("test_schema", "test_faketensor", "test_autograd_registration"),
    )


@pytest.mark.parametrize("variant", [{}, {"peephole": True}], ids=["plain", "variant"])
def test_mixed_dtypes_are_refused(variant: dict[str, Any]) -> None:
    x, h = torch.zeros(T, B, I), torch.zeros(1, B, H)
    for hx in ((h.double(), h.double()), (h, h.double()), (h.double(), h)):
        with pytest.raises(RuntimeError):
            lstmkit.LSTM(I, H, **variant)(x, hx)


@pytest.mark.parametrize("variant", [{}, {"layer_norm": True}], ids=["plain", "variant"])
def test_autocast_leaves_float64_alone(variant: dict[str, Any]) -> None:
    layer, x = lstmkit.LSTM(I, H, dtype=torch.float64, **variant), torch.zeros(T, B, I).double()
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x)
        expected = nn.LSTM(I, H, dtype=torch.float64)(x)
    assert found[0].dtype == found[1][0].dtype == found[1][1].dtype == expected[0].dtype
    assert torch.equal(found[0], layer(x)[0])


@pytest.mark.parametrize("variant", [{}, {"layer_norm": True}], ids=["plain", "variant"])
def test_autocast_state_is_carried_on(variant: dict[str, Any]) -> None:
    layer, x = lstmkit.LSTM(I, H, **variant), torch.randn(T, B, I)
    with torch.autocast("cpu", torch.bfloat16):
        whole, _ = layer(x)
        first, state = layer(x[:2])
        second, _ = layer(x[2:], state)
    assert state[1].dtype == torch.bfloat16
    assert scaled_error(torch.cat([first, second]), whole) < 2e-2


def test_double_backward_where_the_vendor_path_narrows(monkeypatch: Any) -> None:
    """As cuDNN under autocast: results in float16 from float32 arguments."""
    vendor: Any = registry.backend("vendor")
    stack = vendor.stack
    monkeypatch.setattr(
        type(vendor), "stack", lambda self, *a: tuple(r.to(torch.float16) for r in stack(*a))
    )
    layer, x = lstmkit.LSTM(I, H, backend="vendor"), torch.randn(T, B, I, requires_grad=True)
    output = layer(x)[0]
    assert output.dtype == torch.float16
    (first,) = torch.autograd.grad(output.float().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.pow(2).sum(), x)
    monkeypatch.undo()
    (exact,) = torch.autograd.grad(layer(x)[0].sum(), x, create_graph=True)
    (wanted,) = torch.autograd.grad(exact.pow(2).sum(), x)
    assert scaled_error(second, wanted) < 1e-2


LAYERS: dict[str, dict[str, Any]] = {"plain": {}, "variant": {"peephole": True}}


@pytest.mark.parametrize("name", LAYERS)
def test_a_freed_graph_is_not_differentiated_again(name: str) -> None:
    loss = lstmkit.LSTM(I, H, **LAYERS[name])(torch.randn(T, B, I))[0].sum()
    loss.backward(retain_graph=True)
    loss.backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        loss.backward()


class Saved:
    """A tensor that waits for the backward pass."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


@pytest.mark.parametrize("name", LAYERS)
def test_activations_are_freed_by_backward_though_the_loss_lives(name: str) -> None:
    layer, x, waiting = lstmkit.LSTM(I, H, **LAYERS[name]), torch.randn(T, B, I), weakref.WeakSet()

    def pack(tensor: Tensor) -> Saved:
        saved = Saved(tensor)
        waiting.add(saved)
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved.tensor):
        loss = layer(x)[0].sum()
    assert len(waiting) > 4
    loss.backward()
    gc.collect()
    assert len(waiting) == 0
    assert loss.grad_fn is not None


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("frozen", [False, True], ids=["trained", "frozen"])
@pytest.mark.parametrize("name", LAYERS)
def test_forward_mode_is_never_silently_lost(name: str, frozen: bool) -> None:
    layer = lstmkit.LSTM(I, H, dtype=torch.float64, **LAYERS[name]).requires_grad_(not frozen)
    x, v = torch.randn(2, T, B, I, dtype=torch.float64)
    with forward_ad.dual_level():
        output = layer(forward_ad.make_dual(x, v))[0]
        tangent = forward_ad.unpack_dual(output).tangent
    with torch.no_grad():
        difference = (layer(x + 1e-6 * v)[0] - layer(x - 1e-6 * v)[0]) / 2e-6
    assert scaled_error(tangent, difference) < 1e-7


@pytest.mark.parametrize("backend", list(registry.backends()))
def test_arguments_are_left_alone_and_results_are_new(backend: str) -> None:
    case = Case("own", lengths=(0, 0, 0), initial=True, layer={"bidirectional": True})
    layer, x, call = case.make(backend), case.input().nan_to_num(), case.call()
    given = [x, *call["hx"], call["lengths"]]
    before = [g.clone() for g in given]
    with torch.no_grad():
        output, (h, c) = layer(x, **call)
        assert torch.equal(h, call["hx"][0]) and torch.equal(c, call["hx"][1])
        for result in (output, h, c):
            result.fill_(9.0)
    assert all(torch.equal(a, b) for a, b in zip(given, before, strict=True))
