"""The side-by-side benchmark of detectors: scoring, results, picture."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# --- scoring


def test_rows_without_a_score_are_the_least_unusual(detection: Any) -> None:
    np.testing.assert_array_equal(detection.scoring.filled([np.nan, 3, 1]), [1, 3, 1])
    np.testing.assert_array_equal(detection.scoring.filled([np.inf, 3, -np.inf, 1]), [3, 3, 1, 1])
    np.testing.assert_array_equal(detection.scoring.filled([np.inf, np.nan]), [0, 0])
    with pytest.raises(ValueError, match="all missing"):
        detection.scoring.filled([np.nan, np.nan])


def test_a_process_gives_one_entry_or_several(detection: Any) -> None:
    ours = {"scores": np.ones(3), "contributions": np.ones((3, 2)), "alarms": np.ones(3)}
    assert list(detection.scoring.entries("lstmkit", ours)) == ["lstmkit"]
    both = {"random": np.ones(3), "pca": np.ones(3)}
    assert list(detection.scoring.entries("baselines", both)) == ["random", "pca"]


def test_hit_rates_by_hand(detection: Any, problem_of: Any) -> None:
    """Two of three labelled channels on top, then the only one in two of three rows."""
    problem = problem_of(((2, 3), (10, 12)), ((0, 1, 2), (3,)), channels=4)
    shares = np.zeros((30, 4))
    shares[2:4] = [3.0, 2.0, 0.0, 1.0]
    shares[10:13] = [[0, 0, 0, 3], [0, 0, 0, 3], [5, 0, 0, 0]]
    found = detection.scoring.hit_rates(problem, shares)
    assert found["of_events"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["of_rows"] == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert found["chance"] == pytest.approx((3 / 4 + 1 / 4) / 2) and found["events"] == 2


def test_hit_rates_of_nothing_known_and_of_all_known(detection: Any, problem_of: Any) -> None:
    problem = problem_of(((2, 3),), ((1,),))
    nothing = np.full((30, 2), np.nan)
    assert detection.scoring.hit_rates(problem, nothing)["of_events"] == 0
    nothing[2:4, 1] = 1
    assert detection.scoring.hit_rates(problem, nothing)["of_events"] == 1


def test_means_leave_out_what_is_not_defined(detection: Any) -> None:
    found = detection.scoring.mean([{"a": 1.0, "b": np.nan}, {"a": 3.0, "b": np.nan}])
    assert found == {"a": 2.0, "b": None}
    assert detection.scoring.clean({"a": np.inf, "b": 2.0}) == {"a": None, "b": 2.0}


def test_scores_of_a_file_go_from_0_to_1(detection: Any) -> None:
    np.testing.assert_array_equal(detection.nab.unit(np.array([2.0, 4, 3])), [0, 1, 0.5])
    np.testing.assert_array_equal(detection.nab.unit(np.array([2.0, 2])), [0, 0])
    np.testing.assert_array_equal(detection.nab.rank(np.array([2.0, 9, 2, 3])), [0, 0.75, 0, 0.5])


def entry(problems: Any, sizes: Any, name: str, arrays: Any) -> dict[str, Any]:
    """What a command would record, of a measure that needs no library."""
    each = {
        p.series.name: {"vus_pr": float(a["scores"].mean())}
        for p, a in zip(problems, arrays, strict=True)
    }
    return {"scores": {"vus_pr": 0.5}, "files": each}


def judged(detection: Any, monkeypatch: pytest.MonkeyPatch, off: float) -> list[Any]:
    """TSB-AD says the mean of the scores, and `off` more; the commands with which it was asked."""
    asked = []

    def alone(command: list[str], minutes: float) -> list[dict[str, float]]:
        asked.append(command)
        with np.load(command[3]) as file:
            count = len(file.files) // 3
            return [{"vus_pr": float(file[f"scores_{k}"].mean()) + off} for k in range(count)]

    monkeypatch.setattr(detection.scoring, "alone", alone)
    return asked


def test_measures_that_differ_from_tsb_ad_end_the_run(
    detection: Any, problem_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = detection.contest.Run("python", tmp_path)
    problems = [problem_of(), problem_of(events=(), name="calm")]
    each = [{"CNN": np.arange(30.0)}, {"CNN": np.zeros(30)}]
    arrays = [{"scores": e["CNN"]} for e in each]
    made = {"CNN": entry(problems[:1], {}, "CNN", arrays[:1])}
    asked = judged(detection, monkeypatch, 1e-9)
    for _ in range(2):
        found = detection.command.check(problems, {"a/b": 7, "calm": 7}, made, each, run)
    assert len(asked) == 1
    assert found["CNN"]["differs_from_tsb_ad"] == pytest.approx(1e-9, rel=1e-3)
    for window, off in ((8, 1e-5), (9, float("nan"))):
        judged(detection, monkeypatch, off)
        with pytest.raises(SystemExit, match="CNN differ from TSB-AD"):
            detection.command.check(problems, {"a/b": window, "calm": window}, made, each, run)


def test_disagreement_is_the_largest_and_never_hidden(detection: Any) -> None:
    ours = {"vus_pr": 0.5, "auc_pr": 0.25, "event_f1": 1.0}
    assert detection.scoring.disagreement(ours, {"vus_pr": 0.5, "auc_pr": 0.375}) == 0.125
    for order in (("vus_pr", "auc_pr"), ("auc_pr", "vus_pr")):
        theirs = dict(zip(order, (0.25, np.nan), strict=True))
        assert np.isnan(detection.scoring.disagreement(ours, theirs))
    assert np.isnan(detection.scoring.disagreement(ours, {}))


# --- results


def facts_of(seconds: float, gigabytes: float, **settings: Any) -> dict[str, Any]:
    names = ("import_seconds", "fit_seconds", "predict_seconds", "cpu_seconds")
    return {
        **dict.fromkeys(names, seconds), "peak_gigabytes": gigabytes, "settings": settings,
        "versions": {"numpy": "2"}, "date": "2026-11-23",
    }  # fmt: skip


def test_costs_of_several_processes(detection: Any) -> None:
    found = detection.results.costs(
        [facts_of(1, 2, seed=1, window=3), facts_of(4, 1, seed=1, window=9)]
    )
    assert found["fit_seconds"] == 5 and found["peak_gigabytes"] == 2
    assert found["settings"] == {"seed": 1}


def test_results_of_another_protocol_are_refused(detection: Any, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    asked = {"dataset": "smd", "series": 3, "protocol": "one", "published": {}}
    assert detection.results.kept(path, asked)["models"] == {}
    path.write_text(json.dumps({**asked, "windows": {}, "models": {"CNN": {}}}))
    assert list(detection.results.kept(path, {**asked, "published": {"x": {}}})["models"]) == [
        "CNN"
    ]
    with pytest.raises(SystemExit, match="another protocol"):
        detection.results.kept(path, {**asked, "protocol": "two"})


def test_the_table_ranks_and_says_why_there_is_nothing(detection: Any) -> None:
    models = {
        "low": {"scores": {"vus_pr": 0.1}},
        "none": {"failed": "exit code 1: no memory"},
        "late": {"stopped": "after 5 min"},
        "high": {"scores": {"vus_pr": 0.9}, "fit_seconds": 60.0, "predict_seconds": 60.0},
    }
    shown = detection.results.table(
        {"models": models, "published": {"p": {"vus_pr": 0.5}}}, ["vus_pr"]
    )
    names = [line.split()[0] for line in shown.splitlines()[1:]]
    assert names == ["high", "low", "none", "late", "published", "p"]
    assert "no memory" in shown and "after 5 min" in shown and "2.000" in shown


def given_of(folder: Path, **fields: Any) -> argparse.Namespace:
    plain = {
        "folder": folder, "peers": None, "cache": folder / "cache", "only": "lstmkit",
        "limit_minutes": 1.0, "options": "size=tiny", "name": "lstmkit", "files": None,
        "output": folder / "out.json",
    }  # fmt: skip
    return argparse.Namespace(**{**plain, **fields})


def test_a_run_writes_its_file_and_asks_for_windows_once(
    detection: Any, machines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def scored(series: Any, name: str, run: Any) -> Any:
        asked.append(name)
        scores = np.array([9]) if name == "window" else np.arange(len(series.test), dtype=float)
        return {"scores": scores}, facts_of(1, 1)

    monkeypatch.setattr(detection.contest, "scored", scored)
    judged(detection, monkeypatch, 0)
    about = {"protocol": "p", "published": {}}
    with pytest.raises(SystemExit, match="--peers"):
        detection.command.compete("smd", given_of(machines), "run", about, entry)
    detection.command.compete("smd", given_of(machines, peers="python"), "run", about, entry)
    assert asked.count("window") == 3
    found = detection.command.compete("smd", given_of(machines), "again", about, entry)
    assert asked.count("window") == 3 and asked.count("lstmkit") == 6
    kept = json.loads((machines / "out.json").read_text())
    assert kept["windows"] == dict.fromkeys(detection.datasets.MACHINES, 9) == found["windows"]
    assert kept["models"]["lstmkit"]["command"] == "again" and kept["machine"]["cpu"]


def test_a_detector_that_fails_is_recorded_with_its_series(
    detection: Any, problem_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detection.contest, "scored", lambda *_: ({}, {"failed": "no"}))
    run = detection.contest.Run(None, tmp_path)
    found = detection.command.entries([problem_of()], {}, "CNN", run, entry)
    assert found == {"CNN": {"failed": "no", "series": "a/b"}}


def test_commands_hide_the_machine(detection: Any) -> None:
    given = given_of(Path("/home/me/data"), peers="/opt/python", output=None)
    words = ["/home/me/data", "--peers", "/opt/python", "--only", "lstmkit"]
    said = detection.command.command("anomaly_smd.py", given, words)
    assert said == (
        "python benchmarks/accuracy/anomaly_smd.py FOLDER --peers PYTHON --only lstmkit"
    )


def results_of(detection: Any, dataset: str) -> dict[str, Any]:
    scores = {"vus_pr": 0.4, "standard": 30.0, "low_fp": 10.0, "low_fn": 45.0}
    files = {name: {"vus_pr": 0.3 + k / 10} for k, name in enumerate(detection.datasets.MACHINES)}
    models = {name: {"scores": scores, "files": files} for name in ("lstmkit", "CNN", "random")}
    published = detection.nab.DESCRIPTION["published"] if dataset == "nab" else {}
    machine = {"cpu": "a", "cores": 2, "date": "2026-11-23T00"}
    return {
        "dataset": dataset, "models": {**models, "late": {"stopped": "after 1 min"}},
        "published": published, "windows": dict.fromkeys(files, 5), "machine": machine,
    }  # fmt: skip


@pytest.mark.parametrize("dataset", ["smd", "nab"])
def test_the_picture_has_every_detector_once(detection: Any, dataset: str) -> None:
    results = results_of(detection, dataset)
    axes = detection.plot.plot(results).axes[0]
    shown = [label.get_text() for label in axes.get_yticklabels()]
    assert len(shown) == 3 + len(results["published"]) and "late" not in shown
    assert len(set(shown)) == len(shown)
    with pytest.raises(SystemExit, match="no detector"):
        detection.plot.plot({**results, "models": {}, "published": {}})


# --- lstmkit's measures under the commands


def test_both_know_the_same_probation(detection: Any) -> None:
    from lstmkit.evaluation.detection import nab

    for rows in (1, 7, 100, 1127, 4032, 4999, 5000, 5001, 22695):
        assert detection.datasets.probation(rows) == nab.probation(rows)


def test_an_entry_of_machines(detection: Any, problem_of: Any) -> None:
    problem = problem_of(((10, 12), (20, 21)), ((1,), (0,)))
    sure, shares = problem.labels.astype(float), np.zeros((30, 2))
    shares[:, 1] = 1
    found = {"scores": sure, "contributions": shares, "alarms": sure > 0}
    made = detection.smd.entry([problem], {"a/b": 2}, "lstmkit", [found])
    assert made["scores"]["auc_pr"] == 1 and made["scores"]["event_f1"] == 1
    assert made["attribution"]["a/b"]["of_events"] == 0.5
    wrong = detection.smd.entry([problem], {"a/b": 2}, "CNN", [{"scores": 1 - sure}])
    assert wrong["scores"]["vus_pr"] < 0.3 and "attribution" not in wrong


def test_an_entry_of_nab(detection: Any, problem_of: Any) -> None:
    """Scores of peers are put on 0 to 1 for each file, ours are taken as they are: 0.1 is high."""
    problems = [problem_of(((10, 12),)), problem_of(((20, 24),))]
    sure, faint = problems[0].labels * 5.0, problems[1].labels * 0.1
    faint[25:] = 0.05
    arrays = [{"scores": s, "alarms": s > 0} for s in (sure, faint)]
    ours = detection.nab.entry(problems, {"a/b": 2}, "lstmkit", arrays)
    theirs = detection.nab.entry(problems, {"a/b": 2}, "CNN", arrays)
    assert ours["thresholds"]["standard"] == 0.1 and ours["scale"] == "told once"
    assert theirs["thresholds"]["standard"] == 1.0 and theirs["scale"] == "least to most"
    assert ours["scores"]["standard"] == pytest.approx(100)
    assert 60 < ours["at_own_level"]["standard"] < 100
    assert detection.nab.optimised(problems, [s["scores"] * 0 for s in arrays], "low_fp")[0] == 0


def test_the_better_scale_is_taken(detection: Any, problem_of: Any) -> None:
    """One file has a huge false score: from least to most hides its event, by rank it is second."""
    problems = [problem_of(((10, 10),)), problem_of(((20, 20),))]
    arrays = [np.arange(30) / 1e3, np.arange(30) / 1e3]
    for scores, problem, false in zip(arrays, problems, (1e6, 0.05), strict=True):
        scores[problem.events[0][0]] = 1.0
        scores[29] = false
    scale, best = detection.nab.scored(problems, arrays, as_they_are=False)
    assert scale == "rank" and best["standard"][0] > 90
