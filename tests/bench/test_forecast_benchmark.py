"""The side-by-side benchmark of forecasters: protocols, scoring, results, on generated files."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "accuracy"


@pytest.fixture(scope="module")
def bench() -> Iterator[Any]:
    """The benchmark's modules; its folder is on the path only while they are used."""
    sys.path.insert(0, str(FOLDER))
    try:
        import forecast
        from forecasting import contest, datasets, peers, plot, scoring, worker

        yield SimpleNamespace(
            command=forecast, contest=contest, datasets=datasets, peers=peers, plot=plot,
            scoring=scoring, worker=worker,
        )  # fmt: skip
    finally:
        sys.path.remove(str(FOLDER))


def write_m4(folder: Path, series: int = 3, rows: int = 100) -> tuple[list[Any], list[Any]]:
    """Files in the form of M4's: quoted, rows padded with empty cells; series differ in length."""
    random = np.random.default_rng(0)
    past = [random.integers(1, 99, rows + 5 * k) for k in range(series)]
    future = [random.integers(1, 99, 48) for _ in range(series)]
    for name, table in (("M4-Hourly-train.csv.gz", past), ("M4-Hourly-test.csv", future)):
        width = max(map(len, table))
        lines = ['"V1",' + ",".join(f'"V{k + 2}"' for k in range(width))]
        for k, row in enumerate(table):
            cells = [f'"{value}"' for value in row] + [""] * (width - len(row))
            lines.append(",".join([f'"H{k + 1}"', *cells]))
        text = "\n".join(lines)
        packed = gzip.compress(text.encode()) if name.endswith("gz") else text.encode()
        (folder / name).write_bytes(packed)
    return past, future


def write_exchange(folder: Path, rows: int = 400) -> np.ndarray:
    table = np.round(np.random.default_rng(0).normal(1, 0.1, (rows, 8)).cumsum(0), 6)
    lines = [",".join(map(str, row)) for row in table]
    (folder / "exchange_rate.txt.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    return table


def write_pjm(folder: Path) -> np.ndarray:
    """Hours of 2016 and 2017 in two blocks, the later first, with a doubled hour and gaps."""
    hours = np.arange("2016-01-01T01", "2018-01-02T01", dtype="datetime64[h]")
    load = 100.0 + np.arange(len(hours))
    lines = []
    for k, hour in enumerate(hours):
        late = "" if k < 1000 else str(load[k] + 0.5)
        gone = str(load[k]) if k < 5000 else ""
        if str(hour) not in ("2016-03-13T03", "2017-03-12T03"):
            lines.append(f"{str(hour).replace('T', ' ')}:00:00,{load[k]},{late},{gone}")
    lines = lines[9000:] + lines[:9000] + [lines[0].replace("100.0", "7.0")]
    text = "\n".join(["Datetime,EARLY,LATE,GONE", *lines])
    (folder / "pjm_est_hourly.csv.gz").write_bytes(gzip.compress(text.encode()))
    return load


def problem_of(bench: Any, truth: Any, past: Any, **fields: Any) -> Any:
    """One series, one origin, scale with m = 1."""
    past, truth = np.array(past, float), np.array(truth, float)
    task = bench.datasets.Task(
        "m4_hourly", len(truth), 1, "", np.array(["a"]), np.array([1]), (past,),
        np.array([len(past)]), np.array([[len(past)]]),
    )  # fmt: skip
    metrics = ("smape", "mape", "mase", "msis", "mae", "coverage_80", "coverage_95")
    made = bench.datasets.Problem(
        task, truth[None, None], 1, {"naive": 1}, metrics, "by hand", {}, {}
    )
    return replace(made, **fields)


def answer_of(bench: Any, point: Any, bounds: Any) -> Any:
    return bench.scoring.Answer(np.array(point, float)[None, None], np.array(bounds)[None, None])


# --- scoring


def test_scores_by_hand(bench: Any) -> None:
    """Past 0 2 1 4: scale (2 + 1 + 3) / 3 = 2. Truth 10 and 20, forecast 12 and 15."""
    problem = problem_of(bench, [10, 20], [0, 2, 1, 4])
    bounds = [[8.0, 9.0, 13.0, 16.0], [11.0, 13.0, 17.0, 19.0]]
    found = bench.scoring.score(problem, answer_of(bench, [12, 15], bounds))
    assert found["mae"] == pytest.approx(3.5)
    assert found["mase"] == pytest.approx(1.75)
    assert found["smape"] == pytest.approx(100 * (2 / 22 + 5 / 35))
    assert found["mape"] == pytest.approx(100 * (0.2 + 0.25) / 2)
    # Widths 8 and 8; 20 lies 1 above 19 and costs 2 / 0.05 = 40: (8 + 48) / 2 over 2.
    assert found["msis"] == pytest.approx(14.0)
    assert found["coverage_80"] == found["coverage_95"] == 0.5


def test_below_an_interval_costs_as_much_as_above(bench: Any) -> None:
    problem = problem_of(bench, [10], [0, 2, 1, 4])
    bounds = [[11.0, 12.0, 13.0, 14.0]]
    found = bench.scoring.score(problem, answer_of(bench, [12], bounds))
    assert found["msis"] == pytest.approx((3 + 40) / 2) and found["coverage_95"] == 0


def test_rows_without_a_truth_do_not_count(bench: Any) -> None:
    whole = problem_of(bench, [10], [0, 2, 1, 4])
    gap = problem_of(bench, [10, np.nan], [0, 2, 1, 4])
    row = [8.0, 9.0, 13.0, 16.0]
    one = bench.scoring.score(whole, answer_of(bench, [12], [row]))
    two = bench.scoring.score(gap, answer_of(bench, [12, 99], [row, row]))
    assert one == two


def test_forecasts_that_are_missing_are_refused(bench: Any) -> None:
    problem = problem_of(bench, [10, 20], [0, 2, 1, 4])
    row = [8.0, 9.0, 13.0, 16.0]
    with pytest.raises(ValueError, match="finite"):
        bench.scoring.score(problem, answer_of(bench, [12, np.nan], [row, row]))
    with pytest.raises(ValueError, match="shape"):
        bench.scoring.score(problem, answer_of(bench, [12], [row]))


def test_naive_repeats_the_last_season_and_widens(bench: Any) -> None:
    problem = problem_of(bench, [0] * 5, [9, 9, 1, 2, 5, 4])
    answer = bench.scoring.naive(problem.task, 2)
    assert answer.point[0, 0].tolist() == [5, 4, 5, 4, 5]
    half = (answer.bounds[0, 0, :, 3] - answer.bounds[0, 0, :, 0]) / 2
    deviation = np.sqrt((8**2 + 7**2 + 4**2 + 2**2) / 4)
    expected = 1.959964 * deviation * np.sqrt([1, 1, 2, 2, 3])
    np.testing.assert_allclose(half, expected, rtol=1e-6)


def test_spread_holds_the_mean_and_vanishes_without_variation(bench: Any) -> None:
    random = np.random.default_rng(1)
    problem = problem_of(bench, [0.0], [0, 2, 1, 4])
    origins = np.full((1, 30), 4)
    many = replace(
        problem, task=replace(problem.task, origins=origins), truth=random.normal(5, 1, (1, 30, 1))
    )
    answer = bench.scoring.Answer(np.zeros((1, 30, 1)), np.zeros((1, 30, 1, 4)))
    low, high = bench.scoring.spread(many, answer)
    assert low < bench.scoring.score(many, answer)["mase"] < high
    same = replace(many, truth=np.full((1, 30, 1), 5.0))
    assert bench.scoring.spread(same, answer) == [2.5, 2.5]


# --- protocols


def test_m4_reads_padded_rows_and_scores_the_official_test_file(bench: Any, tmp_path: Path) -> None:
    past, future = write_m4(tmp_path)
    problem = bench.datasets.m4_hourly(tmp_path)
    assert problem.task.train.tolist() == [100, 105, 110]
    assert problem.task.origins[:, 0].tolist() == [100, 105, 110]
    assert problem.task.values[2].tolist() == past[2].tolist()
    assert problem.truth[1, 0].tolist() == future[1].tolist()
    columns = problem.task.training()
    assert columns["unique_id"].tolist() == ["H1"] * 100 + ["H2"] * 105 + ["H3"] * 110
    assert columns["ds"][:3].tolist() == [1, 2, 3] and columns["ds"][-1] == 110


def test_m4_aborts_where_the_naive_forecast_is_not_the_published_one(
    bench: Any, tmp_path: Path
) -> None:
    write_m4(tmp_path)
    problem = bench.datasets.m4_hourly(tmp_path)
    with pytest.raises(SystemExit, match=r"smape is .*, published 13.912"):
        bench.contest.verify(problem)
    bench.contest.verify(problem.first(2))  # a trial has nothing published to match


def test_exchange_rolls_over_the_last_fifth_and_gives_nothing_of_the_future(
    bench: Any, tmp_path: Path
) -> None:
    table = write_exchange(tmp_path)
    problem = bench.datasets.exchange(tmp_path)
    assert problem.task.origins[0].tolist() == [320, 344, 368]
    assert set(problem.task.train) == {320}
    np.testing.assert_array_equal(problem.truth[3, 1], table[344:368, 3])
    assert {len(v) for v in problem.task.values} == {368}  # up to the last origin
    rows = list(problem.task.histories(10))
    assert len(rows) == 3 and rows[1]["ds"][:10].tolist() == list(range(335, 345))
    np.testing.assert_array_equal(rows[1]["y"][-10:], table[334:344, 7])


def test_pjm_sorts_drops_doubles_fills_gaps_and_keeps_areas_of_the_year(
    bench: Any, tmp_path: Path
) -> None:
    load = write_pjm(tmp_path)
    problem = bench.datasets.pjm(tmp_path)
    task = problem.task
    assert task.ids.tolist() == ["EARLY", "LATE"]  # GONE has no load in 2017
    assert task.starts.tolist() == [np.datetime64(d, "h").item() for d in STARTS]
    assert task.values[0][0] == 100.0  # the first of the doubled hour
    assert len(task.origins[0]) == 61 and np.diff(task.origins[1]).tolist() == [144] * 60
    hours = task.columns(task.origins[:, 5] - 1, task.origins[:, 5])["ds"]
    assert hours.tolist() == [np.datetime64("2017-01-31T00", "us").item()] * 2
    assert not any(np.isnan(v).any() for v in task.values)
    gap = int((np.datetime64("2016-03-13T03") - task.starts[0]).astype(int))
    assert task.values[0][gap] == load[gap - 1] and task.values[0][gap + 1] == load[gap + 1]
    np.testing.assert_array_equal(problem.truth[1, 0], load[8784:8808] + 0.5)


STARTS = ("2016-01-01T01", "2016-02-11T17")


def test_pjm_does_not_score_missing_hours(bench: Any, tmp_path: Path) -> None:
    write_pjm(tmp_path)
    problem = bench.datasets.pjm(tmp_path, every=1)
    assert np.argwhere(np.isnan(problem.truth)).tolist() == [[0, 70, 2], [1, 70, 2]]
    answer = bench.scoring.naive(problem.task, 24)
    # Of the 24 rows of the day after, one was filled and is one lower.
    assert bench.scoring.score(problem, answer)["mae"] == pytest.approx(24 + 1 / 24 / 365)


def test_a_task_survives_its_file(bench: Any, tmp_path: Path) -> None:
    write_pjm(tmp_path)
    task = bench.datasets.pjm(tmp_path).task
    task.save(tmp_path / "task.npz")
    again = bench.datasets.Task.load(tmp_path / "task.npz")
    for name, value in vars(task).items():
        np.testing.assert_equal(getattr(again, name), value)
    assert again.training()["ds"].dtype == "datetime64[us]"


def test_calibration_ends_where_training_ends(bench: Any, tmp_path: Path) -> None:
    write_exchange(tmp_path)
    task = bench.datasets.exchange(tmp_path).task
    earlier = bench.peers.before(task, 3, 48)
    assert earlier.origins[0].tolist() == [200, 248, 296]  # 296 + 24 rows are the training's 320
    assert set(earlier.train) == {200} and earlier.training()["ds"].max() == 200


def test_conformal_errors_are_quantiles_over_origins_either_way(bench: Any) -> None:
    """Past 0 .. 5, two origins: forecasts 1 and 3 too low, so errors -3 -1 1 3."""
    task = problem_of(bench, [0], [0, 1, 2, 3, 4, 5]).task
    task = replace(task, origins=np.array([[3, 5]]))
    found = bench.peers.errors(task, np.array([[[2.0], [2.0]]]))
    np.testing.assert_allclose(found[0, 0], np.quantile([-3, -1, 1, 3], bench.datasets.LEVELS))


# --- results


def test_entries_are_merged_and_only_what_lacks_runs(bench: Any, tmp_path: Path) -> None:
    write_exchange(tmp_path)
    problem, path = bench.datasets.exchange(tmp_path), tmp_path / "results.json"
    results = bench.contest.kept(path, problem)
    names = ["naive", "lstmkit", "AutoETS"]
    assert bench.contest.outstanding(names, results, []) == names
    for name, entry in (("naive", {"scores": {"mase": 1.0}}), ("AutoETS", {"stopped": "late"})):
        bench.contest.merge(results, name, entry, "one")
        bench.contest.write(path, results)
    again = bench.contest.kept(path, problem)
    assert bench.contest.outstanding(names, again, []) == ["lstmkit", "AutoETS"]
    assert bench.contest.outstanding(names, again, ["naive"]) == ["naive"]
    bench.contest.merge(again, "naive", {"scores": {"mase": 2.0}}, "two")
    assert again["models"]["naive"]["scores"] == {"mase": 2.0}
    assert again["models"]["naive"]["command"] == "two" and "date" in again["models"]["naive"]
    assert again["models"]["AutoETS"]["command"] == "one"


def test_results_of_another_protocol_are_not_mixed(bench: Any, tmp_path: Path) -> None:
    write_exchange(tmp_path)
    problem, path = bench.datasets.exchange(tmp_path), tmp_path / "results.json"
    bench.contest.write(path, bench.contest.kept(path, problem.first(2)))
    with pytest.raises(SystemExit, match="another series"):
        bench.contest.kept(path, problem)


def test_a_name_that_is_not_known_ends_with_the_names_that_are(bench: Any) -> None:
    with pytest.raises(SystemExit, match="there are: naive, lstmkit"):
        bench.contest.outstanding(["naive", "lstmkit"], {"models": {}}, ["nhits"])


def test_a_process_that_is_late_is_stopped_with_its_children(bench: Any, tmp_path: Path) -> None:
    mark = tmp_path / "alive"
    script = (
        "import subprocess, sys, time\n"
        "late = f\"import time; time.sleep(1); open({sys.argv[1]!r}, 'w')\"\n"
        "subprocess.Popen([sys.executable, '-c', late]); time.sleep(60)\n"
    )
    found = bench.contest.alone([sys.executable, "-c", script, str(mark)], 0.3 / 60)
    assert found == {"stopped": "after 0.005 min"}
    import time

    time.sleep(1.2)
    assert not mark.exists()


def test_a_process_that_fails_is_recorded_by_its_last_line(bench: Any) -> None:
    found = bench.contest.alone([sys.executable, "-c", "raise ValueError('too short')"], 1)
    assert found == {"failed": "exit code 1: ValueError: too short"}


def test_a_contestant_is_measured(bench: Any, tmp_path: Path) -> None:
    write_exchange(tmp_path)
    task = bench.datasets.exchange(tmp_path).task
    held = []

    class Slow:
        packages, settings = ("numpy",), {"slow": True}

        def load(self) -> None:
            held.append(np.ones(1 << 24))  # 128 MiB

        def fit(self, task: Any) -> None:
            sum(range(3_000_000))

        def predict(self, task: Any) -> Any:
            return bench.scoring.naive(task, 1)

    before = bench.worker.peak_bytes()
    answer, found = bench.worker.measure(Slow(), task)
    assert found["fit_seconds"] > 0.01 and found["settings"] == {"slow": True}
    assert bench.worker.peak_bytes() >= before and found["peak_gigabytes"] > 0.12
    answer.check(task)
    assert bench.worker.versions(("numpy", "no-such-package"))["numpy"] == np.__version__


def entry(mase: float, fit: float = 60.0) -> dict[str, Any]:
    scores = {"smape": 10.0, "mase": mase}
    return {"scores": scores, "fit_seconds": fit, "predict_seconds": 6.0, "peak_gigabytes": 1.25}


def results_of(bench: Any, folder: Path) -> dict[str, Any]:
    write_m4(folder)
    results: dict[str, Any] = bench.contest.kept(None, bench.datasets.m4_hourly(folder))
    found = {
        "lstmkit": entry(0.8),
        "AutoTheta": entry(0.81),
        "seasonal_naive": {"scores": {"smape": 13.9, "mase": 1.2}},
        "AutoETS": {"stopped": "after 15 min"},
    }
    for name, made in found.items():
        bench.contest.merge(results, name, made, "by hand")
    return results


def test_table_ranks_names_the_stopped_and_the_published(bench: Any, tmp_path: Path) -> None:
    lines = bench.contest.table(results_of(bench, tmp_path)).splitlines()
    assert [line.split()[0] for line in lines[1:5]] == [
        "lstmkit", "AutoTheta", "seasonal_naive", "AutoETS",
    ]  # fmt: skip
    assert lines[1].split() == ["lstmkit", "10.000", "0.800", "1.100", "1.250"]
    assert lines[4].endswith("stopped after 15 min")
    assert "ES-RNN, 1st of M4" in lines[-2] and "0.893" in lines[-2]


def test_the_picture_labels_every_contestant_and_names_the_missing(
    bench: Any, tmp_path: Path
) -> None:
    figure = bench.plot.plot(results_of(bench, tmp_path))
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert "lstmkit  0.800, 1.2 GB" in texts and "AutoTheta  0.810, 1.2 GB" in texts
    assert "ES-RNN, 1st of M4 (published)" in texts and "seasonal naive" in texts
    assert "seasonal naive (published)" not in texts
    assert "AutoETS stopped after 15 min" in figure.get_supxlabel()
    assert figure.axes[0].get_xscale() == "log"


def test_labels_that_would_touch_are_moved_apart(bench: Any) -> None:
    points = [(1.0, 0.80, 1.0, "a"), (1.2, 0.81, 1.0, "b"), (900.0, 0.81, 1.0, "c")]
    assert bench.plot.spaced(points, 0.05) == pytest.approx([0.80, 0.85, 0.81])
    assert [bench.plot.crowded(p, points, 0.05) for p in points] == [True, False, False]


# --- the command


def test_options_are_read_as_json_where_they_can_be(bench: Any) -> None:
    found = bench.command.parse_options("size=small, members=3,refit=false")
    assert found == {"size": "small", "members": 3, "refit": False}
    with pytest.raises(SystemExit, match="K=V"):
        bench.command.parse_options("size")


def test_only_takes_several_names_or_one_that_holds_a_comma(bench: Any) -> None:
    names = ["naive", "lstmkit, 3 members"]
    assert bench.command.chosen("lstmkit, 3 members", names) == ["lstmkit, 3 members"]
    assert bench.command.chosen("naive, AutoETS", names) == ["naive", "AutoETS"]
    assert bench.command.chosen("", names) == []


def test_a_trial_of_the_naive_forecast_from_the_command(
    bench: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_exchange(tmp_path)
    path = tmp_path / "found.json"
    arguments = [str(tmp_path), "--dataset", "exchange", "--series", "2", "--only", "naive"]
    bench.command.main([*arguments, "-o", str(path)])
    out = capsys.readouterr().out
    assert "a trial on the first 2 series, not a result" in out and "naive" in out
    found = json.loads(path.read_text())
    assert found["series"] == 2 and found["models"]["naive"]["scores"]["mase"] > 0
    assert found["models"]["naive"]["command"] == (
        "python benchmarks/accuracy/forecast.py FOLDER --dataset exchange --series 2 --only naive "
        "-o FILE"
    )
    assert str(tmp_path) not in path.read_text()


def test_a_trial_writes_nothing_beside_the_results(bench: Any) -> None:
    trial = bench.command.parser().parse_args(["x", "--dataset", "pjm", "--series", "2"])
    whole = bench.command.parser().parse_args(["x", "--dataset", "pjm"])
    assert bench.command.destination(trial) is None
    assert bench.command.destination(whole).name == "forecast_pjm.json"
