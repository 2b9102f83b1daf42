"""TSB-AD's own VUS and AUC of many scores, in its environment: python -m detection.judge FILE.

FILE is an .npz with scores_K and labels_K (n,) and window_K for K = 0, 1, ... The last line of
stdout is JSON: a list of figures by name. With it lstmkit's figures are checked against TSB-AD's.
"""

from __future__ import annotations

import json
import sys

import numpy as np

THRESHOLDS = 250  # as TSB-AD's get_metrics asks for


def main() -> None:
    """Judge every pair of the file."""
    with np.load(sys.argv[1]) as file:
        pairs = [
            (file[f"scores_{k}"], file[f"labels_{k}"], int(file[f"window_{k}"]))
            for k in range(len(file.files) // 3)
        ]
    print("\n" + json.dumps([judged(*pair) for pair in pairs]))


def judged(scores: np.ndarray, labels: np.ndarray, window: int) -> dict[str, float]:
    """VUS after Paparrizos et al. 2022, and the areas under the curves of single rows."""
    from TSB_AD.evaluation.basic_metrics import basic_metricor, generate_curve

    *_, roc, pr = generate_curve(labels.astype(int), scores, window, "opt", THRESHOLDS)
    grader = basic_metricor()
    rows = {
        "auc_pr": grader.metric_PR(labels, scores),
        "auc_roc": grader.metric_ROC(labels, scores),
    }
    return {k: float(v) for k, v in {"vus_pr": pr, "vus_roc": roc, **rows}.items()}


if __name__ == "__main__":
    main()
