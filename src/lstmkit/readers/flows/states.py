"""How a flow went, in Zeek's letters, from less than Zeek sees; and which end began it.

Zeek follows the packets of both ends in order; flow exporters only tell which TCP flags occurred.
What follows from the flags is the same in nearly all flows; where the order matters (who reset
first) it is a guess. https://docs.zeek.org/en/master/scripts/base/protocols/conn/main.zeek.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
FEW = 2  # packets of an attempt that is refused
WELL_KNOWN = 1024  # ports below are those of servers
ENDS = (("src", "dst"), ("sport", "dport"), ("src_packets", "dst_packets"),
        ("src_ip_bytes", "dst_ip_bytes"), ("src_bytes", "dst_bytes"))  # fmt: skip


def tcp_state(sent: int | None, received: int | None) -> str:
    """The state of a TCP flow by the flags of its two ends.

    Args:
        sent: all flags of the source; None where only the other direction was recorded.
        received: all flags of the destination, 0 where it never answered; None likewise.
    """
    if received is None:
        return _by_source(sent or 0)
    if sent is None:
        return _by_answers(received)
    if not sent & SYN:
        return _without_beginning(received)
    if not received & SYN:
        return _unanswered(sent, received)
    if (sent | received) & RST:
        return "RSTO" if sent & RST else "RSTR"
    ends = {(0, 0): "S1", (FIN, 0): "S2", (0, FIN): "S3"}
    return ends.get((sent & FIN, received & FIN), "SF")


def _without_beginning(received: int) -> str:
    if received & SYN and received & RST:
        return "RSTRH"
    return "SHR" if received & SYN and received & FIN else "OTH"


def _unanswered(sent: int, received: int) -> str:
    """The source began, and the destination did not agree."""
    if received & RST:
        return "REJ"
    if received:
        return "OTH"
    if sent & RST:
        return "RSTOS0"
    return "SH" if sent & FIN else "S0"


def _by_source(sent: int) -> str:
    """Only the source was recorded: what it acknowledged, the other end must have sent."""
    if not sent & SYN:
        return "OTH"
    if not sent & ACK:
        return _unanswered(sent, 0)
    if sent & RST:
        return "RSTO"
    return "SF" if sent & FIN else "S1"


def _by_answers(received: int) -> str:
    """Only the destination was recorded."""
    if not received & SYN:
        return "REJ" if received & RST else "OTH"
    if received & RST:
        return "RSTR"
    return "SF" if received & FIN else "S1"


def merged_state(flags: int, sent: float, received: float) -> str:
    """The state of a TCP flow of which the flags of both ends are one.

    Args:
        sent, received: packets of the source and the destination.
    """
    if not received > 0:
        return _by_source(flags)
    if not flags & SYN:
        return "OTH"
    if flags & RST:
        return "REJ" if not flags & FIN and max(sent, received) <= FEW else "RSTO"
    return "SF" if flags & FIN else "S1"


def both_ways(proto: str, sent: float, received: float) -> str:
    """The state of a flow without connections, by its packets."""
    if proto == "icmp":
        return "OTH"
    if sent > 0 and received > 0:
        return "SF"
    return "S0" if sent > 0 else "SHR"


def from_server(
    protos: Sequence[str], sport: Any, dport: Any, flags: Sequence[int | None]
) -> np.ndarray:
    """Which one-way flows (n,) a server sent: from a well-known port to another. A SYN without
    an ACK comes from who began, whatever the ports."""
    ported = np.array([proto in ("tcp", "udp", "sctp") for proto in protos], bool)
    began = np.array([f is not None and f & (SYN | ACK) == SYN for f in flags], bool)
    sport, dport = np.asarray(sport), np.asarray(dport)
    return ported & ~began & (sport >= 0) & (sport < WELL_KNOWN) & (dport >= WELL_KNOWN)


def turned(columns: dict[str, Any], where: np.ndarray) -> dict[str, Any]:
    """Columns of flows with the ends changed over in some rows (n,)."""
    found = dict(columns)
    for a, b in ENDS:
        if where.any() and a in found:
            first, second = _array(found[a]), _array(found[b])
            found[a], found[b] = np.where(where, second, first), np.where(where, first, second)
    return found


def _array(column: Any) -> np.ndarray:
    return column if isinstance(column, np.ndarray) else np.array(column, object)
