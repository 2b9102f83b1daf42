"""Model files: what goes in comes out, and nothing bad gets in or is lost."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lstmkit import modelfile
from lstmkit.errors import UserError
from lstmkit.modelfile import ModelFileError
from lstmkit.program import Builder, Program


def program() -> Program:
    b = Builder("windowed", window=3)
    y = b.op("linear", b.input("x", ("B", 3)), b.weight("w", np.ones((2, 3), np.float32)))
    b.output("y", y, ("B", 2))
    b.entry("answer")
    return b.build()


def saved(tmp_path: Path, **changes: Any) -> Path:
    path = tmp_path / "model.safetensors"
    given: dict[str, Any] = {"task": "forecast", "config": {"horizon": 3}, "program": program()}
    modelfile.save(path, **{**given, "tensors": {"k": np.arange(4)}, **changes})
    return path


def test_round_trip(tmp_path: Path) -> None:
    path = saved(tmp_path)
    model = modelfile.load(path)
    assert (model.task, model.config) == ("forecast", {"horizon": 3})
    assert model.program.to_json() == program().to_json()
    np.testing.assert_array_equal(model.tensors["k"], np.arange(4))
    assert {"lstmkit", "numpy", "python", "platform", "date"} <= set(model.provenance)
    x = np.ones((1, 3), np.float32)
    np.testing.assert_array_equal(model.program.run("answer", {"x": x})[0]["y"], [[3, 3]])


def test_the_library_reads_ours_and_we_read_the_library_s(tmp_path: Path) -> None:
    arrays = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.zeros((0, 4), np.float64),
        "c": np.array(True),
        "d": np.arange(3, dtype=np.int64)[::-1],
    }
    modelfile.write_tensors(tmp_path / "ours", arrays, {"note": "x"})
    theirs = load_file(tmp_path / "ours")
    save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, tmp_path / "theirs")
    ours, _ = modelfile.read_tensors(tmp_path / "theirs")
    for name, array in arrays.items():
        np.testing.assert_array_equal(theirs[name], array)
        np.testing.assert_array_equal(ours[name], array)
        assert ours[name].dtype == theirs[name].dtype == array.dtype


def test_bfloat16_becomes_float32(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_torch

    values = torch.tensor([1.5, -2.0, 3e38]).bfloat16()
    save_torch({"x": values}, tmp_path / "bf16")
    found, _ = modelfile.read_tensors(tmp_path / "bf16")
    np.testing.assert_array_equal(found["x"], values.float().numpy())


def refused(path: Path) -> str:
    with pytest.raises(ModelFileError) as error:
        modelfile.load(path)
    assert str(path) in str(error.value)
    return str(error.value)


def test_files_that_are_no_models(tmp_path: Path) -> None:
    assert "no file" in refused(tmp_path / "absent")
    assert "folder" in refused(tmp_path)
    for name, content, said in (
        ("empty", b"", "empty"),
        ("text", b"ds,y\n2020-01-01,5\n", "no model"),
        ("pdf", b"%PDF-1.7 " + bytes(100), "no model"),
        ("short", b"abc", "no model"),
    ):
        (tmp_path / name).write_bytes(content)
        assert said in refused(tmp_path / name)
    save_file({"x": np.ones(3, np.float32)}, tmp_path / "foreign")
    assert "no model of lstmkit" in refused(tmp_path / "foreign")


def rewritten(path: Path, change: Any) -> Path:
    """The file with its header changed."""
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + size :])
    return path


def test_newer_format_says_so(tmp_path: Path) -> None:
    def change(header: Any) -> None:
        text = json.loads(header["__metadata__"]["lstmkit"])
        text.update(format=99, version="7.1")
        header["__metadata__"]["lstmkit"] = json.dumps(text)

    message = refused(rewritten(saved(tmp_path), change))
    assert "newer" in message
    assert "7.1" in message
    assert "pip install --upgrade" in message


HOSTILE = {
    "overlap": lambda h: h["program/w"].update(data_offsets=[0, 24]),
    "overlap within the file": lambda h: h["extra/k"].update(data_offsets=[24, 56]),
    "hole": lambda h: h["program/w"].update(data_offsets=[40, 64]),
    "huge shape": lambda h: h["program/w"].update(shape=[2**40, 2**40]),
    "negative": lambda h: h["program/w"].update(shape=[-2, -3]),
    "dtype": lambda h: h["program/w"].update(dtype="OBJ"),
    "no offsets": lambda h: h["program/w"].pop("data_offsets"),
    "dimensions": lambda h: h["program/w"].update(shape=[1] * 99 + [2, 3]),
    "float size": lambda h: h["program/w"].update(shape=[2.0, 3.0]),
    "text for shape": lambda h: h["program/w"].update(shape="23"),
    "metadata": lambda h: h.update(__metadata__={"lstmkit": 3}),
    "missing weight": lambda h: h["__metadata__"].update(
        lstmkit=h["__metadata__"]["lstmkit"].replace("weights/w", "weights/v")
    ),
    "no task": lambda h: h["__metadata__"].update(
        lstmkit=h["__metadata__"]["lstmkit"].replace('"task"', '"tusk"')
    ),
    "other operation": lambda h: h["__metadata__"].update(
        lstmkit=h["__metadata__"]["lstmkit"].replace('"linear"', '"__import__"')
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers_are_refused(tmp_path: Path, name: str) -> None:
    assert "damaged" in refused(rewritten(saved(tmp_path), HOSTILE[name]))


def test_header_sizes_are_bounded_before_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    for size in (2**63, 2**40, modelfile.LARGEST_HEADER + 1):
        path.write_bytes(struct.pack("<Q", size) + b"{" + bytes(50))
        assert "no model" in refused(path)
    path.write_bytes(struct.pack("<Q", 1000) + b"{" + b"[" * 50)
    assert "inside its header" in refused(path)
    text = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    assert "damaged" in refused(path)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    raw = path.read_bytes()
    for size in range(0, len(raw), 7):
        path.write_bytes(raw[:size])
        refused(path)


def test_flipped_bytes_load_or_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    raw = path.read_bytes()
    random = np.random.default_rng(0)
    for place in random.integers(0, len(raw), 300):
        changed = bytearray(raw)
        changed[place] ^= 1 << int(random.integers(8))
        path.write_bytes(changed)
        with contextlib.suppress(ModelFileError):
            modelfile.load(path)


# --- writing --------------------------------------------------------------------------------------


def test_a_failed_write_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left"):
        saved(tmp_path, task="other")
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_an_error_inside_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), modelfile.atomic_write(path, "w") as file:
        file.write("new")
        _ = 1 / 0
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out.csv"]


def test_links_are_followed_and_permissions_kept(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    with modelfile.atomic_write(link, "w") as file:
        file.write("new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert real.stat().st_mode & 0o777 == 0o640
    umask = os.umask(0o027)
    try:
        with modelfile.atomic_write(tmp_path / "fresh") as file:
            file.write(b"x")
    finally:
        os.umask(umask)
    assert (tmp_path / "fresh").stat().st_mode & 0o777 == 0o640


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="mkdir"), modelfile.atomic_write(tmp_path / "no" / "f"):
        pass
    with pytest.raises(UserError, match="folder"), modelfile.atomic_write(tmp_path):
        pass


def test_pipes_are_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with modelfile.atomic_write(pipe) as file:
        file.write(b"x")
    assert os.read(reader, 9) == b"x"
    assert pipe.is_fifo()
    os.close(reader)
    assert "pipe" in refused(pipe)


def test_errors_of_the_block_are_not_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), modelfile.atomic_write(tmp_path / "out"):
        raise PermissionError(errno.EACCES, "an input of the caller")


def test_names_that_no_system_takes(tmp_path: Path) -> None:
    assert "cannot be read" in refused(tmp_path / "a\0b")
    with pytest.raises(UserError, match="null"), modelfile.atomic_write(tmp_path / "a\0b"):
        pass


def test_what_is_no_json_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    for value in (float("nan"), np.float32(1)):
        with pytest.raises(UserError, match="JSON"):
            saved(tmp_path, config={"score": value})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("facts", "data"),
    [
        ({"dtype": "F32", "shape": [0, 2**61], "data_offsets": [0, 0]}, b""),
        ({"dtype": "BOOL", "shape": [1], "data_offsets": [0, 1]}, b"\x07"),
    ],
)
def test_empty_giants_and_odd_truth_values(tmp_path: Path, facts: Any, data: bytes) -> None:
    text = json.dumps({"x": facts}).encode()
    (tmp_path / "f").write_bytes(struct.pack("<Q", len(text)) + text + data)
    with pytest.raises(ModelFileError, match="damaged"):
        modelfile.read_tensors(tmp_path / "f")
