"""What docs/concepts/lstm.md says is so: a test for each sentence, its blocks, its pictures."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import lstmkit
from lstmkit.cli.main import cli
from lstmkit.demos import marked, measured
from lstmkit.inspection import clamp, intervene, observe, time_constants

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "concepts" / "lstm.md"
TEXT = PAGE.read_text()
PICTURES = re.findall(r"!\[.*?\]\((.*?)\)", TEXT)
NAMED = re.findall(r"(tests/[\w/]+\.py)::(\w+)", TEXT)
LARGEST = 150_000  # bytes of a picture
SHUT, OPEN = clamp("0.input_gate", 0), clamp("0.input_gate", 1)
KEEP = clamp("0.forget_gate", 1)


def unit(c0: float, *changes: Any, steps: int = 50, seed: int = 0) -> Any:
    return measured.steered_unit(measured.noise(steps, seed), c0, *changes)


# --- the sentences --------------------------------------------------------------------------------


@pytest.mark.parametrize("gain", measured.GAINS)
@pytest.mark.parametrize("seed", range(3))
def test_1_a_plain_network_forgets_at_least_as_fast_as_a_to_the_k(gain: float, seed: int) -> None:
    norms = measured.jacobian_norms(gain, seed=seed)
    assert (norms <= gain ** np.arange(len(norms)) * (1 + 1e-9)).all()
    assert norms[1] > 0.8 * gain  # a bound that is nearly met, not an idle one
    if gain > 1:  # held back by the slope of tanh
        assert norms[-1] < 0.01 * gain ** (len(norms) - 1)


@pytest.mark.parametrize("gain", measured.GAINS)
def test_1_at_rest_the_gradient_is_exactly_a_to_the_k(gain: float) -> None:
    network = torch.nn.RNN(1, 8, bias=False).double()
    with torch.no_grad():
        network.weight_hh_l0.copy_(gain * torch.linalg.qr(torch.randn(8, 8).double())[0])
    x, h = torch.zeros(20, 1, dtype=torch.float64), torch.zeros(1, 8, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda h: network(x, h)[1][0], h)[:, 0]
    assert torch.linalg.matrix_norm(jacobian, 2).item() == pytest.approx(gain**20, rel=1e-9)


def test_2_the_cell_changes_by_its_gates_only() -> None:
    record = unit(0.3)
    before = np.append(np.float32(0.3), record.cell[:-1, 0, 0])
    f, i, g = (getattr(record, n)[:, 0, 0] for n in ("forget_gate", "input_gate", "candidate"))
    np.testing.assert_allclose(record.cell[:, 0, 0], f * before + i * g, atol=1e-6)
    assert ((f > 0) & (f < 1) & (i > 0) & (i < 1) & (abs(g) < 1)).all()


def test_2_the_cell_is_held_exactly() -> None:
    assert (unit(0.5, SHUT, KEEP, steps=1000).cell == 0.5).all()


def test_2_the_gradient_of_a_held_cell_is_exactly_1() -> None:
    assert cell_gradient(SHUT, KEEP, steps=1000) == 1.0
    assert cell_gradient(SHUT, clamp("0.forget_gate", 0.5), steps=20) == 0.5**20


def cell_gradient(*changes: Any, steps: int) -> float:
    layer = lstmkit.LSTM(1, 1)
    c0 = torch.full((1, 1, 1), 0.7, requires_grad=True)
    with intervene(layer, *changes):
        _, (_, c) = layer(torch.randn(steps, 1, 1), (torch.zeros(1, 1, 1), c0))
    return float(torch.autograd.grad(c.sum(), c0)[0])


def test_3_a_shut_input_gate_ignores_the_input() -> None:
    fading = clamp("0.forget_gate", 0.9)
    one, other = (unit(0.5, SHUT, fading, seed=seed).cell for seed in (1, 2))
    assert (one == other).all()
    one, other = (unit(0.5, fading, seed=seed).cell for seed in (1, 2))
    assert (one != other).all()


def test_3_an_open_input_gate_adds_the_candidate() -> None:
    record = unit(0.5, OPEN, KEEP)
    added = np.diff(record.cell[:, 0, 0], prepend=np.float32(0.5))
    np.testing.assert_allclose(added, record.candidate[:, 0, 0], atol=1e-5)


def test_3_the_cell_moves_only_while_the_input_gate_is_open() -> None:
    open_now = clamp("0.input_gate", 1, steps=(20, 24))
    moved = np.diff(unit(0.0, SHUT, KEEP, open_now).cell[:, 0, 0], prepend=np.float32(0)) != 0
    assert moved.nonzero()[0].tolist() == [20, 21, 22, 23]


@pytest.mark.parametrize("f", measured.FORGETS)
def test_4_the_cell_decays_as_f_to_the_t(f: float) -> None:
    cell = unit(1.0, SHUT, clamp("0.forget_gate", f)).cell[:, 0, 0]
    np.testing.assert_allclose(cell, f ** np.arange(1, 51), rtol=1e-5)


def test_4_the_time_constant_leaves_37_percent() -> None:
    taus = [-1 / np.log(f) for f in (0.9, 0.97)]
    assert [f"{tau:.1f}" for tau in taus] == ["9.5", "32.8"]
    for f in measured.FORGETS:
        assert f"{f ** (-1 / np.log(f)):.2f}" == "0.37"
    layer = lstmkit.LSTM(1, 1)
    with intervene(layer, clamp("0.forget_gate", 0.9)):
        found = time_constants(observe(layer, torch.zeros(9, 1, 1)))["0"]
    assert found[0] == pytest.approx(-1 / np.log(0.9), rel=1e-6)


def test_4_a_shut_forget_gate_resets() -> None:
    cell = unit(1.0, SHUT, KEEP_TO_20, clamp("0.forget_gate", 0, steps=(20, 21))).cell[:, 0, 0]
    assert (cell[:20] == 1).all() and (cell[20:] == 0).all()


KEEP_TO_20 = clamp("0.forget_gate", 1, steps=(0, 20))


def test_5_a_shut_output_gate_shows_nothing_while_the_cell_goes_on() -> None:
    record = unit(0.0, clamp("0.output_gate", 0))
    assert (record.hidden == 0).all()
    assert (np.diff(record.cell[:, 0, 0]) != 0).all()


def test_5_an_open_output_gate_shows_tanh_of_the_cell() -> None:
    record = unit(0.0, clamp("0.output_gate", 1))
    np.testing.assert_allclose(record.hidden, np.tanh(record.cell), atol=1e-6)


@pytest.mark.slow
def test_6_the_trained_gates_do_what_the_page_says(trained: Any) -> None:
    _, network = trained
    batch = marked.draw_batch(512, marked.STEPS, torch.Generator().manual_seed(77))
    record = observe(network, batch.x)[0]
    gates = {n: getattr(record, f"{n}_gate")[..., 0].T for n in ("input", "forget", "output")}
    at_mark, asked = batch.x[..., 1].bool().numpy(), batch.x[..., 2].bool().numpy()
    later = np.arange(marked.STEPS) > batch.ask.numpy()[:, None]
    assert gates["input"][at_mark].min() > 0.5 and gates["input"][~at_mark].max() < 0.05
    assert gates["forget"][~later].min() > 0.9
    assert gates["output"][asked].min() > 0.7
    assert gates["output"][~asked & ~later].max() < 0.1
    held, number = record.cell[..., 0].T[asked], batch.y.numpy()[asked]
    assert np.corrcoef(held, number)[0, 1] < -0.95 and held.std() < number.std()
    with torch.no_grad():
        wrong = (network(batch.x) - batch.y).numpy()[asked]
    nothing = batch.y.numpy()[asked]  # the error of the answer 0
    assert (wrong**2).mean() < 0.01 * (nothing**2).mean()


@pytest.mark.slow
def test_6_not_every_start_learns(trained: Any) -> None:
    losses, _ = trained
    assert len(losses) == 4
    assert min(losses) < 0.002 and sum(loss > 0.1 for loss in losses) == 1
    assert sum(0.002 < loss < 0.01 for loss in losses) == 1  # learnt, less well


@pytest.fixture(scope="module")
def trained() -> Any:
    return marked.train(0)


@pytest.mark.parametrize("seed", range(3))
def test_7_plain_then_lstm_then_forget_bias_then_chrono(seed: int) -> None:
    found = measured.horizons(seed)
    shares = [h.sensitivity[50] / h.sensitivity.max() for h in found.values()]
    assert shares == sorted(shares)
    assert shares[0] < 1e-10 and shares[-1] > 1e-2
    if seed == 0:
        assert shares[0] < 1e-12  # as the page says of its picture
    plain, lstm, biased, chrono = (h.reach for h in found.values())
    assert plain <= lstm + 1 and lstm < 2 * plain  # hardly farther
    assert lstm < biased < chrono and chrono > 100


def test_7_the_chrono_time_constants_span_1_to_T() -> None:
    layer = lstmkit.LSTM(4, 512, init=lstmkit.Chrono(200))
    f = torch.sigmoid(layer.bias_ih_l0[512:1024].double()).detach().numpy()
    taus = -1 / np.log(f)
    assert taus.min() < 10 and 180 < taus.max() < 201 and (taus > 1).all()
    half = lstmkit.LSTM(4, 512, forget_bias=1.0).bias_ih_l0[512:1024]
    assert torch.sigmoid(half).mean().item() == pytest.approx(0.73, abs=0.005)


# --- the page -------------------------------------------------------------------------------------


def test_python_blocks_print_what_the_page_says(capsys: pytest.CaptureFixture[str]) -> None:
    namespace: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(blocks) >= 6
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), namespace)
        said = re.findall(r"^print\(.*\)  # (.*)$", block, re.MULTILINE)
        assert said and capsys.readouterr().out.splitlines() == said, block


def test_each_picture_is_there_and_small() -> None:
    assert len(PICTURES) == 8
    for picture in PICTURES:
        assert 5_000 < (PAGE.parent / picture).stat().st_size < LARGEST, picture


def test_each_test_that_the_page_names_exists() -> None:
    tests = {path: functions(ROOT / path) for path, _ in NAMED}
    assert [name for path, name in NAMED if name not in tests[path]] == []


def test_the_page_names_each_test_of_a_sentence() -> None:
    here = {name for name in functions(Path(__file__)) if re.match(r"test_\d", name)}
    assert here == {name for _, name in NAMED}


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_each_link_leads_somewhere() -> None:
    for link in re.findall(r"(?<!!)\[.*?\]\((.*?)\)", TEXT):
        assert (PAGE.parent / link).exists(), link


def test_the_task_asks_for_the_marked_number() -> None:
    batch = marked.draw_batch(64, marked.STEPS, torch.Generator().manual_seed(0))
    n = torch.arange(64)
    assert (batch.mark < batch.ask).all()
    assert torch.equal(batch.y[n, batch.ask], batch.x[n, batch.mark, 0])
    assert (batch.x[..., 1:].sum(1) == 1).all()
    assert (batch.y != 0).sum(1).max() == 1


@pytest.mark.slow
def test_the_command_makes_each_picture_of_the_page_and_again_the_same(tmp_path: Path) -> None:
    folders = tmp_path / "one", tmp_path / "two"
    for folder in folders:
        given = ["demo", "concepts", "-o", str(folder), "--epochs", "40", "--quiet"]
        done = CliRunner().invoke(cli, given)
        assert done.exit_code == 0, done.output
    for picture in PICTURES:
        name = Path(picture).name
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name
    assert {path.name for path in folders[0].iterdir()} == {Path(p).name for p in PICTURES}
