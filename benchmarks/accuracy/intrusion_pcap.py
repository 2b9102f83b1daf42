"""Small real captures: what is found in each, after learning the benign ones.

    python benchmarks/accuracy/intrusion_pcap.py FOLDER

FOLDER holds pcap/ with labels.csv (file, label ...), zeek/{nmap_portscan,http_ddos}_conn.log. The
benign captures (a few hundred flows of eight kinds, of no one network) are joined one after the
other and learnt without labels; every capture is then watched from the beginning, at the default
budget. The benign ones are therefore in-sample. Labels are per file: single flows of an attack's
file may be harmless. Then two captures are watched as packets and as Zeek's log of them: the same
alerts?
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from intrusion import shared

import lstmkit
from lstmkit.readers.flows import Flows, joined, read

PAIRS = ("nmap_portscan.pcapng", "http_ddos.pcapng")
SAME = ("time", "host", "state", "severity", "class")
GAP = 600.0  # seconds between two captures that are joined


def main() -> None:
    """Learn, watch, compare."""
    asked = shared.arguments(__doc__, "intrusion_pcap", several=False)
    folder = Path(asked.folder)
    with (folder / "pcap" / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    flows = {row["file"]: read(folder / "pcap" / row["file"]).all() for row in rows}
    benign = [flows[row["file"]] for row in rows if row["label"] == "benign"]
    model = lstmkit.IntrusionDetector().fit(chained(benign))
    found: dict[str, Any] = {"train_flows": sum(map(len, benign)), "level": model.level()}
    found["captures"] = {row["file"]: told(model, flows[row["file"]], row) for row in rows}
    for name, row in found["captures"].items():
        print(f"{name:<26}", row, flush=True)
    found["packets_and_zeek"] = {}
    for name in PAIRS:
        log = read(folder / "zeek" / f"{name.partition('.')[0]}_conn.log").all()
        one, other = (said(model, f) for f in (flows[name], log))
        both = {"packets": len(one), "zeek": len(other), "the same": one == other}
        both["the same hosts"] = {a["host"] for a in one} == {a["host"] for a in other}
        found["packets_and_zeek"][name] = both
        print(name, both, flush=True)
    shared.keep(asked.output, found)


def chained(parts: list[Flows]) -> Flows:
    """Captures one after the other in time."""
    moved, at = [], 1.7e9
    for part in parts:
        time = part["time"] - part["time"].min() + at
        at = float(time.max()) + GAP
        moved.append(Flows(part.source, {**part.columns, "time": time}, part.extra))
    return joined(moved)


def said(model: Any, found: Flows) -> list[dict[str, Any]]:
    """Alerts, as far as they can be the same."""
    lines = model.predict(found, alerts_as="json")
    return [{name: json.loads(line)[name] for name in SAME} for line in lines]


def told(model: Any, found: Flows, row: dict[str, str]) -> dict[str, Any]:
    """What is found in one capture."""
    alerts = [json.loads(line) for line in model.predict(found, alerts_as="json")]
    score = model.score(found)
    over = score >= model.level()
    worst = max(alerts, key=lambda a: a["score"], default=None)
    return {
        "label": row["label"],
        "category": row["category"],
        "flows": len(found),
        "alarming": int(over.sum()),
        "alerts": len({a["id"] for a in alerts}),
        "class": worst and worst["class"],
        "score": worst and worst["score"],
        "first_after_flows": int(over.argmax()) + 1 if over.any() else None,
    }


if __name__ == "__main__":
    main()
