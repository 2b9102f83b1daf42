"""A detector against labels, beside baselines; what leaks; and what can be said without labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit import runtime
from lstmkit.errors import UserError
from lstmkit.evaluation import Report
from lstmkit.readers.flows import BENIGN, Flows
from lstmkit.tasks.intrusion import answers, guard, levels
from lstmkit.tasks.intrusion.watch import Watch

if TYPE_CHECKING:
    from lstmkit.tasks.intrusion.estimator import IntrusionDetector

FEWEST_CLEAN = 50  # flows for a score of their own


def report(
    detector: IntrusionDetector, data: Any, format: str | None, alerts_per_day: float | None
) -> Report:
    """Scores on labelled flows, beside baselines and without memory.

    Raises:
        UserError: no labels, no attacks, or flows that were split off the training at random.
    """
    from lstmkit.tasks.intrusion import metrics

    found, notes = answers.all_of(data, format)
    detector.shape_.check(found)
    known, attack = labels_of(found)
    verdict = guard.judge(detector.fingerprint_, found)
    if verdict.refused:
        raise UserError(
            f"in-sample: {verdict.refused}",
            expected="flows of another time than those of the training",
            hint="split by time: train on the first days, evaluate on later ones",
        )
    level = detector.level(alerts_per_day)
    score, classes = judged(detector, found, True)
    trained = set(detector.classes_[1:]) if detector.supervised else set()
    given: dict[str, Any] = {"trained": trained, "gap": detector.gap}

    def measured(values: np.ndarray, rows: np.ndarray) -> dict[str, float]:
        return metrics.measures(
            values[rows], found.take(rows), attack=attack[rows], known=known[rows], **given
        )

    every = np.ones(len(found), bool)
    found_metrics = measured(score, every) | at_level(found, score, level, attack, known)
    if detector.supervised:
        found_metrics |= class_scores(detector, found, score, classes, level)
    clean = verdict.clean
    if FEWEST_CLEAN <= clean.sum() < len(found) and attack[clean & known].any():
        leakless = measured(score, clean)
        found_metrics |= {f"{name}_without_leaks": value for name, value in leakless.items()
                          if name in ("auc_pr_flow", "auc_pr_host")}  # fmt: skip
    worth = measured(judged(detector, found, False)[0], every) if detector.shape_.hosts else None
    return Report(
        task=detector.TASK,
        metrics=found_metrics,
        baselines={
            name: measured(values, every) for name, values in _baselines(found, score).items()
        },
        data=_data(found, attack, known),
        model=dict(detector.facts_) | {"level": round(level, 3)},
        memory_worth=worth,
        notes=[*notes, *verdict.flags, *leaks(detector, found, attack, known), *_notes(detector)],
    )


def labels_of(found: Flows) -> tuple[np.ndarray, np.ndarray]:
    """Which flows are labelled, and which of them are attacks, both (n,).

    Raises:
        UserError: there are no labels, or not both kinds.
    """
    label = found["label"]
    known = label != ""
    attack = known & (label != BENIGN)
    if not known.any():
        raise UserError("the flows have no labels to score against", got=f"{len(found):,} flows")
    if not attack.any() or attack[known].all():
        kind = "an attack" if attack.any() else "benign"
        raise UserError(
            f"every labelled flow is {kind}, so there is nothing to tell apart",
            got=f"{int(known.sum()):,} labelled flows",
        )
    return known, attack


def judged(
    detector: IntrusionDetector, found: Flows, memory: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Scores (n,) and probabilities (n, K) of the classes."""
    model = runtime.load(detector.program_)
    start = detector.start_
    watch = Watch(model, detector.shape_, detector.scale_, memory=memory, start=start)
    answer = watch.read(found)
    return answer.score, answer.classes


def at_level(
    found: Flows, score: np.ndarray, level: float, attack: np.ndarray, known: np.ndarray
) -> dict[str, float]:
    """What the detector's own threshold does: nothing here was chosen by the labels."""
    alarm, benign = score >= level, known & ~attack
    right = (alarm == attack)[known]
    measures = {
        "accuracy": float(right.mean()),
        "recall": float(alarm[attack].mean()),
        "false_positive_rate": float(alarm[benign].mean()) if benign.any() else float("nan"),
    }
    if not np.isfinite(found["time"]).all():
        return measures
    peaks = levels.peaks(score[benign], found["src"][benign], found["time"][benign])
    days = max(float(np.ptp(found["time"])), 60.0) / levels.DAY
    return measures | {"false_alerts_per_day": float((peaks >= level).sum()) / days}


def class_scores(
    detector: IntrusionDetector,
    found: Flows,
    score: np.ndarray,
    classes: np.ndarray,
    level: float,
) -> dict[str, float]:
    """Recall of benign flows and of attack types, those of the training and others, and the macro
    F1 of the types that were trained."""
    label, alarm = found["label"], score >= level
    names = detector.classes_
    answer = np.array(names, object)[1 + classes[:, 1:].argmax(1)]
    answer[~alarm] = BENIGN
    trained = [n for n in names if n != "unknown" and (label == n).any()]
    known = label != ""
    new = known & ~np.isin(label.astype(str), names)
    found_f1 = [_f1(answer == n, label == n, known) for n in trained]
    result = {"macro_f1": float(np.mean(found_f1))} if found_f1 else {}
    if new.any():
        result["recall_never_trained"] = float(alarm[new].mean())
    return result


def _f1(answer: np.ndarray, truth: np.ndarray, known: np.ndarray) -> float:
    both = float((answer & truth & known).sum())
    total = float((answer & known).sum() + (truth & known).sum())
    return 2 * both / total if total else 0.0


def leaks(
    detector: IntrusionDetector, found: Flows, attack: np.ndarray, known: np.ndarray
) -> list[str]:
    """Features that name the label by themselves, in words."""
    from lstmkit.tasks.intrusion import places

    proto = places.protos(found["proto"])
    named = {"dport": places.ports(proto, found["dport"]), "state": places.states(found["state"])}
    named["direction"] = places.Home(detector.shape_.home).directions(found["src"], found["dst"])
    named |= {name: found[name] for name in ("sport", "src_ip_bytes", "dst_ip_bytes", "duration")}
    named |= {k: v for k, v in found.extra.items() if v.dtype != object}
    return guard.leaks({k: v[known] for k, v in named.items()}, attack[known])


def _baselines(found: Flows, score: np.ndarray) -> dict[str, np.ndarray]:
    """What needs no training: chance, and how large a flow is."""
    rng = np.random.default_rng(0)
    return {
        "random": rng.random(len(score)),
        "bytes": np.nan_to_num(found["src_ip_bytes"] + found["dst_ip_bytes"]),
    }


def _data(found: Flows, attack: np.ndarray, known: np.ndarray) -> dict[str, Any]:
    return {
        "flows": len(found),
        "labelled": int(known.sum()),
        "attacks": int(attack.sum()),
        "hosts": len(set(found["src"])),
    }


def _notes(detector: IntrusionDetector) -> list[str]:
    if detector.shape_.hosts:
        return []
    return ["single records: there is no sequence, and memory is worth nothing here"]


def unlabelled(detector: IntrusionDetector) -> Report:
    """What is known without labels: how many alerts normal, held-out flows would have raised."""
    peaks, days = detector.held_["peaks"], float(detector.held_["days"])
    level = detector.level()
    data: dict[str, Any] = {"held_out_flows": int(detector.held_["flows"])}
    metrics = {"level": level}
    if np.isfinite(days):
        data["held_out_days"] = round(days, 3)
        metrics["false_alerts_per_day"] = float((peaks >= level).sum()) / days
    else:
        metrics["false_positive_rate"] = float((peaks >= level).mean())
    return Report(detector.TASK, metrics, {}, data, dict(detector.facts_))
