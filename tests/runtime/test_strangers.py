"""A model file from a stranger: thousands of mutations, each refused in words or run safely."""

from __future__ import annotations

import copy
import json
import math
import random
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runtime.cases import program

from lstmkit import modelfile, runtime
from lstmkit.errors import UserError
from lstmkit.lowprecision import lower
from lstmkit.program import Builder, Program

ODD: list[Any] = [0, -1, 1, 2, 3, 7, 2**31, 2**63, 1.5, -0.0, 1e308, "", "x", "B", "T", None, True]
ODD += [[], {}, [1, 2], {"a": 1}, "weights/w", "state/h", "\x00", "x" * 300]
LARGEST_RUN = 1 << 20  # floats of a run that is tried


def many_operations() -> Program:
    b = Builder("recurrent")
    x, i = b.input("x", ("B", 6)), b.input("i", ("B", 2), "int64")
    table = b.weight("table", np.arange(12, dtype=np.float32).reshape(4, 3))
    e = b.op("reshape", b.op("embedding", i, table), shape=[0, 6])
    y = b.op("concat", b.op("softmax", x), b.op("sort", e), axis=-1)
    y = b.op("layer_norm", b.op("take", y, axis=1, indices=[0, 3, 5, 11]))
    y = b.op("reshape", b.op("slice", y, axis=1, start=1, stop=3), shape=[0, 1, 2])
    y = b.op("sum", b.op("transpose", y, axes=[0, 2, 1]), axis=1)
    b.output("y", b.op("affine", y, scale=2.0), ("B", 1))
    b.entry("step")
    return b.build()


SUBJECTS = {
    "layer": lambda: program("projected"),
    "variant": lambda: program("everything"),
    "int8": lambda: lower(program("plain"), "int8"),
    "operations": many_operations,
}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in nested lists and objects."""
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [path, *(p for k, v in items for p in places(v, (*path, k)))]


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def mutated(text: Any, chance: random.Random) -> Any:
    """Something changed, removed, repeated, or taken from elsewhere."""
    text = copy.deepcopy(text)
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        found = [p for p in places(text) if p]
        if not found:
            break
        path = chance.choice(found)
        holder, key = at(text, path[:-1]), path[-1]
        match chance.randrange(5):
            case 0:
                holder[key] = chance.choice(ODD)
            case 1:
                del holder[key]
            case 2:
                holder[key] = copy.deepcopy(at(text, chance.choice(found)))
            case 3 if isinstance(holder, list):
                holder.insert(chance.randrange(len(holder) + 1), copy.deepcopy(holder[key]))
            case _ if isinstance(holder[key], int):
                holder[key] += chance.choice([-1, 1, 2**20, -(2**40)])
    return text


def attack(subject: str, path: Path, count: int, seed: int) -> int:
    """How many mutations still load; each of those is run."""
    modelfile.save(path, task="t", config={}, program=SUBJECTS[subject]())
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    header, data = json.loads(raw[8 : 8 + size]), raw[8 + size :]
    chance, loaded = random.Random(seed), 0
    for _ in range(count):
        changed = copy.deepcopy(header)
        if chance.random() < 0.8:
            text = json.loads(changed["__metadata__"]["lstmkit"])
            text["program"] = mutated(text["program"], chance)
            changed["__metadata__"]["lstmkit"] = json.dumps(text)
        else:
            changed = mutated(changed, chance)
        written = json.dumps(changed).encode()
        body = bytearray(struct.pack("<Q", len(written)) + written + data)
        for _ in range(chance.choice([0, 0, 0, 1, 5])):
            body[chance.randrange(len(body))] = chance.randrange(256)
        path.write_bytes(body)
        try:
            found = modelfile.load(path).program
        except UserError as error:
            assert str(error)
            continue
        loaded += 1
        run(found)
    return loaded


def run(found: Program) -> None:
    """Every entry point on small inputs, natively; errors are of the user's kind."""
    model = runtime.load(found)
    for point in found.entries.values():
        shapes = {p.name: tuple({"B": 2}.get(str(n), n) for n in p.shape) for p in point.inputs}
        shapes = {k: tuple(3 if isinstance(n, str) else n for n in s) for k, s in shapes.items()}
        if sum(math.prod(s) for s in shapes.values()) > LARGEST_RUN:
            continue
        given = {
            p.name: (np.ones if p.dtype in ("bool", "int32", "int64") else np.random.randn)(
                *([shapes[p.name]] if p.dtype in ("bool", "int32", "int64") else shapes[p.name])
            )
            for p in point.inputs
        }
        given = {p.name: np.asarray(given[p.name]).astype(p.dtype) for p in point.inputs}
        try:
            plan = model.plan(point, given)
            if plan is not None and plan._code.arena > LARGEST_RUN:
                continue
            model.run(point.name, given)
            session = model.session(point.name)
            session.step({k: a[0] for k, a in given.items()})
        except UserError as error:
            assert str(error)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_mutations_are_refused_in_words_or_run(subject: str, tmp_path: Path) -> None:
    loaded = attack(subject, tmp_path / "m", 400, seed=1)
    assert 0 < loaded < 400


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("subject", SUBJECTS)
def test_thousands_of_mutations(subject: str, seed: int, tmp_path: Path) -> None:
    attack(subject, tmp_path / "m", 4000, seed=100 + seed)


def test_a_file_that_asks_for_much_gets_little(tmp_path: Path) -> None:
    """Sizes that the file does not hold are refused before memory is taken."""
    path = tmp_path / "m"
    modelfile.save(path, task="t", config={}, program=many_operations())
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    tracemalloc.start()
    for name, shape in (("table", [2**20, 2**20]), ("table", [2**40]), ("table", [0, 2**61])):
        header = json.loads(raw[8 : 8 + size])
        header[f"program/{name}"]["shape"] = shape
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + size :])
        with pytest.raises(UserError):
            modelfile.load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50 * len(raw)
