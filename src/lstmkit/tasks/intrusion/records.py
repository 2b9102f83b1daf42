"""Alerts for other programs: JSON lines, Suricata's EVE, rows of a table. No torch.

EVE: https://docs.suricata.io/en/latest/output/eve/eve-json-format.html
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

Alert = Mapping[str, Any]

ORDER = ("id", "time", "host", "state", "score", "severity", "class", "reasons", "record", "source",
         "flow", "earlier", "flows", "begun", "told")  # fmt: skip
TABLE = ("time", "host", "score", "severity", "class", "reasons", "record", "begun", "flows",
         "state", "source", "src", "sport", "dst", "dport", "proto")  # fmt: skip
GRAVITY = {"critical": 1, "high": 2, "medium": 3, "low": 4}  # Suricata's, 1 the gravest
CATEGORIES = {
    "scan": "Detection of a Network Scan", "sweep": "Detection of a Network Scan",
    "brute force": "Attempted Administrator Privilege Gain",
    "beacon": "Malware Command and Control Activity Detected",
    "exfiltration": "Possible Data Exfiltration", "flood": "Attempted Denial of Service",
    "tunnel": "A Network Tunnel was Detected",
}  # fmt: skip
OTHER = "Misc activity"
FIRST_SID = 9_100_000  # of ours; the rest of it is a hash of the class
MOST_IDS = 2**53  # JSON's numbers are exact below


def json_line(alert: Alert) -> str:
    """One object on a line, its keys in a fixed order; numbers that are not finite are null."""
    known = {name: alert[name] for name in ORDER if name in alert}
    rest = {name: value for name, value in alert.items() if name not in known}
    return json.dumps(_plain({**known, **rest}), ensure_ascii=False, allow_nan=False)


def parsed(line: str) -> dict[str, Any]:
    """The inverse of `json_line`."""
    found: dict[str, Any] = json.loads(line)
    return found


def eve_line(alert: Alert) -> str:
    """One alert as an event of Suricata's eve.json, with what is ours under `lstmkit`."""
    flow = alert["flow"]
    named = alert["class"]
    event: dict[str, Any] = {
        "timestamp": _stamp(alert["time"]),
        "flow_id": _flow_id(alert),
        "event_type": "alert",
        "src_ip": flow["src"],
        "src_port": max(int(flow["sport"]), 0),
        "dest_ip": flow["dst"],
        "dest_port": max(int(flow["dport"]), 0),
        "proto": str(flow["proto"]).upper(),
        "app_proto": _app(str(flow.get("service", ""))),
        "alert": {
            "action": "allowed",
            "gid": 1,
            "signature_id": FIRST_SID + _hash(named) % 100_000,
            "rev": 1,
            "signature": f"lstmkit: {named} from {alert['host']}",
            "category": CATEGORIES.get(named, OTHER),
            "severity": GRAVITY[alert["severity"]],
        },
        "flow": {
            "pkts_toserver": _count(flow["src_packets"]),
            "pkts_toclient": _count(flow["dst_packets"]),
            "bytes_toserver": _count(flow["src_ip_bytes"]),
            "bytes_toclient": _count(flow["dst_ip_bytes"]),
            "start": _stamp(alert["time"]),
        },
    }
    ours = ("id", "told", "state", "score", "class", "reasons", "record", "source", "earlier",
            "flows", "begun")  # fmt: skip
    event["lstmkit"] = {name: alert[name] for name in ours if name in alert}
    return json.dumps(_plain(event), ensure_ascii=False, allow_nan=False)


def table_row(alert: Alert) -> dict[str, Any]:
    """One row of TABLE."""
    flow = alert["flow"]
    row = {name: alert[name] for name in TABLE if name in alert}
    row["reasons"] = "; ".join(alert["reasons"])
    return row | {name: flow[name] for name in ("src", "sport", "dst", "dport", "proto")}


def _stamp(time: str) -> str:
    """ISO 8601 as Suricata writes it."""
    return time.removesuffix("Z") + "+0000" if time else ""


def _flow_id(alert: Alert) -> int:
    record = str(alert["record"])
    if alert["source"] == "eve" and record.isdigit():
        return int(record)
    flow = alert["flow"]
    return _hash(repr([record, *(flow[k] for k in ("src", "sport", "dst", "dport", "proto"))]))


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") % MOST_IDS


def _app(service: str) -> str:
    return {"ssl": "tls", "": "unknown"}.get(service, service)


def _count(number: Any) -> int:
    return 0 if number is None or not math.isfinite(number) else int(number)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
