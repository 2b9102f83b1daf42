"""What is known of a metric by its name: its label, its unit, and which of two values is better."""

from __future__ import annotations

import math
import re

HIGHER_IS_BETTER = {"accuracy", "balanced_accuracy", "precision", "recall", "f1", "macro_f1"}
HIGHER_IS_BETTER |= {"roc_auc", "vus_pr", "vus_roc", "bleu", "chrf", "ssim", "psnr"}
HIGHER_IS_BETTER |= {"auc_pr", "auc_roc", "range_f1", "event_f1", "event_precision", "event_recall"}
HIGHER_IS_BETTER |= {"inflated_f1"}
RISING = ("recall_", "auc_pr_", "auc_roc_")  # beginnings of names whose higher values are better
LABELS = {"smape": "sMAPE", "bleu": "BLEU", "chrf": "chrF", "macro_f1": "macro F1"}
LABELS |= {"range_f1": "range F1", "event_f1": "event F1"}
LABELS |= {"inflated_f1": "inflated F1 (point adjusted)"}
FAMILIES = {"auc_pr_": "AUC-PR by ", "auc_roc_": "AUC-ROC by ", "fpr_at_": "FPR at recall "}
ACRONYMS = {"mase", "msis", "mae", "rmse", "mse", "wql", "wer", "cer", "ssim", "psnr"}
ACRONYMS |= {"vus_pr", "vus_roc", "roc_auc", "auc_pr", "auc_roc"}
UNITS = {
    "detection_delay": "rows",
    "smape": "%",
    "mape": "%",
    "bits_per_char": "bit",
    "bits_per_byte": "bit",
    "psnr": "dB",
}
SAME_AS_DATA = {"mae", "rmse"}
COVERAGE = re.compile(r"coverage_(\d+)")


def label(name: str) -> str:
    """As people write it: sMAPE, MASE, coverage 80 %."""
    if found := COVERAGE.fullmatch(name):
        return f"coverage {found[1]} %"
    fallback = name.upper() if name in ACRONYMS else name
    for begin, said in FAMILIES.items():
        if name.startswith(begin):
            fallback = said + name[len(begin) :]
    return LABELS.get(name, fallback).replace("_", " ")


def unit(name: str, data_unit: str = "") -> str:
    """The metric's unit, "" where it has none; MAE and RMSE have the data's."""
    return data_unit if name in SAME_AS_DATA else UNITS.get(name, "")


def loss(name: str, value: float) -> float:
    """A number that is lower the better `value` is; a coverage is best at its nominal share."""
    if found := COVERAGE.fullmatch(name):
        return abs(value - int(found[1]) / 100)
    return -value if rises(name) else value


def rises(name: str) -> bool:
    """Whether higher values are better."""
    return name in HIGHER_IS_BETTER or name.startswith(RISING)


def best(name: str, values: dict[str, float]) -> str | None:
    """Which of the named values is better than all others; None for a draw or fewer than two."""
    losses = {who: loss(name, v) for who, v in values.items() if math.isfinite(v)}
    if len(losses) < 2:
        return None
    first, second = sorted(losses, key=losses.__getitem__)[:2]
    return first if losses[first] < losses[second] else None


def improvement(name: str, value: float, other: float) -> float | None:
    """By what share `value` is better than `other`, worse if negative; None where undefined.

    Of the error that `other` makes, where lower is better; of `value` itself where higher is.
    """
    whole = value if rises(name) else other
    if COVERAGE.fullmatch(name) or not (math.isfinite(value) and math.isfinite(other)):
        return None
    return abs(value - other) / abs(whole) * _sign(name, value, other) if whole else None


def _sign(name: str, value: float, other: float) -> float:
    return 1.0 if loss(name, value) <= loss(name, other) else -1.0
