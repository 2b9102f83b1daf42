"""`lstmkit bench memory` and `lstmkit demo memory`, and what `lstmkit bench` was before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Run


def test_a_tiny_task(lstmkit: Run, tmp_path: Path) -> None:
    line = ["bench", "memory", "--task", "lag-T10", "--model", "lstm", "--seeds", "1"]
    line += ["--minutes", "0.002", "--workers", "1", "-o", str(tmp_path / "kept")]
    found = lstmkit(*line, "--json")
    assert found.exit_code == 0, found.stderr
    rows = json.loads(found.stdout)["rows"]
    assert [(r["task"], r["model"], r["seed"]) for r in rows] == [("lag-T10", "lstm", 0)]
    assert "gave up" in found.stderr
    again = lstmkit(*line)
    assert "are in" in again.stderr and again.stdout.splitlines()[0].startswith("task")


def test_wrong_words(lstmkit: Run) -> None:
    for line, said in (
        (["bench", "memory", "--task", "dance"], "no task dance"),
        (["bench", "runtme"], "did you mean 'runtime'?"),
        (["bench", "memory", "--plot", "x.nothing"], "x.nothing"),
    ):
        found = lstmkit(*line)
        assert found.exit_code == 2 and said in found.stderr, found.stderr


@pytest.mark.parametrize("line", [["bench", "--help"], ["bench", "memory", "--help"]])
def test_help(lstmkit: Run, line: list[str]) -> None:
    found = lstmkit(*line)
    assert found.exit_code == 0 and "memory" in found.stdout


def test_a_short_demo(lstmkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lstmkit.demos import memory

    monkeypatch.setattr(memory, "SAMPLES", 4)
    found = lstmkit("demo", "memory", "-o", tmp_path, "--epochs", "1", "--json")
    assert found.exit_code == 0, found.stderr
    outcome = json.loads(found.stdout)
    assert Path(outcome["pictures"]["horizon"]).stat().st_size > 10_000
    assert set(outcome["outcomes"]) == {"rnn", "lstm"}
    assert outcome["outcomes"]["lstm"]["sequences"] == 1000
