"""Steps without Python: nothing is allocated after the first, and sanitizers find nothing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

NATIVE_CODE = Path(__file__).parents[2] / "native"
PARTS = ("isa", "machine", "cpu", "plan", "team")
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")


def stepper(folder: Path, *more: str) -> Path:
    """The program, with the baseline kernels alone."""
    program = folder / "stepper"
    sources = [Path(__file__).parent / "stepper.cpp", *(NATIVE_CODE / f"{p}.cpp" for p in PARTS)]
    command = ["g++", "-std=c++20", "-DLSTMKIT_ISA=baseline", "-DLSTMKIT_VECTOR_BYTES=16"]
    command += ["-DLSTMKIT_OTHER", "-ffp-contract=off", "-Wno-psabi", f"-I{NATIVE_CODE}", *more]
    command += ["-Wl,--wrap=malloc,--wrap=aligned_alloc", *map(str, sources), "-o", str(program)]
    done = subprocess.run([*command, "-ldl", "-lpthread"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return program


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("flags", [("-O2",), ("-O1", "-g", "-fsanitize=address,undefined")])
def test_no_allocation_after_the_first_step(flags: tuple[str, ...], tmp_path: Path) -> None:
    program = stepper(tmp_path, *flags)
    for precision in "012":
        for hidden in ("7", "64", "200"):
            done = subprocess.run(
                [str(program), hidden, "1000", precision], capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
            first, later, _, total = done.stdout.split()
            assert int(first) > 0 and int(later) == 0
            assert float(total) == float(total)
