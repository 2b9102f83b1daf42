"""What the native kernels promise beyond the contract: bits, threads, sizes, instruction sets."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from contract.cases import GRADIENT_TOLERANCE, TOLERANCE, scaled_error
from torch import Tensor

import lstmkit
from lstmkit.engine import NATIVE
from lstmkit.errors import UserError
from lstmkit.kernels import registry
from lstmkit.kernels.contract import Arguments, CellOptions, Result

pytestmark = pytest.mark.usefixtures("poisoned")
SETS = NATIVE.instruction_sets()
native: Any = registry.backend("native")
reference: Any = registry.backend("reference")

# (T, B, I, H, P or 0): below, at and beyond a vector, a tile, a panel, a chunk; few and many rows.
SIZES = [
    (1, 1, 1, 1, 0),
    (5, 2, 4, 6, 0),
    (7, 5, 3, 17, 0),
    (3, 8, 16, 16, 0),
    (6, 3, 4, 9, 4),
    (9, 33, 40, 40, 0),
    (12, 20, 10, 24, 20),
    (90, 1, 5, 33, 0),
    (20, 64, 8, 16, 0),
    (3, 4, 300, 70, 33),
]


@pytest.fixture
def threads() -> Iterator[Any]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    before = NATIVE.instruction_set()
    NATIVE.use(request.param)
    yield request.param
    NATIVE.use(before)


def arguments(
    T: int,
    B: int,
    I: int,
    H: int,
    P: int = 0,
    *,
    dtype: torch.dtype = torch.float32,
    ragged: bool = False,
    resets: bool = False,
    bias: bool = True,
    seed: int = 0,
) -> Arguments:
    g = torch.Generator().manual_seed(seed)

    def draw(*shape: int, scale: float = 1.0) -> Tensor:
        return (scale * torch.randn(*shape, generator=g, dtype=torch.float64)).to(dtype)

    width = P or H
    return Arguments(
        draw(T, B, I),
        draw(B, width),
        draw(B, H),
        draw(4 * H, I, scale=I**-0.5),
        draw(4 * H, width, scale=width**-0.5),
        draw(4 * H) if bias else None,
        draw(4 * H) if bias else None,
        draw(P, H, scale=H**-0.5) if P else None,
        lengths=torch.randint(0, T + 1, (B,), generator=g) if ragged else None,
        resets=torch.rand(T, B, generator=g) < 0.3 if resets else None,
    )


def run(a: Arguments, o: CellOptions = CellOptions()) -> tuple[Result, list[Tensor | None]]:  # noqa: B008
    """All results, and the gradients of a fixed sum of all of them."""
    result = native.forward(a, o, True)
    return result, native.backward(a, o, result, weights_of(result))


def weights_of(result: Result) -> list[Tensor]:
    g = torch.Generator().manual_seed(9)
    return [torch.randn(r.shape, generator=g, dtype=torch.float64).to(r.dtype) for r in result]


def same_bits(a: Any, b: Any) -> None:
    for x, y in zip(a, b, strict=True):
        assert (x is None) == (y is None)
        assert x is None or torch.equal(x, y)


# --- instruction sets -----------------------------------------------------------------------------


@pytest.mark.parametrize("instruction_set", SETS, indirect=True)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_instruction_set_agrees_with_float64(
    size: Any, dtype: torch.dtype, instruction_set: str, threads: Any
) -> None:
    for count, (reverse, ragged, resets) in enumerate(itertools.product((False, True), repeat=3)):
        threads(1 + count % 3)
        a = arguments(*size, dtype=dtype, ragged=ragged, resets=resets, bias=not resets, seed=count)
        o = CellOptions(reverse=reverse)
        result, grads = run(a, o)
        wide = a.to(torch.float64)
        expected = reference.forward(wide, o, True)
        weights = [w.double() for w in weights_of(result)]
        expected_grads = reference.backward(wide, o, expected, weights)
        for found, wanted in zip(result, expected, strict=True):
            assert scaled_error(found, wanted) < TOLERANCE[dtype]
        for found, wanted in zip(grads, expected_grads, strict=True):
            if wanted is not None:
                assert scaled_error(found, wanted) < GRADIENT_TOLERANCE[dtype]


def imported(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **env}
    done = [sys.executable, "-c", code]
    return subprocess.run(done, capture_output=True, text=True, env=environment, timeout=120)


def test_the_environment_chooses_the_instruction_set() -> None:
    code = "from lstmkit import engine; print(engine.NATIVE.instruction_set())"
    done = imported(code, LSTMKIT_INSTRUCTION_SET=SETS[0])
    assert done.stdout.strip() == SETS[0], done.stderr
    done = imported(code, LSTMKIT_INSTRUCTION_SET="abacus")
    assert done.returncode != 0
    assert "LSTMKIT_INSTRUCTION_SET: no kernels for instruction set 'abacus'" in done.stderr
    assert SETS[-1] in done.stderr
    with pytest.raises(ValueError, match="abacus"):
        NATIVE.use("abacus")
    assert NATIVE.instruction_set() == engine_default()


def engine_default() -> str:
    return os.environ.get("LSTMKIT_INSTRUCTION_SET", SETS[-1])


# --- activations ----------------------------------------------------------------------------------


def activations(z: Tensor) -> tuple[Tensor, Tensor]:
    """sigmoid and tanh of z (N,), which are the biases of N cells that see nothing else."""
    H, zero = len(z), z.new_zeros
    a = Arguments(
        zero(1, 1, 1), zero(1, H), zero(1, H), zero(4 * H, 1), zero(4 * H, H), z.repeat(4)
    )
    gates = native.forward(a, CellOptions(), True).gates[0, 0]
    torch.testing.assert_close(gates[:2], gates[[3, 3]], atol=0, rtol=0, equal_nan=True)
    return gates[0], gates[2]


@pytest.mark.parametrize("instruction_set", SETS, indirect=True)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_activations_are_accurate_everywhere(dtype: torch.dtype, instruction_set: str) -> None:
    """Relative to the true value, in units of the last place; also where it is tiny."""
    small = torch.logspace(-30, 0, 300, dtype=torch.float64)
    z = torch.cat([torch.linspace(-86, 86, 800, dtype=torch.float64), small, -small]).to(dtype)
    unit = torch.finfo(dtype).eps
    # float64 has no wider truth here: torch's own, good to about one unit.
    for found, true in zip(activations(z), (z.double().sigmoid(), z.double().tanh()), strict=True):
        error = ((found.double() - true).abs() / true.abs().clamp(min=1e-300)).max().item()
        assert error < 4 * unit


@pytest.mark.parametrize("instruction_set", SETS, indirect=True)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_activations_reach_their_ends(dtype: torch.dtype, instruction_set: str) -> None:
    z = torch.tensor([1e4, math.inf, -1e4, -math.inf, 0.0, math.nan], dtype=dtype)
    sigmoid, tanh = activations(z)
    assert sigmoid[:5].tolist() == [1, 1, 0, 0, 0.5]
    assert tanh[:5].tolist() == [1, 1, -1, -1, 0]
    assert sigmoid[5].isnan() and tanh[5].isnan()


# --- bits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "size", [(40, 37, 9, 24, 0), (60, 1, 8, 130, 0), (20, 12, 9, 40, 20)], ids=str
)
@pytest.mark.parametrize("reverse", [False, True])
def test_bits_do_not_depend_on_threads_or_on_the_run(
    size: Any, reverse: bool, threads: Any
) -> None:
    o = CellOptions(reverse=reverse)
    for ragged, resets in ((False, False), (True, True)):
        a = arguments(*size, ragged=ragged, resets=resets)
        threads(1)
        expected = run(a, o)
        for count in (1, 2, 3, 4, 7):
            threads(count)
            found = run(a, o)
            same_bits(found[0], expected[0])
            same_bits(found[1], expected[1])


def test_bits_of_a_sample_do_not_depend_on_its_batch() -> None:
    a = arguments(30, 19, 7, 21, ragged=True, resets=True)
    o, order = CellOptions(), torch.randperm(19)
    result, grads = run(a, o)
    for b in (0, 7, 18):
        one = Arguments(*(x[:, b : b + 1] if k in (0, 14) else x for k, x in enumerate(a)))
        one = one._replace(h0=a.h0[b : b + 1], c0=a.c0[b : b + 1], lengths=a.lengths[b : b + 1])
        alone = native.forward(one, o, True)
        assert torch.equal(alone.output[:, 0], result.output[:, b])
        assert torch.equal(alone.gates[:, 0], result.gates[:, b])
        weights = [w[:, b : b + 1] for w in weights_of(result)[:1]]
        weights += [w[b : b + 1] for w in weights_of(result)[1:3]]
        weights += [w[:, b : b + 1] for w in weights_of(result)[3:]]
        d_input, d_h0, d_c0 = native.backward(one, o, alone, weights)[:3]
        same_bits((d_input[:, 0], d_h0[0], d_c0[0]), (grads[0][:, b], grads[1][b], grads[2][b]))
    moved = a._replace(
        input=a.input[:, order], h0=a.h0[order], c0=a.c0[order], lengths=a.lengths[order],
        resets=a.resets[:, order],
    )  # fmt: skip
    assert torch.equal(native.forward(moved, o, False).output, result.output[:, order])


def test_bits_of_a_stream_are_those_of_the_whole() -> None:
    """In chunks and single steps; with packed weights: tests/runtime/test_everywhere.py."""
    a = arguments(23, 6, 11, 20, 12)
    whole = native.forward(a, CellOptions(), True)
    h, c = a.h0, a.c0
    for chunk in a.input.split([1, 9, 1, 1, 11]):
        r = native.forward(a._replace(input=chunk, h0=h, c0=c), CellOptions(), False)
        h, c = r.h_n, r.c_n
    same_bits((h, c), whole[1:3])


@pytest.mark.parametrize(
    "size", [(70, 9, 5, 12, 0), (400, 3, 4, 70, 0), (40, 30, 6, 16, 8)], ids=str
)
@pytest.mark.parametrize("reverse", [False, True])
def test_recomputed_gradients_have_the_same_bits(size: Any, reverse: bool, threads: Any) -> None:
    for count, (ragged, resets) in enumerate(itertools.product((False, True), repeat=2)):
        threads(1 + count % 2)
        a, o = arguments(*size, ragged=ragged, resets=resets), CellOptions(reverse=reverse)
        result = native.forward(a, o, True)
        grads = [*weights_of(result)[:3], None, None]
        expected = native.backward(a, o, result, grads)
        light, cells = native.checkpointed(a, o)
        same_bits(light[:3], result[:3])
        found = native.from_checkpoints(a, o, light.output, cells, grads, [True] * 8)
        same_bits(found, expected)


def test_recompute_takes_less_memory_on_a_long_sequence() -> None:
    kept: dict[bool, int] = {}
    for recompute in (False, True):
        layer = lstmkit.LSTM(4, 64, recompute=recompute)
        sizes: dict[int, int] = {}

        def pack(t: Tensor, sizes: dict[int, int] = sizes) -> Tensor:
            sizes[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            layer(torch.randn(2000, 4, 4))
        kept[recompute] = sum(sizes.values())
    assert kept[True] < 0.22 * kept[False]  # output and a few cells, of output, cells and gates


# --- sizes ----------------------------------------------------------------------------------------


def test_more_steps_than_cudnn_takes() -> None:
    T = 70_001
    layer = lstmkit.LSTM(2, 3, backend="native")
    x = torch.randn(T, 1, 2, requires_grad=True)
    output, _ = layer(x)
    first, hx = layer(x[:66_000])
    second, _ = layer(x[66_000:], hx)
    assert torch.equal(torch.cat([first, second]), output)
    output[-1].sum().backward()
    assert x.grad is not None and x.grad[-1].abs().sum() > 0


def free_memory() -> int:
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.skipif(free_memory() < 14 << 30, reason="takes 12 GB of memory")
def test_more_than_two_to_the_31_elements() -> None:
    T, B, H = 2**22 + 3, 65, 8
    assert T * B * H > 2**31
    torch.use_deterministic_algorithms(False)  # nothing is filled with NaN: it would take a minute
    a = arguments(1, B, 1, H)
    a = a._replace(input=a.input.expand(T, B, 1))
    (output, h_n, c_n, *_), cells = native.checkpointed(a, CellOptions())
    assert torch.equal(output[-1], h_n)
    # A constant input ends in a fixed point: a row that was missed would not be there.
    late = output[T // 2 :: 997]
    torch.testing.assert_close(late.amin(0), late.amax(0), atol=1e-6, rtol=0)
    d_output = torch.zeros(1, B, H).expand(T, B, H)
    grads = [d_output, torch.ones(B, H), None, None, None]
    wanted = [True] * 8
    d_input = native.from_checkpoints(a, CellOptions(), output, cells, grads, wanted)[0]
    short = a._replace(input=a.input[:500], h0=output[T - 501], c0=c_n)
    expected = native.backward(
        short, CellOptions(), native.forward(short, CellOptions(), True),
        [d_output[:500], *grads[1:]],
    )[0]  # fmt: skip
    torch.testing.assert_close(d_input[-400:], expected[-400:], atol=1e-6, rtol=1e-4)
    assert torch.isfinite(d_input[:10]).all()


# --- threads and processes ------------------------------------------------------------------------

# As small as PyTorch needs to stay on one thread itself: its own loops hang in a forked process.
FORK = """
import os, sys, torch
from lstmkit import LSTM
torch.manual_seed(0)
torch.set_num_threads(3)
layer, x = LSTM(64, 64, backend="native"), torch.randn(30, 8, 64, requires_grad=True)
def work():
    x.grad = None
    y = layer(x)[0]
    y.sum().backward()
    return y.detach(), x.grad
expected = work()
child = os.fork()
if child == 0:
    found = work()
    os._exit(0 if all(torch.equal(a, b) for a, b in zip(found, expected)) else 1)
assert os.waitpid(child, 0)[1] == 0
assert all(torch.equal(a, b) for a, b in zip(work(), expected))
print("done")
"""


def test_a_forked_process_runs_on_one_thread_and_gets_the_same_bits() -> None:
    done = imported(FORK)
    assert done.stdout.strip() == "done", done.stderr


@pytest.mark.slow
def test_in_the_workers_of_a_data_loader() -> None:
    layer = lstmkit.LSTM(32, 64, backend="native")
    data = torch.randn(8, 40, 32)
    expected = layer(data.transpose(0, 1))[0].transpose(0, 1).detach()

    class Encoded(torch.utils.data.Dataset[Tensor]):
        def __len__(self) -> int:
            return 8

        def __getitem__(self, k: int) -> Tensor:
            with torch.no_grad():
                return layer(data[k][:, None])[0][:, 0]

    loader = torch.utils.data.DataLoader(Encoded(), batch_size=4, num_workers=2)
    assert torch.equal(torch.cat(list(loader)), expected)


def test_from_several_python_threads(threads: Any) -> None:
    threads(2)
    a = arguments(40, 16, 64, 64)
    expected = run(a)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: run(a), range(12)):
            same_bits(found[0], expected[0])
            same_bits(found[1], expected[1])


def test_the_interpreter_runs_on_meanwhile() -> None:
    a = arguments(400, 32, 128, 128)
    started, ticks, done = threading.Event(), [0], threading.Event()

    def tick() -> None:
        started.set()
        while not done.wait(0.001):
            ticks[0] += 1

    other = threading.Thread(target=tick)
    other.start()
    started.wait()
    before = ticks[0]
    native.forward(a, CellOptions(), False)
    during = ticks[0] - before
    done.set()
    other.join()
    assert during > 0


# --- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "broken",
    [
        {"weight_hh": torch.zeros(8, 3)},
        {"h0": torch.zeros(3, 3)},
        {"bias_ih": torch.zeros(12, dtype=torch.float64)},
        {"c0": torch.zeros(2, 3, device="meta")},
        {"lengths": torch.tensor([1, 2, 3])},
        {"resets": torch.zeros(4, 3, dtype=torch.bool)},
    ],
    ids=lambda b: next(iter(b)),
)
def test_arguments_that_do_not_fit_never_reach_the_kernels(broken: dict[str, Tensor]) -> None:
    a = arguments(5, 2, 4, 3)._replace(**broken)
    with pytest.raises(UserError):
        native.forward(a, CellOptions(), False)


@pytest.mark.parametrize("lengths", [[6, 1], [-1, 5]])
def test_lengths_beyond_the_steps_are_refused(lengths: list[int]) -> None:
    a = arguments(5, 2, 4, 3)._replace(lengths=torch.tensor(lengths))
    with pytest.raises(ValueError, match=r"outside 0 \.\. T"):
        native.forward(a, CellOptions(), False)


def test_transposed_inputs_are_read_where_they_are() -> None:
    a = arguments(6, 3, 5, 4)
    batch_first = a.input.transpose(0, 1).contiguous()
    view = a._replace(input=batch_first.transpose(0, 1))
    same_bits(run(view)[1], run(a)[1])


def test_states_may_be_changed_in_place_afterwards() -> None:
    layer, x = lstmkit.LSTM(3, 4, backend="native"), torch.randn(5, 2, 3)
    output, (h, c) = layer(x)
    h[:, 0] = 0.0
    (output.sum() + h.sum() + c.sum()).backward()
    assert all(torch.isfinite(p.grad).all() for p in layer.parameters())
