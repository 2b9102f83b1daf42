"""The side-by-side benchmark of detectors: readers, processes and their cache."""

from __future__ import annotations

import gzip
import json
import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest


def write_nab(folder: Path) -> None:
    """Two files of ten-minute rows; the second has an hour twice and a window over it."""
    (folder / "labels").mkdir()
    (folder / "data" / "real").mkdir(parents=True)
    windows = {"real/calm.csv": [], "real/odd.csv": [["2014-01-01 05:00:00.000000"] * 2]}
    windows["real/odd.csv"].append(["2014-01-01 06:05:00.000000", "2014-01-01 06:40:00.000000"])
    (folder / "labels" / "combined_windows.json").write_text(json.dumps(windows))
    start = np.datetime64("2014-01-01T00:00:00", "s")
    times = [str(start + 600 * k).replace("T", " ") for k in range(50)]
    for name, order in (("calm", range(50)), ("odd", [*range(40), *range(34, 50)])):
        lines = ["timestamp,value", *(f"{times[k]},{k * 0.5}" for k in order)]
        (folder / "data" / "real" / f"{name}.csv").write_text("\n".join(lines))


# --- readers


def test_machines_are_read_with_channels_counted_from_zero(detection: Any, machines: Path) -> None:
    found = list(detection.datasets.smd(machines))
    assert [p.series.name for p in found] == list(detection.datasets.MACHINES)
    first = found[0]
    assert first.series.train.shape == (39, 4) and first.series.test.shape == (40, 4)
    assert first.events == ((10, 12), (30, 31)) and first.causes == ((0, 2), (3,))
    assert np.flatnonzero(first.labels).tolist() == [10, 11, 12, 30, 31]
    assert first.scored == slice(0, None)
    assert next(detection.datasets.smd(machines / "smd")).series.name == "machine-1-6"


def test_labels_of_another_length_end_the_run(detection: Any, machines: Path) -> None:
    path = machines / "smd" / "machine-2-1.test_label.txt.gz"
    path.write_bytes(gzip.compress(b"0\n0\n1\n"))
    with pytest.raises(SystemExit, match="machine-2-1"):
        list(detection.datasets.smd(machines))
    path.unlink()
    with pytest.raises(SystemExit, match="test_label"):
        list(detection.datasets.smd(machines))


def test_windows_of_nab_become_rows(detection: Any, tmp_path: Path) -> None:
    write_nab(tmp_path)
    calm, odd = detection.datasets.nab(tmp_path)
    assert calm.events == () and not calm.labels.any() and calm.series.name == "real/calm"
    # 05:00 is row 30; 06:10 to 06:40 are rows 37 to 39 and, again, 43 to 46.
    assert odd.events == ((30, 30), (37, 46))
    assert np.flatnonzero(odd.labels).tolist() == [30, 37, 38, 39, 43, 44, 45, 46]
    assert odd.series.prefix and len(odd.series.train) == 8 and odd.scored == slice(8, None)
    np.testing.assert_array_equal(odd.series.train, odd.series.test[:8])
    assert odd.series.time[1] - odd.series.time[0] == np.timedelta64(600, "s")


def test_nab_is_read_from_its_archive_too(detection: Any, tmp_path: Path) -> None:
    folder = tmp_path / "unpacked"
    folder.mkdir()
    write_nab(folder)
    with tarfile.open(tmp_path / "nab.tar.gz", "w:gz") as file:
        file.add(folder, arcname=".")
    for place in (tmp_path, tmp_path / "nab.tar.gz"):
        found = list(detection.datasets.nab(place))
        assert [p.events for p in found] == [p.events for p in detection.datasets.nab(folder)]
    with pytest.raises(SystemExit, match=r"nab\.tar\.gz"):
        list(detection.datasets.nab(tmp_path / "elsewhere"))


def test_probation_is_15_percent_of_at_most_5000_rows(detection: Any) -> None:
    assert [detection.datasets.probation(n) for n in (100, 4032, 5000, 22695)] == [
        15,
        604,
        750,
        750,
    ]


def test_a_series_survives_its_file(detection: Any, series_of: Any, tmp_path: Path) -> None:
    given = series_of(time=np.array(["2020-01-01", "2020-01-02"], "datetime64[us]"))
    given.save(tmp_path / "s.npz")
    found = detection.datasets.Series.load(tmp_path / "s.npz")
    assert found.name == "a/b" and found.prefix is False and found.time.dtype == given.time.dtype
    np.testing.assert_array_equal(found.test, given.test)


# --- processes and their cache


@pytest.fixture
def calls(detection: Any, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that were run; each writes the row numbers as scores."""
    made: list[list[str]] = []

    def alone(command: list[str], minutes: float) -> dict[str, Any]:
        made.append(command)
        if "bad" in command:
            return {"failed": "exit code 1: no"}
        series = detection.datasets.Series.load(Path(command[4]))
        np.savez(command[5], scores=np.arange(len(series.test), dtype=float))
        return {"fit_seconds": 1.0, "settings": {}}

    monkeypatch.setattr(detection.contest, "alone", alone)
    return made


def test_scores_are_computed_once(
    detection: Any, series_of: Any, calls: list[Any], tmp_path: Path
) -> None:
    run = detection.contest.Run("peers-python", tmp_path)
    arrays, facts = detection.contest.scored(series_of(), "CNN", run)
    again, told = detection.contest.scored(series_of(), "CNN", run)
    assert len(calls) == 1 and facts == told and told["fit_seconds"] == 1.0 and told["date"]
    np.testing.assert_array_equal(arrays["scores"], again["scores"])
    assert calls[0][0] == "peers-python" and (tmp_path / "CNN" / "a__b.npz").is_file()


def test_other_rows_or_options_are_computed_anew(
    detection: Any, series_of: Any, calls: list[Any], tmp_path: Path
) -> None:
    run = detection.contest.Run(None, tmp_path)
    given = series_of()
    detection.contest.scored(given, "lstmkit", run)
    detection.contest.scored(given, "lstmkit", replace(run, options={"size": "tiny"}))
    detection.contest.scored(given, "lstmkit", run)
    detection.contest.scored(replace(given, train=given.train[1:]), "lstmkit", run)
    detection.contest.scored(given, "lstmkit", run)
    detection.contest.scored(replace(given, test=given.test + 1), "lstmkit", run)
    assert len(calls) == 6 and {c[0] for c in calls} == {sys.executable}


def test_other_code_of_ours_is_run_anew(
    detection: Any,
    series_of: Any,
    calls: list[Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = detection.contest.Run("python", tmp_path)
    assert detection.contest.code() > 0
    for version in (1, 1, 2):
        monkeypatch.setattr(detection.contest, "code", lambda version=version: version)
        for name in ("lstmkit", "baselines", "CNN"):
            detection.contest.scored(series_of(), name, run)
    assert [c[3] for c in calls] == ["lstmkit", "baselines", "CNN", "lstmkit", "baselines"]


def test_a_failure_is_told_and_not_kept(
    detection: Any, series_of: Any, calls: list[Any], tmp_path: Path
) -> None:
    run = detection.contest.Run("python", tmp_path)
    for _ in range(2):
        arrays, facts = detection.contest.scored(series_of(), "bad", run)
        assert not arrays and facts["failed"] == "exit code 1: no"
    assert len(calls) == 2


def test_who_runs(detection: Any, tmp_path: Path) -> None:
    home = detection.contest.Run(None, tmp_path)
    assert home.detectors("smd") == ["baselines", "lstmkit"]
    away = detection.contest.Run("python", tmp_path, name="lstmkit tiny")
    assert away.detectors("smd")[1:4] == ["lstmkit tiny", "PCA", "PCA on train"]
    assert "PCA on train" not in away.detectors("nab")
    assert away.detectors("nab", ["LSTMAD"]) == ["LSTMAD"]
    with pytest.raises(SystemExit, match="no detector 'LSTM'"):
        away.detectors("nab", ["LSTM"])


class Fake:
    """A detector of one line: the distance from the mean of the train rows."""

    packages: tuple[str, ...] = ("numpy",)
    settings: dict[str, Any] = {}  # noqa: RUF012

    def load(self) -> None:
        pass

    def fit(self, series: Any) -> None:
        self.mean = series.train.mean(axis=0)

    def predict(self, series: Any) -> dict[str, np.ndarray]:
        return {"scores": np.abs(series.test - self.mean).sum(axis=1)}

    def stepper(self, series: Any) -> Any:
        return 5, lambda k: float(np.abs(series.test[k] - self.mean).sum())


def test_a_worker_measures(detection: Any, series_of: Any) -> None:
    arrays, facts = detection.worker.measure(Fake(), series_of())
    assert arrays["scores"].shape == (30,)
    assert {"import_seconds", "fit_seconds", "predict_seconds", "peak_gigabytes"} <= set(facts)


def test_rows_one_at_a_time(
    detection: Any, series_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detection.pace, "detector", lambda name, options: Fake())
    found = detection.pace.measure("any", series_of(), 12, {})
    assert found["row_seconds"]["min"] <= found["row_seconds"]["median"]
    assert found["score_bytes"] >= found["import_bytes"] > 0


# --- peers' wrappers, without TSB-AD


def test_a_scaler_leaves_out_what_never_changed(detection: Any) -> None:
    scaler = SimpleNamespace(var_=np.array([1.0, 0.0, 2.0]), transform=lambda rows: rows * 2)
    once = detection.peers._Changing(scaler)
    twice = detection.peers._Changing(once)
    for found in (once, twice):
        np.testing.assert_array_equal(found.transform(np.ones((2, 3))), np.full((2, 2), 2.0))


def test_standardised_rows_follow_the_train_rows_alone(detection: Any, series_of: Any) -> None:
    series = series_of(train=np.array([[1.0, 5], [5, 5]]), test=np.array([[4.0, 6]]))
    plain, scaled = (
        detection.peers.Network("CNN"),
        detection.peers.Network("CNN", standardised=True),
    )
    np.testing.assert_array_equal(plain.scaled(series, series.test), series.test)
    np.testing.assert_array_equal(scaled.scaled(series, series.test), [[0.5, 1.0]])


def test_a_whole_series_holds_the_train_rows_once(detection: Any, series_of: Any) -> None:
    machine = series_of()
    assert len(detection.peers._whole(machine)) == 60
    assert detection.peers._whole(replace(machine, prefix=True)) is machine.test


def test_our_table_has_time_where_there_is_one(detection: Any, series_of: Any) -> None:
    model = detection.ours.Lstmkit({})
    model.frame = dict
    time = np.arange(30).astype("datetime64[us]")
    found = model.table(series_of(time=time), 7, train=False)
    assert list(found) == ["time", "c1", "c2"] and len(found["time"]) == 7
    assert list(model.table(series_of(), 30, train=True)) == ["c1", "c2"]
