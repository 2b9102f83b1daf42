"""An office network, made up, and its days: who says what to whom, and who does what he must not.

Two random numbers decide: `network` who there is and what each one's habits are (hours, favourite
sites, how often mail is fetched), `seed` what happens on one day. So two seeds give two days of one
network. A day begins at 18:00 UTC; the attacks lie in its last hours, when everybody is at work.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lstmkit.demos.wire import SNAP, Spec, by_time, write_pcap
from lstmkit.readers.flows.schema import Flows, words

Random = random.Random

START = 1_772_474_400.0  # Monday 2026-03-02, 18:00 UTC
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
HOME = "10.20.0.0/16"
INFRA, MONITOR, FILES, WEB, DATA, BACKUP = (f"10.20.0.{k}" for k in (2, 3, 5, 10, 11, 20))
SERVERS = (INFRA, MONITOR, FILES, WEB, DATA, BACKUP)
SITES, FEWEST = 700, 10
STANDARD = ("beacon", "slow scan", "brute force")


class Site(NamedTuple):
    """A service that can be visited: its name, addresses, port, and how far away it is."""

    name: str
    addresses: tuple[str, ...]
    kind: str
    port: int
    rtt: float
    rate: float


@dataclass(frozen=True)
class Host:
    """A workstation and its habits.

    Attributes:
        wakes, sleeps: hours of the day; `always` says that the machine itself is never off.
        bursts: pages an hour when at work.
        favourites: indices of sites, the dearest first.
        mail, chat, updates: (period in seconds, phase); `chat` has period 0 for who has none.
    """

    address: str
    admin: bool
    wakes: float
    sleeps: float
    always: bool
    bursts: float
    favourites: tuple[int, ...]
    mail: tuple[float, float]
    chat: tuple[float, float]
    updates: tuple[float, float]
    printer: str

    def busy(self, time: float) -> float:
        """How much of the usual is done at `time`, 0 to 1."""
        hour = time % DAY / HOUR
        if not self.wakes <= hour < self.sleeps:
            return 0.0
        weekend = (time // DAY + 3) % 7 >= 5
        return 0.03 if weekend else 0.35 if 12 <= hour < 12.8 else 1.0

    def on(self, time: float) -> bool:
        """Whether the machine runs."""
        return self.always or self.busy(time) > 0.1


@dataclass(frozen=True)
class Network:
    """Who there is. The first sites are the best known; `web` is the house's own."""

    sites: tuple[Site, ...]
    mail: Site
    chat: Site
    updates: Site
    web: Site
    hosts: tuple[Host, ...]
    printers: tuple[str, ...]


class Attack(NamedTuple):
    """One attack of a scenario; `sports` from the first to the last."""

    name: str
    host: str
    peer: str
    start: float
    end: float
    sports: tuple[int, int]
    dports: tuple[int, ...]


@dataclass(frozen=True)
class Scenario:
    """Conversations sorted by start, and the attacks among them."""

    network: Network
    start: float
    stop: float
    flows: list[Spec]
    attacks: list[Attack]


class Known(NamedTuple):
    """A conversation as it is found again: its five names, when it began, and what it was."""

    proto: str
    src: str
    sport: int
    dst: str
    dport: int
    start: float
    label: str


@dataclass(frozen=True)
class Truth:
    """What a capture file holds."""

    attacks: list[Attack]
    conversations: list[Known]
    packets: int


def scenario(
    seed: int = 0,
    hosts: int = 50,
    hours: float = 24.0,
    attacks: bool | Sequence[str] = True,
    *,
    network: int = 0,
    day: int = 0,
) -> Scenario:
    """A day of an office network, or several.

    Args:
        seed: what happens; with the same `network` and `hosts`, another seed is another day.
        hosts: of all kinds: six servers, a printer for twenty, workstations.
        hours: from 18:00 of day `day` on; 0 is a Monday, from 4 on the week-end is quiet.
        attacks: none, the three of STANDARD, or some of ATTACKS. Each has a host of its own while
            there are enough. Below twelve hours they are shortened.

    Raises:
        ValueError: too few hosts, no time, or an unknown attack.
    """
    chosen = (STANDARD if attacks else ()) if isinstance(attacks, bool) else tuple(attacks)
    unknown = [name for name in chosen if name not in ATTACKS]
    if hosts < FEWEST or not hours > 0 or unknown:
        raise ValueError(
            f"{hosts} hosts (at least {FEWEST}), {hours} hours, unknown attacks {unknown}"
        )
    place, start = network_of(hosts, network), START + day * DAY
    span = (start, start + hours * HOUR)
    found = _Day(place, seed, span).normal()
    evil = _evil(chosen, place, Random(f"attacks {seed}"), span)
    ready = _numbered([*found, *evil], seed)
    named = [_told([spec for spec in ready if spec.label == name]) for name in chosen]
    return Scenario(place, *span, ready, named)


def write(path: Path, what: Scenario, snap: int = SNAP) -> Truth:
    """Write the scenario as a capture file; what is in it."""
    packets = write_pcap(path, by_time(what.flows, snap), snap)
    known = [Known(s.proto, s.src, s.sport, s.dst, s.dport, s.time, s.label) for s in what.flows]
    return Truth(what.attacks, known, packets)


def label(found: Flows, truth: Truth) -> Flows:
    """The flows with their labels: of the last conversation of these ends that began before it.

    A flow whose ends are swapped is found too; what was never said keeps an empty label.
    """
    begun: dict[tuple[str, str, int, str, int], list[tuple[float, str]]] = defaultdict(list)
    for one in truth.conversations:
        begun[one[:5]].append((one.start, one.label))
    made = words([""] * len(found))
    names = ("proto", "src", "sport", "dst", "dport", "time")
    rows = zip(*(found[name].tolist() for name in names), strict=True)
    for k, (proto, src, sport, dst, dport, time) in enumerate(rows):
        turned = (proto, dst, dport, src, sport)
        said = begun.get((proto, src, sport, dst, dport)) or begun.get(turned, [])
        place = bisect_right(said, (time + 0.001, "\uffff")) if time == time else 0
        made[k] = said[place - 1][1] if place else ""
    return Flows(found.source, dict(found.columns) | {"label": made}, found.extra)


# ---- who there is


def network_of(hosts: int, network: int) -> Network:
    """The network of a number; its first hosts are the same however many there are."""
    rng = Random(f"network {network}")
    kinds = [("tls", 443) if rng.random() < 0.9 else ("http", 80) for _ in range(SITES)]
    sites = tuple(_site(rng, *kind) for kind in kinds)
    mail, chat, updates = (_site(rng, "tls", port) for port in (993, 443, 443))
    web = Site("intranet.office.example", (WEB,), "http", 80, 0.0005, 5e7)
    printers = tuple(f"10.20.2.{k + 1}" for k in range(max(1, hosts // 20)))
    count = hosts - len(SERVERS) - len(printers)
    people = tuple(_host(network, k, printers) for k in range(count))
    return Network(sites, mail, chat, updates, web, people, printers)


def _site(rng: Random, kind: str, port: int) -> Site:
    parts = rng.sample(("ka", "ri", "mo", "tel", "sun", "vor", "eb", "lin", "as", "po", "gra"), 3)
    name = f"{rng.choice(('www', 'api', 'cdn', 'app'))}.{''.join(parts)}{rng.randrange(90)}.example"
    addresses = tuple(_outside(rng) for _ in range(rng.choice((1, 1, 2, 3))))
    return Site(name, addresses, kind, port, rng.uniform(0.006, 0.16), rng.uniform(2e6, 2e7))


def _outside(rng: Random) -> str:
    first = rng.choice((23, 34, 45, 52, 64, 81, 93, 104, 142, 151, 162, 185, 193, 199, 204, 216))
    return f"{first}.{rng.randrange(1, 255)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"


def _host(network: int, number: int, printers: tuple[str, ...]) -> Host:
    rng = Random(f"host {network} {number}")
    mail, updates = rng.choice((300.0, 600.0, 900.0, 900.0)), rng.choice((1, 2, 4, 6)) * HOUR
    chat = rng.choice((0.0, 0.0, 0.0, 420.0, 900.0))
    popular = [min(int(rng.paretovariate(0.5)) - 1, SITES - 1) for _ in range(24)]
    return Host(
        address=f"10.20.{1 if number < 250 else 3 + number // 250}.{number % 250 + 1}",
        admin=number % 15 == 3,
        wakes=rng.uniform(7.2, 9.8),
        sleeps=rng.uniform(16.2, 19.5),
        always=rng.random() < 0.3,
        bursts=rng.lognormvariate(0.7, 0.5),
        favourites=tuple(dict.fromkeys(popular)),
        mail=(mail, rng.uniform(0, mail)),
        chat=(chat, rng.uniform(0, chat)),
        updates=(updates, rng.uniform(0, updates)),
        printer=printers[number % len(printers)],
    )


# ---- what they do


class _Day:
    """The harmless conversations of one span; source ports come later (`_numbered`)."""

    def __init__(self, network: Network, seed: int, span: tuple[float, float]) -> None:
        self.network, self.seed, (self.start, self.stop) = network, seed, span
        self.cached: dict[tuple[str, str], float] = {}

    def normal(self) -> Iterator[Spec]:
        """Everything, host by host."""
        habits = (_browsing, _post, _polling, _upkeep, _sharing, _printing, _administering)
        for host in self.network.hosts:
            for habit in habits:
                yield from habit(self, host, Random(f"{self.seed} {host.address} {habit.__name__}"))
        yield from _servers(self, Random(f"{self.seed} servers"))
        for printer in self.network.printers:
            yield from _renewals(self, printer, Random(f"{self.seed} {printer}"))

    def often(self, rng: Random, host: Host, an_hour: float) -> Iterator[float]:
        """Random times, `an_hour` of them while the host is busy."""
        time = self.start + rng.expovariate(an_hour / HOUR)
        while time < self.stop:
            if rng.random() < host.busy(time):
                yield time
            time += rng.expovariate(an_hour / HOUR)

    def each(self, period: float, phase: float) -> Iterator[float]:
        """All times that are `phase` more than a multiple of `period`."""
        time = self.start + (phase - self.start) % period
        while time < self.stop:
            yield time
            time += period

    def visit(
        self,
        rng: Random,
        host: str,
        site: Site,
        time: float,
        turns: tuple[tuple[float, int, int], ...],
    ) -> Iterator[Spec]:
        """A look-up, unless the name is still known, and a connection; one in eighty fails.

        One look-up in fifty follows one of a name that does not exist.
        """
        if self.cached.get((host, site.name), 0.0) < time:
            self.cached[host, site.name] = time + rng.choice((60, 300, 300, 3600))
            if rng.random() < 0.02:
                yield _lookup(rng, host, site.name + ".office", (), time)
                time += rng.uniform(0.1, 4)
            yield _lookup(rng, host, site.name, site.addresses, time)
            time += 0.07
        end, tries = rng.choices(("SF", "RSTO", "RSTR", "S0", "REJ"), (800, 120, 65, 8, 4))[0], 3
        yield Spec(
            time, host, 0, rng.choice(site.addresses), site.port, site.kind, turns, end, site.name,
            tries=tries, rtt=site.rtt * rng.uniform(0.9, 1.3),
            rate=site.rate * rng.uniform(0.5, 1.1), seed=rng.getrandbits(40),
        )  # fmt: skip


def _lookup(rng: Random, host: str, name: str, answers: tuple[str, ...], time: float) -> Spec:
    """A DNS query to the house's resolver, which knows many answers already."""
    takes = rng.uniform(0.01, 0.06) if rng.random() < 0.3 else rng.uniform(2e-4, 1e-3)
    return Spec(
        time, host, 0, INFRA, 53, "dns", name=name, answers=answers, rtt=takes,
        seed=rng.getrandbits(40),
    )  # fmt: skip


def _browsing(day: _Day, host: Host, rng: Random) -> Iterator[Spec]:
    """Pages: a site of one's own, of everybody or one never seen, and what it embeds."""
    place = day.network
    dear = [1 / (k + 1) for k in range(len(host.favourites))]
    for time in day.often(rng, host, host.bursts):
        whim = rng.random()
        if whim < 0.75:
            site = place.sites[rng.choices(host.favourites, dear)[0]]
        elif whim < 0.85:
            site = place.web
        else:
            site = rng.choice(place.sites) if whim < 0.97 else _site(rng, "tls", 443)
        yield from day.visit(rng, host.address, site, time, _page(rng, rng.randint(1, 4)))
        for _ in range(0 if site is place.web else rng.randint(0, 4)):
            other = place.sites[min(int(rng.paretovariate(0.8)) - 1, SITES - 1)]
            at = time + 0.1 + rng.expovariate(1.2)
            yield from day.visit(rng, host.address, other, at, _page(rng, rng.randint(1, 2)))


def _page(rng: Random, requests: int) -> tuple[tuple[float, int, int], ...]:
    return tuple(
        (rng.expovariate(2.0), int(rng.lognormvariate(6.2, 0.5)),
         min(int(rng.lognormvariate(8.0, 1.3)), 4_000_000))
        for _ in range(requests)
    )  # fmt: skip


def _post(day: _Day, host: Host, rng: Random) -> Iterator[Spec]:
    """Mail at its interval; one time in seven there is some."""
    for time in day.each(*host.mail):
        if host.on(time):
            more = int(rng.lognormvariate(10, 1.2)) if rng.random() < 0.14 else 0
            turns = ((0.01, 120, 180), (0.01, 90, 260 + more), (0.01, 60, 90))
            at = time + rng.uniform(0, 0.5)
            yield from day.visit(rng, host.address, day.network.mail, at, turns)


def _polling(day: _Day, host: Host, rng: Random) -> Iterator[Spec]:
    """A chat client that asks for news: regular, and harmless."""
    period, phase = host.chat
    for time in day.each(period, phase) if period else ():
        if host.on(time):
            at = time + rng.uniform(0, 0.05) * period
            turns = ((0.01, 420, int(rng.lognormvariate(6.5, 0.8))),)
            yield from day.visit(rng, host.address, day.network.chat, at, turns)


def _upkeep(day: _Day, host: Host, rng: Random) -> Iterator[Spec]:
    """Updates, the clock and the lease."""
    for time in day.each(*host.updates):
        if host.on(time):
            more = rng.randint(5_000_000, 30_000_000) if rng.random() < 0.03 else 0
            turns = ((0.01, 700, 1_500), (0.05, 300, 4_000 + more))
            yield from day.visit(rng, host.address, day.network.updates, time, turns)
    for time in day.each(2048.0, host.mail[1]):
        if host.on(time):
            yield _near(rng, time + rng.uniform(0, 1), host.address, INFRA, 123, "ntp", sport=123)
    yield from (s for s in _renewals(day, host.address, rng) if host.on(s.time))


def _renewals(day: _Day, address: str, rng: Random) -> Iterator[Spec]:
    phase = int(address.rpartition(".")[2]) * 83.0
    for time in day.each(4 * HOUR, phase):
        yield _near(rng, time + rng.uniform(0, 2), address, INFRA, 67, "dhcp", sport=68)


def _sharing(day: _Day, host: Host, rng: Random) -> Iterator[Spec]:
    """Work on files of the server: long sessions, never silent for five minutes (a timeout)."""
    for time in day.often(rng, host, 0.35):
        turns = tuple(
            (
                min(rng.expovariate(1 / 60), 240.0),
                rng.randint(120, 2_000),
                int(rng.lognormvariate(8, 2)) % 10**7,
            )
            for _ in range(rng.randint(3, 25))
        )
        yield _near(rng, time, host.address, FILES, 445, "smb", turns)


def _printing(day: _Day, host: Host, rng: Random) -> Iterator[Spec]:
    """A page now and then; a printer that is asleep does not answer."""
    for time in day.often(rng, host, 0.15):
        turns = ((0.1, int(rng.lognormvariate(12, 1)) % 10**7, 60),)
        end = "S0" if rng.random() < 0.1 else "SF"
        yield _near(rng, time, host.address, host.printer, 9100, "print", turns, end=end, tries=3)


def _administering(day: _Day, host: Host, rng: Random) -> Iterator[Spec]:
    """Sessions on servers, of those whose work it is; some begin with a wrong password."""
    for time in day.often(rng, host, 0.8) if host.admin else ():
        server = rng.choice(SERVERS)
        if rng.random() < 0.15:
            yield _near(rng, time - 20, host.address, server, 22, "ssh", _guess(rng))
        keys = rng.randint(20, 160)
        turns = tuple((rng.expovariate(0.4), 36, rng.randint(36, 900)) for _ in range(keys))
        yield _near(rng, time, host.address, server, 22, "ssh", ((0.02, 64, 52), *turns))


def _guess(rng: Random) -> tuple[tuple[float, int, int], ...]:
    return ((0.01, 64, 52), (0.05, 132 + 16 * rng.randrange(3), 52), (1.6 + rng.random(), 32, 0))


def _servers(day: _Day, rng: Random) -> Iterator[Spec]:
    """Backups at night, checks each ten minutes, a database behind the web server."""
    for number, server in enumerate(SERVERS[:-1]):
        for time in day.each(DAY, HOUR + 20 * MINUTE * number):
            turns = ((0.05, rng.randint(12_000_000, 45_000_000), 3_000),)
            yield _near(rng, time + rng.uniform(0, 200), server, BACKUP, 22, "ssh", turns)
        for time in day.each(600.0, 11.0 * number):
            if server != MONITOR:
                yield _near(rng, time, MONITOR, server, 0, "echo", ((0, 60, 0), (1, 60, 0)))
        for time in day.each(1024.0, 97.0 * number):
            if server != INFRA:
                yield _near(rng, time + rng.uniform(0, 1), server, INFRA, 123, "ntp", sport=123)
    for time in day.each(600.0, 5.0):
        check = ((0.001, 160, 420),)
        yield _near(rng, time, MONITOR, WEB, 80, "http", check, name=day.network.web.name)
    for time in day.each(300.0, 60.0):
        turns = ((0.001, rng.randint(80, 900), int(rng.lognormvariate(7, 1))),)
        yield _near(rng, time + rng.uniform(0, 60), WEB, DATA, 445, "smb", turns)


def _near(
    rng: Random,
    time: float,
    src: str,
    dst: str,
    dport: int,
    kind: str,
    turns: tuple[tuple[float, int, int], ...] = (),
    *,
    end: str = "SF",
    name: str = "",
    sport: int = 0,
    tries: int = 1,
    label: str = "benign",
) -> Spec:
    """A conversation inside the house."""
    return Spec(
        time, src, sport, dst, dport, kind, turns, end, name, tries=tries, label=label,
        rtt=rng.uniform(2e-4, 9e-4), rate=5e7, seed=rng.getrandbits(40),
    )  # fmt: skip


# ---- what they must not do

Evil = Callable[[Random, str, float, float], Iterator[Spec]]


def _beacon(rng: Random, host: str, start: float, stop: float) -> Iterator[Spec]:
    """Five minutes, a fifth more or less, to an address that nobody else knows."""
    peer, time, rtt = _outside(rng), start, rng.uniform(0.03, 0.12)
    while time < stop:
        turns = ((0.01, rng.randint(380, 460), rng.randint(180, 230)),)
        yield Spec(
            time, host, 0, peer, 443, "tls", turns, name="update.kestrel.example",
            rtt=rtt * rng.uniform(0.95, 1.2), label="beacon", seed=rng.getrandbits(40),
        )  # fmt: skip
        time += 300 * rng.uniform(0.8, 1.2)


def _slow_scan(rng: Random, host: str, start: float, stop: float) -> Iterator[Spec]:
    """A port of the file server each minute."""
    ports = [22, 80, 443, 445, *rng.sample([p for p in range(1, 10_000) if p != 445], 2_000)]
    rng.shuffle(ports)
    for number, time in enumerate(np.arange(start, stop, MINUTE).tolist()):
        port, at = ports[number], time + rng.uniform(0, 6)
        end = "RSTO" if port in (22, 445) else "REJ"
        yield _near(rng, at, host, FILES, port, "probe", end=end, label="slow scan")


def _brute_force(rng: Random, host: str, start: float, stop: float) -> Iterator[Spec]:
    """A password each four seconds."""
    for time in np.arange(start, stop, 4.0).tolist():
        at = time + rng.uniform(0, 1)
        yield _near(rng, at, host, WEB, 22, "ssh", _guess(rng), label="brute force")


def _exfiltration(rng: Random, host: str, start: float, stop: float) -> Iterator[Spec]:
    """Sixty megabytes to one outside address, a piece each quarter of an hour."""
    times = np.arange(start, stop, 15 * MINUTE).tolist()
    peer = _outside(rng)
    for time in times:
        size = int(6e7 / len(times) * rng.uniform(0.7, 1.3))
        yield Spec(
            time + rng.uniform(0, 300), host, 0, peer, 443, "tls", ((0.01, size, 400),), rtt=0.09,
            name="files.ostrava.example", label="exfiltration", seed=rng.getrandbits(40),
        )  # fmt: skip


def _dns_tunnel(rng: Random, host: str, start: float, stop: float) -> Iterator[Spec]:
    """Data in the names of queries, and in the texts that answer them."""
    time = start
    while time < stop:
        data = [f"{rng.getrandbits(200):050x}" for _ in range(rng.randint(1, 4))]
        yield Spec(
            time, host, 0, INFRA, 53, "dns", ((0.0, 0, rng.randint(80, 250)),), rtt=0.05,
            name=".".join([*data, "t", "quill", "example"]), label="dns tunnel",
            seed=rng.getrandbits(40),
        )  # fmt: skip
        time += rng.expovariate(0.5)


# What an attack does, how long before the end of the scenario it begins, and how long it lasts.
ATTACKS: dict[str, tuple[Evil, float, float]] = {
    "beacon": (_beacon, 5.5 * HOUR, 5 * HOUR),
    "slow scan": (_slow_scan, 4.2 * HOUR, 2.5 * HOUR),
    "brute force": (_brute_force, 1.6 * HOUR, 15 * MINUTE),
    "exfiltration": (_exfiltration, 3.5 * HOUR, 3 * HOUR),
    "dns tunnel": (_dns_tunnel, 2.5 * HOUR, 30 * MINUTE),
}


def _evil(
    chosen: Sequence[str], network: Network, rng: Random, span: tuple[float, float]
) -> Iterator[Spec]:
    plain = [host.address for host in network.hosts if not host.admin]
    hosts = rng.sample(plain, len(plain))
    scale = min(1.0, (span[1] - span[0]) / (12 * HOUR))
    for number, name in enumerate(chosen):
        does, before, lasts = ATTACKS[name]
        start = span[1] - before * scale + rng.uniform(0, 10 * MINUTE) * scale
        yield from does(rng, hosts[number % len(hosts)], start, start + lasts * scale)


def _numbered(found: list[Spec], seed: int) -> list[Spec]:
    """By time, with source ports as a system gives them out: upwards, in small steps."""
    found.sort(key=lambda spec: spec.time)
    rngs: dict[str, Random] = {}
    last: dict[str, int] = {}
    for k, spec in enumerate(found):
        if spec.proto == "icmp":
            found[k] = replace(spec, sport=8, dport=0)
        elif not spec.sport:
            rng = rngs.setdefault(spec.src, Random(f"{seed} ports {spec.src}"))
            port = last.get(spec.src) or rng.randrange(32_768, 60_000)
            port = port + rng.randint(1, 5)
            last[spec.src] = port if port < 61_000 else 32_768
            found[k] = replace(spec, sport=last[spec.src])
    return found


def _told(found: list[Spec]) -> Attack:
    ports = [spec.sport for spec in found]
    return Attack(
        found[0].label, found[0].host, found[0].dst, found[0].time, found[-1].time,
        (ports[0], ports[-1]), tuple(sorted({spec.dport for spec in found})),
    )  # fmt: skip
