"""What torch.nn.LSTM does not have: construction, initialisation, masks, traces, conversion."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

import lstmkit
from lstmkit.errors import UserError
from lstmkit.layers.trace import FIELDS

pytestmark = pytest.mark.filterwarnings("ignore:only the reference kernel")

REFUSED: list[dict[str, Any]] = [
    {"dropout": 0.1, "num_layers": 2, "variational_dropout": (0.1, 0.1, 0.1)},
    {"coupled_gates": True, "forget_bias": 1.0},
    {"bias": False, "forget_bias": 1.0},
    {"bias": False, "init": lstmkit.Chrono(10)},
    {"init": lstmkit.Chrono(10), "forget_bias": 1.0},
    {"init": "he"},
    {"zoneout": 1.0},
    {"zoneout": (0.1, 0.2, 0.3)},
    {"weight_drop": -0.1},
    {"recurrent_dropout": True},
    {"variational_dropout": 0.1},
    {"backend": "fast"},
]


@pytest.mark.parametrize("arguments", REFUSED, ids=str)
def test_meaningless_arguments_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        lstmkit.LSTM(4, 6, **arguments)


def test_residual_of_one_layer_warns() -> None:
    with pytest.warns(UserWarning, match="residual"):
        lstmkit.LSTM(4, 6, residual=True)


def test_chrono_needs_a_horizon() -> None:
    with pytest.raises(UserError, match="horizon"):
        lstmkit.Chrono(2)


def test_shapes_of_variant_parameters() -> None:
    layer = lstmkit.LSTM(4, 6, peephole=True, layer_norm=True, bidirectional=True)
    shapes = {k: tuple(v.shape) for k, v in layer.state_dict().items()}
    for end in ("_l0", "_l0_reverse"):
        assert shapes[f"weight_peephole{end}"] == (3, 6)
        assert shapes[f"norm_ih_weight{end}"] == shapes[f"norm_hh_weight{end}"] == (24,)
        assert shapes[f"norm_c_weight{end}"] == shapes[f"norm_c_bias{end}"] == (6,)
    coupled = lstmkit.LSTM(4, 6, peephole=True, coupled_gates=True)
    assert coupled.weight_ih_l0.shape == (18, 4)
    assert coupled.weight_peephole_l0.shape == (2, 6)


# --- initialisation -------------------------------------------------------------------------------


def suffixes(layer: lstmkit.LSTM) -> list[str]:
    return [f"_l{k}{'_reverse' if r else ''}" for k, r in layer.directions()]


def test_forget_bias_of_every_layer_and_direction() -> None:
    layer = lstmkit.LSTM(4, 6, 2, bidirectional=True, forget_bias=2.5)
    for end in suffixes(layer):
        bias_ih, bias_hh = getattr(layer, f"bias_ih{end}"), getattr(layer, f"bias_hh{end}")
        assert (bias_ih[6:12] == 2.5).all()
        assert (bias_hh[6:12] == 0).all()
        assert (bias_ih[:6] != 2.5).all()


def test_chrono_of_every_layer_and_direction() -> None:
    layer = lstmkit.LSTM(4, 400, 2, bidirectional=True, init=lstmkit.Chrono(50))
    for end in suffixes(layer):
        bias = getattr(layer, f"bias_ih{end}").unflatten(0, (4, 400))
        constants = bias[1].exp()
        assert constants.min() >= 1 and 40 < constants.max() <= 49
        assert abs(constants.mean() - 25) < 3
        assert torch.equal(bias[0], -bias[1])
        assert (bias[2:] == 0).all() and (getattr(layer, f"bias_hh{end}") == 0).all()
    coupled = lstmkit.LSTM(4, 400, coupled_gates=True, init=lstmkit.Chrono(50))
    forget = 1 - coupled.bias_ih_l0[:400].sigmoid()
    assert forget.min() >= 0.5 and forget.max() < 0.981


def test_orthogonal() -> None:
    layer = lstmkit.LSTM(4, 6, 2, bidirectional=True, init="orthogonal", peephole=True)
    for end in suffixes(layer):
        for block in getattr(layer, f"weight_hh{end}").split(6):
            torch.testing.assert_close(block @ block.t(), torch.eye(6), atol=1e-5, rtol=0)
        assert (getattr(layer, f"bias_ih{end}") == 0).all()


def test_norms_begin_as_the_identity() -> None:
    layer = lstmkit.LSTM(4, 6, layer_norm=True)
    assert (layer.norm_ih_weight_l0 == 1).all() and (layer.norm_c_weight_l0 == 1).all()
    assert (layer.norm_c_bias_l0 == 0).all()
    bound = 6**-0.5
    assert layer.weight_ih_l0.abs().max() <= bound


def test_reset_parameters_draws_anew_in_the_same_way() -> None:
    layer = lstmkit.LSTM(4, 6, forget_bias=1.0)
    before = layer.weight_ih_l0.clone()
    layer.reset_parameters()
    assert not torch.equal(before, layer.weight_ih_l0)
    assert (layer.bias_ih_l0[6:12] == 1).all()


# --- masks ----------------------------------------------------------------------------------------

MASKED: dict[str, dict[str, Any]] = {
    "zoneout": {"zoneout": 0.3},
    "weight_drop": {"weight_drop": 0.3},
    "recurrent_dropout": {"recurrent_dropout": 0.3},
    "variational_dropout": {"variational_dropout": (0.3, 0.3, 0.3), "num_layers": 2},
    "dropout": {"dropout": 0.3, "num_layers": 2},
}


@pytest.mark.parametrize("name", MASKED)
def test_generator_repeats_masks_and_leaves_the_global_one_alone(name: str) -> None:
    layer, x = lstmkit.LSTM(4, 6, **MASKED[name]), torch.randn(5, 3, 4)
    layer.generator = torch.Generator()

    def draw(seed: int) -> Tensor:
        layer.generator.manual_seed(seed)
        return layer(x)[0]

    before = torch.random.get_rng_state()
    first, other, again = draw(1), draw(2), draw(1)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not torch.equal(layer(x)[0], layer(x)[0])
    layer.eval()
    assert torch.equal(layer(x)[0], layer(x)[0])


@pytest.mark.parametrize("name", MASKED)
def test_global_seed_repeats_masks(name: str) -> None:
    layer, x = lstmkit.LSTM(4, 6, **MASKED[name]), torch.randn(5, 3, 4)
    outputs = []
    for _ in range(2):
        torch.manual_seed(3)
        outputs.append(layer(x)[0])
    assert torch.equal(*outputs)


def test_variational_mask_is_one_a_sequence() -> None:
    layer = lstmkit.LSTM(4, 6, variational_dropout=(0.0, 0.0, 0.5))
    output = layer(torch.randn(20, 8, 4))[0]
    zero = output == 0
    assert torch.equal(zero.any(0), zero.all(0))
    assert 0.2 < zero.all(0).float().mean() < 0.8


# --- traces ---------------------------------------------------------------------------------------


def test_trace_fields_shapes_and_stacking() -> None:
    layer = lstmkit.LSTM(4, 6, 2, bidirectional=True, proj_size=3, batch_first=True)
    output, _, trace = layer(torch.randn(3, 5, 4), trace=True)
    assert len(trace) == 4
    assert [(t.layer, t.reverse) for t in trace.layers] == layer.directions()
    for name in FIELDS:
        width = 3 if name == "hidden" else 6
        assert getattr(trace, name).shape == (4, 5, 3, width)
        assert torch.equal(getattr(trace, name)[1], getattr(trace[1], name))
    torch.testing.assert_close(
        torch.cat([trace[2].hidden, trace[3].hidden], -1).transpose(0, 1), output
    )
    assert trace[0].forget_gate.min() > 0 and trace[0].forget_gate.max() < 1


test_trace_fields_shapes_and_stacking = pytest.mark.filterwarnings(
    "ignore:LSTM with projections is not supported"
)(test_trace_fields_shapes_and_stacking)


def test_trace_is_zero_in_padding_and_shown_in_notebooks() -> None:
    layer = lstmkit.LSTM(4, 6, bidirectional=True)
    lengths = torch.tensor([5, 0, 2])
    for backend in ("vendor", "reference"):
        layer.backend = backend
        _, _, trace = layer(torch.randn(5, 3, 4), lengths=lengths, trace=True)
        for name in FIELDS:
            field = getattr(trace, name)
            assert (field[:, :, 1] == 0).all() and (field[:, 2:, 2] == 0).all()
            assert (field[:, :2, 2] != 0).all()
    assert "0 reverse" in trace._repr_html_()
    assert trace[0].select(0)["cell"].shape == (5, 6)


def test_a_penalty_on_a_gate_trains() -> None:
    layer, x = lstmkit.LSTM(4, 6), torch.randn(20, 8, 4)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    openness = []
    for _ in range(20):
        _, _, trace = layer(x, trace=True)
        loss = trace.input_gate.mean()
        openness.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert openness[-1] < 0.8 * openness[0]


# --- what a call is given -------------------------------------------------------------------------


def test_lengths_and_resets_are_checked() -> None:
    layer, x = lstmkit.LSTM(4, 6), torch.zeros(5, 3, 4)
    for lengths in ([1, 2], [1.0, 2.0, 3.0], [1, 2, 6], [-1, 2, 3], [True, False, True]):
        with pytest.raises(UserError, match="lengths"):
            layer(x, lengths=torch.tensor(lengths))
    for resets in (torch.zeros(3, 5, dtype=torch.bool), torch.zeros(5, 3)):
        with pytest.raises(UserError, match="resets"):
            layer(x, resets=resets)


def test_batch_first_resets_and_unbatched() -> None:
    layer = lstmkit.LSTM(4, 6, batch_first=True)
    x, resets = torch.randn(3, 5, 4), torch.rand(3, 5) < 0.4
    expected = layer(x, resets=resets)[0]
    for b in range(3):
        alone = layer(x[b], resets=resets[b])[0]
        torch.testing.assert_close(alone, expected[b])
    torch.testing.assert_close(layer(x[0], lengths=torch.tensor(3))[0][:3], layer(x[0, :3])[0])


# --- conversion -----------------------------------------------------------------------------------


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(4, 6, 2, dropout=0.1, bidirectional=True)
        self.again = self.rnn
        self.deep = nn.Sequential(nn.LSTM(12, 3, batch_first=True), nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        return self.deep[0](self.again(x)[0])[0]


def test_convert_keeps_parameters_hooks_and_mode() -> None:
    model, x = Model().eval(), torch.randn(5, 3, 4)
    calls: list[str] = []
    model.rnn.register_forward_hook(lambda *a: calls.append("hook"))
    model.rnn.weight_ih_l0.requires_grad_(False)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    expected, before = model(x), dict(model.named_parameters())
    assert lstmkit.convert(model) is model
    assert type(model.rnn) is type(model.deep[0]) is lstmkit.LSTM
    assert model.rnn is model.again
    assert not model.rnn.training
    after = dict(model.named_parameters())
    assert list(after) == list(before) and all(after[k] is before[k] for k in before)
    torch.testing.assert_close(model(x), expected)
    assert calls == ["hook", "hook"]
    model(x).sum().backward()
    optimizer.step()
    assert not torch.allclose(model(x), expected)
    changed = model(x)
    lstmkit.convert(model, back=True)
    assert type(model.rnn) is nn.LSTM and model.rnn is model.again
    torch.testing.assert_close(model(x), changed)
    assert not hasattr(model.rnn, "peephole")


def test_convert_the_layer_itself() -> None:
    layer, x = nn.LSTM(4, 6), torch.randn(5, 3, 4)
    ours = lstmkit.convert(layer)
    assert isinstance(ours, lstmkit.LSTM)
    torch.testing.assert_close(ours(x)[0], layer(x)[0])
    assert ours(x, trace=True)[2].cell.shape == (1, 5, 3, 6)
    assert type(layer) is nn.LSTM


def test_convert_leaves_others_alone() -> None:
    class Mine(nn.LSTM):
        pass

    changed = nn.LSTM(4, 6)
    parametrize.register_parametrization(changed, "weight_hh_l0", nn.Identity())
    model = nn.ModuleList([Mine(4, 6), changed, nn.GRU(4, 6)])
    kinds = [type(m) for m in model]
    lstmkit.convert(model)
    assert [type(m) for m in model] == kinds


def test_convert_back_refuses_variants_and_changes_nothing() -> None:
    model = nn.ModuleList([lstmkit.LSTM(4, 6), lstmkit.LSTM(4, 6, peephole=True)])
    with pytest.raises(UserError, match="peephole"):
        lstmkit.convert(model, back=True)
    assert all(type(m) is lstmkit.LSTM for m in model)
