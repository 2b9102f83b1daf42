"""Days of a working computer under attack, as Zeek logged them: one day learnt, another tested.

    python benchmarks/accuracy/intrusion_zeek.py FOLDER

FOLDER holds zeek/stratosphere/{008,010,011}-zeek-mixed.conn.log.labeled.gz (Stratosphere
Laboratory, CTU Prague: github.com/stratosphereips/security-datasets-for-testing). Each is a day of
one Windows computer, a different one each day, that about 1,500 hosts of the Internet knock at.

Unsupervised: trained on the benign flows of one day, tested on each of the two others, for each of
008 and 010. Supervised: trained on two days, tested on the third, all three ways. Flows labelled
`Background`, of which nobody said what they are, are read and not scored.

On these days every attack is inbound and every benign flow outbound, so the home network alone
gives the label away. All is therefore measured twice: knowing the home network, and not (`blind`).
And a day has a single benign host: at 5 false alerts a day, an alert being an hour of a host,
almost any threshold is allowed. `..._alarms` counts every alarming benign flow as an alert of its
own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from intrusion import shared

from lstmkit.readers.flows import BENIGN, Flows, joined

NOWHERE = "192.0.2.0/24"  # a network that no flow is of
SHOWN = ("auc_pr_flow", "auc_pr_host", "recall_host_at_1", "recall_host_at_1_alarms",
         "recall_host_at_5_alarms", "fpr_at_0.9")  # fmt: skip


def main() -> None:
    """All settings, kept after each."""
    asked = shared.arguments(__doc__, "intrusion_zeek")
    days = shared.days(asked.folder)
    found: dict[str, Any] = {"protocol": " ".join(__doc__.split("\n\n")[3].split()), "settings": {}}
    for name, home in (("home known", shared.HOME), ("blind", NOWHERE)):
        for kind in ("unsupervised", "supervised"):
            rows = setting(days, home, kind == "supervised", asked.seeds, asked.skip)
            found["settings"][f"{kind}, {name}"] = rows
            shared.keep(asked.output, found)
            print(f"\n{kind}, {name}: means")
            print(shared.table({who: row["mean"] for who, row in rows.items()}, SHOWN), flush=True)


def setting(
    days: Mapping[str, Flows], home: str, labelled: bool, seeds: int, skip: str
) -> dict[str, Any]:
    """Every detector on every split, over the seeds where chance has a say."""
    each: dict[str, dict[str, Any]] = {}
    for learnt, tested in splits(labelled):
        train = joined([days[d] for d in learnt])
        known, attack = shared.labels(train)
        train = train if labelled else train.take(train["label"] == BENIGN)
        for seed in range(seeds):
            make = shared.supervised if labelled else shared.unsupervised
            for who, detector in make(home, seed).items():
                if shared.skipped(who, skip):
                    continue
                if seed and who.startswith(("rarity", "periodicity", "kitsune")):
                    continue
                given = train.take(known) if labelled and who != "lstmkit" else train
                truth = attack[known] if labelled and who != "lstmkit" else attack
                _, seconds = shared.timed(lambda: detector.fit(given, truth if labelled else None))  # noqa: B023
                for test in tested:
                    where = f"{'+'.join(learnt)} to {test}, seed {seed}"
                    score = detector.score(days[test])
                    row = shared.measured(score, days[test]) | {"fit_seconds": seconds}
                    each.setdefault(who, {})[where] = row
                    if isinstance(detector, shared.Ours):
                        score = shared.without_memory(detector).score(days[test])
                        each.setdefault("lstmkit, no memory", {})[where] = shared.measured(
                            score, days[test]
                        )
    return {who: {"mean": shared.mean(list(rows.values())), "each": rows}
            for who, rows in each.items()}  # fmt: skip


def splits(labelled: bool) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """(days learnt, days tested)."""
    if labelled:
        return [(("008", "010"), ("011",)), (("008", "011"), ("010",)), (("010", "011"), ("008",))]
    return [(("008",), ("010", "011")), (("010",), ("008", "011"))]


if __name__ == "__main__":
    main()
