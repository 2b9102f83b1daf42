"""`lstmkit inspect` and `train --watch` as typed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import polars as pl
import pytest
from cli.conftest import Run

pytest.importorskip("captum")


def test_it_says_the_horizon_and_the_health(lstmkit: Run, model: Path, sales: Path) -> None:
    done = lstmkit("inspect", model, sales, "--attribution", "none")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("The memory reaches back ")
    assert "health" in done.stdout or "finding" in done.stdout
    assert "weights that never saw them" in done.stderr


def test_json_holds_every_number(lstmkit: Run, model: Path, sales: Path) -> None:
    done = lstmkit("inspect", model, sales, "--json", "--clamp", "lstm.0.forget_gate=0")
    found = json.loads(done.stdout)
    assert found["samples"] == ["s0", "s1"]
    horizon = found["horizon"]
    assert horizon["reach"] >= horizon["half_life"] >= 1
    assert horizon["cut"]["metric"] == "MASE"
    assert len(horizon["sensitivity"]) == len(horizon["cells"]["lstm.0"]) == horizon["available"]
    assert found["attribution"]["features"][0] == "sold"
    before, after = found["interventions"]["mean_answer"][0]
    assert before != after
    assert found["interventions"]["score"][0] == pytest.approx(horizon["cut"]["full"])


def test_a_report_traces_and_figures_are_written(
    lstmkit: Run, model: Path, sales: Path, tmp_path: Path
) -> None:
    report, traces, figures = (tmp_path / n for n in ("report.html", "traces.parquet", "figures"))
    done = lstmkit(
        "inspect", model, sales, "-o", report, "--traces", traces, "--figures", figures,
        "--samples", 1, "--ablate", "lstm.0[0-3]",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert report.read_text().lstrip().lower().startswith("<!doctype html>")
    hidden = pl.read_parquet(traces).filter(pl.col("unit") < 4)["hidden"]
    assert (hidden == 0).all()
    names = {path.name for path in figures.iterdir()}
    assert names == {
        f"{n}.{k}" for n in ("gates-lstm.0", "horizon", "attribution") for k in ("png", "svg")
    }


def test_one_series_and_the_future(lstmkit: Run, model: Path, sales: Path) -> None:
    done = lstmkit(
        "inspect", model, sales, "--sample", "s1", "--future", "--json", "--answer", 7,
        "--attribution", "occlusion",
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found["samples"] == ["s1"] and found["horizon"]["cut"] is None
    assert found["attribution"]["answer"] == "step 7 ahead"
    assert "lies ahead" in found["notes"][0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--clamp", "lstm.0.forget_gate"], "cannot read the clamp"),
        (["--ablate", "lstm.9"], "there is no layer 'lstm.9'"),
        (["--ablate", "lstm.0[9999]"], "has no unit 9999"),
        (["--edit", "lstm.0.cell[0]@9999=1"], "never happened"),
        (["--sample", "s7"], "no series 's7'"),
        (["--answer", "8"], "there is no answer 8"),
        (["-o", "report.pdf"], "cannot tell the kind of file"),
        (["--traces", "traces.xlsx"], "cannot tell the kind of file"),
        (["-o", "nowhere/report.html"], "does not exist"),
    ],
)
def test_bad_input_is_said_in_words(
    lstmkit: Run, model: Path, sales: Path, options: list[str], words: str
) -> None:
    done = lstmkit("inspect", model, sales, "--attribution", "none", *options)
    assert done.exit_code == 2 and words in done.stderr
    assert "Traceback" not in done.stderr


def test_training_can_be_watched(
    lstmkit: Run, sales: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lstmkit.tasks.forecast import learning

    monkeypatch.setattr(learning, "STEPS_PER_EPOCH", 2)
    out = tmp_path / "m.safetensors"
    done = lstmkit(
        "train", "forecast", sales, "--horizon", 7, "--size", "tiny", "--epochs", 1, "--watch",
        "-o", out, "--quiet",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    logs = tmp_path / "m.safetensors.logs"
    assert list((logs / "gates").glob("events*")) and list((logs / "refit" / "gates").iterdir())


@pytest.mark.parametrize(
    ("package", "options"),
    [("captum", []), ("h5py", ["--attribution", "none", "--traces", "traces.h5"])],
)
def test_a_missing_package_is_said_before_any_work(
    lstmkit: Run, model: Path, sales: Path, package: str, options: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def no_work(path: Path) -> None:
        raise AssertionError("the model was loaded")

    class Absent:
        def find_spec(self, name: str, *_: object) -> None:
            if name.partition(".")[0] == package:
                raise ModuleNotFoundError(name, name=package)

    for name in [n for n in sys.modules if n.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
    monkeypatch.setattr("lstmkit.tasks.estimator.load", no_work)
    done = lstmkit("inspect", model, sales, *options)
    assert done.exit_code == 2 and "lstmkit[inspect]" in done.stderr
