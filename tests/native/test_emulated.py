"""The kernels of every instruction set without Python: those of this machine as they are, with
sanitizers, and Arm's in an emulator. The reference kernel in float64 judges them."""

from __future__ import annotations

import itertools
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contract.cases import GRADIENT_TOLERANCE, TOLERANCE, scaled_error
from contract.test_native import arguments
from torch import Tensor

from lstmkit.engine import NATIVE
from lstmkit.equations.lstm import Weights
from lstmkit.equations.namespace import matmul_t
from lstmkit.kernels import registry
from lstmkit.kernels.contract import Arguments, CellOptions
from lstmkit.lowprecision import BFloat16, Int8
from lstmkit.recurrence import unroll

NATIVE_CODE = Path(__file__).parents[2] / "native"
X86 = platform.machine() == "x86_64"
FLAGS = {
    "baseline": ["-DLSTMKIT_VECTOR_BYTES=16"],
    "avx2": ["-DLSTMKIT_VECTOR_BYTES=32", "-mavx2", "-mfma"],
    "avx512": [
        "-DLSTMKIT_VECTOR_BYTES=64",
        "-mavx512f",
        "-mavx512dq",
        "-mavx512vl",
        "-mavx512bw",
        "-mfma",
    ],
    "neon": ["-DLSTMKIT_VECTOR_BYTES=16"],
}
# The last three have work enough for several threads: by samples, by units, by units and projected.
SIZES = [(1, 1, 1, 1, 0), (5, 3, 4, 17, 0), (40, 1, 3, 33, 0), (6, 5, 9, 24, 10)]
SIZES += [(6, 33, 20, 40, 0), (20, 2, 8, 130, 0), (20, 2, 9, 130, 40)]
# Where a number lies between two of int8, a last bit decides to which it goes, and the sums differ.
LOW_TOLERANCE = 2e-2
ARM = "aarch64-linux-gnu-g++", shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")


def compiled(
    folder: Path, name: str, dtype: torch.dtype, *more: str, compiler: str = "g++"
) -> Path:
    """The runner with the kernels of one instruction set."""
    program = folder / name
    sources = [Path(__file__).parent / "runner.cpp"]
    sources += [NATIVE_CODE / f"{part}.cpp" for part in ("isa", "plan", "team")]
    command = [compiler, "-std=c++20", "-ffp-contract=off", f"-DLSTMKIT_ISA={name}", *FLAGS[name]]
    command += [f"-DLSTMKIT_REAL={'float' if dtype == torch.float32 else 'double'}"]
    command += [f"-I{NATIVE_CODE}", "-Wno-psabi", *more, *map(str, sources), "-o", str(program)]
    done = subprocess.run([*command, "-ldl", "-lpthread"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return program


def calls(dtype: torch.dtype) -> list[tuple[Arguments, CellOptions, bool, list[Tensor]]]:
    """(arguments, options, recompute, gradients of the results)."""
    found = []
    for k, (size, reverse, ragged, resets) in enumerate(
        itertools.product(SIZES, *[(False, True)] * 3)
    ):
        a = arguments(*size, ragged=ragged, resets=resets, bias=k % 3 > 0, seed=k, dtype=dtype)
        (T, B, _), H, P = a.input.shape, a.c0.shape[1], a.h0.shape[1]
        g = torch.Generator().manual_seed(k)
        shapes = [(T, B, P), (B, P), (B, H), (T, B, 4, H), (T, B, H)]
        grads = [torch.randn(shape, generator=g, dtype=dtype) for shape in shapes]
        recompute = k % 4 == 3
        found.append((a, CellOptions(reverse=reverse), recompute, grads))
    return found


def written(path: Path, dtype: torch.dtype, threads: int) -> None:
    with path.open("wb") as file:
        for a, o, recompute, grads in calls(dtype):
            (T, B, I), H, P = a.input.shape, a.c0.shape[1], a.h0.shape[1]
            flags = [a.weight_hr is not None, o.reverse, a.lengths is not None]
            flags += [a.resets is not None, a.bias_ih is not None, recompute]
            np.array([T, B, I, H, P, *flags, threads], np.int64).tofile(file)
            tensors = [*a[:8], a.lengths, a.resets, *(grads[:3] if recompute else grads)]
            for x in tensors:
                if x is not None:
                    x.to(dtype).numpy().tofile(file)


def judge(path: Path, dtype: torch.dtype) -> None:
    """Every result beside the reference kernel in float64."""
    data = torch.from_numpy(np.fromfile(path, np.float32 if dtype == torch.float32 else np.float64))
    reference: Any = registry.backend("reference")
    place = 0

    def compare(wanted: Tensor, tolerance: float) -> None:
        nonlocal place
        found = data[place : place + wanted.numel()].reshape(wanted.shape)
        place += wanted.numel()
        assert scaled_error(found, wanted) < tolerance

    for narrow, o, recompute, grads in calls(dtype):
        a = narrow.to(torch.float64)
        result = reference.forward(a, o, True)
        wide = [g.double() for g in grads]
        if recompute:
            wide[3:] = [torch.zeros_like(g) for g in wide[3:]]
        for wanted in result[:3] if recompute else result:
            compare(wanted, TOLERANCE[dtype])
        for wanted in reference.backward(a, o, result, wide)[:8]:
            if wanted is not None:
                compare(wanted, GRADIENT_TOLERANCE[dtype])
        if dtype == torch.float64:
            continue
        for precision in ("float32", "bfloat16", "int8"):
            for wanted in packed_steps(narrow, o, precision):
                compare(wanted, LOW_TOLERANCE if precision == "int8" else TOLERANCE[dtype])
    assert place == data.numel()


def packed_steps(a: Arguments, o: CellOptions, precision: str) -> list[Tensor]:
    """h and c after all steps, forward, and h through weight_hh, as numpy's reference has them."""
    kinds: Any = {"float32": np.asarray, "bfloat16": BFloat16.of, "int8": Int8.of}
    given = {
        n: None if w is None else w.numpy() for n, w in zip(Weights._fields, a[3:8], strict=False)
    }
    matrices = ("weight_ih", "weight_hh", "weight_hr")
    low = {
        n: kinds[precision](w) if n in matrices else w for n, w in given.items() if w is not None
    }
    state = {"h0": a.h0.numpy(), "c0": a.c0.numpy()}
    attributes = {"hidden_size": a.c0.shape[1], "coupled": False, "zoneout_h": 0, "zoneout_c": 0}
    x = a.input.transpose(0, 1).numpy()
    found = unroll({"x": x, **state, **low}, attributes, memoryless=False, observed=False)
    y = matmul_t(found["h"], low["weight_hh"])
    y = y + low["bias_hh"] if "bias_hh" in low else y
    return [torch.from_numpy(np.asarray(r)) for r in (found["h"], found["c"], y)]


def run_and_judge(
    folder: Path, command: list[str], dtype: torch.dtype, threads: int = 1, **env: str
) -> None:
    written(folder / "calls", dtype, threads)
    done = subprocess.run(
        [*command, str(folder / "calls"), str(folder / "results")],
        capture_output=True,
        text=True,
        timeout=500,
        env={"PATH": "/usr/bin:/bin", **env},
    )
    assert done.returncode == 0, done.stdout + done.stderr[-5000:]
    assert f"{len(calls(dtype))} calls" in done.stdout
    judge(folder / "results", dtype)


@pytest.mark.slow
@needs_compiler
@DTYPES
@pytest.mark.parametrize("name", NATIVE.instruction_sets())
def test_with_address_and_undefined_behaviour_sanitizers(
    name: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    more = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fopenmp")
    program = compiled(tmp_path, name, dtype, *more)
    run_and_judge(tmp_path, [str(program)], dtype, 2, ASAN_OPTIONS="detect_leaks=0")


@pytest.mark.slow
@needs_compiler
def test_with_thread_sanitizer(tmp_path: Path) -> None:
    """OpenMP's own runtime is not instrumented, so the order that it makes is not seen: kernels
    make it again with their own atomics (native/team.cpp)."""
    name = NATIVE.instruction_sets()[-1]
    more = ("-O1", "-g", "-fsanitize=thread", "-fopenmp")
    program = compiled(tmp_path, name, torch.float32, *more)
    command = ["setarch", "-R", str(program)] if shutil.which("setarch") else [str(program)]
    run_and_judge(
        tmp_path, command, torch.float32, 3, TSAN_OPTIONS="ignore_noninstrumented_modules=1"
    )


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which(ARM[0]) and ARM[1]), reason=f"no {ARM[0]} or qemu-aarch64")
@DTYPES
def test_arm_in_an_emulator(dtype: torch.dtype, tmp_path: Path) -> None:
    program = compiled(tmp_path, "neon", dtype, "-O2", "-static", compiler=ARM[0])
    run_and_judge(tmp_path, [str(ARM[1]), str(program)], dtype)


@pytest.mark.slow
@needs_compiler
@pytest.mark.skipif(not (X86 and shutil.which("nm")), reason="no x86-64, or no nm")
@pytest.mark.parametrize("name", ["baseline", "avx2", "avx512"])
def test_nothing_compiled_for_one_instruction_set_can_be_linked_into_another(
    name: str, tmp_path: Path
) -> None:
    """A weak symbol is code that the linker may take from any object: from the wide one, too."""
    target = tmp_path / "isa.o"
    command = ["g++", "-std=c++20", "-O3", "-ffp-contract=off", f"-DLSTMKIT_ISA={name}"]
    command += [*FLAGS[name], "-Wno-psabi", "-c", str(NATIVE_CODE / "isa.cpp"), "-o", str(target)]
    subprocess.run(command, check=True, capture_output=True)
    lines = subprocess.run(
        ["nm", "-C", "--defined-only", str(target)], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    shared = [
        line.split(maxsplit=2)[1:] for line in lines if line.split(maxsplit=2)[1] not in "tdrb"
    ]
    named = {tuple(s) for s in shared if "__gxx_personality" not in s[1]}
    assert named == {("D", f"lstmkit::{name}::table")}
