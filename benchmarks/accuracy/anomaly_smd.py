"""Detectors side by side on the Server Machine Dataset: 38 metrics of a server, every minute.

    python benchmarks/accuracy/anomaly_smd.py FOLDER --peers PYTHON
    python benchmarks/accuracy/anomaly_smd.py FOLDER --only lstmkit --options "size=tiny"
    python benchmarks/accuracy/anomaly_smd.py --plot benchmarks/results/anomaly_smd.json -o FILE

FOLDER holds, in itself or in smd/, the files machine-*.{train,test,test_label}.txt.gz and
machine-*.interpretation_label.txt (github.com/NetManAIOps/OmniAnomaly, ServerMachineDataset) of
three machines. PYTHON is an interpreter with the peers: pip install TSB-AD==1.5

Every detector is fitted on the train file of a machine, without labels, and scores its test file;
PCA stands there twice (see detection/peers.py). Labels only measure. The window of VUS follows
TSB-AD's rule: the period of the first channel of the test file. One process at a time and one
thread each; scores are kept in the folder `--cache`, so that a run which was cut short goes on
where it ended, and `--only` scores entries anew. With `--peers` all VUS and AUC are compared with
TSB-AD's own code, and the command stops where they differ by more than 1e-6.

Attribution: of the channels that a labelled event shows in, by the data set's interpretation
labels, the share among as many of our top channels (HitRate@100%), beside random order and beside
the plain distance from the train rows' mean. Results: benchmarks/results/anomaly_smd.json.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detection import command, results, scoring
from detection.datasets import Problem

METRICS = ("vus_pr", "vus_roc", "auc_pr", "auc_roc")
DESCRIPTION = {
    "protocol": "per machine: fitted on the train file without labels, scored on the test file; "
    "means over machines; VUS with the window of TSB-AD's rule",
    "published": {
        "LSTMAD (TSB-AD-M, SMD, other cuts)": {"vus_pr": 0.325},
        "PCA (TSB-AD-M, SMD, other cuts)": {"vus_pr": 0.364},
    },
}


def entry(
    problems: Sequence[Problem], sizes: Mapping[str, int], name: str, arrays: command.Arrays
) -> dict[str, Any]:
    """Figures of each machine and their mean; attribution where there are contributions."""
    names = [p.series.name for p in problems]
    each = [
        scoring.measured(p, a, sizes[p.series.name]) for p, a in zip(problems, arrays, strict=True)
    ]
    found: dict[str, Any] = {"scores": scoring.mean(each)}
    found["files"] = dict(zip(names, map(scoring.clean, each), strict=True))
    if all("contributions" in a for a in arrays):
        found["attribution"] = attribution(problems, arrays)
    return found


def attribution(problems: Sequence[Problem], arrays: command.Arrays) -> dict[str, Any]:
    """Hit rates of each machine, beside those of plain deviations."""
    return {
        p.series.name: {
            **scoring.hit_rates(p, a["contributions"]),
            "of_plain_deviations": scoring.hit_rates(p, scoring.deviations(p))["of_events"],
        }
        for p, a in zip(problems, arrays, strict=True)
    }


def show(found: Mapping[str, Any]) -> None:
    """The tables: means, VUS-PR of each machine, attribution."""
    print(results.table(found, METRICS), "\n\nVUS-PR of each machine")
    machines = list(found["windows"])
    wide = max(map(len, found["models"]))
    print(" " * wide, *[f"{m:>12}" for m in machines])
    for name, model in found["models"].items():
        each = [model["files"][m]["vus_pr"] for m in machines] if "files" in model else []
        print(f"{name:<{wide}}", *[f"{v:12.3f}" for v in each])
    for name, model in found["models"].items():
        for machine, rates in model.get("attribution", {}).items():
            print(f"{name}, {machine}: " + ", ".join(f"{k} {v:.3g}" for k, v in rates.items()))


def main(arguments: list[str]) -> None:
    """Parse and run."""
    made = command.parser((__doc__ or "").partition("\n")[0])
    given = made.parse_args(arguments)
    if given.plot:
        command.draw(given)
    elif given.folder:
        run_as = command.command(Path(__file__).name, given, arguments)
        show(command.compete("smd", given, run_as, DESCRIPTION, entry))
    else:
        made.error("FOLDER is wanted, or --plot RESULTS -o FILE")


if __name__ == "__main__":
    main(sys.argv[1:])
