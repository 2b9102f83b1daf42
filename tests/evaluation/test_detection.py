"""Measures of detectors: against TSB-AD's numbers, NAB's rules, and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from lstmkit.errors import UserError
from lstmkit.evaluation.detection import measures, nab
from lstmkit.evaluation.detection.events import found_events, inflated_f1, range_f1
from lstmkit.evaluation.detection.volume import events_of, volume


def case(rows: int, rounded: bool) -> tuple[np.ndarray, np.ndarray]:
    """Scores and labels that any language can make: no random generator."""
    t = np.arange(rows)
    labels = ((t % 97) < 9) | ((t > 200) & (t < 230))
    scores = (t * 7919 % 1009) / 1009 + 0.4 * labels
    return (np.round(scores, 1) if rounded else scores), labels.astype(float)


@pytest.mark.parametrize(
    ("rows", "rounded", "window", "pr", "roc"),
    [
        # TSB-AD 1.5: generate_curve(labels.astype(int), scores, window, "opt", 250)[7], [6]
        (400, False, 10, 0.656671002436, 0.839225224511),
        (400, True, 7, 0.616377384371, 0.829645348284),
        (1000, False, 25, 0.651832459250, 0.881398093815),
        (300, True, 0, 0.631181797215, 0.815785948697),
    ],
)
def test_volumes_are_those_of_the_authors_benchmark(
    rows: int, rounded: bool, window: int, pr: float, roc: float
) -> None:
    found = volume(*case(rows, rounded), window)
    assert found.pr == pytest.approx(pr, abs=1e-9)
    assert found.roc == pytest.approx(roc, abs=1e-9)


def test_a_perfect_score_and_a_useless_one() -> None:
    _, labels = case(600, False)
    perfect = measures(labels, labels, window=0)
    assert all(v == pytest.approx(1, abs=0.01) for v in perfect.values())
    assert measures(np.zeros(600), labels)["auc_roc"] == 0.5
    assert measures(np.zeros(600), labels)["auc_pr"] == pytest.approx(labels.mean())


def test_a_late_score_is_worth_more_by_volume_than_by_area() -> None:
    _, labels = case(600, False)
    late = np.roll(labels, 4)
    assert measures(late, labels)["vus_pr"] > measures(late, labels)["auc_pr"] + 0.05


def test_areas_by_hand() -> None:
    found = measures(np.array([0.9, 0.8, 0.7, 0.6]), np.array([1.0, 0, 1, 0]))
    assert found["auc_pr"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["auc_roc"] == pytest.approx(0.75)


def test_events_by_hand() -> None:
    labels = np.array([0, 1, 1, 1, 1, 0, 0, 0, 1, 1, 0, 0.0])
    alarms = np.array([0, 0, 1, 0, 1, 0, 1, 0, 0, 0, 0, 1], bool)
    found = found_events([alarms], [labels], rows_per_day=6.0)
    assert found["event_recall"] == 0.5 and found["missed_events"] == 1
    assert found["event_precision"] == 0.5  # runs 2, 4 in it; 6, 11 not
    assert found["detection_delay"] == 1.0
    assert found["false_alarms_per_day"] == 2.0  # two in 6 normal rows, a day
    # ranges: event 1 covered 2/4 in 2 pieces -> 1/4; event 2 not. Alarms 2, 4 wholly inside
    assert range_f1([alarms], [labels]) == pytest.approx(2 * 0.5 * 0.125 / 0.625)
    # point adjusted: 4 hits, 2 false, 2 missed
    assert inflated_f1([alarms], [labels]) == pytest.approx(8 / 12)


def test_missing_scores_and_labels_are_left_out_and_series_are_pooled() -> None:
    scores, labels = case(600, False)
    holes = np.concatenate([scores, [np.nan, 5.0]])
    known = np.concatenate([labels, [1.0, np.nan]])
    assert measures(holes, known) == measures(scores, labels)
    two = measures([scores, scores], [labels, labels], alarms=[scores > 1, scores > 1])
    one = measures(scores, labels, alarms=scores > 1)
    assert two["vus_pr"] == pytest.approx(one["vus_pr"])
    assert two["missed_events"] == 2 * one["missed_events"]
    assert list(one)[:4] == ["vus_pr", "vus_roc", "auc_pr", "auc_roc"]
    assert list(one)[-1] == "inflated_f1"


def test_nothing_to_find_and_other_lengths() -> None:
    with pytest.raises(UserError, match="labelled"):
        measures(np.ones(9), np.zeros(9))
    with pytest.raises(UserError, match="length"):
        measures(np.ones(9), np.ones(8))
    assert events_of(np.array([1, 1, 0, 1])) == [(0, 1), (3, 3)]


def streams(where: list[int]) -> list[nab.Stream]:
    scores = np.zeros(1000)
    scores[where] = 1.0
    return [nab.Stream(scores, [(400, 499), (800, 849)])]


@pytest.mark.parametrize("profile", nab.PROFILES)
def test_nab_is_100_for_the_first_row_of_each_window_and_0_for_silence(profile: str) -> None:
    assert nab.at(streams([400, 800]), 0.5, profile).score == pytest.approx(100)
    assert nab.at(streams([]), 0.5, profile).score == 0
    assert nab.optimised(streams([400, 800]), profile).threshold == 1.0


def test_nab_by_hand() -> None:
    """Half a window late; an alarm before any window; one 10 rows behind a window of 50."""

    def sigmoid(x: float) -> float:
        return 2 / (1 + np.exp(5 * x)) - 1

    late = (1 + sigmoid(-0.5) / sigmoid(-1)) / 4  # of 2 windows, which are worth 2 each
    assert nab.at(streams([450]), 0.5).score == pytest.approx(100 * late)
    early = nab.at(streams([300, 400, 800]), 0.5).score
    assert early == pytest.approx(100 * (4 - 0.11) / 4)
    behind = nab.at(streams([400, 800, 859]), 0.5, "low_fp").score
    assert behind == pytest.approx(100 * (4 + 0.22 * sigmoid(10 / 49)) / 4)
    assert nab.at(streams([400, 430, 800]), 0.5).score == pytest.approx(100)  # told once
    assert nab.at(streams([20, 400, 800]), 0.5).score == pytest.approx(100)  # probation
    assert nab.probation(1000) == 150 and nab.probation(20_000) == 750


def test_nab_chooses_the_best_threshold() -> None:
    scores = np.zeros(1000)
    scores[[450, 810]], scores[[200, 300]] = [3.0, 2.0], [1.0, 1.0]
    windows = [(400, 499), (800, 849)]
    best = nab.optimised([nab.Stream(scores, windows)])
    tried = [nab.at([nab.Stream(scores, windows)], t).score for t in (0.5, 1.5, 2.5, 9.0)]
    assert best.threshold == 2.0 and best.score == pytest.approx(max(tried))
    with pytest.raises(UserError, match="window"):
        nab.optimised([nab.Stream(scores, [])])
    with pytest.raises(UserError, match="profile"):
        nab.at([nab.Stream(scores, windows)], 1.0, "kind")
