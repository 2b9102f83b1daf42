"""Where a flow goes, and to which service: addresses and ports as a few kinds. No torch.

Addresses themselves are no feature: only whether they belong to the home network, and whether a
destination is known, which `table` counts.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

import numpy as np

from lstmkit.errors import UserError

PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7",
           "fe80::/10", "100.64.0.0/10")  # fmt: skip
MOST_KNOWN = 200_000  # addresses whose place is remembered

DIRECTIONS = ("unknown", "outbound", "inbound", "internal", "external", "group")
PROTOS = ("", "tcp", "udp", "icmp", "other")
STATES = ("", "S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR",
          "OTH", "other")  # fmt: skip
SERVICES = (20, 21, 22, 23, 25, 53, 67, 68, 69, 80, 88, 110, 111, 119, 123, 135, 137, 138, 139, 143,
            161, 179, 389, 443, 445, 465, 500, 514, 515, 587, 631, 636, 853, 993, 995, 1080, 1194,
            1433, 1521, 1723, 1883, 1900, 2049, 2323, 3128, 3306, 3389, 3478, 4444, 4500, 5060,
            5061, 5222, 5223, 5353, 5355, 5432, 5555, 5900, 5985, 6379, 6667, 7547, 8000, 8080,
            8443, 8883, 8888, 9100, 9200, 11211, 27017)  # fmt: skip
RANGES = ("none", "icmp", "below 1024", "1024 to 32767", "from 32768")
PORTS = (*RANGES, *map(str, SERVICES))


class Home:
    """The networks that are watched over.

    Args:
        networks: CIDR blocks; the private ones where left out.

    Raises:
        UserError: what is no network.
    """

    def __init__(self, networks: Sequence[str] | None = None) -> None:
        self.named = tuple(networks or ())
        self._networks = [_network(text) for text in networks or PRIVATE]
        self._known: dict[str, int] = {}

    def place(self, address: str) -> int:
        """0 for no address, 1 home, 2 outside, 3 a group (multicast, broadcast, unspecified)."""
        found = self._known.get(address)
        if found is None:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            found = self._known[address] = self._place(address)
        return found

    def _place(self, address: str) -> int:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return 0
        parsed = getattr(parsed, "ipv4_mapped", None) or parsed
        if parsed.is_multicast or parsed.is_unspecified or str(parsed) == "255.255.255.255":
            return 3
        return 1 if any(parsed in n for n in self._networks if n.version == parsed.version) else 2

    def directions(self, src: np.ndarray, dst: np.ndarray) -> np.ndarray:
        """Indices into DIRECTIONS (n,) of addresses (n,)."""
        place = self.place
        a = np.fromiter(map(place, src), np.int64, len(src))
        b = np.fromiter(map(place, dst), np.int64, len(dst))
        return _DIRECTION[a, b]


def _network(text: str) -> Any:
    try:
        return ipaddress.ip_network(str(text).strip(), strict=False)
    except ValueError:
        raise UserError(
            "this is no network", got=repr(text), expected="such as 10.0.0.0/8 or 2001:db8::/32",
            hint="--home-net 10.0.0.0/8,192.168.1.0/24",
        ) from None  # fmt: skip


def _directions() -> np.ndarray:
    found = np.zeros((4, 4), np.int64)
    found[1, 2], found[2, 1], found[1, 1], found[2, 2] = 1, 2, 3, 4
    found[3, 1:3] = 3
    found[:, 3] = 5
    return found


def _port_table() -> np.ndarray:
    ports = np.arange(65536)
    found = np.select([ports < 1024, ports < 32768], [2, 3], 4)
    for k, port in enumerate(SERVICES):
        found[port] = len(RANGES) + k
    return found


_DIRECTION = _directions()
_PORT = _port_table()
_PROTO = {name: k for k, name in enumerate(PROTOS)}
_STATE = {name: k for k, name in enumerate(STATES)}


def ports(proto: np.ndarray, dport: np.ndarray) -> np.ndarray:
    """Indices into PORTS (n,), of protocols (as `protos` gives them) and destination ports."""
    found = np.where(dport >= 0, _PORT[np.clip(dport, 0, 65535)], 0)
    found[proto == _PROTO["icmp"]] = 1
    return found


def protos(names: np.ndarray) -> np.ndarray:
    """Indices into PROTOS (n,)."""
    other = len(PROTOS) - 1
    return np.fromiter((_PROTO.get(name, other) for name in names), np.int64, len(names))


def states(names: np.ndarray) -> np.ndarray:
    """Indices into STATES (n,)."""
    other = len(STATES) - 1
    return np.fromiter((_STATE.get(name, other) for name in names), np.int64, len(names))
