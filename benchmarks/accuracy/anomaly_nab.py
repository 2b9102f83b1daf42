"""Detectors side by side on the Numenta Anomaly Benchmark: 58 files of one value each.

    python benchmarks/accuracy/anomaly_nab.py FOLDER --peers PYTHON
    python benchmarks/accuracy/anomaly_nab.py FOLDER --only lstmkit --options "size=tiny"
    python benchmarks/accuracy/anomaly_nab.py --plot benchmarks/results/anomaly_nab.json -o FILE

FOLDER holds nab.tar.gz, or is the folder that it unpacks to: data/ and labels/ of
github.com/numenta/NAB. PYTHON is an interpreter with the peers: pip install TSB-AD==1.5

Every detector is fitted on the first rows of a file, which NAB calls its probation and does not
score: 15 % of the file, at most 750 rows. Ours then takes row after row and never looks ahead; CNN
and LSTMAD see a window before each row; TSB-AD's PCA is fitted on the whole file without labels and
looks half a window ahead, which a stream could not. NAB wants one threshold for all files. Ours is
a probability already, and is used as it is, each alert once: a score that is no higher than one of
the GAP rows before it is 0 (GAP was chosen on the artificial files). Peers and baselines are put on
0 to 1 over each whole file, which a stream could not either: from least to most, as TSB-AD's main
program does it, or by rank, whichever earns the detector more (`scale` in the results).

NAB's score: 100 is a perfect detector, 0 one that never alarms. The threshold is the best one on
the labels, for every detector, as in all published figures of NAB; of ours the score of its own
alarms, without labels, stands in the file as well (`at_own_level`). VUS-PR: the mean over the 52
files that have anomalies, of the rows behind the probation. The rest is as in anomaly_smd.py.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detection import command, contest, results, scoring
from detection.datasets import Problem

GAP = 100  # rows
PROFILES = ("standard", "low_fp", "low_fn")
METRICS = (*PROFILES, "vus_pr", "vus_roc", "auc_pr")
PUBLISHED = {  # github.com/numenta/NAB, README
    "ARTime": (74.9, 65.1, 80.4),
    "HTM (Numenta)": (70.5, 62.6, 75.2),
    "CAD OSE": (69.9, 67.0, 73.2),
    "Skyline (earthgecko)": (58.2, 46.2, 63.9),
    "KNN-CAD": (58.0, 43.4, 64.8),
    "Relative Entropy": (54.6, 47.6, 58.8),
    "Random Cut Forest": (51.7, 38.4, 59.7),
    "Twitter ADVec": (47.1, 33.6, 53.5),
    "Windowed Gaussian": (39.6, 20.9, 47.4),
}
DESCRIPTION = {
    "protocol": "per file: fitted on its probation, then all rows in order; NAB's score with the "
    "threshold that is best on the labels; VUS-PR the mean over files with anomalies, behind the "
    "probation, with the window of TSB-AD's rule",
    "published": {
        name: dict(zip(PROFILES, figures, strict=True)) for name, figures in PUBLISHED.items()
    },
}


def entry(
    problems: Sequence[Problem], sizes: Mapping[str, int], name: str, arrays: command.Arrays
) -> dict[str, Any]:
    """NAB's score in three profiles, and the mean of the measures of the files with anomalies."""
    each = {
        p.series.name: scoring.measured(p, a, sizes[p.series.name])
        for p, a in zip(problems, arrays, strict=True)
        if p.labels[p.scored].any()
    }
    scale, best = scored(problems, [a["scores"] for a in arrays], contest.is_ours(name))
    found: dict[str, Any] = {
        "scores": {
            **{profile: score for profile, (score, _) in best.items()},
            **scoring.mean(list(each.values())),
        },
        "scale": scale,
        "thresholds": {profile: threshold for profile, (_, threshold) in best.items()},
        "files": {series: scoring.clean(figures) for series, figures in each.items()},
    }
    if all("alarms" in a for a in arrays):
        alarms = [a["alarms"].astype(float) for a in arrays]
        found["at_own_level"] = {p: at_own_level(problems, alarms, p) for p in PROFILES}
    return found


def scored(
    problems: Sequence[Problem], scores: Sequence[np.ndarray], as_they_are: bool
) -> tuple[str, dict[str, tuple[float, float | None]]]:
    """The name of the best scale, by the standard profile; score and threshold of each profile."""
    found = {}
    for name, scale in ({"told once": told_once} if as_they_are else SCALES).items():
        scaled = [scale(s) for s in scores]
        found[name] = {profile: optimised(problems, scaled, profile) for profile in PROFILES}
    best = max(found, key=lambda name: found[name]["standard"][0])
    return best, found[best]


def told_once(scores: np.ndarray) -> np.ndarray:
    """Scores where they are higher than all of the GAP rows before, 0 elsewhere."""
    padded = np.concatenate([np.full(GAP, -np.inf), scores])
    before = np.lib.stride_tricks.sliding_window_view(padded, GAP)[:-1].max(1)
    found: np.ndarray = np.where(scores > before, scores, 0.0)
    return found


def unit(scores: np.ndarray) -> np.ndarray:
    """From 0 to 1 over a file; 0 where all are equal."""
    low, high = float(scores.min()), float(scores.max())
    return np.zeros_like(scores) if high == low else (scores - low) / (high - low)


def rank(scores: np.ndarray) -> np.ndarray:
    """The share of the file's rows that have a lower score."""
    return np.searchsorted(np.sort(scores), scores) / len(scores)


SCALES: dict[str, Callable[[np.ndarray], np.ndarray]] = {"least to most": unit, "rank": rank}


def optimised(
    problems: Sequence[Problem], scores: Sequence[np.ndarray], profile: str
) -> tuple[float, float | None]:
    """NAB's score and the threshold that is best on the labels; None: no alarm at all is best."""
    from lstmkit.evaluation.detection import nab

    score, threshold = nab.optimised(streams(problems, scores), profile)
    return score, threshold if math.isfinite(threshold) else None


def at_own_level(problems: Sequence[Problem], alarms: Sequence[np.ndarray], profile: str) -> float:
    """NAB's score of alarms (n,) 0 or 1 that were raised without labels."""
    from lstmkit.evaluation.detection import nab

    return float(nab.at(streams(problems, alarms), 1.0, profile).score)


def streams(problems: Sequence[Problem], scores: Sequence[np.ndarray]) -> list[Any]:
    """As NAB's score takes files."""
    from lstmkit.evaluation.detection import nab

    return [nab.Stream(s, p.events) for p, s in zip(problems, scores, strict=True)]


def main(arguments: list[str]) -> None:
    """Parse and run."""
    made = command.parser((__doc__ or "").partition("\n")[0])
    given = made.parse_args(arguments)
    if given.plot:
        command.draw(given)
    elif given.folder:
        run_as = command.command(Path(__file__).name, given, arguments)
        print(results.table(command.compete("nab", given, run_as, DESCRIPTION, entry), METRICS))
    else:
        made.error("FOLDER is wanted, or --plot RESULTS -o FILE")


if __name__ == "__main__":
    main(sys.argv[1:])
