"""Recordings are what the layers did, and taking them changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from inspection.networks import Looped, Reader, batch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

import lstmkit
from lstmkit.errors import UserError
from lstmkit.inspection.record import FIELDS, observe, recording

pytestmark = pytest.mark.filterwarnings("ignore:only the reference kernel")


def test_a_recording_is_the_layers_own_trace() -> None:
    network, x = Reader().eval(), batch()
    found = observe(network, x)
    _, _, trace = network.lstm(x, trace=True)
    assert found.names == ("lstm.0", "lstm.1")
    for layer, truth in zip(found.layers, trace.layers, strict=True):
        for field in FIELDS:
            np.testing.assert_array_equal(getattr(layer, field), getattr(truth, field).detach())


@pytest.mark.parametrize(
    "options",
    [{}, {"bidirectional": True}, {"peephole": True, "layer_norm": True}, {"coupled_gates": True}],
    ids=str,
)
def test_recording_changes_no_output_and_no_gradient(options: dict) -> None:
    network, x = Reader(**options), batch()
    plain = network(x)
    plain.sum().backward()
    before = {n: p.grad.clone() for n, p in network.named_parameters()}
    network.zero_grad()
    with recording(network) as recorder:
        watched = network(x)
    watched.sum().backward()
    assert len(recorder.result().layers) == 2 * (1 + network.lstm.bidirectional)
    assert torch.equal(plain, watched)
    for name, p in network.named_parameters():
        assert torch.equal(before[name], p.grad), name


def test_the_cell_equation_holds_in_a_recording() -> None:
    found = observe(Reader(), batch()).layers[1]
    before = np.concatenate([np.zeros_like(found.cell[:1]), found.cell[:-1]])
    after = found.forget_gate * before + found.input_gate * found.candidate
    np.testing.assert_allclose(found.cell, after, atol=1e-6)
    np.testing.assert_allclose(found.hidden, found.output_gate * np.tanh(found.cell), atol=1e-6)


def test_lengths_are_noted_and_padding_is_zero() -> None:
    lengths = torch.tensor([3, 12, 1, 7])
    found = observe(Reader(), batch(), lengths=lengths)
    np.testing.assert_array_equal(found.lengths, lengths)
    assert not found.layers[0].cell[3:, 0].any()
    assert found.valid(found.layers[0]).sum() == 23


def test_packed_sequences_come_in_the_callers_order() -> None:
    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = Reader().lstm

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            given = torch.tensor([3, 12, 1, 7])
            packed = pack_padded_sequence(x, given, batch_first=True, enforce_sorted=False)
            return self.lstm(packed)[0].data

    network = Packed().eval()
    padded = observe(Reader(), batch(), lengths=torch.tensor([3, 12, 1, 7]))
    packed = observe(network, batch())
    np.testing.assert_array_equal(packed.lengths, [3, 12, 1, 7])
    np.testing.assert_allclose(packed.layers[1].cell, padded.layers[1].cell, atol=1e-6)


def test_the_caller_who_asked_for_a_trace_gets_it() -> None:
    layer = lstmkit.LSTM(3, 4)
    x = torch.randn(5, 2, 3)
    with recording(layer):
        assert len(layer(x)) == 2
        assert len(layer(x, trace=True)) == 3
    assert len(layer(x)) == 2  # hooks are gone


def test_a_module_called_twice_has_two_records() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = lstmkit.LSTM(3, 3, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.lstm(self.lstm(x)[0])[0]

    assert observe(Twice(), batch()).names == ("lstm.0", "lstm.0#2")


@pytest.mark.parametrize("options", [{}, {"peephole": True}, {"coupled_gates": True}], ids=str)
def test_calls_of_a_cell_are_the_steps_of_a_layer(options: dict) -> None:
    network, x = Looped(**options).eval(), batch()
    found = observe(network, x)
    layer = lstmkit.LSTM(3, 6, **options)
    layer.load_state_dict({f"{k}_l0": v for k, v in network.cell.state_dict().items()})
    _, _, trace = layer(x.transpose(0, 1), trace=True)
    assert found.names == ("cell.0",)
    for field in FIELDS:
        truth = getattr(trace[0], field).detach()
        np.testing.assert_allclose(getattr(found.layers[0], field), truth, atol=1e-6)


def test_the_mode_of_every_part_is_left_as_it_was() -> None:
    network = Reader(dropout=0.5).train()
    network.head.eval()
    twice = [observe(network, batch()).layers[1].cell for _ in range(2)]
    np.testing.assert_array_equal(*twice)  # dropout was off
    assert network.training and network.lstm.training and not network.head.training


def test_a_module_without_our_layers_says_what_to_do() -> None:
    with pytest.raises(UserError, match=r"lstmkit\.convert"):
        observe(nn.Sequential(nn.Linear(3, 3)), batch())


def test_unknown_layers_are_named() -> None:
    with pytest.raises(UserError, match=r"lstm\.0, lstm\.1"):
        observe(Reader(), batch())["lstm.7"]


def test_a_recording_shows_itself() -> None:
    found = observe(Reader(), batch())
    assert found._repr_html_().count("<tr>") == 3
    assert len(found.plot("lstm.1", sample=2, title="gates").axes) >= 6
