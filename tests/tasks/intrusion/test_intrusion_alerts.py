"""Which flows become alerts, when they are told, and what they say."""

from __future__ import annotations

import json

import numpy as np
import office
import pytest

from lstmkit.readers.flows import Flows, flows
from lstmkit.tasks.intrusion import alerts
from lstmkit.tasks.intrusion.alerts import Alerter, Rule
from lstmkit.tasks.intrusion.watch import Judged

CLASSES = ("benign", "scan", "beacon")
RULE = Rule(3.0, CLASSES, "zeek", gap=600.0)


def made(times: list[float], hosts: list[str] | None = None) -> Flows:
    n = len(times)
    return flows(
        "zeek", n, time=times, src=hosts or ["10.0.0.1"] * n, dst=["10.0.0.9"] * n,
        dport=np.arange(n) + 1, proto=["tcp"] * n, state=["S0"] * n,
        record=[f"C{k}" for k in range(n)],
    )  # fmt: skip


def judged(scores: list[float], classes: tuple[float, ...] = (0.1, 0.8, 0.1)) -> Judged:
    n = len(scores)
    each = np.stack([np.array(scores), np.zeros(n), np.zeros(n)], 1)
    given = np.tile(classes, (n, 1))
    empty = np.zeros((n, 4))
    return Judged(np.array(scores), each, each, given, empty, empty.astype(int), empty)


def told(times: list[float], scores: list[float], hosts: list[str] | None = None) -> list[dict]:
    return Alerter(RULE).add(made(times, hosts), judged(scores))


def test_a_host_is_told_once_until_it_was_quiet() -> None:
    found = told([0, 10, 20, 500, 1000, 1600, 2300], [4, 4, 1, 4, 4, 1, 4])
    assert [(a["id"], a["state"], a["record"]) for a in found] == [
        (1, "begun", "C0"),
        (2, "begun", "C6"),
    ]


def test_it_is_told_again_each_time_that_it_is_graver() -> None:
    found = told([0, 1, 2, 3, 4, 5], [3, 4, 4.5, 5, 3, 9])
    assert [(a["state"], a["severity"]) for a in found] == [
        ("begun", "low"),
        ("worse", "medium"),
        ("worse", "high"),
        ("worse", "critical"),
    ]
    assert [a["flows"] for a in found] == [1, 2, 4, 6]
    assert {a["begun"] for a in found} == {"1970-01-01T00:00:00.000000Z"}


def test_below_the_level_nothing_is_told_and_at_it_something() -> None:
    assert not told([0], [2.999])
    assert told([0], [3.0])


def test_hosts_are_told_apart() -> None:
    found = told([0, 1, 2], [4, 4, 4], ["a", "b", "a"])
    assert [a["host"] for a in found] == ["a", "b"]


def test_flows_that_led_to_it_are_shown() -> None:
    found = told([float(k) for k in range(15)], [2.0 + 0.01 * k for k in range(14)] + [4.0])
    earlier = found[0]["earlier"]
    assert len(earlier) == alerts.EARLIER
    assert [e["record"] for e in earlier] == [f"C{k}" for k in range(6, 14)]
    assert "14 " in found[0]["reasons"][0] or "15 " in found[0]["reasons"][0]


def test_what_is_told_does_not_depend_on_the_pieces() -> None:
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.exponential(60, 300)).tolist()
    scores = rng.gamma(2, 0.8, 300).tolist()
    hosts = [f"h{k}" for k in rng.integers(0, 5, 300)]
    flows_, whole = made(times, hosts), judged(scores)
    once = Alerter(RULE).add(flows_, whole)
    cut, pieces = Alerter(RULE), []
    for k in range(0, 300, 7):
        rows = slice(k, k + 7)
        part = Judged(*(column[rows] for column in whole))
        pieces += cut.add(flows_.take(rows), part)
        state = cut.save()
        cut = Alerter(RULE)
        cut.restore(state)
    assert len(once) > 10
    assert pieces == once


def test_suspects_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "SUSPECTS", 3)
    alerter = Alerter(RULE)
    for k in range(50):
        alerter.add(made([float(k)], [f"h{k}"]), judged([5.0]))
    assert len(alerter._open) == 3
    assert len(alerter._past) == 3
    assert alerter.number == 50


@pytest.mark.parametrize(
    ("classes", "each", "expected"),
    [
        ((0.1, 0.8, 0.1), (5, 1, 1), "scan"),
        ((0.1, 0.1, 0.8), (5, 1, 1), "beacon"),
        ((0.2, 0.4, 0.4), (5, 1, 1), "scan"),
        ((0.9, 0.08, 0.02), (1, 5, 1), "unusual"),
        ((0.2, 0.7, 0.1), (1, 5, 1), "scan"),
        ((0.6, 0.3, 0.1), (3.2, 4, 1), "scan"),  # the score is by the attack: 3.2, not 4 - 1
    ],
)
def test_what_it_is_called(classes: tuple, each: tuple, expected: str) -> None:
    one = judged([5.0], classes)._replace(each=np.array([each], float))
    assert Alerter(RULE).class_of(one, 0) == expected


def test_an_unsure_class_is_called_by_no_name() -> None:
    rule = RULE._replace(classes=("benign", "a", "b", "c", "d"), named="unknown")
    one = judged([5.0], (0.0, 0.3, 0.3, 0.2, 0.2))
    assert Alerter(rule).class_of(one, 0) == "unknown"


def test_alerts_are_json_and_hold_the_flow() -> None:
    found = Alerter(RULE).add(office.scan().take(slice(0, 1)), judged([9.0]))[0]
    again = json.loads(json.dumps(found, allow_nan=False))
    assert again["flow"]["dport"] == 13
    assert again["flow"]["duration"] is None
    assert "label" not in again["flow"]
    assert again["record"] == "Cscan0"


def test_every_alert_has_a_reason() -> None:
    for measure, said in ((0, "of all attacks"), (1, "sizes or its timing"), (2, "last flows")):
        one = judged([5.0], (0.99, 0.006, 0.004))
        each = np.zeros((1, 3))
        each[0, measure] = 5.0
        found = Alerter(RULE).add(made([0.0]), one._replace(each=each))
        assert said in found[0]["reasons"][-1]
        assert "one normal flow in 100,000" in found[0]["reasons"][-1]


def test_flows_without_time_or_host_are_alerts_of_their_own() -> None:
    single = flows("nsl-kdd", 3, {"count": [1, 2, 3]})
    found = Alerter(RULE).add(single, judged([4.0, 1.0, 5.0]))
    assert [a["id"] for a in found] == [1, 2]
    assert found[0]["time"] == ""
