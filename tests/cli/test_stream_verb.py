"""`lstmkit stream`: one answer a row, at once, over restarts, without torch."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl

from lstmkit.cli import stream as verb

ROW = '{"shop": "a", "day": "2024-01-0%d", "sold": %d}'


def answers(found: Any) -> list[Any]:
    assert found.exit_code == 0, found.output
    return [json.loads(line) for line in found.stdout.splitlines()]


def test_csv_in_json_out(lstmkit, model, sales, tmp_path):
    found = answers(lstmkit("stream", model, sales))
    assert len(found) == 120
    lstmkit("predict", model, sales, "-o", tmp_path / "f.csv")
    wanted = pl.read_csv(tmp_path / "f.csv").filter(pl.col("shop") == "s0")["y_hat"].to_list()
    assert [step["y_hat"] for step in found[59]["forecast"]] == wanted


def test_json_in_csv_out(lstmkit, model):
    lines = "\n".join(ROW % (k, k) for k in range(1, 4))
    found = lstmkit("stream", model, "--format", "csv", "--quiet", stdin=lines + "\nnothing\n")
    table = found.stdout.splitlines()
    assert table[0] == "shop,day," + ",".join(f"y_hat_{k}" for k in range(1, 8))
    assert table[1].startswith("a,2024-01-01,") and len(table) == 5
    assert table[4] == "," * 8  # one line a row, the refused one too
    assert found.stderr == ""


def test_refused_rows_are_said_and_the_next_are_answered(lstmkit, model):
    lines = [ROW % (1, 1), ROW % (1, 2), "{", '{"day": 1}', ROW % (2, 2)]
    found = lstmkit("stream", model, stdin="\n".join(lines))
    rows = answers(found)
    assert ["error" in row for row in rows] == [False, True, True, True, False]
    assert found.stderr.count("refused:") == 3 and "2 rows answered, 3 refused" in found.stderr
    strict = lstmkit("stream", model, "--strict", stdin="\n".join(lines))
    assert strict.exit_code == 2 and "follow" in strict.stderr
    assert len(strict.stdout.splitlines()) == 1


def test_a_restart_goes_on(lstmkit, model, sales, tmp_path):
    head, *rows = sales.read_text().splitlines()
    whole = answers(lstmkit("stream", model, sales))
    state, found = tmp_path / "s.state", []
    for part in (rows[:50], rows[50:51], rows[51:]):
        text = "\n".join([head, *part])
        found += answers(lstmkit("stream", model, "--state", state, stdin=text))
    assert found == whole


def test_bad_states_and_options(lstmkit, model, sales, tmp_path):
    (tmp_path / "s").write_text("nothing")
    for more, said in (
        (("--state", tmp_path / "s"), "no model"),
        (("--state", model), "destroy"),
        (("--state", tmp_path / "no" / "s"), "mkdir"),
        (("--json", "--format", "csv"), "not both"),
    ):
        found = lstmkit("stream", model, sales, *more)
        assert found.exit_code == 2 and said in found.stderr, found.stderr
    assert (tmp_path / "s").read_text() == "nothing"


def test_the_state_is_kept_now_and_then(model, tmp_path, monkeypatch):
    from lstmkit.tasks.estimator import load

    stream: Any = load(model).stream()  # type: ignore[attr-defined]
    keeper = verb.Keeper(stream, str(tmp_path / "s"))
    keeper.now_and_then()
    assert not (tmp_path / "s").exists()
    monkeypatch.setattr(verb, "SAVE_EVERY", -1.0)
    keeper.now_and_then()
    assert (tmp_path / "s").exists()


def test_each_answer_comes_at_once_and_sigterm_keeps_the_state(model: Path, tmp_path: Path) -> None:
    blocked = ("torch", "polars", "lightning", "pandas", "matplotlib")
    code = f"import sys\nfor m in {blocked}: sys.modules[m] = None\n"
    code += "from lstmkit.cli.main import main\nmain()"
    command = [sys.executable, "-c", code, "stream", model, "--state", tmp_path / "s"]
    with subprocess.Popen(
        [*map(str, command)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
        env={k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"},
    ) as process:  # fmt: skip
        assert process.stdin and process.stdout
        for k in (1, 2):
            process.stdin.write(ROW % (k, k) + "\n")
            process.stdin.flush()
            assert select.select([process.stdout], [], [], 20)[0], "no answer yet"
            assert json.loads(process.stdout.readline())["day"] == f"2024-01-0{k}"
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 10
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert process.returncode == 130
    assert (tmp_path / "s").exists()
