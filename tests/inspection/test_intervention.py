"""Interventions do what the equations say, where they were asked for, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from inspection.networks import Looped, Reader, batch

import lstmkit
from lstmkit.errors import UserError
from lstmkit.inspection.intervention import (
    Intervention,
    ablate,
    clamp,
    edit_cell,
    intervene,
    parse,
)
from lstmkit.inspection.record import observe

pytestmark = pytest.mark.filterwarnings("ignore:only the reference kernel")
VARIANTS = [
    {},
    {"bidirectional": True},
    {"peephole": True},
    {"layer_norm": True},
    {"coupled_gates": True},
    {"zoneout": (0.1, 0.2)},
    {"residual": True},
]


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_an_intervention_that_changes_nothing_changes_nothing(options: dict) -> None:
    network, x = Reader(**options).eval(), batch()
    with intervene(network, clamp("lstm.0.cell", 0.0, units=[])):
        steered = network(x)
    torch.testing.assert_close(steered, network(x), atol=1e-6, rtol=0)


def test_a_clamped_gate_has_its_value_at_its_units_and_steps_only() -> None:
    network, x = Reader(), batch()
    plain = observe(network, x)
    with intervene(network, clamp("lstm.1.forget_gate", 1.0, [2, 5], (4, 9))):
        found = observe(network, x)
    gate = found["lstm.1"].forget_gate
    assert (gate[4:9][..., [2, 5]] == 1).all()
    np.testing.assert_allclose(gate[:4], plain["lstm.1"].forget_gate[:4], atol=1e-6)
    assert (gate[9:][..., [2, 5]] < 1).all()
    np.testing.assert_allclose(found["lstm.0"].cell, plain["lstm.0"].cell, atol=1e-6)


def test_a_shut_input_and_open_forget_gate_hold_the_cell() -> None:
    network, x = Reader(layers=1), batch(T=300)
    hold = [clamp("lstm.0.input_gate", 0.0, None, (5, 300))]
    hold.append(clamp("lstm.0.forget_gate", 1.0, None, (5, 300)))
    with intervene(network, *hold):
        cell = observe(network, x)["lstm.0"].cell
    assert (cell[4:] == cell[4]).all()


def test_ablated_units_show_nothing_and_are_as_if_cut_from_the_weights() -> None:
    network, x = Reader().eval(), batch()
    with intervene(network, ablate("lstm.0", [1, 6])):
        found, answer = observe(network, x), network(x)
    assert not found["lstm.0"].hidden[..., [1, 6]].any()
    with torch.no_grad():
        network.lstm.weight_hh_l0[:, [1, 6]] = 0
        network.lstm.weight_ih_l1[:, [1, 6]] = 0
    torch.testing.assert_close(answer, network(x), atol=1e-6, rtol=0)


def test_an_edited_cell_goes_on_from_there() -> None:
    network, x = Reader(layers=1).eval(), batch()
    with intervene(network, edit_cell("lstm.0", 6, 0.5, [3])):
        cell = observe(network, x)["lstm.0"].cell
        answer = network(x)
    assert (cell[6, :, 3] == 0.5).all() and not (cell[7, :, 3] == 0.5).any()
    _, (_, c) = network.lstm(x[:, :7])
    c[..., 3] = 0.5
    o = network.lstm(x[:, :7], trace=True)[2][0].output_gate[-1]
    rest, _ = network.lstm(x[:, 7:], ((o * c[0].tanh())[None], c))
    torch.testing.assert_close(answer, network.head(rest[:, -1]), atol=1e-6, rtol=0)


def test_reverse_layers_are_changed_in_input_time() -> None:
    network, x = Reader(bidirectional=True), batch()
    with intervene(network, clamp("lstm.0.reverse.output_gate", 0.0, None, (2, 3))):
        found = observe(network, x)
    hidden = found["lstm.0.reverse"].hidden
    assert not hidden[2].any() and hidden[1].any() and hidden[3].any()


def test_steps_of_a_cell_are_counted_in_each_pass() -> None:
    network, x = Looped().eval(), batch()
    with intervene(network, edit_cell("cell.0", 3, 2.0)):
        for _ in range(2):
            cell = observe(network, x)["cell.0"].cell
            assert (cell[3] == 2.0).all() and not (cell[2] == 2.0).any()


def test_gradients_flow_through_an_intervention() -> None:
    layer = lstmkit.LSTM(3, 4).double()
    x = torch.randn(5, 2, 3, dtype=torch.float64, requires_grad=True)
    with intervene(layer, clamp("0.input_gate", 0.5, [1])):
        assert torch.autograd.gradcheck(lambda v: layer(v)[0], x)


def test_afterwards_all_is_as_before_whatever_happened() -> None:
    network, x = Reader().eval(), batch()
    plain = network(x)
    with pytest.raises(RuntimeError, match="stop"), intervene(network, ablate("lstm.0")):
        raise RuntimeError("stop")
    assert network.lstm.steer is None and torch.equal(network(x), plain)


@pytest.mark.parametrize(
    ("text", "kind", "found"),
    [
        ("lstm.0.forget_gate=1", "clamp", clamp("lstm.0.forget_gate", 1)),
        (
            "lstm.0.forget_gate[3,5-7]@10-20=0.5",
            "clamp",
            clamp("lstm.0.forget_gate", 0.5, [3, 5, 6, 7], (10, 21)),
        ),
        ("enc.1.reverse.cell[2]@4=-1e-3", "edit", edit_cell("enc.1.reverse", 4, -1e-3, [2])),
        ("lstm.0[3, 5]", "ablate", ablate("lstm.0", [3, 5])),
        ("0", "ablate", ablate("0")),
    ],
)
def test_the_command_lines_spelling(text: str, kind: str, found: Intervention) -> None:
    assert parse(text, kind) == found
    again = str(found)
    assert kind == "ablate" or parse(again, kind) == found


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("lstm.0.forget_gate", "clamp"),
        ("lstm.0.forget_gate=warm", "clamp"),
        ("lstm.0.forget_gate=2", "clamp"),
        ("lstm.0.candidate=-3", "clamp"),
        ("lstm.0.mood=1", "clamp"),
        ("lstm.0.forget_gate[7-3]=1", "clamp"),
        ("lstm.0.forget_gate[3=1", "clamp"),
        ("lstm.0.cell=1", "edit"),
        ("lstm.0.cell@1-3=1", "edit"),
        ("lstm.0.forget_gate@1=1", "edit"),
        ("lstm.0[1]=3", "ablate"),
        ("", "ablate"),
    ],
)
def test_what_cannot_be_read_is_said(text: str, kind: str) -> None:
    with pytest.raises(UserError):
        parse(text, kind)


@pytest.mark.parametrize(
    ("intervention", "words"),
    [
        (ablate("gru.0"), "there is no layer 'gru.0'"),
        (ablate("lstm.0", [8]), "has no unit 8"),
        (edit_cell("lstm.0", 12, 1.0), "never happened"),
    ],
)
def test_what_is_not_there_is_said(intervention: Intervention, words: str) -> None:
    network = Reader()
    with pytest.raises(UserError, match=words), intervene(network, intervention):
        network(batch())
