"""Suricata's eve.json: its events `flow` and `netflow`; all others are skipped.

https://docs.suricata.io/en/latest/output/eve/eve-json-format.html. Suricata counts whole frames:
the Ethernet header (14 bytes, 4 more a VLAN tag) is taken off each packet. It does not count the
payload, and its states are coarser than Zeek's: see `states` for how they are put in its letters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lstmkit.readers.flows.cells import addresses, counts, parsed, ports, texts, times
from lstmkit.readers.flows.schema import Flows
from lstmkit.readers.flows.states import both_ways, from_server, tcp_state, turned
from lstmkit.readers.flows.textual import Cells, Columns, LineDecoder

FRAME, TAG = 14, 4  # bytes
FLOW, NETFLOW = "flow", "netflow"
# Names of application protocols where Zeek has another.
SERVICES = {"tls": "ssl", "http2": "http", "dcerpc": "dce_rpc", "krb5": "krb", "ikev2": "ike",
            "pgsql": "postgresql", "rfb": "rfb", "bittorrent-dht": "bittorrent",
            "failed": "", "unknown": ""}  # fmt: skip
NO_FLAGS = {"tcp_flags": None, "tcp_flags_ts": None, "tcp_flags_tc": None}
PROTOS = {"ipv6-icmp": "icmp", "icmpv6": "icmp"}


class EveDecoder(LineDecoder):
    """eve.json to flows; see `Decoder`. Of a key that comes twice in an object, the last counts.

    A `netflow` event is one direction of a flow: its ends are put in order by their ports. Whether
    an alert named a flow is no label: it stands in `extra` as `alerted`, 0 or 1.
    """

    FORMAT = "eve"

    def rows(self, lines: list[str], first: int) -> Flows:
        """See `LineDecoder`."""
        events, numbers = [], []
        for number, line in enumerate(lines, first):
            if not line or line.isspace():
                continue
            try:
                event = _event(parsed(line))
            except ValueError as error:
                self.reject(number, f"no event: {str(error)[:80]}")
                continue
            if event is None:
                self.skipped += 1
                continue
            events.append(event)
            numbers.append(number)
        names = (*WANTED, *PARTS)
        cells = {name: [event.get(name) for event in events] for name in names}
        return self.converted(cells, numbers)

    def columns(self, cells: Cells, n: int) -> Columns:
        """See `LineDecoder`."""
        protos = texts(cells["proto"], _proto)
        found = _numbers(cells)
        found["src"] = addresses(cells["src_ip"], "src_ip")
        found["dst"] = addresses(cells["dest_ip"], "dest_ip")
        icmp = np.array([proto == "icmp" for proto in protos])
        found["sport"] = _ports(cells["src_port"], cells["icmp_type"], icmp, "src_port")
        found["dport"] = _ports(cells["dest_port"], cells["icmp_code"], icmp, "dest_port")
        found["proto"] = protos
        found["service"] = texts(list(zip(cells["app_proto"], protos, strict=True)), _service)
        found["record"] = [_identity(cell) for cell in cells["flow_id"]]
        one_way = np.array([kind == NETFLOW for kind in cells["event_type"]])
        flags = _flags(cells["tcp_flags"])
        where = one_way & from_server(protos, found["sport"], found["dport"], flags)
        found = turned(found, where)
        found["state"] = _states(cells, found, where)
        found["extra"] = {"alerted": [1.0 if cell is True else 0.0 for cell in cells["alerted"]]}
        return found


# Where the values stand: in the event itself, and in its parts.
WANTED = ("event_type", "flow_id", "src_ip", "src_port", "dest_ip", "dest_port", "proto",
          "app_proto", "icmp_type", "icmp_code", "vlan")  # fmt: skip
PARTS = ("start", "end", "pkts_toserver", "pkts_toclient", "bytes_toserver", "bytes_toclient",
         "state", "alerted", "tcp_flags", "tcp_flags_ts", "tcp_flags_tc")  # fmt: skip


def _event(found: Any) -> dict[str, Any] | None:
    """An event of a flow with its parts in one; None for another event.

    Raises:
        ValueError: no event.
    """
    if not isinstance(found, dict):
        raise ValueError("no JSON object")
    kind = found.get("event_type")
    if not isinstance(kind, str):
        raise ValueError("no event_type")
    if kind not in (FLOW, NETFLOW):
        return None
    part, tcp = found.get(kind), found.get("tcp", {})
    if not isinstance(part, dict) or not isinstance(tcp, dict):
        raise ValueError(f"no {kind}")
    event = {**found, "state": None, **part, **NO_FLAGS}
    if kind == NETFLOW:
        event |= {"pkts_toserver": part.get("pkts"), "bytes_toserver": part.get("bytes")}
        event |= {"pkts_toclient": 0, "bytes_toclient": 0}
    event.update((name, tcp[name]) for name in NO_FLAGS if name in tcp)
    return event


def _numbers(cells: Cells) -> Columns:
    """Times, packets and bytes."""
    start = times(cells["start"], "start")
    ended = [b if b is not None else a for a, b in zip(cells["start"], cells["end"], strict=True)]
    found: Columns = {"time": start, "duration": np.maximum(times(ended, "end") - start, 0)}
    header = np.array([float(_header(cell)) for cell in cells["vlan"]])
    for ours, theirs in (("src", "toserver"), ("dst", "toclient")):
        packets = counts(cells[f"pkts_{theirs}"], f"pkts_{theirs}")
        frames = counts(cells[f"bytes_{theirs}"], f"bytes_{theirs}")
        found[f"{ours}_packets"] = packets
        found[f"{ours}_ip_bytes"] = np.maximum(frames - header * packets, 0)
    return found


def _header(vlan: Any) -> int:
    """Bytes of a frame before its IP header."""
    tags = len(vlan) if isinstance(vlan, list) else int(vlan is not None)
    return FRAME + TAG * tags


def _proto(cell: Any) -> str:
    if not isinstance(cell, str) or not cell:
        raise ValueError("no proto")
    return PROTOS.get(cell.lower(), cell.lower())


def _service(said: tuple[Any, str]) -> str:
    name, proto = said
    if name is None:
        return ""
    if not isinstance(name, str):
        raise ValueError(f"app_proto: no word: {str(name)[:40]}")
    if name == "krb5" and proto == "tcp":
        return "krb_tcp"
    return SERVICES.get(name, name)


def _ports(cells: Sequence[Any], types: Sequence[Any], icmp: np.ndarray, name: str) -> np.ndarray:
    """Ports; of ICMP the type or the code."""
    given = [t if i else c for c, t, i in zip(cells, types, icmp, strict=True)]
    return ports(given, name)


def _identity(cell: Any) -> str:
    if not isinstance(cell, (int, str)) or isinstance(cell, bool):
        raise ValueError("no flow_id")
    return str(cell)


def _flags(cells: Sequence[Any]) -> list[int | None]:
    """TCP flags, which are written in hexadecimal."""
    known = {cell: None if cell is None else int(str(cell), 16) & 0xFF for cell in set(cells)}
    return [known[cell] for cell in cells]


def _states(cells: Cells, found: Columns, where: np.ndarray) -> list[str]:
    """How the flows went, in Zeek's letters."""
    rows = zip(found["proto"], cells["event_type"], cells["state"], _flags(cells["tcp_flags"]),
               _flags(cells["tcp_flags_ts"]), _flags(cells["tcp_flags_tc"]), where,
               found["src_packets"] > 0, found["dst_packets"] > 0, strict=True)  # fmt: skip
    return texts(list(rows), lambda row: _state(*row))


def _state(
    proto: str,
    kind: str,
    said: Any,
    all_flags: int | None,
    theirs: int | None,
    answered: int | None,
    server: bool,
    sent: bool,
    received: bool,
) -> str:
    if proto != "tcp":
        return both_ways(proto, sent, received)
    if kind == NETFLOW:
        return tcp_state(None, all_flags) if server else tcp_state(all_flags, None)
    if theirs is not None and answered is not None:
        return tcp_state(theirs, answered)
    return {"new": "S0", "established": "S1", "closed": "SF"}.get(str(said), "")
