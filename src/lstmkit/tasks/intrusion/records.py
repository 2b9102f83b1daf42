"""Alerts for other programs: JSON lines, Suricata's EVE, rows of a table. No torch.

EVE: https://docs.suricata.io/en/latest/output/eve/eve-json-format.html
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any

Alert = Mapping[str, Any]
_WHOLE = re.compile(r"[0-9]{1,16}")

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
APPS = {"": "unknown", "ssl": "tls", "dce_rpc": "dcerpc", "krb": "krb5", "krb_tcp": "krb5",
        "postgresql": "pgsql", "bittorrent": "bittorrent-dht"}  # fmt: skip


def json_line(alert: Alert) -> str:
    """One object on a line, its keys in a fixed order; numbers that are not finite are null."""
    known = {name: alert[name] for name in ORDER if name in alert}
    rest = {name: value for name, value in alert.items() if name not in known}
    return _line({**known, **rest})


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
        "dest_ip": flow["dst"],
        "proto": str(flow["proto"]).upper(),
        **_ends(flow),
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
    return _line(event)


def table_row(alert: Alert) -> dict[str, Any]:
    """One row of TABLE."""
    flow = alert["flow"]
    row = {name: alert[name] for name in TABLE if name in alert}
    row["reasons"] = "; ".join(alert["reasons"])
    row |= {name: flow[name] for name in ("src", "sport", "dst", "dport", "proto")}
    return {k: _utf8(v) if isinstance(v, str) else v for k, v in row.items()}


def _line(found: Mapping[str, Any]) -> str:
    return _utf8(json.dumps(_plain(found), ensure_ascii=False, allow_nan=False))


def _utf8(text: str) -> str:
    """Halves of surrogate pairs, which a log may hold and UTF-8 cannot, as JSON escapes them."""
    return text.encode("utf-8", "backslashreplace").decode()


def _ends(flow: Mapping[str, Any]) -> dict[str, int]:
    """Ports; of ICMP type and code."""
    icmp = flow["proto"] == "icmp"
    names = ("icmp_type", "icmp_code") if icmp else ("src_port", "dest_port")
    return {
        name: max(int(flow[end]), 0) for name, end in zip(names, ("sport", "dport"), strict=True)
    }


def _stamp(time: str) -> str:
    """ISO 8601 as Suricata writes it."""
    return time.removesuffix("Z") + "+0000" if time else ""


def _flow_id(alert: Alert) -> int:
    record = str(alert["record"])
    if alert["source"] == "eve" and _WHOLE.fullmatch(record) and int(record) < MOST_IDS:
        return int(record)
    flow = alert["flow"]
    return _hash(repr([record, *(flow[k] for k in ("src", "sport", "dst", "dport", "proto"))]))


def _hash(text: str) -> int:
    digest = hashlib.blake2b(_utf8(text).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % MOST_IDS


def _app(service: str) -> str:
    return APPS.get(service, service)


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
