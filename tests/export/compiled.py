"""Programs as C headers, compiled into one shared library and stepped from Python."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstmkit.export.c import to_c
from lstmkit.program import EntryPoint, Program

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("c++") or shutil.which("g++")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler")
CTYPES = {"float32": np.float32, "int64": np.int32, "int32": np.int32, "bool": np.int32}

# What a caller of the header writes: room for state and work, and a call.
EXPORTS = """
#include "{name}.h"
unsigned {name}_room(void) {{ return {room}; }}
void {name}_begin(char *room) {{ (void)room; {begin} }}
void {name}_call(char *room, void **p) {{ (void)room; {name}_step({arguments}); }}
"""


class CStream:
    """One stream: memory of its own, arrays in and out by name."""

    def __init__(self, library: ctypes.CDLL, name: str, point: EntryPoint, steps: Any) -> None:
        self._call, self._point, self._steps = getattr(library, f"{name}_call"), point, steps
        self._room = ctypes.create_string_buffer(getattr(library, f"{name}_room")() + 64)
        getattr(library, f"{name}_begin")(self._room)

    def step(self, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """One sample, without the batch."""
        arrays = [np.ascontiguousarray(given[p.name], CTYPES[p.dtype]) for p in self._point.inputs]
        shapes = {p.name: p.shape[1:] for p in self._point.outputs}
        found = {
            name: np.full([self._steps if n == "T" else n for n in shape], np.nan, np.float32)
            for name, shape in shapes.items()
        }
        pointers = [a.ctypes.data for a in (*arrays, *found.values())]
        self._call(self._room, (ctypes.c_void_p * len(pointers))(*pointers))
        return found


class Compiled:
    """Programs of one library."""

    def __init__(self, path: Path, programs: dict[str, tuple[Program, Any, Any]]) -> None:
        self._library, self._programs = ctypes.CDLL(str(path)), programs

    def stream(self, name: str) -> CStream:
        """A new stream of a program."""
        program, entry, steps = self._programs[name]
        point = program.entry(entry or next(iter(program.entries)))
        return CStream(self._library, name, point, steps)


def compiled(folder: Path, programs: dict[str, tuple[Program, Any, Any]]) -> Compiled:
    """(program, entry, steps) by name, in one library."""
    text = []
    for name, (program, entry, steps) in programs.items():
        header = to_c(program, entry, name, steps=steps)
        (folder / f"{name}.h").write_text(header)
        text.append(exports(name, header, program.entry(entry or next(iter(program.entries)))))
    (folder / "all.c").write_text("\n".join(text))
    library = folder / "all.so"
    command = [str(COMPILER), "-O1", "-shared", "-fPIC", "all.c", "-o", str(library)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:3000]
    return Compiled(library, programs)


def exports(name: str, header: str, point: EntryPoint) -> str:
    """Functions of one header that can be found in a library."""
    parts = [kind for kind in ("state", "work") if f"}} {name}_{kind};" in header]
    places = {
        kind: f"({name}_{kind} *)(room{_after(name, parts[:k])})" for k, kind in enumerate(parts)
    }
    arguments = [places[kind] for kind in parts]
    arguments += [f"p[{k}]" for k in range(len(point.inputs) + len(point.outputs))]
    return EXPORTS.format(
        name=name,
        room=" + ".join(f"sizeof({name}_{kind})" for kind in parts) or "0",
        begin=f"{name}_init({places['state']});" if "state" in parts else "",
        arguments=", ".join(arguments),
    )


def _after(name: str, parts: list[str]) -> str:
    return "".join(f" + sizeof({name}_{kind})" for kind in parts)
