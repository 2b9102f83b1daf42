"""Weights in fewer bits: rounding, products, which weights are lowered, files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from runtime.cases import apart, program, sequences

from lstmkit import modelfile, runtime
from lstmkit.equations.namespace import matmul_t
from lstmkit.lowprecision import BFloat16, Int8, dtype_of, lower, matrices, quantise
from lstmkit.operations import ProgramError
from lstmkit.program import Builder, Program

RANDOM = np.random.default_rng(0)
MATRIX = RANDOM.standard_normal((7, 12)).astype(np.float32)


def test_bfloat16_rounds_as_torch() -> None:
    odd = [0.0, -0.0, 1e-40, 3.4e38, np.inf, -np.inf, np.nan, 1 + 2**-8, 1 + 3 * 2**-8]
    numbers = np.concatenate([RANDOM.standard_normal(2000) * 10, odd]).astype(np.float32)
    wanted = torch.from_numpy(numbers).bfloat16().float().numpy()
    found = np.asarray(BFloat16.of(numbers))
    np.testing.assert_array_equal(found, wanted)
    real = ~np.isnan(wanted)
    assert np.array_equal(np.signbit(found[real]), np.signbit(wanted[real]))


def test_int8_is_within_half_a_step_of_each_row() -> None:
    matrix = MATRIX * np.geomspace(1e-6, 1e6, 7).astype(np.float32)[:, None]
    found = Int8.of(matrix)
    assert found.values.dtype == np.int8
    assert np.abs(found.values).max(1).tolist() == [127] * 7
    step = np.abs(matrix).max(1, keepdims=True) / 127
    assert (np.abs(np.asarray(found) - matrix) <= 0.5001 * step).all()
    assert Int8.of(np.zeros((2, 3), np.float32)).scale.tolist() == [0, 0]
    with pytest.raises(ProgramError, match="finite"):
        Int8.of(np.array([[np.nan, 1]]))


def test_products_are_those_of_the_rounded_numbers() -> None:
    x = RANDOM.standard_normal((3, 4, 12)).astype(np.float32)
    low = BFloat16.of(MATRIX)
    np.testing.assert_array_equal(matmul_t(x, low), x @ np.asarray(low).T)
    numbers, scale = quantise(x)
    assert np.abs(numbers).max() == 127
    wanted = (numbers * scale) @ np.asarray(Int8.of(MATRIX)).T
    assert apart(matmul_t(x, Int8.of(MATRIX)), wanted) < 1e-5
    assert apart(matmul_t(x, Int8.of(MATRIX)), x @ MATRIX.T) < 0.1
    assert (matmul_t(np.zeros((1, 12), np.float32), Int8.of(MATRIX)) == 0).all()
    spoilt = x.copy()
    spoilt[0, 0, 0] = np.inf
    with np.errstate(all="ignore"):
        assert np.isnan(matmul_t(spoilt, Int8.of(MATRIX))[0, 0]).all()


@pytest.mark.parametrize("kind", [BFloat16, Int8])
def test_they_look_like_the_matrix(kind: Any) -> None:
    low = kind.of(MATRIX)
    assert low.shape == MATRIX.shape and low.size == MATRIX.size and len(low) == 7
    assert low.nbytes < MATRIX.nbytes
    np.testing.assert_array_equal(low[np.array([[2, 0]])], np.asarray(low)[[[2, 0]]])


def test_only_matrices_are_lowered() -> None:
    p = program("everything")
    low = lower(p, "int8")
    kinds = {name: str(w.dtype) for name, w in low.weights.items()}
    assert {n for n, k in kinds.items() if k == "int8"} == matrices(p)
    heads = ("weight_ih", "weight_hh", "weight_hr")
    assert {n for n in kinds if n.startswith(heads)} == matrices(p)
    assert (dtype_of(p), dtype_of(low)) == ("float32", "int8")
    low.validate()
    back = lower(low, "float32")
    assert {str(w.dtype) for w in back.weights.values()} == {"float32"}
    with pytest.raises(ProgramError, match="cannot be"):
        lower(p, "int4")


def test_a_weight_that_is_also_something_else_stays() -> None:
    b = Builder("recurrent")
    x, w = b.input("x", ("B", 12)), b.weight("w", MATRIX)
    b.output("y", b.op("linear", x, w), ("B", 7))
    b.output("z", b.op("add", b.op("reshape", x, shape=[0, 1, 12]), w), ("B", 7, 12))
    b.entry("step")
    assert dtype_of(lower(b.build(), "int8")) == "float32"


def test_low_precision_elsewhere_is_not_well_formed() -> None:
    p = program("plain")
    weights = dict(p.weights) | {"bias_ih_l0": BFloat16.of(p.weights["bias_ih_l0"])}
    with pytest.raises(ProgramError, match="low precision"):
        Program(p.kind, p.entries, p.slots, weights).validate()


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_engine_and_reference_agree_over_long_streams(dtype: str) -> None:
    p = lower(program("projected", hidden_size=37), dtype)
    x = sequences(2, 60)
    wanted, _ = p.run("sequence", {"x": x})
    found, _ = runtime.load(p).run("sequence", {"x": x})
    assert apart(found["y"], wanted["y"]) < (1e-5 if dtype == "bfloat16" else 1e-2)
    exact, _ = lower(p, "float32").run("sequence", {"x": x})
    assert apart(exact["y"], wanted["y"]) < 0.05


# --- files ----------------------------------------------------------------------------------------


def stored(path: Path, dtype: str) -> Path:
    p = lower(program("projected"), dtype)
    tensors = {"other": Int8.of(MATRIX), "half": BFloat16.of(MATRIX), "plain": MATRIX}
    modelfile.save(path, task="t", config={}, program=p, tensors=tensors)
    return path


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_files_keep_every_bit(dtype: str, tmp_path: Path) -> None:
    found = modelfile.load(stored(tmp_path / "m", dtype))
    p, x = lower(program("projected"), dtype), {"x": sequences()}
    assert dtype_of(found.program) == dtype
    assert found.program.fingerprint() == p.fingerprint()
    found_y, wanted_y = (q.run("sequence", x)[0]["y"] for q in (found.program, p))
    np.testing.assert_array_equal(found_y, wanted_y)
    np.testing.assert_array_equal(found.tensors["other"].values, Int8.of(MATRIX).values)
    np.testing.assert_array_equal(found.tensors["half"].words, BFloat16.of(MATRIX).words)


def test_only_low_precision_needs_the_newer_format(tmp_path: Path) -> None:
    for dtype, version in (("float32", 1), ("int8", 2)):
        path = stored(tmp_path / dtype, dtype)
        _, metadata = modelfile.read_tensors(path)
        assert json.loads(metadata[modelfile.KEY])["format"] == version


@pytest.mark.parametrize("change", ["shape", "missing", "-128", "dtype"])
def test_scales_that_fit_nothing(change: str, tmp_path: Path) -> None:
    tensors, metadata = modelfile.read_tensors(stored(tmp_path / "m", "int8"))
    name = "program/weight_ih_l0"
    if change == "shape":
        tensors[f"scale/{name}"] = tensors[f"scale/{name}"][:-1]
    elif change == "missing":
        del tensors[f"scale/{name}"]
    elif change == "-128":
        tensors[name] = tensors[name].copy()
        tensors[name][0, 0] = -128
    else:
        tensors[name] = tensors[name].astype(np.int16)
    modelfile.write_tensors(tmp_path / "bad", tensors, metadata)
    if change == "missing":  # whole numbers, as they are
        whole = modelfile.load(tmp_path / "bad").program
        x = {"x": sequences()}
        found, _ = runtime.load(whole).run("sequence", x)
        assert apart(found["y"], whole.run("sequence", x)[0]["y"]) < 1e-5
        return
    with pytest.raises(modelfile.ModelFileError, match="damaged"):
        modelfile.load(tmp_path / "bad")
