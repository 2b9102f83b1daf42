"""Shapes of attacks, made up as flows, from which a detector without labels learns what to seek.

The network's own traffic says what is normal; what attacks have in common over time is known: a
scan asks many ports, a beacon comes back. Each shape is drawn with its rate, sizes and length from
wide ranges, so that the network learns the shape and not a tool (outlier exposure, Hendrycks et
al. 2019, arXiv:1812.04606). `unusual` flows have parts of other flows, or parts that none has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from lstmkit.readers.flows import Flows, flows, joined

CLASSES = ("scan", "sweep", "brute force", "beacon", "exfiltration", "flood", "tunnel", "unusual")
EARLY = {"scan": 5, "sweep": 5, "brute force": 6, "beacon": 5, "exfiltration": 1, "flood": 20,
         "tunnel": 8}  # fmt: skip
"""Flows of an attack that say little: alone they might be anybody's."""
LONGEST = 160  # flows of an episode
GUESSED = (22, 21, 23, 25, 110, 143, 445, 1433, 3306, 3389, 5432, 5900, 80, 443, 8080)
HEADER = 40  # bytes of IP and TCP
UNUSUAL = 0.08  # share of episodes that are no known attack
KNOWN_PEER = 0.5  # share of attacks whose other end has been spoken to before
KNOWN_OUTSIDE = 0.1  # of those that go outside
OUTSIDE = ("beacon", "exfiltration", "tunnel")
Rng = np.random.Generator


class Cast(NamedTuple):
    """Who may act: hosts at home, destinations that are known, those of them that are outside, and
    flows to borrow from."""

    hosts: Sequence[str]
    peers: Sequence[str]
    outside: Sequence[str]
    normal: Flows


class Plot(NamedTuple):
    """An attack to be played: from when, between whom."""

    start: float
    host: str
    peer: str


def stranger(rng: Rng) -> str:
    """An address that nobody has spoken to."""
    first = int(rng.choice([45, 62, 77, 91, 103, 141, 151, 176, 185, 193, 203]))
    return f"{first}.{rng.integers(256)}.{rng.integers(256)}.{rng.integers(1, 255)}"


def logarithmic(rng: Rng, low: float, high: float, size: int | None = None) -> Any:
    """Numbers whose logarithm is uniform."""
    return np.exp(rng.uniform(np.log(low), np.log(high), size))


def made(rng: Rng, plot: Plot, time: np.ndarray, **columns: Any) -> Flows:
    """Flows of one host at times (n,), of what is given by flow or once for all."""
    n = len(time)
    full: dict[str, Any] = {"src": plot.host, "dst": plot.peer, "proto": "tcp", "state": "SF"}
    full |= {"sport": rng.integers(32768, 61000, n), **columns}
    spread = {k: np.broadcast_to(np.asarray(v, object if isinstance(v, str) else None), n)
              for k, v in full.items()}  # fmt: skip
    return flows("made", n, None, time=time, **spread)


def exchange(rng: Rng, n: int, sent: Any, received: Any) -> dict[str, Any]:
    """Packets and bytes of flows that carry so many bytes of payload each way."""
    up = np.ceil(np.asarray(sent) / 1400) + rng.integers(2, 6, n)
    down = np.ceil(np.asarray(received) / 1400) + rng.integers(1, 5, n)
    up = np.maximum(up, np.round(down / 2))
    return {
        "src_packets": up, "dst_packets": down, "src_bytes": sent, "dst_bytes": received,
        "src_ip_bytes": sent + HEADER * up, "dst_ip_bytes": received + HEADER * down,
    }  # fmt: skip


def unanswered(rng: Rng, n: int, refused: float) -> dict[str, Any]:
    """What becomes of knocking: nothing, or a refusal; now and then it is opened."""
    drawn = rng.random(n)
    state = np.where(drawn < refused, "REJ", "S0").astype(object)
    opened = drawn > 1 - rng.choice([0.0, 0.02, 0.1])
    state[opened] = rng.choice(["RSTO", "S1", "SF", "RSTR"])
    up = rng.choice([1, 1, 1, 2, 3])
    down = np.where(state == "S0", 0, 1 + opened)
    duration = np.where(state == "S0", np.nan if up == 1 else 3.0, rng.random(n) * 0.05)
    return {
        "state": state, "duration": duration, "src_packets": np.full(n, float(up)),
        "dst_packets": down, "src_ip_bytes": np.full(n, float(up * rng.choice([40, 44, 60]))),
        "dst_ip_bytes": 40.0 * down, "src_bytes": np.zeros(n), "dst_bytes": np.zeros(n),
    }  # fmt: skip


def paced(rng: Rng, start: float, n: int, period: float, jitter: float) -> np.ndarray:
    """Times (n,) that are a period apart, each off by up to a share of it."""
    gaps = period * (1 + jitter * rng.uniform(-1, 1, n))
    found: np.ndarray = start + np.cumsum(gaps)
    return found


def scan(rng: Rng, plot: Plot) -> Flows:
    """Many ports of one destination, fast or slowly."""
    n = int(rng.integers(8, LONGEST))
    time = paced(rng, plot.start, n, logarithmic(rng, 0.002, 600), rng.uniform(0, 1))
    span = int(rng.choice([200, 1024, 10000, 65000]))
    first = rng.integers(1, 65000)
    ports = rng.integers(1, span, n) if rng.random() < 0.7 else (first + np.arange(n)) % 65535 + 1
    return made(rng, plot, time, dport=ports, **unanswered(rng, n, rng.choice([0, 0.2, 0.95])))


def sweep(rng: Rng, plot: Plot) -> Flows:
    """One port of many destinations."""
    n = int(rng.integers(6, LONGEST))
    time = paced(rng, plot.start, n, logarithmic(rng, 0.002, 600), rng.uniform(0, 1))
    if rng.random() < 0.5:
        network = plot.peer.rpartition(".")[0] or "10.0.0"
        peers = [f"{network}.{k}" for k in rng.integers(1, 255, n)]
    else:
        peers = [stranger(rng) for _ in range(n)]
    port = int(rng.choice([*GUESSED, 23, 23, 445, 2323, 5555, 7547, 6379, 8291]))
    knocks = unanswered(rng, n, rng.choice([0, 0.1, 0.5]))
    return made(rng, plot, time, dst=np.array(peers, object), dport=port, **knocks)


def brute_force(rng: Rng, plot: Plot) -> Flows:
    """The same service asked again and again, each time a little and in vain."""
    n = int(rng.integers(8, LONGEST))
    time = paced(rng, plot.start, n, logarithmic(rng, 0.05, 60), rng.uniform(0, 0.5))
    sent, received = logarithmic(rng, 40, 3000), logarithmic(rng, 60, 4000)
    wobble = rng.uniform(0, 0.15)
    sizes = [x * (1 + wobble * rng.standard_normal(n)).clip(0.2) for x in (sent, received)]
    state = rng.choice(["SF", "RSTO", "RSTR", "S1", "S3"], n, p=_mixture(rng, 5)).astype(object)
    duration = logarithmic(rng, 0.05, 8) * rng.uniform(0.7, 1.3, n)
    port = int(rng.choice(GUESSED))
    return made(rng, plot, time, dport=port, duration=duration, state=state,
                **exchange(rng, n, *np.round(sizes)))  # fmt: skip


def beacon(rng: Rng, plot: Plot) -> Flows:
    """A little said to the same place, again and again, at nearly the same intervals."""
    n = int(rng.integers(8, 60))
    period = logarithmic(rng, 10, 8000)
    time = paced(rng, plot.start, n, period, rng.uniform(0, 0.35))
    sent, received = logarithmic(rng, 60, 3000), logarithmic(rng, 60, 6000)
    wobble = rng.choice([0, 0.01, 0.1])
    sizes = [x * (1 + wobble * rng.standard_normal(n)).clip(0.3) for x in (sent, received)]
    state = "SF" if rng.random() < 0.7 else str(rng.choice(["S1", "RSTO", "S3", "RSTR", "S0"]))
    duration = logarithmic(rng, 0.02, 10) * rng.uniform(0.8, 1.2, n)
    port = int(rng.choice([443, 443, 443, 80, 80, 8080, 8443, 53, 4444, 6667, 1883, 5222, 22]))
    answered = exchange(rng, n, *np.round(sizes)) if state != "S0" else unanswered(rng, n, 0)
    columns = {"duration": duration, "state": state} | answered
    return made(rng, plot, time, dport=port, **columns)


def exfiltration(rng: Rng, plot: Plot) -> Flows:
    """Much more said than heard, at once or in pieces over hours."""
    n = int(rng.integers(2, 60))
    time = paced(rng, plot.start, n, logarithmic(rng, 5, 3600), rng.uniform(0, 0.9))
    sent = logarithmic(rng, 1e5, 3e7) * rng.uniform(0.7, 1.3, n)
    received = sent * logarithmic(rng, 1e-3, 0.03) + 300
    duration = sent / logarithmic(rng, 2e4, 1e7)
    port = int(rng.choice([443, 443, 443, 80, 22, 21, 8443, 8080, 53]))
    return made(rng, plot, time, dport=port, duration=duration,
                **exchange(rng, n, np.round(sent), np.round(received)))  # fmt: skip


def flood(rng: Rng, plot: Plot) -> Flows:
    """One service asked more often than it can answer."""
    n = int(rng.integers(40, LONGEST))
    time = paced(rng, plot.start, n, logarithmic(rng, 1e-4, 0.1), rng.uniform(0, 1))
    proto = str(rng.choice(["tcp", "tcp", "udp", "icmp"]))
    port = {"icmp": 0}.get(proto, int(rng.choice([80, 443, 53, 67, 123, 8080])))
    if rng.random() < 0.5:
        columns = unanswered(rng, n, rng.choice([0, 0.1]))
    else:
        columns = exchange(rng, n, np.full(n, logarithmic(rng, 20, 900)), np.full(n, 300.0))
        columns["duration"] = logarithmic(rng, 1e-4, 0.5) * rng.uniform(0.5, 1.5, n)
    return made(rng, plot, time, dport=port, proto=proto, **columns)


def tunnel(rng: Rng, plot: Plot) -> Flows:
    """Many questions to a name server that are too long, or pings that carry too much."""
    n = int(rng.integers(20, LONGEST))
    time = paced(rng, plot.start, n, logarithmic(rng, 0.01, 20), rng.uniform(0, 0.9))
    pings = rng.random() < 0.2
    sent = logarithmic(rng, 90, 1200) * rng.uniform(0.6, 1.4, n)
    received = logarithmic(rng, 90, 3000) * rng.uniform(0.6, 1.4, n)
    packets = rng.integers(1, int(rng.choice([2, 4, 400])), n).astype(float)
    columns = {
        "proto": "icmp" if pings else "udp", "dport": 0 if pings else 53, "state": "SF",
        "duration": packets * logarithmic(rng, 0.01, 0.5),
        "src_packets": packets, "dst_packets": packets, "src_bytes": packets * sent,
        "dst_bytes": packets * received, "src_ip_bytes": packets * (sent + 28),
        "dst_ip_bytes": packets * (received + 28),
    }  # fmt: skip
    return made(rng, plot, time, **columns)


def _mixture(rng: Rng, n: int) -> np.ndarray:
    """Probabilities (n,), mostly of one."""
    found: np.ndarray = rng.dirichlet(np.full(n, 0.3))
    return found


SHAPES: dict[str, Callable[[Rng, Plot], Flows]] = {
    "scan": scan, "sweep": sweep, "brute force": brute_force, "beacon": beacon,
    "exfiltration": exfiltration, "flood": flood, "tunnel": tunnel,
}  # fmt: skip
MIXED = ("duration", "src_packets", "dst_packets", "src_ip_bytes", "dst_ip_bytes", "state")


def unusual(rng: Rng, base: Flows, normal: Flows) -> tuple[Flows, np.ndarray]:
    """Flows of which a few have ports that nobody uses, and sizes of others; and which ones."""
    n = len(base)
    chosen = rng.random(n) < rng.choice([0.05, 0.2, 0.5])
    chosen[rng.integers(n)] = True
    columns = {name: column.copy() for name, column in base.columns.items()}
    rows = np.flatnonzero(chosen)
    columns["dport"][rows] = rng.integers(1, 65535, len(rows))
    if rng.random() < 0.3:
        for name in MIXED:
            columns[name][rows] = normal[name][rng.integers(len(normal), size=len(rows))]
    if rng.random() < 0.5:
        away = [stranger(rng) for _ in rows]
        columns["dst"][rows] = np.array([*away, ""], object)[:-1]
    return Flows("made", columns), chosen


def varied(rng: Rng, base: Flows) -> Flows:
    """The flows of a host as another host might have them: some left out, faster or slower, a
    little larger or smaller."""
    if len(base) < 2:
        return base
    kept = rng.random(len(base)) > rng.choice([0.0, 0.2, 0.5])
    kept[rng.integers(len(base))] = True
    found = base.take(kept)
    columns = {name: column.copy() for name, column in found.columns.items()}
    time = columns["time"]
    columns["time"] = time[0] + (time - time[0]) * logarithmic(rng, 0.4, 2.5)
    size = logarithmic(rng, 0.7, 1.4)
    for name in ("src_ip_bytes", "dst_ip_bytes", "duration"):
        columns[name] *= size * logarithmic(rng, 0.9, 1.1, len(found))
    return Flows("made", columns)


def episode(rng: Rng, base: Flows, cast: Cast) -> tuple[Flows, np.ndarray]:
    """An attack among the flows of a host (which may be none), in order of arrival.

    Returns:
        The flows, and the class of each: 0 for its own, k for CLASSES[k - 1].
    """
    if len(base) and rng.random() < UNUSUAL:
        found, chosen = unusual(rng, base, cast.normal)
        return found, np.where(chosen, len(CLASSES), 0)
    kind = int(rng.integers(len(SHAPES)))
    outside = CLASSES[kind] in OUTSIDE
    attack = list(SHAPES.values())[kind](rng, _plot(rng, base, cast, outside))
    merged = joined([Flows("made", base.columns), attack]) if len(base) else attack
    classes = np.concatenate([np.zeros(len(base), np.int64), np.full(len(attack), kind + 1)])
    order = np.argsort(merged["time"] + np.nan_to_num(merged["duration"]), kind="stable")
    return merged.take(order), classes[order]


def _plot(rng: Rng, base: Flows, cast: Cast, outside: bool) -> Plot:
    if len(base):
        times = base["time"]
        span = max(float(times[-1] - times[0]), 1.0)
        start = float(times[0]) + rng.uniform(-0.1, 0.9) * span
        host = str(base["src"][0])
    else:
        start, host = float(rng.uniform(1.4e9, 1.8e9)), stranger(rng)
        if rng.random() < 0.5:
            host = str(rng.choice(cast.hosts))
    if host not in cast.hosts:
        return Plot(start, host, str(rng.choice(cast.hosts)))
    known = cast.outside if outside else cast.peers
    share = KNOWN_OUTSIDE if outside else KNOWN_PEER
    peer = str(rng.choice(known)) if len(known) and rng.random() < share else stranger(rng)
    return Plot(start, host, peer)
