"""One code scores all detectors: threshold-free measures, attribution, and TSB-AD's own as a check.

A row without a score counts as the least unusual of its series, so that every detector is scored
on the same rows.
"""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from forecasting.contest import alone

from detection.contest import Run
from detection.datasets import Problem
from lstmkit.modelfile import atomic_write

NO_SCORES = ("contributions", "alarms")
TOLERANCE = 1e-6  # of VUS between two programs of the same definition
Figures = dict[str, float]
Files = Mapping[str, np.ndarray]  # scores (n,) by the name of the series


def entries(name: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The scores of one process by the names of the tables; the baselines' has several."""
    found = {name if key == "scores" else key: a for key, a in arrays.items()}
    return {title: filled(a) for title, a in found.items() if title not in NO_SCORES}


def filled(scores: np.ndarray) -> np.ndarray:
    """(n,) float64 with the lowest score where there is none, and the highest for infinite ones.

    TSB-AD's PCA divides by 0 where rows repeat exactly: then all are infinite, here 0.

    Raises:
        ValueError: there is no score at all.
    """
    scores = np.asarray(scores, np.float64)
    if np.isnan(scores).all():
        raise ValueError("scores are all missing")
    finite = scores[np.isfinite(scores)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 0.0)
    return np.clip(np.where(np.isnan(scores), low, scores), low, high)


def measured(problem: Problem, found: Mapping[str, np.ndarray], window: int) -> Figures:
    """lstmkit's measures of one series, on the rows that are scored; needs an event among them.

    `found` holds `scores` (n,), and `alarms` (n,) of a detector that chose its level itself.
    """
    from lstmkit.evaluation import detection

    rows, alarms = problem.scored, found.get("alarms")
    told = None if alarms is None else np.asarray(alarms, bool)[rows]
    return dict(
        detection.measures(found["scores"][rows], problem.labels[rows], alarms=told, window=window)
    )


def mean(each: Sequence[Figures]) -> dict[str, float | None]:
    """Over series; None where no series has a figure."""
    found = {}
    for name in each[0]:
        values = [e[name] for e in each if name in e and math.isfinite(e[name])]
        found[name] = float(np.mean(values)) if values else None
    return found


def clean(figures: Figures) -> dict[str, float | None]:
    """JSON knows no NaN."""
    return {k: float(v) if math.isfinite(v) else None for k, v in figures.items()}


def judge(
    problems: Sequence[Problem], scores: Files, windows: Mapping[str, int], run: Run
) -> list[Figures]:
    """TSB-AD's figures of each problem; from the cache where the same was judged before.

    Raises:
        SystemExit: its process failed.
    """
    pairs: dict[str, np.ndarray] = {}
    for k, problem in enumerate(problems):
        rows, name = problem.scored, problem.series.name
        pairs |= {f"scores_{k}": scores[name][rows], f"labels_{k}": problem.labels[rows]}
        pairs[f"window_{k}"] = np.array(windows[name])
    place = run.cache / "judged" / f"{_digest(pairs)}.json"
    if place.is_file():
        return list(json.loads(place.read_text()))
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "pairs.npz"
        np.savez(given, **pairs)  # type: ignore[arg-type]
        found = alone([str(run.peers), "-m", "detection.judge", str(given)], run.minutes)
    if not isinstance(found, list):
        raise SystemExit(f"error: TSB-AD's measures: {found}")
    place.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(place, mode="w") as file:
        json.dump(found, file)
    return found


def _digest(pairs: Mapping[str, np.ndarray]) -> str:
    found = hashlib.sha256()
    for name, array in pairs.items():
        found.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:32]


def disagreement(ours: Figures, theirs: Figures) -> float:
    """The largest difference of the measures that both know; NaN where one is not defined."""
    both = [k for k in theirs if k in ours]
    return float(np.max([abs(ours[k] - theirs[k]) for k in both])) if both else math.nan


# --- attribution


def hit_rates(problem: Problem, contributions: np.ndarray) -> dict[str, float]:
    """Of the channels that a labelled event shows in, the share among as many top channels.

    HitRate@100% of Su et al. 2019 (OmniAnomaly, section 4.4). Contributions (n, C) are ranked by
    their mean over the rows of an event (`of_events`), or row by row (`of_rows`); figures are means
    over events. `chance`: what a random order gives, k / C for k labelled channels.
    """
    events, rows, chance = [], [], []
    for (first, last), causes in zip(problem.events, problem.causes, strict=True):
        inside = np.nan_to_num(contributions[first : last + 1])
        events.append(_hits(inside.mean(axis=0), causes))
        rows.append(float(np.mean([_hits(row, causes) for row in inside])))
        chance.append(len(causes) / contributions.shape[1])
    return {
        "of_events": float(np.mean(events)),
        "of_rows": float(np.mean(rows)),
        "chance": float(np.mean(chance)),
        "events": len(events),
    }


def _hits(row: np.ndarray, causes: Sequence[int]) -> float:
    top = np.argsort(-row, kind="stable")[: len(causes)]
    return float(np.isin(top, causes).mean())


def deviations(problem: Problem) -> np.ndarray:
    """(n, C): how far each value lies from its channel's mean in the train rows, in deviations.

    The plain way to name a cause, beside which contributions stand.
    """
    train = problem.series.train
    spread = train.std(axis=0)
    return np.asarray(np.abs(problem.series.test - train.mean(axis=0)) / np.maximum(spread, 1e-3))
