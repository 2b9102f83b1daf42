"""NAB's score against the benchmark's own result files."""

from __future__ import annotations

import numpy as np
import pytest

from lstmkit.errors import UserError
from lstmkit.evaluation.detection import nab

# numenta/NAB, results/windowedGaussian/windowedGaussian_standard_scores.csv at de8e91a: the score
# of a file at the threshold 1.0. Rows: where the detector's score (12 digits) is 1; windows: from
# labels/combined_windows.json, as rows.
PUBLISHED = {
    "realTraffic/speed_7578.csv": (
        1127,
        [1, 317, 625, 752, 753, 754, 920, 921, 922, 925, 926, 927, 959],
        [(303, 331), (740, 768), (909, 937), (945, 973)],
        3.47059145681,
    ),
    "realAdExchange/exchange-3_cpc_results.csv": (
        1538,
        [1, 22, 23, 296, 297, 438, 439, 976, 1121],
        [(271, 321), (413, 463), (952, 1002)],
        2.50266326119,
    ),
    "realTraffic/TravelTime_387.csv": (
        2500,
        [1, 269, 270, 271, 333, 989, 2039, 2040, 2041, 2042, 2132, 2133],
        [(387, 469), (948, 1030), (1485, 1567)],
        -1.79598133079,
    ),
    "realAdExchange/exchange-4_cpm_results.csv": (
        1643,
        [1, 240, 367, 372, 514, 518, 1276, 1401, 1565],
        [(347, 387), (729, 769), (1256, 1296), (1381, 1421)],
        1.27471036268,
    ),
}


def stream(rows: int, alarms: list[int], windows: list[tuple[int, int]]) -> nab.Stream:
    scores = np.zeros(rows)
    scores[alarms] = 1.0
    return nab.Stream(scores, windows)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_score_of_a_file(name: str) -> None:
    rows, alarms, windows, published = PUBLISHED[name]
    found = nab.at([stream(rows, alarms, windows)], 1.0).score
    raw = found / 100 * 2 * len(windows) - len(windows)  # before 0 is silence and 100 perfect
    assert raw == pytest.approx(published, abs=1e-9)


def test_files_are_summed_before_they_are_scaled() -> None:
    streams = [stream(*one[:3]) for one in PUBLISHED.values()]
    windows = sum(len(one[2]) for one in PUBLISHED.values())
    total = sum(one[3] for one in PUBLISHED.values())
    assert nab.at(streams, 1.0).score == pytest.approx(100 * (total + windows) / (2 * windows))
    assert nab.optimised(streams) == nab.NabScore(pytest.approx(nab.at(streams, 1.0).score), 1.0)


def test_a_sweep_finds_no_less_than_any_threshold() -> None:
    rng = np.random.default_rng(5)
    streams = [
        nab.Stream(np.round(rng.random(900), 2), [(200, 260), (500, 540)]),
        nab.Stream(np.round(rng.random(400), 2), []),
    ]
    for profile in nab.PROFILES:
        best = nab.optimised(streams, profile)
        every = [nab.at(streams, t, profile).score for t in np.arange(0, 102) / 100]
        assert best.score == pytest.approx(max([*every, 0.0]))
        assert nab.at(streams, best.threshold, profile).score == pytest.approx(best.score)


def test_silence_is_best_where_every_alarm_is_false() -> None:
    best = nab.optimised([nab.Stream(np.r_[np.ones(800), np.zeros(200)], [(900, 950)])], "low_fp")
    assert best == nab.NabScore(0.0, np.inf)


def test_rows_without_a_score_never_alarm() -> None:
    """Were they the lowest score, a sweep could find the window by its missing rows."""
    scores = np.zeros(1000)
    scores[400:450] = np.nan
    found = nab.optimised([nab.Stream(scores, [(400, 449)])])
    assert found == nab.NabScore(0.0, np.inf)
    assert nab.at([nab.Stream(scores, [(400, 449)])], -np.inf).score < 0
    nothing = nab.optimised([nab.Stream(np.full(1000, np.nan), [(150, 199)])])
    assert nothing == nab.NabScore(0.0, np.inf)


def test_a_window_that_begins_in_the_probation_counts_by_the_rest() -> None:
    late = nab.optimised([stream(1000, [120, 160], [(100, 199)])]).score
    assert 0 < late < 100
    assert late == nab.optimised([stream(1000, [160], [(100, 199)])]).score


@pytest.mark.parametrize("windows", [[(5, 4)], [(-1, 5)], [(90, 100)], [(50, 60), (55, 70)]])
def test_impossible_windows(windows: list[tuple[int, int]]) -> None:
    if windows == [(5, 4)]:
        windows = [(5, 3)]
    with pytest.raises(UserError, match="windows"):
        nab.at([nab.Stream(np.zeros(100), windows)], 1.0)
