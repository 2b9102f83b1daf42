"""What the command line says about itself, and how little it loads for that."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

MAIN = "import sys, lstmkit.cli.main as m"
HEAVY = "{'torch', 'polars', 'numpy', 'lightning', 'rich', 'matplotlib'}"


def in_python(code: str) -> str:
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    return found.stdout


def test_help_loads_nothing_heavy_and_is_quick():
    code = (
        "import sys, lstmkit.cli.main as m\ntry: m.cli.main(['--help'])\nexcept SystemExit: pass\n"
    )
    before = time.perf_counter()
    out = in_python(code + f"print('LOADED', sorted({HEAVY} & set(sys.modules)))")
    assert time.perf_counter() - before < 1.5  # 0.15 s where nothing else runs
    assert out.endswith("LOADED []\n")
    assert all(verb in out for verb in ("train", "evaluate", "predict", "info", "demo"))


@pytest.mark.parametrize("args", [["train", "forecast", "--help"], ["info"], ["demo", "--help"]])
def test_these_import_no_torch(args):
    code = f"{MAIN}\ntry: m.cli.main({args})\nexcept SystemExit: pass\n"
    out = in_python(code + "print('LOADED', sorted({'torch', 'polars'} & set(sys.modules)))")
    assert out.endswith("LOADED []\n")


def test_python_m_lstmkit():
    found = subprocess.run(
        [sys.executable, "-m", "lstmkit", "--version"], capture_output=True, text=True
    )
    assert (found.returncode, found.stdout) == (0, "lstmkit 0.1.0\n")


def test_train_help_has_every_option_of_the_task(lstmkit):
    from lstmkit.tasks.forecast.estimator import Forecaster

    out = lstmkit("train", "forecast", "--help").stdout
    for option in Forecaster.OPTIONS:
        assert f"--{option.name.replace('_', '-')}" in out
    assert all(flag in out for flag in ("--resume", "--from", "--output", "--json", "--quiet"))


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["trian"], "did you mean 'train'?"),
        (["train", "forcast", "x.csv"], "did you mean 'forecast'?"),
        (["train", "forecast"], "missing argument"),
        (["demo", "dance"], "'dance' is not"),
        (["predict", "--wrong"], "--wrong"),
    ],
)
def test_wrong_usage_is_two_lines_and_exit_code_2(lstmkit, args, words):
    found = lstmkit(*args)
    assert found.exit_code == 2
    assert found.stdout == ""
    error, hint = found.stderr.splitlines()
    assert error.startswith("error: ") and words.lower() in error.lower()
    assert hint.startswith("hint: lstmkit")


def test_info_of_the_installation(lstmkit):
    found = json.loads(lstmkit("info", "--json").stdout)
    assert found["lstmkit"] == "0.1.0"
    assert set(found) >= {"python", "numpy", "torch", "extras", "native_engine"}
    assert isinstance(found["native_engine"]["available"], bool)


def test_info_of_a_model(lstmkit, model):
    found = json.loads(lstmkit("info", model, "--json").stdout)
    assert (found["task"], found["kind"]) == ("forecast", "windowed")
    assert found["window"] > 0 and found["parameters"] > 0
    assert found["bytes"] >= 4 * found["parameters"]
    assert found["columns"]["target"] == "sold"
    cut = {"scored_after_learning_to": "2024-02-22", "learnt_to": "2024-02-29"}
    assert found["training_cut"] == cut
    assert "quantiles" in found["entry_points"]["forecast"]["outputs"]
    text = lstmkit("info", model).stdout
    assert "windowed" in text and "horizon" in text and "mase" in text
