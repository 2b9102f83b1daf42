"""The detector as its users have it: what it finds, whichever way the rows come."""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from anomaly_table import EVENTS, LEARNT, ROWS

from lstmkit import runtime
from lstmkit.errors import UserError
from lstmkit.tasks.anomaly.data import Part, run
from lstmkit.tasks.anomaly.estimator import AnomalyDetector
from lstmkit.tasks.anomaly.evaluating import memoryless
from lstmkit.tasks.anomaly.features import inputs
from lstmkit.tasks.estimator import load


def scores(frame: pl.DataFrame) -> np.ndarray:
    return frame["score"].to_numpy()


def test_anomalies_are_found_and_their_channels_named(
    detector: AnomalyDetector, table: pl.DataFrame
) -> None:
    alerts = detector.predict(table)
    assert alerts.columns == [
        *("start", "end", "severity", "score", "level", "channels", "reasons", "rows", "open")
    ]
    new = alerts.filter(pl.col("start") >= table["when"][LEARNT])
    assert len(new) <= 8
    for first, last, channel in EVENTS:
        hit = new.filter(
            (pl.col("start") <= table["when"][last]) & (pl.col("end") >= table["when"][first])
        )
        assert len(hit) >= 1, channel
        row = hit.row(0, named=True)
        assert channel in row["channels"].split("; ")[:2], row
        assert row["severity"] in ("major", "critical") and channel in row["reasons"]
        begin = int(row["rows"].split("-")[0])
        assert first - 60 < begin <= last + 1


def test_scores_are_calibrated_on_rows_not_learnt_from(
    detector: AnomalyDetector, table: pl.DataFrame
) -> None:
    found = scores(detector.predict_scores(table))
    normal, bad = found[LEARNT:1200], found[1203:1218]
    assert 0.02 < (normal > 1).mean() < 0.35 and (normal > 4).mean() < 0.02
    assert (bad > 4).all()


def test_parts_add_up_to_the_score(detector: AnomalyDetector, table: pl.DataFrame) -> None:
    frame = detector.predict_scores(table)
    total = frame.select("load", "mem", "lat", "still").to_numpy().sum(1)
    np.testing.assert_allclose(total, scores(frame), atol=1e-9)
    assert np.isnan(total[:30]).all() and not np.isnan(total[30:]).any()  # warming up


@pytest.mark.parametrize("adapt", [False, True])
def test_a_stream_says_what_the_whole_table_does(
    detector: AnomalyDetector, table: pl.DataFrame, adapt: bool
) -> None:
    whole = detector.predict_scores(table, adapt=adapt)
    stream = detector.stream(adapt=adapt)
    answers = [
        stream.step({k: str(v) for k, v in row.items()}) for row in table.iter_rows(named=True)
    ]
    np.testing.assert_array_equal(said(answers), scores(whole))
    assert [a["alarm"] for a in answers] == whole["alarm"].to_list()
    begun = [a["when"] for a in answers if a["alert"] and a["alert"]["state"] == "begun"]
    told = detector.predict(table, adapt=adapt)["start"]
    assert begun == [str(t).replace(" ", "T") for t in told]
    flat = stream.flat(answers[-1])
    assert set(flat) == set(stream.flat(answers[0])) and flat["when"] == answers[-1]["when"]


def test_missing_rows_and_cells_are_the_same_in_a_stream_and_a_table(
    detector: AnomalyDetector, table: pl.DataFrame
) -> None:
    holes = table.with_columns(
        pl.when(pl.int_range(pl.len()) % 7 == 3).then(None).otherwise(pl.col("mem")).alias("mem")
    )
    holes = pl.concat([holes[:700], holes[800:]])  # a stop of a day
    whole = detector.predict_scores(holes)
    assert whole["when"].equals(holes["when"])  # steps without a row have no line
    stream = detector.stream()
    answers = [stream.step(dict(row)) for row in _texts(holes)]
    np.testing.assert_array_equal(said(answers), scores(whole))


def said(answers: list[dict[str, Any]]) -> np.ndarray:
    return np.array([a["score"] for a in answers], float)


def _texts(frame: pl.DataFrame) -> list[dict[str, str]]:
    return [
        {k: "" if v is None else str(v) for k, v in row.items()}
        for row in frame.iter_rows(named=True)
    ]


@pytest.mark.parametrize("cuts", [(1205,), (400, 1190, 1206, 1207, 1360, 1599)])
def test_a_growing_file_tells_each_alert_once(
    detector: AnomalyDetector, table: pl.DataFrame, tmp_path: Path, cuts: tuple[int, ...]
) -> None:
    whole = detector.predict(table)
    state, told = tmp_path / "watch.state", []
    for stop in (*cuts, ROWS, ROWS):
        told.append(detector.predict(table[:stop], state=state))
    assert len(told[-1]) == 0
    found = pl.concat(told)
    assert found["start"].to_list() == whole["start"].to_list()
    assert [r.split("-")[0] for r in found["rows"]] == [r.split("-")[0] for r in whole["rows"]]
    last = detector.predict_scores(table)
    assert scores(last)[-1] == pytest.approx(scores(last)[-1])


def test_a_state_of_other_options_is_refused(
    detector: AnomalyDetector, table: pl.DataFrame, tmp_path: Path
) -> None:
    state = tmp_path / "watch.state"
    detector.predict(table, state=state)
    with pytest.raises(UserError, match="other options"):
        detector.predict(table, state=state, alerts_per_day=2.0)


def test_saved_and_loaded_it_is_the_same(
    detector: AnomalyDetector, table: pl.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "watch.safetensors"
    detector.save(path)
    again = load(path)
    assert again.predict_scores(table).equals(detector.predict_scores(table))
    assert again.predict(table).equals(detector.predict(table))
    assert again.report_.to_dict() == detector.report_.to_dict()
    assert again.get_params() == detector.get_params()


def test_evaluate_scores_what_was_not_learnt_beside_baselines(
    detector: AnomalyDetector, table: pl.DataFrame
) -> None:
    report = detector.evaluate(table, label="bad")
    assert report.data["rows"] == ROWS - LEARNT and report.data["anomalous_rows"] == 64
    assert set(report.baselines) == {"random", "moving_z_score", "pca", "isolation_forest"}
    assert report.metrics["vus_pr"] > 0.6 > report.baselines["random"]["vus_pr"]
    assert report.metrics["event_recall"] == 1.0
    assert report.memory_worth is not None and set(report.memory_worth) <= set(report.metrics)
    assert list(report.metrics)[-1] == "inflated_f1"


@pytest.mark.parametrize(
    ("data", "label", "said"),
    [
        (slice(0, ROWS), None, "nothing to score"),
        (slice(0, LEARNT), "bad", "in-sample"),
        (slice(0, 1190), "bad", "no row is labelled"),
    ],
)
def test_what_cannot_be_evaluated(
    table: pl.DataFrame, detector: AnomalyDetector, data: slice, label: str | None, said: str
) -> None:
    asked = copy(detector).set_params(label=None)
    with pytest.raises(UserError, match=said):
        asked.evaluate(table[data], label=label)


def test_labels_may_be_an_array_but_of_the_same_length(
    detector: AnomalyDetector, table: pl.DataFrame
) -> None:
    given = detector.evaluate(table, label=table["bad"].to_numpy())
    assert given.metrics == detector.evaluate(table, label="bad").metrics
    with pytest.raises(UserError, match="different lengths"):
        detector.evaluate(table, label=table["bad"].to_numpy()[:-1])


def test_a_channel_that_is_gone_is_named(detector: AnomalyDetector, table: pl.DataFrame) -> None:
    with pytest.raises(UserError, match="mem"):
        detector.predict(table.rename({"mem": "memory"}))
    stream = detector.stream()
    with pytest.raises(UserError, match="mem"):
        stream.step({"when": "2024-01-01", "load": "1", "lat": "2", "still": "7"})


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["2024-01-01 00:15", "2024-01-01 00:00"], "does not follow"),
        (["2024-01-01 00:15", "2024-01-01 00:15"], "does not follow"),
        (["2024-01-01 00:15", "2024-01-01 00:20"], "does not follow"),
        (["yesterday"], "no time"),
    ],
)
def test_clocks_that_go_back_are_refused_and_change_nothing(
    detector: AnomalyDetector, rows: list[str], said: str
) -> None:
    stream = detector.stream()
    row = {"load": "50", "mem": "55", "lat": "10", "still": "7"}
    for time in rows[:-1]:
        stream.step({"when": time, **row})
    before = stream.save()
    with pytest.raises(UserError, match=said):
        stream.step({"when": rows[-1], **row})
    after = stream.save()
    assert all(np.array_equal(before[k], after[k]) for k in before) and set(before) == set(after)


def test_a_still_channel_alarms_when_it_moves_and_never_before(
    detector: AnomalyDetector, table: pl.DataFrame
) -> None:
    normal = detector.predict_scores(table[:1190])["still"].to_numpy()
    assert np.nanmax(normal) < 0.5
    moved = table[:1190].with_columns(
        pl.when(pl.int_range(pl.len()) > 1150).then(8.0).otherwise(pl.col("still")).alias("still")
    )
    alerts = detector.predict(moved)
    assert alerts.row(-1, named=True)["channels"].startswith("still")


def test_large_numbers_keep_their_small_changes(table: pl.DataFrame) -> None:
    far = table.with_columns(pl.col("load", "mem", "lat") + 1e9)
    made = [
        AnomalyDetector(label="bad", size="tiny", epochs=1).fit(t[:LEARNT]).predict_scores(t)
        for t in (table, far)
    ]
    np.testing.assert_allclose(scores(made[0]), scores(made[1]), atol=0.15)


def test_the_same_seed_makes_the_same_detector(table: pl.DataFrame) -> None:
    made = [
        AnomalyDetector(label="bad", size="tiny", epochs=1, seed=3).fit(table[:400]).program_
        for _ in range(2)
    ]
    assert made[0].fingerprint() == made[1].fingerprint()


@pytest.mark.parametrize("threshold", ["evt", "dynamic", "conformal"])
def test_every_threshold_finds_the_anomalies(
    detector: AnomalyDetector, table: pl.DataFrame, threshold: str
) -> None:
    starts = copy(detector).set_params(threshold=threshold).predict(table)["start"]
    assert any(table["when"][1195] <= t <= table["when"][1220] for t in starts)


@pytest.mark.parametrize(
    "given", [{"risk": 1.0}, {"alerts_per_day": 0}, {"threshold": "guess"}, {"season": -1}]
)
def test_impossible_options(table: pl.DataFrame, given: dict[str, object]) -> None:
    with pytest.raises(UserError):
        AnomalyDetector(**given).fit(table[:200])  # type: ignore[arg-type]


def test_too_few_rows(table: pl.DataFrame) -> None:
    with pytest.raises(UserError, match="long enough"):
        AnomalyDetector(label="bad").fit(table[:40])


def test_pictures_trace_and_lower_precision(
    detector: AnomalyDetector, table: pl.DataFrame, tmp_path: Path
) -> None:
    detector.write_plot(table, tmp_path / "alerts.html")
    assert "lat" in (tmp_path / "alerts.html").read_text()
    trace = detector.trace(table)
    assert trace.layers[0]["cell"].shape == (512, 1, 32) and "forget" in trace._repr_html_()
    low = detector.lowered("bfloat16")
    difference = scores(low.predict_scores(table)) - scores(detector.predict_scores(table))
    assert 0 < np.nanmean(np.abs(difference)) < 0.2


def test_without_memory_nothing_is_heard_of_the_state(
    detector: AnomalyDetector, table: pl.DataFrame
) -> None:
    """The program scored for memory's worth is the one whose LSTM forgets after each row."""
    one = detector.read(table).series[0]
    part = Part(one.values[:300], one.time[:300], 1)
    given = inputs(detector.shape_, part.values, part.time, 1)
    session = runtime.load(detector.program_).session()
    found, model = [], session.model
    for t in range(300):
        state = {k: v[None] for k, v in session.state.items()}
        for name in state:
            if name.startswith("lstm."):
                state[name] = np.zeros_like(state[name])
        row = {k: v[t : t + 1] for k, v in given.items()}
        out, after = model.run("step", row, state)
        session._core.set(model.flat(after, 1)[0].tobytes())
        found.append(out["distances"][0])
    forgetful = run(memoryless(detector.program_), detector.shape_, part)["distances"]
    np.testing.assert_allclose(forgetful, found, atol=1e-4)
    assert not np.allclose(run(detector.program_, detector.shape_, part)["distances"], found)


def test_the_probe_is_what_inspection_takes(detector: AnomalyDetector, table: pl.DataFrame) -> None:
    from lstmkit.inspection.examine import inspect

    found = inspect(detector.probe(table), method="none")
    assert found.horizon.sentence and found.recording is not None
