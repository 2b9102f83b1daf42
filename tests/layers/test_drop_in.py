"""lstmkit.LSTM and LSTMCell in the places where torch.nn.LSTM and LSTMCell stand."""

from __future__ import annotations

import copy
import inspect
import io
import pickle
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import lstmkit
from lstmkit.layers.trace import FIELDS

pytestmark = [
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported"),
    pytest.mark.filterwarnings("ignore:only the reference kernel"),
]
ARGUMENTS: list[dict[str, Any]] = [
    {},
    {"num_layers": 2, "bidirectional": True},
    {"proj_size": 3, "batch_first": True},
    {"bias": False, "num_layers": 2},
    {"num_layers": 3, "dropout": 0.5},
    {"dtype": torch.float64},
]
VARIANT: dict[str, Any] = {"peephole": True, "layer_norm": True, "zoneout": 0.1}


def twins(**arguments: Any) -> tuple[nn.LSTM, lstmkit.LSTM]:
    """The two layers, each built after the same seed."""
    torch.manual_seed(0)
    backend = arguments.pop("backend", "auto")
    theirs = nn.LSTM(4, 6, **arguments)
    torch.manual_seed(0)
    return theirs, lstmkit.LSTM(4, 6, backend=backend, **arguments)


def results(layer: nn.Module, *args: Any, **kwargs: Any) -> list[Tensor]:
    torch.manual_seed(1)
    output, (h, c) = layer(*args, **kwargs)
    return [output.data if isinstance(output, PackedSequence) else output, h, c]


def same(a: list[Tensor], b: list[Tensor], bits: bool = True) -> None:
    """The same bits, or those of another order of summation."""
    for x, y in zip(a, b, strict=True):
        assert x.dtype == y.dtype
        if bits:
            assert torch.equal(x, y)
        else:
            torch.testing.assert_close(x, y, atol=1e-6, rtol=1e-6)


def x_of(arguments: dict[str, Any], **more: Any) -> Tensor:
    return torch.randn(5, 3, 4, dtype=arguments.get("dtype"), **more)


@pytest.mark.parametrize("backend", ["vendor", "native"])
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_parameters_results_and_gradients_are_the_same(
    arguments: dict[str, Any], backend: str
) -> None:
    bits = backend == "vendor"
    theirs, ours = twins(**arguments, backend=backend)
    assert list(theirs.state_dict()) == list(ours.state_dict())
    same(list(theirs.parameters()), list(ours.parameters()))
    x = x_of(arguments)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    found, expected = results(ours, a), results(theirs, b)
    same(found, expected, bits)
    torch.stack([r.sin().sum() for r in found]).sum().backward()
    torch.stack([r.sin().sum() for r in expected]).sum().backward()
    torch.testing.assert_close(a.grad, b.grad)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad)
    ours.eval(), theirs.eval()
    with torch.inference_mode():
        same(results(ours, x), results(theirs, x), bits)


def test_signature_begins_as_torch_documents_it() -> None:
    names = list(inspect.signature(lstmkit.LSTM.__init__).parameters)[1:]
    assert names[:10] == [
        "input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout",
        "bidirectional", "proj_size", "device", "dtype",
    ]  # fmt: skip
    keyword_only = inspect.signature(lstmkit.LSTM.__init__).parameters.values()
    assert all(p.kind is p.KEYWORD_ONLY for p in list(keyword_only)[11:])


WRONG_ARGUMENTS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((0, 4), {}),
    ((4, 0), {}),
    ((4, 4.0), {}),
    (("4", 4), {}),
    ((4, 4), {"num_layers": 0}),
    ((4, 4), {"dropout": 2}),
    ((4, 4), {"dropout": True}),
    ((4, 4), {"bias": 1}),
    ((4, 4), {"batch_first": 1}),
    ((4, 4), {"proj_size": 4}),
    ((4, 4), {"proj_size": -1}),
]


def raised(function: Any, *args: Any, **kwargs: Any) -> tuple[type, str]:
    with pytest.raises((ValueError, TypeError, RuntimeError)) as error:
        function(*args, **kwargs)
    return error.type, str(error.value)


@pytest.mark.parametrize(("args", "kwargs"), WRONG_ARGUMENTS, ids=str)
def test_constructor_errors_are_the_same(args: Any, kwargs: Any) -> None:
    assert raised(lstmkit.LSTM, *args, **kwargs) == raised(nn.LSTM, *args, **kwargs)


def test_dropout_with_one_layer_warns_as_torch_does() -> None:
    with pytest.warns(UserWarning, match="num_layers greater than 1"):
        lstmkit.LSTM(4, 6, dropout=0.5)


zeros = torch.zeros
WRONG_CALLS: dict[str, tuple[Any, ...]] = {
    "dimensions": (zeros(4),),
    "four dimensions": (zeros(1, 2, 3, 4),),
    "width": (zeros(5, 3, 7),),
    "dtype": (zeros(5, 3, 4, dtype=torch.float64),),
    "no steps": (zeros(0, 3, 4),),
    "hidden size": (zeros(5, 3, 4), (zeros(1, 3, 5), zeros(1, 3, 6))),
    "cell size": (zeros(5, 3, 4), (zeros(1, 3, 6), zeros(1, 2, 6))),
    "flat states": (zeros(5, 3, 4), (zeros(3, 6), zeros(3, 6))),
    "batched states": (zeros(5, 4), (zeros(1, 1, 6), zeros(1, 1, 6))),
}


@pytest.mark.parametrize("name", WRONG_CALLS)
def test_call_errors_are_the_same(name: str) -> None:
    theirs, ours = twins()
    assert raised(ours, *WRONG_CALLS[name]) == raised(theirs, *WRONG_CALLS[name])


@pytest.mark.parametrize("backend", ["vendor", "native"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_unbatched_and_empty_batches(batch_first: bool, backend: str) -> None:
    bits = backend == "vendor"
    theirs, ours = twins(batch_first=batch_first, bidirectional=True, backend=backend)
    x, hx = torch.randn(5, 4), (torch.randn(2, 6), torch.randn(2, 6))
    same(results(ours, x), results(theirs, x), bits)
    same(results(ours, x, hx=hx), results(theirs, x, hx=hx), bits)
    empty = torch.zeros(0, 5, 4) if batch_first else torch.zeros(5, 0, 4)
    try:
        expected = [r.shape for r in results(theirs, empty)]
    except RuntimeError as error:
        with pytest.raises(RuntimeError, match=re.escape(str(error).split("\n")[0])):
            ours(empty)
    else:
        assert [r.shape for r in results(ours, empty)] == expected


@pytest.mark.parametrize("enforce_sorted", [True, False])
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_packed_sequences(arguments: dict[str, Any], enforce_sorted: bool) -> None:
    theirs, ours = twins(**arguments)
    lengths = [5, 4, 2] if enforce_sorted else [2, 5, 4]
    x = torch.randn(5, 3, 4, dtype=arguments.get("dtype"))
    packed = pack_padded_sequence(x, lengths, enforce_sorted=enforce_sorted)
    D = arguments.get("num_layers", 1) * (1 + arguments.get("bidirectional", False))
    hx = (
        torch.randn(D, 3, arguments.get("proj_size", 6), dtype=x.dtype),
        torch.randn(D, 3, 6, dtype=x.dtype),
    )
    for given in ((packed,), (packed, hx)):
        torch.manual_seed(1)
        found, states = ours(*given)
        torch.manual_seed(1)
        expected, wanted = theirs(*given)
        assert torch.equal(found.batch_sizes, expected.batch_sizes)
        if not arguments.get("dropout"):
            torch.testing.assert_close(found.data, expected.data)
            torch.testing.assert_close(states, wanted)
    ours.eval()
    dense = ours(x.transpose(0, 1) if ours.batch_first else x, hx, lengths=torch.tensor(lengths))
    again = pad_packed_sequence(ours(packed, hx)[0], ours.batch_first)[0]
    torch.testing.assert_close(dense[0], again)


def test_packed_sequence_with_a_variant_and_trace() -> None:
    layer = lstmkit.LSTM(4, 6, bidirectional=True, **VARIANT).eval()
    x, lengths = torch.randn(5, 3, 4), torch.tensor([2, 5, 4])
    packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
    output, states, trace = layer(packed, trace=True)
    expected, wanted, dense = layer(x, lengths=lengths, trace=True)
    torch.testing.assert_close(pad_packed_sequence(output)[0], expected)
    torch.testing.assert_close(states, wanted)
    for name in FIELDS:
        torch.testing.assert_close(getattr(trace, name), getattr(dense, name))
    with pytest.raises(ValueError, match="its own lengths"):
        layer(packed, lengths=lengths)


def test_packed_training_masks_go_by_sample() -> None:
    layer = lstmkit.LSTM(4, 6, recurrent_dropout=0.4, variational_dropout=(0.3, 0, 0.3))
    x, lengths = torch.randn(5, 3, 4), torch.tensor([2, 5, 4])
    packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
    layer.generator = torch.Generator().manual_seed(3)
    found = pad_packed_sequence(layer(packed)[0])[0]
    layer.generator = torch.Generator().manual_seed(3)
    torch.testing.assert_close(found, layer(x, lengths=lengths)[0])


# --- being a module -------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", [{}, VARIANT], ids=["plain", "variant"])
def test_copies_pickles_and_types(variant: dict[str, Any]) -> None:
    layer = lstmkit.LSTM(4, 6, 2, generator=torch.Generator(), **variant).eval()
    x = torch.randn(5, 3, 4)
    expected = layer(x)[0]
    buffer = io.BytesIO()
    torch.save(layer, buffer)
    buffer.seek(0)
    for other in (
        copy.deepcopy(layer),
        pickle.loads(pickle.dumps(layer)),
        torch.load(buffer, weights_only=False),
    ):
        assert torch.equal(other(x)[0], expected)
        assert other.weight_ih_l0 is not layer.weight_ih_l0
    wide = layer.to(torch.float64)
    torch.testing.assert_close(wide(x.double())[0].float(), expected)
    for dtype in (torch.bfloat16, torch.float16):
        narrow = copy.deepcopy(layer).to(dtype)(x.to(dtype))
        assert narrow[0].dtype == narrow[1][1].dtype == dtype


@pytest.mark.parametrize("variant", [{}, VARIANT], ids=["plain", "variant"])
def test_autocast(variant: dict[str, Any]) -> None:
    layer, x = lstmkit.LSTM(4, 6, **variant).eval(), torch.randn(5, 3, 4)
    expected = layer(x)[0]
    with torch.autocast("cpu", torch.bfloat16):
        output, (h, _) = layer(x)
    assert output.dtype == h.dtype == torch.bfloat16
    torch.testing.assert_close(output.float(), expected, atol=0.05, rtol=0.05)
    output.float().sum().backward()
    assert layer.weight_ih_l0.grad.dtype == torch.float32


@pytest.mark.parametrize("variant", [{}, VARIANT], ids=["plain", "variant"])
def test_functional_call_uses_the_given_weights(variant: dict[str, Any]) -> None:
    layer, x = lstmkit.LSTM(4, 6, 2, **variant).eval(), torch.randn(5, 3, 4)
    other = lstmkit.LSTM(4, 6, 2, **variant).eval()
    before = layer(x)[0]
    found = torch.func.functional_call(layer, dict(other.named_parameters()), (x,))[0]
    assert torch.equal(found, other(x)[0])
    assert torch.equal(layer(x)[0], before)


@pytest.mark.parametrize("variant", [{}, VARIANT], ids=["plain", "variant"])
def test_meta_device(variant: dict[str, Any]) -> None:
    layer = lstmkit.LSTM(4, 6, device="meta", bidirectional=True, **variant).eval()
    output, (h, c) = layer(torch.zeros(5, 3, 4, device="meta"))
    assert (output.shape, h.shape, c.shape) == ((5, 3, 12), (2, 3, 6), (2, 3, 6))
    real = lstmkit.LSTM(4, 6, bidirectional=True, **variant).eval()
    layer.to_empty(device="cpu").load_state_dict(real.state_dict())
    x = torch.randn(5, 3, 4)
    assert torch.equal(layer(x)[0], real(x)[0])


class Halved(nn.Module):
    def forward(self, w: Tensor) -> Tensor:
        return w / 2


@pytest.mark.parametrize("variant", [{}, VARIANT], ids=["plain", "variant"])
def test_parametrization_and_pruning(variant: dict[str, Any]) -> None:
    layer, x = lstmkit.LSTM(4, 6, **variant).eval(), torch.randn(5, 3, 4)
    half = copy.deepcopy(layer)
    with torch.no_grad():
        half.weight_hh_l0 /= 2
    changed = copy.deepcopy(layer)
    parametrize.register_parametrization(changed, "weight_hh_l0", Halved())
    torch.testing.assert_close(changed(x)[0], half(x)[0])
    changed(x)[0].sum().backward()
    assert changed.parametrizations.weight_hh_l0.original.grad is not None
    pruned = copy.deepcopy(layer)
    prune.random_unstructured(pruned, "weight_hh_l0", amount=0.9)
    zeroed = copy.deepcopy(layer)
    with torch.no_grad():
        zeroed.weight_hh_l0 *= pruned.weight_hh_l0_mask
    assert torch.equal(pruned(x)[0], zeroed(x)[0])
    assert not torch.equal(pruned(x)[0], layer(x)[0])
    parametrizations.weight_norm(layer, "weight_hh_l0")
    assert torch.isfinite(layer(x)[0]).all()


def test_checkpoint_and_frozen_parts() -> None:
    layer, x = lstmkit.LSTM(4, 6, 2), torch.randn(5, 3, 4, requires_grad=True)
    layer.weight_ih_l0.requires_grad_(False)
    layer(x)[0].sum().backward()
    expected, x.grad = x.grad, None
    assert layer.weight_ih_l0.grad is None
    run = torch.utils.checkpoint.checkpoint(lambda x: layer(x)[0], x, use_reentrant=False)
    run.sum().backward()
    torch.testing.assert_close(x.grad, expected)


def test_backward_twice_through_a_retained_graph() -> None:
    layer, x = lstmkit.LSTM(4, 6), torch.randn(5, 3, 4, requires_grad=True)
    loss = layer(x)[0].sum()
    (first,) = torch.autograd.grad(loss, x, retain_graph=True)
    (second,) = torch.autograd.grad(loss, x)
    assert torch.equal(first, second)


def test_changed_weights_before_backward_are_noticed() -> None:
    layer, x = lstmkit.LSTM(4, 6), torch.randn(5, 3, 4, requires_grad=True)
    loss = layer(x)[0].sum()
    with torch.no_grad():
        layer.weight_hh_l0.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_extra_repr() -> None:
    theirs, ours = twins(num_layers=2, bidirectional=True)
    assert repr(ours) == repr(theirs)
    shown = repr(lstmkit.LSTM(4, 6, peephole=True, zoneout=0.1, init=lstmkit.Chrono(9)))
    assert "peephole=True" in shown
    assert "zoneout=(0.1, 0.1)" in shown
    assert "Chrono" in shown


# --- transforms -----------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", [{}, VARIANT], ids=["plain", "variant"])
def test_per_sample_gradients(variant: dict[str, Any]) -> None:
    layer = lstmkit.LSTM(4, 6, dtype=torch.float64, **variant).eval()
    x, weights = torch.randn(5, 3, 4, dtype=torch.float64), dict(layer.named_parameters())

    def loss(w: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(layer, w, (x,))[0].pow(2).sum()

    found = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 1))(weights, x)
    for b in range(3):
        alone = torch.autograd.grad(loss(weights, x[:, b]), list(weights.values()))
        for name, g in zip(weights, alone, strict=True):
            torch.testing.assert_close(found[name][b], g)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_forward_mode_equals_a_difference() -> None:
    layer = lstmkit.LSTM(4, 6, dtype=torch.float64)
    x, v = torch.randn(5, 4, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    _, tangent = torch.func.jvp(lambda x: layer(x)[0], (x,), (v,))
    difference = (layer(x + 1e-6 * v)[0] - layer(x - 1e-6 * v)[0]) / 2e-6
    torch.testing.assert_close(tangent, difference, atol=1e-7, rtol=1e-5)


# --- the cell -------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
def test_cell_equals_torch(bias: bool) -> None:
    torch.manual_seed(0)
    theirs = nn.LSTMCell(4, 6, bias)
    torch.manual_seed(0)
    ours = lstmkit.LSTMCell(4, 6, bias)
    assert list(theirs.state_dict()) == list(ours.state_dict())
    same(list(theirs.parameters()), list(ours.parameters()))
    x, hx = torch.randn(3, 4), (torch.randn(3, 6), torch.randn(3, 6))
    same(list(ours(x)), list(theirs(x)))
    same(list(ours(x, hx)), list(theirs(x, hx)))
    same(list(ours(x[0], (hx[0][0], hx[1][0]))), list(theirs(x[0], (hx[0][0], hx[1][0]))))
    assert repr(ours) == repr(theirs)
    for wrong in ((torch.zeros(1, 2, 4),), (x, (torch.zeros(1, 1, 6), torch.zeros(3, 6)))):
        assert raised(ours, *wrong) == raised(theirs, *wrong)


@pytest.mark.parametrize("coupled", [False, True])
def test_cell_steps_as_the_layer_runs(coupled: bool) -> None:
    variant = {"peephole": True, "layer_norm": True, "coupled_gates": coupled}
    cell, layer = lstmkit.LSTMCell(4, 6, **variant), lstmkit.LSTM(4, 6, **variant)
    layer.load_state_dict({f"{k}_l0": v for k, v in cell.state_dict().items()})
    x, hx, outputs = torch.randn(5, 3, 4), None, []
    for t in range(5):
        hx = cell(x[t], hx)
        outputs.append(hx[0])
    torch.testing.assert_close(torch.stack(outputs), layer(x)[0])
    outputs[-1].sum().backward()
    assert all(p.grad is not None for p in cell.parameters())
