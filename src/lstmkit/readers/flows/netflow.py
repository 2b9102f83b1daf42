"""NetFlow and IPFIX as nfdump writes them: `nfdump -o csv`, of 1.6 and of 1.7.

https://github.com/phaag/nfdump. The header decides what stands where; the summary at the end is
left out. NetFlow counts bytes from the IP header on. Times without a zone are taken as UTC, as
nfdump writes them where `TZ=UTC`.

A flow of NetFlow goes one way. It stays one: its destination has 0 packets, and the answer is a
flow of its own. A flow from a well-known port to another is an answer: its ends are changed over,
so that the client is the source (unless a SYN without ACK says that it did begin).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from lstmkit.readers.flows.cells import addresses, counts, ports, texts, times
from lstmkit.readers.flows.schema import Flows, empty
from lstmkit.readers.flows.states import (
    both_ways,
    from_server,
    merged_state,
    tcp_state,
    turned,
)
from lstmkit.readers.flows.textual import LINE, Cells, Columns, CsvDecoder, distinct, names_of

# Our name of a column, by those of nfdump's versions, in lower case.
NAMES = {
    "ts": ("ts", "firstseen"),
    "te": ("te", "lastseen"),
    "td": ("td", "duration"),
    "sa": ("sa", "srcaddr", "srcip", "src4addr"),
    "da": ("da", "dstaddr", "dstip", "dst4addr"),
    "sp": ("sp", "srcport"),
    "dp": ("dp", "dstport"),
    "pr": ("pr", "proto", "protocol"),
    "flg": ("flg", "flags", "tcpflags"),
    "ipkt": ("ipkt", "pkt", "packets", "inpackets"),
    "ibyt": ("ibyt", "byt", "bytes", "inbytes"),
    "opkt": ("opkt", "outpackets"),
    "obyt": ("obyt", "outbytes"),
}
OURS = {theirs: ours for ours, names in NAMES.items() for theirs in names}
LETTERS = {"F": 0x01, "S": 0x02, "R": 0x04, "P": 0x08, "A": 0x10, "U": 0x20}
# https://www.iana.org/assignments/protocol-numbers
PROTOCOLS = {0: "hopopt", 1: "icmp", 2: "igmp", 4: "ipip", 6: "tcp", 17: "udp", 41: "ipv6",
             47: "gre", 50: "esp", 51: "ah", 58: "icmp", 89: "ospf", 103: "pim", 112: "vrrp",
             132: "sctp"}  # fmt: skip
TAIL = ("Summary", "No matching flows")
ICMP = re.compile(r"(\d{1,3})\.(\d{1,3})")


class NetflowDecoder(CsvDecoder):
    """nfdump's CSV to flows; see `Decoder`."""

    FORMAT = "netflow"
    NEEDED = (
        frozenset({"ts", "sa", "da", "pr"}),
        frozenset({"firstseen", "srcaddr", "dstaddr", "proto"}),
    )

    def __init__(self) -> None:
        super().__init__()
        self.over = False  # the summary has begun

    def header(self) -> Any:
        """Names of the columns, and whether the summary has begun."""
        return [self.names, self.over]

    def set_header(self, header: Any) -> None:
        """Take what `header` gave."""
        self.names, self.over = list(header[0]), bool(header[1])

    def marks(self, lines: Sequence[str]) -> Sequence[int]:
        """See `LineDecoder`."""
        return [k for k, line in enumerate(lines) if not line[:1].isdigit()
                and (line.startswith(TAIL) or self.is_header(line))]  # fmt: skip

    def mark(self, line: str, number: int) -> None:
        """See `LineDecoder`."""
        self.over = line.startswith(TAIL)
        if not self.over:
            self.names = distinct([OURS.get(name.lower(), name) for name in names_of(line)])

    def rows(self, lines: list[str], first: int) -> Flows:
        """See `LineDecoder`."""
        return empty(self.FORMAT) if self.over else super().rows(lines, first)

    def columns(self, cells: Cells, n: int) -> Columns:
        """See `LineDecoder`."""
        lines = cells[LINE]
        cells = {name: [c.strip() for c in column] for name, column in cells.items()
                 if name in NAMES}  # fmt: skip
        nothing = ["0"] * n
        found: Columns = {"time": times(cells["ts"], "ts"), "duration": _durations(cells)}
        found |= {"src": addresses(cells["sa"], "sa"), "dst": addresses(cells["da"], "da")}
        found["record"] = [f"line {number}" for number in lines]
        found["proto"] = protos = texts(cells["pr"], protocol)
        found |= _ends(cells, protos)
        for ours, theirs in (("src_packets", "ipkt"), ("src_ip_bytes", "ibyt"),
                             ("dst_packets", "opkt"), ("dst_ip_bytes", "obyt")):  # fmt: skip
            optional = theirs[0] == "o"
            found[ours] = counts(cells.get(theirs, nothing) if optional else cells[theirs], theirs)
        return _ordered(found, [flags_of(c) for c in cells.get("flg", [""] * n)])


def _durations(cells: Cells) -> np.ndarray:
    if "td" in cells:
        return counts(cells["td"], "td")
    if "te" not in cells:
        return np.full(len(cells["ts"]), np.nan)
    return np.maximum(times(cells["te"], "te") - times(cells["ts"], "ts"), 0)


def _ends(cells: Cells, protos: Sequence[str]) -> Columns:
    """Ports; ICMP's type and code stand in the destination's, as 8.0 or as 256 * type + code."""
    given = list(zip(cells.get("sp", ["0"] * len(protos)), cells.get("dp", ["0"] * len(protos)),
                     protos, strict=True))  # fmt: skip
    pairs = [_icmp(b) if proto == "icmp" else (a, b) for a, b, proto in given]
    return {
        "sport": ports([a for a, _ in pairs], "sp"),
        "dport": ports([b for _, b in pairs], "dp"),
    }


def _icmp(cell: str) -> tuple[Any, Any]:
    dotted = ICMP.fullmatch(cell)
    if dotted:
        return dotted[1], dotted[2]
    both = int(cell or 0)
    return both // 256, both % 256


def _ordered(found: Columns, flags: Sequence[int | None]) -> Columns:
    """Ends in order, and states."""
    server = from_server(found["proto"], found["sport"], found["dport"], flags)
    for name in ("dst_packets", "dst_ip_bytes"):
        found[name] = np.nan_to_num(found[name])
    answered = found["dst_packets"] > 0
    found = turned(found, server)
    rows = zip(found["proto"], flags, server, answered, found["src_packets"],
               found["dst_packets"], strict=True)  # fmt: skip
    found["state"] = [_state(*row) for row in rows]
    return found


def _state(
    proto: str, flags: int | None, server: bool, answered: bool, sent: float, received: float
) -> str:
    if proto != "tcp":
        return both_ways(proto, sent, received)
    if flags is None:
        return ""
    if answered:
        return merged_state(flags, sent, received)
    return tcp_state(None, flags) if server else tcp_state(flags, None)


def protocol(cell: str) -> str:
    """The name of a protocol given by its name or number; those of ICMP are one."""
    name = cell.strip().lower()
    if name.isdecimal():
        number = int(name)
        if number > 255:
            raise ValueError(f"no protocol: {name[:40]}")
        return PROTOCOLS.get(number, name)
    return "icmp" if name in ("icmp6", "ipv6-icmp", "icmpv6") else name


def flags_of(cell: str) -> int | None:
    """TCP flags written as `.AP.SF`, or as a number (decimal, or hexadecimal after 0x)."""
    text = cell.strip().upper()
    if not text:
        return None
    if text.startswith("0X"):
        return int(text, 16)
    if text.isdecimal():
        return int(text)
    return sum(LETTERS.get(letter, 0) for letter in set(text))
