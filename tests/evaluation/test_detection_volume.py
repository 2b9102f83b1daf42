"""Volumes, areas and inputs of the measures of detectors, at their edges."""

from __future__ import annotations

import time
import warnings

import numpy as np
import pytest

from lstmkit.errors import UserError
from lstmkit.evaluation.detection import measures
from lstmkit.evaluation.detection.measuring import auc_pr, auc_roc
from lstmkit.evaluation.detection.volume import buffered, events_of, volume, widened

EDGES = [(0, 3), (20, 29), (36, 36), (60, 90), (380, 399)]  # both ends, close, one row


def labelled(rows: int, events: list[tuple[int, int]]) -> np.ndarray:
    labels = np.zeros(rows)
    for first, last in events:
        labels[first : last + 1] = 1
    return labels


@pytest.mark.parametrize(
    ("window", "pr", "roc"),
    [
        # TSB-AD 1.5: generate_curve(labels.astype(int), scores, window, "opt", 250)[7], [6]
        (0, 0.6347829724530529, 0.8363046634004717),
        (1, 0.6347829724530529, 0.8363046634004717),
        (14, 0.6855504602479969, 0.8674721448217934),
        (60, 0.7578719084520308, 0.9121246361568176),
    ],
)
def test_events_at_both_ends_and_buffers_that_touch(window: int, pr: float, roc: float) -> None:
    labels = labelled(400, EDGES)
    scores = (np.arange(400) * 7919 % 1009) / 1009 + 0.4 * labels
    found = volume(scores, labels, window)
    assert found.pr == pytest.approx(pr, abs=1e-12)
    assert found.roc == pytest.approx(roc, abs=1e-12)


def test_weights_fall_beside_an_event_and_meet_at_most_at_one() -> None:
    found = widened(12, [(2, 3), (6, 6)], 4)
    near, far = np.sqrt(3 / 4), np.sqrt(2 / 4)
    assert found == pytest.approx([far, near, 1, 1, 1, 1, 1, near, far, 0, 0, 0])
    assert widened(5, [(0, 0), (4, 4)], 0).tolist() == [1, 0, 0, 0, 1]
    assert buffered(12, [(2, 3), (6, 6)], 4) == [(0, 8)]
    assert buffered(12, [(2, 3), (7, 7)], 4) == [(0, 9)]  # row 5 is in both
    assert buffered(12, [(2, 3), (8, 8)], 4) == [(0, 5), (6, 10)]
    assert buffered(30, [(2, 3), (9, 9), (28, 29)], 4) == [(0, 5), (7, 11), (26, 29)]


def test_areas_do_not_depend_on_the_scale_of_the_scores() -> None:
    labels = labelled(500, EDGES)
    scores = np.random.default_rng(1).random(500) + 0.3 * labels
    one, other = measures(scores, labels), measures(np.exp(5 * scores) - 7, labels)
    assert one == pytest.approx(other, abs=1e-12)


def test_infinite_scores_are_ties() -> None:
    scores, labels = np.array([np.inf, np.inf, 1.0, 0.0]), np.array([1.0, 0, 1, 0])
    assert auc_pr(scores, labels) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert auc_roc(scores, labels) == pytest.approx((0.5 + 1 + 0 + 1) / 4)


def test_the_default_window_is_the_median_event_and_bounded() -> None:
    scores = np.random.default_rng(2).random(3000)
    labels = labelled(3000, [(10, 19), (100, 129), (200, 1199)])
    assert measures(scores, labels) == measures(scores, labels, window=30)
    longer = labelled(3000, [(100, 1199)])
    assert measures(scores, longer) == measures(scores, longer, window=125)


def test_series_without_both_labels_have_no_areas_but_count() -> None:
    rng = np.random.default_rng(3)
    scores, labels = rng.random(400), labelled(400, EDGES)
    quiet, all_bad = rng.random(50), np.ones(50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        many = measures(
            [scores, quiet, quiet],
            [labels, np.zeros(50), all_bad],
            alarms=[scores > 2, quiet > 2, quiet > 2],
            window=4,
        )
        alone = measures(quiet, all_bad)
    assert many["vus_pr"] == pytest.approx(volume(scores, labels, 4).pr)
    assert many["auc_roc"] == pytest.approx(auc_roc(scores, labels))
    assert many["missed_events"] == 6 and many["event_f1"] == 0
    assert np.isnan(many["detection_delay"])
    assert np.isnan(alone["vus_pr"]) and alone["auc_pr"] == 1


def test_plain_lists_and_whole_numbers_and_bools_are_taken() -> None:
    expected = measures(np.array([0.9, 0.8, 0.7, 0.6]), np.array([1.0, 0, 1, 0]))
    assert measures([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0]) == expected  # type: ignore[list-item]
    bools = np.array([True, False, True, False])
    assert measures(np.array([9, 8, 7, 6]), bools) == expected


def test_bad_input_is_told() -> None:
    with pytest.raises(UserError, match="not 0 and 1"):
        measures(np.ones(3), np.array([0.0, 2.0, 1.0]))
    with pytest.raises(UserError, match="numbers of series"):
        measures([np.ones(3)], [np.ones(3), np.ones(3)])
    with pytest.raises(UserError, match="length"):
        measures(np.ones(3), np.ones(3), alarms=np.ones(2, bool))


def test_day_rates_need_rows_a_day() -> None:
    labels, alarms = labelled(400, EDGES), np.zeros(400, bool)
    alarms[[50, 51, 100, 200, 24]] = True
    found = measures(alarms * 1.0, labels, alarms=alarms, rows_per_day=67.0)
    normal = 400 - labels.sum()
    assert found["false_alarms_per_day"] == pytest.approx(3 / (normal / 67))
    assert "false_alarms_per_day" not in measures(alarms * 1.0, labels, alarms=alarms)
    names = list(found)[4:]
    assert names == [
        *("range_f1", "event_f1", "event_precision", "event_recall", "detection_delay"),
        *("false_alarms_per_day", "missed_events", "inflated_f1"),
    ]


def test_many_events_are_no_slower_than_few() -> None:
    rng = np.random.default_rng(4)
    labels = labelled(25_000, [(a, a + 1) for a in range(0, 24_990, 12)])
    begin = time.process_time()
    measures(rng.random(25_000), labels, window=40)
    assert time.process_time() - begin < 3
    assert len(events_of(labels)) == 2083
