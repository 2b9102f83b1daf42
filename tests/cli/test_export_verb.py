"""`lstmkit export`: what is written, what is measured, what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from lstmkit import modelfile
from lstmkit.lowprecision import dtype_of


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_fewer_bits_are_measured_and_written(lstmkit, model, sales, tmp_path, dtype):
    output = tmp_path / "small.safetensors"
    found = lstmkit(
        "export",
        model,
        "-o",
        output,
        "--weights",
        dtype,
        "--data",
        sales,
        "--max-loss",
        1,
        "--json",
    )
    assert found.exit_code == 0, found.stderr
    facts = json.loads(found.stdout)
    assert facts["metric"] == "mase" and facts["float32"] != facts[dtype]
    assert facts["loss"] == pytest.approx(facts[dtype] / facts["float32"] - 1)
    assert dtype_of(modelfile.load(output).program) == dtype
    info = json.loads(lstmkit("info", output, "--json").stdout)
    assert info["weights"] == dtype and info["bytes"] == facts["bytes"]
    scored = json.loads(lstmkit("evaluate", output, sales, "--json").stdout)
    assert scored["metrics"]["mase"] == pytest.approx(facts[dtype])


def test_onnx_is_compared_and_c_is_named_after_its_file(lstmkit, model, tmp_path):
    pytest.importorskip("onnxruntime")
    found = lstmkit("export", model, "-o", tmp_path / "m.onnx", "--json")
    assert found.exit_code == 0, found.stderr
    assert json.loads(found.stdout)["largest_difference"] < 1e-5
    found = lstmkit("export", model, "-o", tmp_path / "week-ahead.h")
    assert found.exit_code == 0, found.stderr
    assert "week_ahead_step(" in (tmp_path / "week-ahead.h").read_text()
    assert {p.name for p in tmp_path.iterdir()} == {"m.onnx", "week-ahead.h"}


def test_a_missing_extra_is_named(lstmkit, model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    found = lstmkit("export", model, "-o", tmp_path / "m.onnx")
    assert found.exit_code == 2 and "lstmkit[export]" in found.stderr
    assert not list(tmp_path.iterdir())


def test_too_much_loss_writes_nothing(lstmkit, model, sales, tmp_path, monkeypatch):
    from lstmkit.tasks.forecast.estimator import Forecaster

    lower = Forecaster.lowered

    def ruined(self, dtype):
        found = lower(self, dtype)
        scale = 1.5 if dtype == "int8" else 1.0
        held = found.heldout_.weights.items()
        weights = {k: w if hasattr(w, "product") else w * scale for k, w in held}
        found.heldout_ = found.heldout_.with_weights(weights)
        return found

    monkeypatch.setattr(Forecaster, "lowered", ruined)
    output = tmp_path / "small.safetensors"
    found = lstmkit("export", model, "-o", output, "--weights", "int8", "--data", sales)
    assert found.exit_code == 2
    assert "worse than --max-loss allows" in found.stderr and "mase" in found.stderr
    assert not output.exists()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["-o", "m.safetensors"], "the model again"),
        (["-o", "m.safetensors", "--weights", "int8"], "must be measured"),
        (["-o", "m.safetensors", "--weights", "float32", "--data", "DATA"], "measures fewer bits"),
        (["-o", "m.onnx", "--steps", "3"], "in C"),
        (["-o", "m.safetensors", "--weights", "float32", "--entry", "x"], "all entry points"),
        (["-o", "m.pt"], "kind of file"),
        (["-o", "MODEL"], "destroy"),
        (["-o", "m.onnx", "--entry", "nothing"], "no entry point"),
        (["-o", "m.h", "--entry", "nothing"], "no entry point"),
    ],
)
def test_what_is_refused(lstmkit, model: Path, sales: Path, tmp_path: Path, args, said) -> None:
    places = {"DATA": str(sales), "MODEL": str(model)}
    given = [places.get(a, str(tmp_path / a) if a.startswith("m.") else a) for a in args]
    before = model.read_bytes()
    found = lstmkit("export", model, *given)
    assert found.exit_code == 2, found.output
    assert said in found.stderr
    assert not list(tmp_path.iterdir()) and model.read_bytes() == before
