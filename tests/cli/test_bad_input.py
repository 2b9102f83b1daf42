"""Bad input: exit code 2, one clear line, nothing written, nothing lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lstmkit.errors import MissingExtra

DAYS = [f"2024-01-{day:02d}" for day in range(1, 32)]


def said(found, *words: str) -> None:
    """Exit code 2, `error:` with the words, and neither data nor a traceback."""
    assert found.exit_code == 2, found.output
    assert found.stdout == ""
    errors = [line for line in found.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "Traceback" not in found.stderr and "bug" not in found.stderr
    for word in words:
        assert word.lower() in found.stderr.lower(), found.stderr


def table(values: list[object], days: list[str] = DAYS) -> str:
    return "day,sold\n" + "".join(f"{d},{v}\n" for d, v in zip(days, values, strict=False))


MIXED = [f"{d} 00:00:00{'+01:00' if k % 2 else 'Z'}" for k, d in enumerate(DAYS)]
TABLES = {
    "empty": ("", "empty"),
    "header_only": ("day,sold\n", "no rows"),
    "text_in_numbers": (table([*range(20), "many", *range(10)]), "many"),
    "one_row": (table([1]), "row"),
    "short": (table([1, 2, 3, 4, 5]), "horizon"),
    "all_missing": (table([""] * 31), "missing"),
    "infinite": (table([*range(20), "inf", *range(10)]), "inf"),
    "bad_date": (table(range(31), ["2024-01-32", *DAYS[1:]]), "2024-01-32"),
}


@pytest.mark.parametrize("case", TABLES)
def test_a_table_that_cannot_be_used(lstmkit, tmp_path, case):
    text, word = TABLES[case]
    data, model = tmp_path / "data.csv", tmp_path / "m.safetensors"
    data.write_text(text)
    options = ["--time", "day", "--target", "sold"] if text else []
    said(lstmkit("train", "forecast", data, "--horizon", 7, "-o", model, *options), word)
    assert [path.name for path in tmp_path.iterdir()] == ["data.csv"]


def test_mixed_time_zones_are_told_or_read(lstmkit, tmp_path):
    data, model = tmp_path / "data.csv", tmp_path / "m.safetensors"
    data.write_text(table(list(range(31)), [d.replace("Z", "") for d in MIXED]))
    said(lstmkit("train", "forecast", data, "--horizon", 7, "-o", model), "zone")
    assert not model.exists()


def test_a_missing_file_or_column(lstmkit, tmp_path, sales):
    model = tmp_path / "m.safetensors"
    wanted = sales.with_name("sale.csv")
    said(lstmkit("train", "forecast", wanted, "-o", model), "no such file", "did you mean")
    said(
        lstmkit("train", "forecast", sales, "--horizon", 7, "--target", "price", "-o", model),
        "price",
    )
    said(lstmkit("train", "forecast", sales.parent, "--horizon", 7, "-o", model), "folder")
    said(lstmkit("train", "forecast", sales, "-o", model), "--horizon")
    assert not model.exists()


@pytest.mark.parametrize(
    "options",
    [
        ["--horizon", "0"],
        ["--horizon", "seven"],
        ["--epochs", "-1"],
        ["--minutes", "0"],
        ["--size", "huge"],
        ["--quantiles", "0.1,2"],
        ["--device", "abacus"],
    ],
    ids=" ".join,
)
def test_an_impossible_option(lstmkit, tmp_path, sales, options):
    model = tmp_path / "m.safetensors"
    said(lstmkit("train", "forecast", sales, "--horizon", 7, "-o", model, *options))
    assert not model.exists()


def test_where_the_model_goes_is_checked_first(lstmkit, tmp_path, sales):
    def train(output: object):
        return lstmkit("train", "forecast", sales, "--horizon", 7, "-o", output)

    before = sales.read_bytes()
    said(train(tmp_path / "none" / "m.safetensors"), "does not exist", "mkdir")
    said(train(tmp_path), "folder")
    said(train(sales), "is an input")
    precious = tmp_path / "precious.csv"
    precious.write_text("keep me")
    said(train(precious), "not look like a model")
    assert (sales.read_bytes(), precious.read_text()) == (before, "keep me")


def test_standard_input_stands_alone(lstmkit, tmp_path, sales):
    said(lstmkit("train", "forecast", "-", sales, "-o", tmp_path / "m.safetensors"), "mixed")


def test_nothing_to_resume(lstmkit, tmp_path, sales):
    model = tmp_path / "m.safetensors"
    said(lstmkit("train", "forecast", sales, "-o", model, "--resume"), "nothing to resume")


def test_a_bad_output_of_predict(lstmkit, tmp_path, model, sales):
    kept = sales.read_bytes()
    said(lstmkit("predict", model, sales, "-o", tmp_path / "f.xlsx"), "f.xlsx", ".csv")
    said(lstmkit("predict", model, sales, "-o", sales), "is an input")
    good = tmp_path / "f.csv"
    said(lstmkit("predict", model, sales, "-o", good, "--plot", tmp_path / "f.doc"), ".png")
    said(lstmkit("predict", model, sales, "-o", good, "--plot", tmp_path / "no" / "f.png"), "exist")
    assert sales.read_bytes() == kept
    assert [path.name for path in tmp_path.iterdir()] == []


@pytest.mark.parametrize("how", ["missing", "empty", "truncated", "foreign", "hostile"])
@pytest.mark.parametrize("verb", ["info", "predict", "evaluate"])
def test_a_bad_model_file(lstmkit, tmp_path, model, sales, how, verb):
    bad = tmp_path / "bad.safetensors"
    contents = {
        "empty": b"",
        "truncated": model.read_bytes()[:-100],
        "foreign": b"PK\x03\x04" + bytes(200),
        "hostile": b"\xff" * 8 + b"{}",
    }
    if how != "missing":
        bad.write_bytes(contents[how])
    said(lstmkit(verb, bad, *([] if verb == "info" else [sales])), "bad.safetensors")


def test_columns_of_another_table(lstmkit, tmp_path, model):
    data = tmp_path / "other.csv"
    data.write_text(table(list(range(31))))
    said(lstmkit("predict", model, data), "shop")


def test_a_missing_extra_prints_the_pip_line(lstmkit, monkeypatch, model, sales):
    def missing(path: object) -> None:
        raise MissingExtra("train", "polars")

    monkeypatch.setattr("lstmkit.tasks.estimator.load", missing)
    found = lstmkit("predict", model, sales)
    said(found, "polars")
    assert found.stderr.splitlines()[-1] == "hint: pip install 'lstmkit[train]'"


def test_a_full_disk_is_no_defect_and_loses_nothing(lstmkit, monkeypatch, tmp_path, model, sales):
    output = tmp_path / "f.csv"
    output.write_text("yesterday's")

    def full(file: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    said(lstmkit("predict", model, sales, "-o", output), "no space left")
    assert output.read_text() == "yesterday's"
    assert [path.name for path in tmp_path.iterdir()] == ["f.csv"]


def test_a_defect_says_so(lstmkit, monkeypatch, model, sales):
    def broken(path: object) -> None:
        raise RuntimeError("wheel came off")

    monkeypatch.setattr("lstmkit.tasks.estimator.load", broken)
    found = lstmkit("predict", model, sales)
    assert found.exit_code == 1
    assert "this is a bug in lstmkit: RuntimeError: wheel came off" in found.stderr
    assert "LSTMKIT_DEBUG=1" in found.stderr and "Traceback" not in found.stderr
    monkeypatch.setenv("LSTMKIT_DEBUG", "1")
    assert "Traceback" in lstmkit("predict", model, sales).stderr


def test_a_closed_pipe_is_quiet(sales: Path):
    code = """
import sys
from lstmkit.cli.console import Console
from lstmkit.cli import info, main
info.lines = lambda facts: ["x" * 1000] * 1000
main.cli.main(["info"])
"""
    running = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert running.stdout is not None and running.stderr is not None
    running.stdout.close()
    errors = running.stderr.read()
    running.stderr.close()
    assert (running.wait(20), errors) == (141, b"")
