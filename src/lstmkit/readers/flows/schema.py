"""The one schema of network flows: what every reader gives, whatever wrote the record.

A flow is what two ends said to each other under one protocol and one pair of ports. The end that
began is the source. Rows stand in the order of arrival: Zeek, for one, writes a flow when it ends,
so `time`, when it began, goes back in places.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray

NUMBERS = {
    "time": "start, seconds since 1970 UTC; NaN where the source has no times",
    "duration": "seconds from the first packet to the last; NaN where unknown",
    "src_packets": "packets of the source",
    "dst_packets": "packets of the destination",
    "src_ip_bytes": "bytes of the source's packets from the IP header on",
    "dst_ip_bytes": "bytes of the destination's packets from the IP header on",
    "src_bytes": "payload of the source; NaN where only whole packets are counted",
    "dst_bytes": "payload of the destination",
}
PORTS = {
    "sport": "port of the source; of ICMP the type; -1 where there is none",
    "dport": "port of the destination; of ICMP the code; -1 where there is none",
}
WORDS = {
    "src": "address of the source; empty where the source has none",
    "dst": "address of the destination",
    "proto": "tcp, udp, icmp or another protocol's name, lower case",
    "service": "application protocol in Zeek's names (http, ssl, dns, ssh ...); empty if unknown",
    "state": "how it went, in Zeek's letters (SF, S0, REJ, RSTO ...); empty where unknown",
    "label": "benign, the name of the attack, or empty where nobody said",
    "record": "how to find the original: a Zeek uid, an eve flow_id, packets 3-17, line 12",
}
BENIGN = "benign"


@dataclass(frozen=True)
class Flows:
    """Flows in order of arrival, column by column.

    Attributes:
        source: the format they came from, one of `FORMATS`.
        columns: every name of NUMBERS (float64), PORTS (int32) and WORDS (object arrays of str),
            each (n,).
        extra: what only this source has, by its own names: numbers (n,) float64 or words (n,).
    """

    source: str
    columns: Mapping[str, Array]
    extra: Mapping[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.columns["time"])

    def __getitem__(self, name: str) -> Array:
        return self.columns[name]

    def take(self, rows: Any) -> Flows:
        """Some of the flows: a slice, a mask or indices."""
        return Flows(
            self.source,
            {name: column[rows] for name, column in self.columns.items()},
            {name: column[rows] for name, column in self.extra.items()},
        )

    def row(self, k: int) -> dict[str, Any]:
        """One flow as plain values."""
        return {name: column[k].item() if column.dtype != object else column[k]
                for name, column in self.columns.items()}  # fmt: skip


def flows(source: str, n: int, extra: Mapping[str, Any] | None = None, **columns: Any) -> Flows:
    """Flows of given columns (anything that numpy takes); those left out are unknown."""
    made: dict[str, Array] = {}
    for name in NUMBERS:
        given = columns.pop(name, None)
        made[name] = np.full(n, np.nan) if given is None else np.asarray(given, np.float64)
    for name in PORTS:
        given = columns.pop(name, None)
        made[name] = np.full(n, -1, np.int32) if given is None else np.asarray(given, np.int32)
    for name in WORDS:
        given = columns.pop(name, None)
        made[name] = words([""] * n if given is None else given)
    if columns:
        raise ValueError(f"no columns of flows: {', '.join(columns)}")
    return Flows(source, made, {k: _own(v) for k, v in (extra or {}).items()})


def words(given: Any) -> Array:
    """Strings as an array of objects."""
    found = np.empty(len(given), object)
    found[:] = given
    return found


def _own(column: Any) -> Array:
    found = np.asarray(column)
    return words(list(column)) if found.dtype.kind in "OUS" else found.astype(np.float64)


def empty(source: str) -> Flows:
    """No flows."""
    return flows(source, 0)


def joined(parts: Sequence[Flows]) -> Flows:
    """Several in one, of one source."""
    if len(parts) == 1:
        return parts[0]
    names = parts[0].columns
    return Flows(
        parts[0].source,
        {name: np.concatenate([p.columns[name] for p in parts]) for name in names},
        {name: np.concatenate([p.extra[name] for p in parts]) for name in parts[0].extra},
    )


def pieces(found: Flows, size: int) -> Iterator[Flows]:
    """The flows in pieces of at most `size`."""
    for k in range(0, len(found), size):
        yield found.take(slice(k, k + size))
