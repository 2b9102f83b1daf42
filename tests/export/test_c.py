"""Generated C headers, compiled, beside `Program.run`: operations, variants, streams, precision."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lstmkit
from lstmkit.export.c import to_c
from lstmkit.export.c.header import WRITERS, chosen
from lstmkit.export.c.layout import slots_of
from lstmkit.lowprecision import lower
from lstmkit.operations import OPERATIONS
from lstmkit.program import Builder, Program
from lstmkit.tasks.forecast.features import Geometry
from lstmkit.tasks.forecast.network import ForecastNetwork, Sizes
from lstmkit.tasks.forecast.network import program as forecasting

COMPILER = next((c for c in ("cc", "gcc", "clang") if shutil.which(c)), None)
CPP_COMPILER = next((c for c in ("c++", "g++", "clang++") if shutil.which(c)), None)
pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C compiler")
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pedantic", "-Werror"]
TOLERANCE = 1e-5
STEPS = 12
RANDOM = np.random.default_rng(0)
Arrays = dict[str, np.ndarray]
WORDS = {"float32": np.float32, "int32": np.int32, "int64": np.int32, "bool": np.int32}


def normal(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


@dataclass
class Case:
    """A program, how it is exported, and the inputs of each call of its stream."""

    program: Program
    calls: Sequence[Arrays]
    entry: str | None = None
    steps: int | None = None

    def header(self, name: str) -> str:
        return to_c(self.program, self.entry, name, steps=self.steps)


CASES: dict[str, Case] = {}


def operation(
    name: str, kind: str, inputs: Arrays, weights: Arrays | None = None, **attributes: Any
) -> None:
    """A case of one operation: `inputs` are ports (with batch 1 first), `weights` weights."""
    b, weights = Builder("recurrent"), weights or {}
    dtypes = {k: "float32" if v.dtype == np.float32 else str(v.dtype) for k, v in inputs.items()}
    roles = {k: b.input(f"in_{k}", ("B", *v.shape[1:]), dtypes[k]) for k, v in inputs.items()}
    roles |= {k: b.weight(k, v) for k, v in weights.items()}
    found = b.op(kind, **roles, **attributes)
    names = found if isinstance(found, tuple) else (found,)
    given = inputs | weights
    shapes = OPERATIONS[kind].shapes(
        {k: given[k].shape for k in roles},
        {k: a.default for k, a in OPERATIONS[kind].attributes.items()} | attributes,
    )
    for value, role in zip(names, OPERATIONS[kind].outputs, strict=True):
        b.output(f"out_{role}", value, ("B", *shapes[role][1:]))
    b.entry("all")
    CASES[name] = Case(b.build(), [{f"in_{k}": v for k, v in inputs.items()}])


def elementwise() -> None:
    special = np.float32([0, -0.0, 1e-40, 1e-20, 1e30, np.inf, -np.inf, np.nan, 88, -104, 3.4e38])
    wide = np.concatenate([special, np.linspace(-120, 120, 4001, dtype=np.float32)])
    wide = np.concatenate([wide, np.geomspace(1e-38, 30, 301, dtype=np.float32)])[None]
    for kind in ("tanh", "sigmoid", "relu", "softplus", "exp", "abs", "sqrt"):
        operation(kind, kind, {"x": wide})
    other = np.ascontiguousarray(np.roll(wide, 7, 1)[:, ::-1])
    for kind in ("add", "subtract", "multiply", "divide", "maximum", "minimum"):
        operation(kind, kind, {"x": wide, "y": other})
        operation(f"{kind}_rows", kind, {"x": normal(1, 3, 1, 5)}, {"y": normal(3, 4, 1)})
    operation("add_whole", "add", {"x": np.int64([[1, 2, 3]]), "y": normal(1, 3)})
    operation("affine", "affine", {"x": normal(1, 7)}, scale=2.5, shift=-1 / 3)
    condition = {"condition": np.int32([[[0], [3]]]), "x": normal(1, 2, 3)}
    operation("where", "where", condition, {"y": normal(3)})
    operation("where_float", "where", {"condition": wide, "x": other, "y": wide})


def shaping() -> None:
    x = normal(1, 4, 6)
    for axis in (1, 2):
        parts = {f"x{k}": normal(*(n if d == axis else m for d, m in enumerate((1, 4, 6))))
                 for k, n in enumerate((2, 5, 1))}  # fmt: skip
        operation(f"concat{axis}", "concat", parts, axis=axis)
        operation(f"slice{axis}", "slice", {"x": x}, axis=axis, start=1, stop=3)
        operation(f"take{axis}", "take", {"x": x}, axis=axis, indices=[2, 0, 2])
        operation(f"sum{axis}", "sum", {"x": x}, axis=axis)
        operation(f"mean{axis}", "mean", {"x": x}, axis=axis, keepdims=True)
        operation(f"softmax{axis}", "softmax", {"x": 9 * x}, axis=axis)
        operation(f"log_softmax{axis}", "log_softmax", {"x": 9 * x}, axis=axis)
        operation(f"sort{axis}", "sort", {"x": x}, axis=axis)
    operation("reshape", "reshape", {"x": x}, shape=[0, 3, -1])
    operation("transpose", "transpose", {"x": normal(1, 2, 3, 4)}, axes=[0, 3, 1, 2])
    long = normal(1, 2000)
    long[0, [3, 1900]] = np.nan, np.inf
    operation("sort_long", "sort", {"x": long})
    operation("sum_long", "sum", {"x": normal(1, 999)})


def mixing() -> None:
    weight = {"weight": normal(5, 17), "bias": normal(5)}
    operation("linear", "linear", {"x": normal(1, 3, 17)}, weight)
    operation("linear_no_bias", "linear", {"x": normal(1, 17)}, {"weight": weight["weight"]})
    table = {"weight": normal(6, 3)}
    operation("embedding", "embedding", {"indices": np.int64([[5, 0, 2]])}, table)
    operation("embedding_float", "embedding", {"indices": np.float32([[5, 0]])}, table)
    gains = {"weight": normal(19), "bias": normal(19)}
    operation("layer_norm", "layer_norm", {"x": 5 + normal(1, 3, 19)}, gains, eps=1e-3)
    operation("layer_norm_plain", "layer_norm", {"x": normal(1, 19)})
    x, mask = 40 + normal(1, 30), (RANDOM.random((1, 30)) < 0.7).astype(np.float32)
    operation("instance_norm", "instance_norm", {"x": np.where(mask, x, np.nan), "mask": mask})
    operation("instance_norm_none", "instance_norm", {"x": x, "mask": np.zeros_like(mask)})


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no_bias": {"bias": False},
    "two_layers": {"num_layers": 2},
    "projection": {"proj_size": 3},
    "peephole": {"peephole": True},
    "layer_norm": {"layer_norm": True},
    "coupled": {"coupled_gates": True},
    "zoneout": {"zoneout": (0.2, 0.1)},
    "residual": {"num_layers": 3, "residual": True},
    "coupled_peephole": {"coupled_gates": True, "peephole": True},
    "norm_projection_zoneout": {"layer_norm": True, "proj_size": 5, "zoneout": (0.3, 0.2)},
    "norm_no_bias_peephole": {"layer_norm": True, "bias": False, "peephole": True},
    "all": {
        "coupled_gates": True,
        "peephole": True,
        "layer_norm": True,
        "proj_size": 4,
        "zoneout": (0.1, 0.4),
        "num_layers": 2,
        "residual": True,
    },
}


def layer(**options: Any) -> Program:
    """An LSTM(3, 9), all of whose parameters are random."""
    torch.manual_seed(0)
    module = lstmkit.LSTM(3, 9, **options).eval()
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape) / 2)
    return module.program()


def recurrent() -> None:
    steps = [{"x": normal(1, 3)} for _ in range(STEPS)]
    pieces = [{"x": normal(1, 5, 3)} for _ in range(2)]
    for name, options in VARIANTS.items():
        CASES[f"lstm_{name}"] = Case(layer(**options), steps)
        CASES[f"sequence_{name}"] = Case(layer(**options), pieces, "sequence", 5)
    both = layer(bidirectional=True, num_layers=2, peephole=True)
    CASES["bidirectional"] = Case(both, pieces, "sequence", 5)
    for dtype in ("bfloat16", "int8"):
        for name in ("two_layers", "projection", "layer_norm", "all"):
            low = lower(layer(**VARIANTS[name]), dtype)
            CASES[f"{dtype}_{name}"] = Case(low, steps)
        for name in ("linear", "embedding"):
            low = lower(CASES[name].program, dtype)
            CASES[f"{dtype}_{name}"] = replace(CASES[name], program=low)
    for name in ("inf", "nan"):
        x = normal(1, 3, 17)
        x[0, 1, 2] = float(name)
        CASES[f"int8_{name}"] = replace(CASES["int8_linear"], calls=[{"in_x": x}])


def ragged(reverse: bool) -> Program:
    """One `lstm` operation with lengths, resets and a first state."""
    b = Builder("recurrent")
    ports = {
        "x": b.input("x", ("B", 6, 3)),
        "h0": b.input("h0", ("B", 4)),
        "c0": b.input("c0", ("B", 4)),
        "lengths": b.input("lengths", ("B",), "int64"),
        "resets": b.input("resets", ("B", 6), "bool"),
    }
    random = np.random.default_rng(1)
    for role, shape in (("weight_ih", (16, 3)), ("weight_hh", (16, 4))):
        ports[role] = b.weight(role, random.standard_normal(shape).astype(np.float32))
    y, h, c = b.op("lstm", **ports, hidden_size=4, reverse=reverse)
    for name, value, shape in (("y", y, ("B", 6, 4)), ("h", h, ("B", 4)), ("c", c, ("B", 4))):
        b.output(name, value, shape)
    b.entry("sequence")
    return b.build()


def sequences() -> None:
    def call(length: int, *resets: int) -> Arrays:
        marks = np.isin(np.arange(6), resets)[None]
        state = {"h0": normal(1, 4), "c0": normal(1, 4)}
        return {"x": normal(1, 6, 3), "lengths": np.int64([length]), "resets": marks, **state}

    for reverse in (False, True):
        calls = [call(6), call(0, 0), call(4, 2), call(6, 0, 3, 5), call(1, 0), call(5, 5)]
        CASES["reverse" if reverse else "forward"] = Case(ragged(reverse), calls)


def computed_weights() -> Program:
    """Matrices and biases that the program computes, slots of every kind that trade places, names
    that C would not take."""
    b = Builder("recurrent")
    x = b.input("float", ("B", 3))
    shapes = {"weight_ih": (16, 3), "bias_ih": (16,), "bias_hh": (16,), "a*/b": (5, 3)}
    made = {k: b.op("tanh", b.weight(k, normal(*shape))) for k, shape in shapes.items()}
    b.output("state", b.op("linear", x, made.pop("a*/b")), ("B", 5))
    h, c = b.slot("h", (4,), 0.5), b.slot("H", (4,), -2.0)
    hh = b.weight("product", normal(16, 4))
    new_h, new_c = b.op("lstm_cell", x=x, h=h, c=c, weight_hh=hh, **made, hidden_size=4)
    b.write(h, b.op("add", new_h, c))
    b.write(c, h)
    b.output("2", new_c, ("B", 4))
    count = b.slot("count", (2,), 3, "int64")
    b.output("i", b.op("affine", count, shift=1.0), ("B", 2))
    b.write(count, "i")
    b.input("unused", ("B", 2), "int64")
    b.entry("while")
    return b.build()


def odd() -> None:
    calls = [{"float": normal(1, 3), "unused": np.int64([[1, 2]])} for _ in range(3)]
    CASES["odd"] = Case(computed_weights(), calls)
    b = Builder("windowed", 4)
    y = b.op("concat", *[b.op("tanh", b.input("x", ("B", 9000)))] * 2)
    b.output("y", y, ("B", 18000))
    b.entry("large")
    CASES["large"] = Case(b.build(), [{"x": normal(1, 9000)}])


def forecast() -> None:
    shape = Geometry(
        horizon=10, season=7, lookback=28, segment=7, freq="1d", cycles=("week", "year")
    )
    torch.manual_seed(0)
    network = ForecastNetwork(shape, Sizes(12, 2, 8, 0.1), (0.1, 0.5, 0.9)).eval()
    with torch.no_grad():
        for p in network.parameters():
            p.add_(torch.randn(p.shape) / 5)
    program = forecasting(network)
    ports = program.entry("forecast").inputs
    drawn = {p.name: normal(1, *p.shape[1:]) for p in ports}
    drawn["mask"] = (RANDOM.random(drawn["mask"].shape) < 0.8).astype(np.float32)
    CASES["forecast"] = Case(program, [drawn])


for _fill in (elementwise, shaping, mixing, recurrent, sequences, odd, forecast):
    _fill()


def wrapper(name: str, header: str, case: Case) -> str:
    """A function of one signature for all: state, work, inputs, outputs as pointers."""
    point = chosen(case.program, case.entry)
    given = [f"({name}_state *)state"] if f"}} {name}_state;" in header else []
    given += [f"({name}_work *)work"] if f"}} {name}_work;" in header else []
    given += [f"inputs[{k}]" for k in range(len(point.inputs))]
    given += [f"outputs[{k}]" for k in range(len(point.outputs))]
    init = f"{name}_init((({name}_state *)state));" if "_state *)" in given[0] else ""
    return f"""
void run_{name}(void *state, void *work, const void **inputs, void **outputs);
void run_{name}(void *state, void *work, const void **inputs, void **outputs) {{
    (void)state, (void)work;
    {name}_step({", ".join(given)});
}}
void begin_{name}(void *state);
void begin_{name}(void *state) {{
    (void)state;
    {init}
}}
"""


def compiled(folder: Path, *arguments: str) -> None:
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:3000]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every case's header, twice included, and one translation unit that has them all."""
    folder = tmp_path_factory.mktemp("c")
    lines, wrappers = [], []
    for name, case in CASES.items():
        header = case.header(f"m_{name}")
        (folder / f"{name}.h").write_text(header)
        lines += [f'#include "{name}.h"\n'] * 2
        wrappers.append(wrapper(f"m_{name}", header, case))
    (folder / "headers.h").write_text("".join(lines))
    (folder / "all.c").write_text('#include "headers.h"\n' + "".join(wrappers))
    flags = ["-std=c99", *WARNINGS, "-O1", "-fPIC", "-fno-builtin"]
    compiled(folder, str(COMPILER), *flags, "-c", "all.c", "-o", "all.o")
    compiled(folder, str(COMPILER), "-shared", "all.o", "-o", "all.so")
    return folder


@pytest.fixture(scope="session")
def library(folder: Path) -> ctypes.CDLL:
    return ctypes.CDLL(str(folder / "all.so"))


def streamed(library: ctypes.CDLL, name: str, case: Case) -> tuple[list[Arrays], Arrays]:
    """What the compiled header gives for each call, and the state in the end."""
    point, slots = chosen(case.program, case.entry), case.program.slots
    names = slots_of(point, slots)
    layout = [(s, WORDS[slots[s].dtype], slots[s].shape) for s in names]
    state = np.zeros(1, np.dtype(layout))
    work = np.zeros(1 << 20, np.uint8)
    getattr(library, f"begin_m_{name}")(state.ctypes.data_as(ctypes.c_void_p))
    run: Callable[..., None] = getattr(library, f"run_m_{name}")
    found = []
    for call in case.calls:
        given = [np.ascontiguousarray(call[p.name], WORDS[p.dtype]) for p in point.inputs]
        sizes = {"B": 1, "T": case.steps}
        shapes = [[sizes.get(d, d) for d in p.shape] for p in point.outputs]
        outputs = [np.full(shape, 777, np.float32) for shape in shapes]
        run(
            *(ctypes.c_void_p(a.ctypes.data) for a in (state, work)),
            *map(pointers, (given, outputs)),
        )
        found.append({p.name: y for p, y in zip(point.outputs, outputs, strict=True)})
    return found, {s: state[s] for s in names}


def pointers(arrays: Sequence[np.ndarray]) -> Any:
    return (ctypes.c_void_p * max(1, len(arrays)))(*(a.ctypes.data for a in arrays))


def close(got: np.ndarray, expected: np.ndarray, tolerance: float = TOLERANCE) -> None:
    assert got.shape == expected.shape
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(got[~finite], expected[~finite])
    gap = np.abs(got[finite] - expected[finite]) / np.maximum(1, np.abs(expected[finite]))
    assert gap.max(initial=0) <= tolerance


@pytest.mark.parametrize("name", CASES)
def test_compiled_headers_are_the_program(library: ctypes.CDLL, name: str) -> None:
    case = CASES[name]
    got, state = streamed(library, name, case)
    point, carried = chosen(case.program, case.entry), case.program.initial_state()
    for call, found in zip(case.calls, got, strict=True):
        expected, carried = case.program.run(point.name, call, carried)
        for port, y in expected.items():
            close(found[port], y)
    for slot, value in state.items():
        close(value, carried[slot])


def test_every_operation_has_a_writer_and_a_case() -> None:
    assert set(WRITERS) == set(OPERATIONS)
    entries = [chosen(case.program, case.entry) for case in CASES.values()]
    assert {o.kind for e in entries for o in e.operations} == set(OPERATIONS)


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "exp", "softplus", "sqrt"])
def test_functions_are_exact_to_a_few_units(library: ctypes.CDLL, name: str) -> None:
    x = CASES[name].calls[0]["in_x"].astype(np.float64)
    functions: dict[str, Callable[..., np.ndarray]] = {
        "tanh": np.tanh,
        "sigmoid": lambda x: np.where(x < 0, np.exp(x) / (1 + np.exp(x)), 1 / (1 + np.exp(-x))),
        "exp": np.exp,
        "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
        "sqrt": np.sqrt,
    }
    with np.errstate(all="ignore"):
        exact = np.float32(functions[name](x))
    got = streamed(library, name, CASES[name])[0][0]["out_z"]
    normal = np.isfinite(exact) & (np.abs(exact) > 1.2e-38) & (np.isfinite(x))
    units = np.abs(got[normal] - exact[normal]) / np.spacing(np.abs(exact[normal]))
    assert units.max() <= 4
    close(got, exact, 1e-6)


def test_activations_reach_their_ends(library: ctypes.CDLL) -> None:
    for name, low in (("tanh", -1), ("sigmoid", 0)):
        x = CASES[name].calls[0]["in_x"]
        y = streamed(library, name, CASES[name])[0][0]["out_z"]
        assert (y[x > 20] == 1).all()
        assert (y[x < -100] == low).all()
        assert np.isnan(y[np.isnan(x)]).all()


def test_an_index_outside_gives_nan_and_a_length_outside_is_cut(library: ctypes.CDLL) -> None:
    outside = replace(CASES["embedding"], calls=[{"in_indices": np.int64([[6, -1, 1]])}])
    rows = streamed(library, "embedding", outside)[0][0]["out_y"][0]
    assert np.isnan(rows[:2]).all() and np.isfinite(rows[2]).all()
    call = CASES["forward"].calls[0]
    long, whole, short, none = (
        streamed(library, "forward", replace(CASES["forward"], calls=[call | {"lengths": n}]))[0][0]
        for n in np.int64([[7], [6], [-3], [0]])
    )
    np.testing.assert_array_equal(long["y"], whole["y"])
    np.testing.assert_array_equal(short["y"], none["y"])


def test_headers_are_cpp_too(folder: Path) -> None:
    if CPP_COMPILER is None:
        pytest.skip("no C++ compiler")
    (folder / "all.cpp").write_text('#include "headers.h"\n')
    compiled(folder, CPP_COMPILER, "-std=c++17", *WARNINGS, "-fsyntax-only", "all.cpp")


def test_headers_need_nothing_but_memcpy_and_memset(folder: Path) -> None:
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("no nm")
    done = subprocess.run([nm, "-u", "all.o"], cwd=folder, capture_output=True, text=True)
    needed = {line.split()[-1] for line in done.stdout.splitlines()}
    assert needed <= {"memcpy", "memset", "_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"}
    kept = subprocess.run([nm, "all.o"], cwd=folder, capture_output=True, text=True).stdout
    assert not [line for line in kept.splitlines() if line.split()[-2] in "bBdDC"]


def test_vectors_of_the_compiler_change_nothing(folder: Path) -> None:
    """And no warning comes of it."""
    names = ["lstm_coupled_peephole", "linear", "tanh", "int8_projection"]
    lines = [f'#include "{name}.h"\n' for name in names]
    text = "".join(wrapper(f"m_{n}", (folder / f"{n}.h").read_text(), CASES[n]) for n in names)
    (folder / "fast.c").write_text("".join(lines) + text)
    flags = ["-O3", "-shared", "-fPIC"]
    compiled(folder, str(COMPILER), *WARNINGS, *flags, "fast.c", "-o", "fast.so")
    fast = ctypes.CDLL(str(folder / "fast.so"))
    for name in names:
        test_compiled_headers_are_the_program(fast, name)
