"""Where layers meet rare arguments: packed data with sample ids, nothing in a batch, cells that are
given the wrong state, graphs around packed data, many layers at once."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import lstmkit
from lstmkit.errors import UserError
from lstmkit.layers.trace import FIELDS

pytestmark = [
    pytest.mark.filterwarnings("ignore:only the reference kernel"),
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported"),
]
VARIANT: dict[str, Any] = {"peephole": True, "layer_norm": True}
both = pytest.mark.parametrize("variant", [{}, VARIANT], ids=["plain", "variant"])


# --- masks and packed data ------------------------------------------------------------------------


@pytest.mark.parametrize("lengths", [[2, 5, 4], [5, 4, 2]], ids=["unsorted", "sorted"])
def test_sample_ids_name_packed_samples_in_the_callers_order(lengths: list[int]) -> None:
    layer = lstmkit.LSTM(4, 6, recurrent_dropout=0.4, zoneout=0.2, generator=torch.Generator())
    x, n, ids = torch.randn(5, 3, 4), torch.tensor(lengths), torch.tensor([7, 3, 2**40])
    packed = pack_padded_sequence(x, n, enforce_sorted=False)
    layer.generator.manual_seed(3)
    output, states, trace = layer(packed, sample_ids=ids, trace=True)
    layer.generator.manual_seed(3)
    expected, wanted, dense = layer(x, lengths=n, sample_ids=ids, trace=True)
    torch.testing.assert_close(pad_packed_sequence(output)[0], expected)
    torch.testing.assert_close(states, wanted)
    for name in FIELDS:
        torch.testing.assert_close(getattr(trace, name), getattr(dense, name))


def test_sample_ids_are_checked() -> None:
    layer, x = lstmkit.LSTM(4, 6, zoneout=0.2), torch.zeros(5, 3, 4)
    packed = pack_padded_sequence(x, [5, 4, 2])
    for ids in ([1], [1, 2], [1.0, 2.0, 3.0], [True, False, True], [[1, 2, 3]]):
        for given in (x, packed):
            with pytest.raises(UserError, match="sample_ids"):
                layer(given, sample_ids=torch.tensor(ids))
    assert layer(x[:, 0], sample_ids=torch.tensor(4))[0].shape == (5, 6)


@pytest.mark.parametrize("more", [{}, {"bidirectional": True}, {"proj_size": 3}], ids=str)
@pytest.mark.parametrize("enforce_sorted", [True, False])
def test_dropout_masks_are_those_of_torch(more: dict[str, Any], enforce_sorted: bool) -> None:
    layers = []
    for kind in (nn.LSTM, lstmkit.LSTM):
        torch.manual_seed(0)
        layers.append(kind(4, 6, 3, dropout=0.5, **more))
    x, lengths = torch.randn(5, 3, 4), [5, 4, 2] if enforce_sorted else [2, 5, 4]
    packed = pack_padded_sequence(x, lengths, enforce_sorted=enforce_sorted)
    outputs = []
    for layer in layers:
        torch.manual_seed(1)
        outputs.append((layer(x)[0], layer(packed)[0].data))
    for expected, found in zip(*outputs, strict=True):
        torch.testing.assert_close(found, expected)


# --- rare shapes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["vendor", "reference"])
def test_a_batch_of_nothing(backend: str) -> None:
    layer = lstmkit.LSTM(4, 6, bidirectional=True, backend=backend)
    x = torch.zeros(5, 0, 4, requires_grad=True)
    output, (h, c), trace = layer(x, lengths=torch.zeros(0, dtype=torch.long), trace=True)
    assert (output.shape, h.shape, c.shape) == ((5, 0, 12), (2, 0, 6), (2, 0, 6))
    assert trace.cell.shape == (2, 5, 0, 6)
    output.sum().backward()
    assert (layer.weight_hh_l0.grad == 0).all()


@both
def test_three_states_are_one_too_many(variant: dict[str, Any]) -> None:
    h = torch.zeros(1, 3, 6)
    with pytest.raises(RuntimeError, match="two hidden states"):
        lstmkit.LSTM(4, 6, **variant)(torch.zeros(5, 3, 4), (h, h, h))


def test_resets_as_lists_and_in_the_wrong_layout() -> None:
    layer, x = lstmkit.LSTM(4, 6, batch_first=True), torch.randn(3, 5, 4)
    rows = [[True, False, False, True, False]] * 3
    assert torch.equal(layer(x, resets=rows)[0], layer(x, resets=torch.tensor(rows))[0])
    with pytest.raises(UserError, match=r"expected: torch.bool \(3, 5\)"):
        layer(x, resets=torch.zeros(3, 5, 1, dtype=torch.bool))


zeros = torch.zeros
CELL_CALLS: dict[str, tuple[Any, ...]] = {
    "width": (zeros(3, 5),),
    "batch": (zeros(3, 4), (zeros(1, 6), zeros(1, 6))),
    "cell's batch": (zeros(3, 4), (zeros(3, 6), zeros(1, 6))),
    "hidden width": (zeros(3, 4), (zeros(3, 5), zeros(3, 6))),
    "cell width": (zeros(3, 4), (zeros(3, 6), zeros(3, 1))),
    "flat state": (zeros(3, 4), (zeros(6), zeros(6))),
}


@pytest.mark.parametrize("name", CELL_CALLS)
@both
def test_wrong_calls_of_a_cell_raise_as_torch_does(variant: dict[str, Any], name: str) -> None:
    said = []
    for cell in (nn.LSTMCell(4, 6), lstmkit.LSTMCell(4, 6, **variant)):
        with pytest.raises(RuntimeError) as error:
            cell(*CELL_CALLS[name])
        said.append(str(error.value))
    if name != "flat state":
        assert said[0] == said[1]


@both
def test_a_cell_refuses_mixed_dtypes(variant: dict[str, Any]) -> None:
    cell = lstmkit.LSTMCell(4, 6, **variant)
    for call in ((zeros(3, 4).double(),), (zeros(3, 4), (zeros(3, 6).double(),) * 2)):
        with pytest.raises(RuntimeError, match="same dtype"):
            cell(*call)


# --- padding --------------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", [torch.nan, torch.inf, 1e30])
@pytest.mark.parametrize("backend", ["vendor", "reference"])
def test_what_stands_in_padding_changes_no_bit(backend: str, padding: float) -> None:
    """In training, with masks around the layers; outputs, states, trace and every gradient."""
    variant = {"weight_drop": 0.2, "variational_dropout": (0.2, 0.3, 0.2), "residual": True}
    layer = lstmkit.LSTM(4, 6, 2, bidirectional=True, backend=backend, **variant)
    lengths, clean = torch.tensor([5, 0, 2]), torch.randn(5, 3, 4)
    dirty = clean.clone()
    for b, n in enumerate(lengths):
        dirty[n:, b] = padding
    found = []
    for x in (clean, dirty):
        layer.generator = torch.Generator().manual_seed(1)
        x = x.clone().requires_grad_()
        output, (h, c), trace = layer(x, lengths=lengths, trace=True)
        total = output.sin().sum() + h.sum() + c.sum() + trace.cell.sum() + trace.input_gate.sum()
        grads = torch.autograd.grad(total, [x, *layer.parameters()])
        found.append([output, h, c, trace.output_gate, *grads])
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)


# --- beside the rest of PyTorch -------------------------------------------------------------------


@both
def test_spectral_norm(variant: dict[str, Any]) -> None:
    torch.manual_seed(0)
    layer = lstmkit.LSTM(4, 6, **variant)
    parametrizations.spectral_norm(layer, "weight_hh_l0", n_power_iterations=50)
    layer(torch.randn(5, 3, 4))[0].sum().backward()
    assert layer.parametrizations.weight_hh_l0.original.grad.abs().sum() > 0
    largest = torch.linalg.svdvals(layer.eval().weight_hh_l0)[0]
    torch.testing.assert_close(largest, torch.tensor(1.0), atol=1e-3, rtol=0)


@both
def test_an_ensemble_by_vmap(variant: dict[str, Any]) -> None:
    layers = [lstmkit.LSTM(4, 6, **variant).eval() for _ in range(3)]
    weights, _ = torch.func.stack_module_state(layers)
    base, x = copy.deepcopy(layers[0]).to("meta"), torch.randn(5, 3, 4)

    def run(w: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(base, w, (x,))[0]

    found = torch.vmap(run, in_dims=(0, None))(weights, x)
    for k, layer in enumerate(layers):
        torch.testing.assert_close(found[k], layer(x)[0])


def test_vmap_over_masks_needs_to_be_told_how_to_draw() -> None:
    layer = lstmkit.LSTM(4, 6, zoneout=0.3)
    with pytest.raises(RuntimeError, match="random"):
        torch.vmap(lambda x: layer(x)[0], in_dims=1)(torch.randn(5, 3, 4))


@both
def test_saved_on_the_cpu_and_checkpointed_with_masks(variant: dict[str, Any]) -> None:
    layer, x = lstmkit.LSTM(4, 6, zoneout=0.2, **variant), torch.randn(5, 3, 4, requires_grad=True)

    def run(x: Tensor) -> Tensor:
        return layer(x)[0]

    torch.manual_seed(3)
    (expected,) = torch.autograd.grad(run(x).sum(), x)
    for reentrant in (True, False):
        torch.manual_seed(3)
        output = torch.utils.checkpoint.checkpoint(run, x, use_reentrant=reentrant)
        x.grad = None
        output.sum().backward()
        torch.testing.assert_close(x.grad, expected)
    torch.manual_seed(3)
    with torch.autograd.graph.save_on_cpu():
        output = run(x)
    torch.testing.assert_close(torch.autograd.grad(output.sum(), x)[0], expected)


@both
def test_one_direction_frozen(variant: dict[str, Any]) -> None:
    layer, x = lstmkit.LSTM(4, 6, bidirectional=True, **variant), torch.randn(5, 3, 4)
    layer(x)[0].sum().backward()
    expected = {name: p.grad.clone() for name, p in layer.named_parameters()}
    layer.zero_grad()
    for name, p in layer.named_parameters():
        p.requires_grad_("reverse" in name)
    layer(x)[0].sum().backward()
    for name, p in layer.named_parameters():
        if "reverse" in name:
            torch.testing.assert_close(p.grad, expected[name])
        else:
            assert p.grad is None


@both
def test_distributed_in_one_process(variant: dict[str, Any]) -> None:
    distributed = torch.distributed
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        layer, x = lstmkit.LSTM(4, 6, **variant), torch.randn(5, 3, 4)
        nn.parallel.DistributedDataParallel(layer)(x)[0].sum().backward()
        found = [p.grad.clone() for p in layer.parameters()]
    finally:
        distributed.destroy_process_group()
    layer.zero_grad()
    layer(x)[0].sum().backward()
    torch.testing.assert_close(found, [p.grad for p in layer.parameters()])


def test_a_converted_model_is_copied_and_cast() -> None:
    model, x = nn.Sequential(nn.LSTM(4, 6, 2)), torch.randn(5, 3, 4)
    expected = model(x)[0]
    lstmkit.convert(model)
    other = copy.deepcopy(model)
    torch.testing.assert_close(other(x)[0], expected)
    torch.testing.assert_close(model.double()(x.double())[0].float(), expected)
    assert other[0].weight_ih_l0.dtype == torch.float32


# --- graphs ---------------------------------------------------------------------------------------


class Packs(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
        return pad_packed_sequence(self.layer(packed)[0])[0].sin()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@both
def test_packed_data_leaves_the_graph(variant: dict[str, Any]) -> None:
    torch.compiler.reset()
    model = Packs(lstmkit.LSTM(4, 6, **variant))
    compiled, x = torch.compile(model, backend="aot_eager"), torch.randn(5, 3, 4)
    for lengths in (torch.tensor([5, 3, 2]), torch.tensor([1, 5, 4])):
        torch.testing.assert_close(compiled(x, lengths), model(x, lengths))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(
    "variant", [{}, {"peephole": True, "zoneout": 0.1}, {"recompute": True}], ids=str
)
def test_inductor_with_batch_first_and_strided_states(variant: dict[str, Any]) -> None:
    """Inductor asserts the strides that the operator's fake rules promise."""
    torch.compiler.reset()
    layer = lstmkit.LSTM(4, 6, batch_first=True, **variant).eval()
    x = torch.randn(3, 5, 4, requires_grad=True)
    hx = (torch.randn(3, 1, 6).transpose(0, 1), torch.randn(6, 3).t()[None])
    sources, gradients = [x, *layer.parameters()], []
    with torch._inductor.config.patch(fx_graph_cache=False):
        for run in (torch.compile(layer, fullgraph=True), layer):
            gradients.append(torch.autograd.grad(run(x, hx)[0].sin().sum(), sources))
    torch.testing.assert_close(*gradients)
