"""Scores of detectors against plain counting."""

from __future__ import annotations

import numpy as np
import office
import pytest

from lstmkit.errors import UserError
from lstmkit.readers.flows import Flows
from lstmkit.tasks.intrusion import metrics
from lstmkit.tasks.intrusion.levels import DAY


@pytest.fixture(scope="module")
def found() -> Flows:
    return office.attacked()


def masks(found: Flows) -> dict[str, np.ndarray]:
    attack = found["label"] == "scan"
    return {"attack": attack, "known": np.ones(len(found), bool)}


def test_a_perfect_score_is_perfect(found: Flows) -> None:
    said = metrics.measures((found["label"] == "scan") * 1.0, found, **masks(found))
    ones = [v for name, v in said.items() if name.startswith(("auc", "recall"))]
    assert ones == [1.0] * len(ones)
    assert said["fpr_at_0.99"] == 0


def test_recall_at_alerts_is_what_counting_says(found: Flows) -> None:
    rng = np.random.default_rng(0)
    mask = masks(found)
    score = rng.normal(size=len(found)) + 1.5 * mask["attack"]
    said = metrics.measures(score, found, gap=600.0, **mask)
    days = np.ptp(found["time"]) / DAY
    best = 0.0
    for level in np.unique(score):
        alarming = (score > level) & ~mask["attack"]
        alerts = 0
        for host in set(found["src"][alarming]):
            times = np.sort(found["time"][alarming & (found["src"] == host)])
            alerts += 1 + int((np.diff(times) > 600).sum())
        if alerts <= 5 * days:
            best = max(best, float((score[mask["attack"]] > level).mean()))
    assert said["recall_flow_at_5"] <= best + 1e-12  # peaks of fixed stretches are the stricter
    assert said["recall_flow_at_5"] >= said["recall_flow_at_5_alarms"]
    assert said["recall_flow_at_5"] >= said["recall_flow_at_1"]


def test_strict_alarms_are_single_flows(found: Flows) -> None:
    rng = np.random.default_rng(1)
    mask = masks(found)
    score = rng.normal(size=len(found)) + 2 * mask["attack"]
    said = metrics.measures(score, found, **mask)
    allowed = int(5 * np.ptp(found["time"]) / DAY)
    level = np.sort(score[~mask["attack"]])[::-1][allowed]
    assert said["recall_flow_at_5_alarms"] == float((score[mask["attack"]] > level).mean())


def test_ties_with_benign_flows_are_missed(found: Flows) -> None:
    said = metrics.measures(np.ones(len(found)), found, **masks(found))
    assert said["recall_host_at_5_alarms"] == 0
    assert said["fpr_at_0.5"] == 1


def test_hosts_have_their_highest_score() -> None:
    host = np.array(["a", "b", "a", "c"], object)
    attack = np.array([False, True, False, False])
    known = np.array([True, True, True, False])
    top, bad = metrics.hosts(np.array([1.0, 2, 3, 4]), host, attack, known)
    assert top.tolist() == [3, 2]
    assert bad.tolist() == [False, True]


def test_false_positives_at_a_recall() -> None:
    attacks, benign = np.array([4.0, 3, 2, 1]), np.array([3.5, 2.5, 0, 0])
    assert metrics.fpr_at(attacks, benign, 0.5) == 0.25
    assert metrics.fpr_at(attacks, benign, 0.75) == 0.5


def test_attacks_that_were_never_trained_are_told_apart(found: Flows) -> None:
    score = (found["label"] == "scan") * 1.0
    said = metrics.measures(score, found, trained=["beacon"], **masks(found))
    assert said["recall_never_trained"] == 1
    known = metrics.measures(score, found, trained=["scan"], **masks(found))
    assert "recall_never_trained" not in known


def test_what_cannot_be_scored_is_refused(found: Flows) -> None:
    mask = masks(found)
    with pytest.raises(UserError, match="not a number"):
        metrics.measures(np.full(len(found), np.nan), found, **mask)
    with pytest.raises(UserError, match="nothing to tell apart"):
        metrics.measures(
            np.zeros(len(found)), found, attack=mask["known"] & False, known=mask["known"]
        )
