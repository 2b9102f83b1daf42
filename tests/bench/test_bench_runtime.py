"""`lstmkit bench`: every engine does the same work, and the rows are what they are said to be."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from lstmkit.bench import runtime as bench
from lstmkit.cli.main import cli


def test_every_engine_takes_the_same_steps() -> None:
    pytest.importorskip("onnxruntime")
    program = bench.layer(16)
    x = np.random.default_rng(0).standard_normal(16).astype(np.float32)
    engines: list[Any] = [
        make(program, x) for make in (bench.ours, bench.onnx_step, bench.torch_step)
    ]
    for _ in range(4):
        answers = [np.asarray(step()).ravel() for step in engines]
        assert np.abs(answers[0] - answers[1]).max() < 1e-6
        assert np.abs(answers[0] - answers[2]).max() < 1e-6
    assert np.abs(answers[0]).max() > 0.01


def test_the_command_prints_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "STEPS", 5)
    monkeypatch.setattr(bench, "SESSIONS", 7)
    monkeypatch.setattr(bench, "WARM", 0.0)
    monkeypatch.setattr(bench.bench, "__defaults__", ((8,), 1, True))
    found = CliRunner().invoke(cli, ["bench", "runtime", "--quick", "--json"])
    assert found.exit_code == 0, found.output
    rows = json.loads(found.stdout)["rows"]
    assert [(r["hidden"], r["batch"], r["dtype"]) for r in rows] == [
        (8, 1, "float32"),
        (8, 1, "bfloat16"),
        (8, 1, "int8"),
        (bench.SESSION_HIDDEN, 7, "float32"),
    ]
    for row in rows:
        assert row["p10_us"] <= row["lstmkit_us"] <= row["p99_us"]
    assert rows[0]["torch_us"] > 0 and rows[3]["torch_us"] > 0
    table = CliRunner().invoke(cli, ["bench", "--quick"]).stdout
    assert "lstmkit_us" in table and "bfloat16" in table
