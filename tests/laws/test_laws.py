"""The laws of EQUATIONS, for every variant, on every backend that runs it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from contract.cases import CASES, Case, scaled_error
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import lstmkit
from lstmkit.kernels import registry

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported")
EXACT = 1e-11

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "deep": {"num_layers": 2},
    "projected": {"proj_size": 3},
    "peephole": {"peephole": True},
    "layer-norm": {"layer_norm": True},
    "coupled": {"coupled_gates": True},
    "zoneout": {"zoneout": (0.2, 0.4)},
    "residual": {"residual": True, "num_layers": 2},
    "weight-drop": {"weight_drop": 0.3},
    "variational": {"variational_dropout": (0.2, 0.3, 0.2), "num_layers": 2},
    "masks": {
        "recurrent_dropout": 0.3,
        "weight_drop": 0.2,
        "zoneout": 0.2,
        "variational_dropout": (0.1, 0.2, 0.3),
        "num_layers": 2,
    },
    "all": {
        "peephole": True,
        "layer_norm": True,
        "coupled_gates": True,
        "zoneout": 0.3,
        "proj_size": 2,
        "recurrent_dropout": 0.4,
    },
}
T, B = 6, 4


def make(name: str, backend: str, **more: Any) -> lstmkit.LSTM:
    variant = {**VARIANTS[name], **more}
    return Case(name, T=T, B=B, layer=variant).make(backend)


def pairs(**call: Any) -> list[tuple[str, str]]:
    """Each variant with each backend that says that it runs such a call."""
    x = torch.zeros(T, B, 4, dtype=torch.float64)
    return [
        (name, key)
        for name in VARIANTS
        for key, backend in registry.backends().items()
        if backend.supports(make(name, key).case(x, **call)) is None
    ]


each = pytest.mark.parametrize(("name", "backend"), pairs())
each_of_one_layer = pytest.mark.parametrize(
    ("name", "backend"), [p for p in pairs() if VARIANTS[p[0]].get("num_layers", 1) == 1]
)
each_with_resets = pytest.mark.parametrize(
    ("name", "backend"), pairs(resets=torch.zeros(T, B, dtype=torch.bool))
)


def inputs(steps: int = T, batch: int = B) -> Tensor:
    g = torch.Generator().manual_seed(5)
    return torch.randn(steps, batch, 4, generator=g, dtype=torch.float64)


def error(found: Any, expected: Any) -> float:
    """Over nested outputs and states."""
    if isinstance(found, Tensor):
        return scaled_error(found, expected)
    return max(error(a, b) for a, b in zip(found, expected, strict=True))


@each
@settings(max_examples=8, deadline=None)
@given(cuts=st.sets(st.integers(1, T - 1)))
def test_1_whole_equals_chunks_with_carried_state(name: str, backend: str, cuts: Any) -> None:
    layer, x = make(name, backend).eval(), inputs()
    whole, final = layer(x)
    outputs, hx = [], None
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), T], strict=True):
        output, hx = layer(x[start:end], hx)
        outputs.append(output)
    assert error((torch.cat(outputs), hx), (whole, final)) < EXACT


@each
def test_2_padding_changes_nothing(name: str, backend: str) -> None:
    layer, x = make(name, backend, bidirectional=True).eval(), inputs()
    lengths = torch.tensor([6, 0, 3, 1])
    padded = x.clone()
    for b, n in enumerate(lengths):
        padded[n:, b] = torch.nan
    found = layer(padded, lengths=lengths)
    longer = torch.cat([padded, torch.full_like(x[:3], torch.nan)])
    more, states = layer(longer, lengths=lengths)
    assert error((more[:T], states), found) < EXACT
    assert (more[T:] == 0).all()
    assert (found[0][3:, 2] == 0).all()


@each
@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
def test_2_permuting_the_batch_permutes_the_result(name: str, backend: str, training: bool) -> None:
    layer, x = make(name, backend, bidirectional=True).train(training), inputs()
    order, ids = torch.tensor([2, 0, 3, 1]), torch.tensor([7, 2**40, 0, 3])
    lengths = torch.tensor([6, 2, 4, 5])

    def run(p: Tensor) -> Any:
        layer.generator = torch.Generator().manual_seed(1)
        return layer(x[:, p], lengths=lengths[p], sample_ids=ids[p])

    y, (h, c) = run(torch.arange(B))
    assert error(run(order), (y[:, order], (h[:, order], c[:, order]))) < EXACT


@each
@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
def test_2_a_sample_alone_equals_itself_in_a_batch(name: str, backend: str, training: bool) -> None:
    layer, x = make(name, backend).train(training), inputs()

    def run(x: Tensor, ids: Tensor) -> Any:
        layer.generator = torch.Generator().manual_seed(1)
        return layer(x, sample_ids=ids)

    together = run(x, torch.arange(B))[0]
    for b in range(B):
        assert error(run(x[:, b : b + 1], torch.tensor([b]))[0], together[:, b : b + 1]) < EXACT


def steered(rows: dict[str, float], **more: Any) -> lstmkit.LSTM:
    """A layer whose gates are forced open (1e3) or shut (-1e3) by their biases."""
    layer = Case("law", layer=more).make()
    names = ("i", "g", "o") if more.get("coupled_gates") else ("i", "f", "g", "o")
    with torch.no_grad():
        for name, value in rows.items():
            k = names.index(name)
            layer.bias_ih_l0[6 * k : 6 * k + 6] = value
    return layer


OPEN, SHUT = 1e3, -1e3


def test_3_open_forget_and_shut_input_gate_hold_the_cell() -> None:
    c0 = torch.randn(1, 3, 6, dtype=torch.float64)
    for peephole in (False, True):
        layer = steered({"i": SHUT, "f": OPEN}, peephole=peephole)
        _, (_, c) = layer(inputs(200, 3), (torch.zeros_like(c0), c0))
        assert torch.equal(c, c0)
    coupled = steered({"i": SHUT}, coupled_gates=True)
    _, (_, c) = coupled(inputs(50, 3), (torch.zeros_like(c0), c0))
    assert torch.equal(c, c0)


def test_3_shut_input_gate_ignores_the_input_in_the_cell() -> None:
    layer = steered({"i": SHUT, "f": OPEN})
    _, _, one = layer(inputs(5, 3), trace=True)
    assert (one[0].cell == 0).all()


def test_3_shut_forget_and_open_input_gate_replace_the_cell() -> None:
    layer = steered({"i": OPEN, "f": SHUT})
    c0 = 100 * torch.ones(1, 3, 6, dtype=torch.float64)
    _, _, trace = layer(inputs(5, 3), (torch.zeros_like(c0), c0), trace=True)
    torch.testing.assert_close(trace[0].cell, trace[0].candidate, atol=0, rtol=0)


def test_3_shut_output_gate_shows_nothing() -> None:
    layer = steered({"o": SHUT})
    output, _, trace = layer(inputs(5, 3), trace=True)
    assert (output == 0).all()
    assert (trace[0].cell != 0).any()


@pytest.mark.parametrize("name", [n for n in VARIANTS if "zoneout" not in VARIANTS[n]])
def test_3_the_cell_changes_by_its_gates_only(name: str) -> None:
    layer = make(name, "reference")
    _, _, trace = layer(inputs(), trace=True)
    for one in trace.layers:
        before = torch.cat([torch.zeros_like(one.cell[:1]), one.cell[:-1]])
        expected = one.forget_gate * before + one.input_gate * one.candidate
        assert error(one.cell, expected) < EXACT


@each_of_one_layer
def test_4_bidirectional_equals_forward_and_forward_on_the_reversed_part(
    name: str, backend: str
) -> None:
    both, x = make(name, backend, bidirectional=True).eval(), inputs()
    lengths = torch.tensor([6, 3, 1, 0])
    output, (h, c) = both(x, lengths=lengths)
    forward, backward = make(name, backend).eval(), make(name, backend).eval()
    state = both.state_dict()
    forward.load_state_dict({k: v for k, v in state.items() if "reverse" not in k})
    backward.load_state_dict(
        {k.removesuffix("_reverse"): v for k, v in state.items() if "reverse" in k}
    )
    half = output.shape[-1] // 2
    for b, n in enumerate(lengths.tolist()):
        if n == 0:
            assert (output[:, b] == 0).all() and (h[:, b] == 0).all()
            continue
        one, (h1, c1) = forward(x[:n, b : b + 1])
        two, (h2, c2) = backward(x[:n, b : b + 1].flip(0))
        assert error(output[:n, b : b + 1, :half], one) < EXACT
        assert error(output[:n, b : b + 1, half:], two.flip(0)) < EXACT
        assert (
            error((h[:, b : b + 1], c[:, b : b + 1]), (torch.cat([h1, h2]), torch.cat([c1, c2])))
            < EXACT
        )


@each_with_resets
@settings(max_examples=8, deadline=None)
@given(starts=st.sets(st.integers(1, T - 1)), at_zero=st.booleans())
def test_5_segments_equal_separate_runs(
    name: str, backend: str, starts: Any, at_zero: bool
) -> None:
    layer, x = make(name, backend, bidirectional=True).eval(), inputs()
    resets = torch.zeros(T, B, dtype=torch.bool)
    resets[[*starts, *([0] if at_zero else [])]] = True
    D = 2 * layer.num_layers
    hx = (
        torch.randn(D, B, layer.proj_size or 6, dtype=torch.float64),
        torch.randn(D, B, 6, dtype=torch.float64),
    )
    if layer.num_layers > 1:  # the layers of a separate run see separate segments too
        hx = tuple(torch.zeros_like(s) for s in hx)
    output, (h, c) = layer(x, hx, resets=resets)
    bounds = [0, *sorted(starts), T]
    outputs, forward_final = [], None
    for start, end in itertools.pairwise(bounds):
        given_h, given_c = (torch.zeros_like(s) for s in hx)
        if start == 0 and not at_zero:
            given_h[0::2], given_c[0::2] = hx[0][0::2], hx[1][0::2]
        if end == T:
            given_h[1::2], given_c[1::2] = hx[0][1::2], hx[1][1::2]
        y, (one_h, one_c) = layer(x[start:end], (given_h, given_c))
        outputs.append(y)
        forward_final = one_h[0::2], one_c[0::2]
        if start == 0:
            reverse_final = one_h[1::2], one_c[1::2]
    if at_zero:
        reverse_final = tuple(torch.zeros_like(s) for s in reverse_final)
    assert error(output, torch.cat(outputs)) < EXACT
    assert error((h[0::2], c[0::2]), forward_final) < EXACT
    assert error((h[1::2], c[1::2]), reverse_final) < EXACT


def test_5_a_reset_in_padding_does_nothing() -> None:
    layer, x = make("plain", "reference", bidirectional=True), inputs()
    lengths, resets = torch.tensor([6, 2, 4, 0]), torch.zeros(T, B, dtype=torch.bool)
    expected = layer(x, lengths=lengths)
    resets[3:, 1] = resets[5, 2] = resets[0, 3] = True
    assert error(layer(x, lengths=lengths, resets=resets), expected) < EXACT


@pytest.mark.parametrize("case", [c for c in CASES if c.plain], ids=lambda c: c.name)
def test_6_weights_to_torch_and_back_are_the_identity(case: Case) -> None:
    layer = case.make()
    before = {k: v.clone() for k, v in layer.state_dict().items()}
    peer = nn.LSTM(case.I, case.H, dtype=torch.float64, **case.layer)
    assert list(peer.state_dict()) == list(before)
    peer.load_state_dict(layer.state_dict())
    again = lstmkit.LSTM(case.I, case.H, dtype=torch.float64, **case.layer)
    again.load_state_dict(peer.state_dict())
    for name, value in again.state_dict().items():
        assert torch.equal(value, before[name])


def test_zoneout_in_evaluation_is_the_expectation() -> None:
    layer, x = make("zoneout", "reference"), inputs(1, 1)
    p_h, p_c = layer.zoneout
    hx = torch.randn(1, 1, 6, dtype=torch.float64), torch.randn(1, 1, 6, dtype=torch.float64)
    _, (h, c) = layer.eval()(x, hx)
    layer.train()
    many = x.expand(1, 20_000, 4), (hx[0].expand(1, 20_000, 6), hx[1].expand(1, 20_000, 6))
    layer.generator = torch.Generator().manual_seed(0)
    _, (hs, cs) = layer(many[0], tuple(s.contiguous() for s in many[1]))
    torch.testing.assert_close(hs.mean(1), h[:, 0], atol=0.02, rtol=0)
    torch.testing.assert_close(cs.mean(1), c[:, 0], atol=0.03, rtol=0)
    assert (p_h, p_c) == (0.2, 0.4)
