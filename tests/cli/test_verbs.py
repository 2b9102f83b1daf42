"""The verbs at work on a small table."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from lstmkit.tasks.forecast import learning


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Options of a training of a few steps."""
    monkeypatch.setattr(learning, "STEPS_PER_EPOCH", 3)
    return ["--horizon", "7", "--size", "tiny", "--epochs", "1", "--threads", "1"]


def test_train_writes_a_model_and_says_what_to_do_next(lstmkit, sales, tmp_path, brief):
    model = tmp_path / "m.safetensors"
    found = lstmkit("train", "forecast", sales, "-o", model, *brief)
    assert found.exit_code == 0, found.output
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]
    assert "MASE" in found.stdout and "seasonal naive" in found.stdout
    notes = [line for line in found.stderr.splitlines() if line.startswith("note:")]
    assert any("freq: 1d" in note for note in notes)
    assert "freq: 1d" not in found.stdout  # said once, not again under the table
    assert f"next:  lstmkit predict {model} {sales}" in found.stderr


def test_train_json_and_quiet(lstmkit, sales, tmp_path, brief):
    model = tmp_path / "m.safetensors"
    found = lstmkit("train", "forecast", sales, "-o", model, "--json", "--quiet", *brief)
    assert found.stderr == ""
    assert set(json.loads(found.stdout)) >= {"saved", "metrics", "baselines", "data", "model"}


def test_train_reads_standard_input_and_starts_from_a_model(lstmkit, sales, tmp_path, model, brief):
    output = tmp_path / "m.safetensors"
    found = lstmkit(
        "train", "forecast", "-", "--from", model, "-o", output, *brief, stdin=sales.read_text()
    )
    assert found.exit_code == 0, found.output
    assert output.exists()
    assert "before" in found.output or "old" in found.output or "was" in found.output


def test_evaluate_as_table_and_json(lstmkit, model, sales):
    text = lstmkit("evaluate", model, sales)
    assert text.exit_code == 0, text.output
    assert "seasonal naive" in text.stdout and "memory is worth" in text.stdout
    report = json.loads(lstmkit("evaluate", model, sales, "--json").stdout)
    assert set(report) >= {"metrics", "baselines", "data", "model", "memory_worth"}
    assert report["data"]["windows"] == 2
    assert {"mase", "smape", "mae", "rmse", "wql", "coverage_80"} <= set(report["metrics"])


def test_evaluate_refuses_a_score_in_sample(lstmkit, model, sales, tmp_path):
    seen = pl.read_csv(sales).group_by("shop", maintain_order=True).head(40)
    seen.write_csv(tmp_path / "seen.csv")
    found = lstmkit("evaluate", model, tmp_path / "seen.csv")
    assert (found.exit_code, found.stdout) == (2, "")
    assert found.stderr.startswith("error: in-sample")


def test_predict_to_csv_parquet_and_stdout_agree(lstmkit, model, sales, tmp_path):
    for name in ("f.csv", "f.parquet"):
        found = lstmkit("predict", model, sales, "-o", tmp_path / name)
        assert (found.exit_code, found.stdout) == (0, ""), found.output
    frame = pl.read_csv(tmp_path / "f.csv")
    assert frame.columns[:3] == ["shop", "day", "y_hat"] and len(frame) == 14
    assert {"q0.1", "q0.9"} <= set(frame.columns)
    assert frame["day"][0] == "2024-03-01"
    assert lstmkit("predict", model, sales).stdout == (tmp_path / "f.csv").read_text()
    piped = lstmkit("predict", model, "-", stdin=sales.read_text())
    assert piped.stdout == (tmp_path / "f.csv").read_text()
    assert pl.read_parquet(tmp_path / "f.parquet")["y_hat"].to_list() == pytest.approx(
        frame["y_hat"].to_list()
    )


def test_predict_json(lstmkit, model, sales, tmp_path):
    found = json.loads(lstmkit("predict", model, sales, "--json").stdout)
    assert found["columns"][:3] == ["shop", "day", "y_hat"]
    assert len(found["rows"]) == 14 and found["rows"][0][:2] == ["s0", "2024-03-01"]
    output = tmp_path / "f.csv"
    summary = json.loads(lstmkit("predict", model, sales, "-o", output, "--json").stdout)
    assert summary == {"output": str(output), "rows": 14, "plot": None}


def test_predict_draws_what_came_over_standard_input(lstmkit, model, sales, tmp_path):
    picture = tmp_path / "f.png"
    found = lstmkit("predict", model, "-", "--plot", picture, stdin=sales.read_text())
    assert found.exit_code == 0, found.output
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert found.stdout.startswith("shop,day,y_hat")


def test_ctrl_c_before_any_work_says_that_nothing_was_written(lstmkit, monkeypatch, model, sales):
    def stop(path: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lstmkit.tasks.estimator.load", stop)
    found = lstmkit("predict", model, sales)
    assert found.exit_code == 130
    assert "interrupted; nothing was written" in found.stderr


@pytest.mark.slow
def test_ctrl_c_says_how_to_resume_and_resuming_works(sales: Path, tmp_path: Path):
    model = tmp_path / "a model.safetensors"
    words = ["train", "forecast", str(sales), "-o", str(model), "--horizon", "7"]
    words += ["--size", "tiny", "--epochs", "6", "--threads", "1"]
    command = [sys.executable, "-m", "lstmkit", *words]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    checkpoint = tmp_path / "a model.safetensors.checkpoint"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, talk = running.communicate(timeout=120)
    assert running.returncode == 130, talk
    assert checkpoint.exists() and not model.exists()
    line = re.search(r"hint: to go on: lstmkit (.*)", talk)
    assert line, talk
    again = shlex.split(line[1])
    assert again == [*words, "--resume"]
    found = subprocess.run(
        [sys.executable, "-m", "lstmkit", *again], capture_output=True, text=True, timeout=300
    )
    assert found.returncode == 0, found.stderr
    assert [path.name for path in tmp_path.iterdir()] == [model.name]


@pytest.mark.slow
def test_the_demo_on_one_epoch(lstmkit, tmp_path):
    folder = tmp_path / "demo"
    found = lstmkit("demo", "-o", folder, "--epochs", 1, "--json")
    assert found.exit_code == 0, found.output
    outcome = json.loads(found.stdout)
    for path in [outcome["model"], *outcome["pictures"].values()]:
        assert Path(path).stat().st_size > 10_000
    assert "seasonal_naive" in outcome["report"]["baselines"]


def test_the_demo_needs_a_folder(lstmkit, tmp_path):
    taken = tmp_path / "file"
    taken.write_text("mine")
    found = lstmkit("demo", "-o", taken)
    assert found.exit_code == 2 and "not a folder" in found.stderr
    assert taken.read_text() == "mine"
