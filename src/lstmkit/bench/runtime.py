"""Steps of one stream and of many, beside PyTorch and ONNX Runtime, on one core, through Python.

One layer with as many inputs as cells. Every engine carries its state from step to step and returns
its output. Blocks of steps are taken in turn, so that a machine whose speed drifts favours nobody.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from lstmkit import runtime
from lstmkit.errors import require
from lstmkit.lowprecision import lower
from lstmkit.program import Builder, Program

HIDDEN = (32, 64, 128, 256)
DTYPES = ("float32", "bfloat16", "int8")
SESSIONS, SESSION_HIDDEN = 1000, 64
BLOCKS, STEPS = 25, 400
PAUSE = 0.005  # the thread pool of the engine before spins on for a while
WARM = 0.004  # seconds of steps before a block: caches are another engine's at first

Step = Callable[[], Any]


def bench(
    hidden: tuple[int, ...] = HIDDEN, blocks: int = BLOCKS, many: bool = True
) -> dict[str, Any]:
    """{"machine", "rows"}: hidden, batch, dtype, and microseconds a step of all streams together:
    medians `lstmkit_us`, `onnxruntime_us`, `torch_us`, and lstmkit's 99th percentile `p99_us`.
    What is not installed, or does not have the dtype, is None.
    """
    from lstmkit.bench.machine import machine

    with one_thread():
        rows = [row for width in hidden for row in single(width, blocks)]
        rows += [together(blocks)] if many else []
    return {"machine": machine(), "rows": rows}


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch on one thread, as the runtime is."""
    try:
        torch = require("torch", "train")
    except ImportError:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def single(width: int, blocks: int) -> list[dict[str, Any]]:
    """One stream in every precision."""
    program = layer(width)
    x = np.random.default_rng(0).standard_normal(width).astype(np.float32)
    engines: dict[str, Step | None] = {d: ours(lower(program, d), x) for d in DTYPES}
    engines |= {"onnxruntime": onnx_step(program, x), "torch": torch_step(program, x)}
    times = in_turn({k: v for k, v in engines.items() if v is not None}, blocks, STEPS)
    peers = {f"{name}_us": middle(times.get(name)) for name in ("onnxruntime", "torch")}
    nothing = dict.fromkeys(peers)
    return [
        {
            "hidden": width,
            "batch": 1,
            "dtype": dtype,
            "lstmkit_us": middle(times[dtype]),
            **(peers if dtype == "float32" else nothing),
            "p99_us": percentile(times[dtype], 99),
            "p10_us": percentile(times[dtype], 10),
        }
        for dtype in DTYPES
    ]


def together(blocks: int) -> dict[str, Any]:
    """A thousand streams, each with its own session, beside one batched torch.nn.LSTMCell."""
    program = layer(SESSION_HIDDEN)
    shape = (SESSIONS, SESSION_HIDDEN)
    xs = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    model, out = runtime.load(program), np.empty(shape, np.float32)
    sessions: list[Any] = [model.session() for _ in range(SESSIONS)]
    engines: dict[str, Step | None] = {
        "lstmkit": lambda: runtime.step_many(sessions, xs, out),
        "torch": torch_cell(program, xs),
    }
    times = in_turn({k: v for k, v in engines.items() if v is not None}, blocks, 20)
    return {
        "hidden": SESSION_HIDDEN,
        "batch": SESSIONS,
        "dtype": "float32",
        "lstmkit_us": middle(times["lstmkit"]),
        "onnxruntime_us": None,
        "torch_us": middle(times.get("torch")),
        "p99_us": percentile(times["lstmkit"], 99),
        "p10_us": percentile(times["lstmkit"], 10),
    }


def layer(width: int) -> Program:
    """One LSTM layer with PyTorch's initial weights' distribution."""
    draw = np.random.default_rng(width).uniform
    bound = width**-0.5
    shapes = {"weight_ih": (4 * width, width), "weight_hh": (4 * width, width)}
    shapes |= {"bias_ih": (4 * width,), "bias_hh": (4 * width,)}  # type: ignore[dict-item]
    arrays = {f"{k}_l0": draw(-bound, bound, s).astype(np.float32) for k, s in shapes.items()}
    options = {"hidden_size": width, "proj_size": 0, "num_layers": 1, "bidirectional": False}
    options |= {"coupled_gates": False, "residual": False, "zoneout": (0.0, 0.0)}  # type: ignore[dict-item]
    b = Builder("recurrent")
    x = b.input("x", ("B", "T", width))
    b.output("y", b.lstm(x, arrays, "", options, carried=True), ("B", "T", width))
    b.entry("sequence")
    x = b.input("x", ("B", width))
    b.output("y", b.lstm_cell(x, arrays, "", options), ("B", width))
    b.entry("step")
    return b.build()


# --- engines --------------------------------------------------------------------------------------


def ours(program: Program, x: np.ndarray) -> Step:
    """`Session.step`."""
    session = runtime.load(program).session()
    return lambda: session.step(x)


def onnx_step(program: Program, x: np.ndarray) -> Step | None:
    """The exported model, or None where ONNX Runtime is not installed.

    By its I/O binding, its fastest way through Python: memory bound once, two sets of states that
    take turns at being read and written.
    """
    try:
        onnxruntime = require("onnxruntime", "export")
        from lstmkit.export.onnx import to_onnx

        model = to_onnx(program, "sequence")
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    value = onnxruntime.OrtValue.ortvalue_from_numpy
    row, y = value(x[None, None]), value(np.zeros((1, 1, len(x)), np.float32))
    state = program.initial_state(1)
    turns = [{name: value(a.copy()) for name, a in state.items()} for _ in range(2)]
    bindings = []
    for before, after in (turns, turns[::-1]):
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", row)
        binding.bind_ortvalue_output("y", y)
        for name in state:
            binding.bind_ortvalue_input(name, before[name])
            binding.bind_ortvalue_output(f"{name}_out", after[name])
        bindings.append(binding)

    def step() -> Any:
        row.update_inplace(x[None, None])
        session.run_with_iobinding(bindings[0])
        bindings.reverse()
        return y.numpy()

    return step


def torch_step(program: Program, x: np.ndarray) -> Step | None:
    """torch.nn.LSTM over one step, its state fed back, or None."""
    try:
        torch = require("torch", "train")
    except ImportError:
        return None
    width = len(x)
    module = torch.nn.LSTM(width, width)
    module.load_state_dict({k: torch.from_numpy(w.copy()) for k, w in program.weights.items()})
    row = torch.from_numpy(x)[None, None]
    state = [torch.zeros(1, 1, width), torch.zeros(1, 1, width)]

    def step() -> Any:
        with torch.inference_mode():
            y, state[:] = module(row, tuple(state))
        return y

    return step


def torch_cell(program: Program, xs: np.ndarray) -> Step | None:
    """torch.nn.LSTMCell over a whole batch, its state fed back, or None."""
    try:
        torch = require("torch", "train")
    except ImportError:
        return None
    width = xs.shape[1]
    module = torch.nn.LSTMCell(width, width)
    weights = {k.removesuffix("_l0"): torch.from_numpy(w) for k, w in program.weights.items()}
    module.load_state_dict(weights)
    rows = torch.from_numpy(xs)
    state = [torch.zeros(len(xs), width), torch.zeros(len(xs), width)]

    def step() -> Any:
        with torch.inference_mode():
            state[:] = module(rows, tuple(state))
        return state[0]

    return step


# --- time -----------------------------------------------------------------------------------------


def in_turn(engines: dict[str, Step], blocks: int, steps: int) -> dict[str, list[float]]:
    """Microseconds of each single step, block by block in turn."""
    times: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(blocks):
        for name, step in engines.items():
            time.sleep(PAUSE)
            warm = time.perf_counter() + WARM
            while time.perf_counter() < warm:
                step()
            times[name] += block(step, steps)
    return times


def block(step: Step, steps: int) -> list[float]:
    """Microseconds of each of `steps` steps."""
    clock = time.perf_counter_ns
    found = []
    for _ in range(steps):
        begun = clock()
        step()
        found.append((clock() - begun) / 1e3)
    return found


def percentile(times: list[float], p: float) -> float:
    """Rounded to 10 ns."""
    return round(float(np.percentile(times, p)), 2)


def middle(times: list[float] | None) -> float | None:
    """The median, or None."""
    return None if times is None else percentile(times, 50)
