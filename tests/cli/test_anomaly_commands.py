"""The commands of anomaly detection: from a file to alerts, and what is refused."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

Run = Callable[..., Result]
ROWS = 700


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two channels every minute, one jump near the end."""
    draw = np.random.default_rng(1)
    day = np.sin(np.arange(ROWS) / 30)
    a, b = 10 + day + draw.normal(0, 0.1, ROWS), 5 + 2 * day + draw.normal(0, 0.1, ROWS)
    a[640:655] += 4
    start = np.datetime64("2024-05-01T00:00")
    lines = [f"{start + k},{a[k]:.4f},{b[k]:.4f},{int(640 <= k < 655)}" for k in range(ROWS)]
    path = tmp_path_factory.mktemp("log") / "metrics.csv"
    path.write_text("\n".join(["when,a,b,bad", *lines]) + "\n")
    return path


@pytest.fixture(scope="session")
def watch(tmp_path_factory: pytest.TempPathFactory, log: Path) -> Path:
    """A small detector of the first 500 rows."""
    from lstmkit.tasks.anomaly import learning
    from lstmkit.tasks.anomaly.estimator import AnomalyDetector

    folder = tmp_path_factory.mktemp("watch")
    learnt = folder / "learnt.csv"
    learnt.write_text("".join(log.read_text().splitlines(keepends=True)[:501]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning, "STEPS_PER_EPOCH", 30)
        made = AnomalyDetector(label="bad", size="tiny", epochs=2, threads=1)
        made.fit(str(learnt)).save(folder / "watch.safetensors")
    return folder / "watch.safetensors"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_train_and_evaluate(lstmkit: Run, log: Path, tmp_path: Path) -> None:
    model = tmp_path / "w.safetensors"
    options = ("--size", "tiny", "--epochs", "1", "--label", "bad", "--threads", "1")
    made = lstmkit("train", "anomaly", log, "-o", model, *options)
    assert made.exit_code == 0 and "channels: 2 (a, b)" in made.stderr
    refused = lstmkit("evaluate", model, log)
    assert refused.exit_code == 2 and "in-sample" in refused.stderr


def test_evaluate_prints_one_object(lstmkit: Run, watch: Path, log: Path) -> None:
    found = lstmkit("evaluate", watch, log, "--label", "bad", "--json")
    report = json.loads(found.stdout)
    assert found.exit_code == 0 and report["data"]["rows"] == ROWS - 500
    assert {"vus_pr", "event_recall", "inflated_f1"} <= set(report["metrics"])
    assert "pca" in report["baselines"] and "memory_worth" in report


def test_cron_gets_new_alerts_only_and_their_exit_code(
    lstmkit: Run, watch: Path, log: Path, tmp_path: Path
) -> None:
    alerts, scores, state = (tmp_path / n for n in ("a.csv", "s.csv", "w.state"))
    lines = log.read_text().splitlines(keepends=True)
    growing, told = tmp_path / "growing.csv", []
    for stop in (600, 660, ROWS, ROWS):
        growing.write_text("".join(lines[: stop + 1]))
        given = (watch, growing, "-o", alerts, "--scores", scores, "--state", state)
        found = lstmkit("predict", *given, "--fail-on-alert", "--quiet")
        told.append(rows(alerts))
        assert found.exit_code == (3 if told[-1] else 0), found.stderr
    assert not told[-1] and len(rows(scores)) == 0
    starts = [one["start"] for each in told for one in each]
    assert len(starts) == len(set(starts))
    jump = [one for one in told[1] if one["end"] >= "2024-05-01T10:40:00"]
    assert jump and "a" in jump[-1]["channels"] and "the expected" in jump[-1]["reasons"]


def test_a_stream_answers_every_row_and_goes_on(
    lstmkit: Run, watch: Path, log: Path, tmp_path: Path
) -> None:
    lines = log.read_text().splitlines(keepends=True)
    state = tmp_path / "w.state"
    whole = lstmkit("stream", watch, log, "--quiet").stdout.splitlines()
    first = lstmkit("stream", watch, "--state", state, "--quiet", stdin="".join(lines[:301]))
    second = lstmkit(
        "stream", watch, "--state", state, "--quiet", stdin=lines[0] + "".join(lines[301:])
    )
    assert first.stdout.splitlines() + second.stdout.splitlines() == whole
    assert any(json.loads(line)["alert"] for line in whole)
    table = lstmkit("stream", watch, log, "--format", "csv", "--quiet").stdout.splitlines()
    assert table[0] == "when,score,level,alarm,channels,alert,severity,reasons"
    assert len(table) == ROWS + 1


def test_a_picture_and_a_page(lstmkit: Run, watch: Path, log: Path, tmp_path: Path) -> None:
    page = tmp_path / "alerts.html"
    found = lstmkit("predict", watch, log, "-o", tmp_path / "a.csv", "--plot", page)
    assert found.exit_code == 0 and "<html" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--alerts-per-day", "5000"), "do not fit"),
        (("--horizon", "3"), "not asked by --horizon"),
        (("--scores", "scores.txt"), "scores.txt"),
        (("--alerts-per-day", "-1"), "alerts_per_day"),
    ],
)
def test_what_predict_refuses(
    lstmkit: Run, watch: Path, log: Path, arguments: tuple[str, ...], said: str
) -> None:
    found = lstmkit("predict", watch, log, *arguments)
    assert found.exit_code == 2 and said in found.stderr


def test_a_forecaster_has_no_alerts(lstmkit: Run, model: Path, sales: Path) -> None:
    found = lstmkit("predict", model, sales, "--fail-on-alert")
    assert found.exit_code == 2 and "no alerts" in found.stderr
    found = lstmkit("evaluate", model, sales, "--label", "x")
    assert found.exit_code == 2 and "not asked by --label" in found.stderr


def test_labels_of_another_length_and_no_labels(
    lstmkit: Run, watch: Path, log: Path, tmp_path: Path
) -> None:
    short = tmp_path / "labels.csv"
    short.write_text("bad\n" + "0\n" * 10)
    found = lstmkit("evaluate", watch, log, "--label", short)
    assert found.exit_code == 2 and "different lengths" in found.stderr


def test_another_file_is_no_state(lstmkit: Run, watch: Path, log: Path, tmp_path: Path) -> None:
    state = tmp_path / "w.state"
    state.write_text("not a state")
    found = lstmkit("predict", watch, log, "--state", state)
    assert found.exit_code == 2 and state.read_text() == "not a state"
