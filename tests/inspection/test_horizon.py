"""Horizons against closed forms and brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from inspection.networks import Reader, batch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

import lstmkit
from lstmkit.errors import UserError
from lstmkit.inspection.cut import Cut, cut_by_lag, ladder
from lstmkit.inspection.horizon import Horizon, gradient_by_lag, time_constants
from lstmkit.inspection.intervention import clamp, intervene
from lstmkit.inspection.record import observe


def jacobian_norms(network: nn.Module, x: torch.Tensor) -> np.ndarray:
    """(T,) mean over samples of ||d answer / d x_t||, one sample at a time."""
    found = []
    for sample in x:
        jacobian = torch.autograd.functional.jacobian(lambda v: network(v[None])[0], sample)
        found.append(jacobian.square().sum((0, 2)).sqrt().numpy())
    return np.mean(found, 0)


def test_sensitivity_is_the_jacobians_norm_by_lag() -> None:
    network, x = Reader().eval(), batch()
    found = gradient_by_lag(network, x)
    np.testing.assert_allclose(found.sensitivity, jacobian_norms(network, x)[::-1], rtol=1e-4)
    assert found.available == 12


def test_many_answers_are_estimated_without_bias() -> None:
    network, x = Reader().eval(), batch()
    wide = nn.Linear(2, 64, bias=False)

    def answer(output: torch.Tensor) -> torch.Tensor:
        return wide(output)

    exact = gradient_by_lag(network, x, answer=answer, projections=64)
    rough = gradient_by_lag(network, x, answer=answer, projections=32)
    np.testing.assert_allclose(rough.sensitivity, exact.sensitivity, rtol=0.3)


def test_the_anchor_is_each_samples_own_last_step() -> None:
    network, x = Reader().eval(), batch()
    lengths = torch.tensor([5, 12, 1, 9])
    found = gradient_by_lag(network, x, lengths=lengths)
    parts = [gradient_by_lag(network, x[k : k + 1, :n]) for k, n in enumerate(lengths)]
    first = np.mean([part.sensitivity[0] for part in parts])
    np.testing.assert_allclose(found.sensitivity[0], first, rtol=1e-4)
    np.testing.assert_allclose(found.sensitivity[11], parts[1].sensitivity[11], rtol=1e-3)


def test_the_cells_gradient_is_the_product_of_forget_gates() -> None:
    """With every other way shut (no recurrent weights), dc_T/dc_t = f_{t+1} ... f_T exactly."""
    layer = lstmkit.LSTM(3, 1)
    with torch.no_grad():
        layer.weight_hh_l0.zero_()
    x = torch.randn(20, 1, 3)
    found = gradient_by_lag(layer, x, answer=lambda out: out[1][1].reshape(1, 1), cells=True)
    f = observe(layer, x)["0"].forget_gate[:, 0, 0]
    expected = [np.prod(f[20 - lag :]) for lag in range(20)]
    np.testing.assert_allclose(found.cells["0"], expected, rtol=1e-5)


def test_a_held_cell_has_gradient_one_at_every_lag() -> None:
    layer, x = lstmkit.LSTM(3, 1), torch.randn(200, 1, 3)
    with torch.no_grad():
        layer.weight_hh_l0.zero_()
        layer.bias_ih_l0[1] = 100.0  # the forget gate stays open
    found = gradient_by_lag(layer, x, answer=lambda out: out[1][1].reshape(1, 1), cells=True)
    np.testing.assert_allclose(found.cells["0"], 1.0, rtol=1e-6)


def test_plain_recurrent_networks_are_measured_too() -> None:
    rnn = nn.RNN(3, 8, batch_first=True)
    found = gradient_by_lag(rnn, batch(T=60), answer=lambda out: out[0][:, -1])
    assert found.sensitivity[50] < 1e-6 * found.sensitivity[0]
    assert found.cells == {}


def test_packed_sequences_are_measured() -> None:
    lstm = lstmkit.LSTM(3, 4)
    sequences = [torch.randn(n, 3) for n in (6, 4, 2)]
    packed = pack_sequence(sequences)
    found = gradient_by_lag(lstm, packed, answer=lambda out: out[1][0][-1])
    parts = [gradient_by_lag(lstm, s[:, None], answer=lambda out: out[1][0][-1]) for s in sequences]
    wanted = np.mean([part.sensitivity[0] for part in parts])
    np.testing.assert_allclose(found.sensitivity[0], wanted, rtol=1e-4)


def test_cutting_equals_running_the_last_steps_alone() -> None:
    network, x = Reader().eval(), batch()
    outputs: list[torch.Tensor] = []

    def score(output: torch.Tensor) -> float:
        outputs.append(output)
        return 0.0

    cut = cut_by_lag(network, x, score=score)
    for kept, output in zip(cut.kept, outputs[1:], strict=True):
        torch.testing.assert_close(output, network(x[:, 12 - kept :]), atol=1e-6, rtol=0)
    assert list(cut.kept) == [1, 2, 3, 4, 6, 8, 12]


def test_time_constants_of_known_gates() -> None:
    network, x = Reader(layers=1), batch()
    with intervene(
        network, clamp("lstm.0.forget_gate", 0.5), clamp("lstm.0.forget_gate", 1.0, [2])
    ):
        found = time_constants(observe(network, x))["lstm.0"]
    assert found[2] == np.inf
    np.testing.assert_allclose(np.delete(found, 2), 1 / np.log(2), rtol=1e-6)


def test_reach_and_half_life_of_known_curves() -> None:
    assert Horizon(np.array([1.0, 0, 0, 0])).reach == 1
    even = Horizon(np.ones(100), available=100)
    assert (even.half_life, even.reach) == (50, 95)
    late = Horizon(np.array([0.0] * 30 + [1.0]), available=31)
    assert late.half_life == 31
    assert "looks at nothing" in Horizon(np.zeros(5)).sentence


def test_what_is_needed_is_the_last_place_where_more_helped() -> None:
    kept = np.array([0, 1, 2, 4, 8])
    assert Cut(kept, np.array([3.0, 1.0, 2.0, 1.005, 1.0]), 1.0).needed == 4
    assert Cut(kept, np.array([1.0, 1.0, 1.0, 1.0, 1.0]), 1.0).needed == 0
    assert Cut(kept, np.array([9.0, 8.0, 7.0, 6.0, 1.0]), 1.0).needed == 8


def test_the_sentence_says_the_numbers() -> None:
    cut = Cut(np.array([0, 1, 2]), np.array([3.0, 1.0, 1.0]), 1.0, "MASE")
    said = Horizon(np.array([1.0, 0.01]), cut=cut, available=2, step="4 weeks").sentence
    assert "back 1 of the 2 steps" in said and "a step is 4 weeks" in said
    assert "older than 1 step worsens MASE" in said and "+200.0%" in said


def test_ladder() -> None:
    assert ladder(10) == [1, 2, 3, 4, 6, 8, 10]
    assert ladder(1, 0) == [0, 1]


def test_what_cannot_be_measured_is_said() -> None:
    with pytest.raises(UserError, match="no recurrent layer"):
        gradient_by_lag(nn.Linear(3, 3), batch())
    with pytest.raises(UserError, match="whose state could be wiped"):
        cut_by_lag(nn.RNN(3, 3), batch(), score=lambda out: 0.0)
    with pytest.raises(UserError, match="does not depend"):
        gradient_by_lag(Reader(), batch(), answer=lambda out: out.detach())
    with pytest.raises(UserError, match="is no step"):
        gradient_by_lag(Reader(), batch(), anchor=12)
