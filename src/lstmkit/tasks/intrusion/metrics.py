"""How well scores of flows tell attacks from benign traffic, by flow, by host, and by the alerts
that a person has to read.

Nothing here chooses a threshold for a detector: `recall at k false alerts a day` says what the best
threshold would have found that lets k alerts a day through on the benign flows of the same data.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from lstmkit.errors import UserError
from lstmkit.readers.flows import BENIGN, Flows
from lstmkit.tasks.intrusion import levels

BUDGETS = (1, 5)  # false alerts a day
RECALLS = (0.5, 0.9, 0.99)

Array = np.ndarray


def measures(
    score: Array,
    flows: Flows,
    *,
    attack: Array,
    known: Array,
    gap: float = levels.GAP,
    trained: Collection[str] = (),
) -> dict[str, float]:
    """Scores of a detector on labelled flows.

    Args:
        score: (n,), the higher the stranger.
        attack, known: (n,) bool: labelled as an attack, labelled at all; the rest is left out.
        gap: seconds without an alarm after which a host's next one is another alert.
        trained: attacks that the detector has learnt from; of the others the recall is told apart.

    Returns:
        `auc_pr_flow`, `auc_roc_flow` (Davis & Goadrich 2006: average precision); `auc_pr_host`, a
        host being malicious if it began one attack, its score the highest of its flows; for k of
        BUDGETS `recall_host_at_k` and `recall_flow_at_k`, at the lowest threshold at which benign
        flows make at most k alerts a day, all flows above it, ties counted as missed;
        `recall_flow_at_k_alarms`, the same with every alarming benign flow counted as an alert of
        its own; `fpr_at_R` of benign flows at the threshold that finds the share R of the attacks;
        `recall_never_trained`, the recall at BUDGETS[-1] of attacks that are not in `trained`.

    Raises:
        UserError: a score is NaN, or labels of one kind only.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    if np.isnan(score[known]).any():
        raise UserError("a score is not a number", got=f"{int(np.isnan(score[known]).sum())} flows")
    benign = known & ~attack
    if not attack[known].any() or not benign.any():
        raise UserError("there is nothing to tell apart", expected="attacks and benign flows")
    truth = attack[known]
    found = {
        "auc_pr_flow": float(average_precision_score(truth, score[known])),
        "auc_roc_flow": float(roc_auc_score(truth, score[known])),
    }
    if np.isfinite(flows["time"]).all() and (flows["src"] != "").any():
        found |= _by_host(score, flows, attack, benign, gap, trained)
    return found | {f"fpr_at_{r}": fpr_at(score[attack], score[benign], r) for r in RECALLS}


def _by_host(
    score: Array, flows: Flows, attack: Array, benign: Array, gap: float, trained: Collection[str]
) -> dict[str, float]:
    from sklearn.metrics import average_precision_score

    host = flows["src"]
    top, bad = hosts(score, host, attack, attack | benign)
    found = {}
    if bad.any() and not bad.all():
        found["auc_pr_host"] = float(average_precision_score(bad, top))
    days = max(float(np.ptp(flows["time"])), 60.0) / levels.DAY
    peaks = levels.peaks(score[benign], host[benign], flows["time"][benign], gap)
    alarms = np.sort(score[benign])[::-1]
    for k in BUDGETS:
        level = beyond(peaks, k * days)
        found[f"recall_host_at_{k}"] = float((top[bad] > level).mean())
        found[f"recall_flow_at_{k}"] = float((score[attack] > level).mean())
        strict = beyond(alarms, k * days)
        found[f"recall_host_at_{k}_alarms"] = float((top[bad] > strict).mean())
        found[f"recall_flow_at_{k}_alarms"] = float((score[attack] > strict).mean())
    new = attack & ~np.isin(flows["label"].astype(str), [*trained, BENIGN])
    if trained and new.any():
        found["recall_never_trained"] = float(
            (score[new] > beyond(peaks, BUDGETS[-1] * days)).mean()
        )
    return found


def hosts(score: Array, host: Array, attack: Array, known: Array) -> tuple[Array, Array]:
    """The highest score (h,) of each host's known flows, and whether it began an attack."""
    _, place = np.unique(host[known].astype(str), return_inverse=True)
    top = np.full(place.max() + 1, -np.inf)
    np.maximum.at(top, place, score[known])
    bad = np.zeros(len(top), bool)
    np.logical_or.at(bad, place, attack[known])
    return top, bad


def beyond(ordered: Array, most: float) -> float:
    """The threshold that at most `most` of numbers lie above, highest first; -inf where all may."""
    k = int(np.floor(most + 1e-9))
    return float(ordered[k]) if k < len(ordered) else -np.inf


def fpr_at(attacks: Array, benign: Array, recall: float) -> float:
    """Share of benign scores at or above the threshold that finds the share `recall`."""
    ordered = np.sort(attacks)[::-1]
    level = ordered[min(int(np.ceil(recall * len(ordered))), len(ordered)) - 1]
    return float((benign >= level).mean())
