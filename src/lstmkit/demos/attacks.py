"""Attacks as flows, to be laid over a day of real ones; and more hosts, from the flows of a few.

Every attack is made: sizes, packets and durations are those that the tools of the trade leave in
a Zeek log, spread by chance. Numbers hang together: IP bytes are the payload and a header of 52
bytes a packet (IPv4, TCP and its timestamps), 60 for a SYN, 40 for a reset, 28 for UDP.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

import numpy as np

from lstmkit.readers.flows.schema import BENIGN, Flows, flows

Array = np.ndarray
Random = np.random.Generator

HOUR, DAY = 3600.0, 86400.0
SEGMENT = 1448  # payload of a full TCP segment
HEADER, SYN, RESET, DATAGRAM = 52, 60, 40, 28
FAMILIAR: tuple[int, ...] = (
    21,
    22,
    23,
    25,
    53,
    80,
    110,
    111,
    135,
    139,
    143,
    389,
    443,
    445,
    587,
    993,
    1433,
    1723,
)
FAMILIAR += (2049, 3000, 3306, 3389, 5000, 5432, 5900, 5985, 6379, 8000, 8080, 8443, 9200, 27017)
INSIDE = [
    ipaddress.ip_network(net)
    for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
]
SERVICES = {22: "ssh", 53: "dns", 80: "http", 443: "ssl", 21: "ftp", 25: "smtp"}


def beacon(
    rng: Random,
    start: float,
    stop: float,
    host: str,
    peer: str,
    period: float,
    jitter: float,
    port: int = 443,
    *,
    source: str = "zeek",
    label: str = "beacon",
) -> Flows:
    """A call home: a short connection to `peer` after every wait of `period` seconds.

    Args:
        start: seconds since 1970 of the first call; the last is before `stop`.
        jitter: each wait is uniform in period * (1 - jitter) ... period * (1 + jitter).
    """
    time = _steps(rng, start, stop, period, jitter)
    n = len(time)
    sent, got = 640 + rng.integers(0, 90, n), 1900 + rng.integers(0, 40, n)
    task = rng.random(n) < 0.04  # now and then there is something to fetch
    got = got + np.where(task, rng.integers(4_000, 60_000, n), 0)
    lasts = 0.12 + rng.gamma(2.0, 0.04, n) + got / 2e6
    found = _Draft(rng, source, label, time, host, peer, _ephemeral(rng, n), port)
    return found.talks(sent, got, lasts)


def slow_scan(
    rng: Random,
    start: float,
    stop: float,
    host: str,
    targets: str | Sequence[str],
    every: float = 60.0,
    horizontal: bool = False,
    *,
    port: int = 445,
    jitter: float = 0.1,
    listening: Sequence[int] = (22, 80, 443),
    source: str = "zeek",
    label: str = "slow scan",
) -> Flows:
    """One probe each `every` seconds.

    Args:
        targets: vertical: every port of the first, then of the next; horizontal: `port` of each,
            then another port of each.
        listening: ports that answer; the others refuse. Horizontally six in ten addresses have no
            host, and are silent.
    """
    time = _steps(rng, start, stop, every, jitter)
    goals = [targets] if isinstance(targets, str) else list(targets)
    return _probes(rng, time, host, goals, horizontal, port, listening, source, label)


def fast_scan(
    rng: Random,
    start: float,
    stop: float,
    host: str,
    targets: str | Sequence[str],
    rate: float = 40.0,
    horizontal: bool = False,
    *,
    port: int = 445,
    listening: Sequence[int] = (22, 80, 443),
    source: str = "zeek",
    label: str = "fast scan",
) -> Flows:
    """As `slow_scan`, at `rate` probes a second and at random distances."""
    time = np.sort(rng.uniform(start, stop, rng.poisson(rate * (stop - start))))
    goals = [targets] if isinstance(targets, str) else list(targets)
    return _probes(rng, time, host, goals, horizontal, port, listening, source, label)


def exfiltration(
    rng: Random,
    start: float,
    stop: float,
    host: str,
    peer: str,
    total_bytes: int,
    pieces: int,
    port: int = 443,
    *,
    source: str = "zeek",
    label: str = "exfiltration",
) -> Flows:
    """`total_bytes` of payload to `peer` in `pieces` uploads of unequal size, spread evenly."""
    slot = (stop - start) / pieces
    time = start + slot * (np.arange(pieces) + rng.uniform(0.0, 0.6, pieces))
    share = np.cumsum(rng.dirichlet(np.full(pieces, 8.0)))
    ends: Array = np.round(share * total_bytes).astype(np.int64)
    ends[-1] = total_bytes
    sent: Array = np.diff(ends, prepend=0)
    got = 3_200 + sent // 400 + rng.integers(0, 400, pieces)
    lasts = np.minimum(0.3 + sent / rng.uniform(2e5, 2e6, pieces), 0.9 * slot)
    found = _Draft(rng, source, label, time, host, peer, _ephemeral(rng, pieces), port)
    return found.talks(sent, got, lasts)


def brute_force(
    rng: Random,
    start: float,
    stop: float,
    host: str,
    target: str,
    every: float = 4.0,
    port: int = 22,
    *,
    source: str = "zeek",
    label: str = "brute force",
) -> Flows:
    """Password guessing over SSH: a connection each `every` seconds, each of one wrong guess."""
    time = _steps(rng, start, stop, every, 0.25)
    n = len(time)
    sent, got = 1_890 + 16 * rng.integers(0, 12, n), 2_300 + 16 * rng.integers(0, 8, n)
    lasts = np.minimum(1.4 + rng.gamma(3.0, 0.35, n), 0.95 * every)
    found = _Draft(rng, source, label, time, host, target, _ephemeral(rng, n), port)
    return found.talks(sent, got, lasts, service="ssh")


def dns_tunnel(
    rng: Random,
    start: float,
    stop: float,
    host: str,
    resolver: str,
    rate: float = 1.0,
    *,
    source: str = "zeek",
    label: str = "dns tunnel",
) -> Flows:
    """`rate` queries a second whose long names carry data, answered by long TXT records.

    They go through the host's own resolver, each from a port of its own.
    """
    time = np.sort(rng.uniform(start, stop, rng.poisson(rate * (stop - start))))
    n = len(time)
    sent, got = rng.integers(110, 250, n), rng.integers(180, 480, n)
    lasts = 0.03 + rng.gamma(2.0, 0.015, n)
    sport = rng.integers(32_768, 61_000, n)
    found = _Draft(rng, source, label, time, host, resolver, sport, 53)
    return found.datagrams(sent, got, lasts, service="dns")


def flood(
    rng: Random,
    start: float,
    stop: float,
    host: str,
    target: str,
    rate: float = 100.0,
    port: int = 80,
    *,
    syn: bool = False,
    source: str = "zeek",
    label: str = "flood",
) -> Flows:
    """`rate` connections a second to one service: small HTTP requests, or SYNs without more."""
    time = np.sort(rng.uniform(start, stop, rng.poisson(rate * (stop - start))))
    n = len(time)
    found = _Draft(rng, source, label, time, host, target, _ephemeral(rng, n), port)
    if syn:
        return found.silent(1)
    sent, got = 120 + rng.integers(0, 30, n), np.full(n, 493)
    return found.talks(sent, got, 0.0004 + rng.gamma(2.0, 0.001, n), service="http")


def benign_hosts(
    rng: Random,
    like: Flows,
    hosts: int,
    start: float,
    stop: float,
    *,
    net: str = "10.20.128.0/17",
    spread: int = 1,
) -> Flows:
    """`hosts` more hosts, bootstrapped from the harmless flows of `like`: a block bootstrap.

    Each new host has a donor among the sources of `like`. Each of its hours is a whole hour of its
    donor, silent ones included, drawn among those whose hour of the day is at most `spread` away
    (all, where `like` has none such). So bursts, periods below an hour and the course of the day
    stay; what takes longer than an hour does not. The whole host is shifted by up to half an hour,
    so that hosts with one donor do not act at one moment. Only what a donor began is copied: peers,
    ports, sizes and `record` stay as they were, so new hosts visit no new peer.

    Args:
        like: flows with times; donors are its sources with a private address, or all of them.
        start: seconds since 1970; flows begin in start ... stop.
        net: where the addresses of the new hosts come from, counted from its first.

    Raises:
        ValueError: no flow of `like` can be used, `net` is too small, or `hosts` is not positive.
    """
    if hosts < 1:
        raise ValueError(f"{hosts} hosts cannot be made")
    like = like.take(np.isfinite(like["time"]))
    span = like["time"]  # of the attacks too: what is silent beside them was recorded
    like = like.take(np.isin(like["label"], ["", BENIGN]))
    donors, owner = _donors(like)
    hour = np.floor(like["time"] / HOUR).astype(np.int64)
    order = np.lexsort((like["time"], hour, owner))
    order = order[owner[order] >= 0]
    hours = np.arange(span.min() // HOUR, span.max() // HOUR + 1).astype(np.int64)
    key = owner[order] * len(hours) + hour[order] - hours[0]
    bounds = np.searchsorted(key, np.arange(len(donors) * len(hours) + 1))
    wanted = np.arange(np.floor(start / HOUR) - 1, np.ceil(stop / HOUR) + 1)
    near = [_near(hours, int(h), spread) for h in wanted]
    rows, shifts, whose = [], [], []
    for number in range(hosts):
        donor, late = int(rng.integers(len(donors))), rng.uniform(-HOUR / 2, HOUR / 2)
        for h, choice in zip(wanted, near, strict=True):
            drawn = int(rng.choice(choice))
            cell = donor * len(hours) + drawn
            block = order[bounds[cell] : bounds[cell + 1]]
            rows.append(block)
            shifts.append(np.full(len(block), (h - hours[drawn]) * HOUR + late))
            whose.append(np.full(len(block), number))
    made = like.take(np.concatenate(rows))
    names = _addresses(net, hosts)[np.concatenate(whose)]
    columns = dict(made.columns) | {"time": made["time"] + np.concatenate(shifts), "src": names}
    columns["label"] = _same(BENIGN, len(made))
    made = Flows(made.source, columns, made.extra)
    return merged(made.take((made["time"] >= start) & (made["time"] < stop)))


def merged(*parts: Flows) -> Flows:
    """Flows of several origins in order of arrival: by the time when they end.

    What only some have (`extra`) is NaN or empty in the others; an unknown duration counts as 0.

    Raises:
        ValueError: the parts are of different sources.
    """
    sources = {part.source for part in parts}
    if len(sources) != 1:
        raise ValueError(f"flows of one source can be merged, not of {sorted(sources)}")
    columns = {k: np.concatenate([p[k] for p in parts]) for k in parts[0].columns}
    names = {k: c.dtype == object for p in parts for k, c in p.extra.items()}
    extra = {
        k: np.concatenate([p.extra.get(k, _unknown(words, len(p))) for p in parts])
        for k, words in names.items()
    }
    ends = columns["time"] + np.nan_to_num(columns["duration"])
    return Flows(sources.pop(), columns, extra).take(np.argsort(ends, kind="stable"))


class _Draft:
    """Who, to whom and when; its methods add what happened, and give the flows."""

    def __init__(
        self,
        rng: Random,
        source: str,
        label: str,
        time: Array,
        src: str,
        dst: str | Array,
        sport: Array,
        dport: int | Array,
    ) -> None:
        n = len(time)
        self.rng, self.source, self.n = rng, source, n
        self.known: dict[str, Any] = {
            "time": np.round(time, 6),
            "src": _same(src, n),
            "dst": _same(dst, n) if isinstance(dst, str) else dst,
            "sport": sport,
            "dport": np.broadcast_to(dport, n),
            "label": _same(label, n),
            "record": _named(label, n),
        }

    def talks(self, sent: Array, got: Array, lasts: Array, service: str | None = None) -> Flows:
        """Whole TCP connections, ended by both (SF)."""
        out, back = -(-sent // SEGMENT), -(-got // SEGMENT)
        acks = self.rng.integers(0, 2, self.n)
        src_packets = 3 + out + (back + 1) // 2 + acks
        dst_packets = 2 + back + (out + 1) // 2 + self.rng.integers(0, 2, self.n)
        if service is None:
            service = SERVICES.get(int(self.known["dport"][0]) if self.n else 0, "")
        return self._flows(
            "tcp", "SF", service, lasts, src_packets, dst_packets, sent, got,
            src_packets * HEADER + SYN - HEADER + sent, dst_packets * HEADER + SYN - HEADER + got,
        )  # fmt: skip

    def datagrams(self, sent: Array, got: Array, lasts: Array, service: str) -> Flows:
        """UDP: one question, one answer (SF)."""
        one = np.ones(self.n)
        return self._flows(
            "udp", "SF", service, lasts, one, one, sent, got, sent + DATAGRAM, got + DATAGRAM
        )

    def silent(self, syns: int | Array) -> Flows:
        """SYNs without an answer (S0): the second a second later, the third two after that."""
        syns = np.broadcast_to(syns, self.n)
        lasts = (2.0 ** (syns - 1) - 1) * (1 + self.rng.uniform(0, 0.02, self.n))
        zero = np.zeros(self.n)
        return self._flows("tcp", "S0", "", lasts, syns, zero, zero, zero, syns * SYN, zero)

    def probes(self, state: Array) -> Flows:
        """What a port scan by connect() leaves: S0 unanswered, REJ refused, RSTO open."""
        silent, open_ = state == "S0", state == "RSTO"
        zero, lasts = np.zeros(self.n), 2e-4 + self.rng.gamma(2.0, 2e-4, self.n)
        src_packets = np.where(silent, 2, np.where(open_, 3, 1))
        ip = np.where(silent, 2 * SYN, np.where(open_, 2 * HEADER + SYN, SYN))
        back = np.where(silent, 0, np.where(open_, SYN, RESET))
        lasts = np.where(silent, 1.0 + 10 * lasts, lasts * np.where(open_, 3, 1))
        return self._flows(
            "tcp", state, "", lasts, src_packets, 1 - silent, zero, zero, ip, back
        )  # fmt: skip

    def _flows(
        self,
        proto: str,
        state: str | Array,
        service: str,
        lasts: Array,
        src_packets: Array,
        dst_packets: Array,
        sent: Array,
        got: Array,
        src_ip: Array,
        dst_ip: Array,
    ) -> Flows:
        return merged(
            flows(
                self.source,
                self.n,
                **self.known,
                proto=_same(proto, self.n),
                service=_same(service, self.n),
                state=_same(state, self.n) if isinstance(state, str) else state,
                duration=np.round(lasts, 6),
                src_packets=src_packets,
                dst_packets=dst_packets,
                src_bytes=sent,
                dst_bytes=got,
                src_ip_bytes=src_ip,
                dst_ip_bytes=dst_ip,
            )
        )


def _probes(
    rng: Random,
    time: Array,
    host: str,
    targets: Sequence[str],
    horizontal: bool,
    port: int,
    listening: Sequence[int],
    source: str,
    label: str,
) -> Flows:
    n, m = len(time), len(targets)
    ports = scan_order(rng)
    if horizontal:
        ports = np.concatenate([[port], ports[ports != port]])
        goal, dport = np.arange(n) % m, ports[np.arange(n) // m % len(ports)]
    else:
        goal, dport = np.arange(n) // len(ports) % m, ports[np.arange(n) % len(ports)]
    there = rng.random(m) < (0.4 if horizontal and m > 1 else 1.0)
    state = np.where(np.isin(dport, list(listening)), "RSTO", "REJ")
    state = np.where(there[goal], state, "S0").astype(object)
    dst = np.array(targets, object)[goal]
    return _Draft(rng, source, label, time, host, dst, _ephemeral(rng, n), dport).probes(state)


def scan_order(rng: Random) -> Array:
    """Ports in the order of a scan: the familiar ones first, then all below 10,000."""
    first = rng.permutation(np.array(FAMILIAR))
    return np.concatenate([first, rng.permutation(np.setdiff1d(np.arange(1, 10_000), first))])


def _steps(rng: Random, start: float, stop: float, period: float, jitter: float) -> Array:
    """Times from `start` to before `stop` whose distances are uniform around `period`."""
    if not 0 <= jitter < 1 or not period > 0:
        raise ValueError(f"period {period} must be positive and jitter {jitter} in 0 ... 1")
    most = int((stop - start) / (period * (1 - jitter))) + 2
    gaps = period * (1 + jitter * rng.uniform(-1, 1, max(most, 1)))
    time = start + np.concatenate([[0.0], np.cumsum(gaps)])
    return time[time < stop]


def _ephemeral(rng: Random, n: int) -> Array:
    """Ports as a system gives them out: upwards in small steps, since others take some too."""
    return 32_768 + (rng.integers(28_000) + np.cumsum(rng.integers(1, 12, n))) % 28_232


def _donors(like: Flows) -> tuple[Array, Array]:
    """The hosts to copy (k,), and whose each flow is (n,), -1 for nobody's."""
    names, owner = np.unique(like["src"].astype(str), return_inverse=True)
    private = np.array([_private(name) for name in names], bool)
    chosen = private if private.any() else names != ""
    if not chosen.any():
        raise ValueError("no harmless flow with a time and a source to copy")
    return names[chosen], np.where(chosen, np.cumsum(chosen) - 1, -1)[owner]


def _private(name: str) -> bool:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return any(address in net for net in INSIDE)


def _near(hours: Array, hour: int, spread: int) -> Array:
    """Which of `hours` (since 1970) are within `spread` hours of the day; all, if none is."""
    away = np.abs((hours - hour + 12) % 24 - 12)
    near = np.flatnonzero(away <= spread)
    return near if len(near) else np.arange(len(hours))


def _addresses(net: str, n: int) -> Array:
    network = ipaddress.ip_network(net)
    if n > network.num_addresses - 2:
        raise ValueError(f"{net} has no room for {n} hosts")
    found = np.empty(n, object)
    found[:] = [str(network[k + 1]) for k in range(n)]
    return found


def _same(word: str, n: int) -> Array:
    return np.full(n, word, object)


def _named(label: str, n: int) -> Array:
    found = np.empty(n, object)
    found[:] = [f"injected {label} {k + 1}" for k in range(n)]
    return found


def _unknown(words: bool, n: int) -> Array:
    return _same("", n) if words else np.full(n, np.nan)
