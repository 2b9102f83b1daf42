"""IntrusionDetector: from flows to alerts, reports, files and streams."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import office
import pytest
from sklearn.base import clone

import lstmkit
from lstmkit.errors import UserError
from lstmkit.readers.flows import Flows, flows, joined, pieces
from lstmkit.tasks.intrusion.estimator import IntrusionDetector


@pytest.fixture(scope="module")
def labelled(quick: object) -> IntrusionDetector:
    """Trained on two days with scans, by their labels."""
    days = [office.attacked(3), office.attacked(4, office.START + 2 * 86400)]
    made = IntrusionDetector(home_net=office.HOME, size="tiny", supervised=True)
    return made.fit(joined(days))


def test_an_attack_is_told_with_its_reason_and_record(detector: IntrusionDetector) -> None:
    found = detector.predict(office.attacked())
    scans = [row for row in found.rows(named=True) if row["host"] == "10.0.1.3"]
    assert scans
    assert scans[0]["record"].startswith("Cscan")
    assert "service that comes once in" in scans[0]["reasons"]
    assert len(found) < 12


def test_streams_tell_what_tables_tell(detector: IntrusionDetector) -> None:
    found = office.attacked()
    told = detector.predict(found, alerts_as="json")
    stream = detector.stream()
    from lstmkit.tasks.intrusion.records import json_line

    lines = [json_line(a) for part in pieces(found, 13) for a in stream.feed(part)]
    assert lines == told


def test_a_flow_at_a_time_is_judged_alike(detector: IntrusionDetector) -> None:
    found = office.attacked().take(slice(0, 60))
    stream = detector.stream()
    answers = list(stream.run([found.row(k) for k in range(60)]))
    np.testing.assert_array_equal([a["score"] for a in answers], detector.score(found))
    assert list(stream.flat(answers[0])) == [
        "time", "host", "score", "class", "alert", "severity", "reasons",
    ]  # fmt: skip


def test_a_stream_goes_on_from_its_state(detector: IntrusionDetector, tmp_path: Path) -> None:
    found = office.attacked()
    whole = detector.stream()
    expected = whole.feed(found.take(slice(0, 400))) + whole.feed(found.take(slice(400, None)))
    first = detector.stream()
    told = first.feed(found.take(slice(0, 400)))
    first.place = {"offset": 7}
    first.write_state(tmp_path / "s")
    second = detector.stream()
    second.read_state(tmp_path / "s")
    told += second.feed(found.take(slice(400, None)))
    assert told == expected
    assert (second.read, second.told) == (whole.read, whole.told)
    assert second.place == {"offset": 7}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"src": "10.0.0.1", "dst": "10.0.0.2"}, "no time"),
        ({"src": "10.0.0.1", "dst": "10.0.0.2", "time": "noon"}, "no number"),
        ({"src": "10.0.0.1", "dst": "10.0.0.2", "time": 1e9, "dport": 70000}, "no port"),
        ({"src": "10.0.0.1", "dst": "10.0.0.2", "time": float("inf")}, "not finite"),
    ],
)
def test_flows_that_cannot_be_change_nothing(
    detector: IntrusionDetector, row: dict, message: str
) -> None:
    stream = detector.stream()
    before = stream.save()
    with pytest.raises(UserError, match=message):
        stream.step(row)
    after = stream.save()
    assert all(
        np.array_equal(before[k], after[k], equal_nan=before[k].dtype.kind == "f") for k in before
    )


def test_saved_and_loaded_it_says_the_same(detector: IntrusionDetector, tmp_path: Path) -> None:
    detector.save(tmp_path / "m.safetensors")
    loaded = lstmkit.load(tmp_path / "m.safetensors")
    found = office.attacked()
    np.testing.assert_array_equal(loaded.score(found), detector.score(found))
    assert loaded.predict(found, alerts_as="json") == detector.predict(found, alerts_as="json")
    assert str(loaded.report_) == str(detector.report_)
    assert loaded.get_params() == detector.get_params() | {"home_net": [office.HOME]}
    assert clone(detector).get_params() == detector.get_params()


def test_the_same_seed_gives_the_same_model(quick: object) -> None:
    def made() -> np.ndarray:
        model = IntrusionDetector(home_net=office.HOME, size="tiny", epochs=1, seed=3)
        return model.fit(office.day(hosts=4)).score(office.attacked())

    np.testing.assert_array_equal(made(), made())


def test_a_report_stands_beside_baselines(detector: IntrusionDetector) -> None:
    report = detector.evaluate(office.attacked())
    assert report.metrics["auc_pr_flow"] > 0.8
    assert report.metrics["auc_pr_flow"] > report.baselines["random"]["auc_pr_flow"]
    assert report.memory_worth is not None
    assert report.data["attacks"] == 40
    assert report.best("auc_pr_flow") == "model"


def test_traffic_of_the_training_is_not_scored(detector: IntrusionDetector) -> None:
    seen = joined([office.day(), office.scan()])
    with pytest.raises(UserError, match="in-sample"):
        detector.evaluate(office.by_arrival(seen))


def test_a_random_split_is_refused(quick: object) -> None:
    both = office.attacked(7)
    half = np.random.default_rng(0).random(len(both)) < 0.5
    model = IntrusionDetector(home_net=office.HOME, size="tiny", epochs=1).fit(both.take(half))
    with pytest.raises(UserError, match="random split"):
        model.evaluate(both.take(~half))


def test_labels_are_needed_to_score(detector: IntrusionDetector) -> None:
    found = office.day(9, start=office.START + 5 * 86400)
    with pytest.raises(UserError, match="every labelled flow is benign"):
        detector.evaluate(found)
    silent = Flows("zeek", {**found.columns, "label": np.full(len(found), "", object)})
    with pytest.raises(UserError, match="no labels"):
        detector.evaluate(silent)


def test_labelled_attacks_are_learnt_by_name(labelled: IntrusionDetector) -> None:
    assert labelled.classes_ == ("benign", "scan", "unknown")
    found = office.attacked(8, office.START + 9 * 86400)
    told = labelled.predict(found)
    assert "scan" in set(told["class"])
    report = labelled.evaluate(found)
    assert report.metrics["auc_pr_flow"] > 0.95
    assert 0 <= report.metrics["macro_f1"] <= 1


def test_an_attack_that_was_never_trained_is_scored_apart(labelled: IntrusionDetector) -> None:
    found = office.attacked(8, office.START + 9 * 86400)
    label = found["label"].copy()
    label[label == "scan"] = "sweep"
    report = labelled.evaluate(Flows("zeek", {**found.columns, "label": label}))
    assert "recall_never_trained" in report.metrics


def test_another_source_of_flows_is_read_and_records_are_refused(
    detector: IntrusionDetector,
) -> None:
    found = office.attacked()
    packets = Flows("pcap", found.columns)
    np.testing.assert_array_equal(detector.score(packets), detector.score(found))
    with pytest.raises(UserError, match="lack the features"):
        detector.score(flows("nsl-kdd", 1, {"count": [1]}))


def test_more_alerts_a_day_are_a_lower_level(detector: IntrusionDetector) -> None:
    levels = [detector.level(n) for n in (0.5, 3, 50)]
    assert levels == sorted(levels, reverse=True)
    few = detector.predict(office.attacked(), alerts_per_day=0.01)
    many = detector.predict(office.attacked(), alerts_per_day=100)
    assert len(few) <= len(many)


def test_suppressed_alerts_are_counted_and_not_told(
    detector: IntrusionDetector, tmp_path: Path
) -> None:
    rules = tmp_path / "rules"
    rules.write_text("host=10.0.1.3\n")
    found = office.attacked()
    stream = detector.stream(suppress=rules)
    told = stream.feed(found)
    assert "10.0.1.3" not in {a["host"] for a in told}
    assert stream.suppressed > 0
    assert [a["told"] for a in told] == list(range(1, len(told) + 1))


def test_scores_of_all_flows_are_written(detector: IntrusionDetector, tmp_path: Path) -> None:
    found = office.attacked()
    detector.predict(found, scores=tmp_path / "s.csv")
    lines = (tmp_path / "s.csv").read_text().splitlines()
    assert len(lines) == len(found) + 1
    assert lines[0].startswith("time,src,sport,dst")
    assert not list(tmp_path.glob("*.part"))


def test_training_goes_on_from_another_model(
    detector: IntrusionDetector, tmp_path: Path, quick: object
) -> None:
    detector.save(tmp_path / "m.safetensors")
    more = IntrusionDetector(home_net=office.HOME, size="tiny", epochs=1)
    more.fit(office.day(5, start=office.START + 86400), warm_start=tmp_path / "m.safetensors")
    assert more.history_.train_loss[0] < detector.history_.train_loss[0]
    other = IntrusionDetector(home_net=office.HOME, size="tiny", supervised=True)
    with pytest.raises(UserError, match="other classes"):
        other.fit(office.attacked(), warm_start=tmp_path / "m.safetensors")


def test_records_are_learnt_one_by_one(quick: object) -> None:
    rng = np.random.default_rng(0)
    label = rng.choice(["benign", "neptune"], 800)
    extra = {"flag": np.where(label == "benign", "SF", "S0"), "count": rng.integers(0, 99, 800)}
    made = flows("nsl-kdd", 800, extra, label=label)
    model = IntrusionDetector(size="tiny", supervised=True, epochs=2, risk=0.02).fit(made)
    test = made.take(slice(0, 300))
    columns = {**test.columns}
    fresh = {**test.extra, "count": test.extra["count"] + 0.5}
    report = model.evaluate(Flows("nsl-kdd", columns, fresh))
    assert report.metrics["recall"] > 0.9
    assert report.metrics["false_positive_rate"] < 0.2
    assert any("no sequence" in note for note in report.notes)
    with pytest.raises(UserError, match="single records"):
        IntrusionDetector(size="tiny").fit(made)


@pytest.mark.parametrize(
    ("options", "data", "message"),
    [
        ({"size": "huge"}, "day", "size cannot be"),
        ({"risk": 2.0}, "day", "share"),
        ({"home_net": "10.0.0/8x"}, "day", "no network"),
        ({"supervised": True}, "day", "no labelled attacks"),
        ({}, "little", "too few normal flows"),
        ({}, 17, "no flows"),
    ],
)
def test_what_cannot_be_learnt_is_refused(options: dict, data: object, message: str) -> None:
    given = {"day": office.day(), "little": office.day(hosts=1).take(slice(0, 20))}
    with pytest.raises(UserError, match=message):
        IntrusionDetector(**{"size": "tiny", **options}).fit(given.get(data, data))


def test_gates_can_be_watched(detector: IntrusionDetector) -> None:
    trace = detector.trace(office.attacked(), hosts=2)
    assert len(trace.ids) == 2
    gates = trace.layers[0]["forget_gate"]
    assert gates.shape[1:] == (2, 12)
    assert ((gates >= 0) & (gates <= 1)).all()
    assert "<table" in trace._repr_html_()
    for host in (0, 1):
        assert trace.plot(host).axes


def test_inspection_finds_what_the_answer_rests_on(detector: IntrusionDetector) -> None:
    probe = detector.probe(office.attacked(), samples=2)
    assert len(probe.samples) == 2
    with pytest.raises(UserError, match="no busy host"):
        detector.probe(office.attacked(), only=["1.2.3.4"])
