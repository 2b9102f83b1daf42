"""Flows to the numbers that the network reads, with what each flow sees of those before it.

The features are those that every source of flows has, so that a model of Zeek's logs reads packets
as well. Records without hosts (NSL-KDD, UNSW-NB15) have features of their own, and no sequence. No
torch.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from lstmkit.errors import UserError
from lstmkit.readers.flows import Flows
from lstmkit.tasks.intrusion import places
from lstmkit.tasks.intrusion.places import Home
from lstmkit.tasks.intrusion.table import Groups, Table, newly_set

Array = np.ndarray
RECORDS = ("nsl-kdd", "unsw-nb15")  # sources of single rows
NUMBERS = (
    "idle_host", "first_of_host", "idle_pair", "first_of_pair", "interval_change",
    "interval_known", "size_change", "new_port_of_pair", "new_port_of_host", "same_peer",
    "same_port", "known_peer", "duration", "duration_known", "src_packets", "dst_packets",
    "src_bytes", "dst_bytes", "src_packet_size", "asymmetry",
)  # fmt: skip
WORDS = {
    "proto": places.PROTOS,
    "state": places.STATES,
    "port": places.PORTS,
    "direction": places.DIRECTIONS,
}
EXPECTED_WORDS = ("port", "direction", "proto", "state")
EXPECTED_NUMBERS = ("idle_host", "duration", "src_bytes", "dst_bytes")
KNUTH = 2654435761  # of multiplicative hashing: 6 bits of a port
LARGEST_CHANGE = 4.0  # of logarithms
PAIR_HOSTS = " "  # between the two addresses of a pair's key

HOST = {"time": (np.float64, (), np.nan), "port": (np.int32, (), -2), "peer": (np.int64, (), -1),
        "ports": (np.uint64, (), 0)}  # fmt: skip
PAIR = {"time": (np.float64, (), np.nan), "idle": (np.float64, (), np.nan),
        "size": (np.float64, (), np.nan), "ports": (np.uint64, (), 0),
        "seen": (bool, (), False)}  # fmt: skip
PEER = {"hosts": (np.int64, (), 0)}


@dataclass(frozen=True)
class Geometry:
    """What a model reads.

    Attributes:
        source: the format that it was trained on.
        numbers: names of the numeric features.
        words: (name, vocabulary) of the categorical ones; index 0 of each is what is not known.
        home: networks; empty for the private ones.
        hosts: whether flows have hosts, and so a sequence.
    """

    source: str
    numbers: tuple[str, ...]
    words: tuple[tuple[str, tuple[str, ...]], ...]
    home: tuple[str, ...] = ()
    hosts: bool = True

    def to_json(self) -> dict[str, Any]:
        """Values of JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Geometry:
        """The inverse of `to_json`."""
        words = tuple((name, tuple(values)) for name, values in stored["words"])
        given = {"numbers": tuple(stored["numbers"]), "home": tuple(stored["home"])}
        return cls(stored["source"], words=words, hosts=bool(stored["hosts"]), **given)

    @property
    def offsets(self) -> np.ndarray:
        """Where each vocabulary begins in the common one."""
        sizes = [len(values) for _, values in self.words]
        return np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)

    @property
    def vocabulary(self) -> int:
        """Words of all vocabularies."""
        return sum(len(values) for _, values in self.words)

    def words_of(self, name: str) -> tuple[str, ...]:
        """One vocabulary."""
        return dict(self.words)[name]

    def check(self, found: Flows) -> None:
        """Raises UserError where flows of another source lack what the model reads."""
        if self.hosts and found.source not in RECORDS:
            return
        if found.source != self.source:
            reads = "flows of hosts" if self.hosts else f"the records of {self.source}"
            raise UserError(
                "these flows lack the features that the model was trained on",
                got=f"{found.source}",
                expected=reads,
                hint="sources of flows share their features; single records do not",
            )


class Features(NamedTuple):
    """Flows as the program reads them: numbers (n, N) float32, words (n, W) int64 into the common
    vocabulary; and the rows of their host and pair in the tables, (n,)."""

    numbers: Array
    words: Array
    host: Array
    pair: Array


def flow_geometry(source: str, home: tuple[str, ...] = ()) -> Geometry:
    """That of flows with hosts."""
    return Geometry(source, NUMBERS, tuple(WORDS.items()), home)


class Context:
    """What flows have to remember of flows: three bounded tables.

    Args:
        shape: of the model.
        hosts: hosts that are kept; pairs and destinations as many.
        states: numbers of the model's state by host and by pair.
    """

    def __init__(
        self, shape: Geometry, hosts: int, states: tuple[int, int] = (0, 0), own: Any = None
    ) -> None:
        self.shape, self.home = shape, Home(shape.home)
        host_state = {"state": (np.float32, (states[0],), 0.0)}
        pair_state = {"state": (np.float32, (states[1],), 0.0)}
        self.hosts = Table(hosts, {**HOST, **host_state, **(own or {})})
        self.pairs = Table(hosts, {**PAIR, **pair_state})
        self.peers = Table(hosts, PEER)

    def read(self, found: Flows) -> Features:
        """The next flows; the tables move on."""
        src, dst, n = found["src"], found["dst"], len(found)
        host = self.hosts.slots(src, n)
        keys = [a + PAIR_HOSTS + b for a, b in zip(src, dst, strict=True)]
        pair = self.pairs.slots(keys, n)
        peer = self.peers.slots(dst, n)
        seen = _before(found, host, pair, peer, self.hosts, self.pairs, self.peers)
        numbers = np.stack([seen[name] for name in NUMBERS], 1).astype(np.float32)
        proto = places.protos(found["proto"])
        kinds = {
            "proto": proto,
            "state": places.states(found["state"]),
            "port": places.ports(proto, found["dport"]),
            "direction": self.home.directions(src, dst),
        }
        words = np.stack([kinds[name] for name, _ in self.shape.words], 1) + self.shape.offsets
        return Features(np.nan_to_num(numbers), words, host, pair)

    def save(self, most: int | None = None) -> dict[str, Array]:
        """The tables as arrays; at most so many of the newest rows of each."""
        tables = {"hosts": self.hosts, "pairs": self.pairs, "peers": self.peers}
        return {k: v for name, table in tables.items() for k, v in table.save(name, most).items()}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Go on from `save`."""
        self.hosts.restore(state, "hosts")
        self.pairs.restore(state, "pairs")
        self.peers.restore(state, "peers")


def _before(
    found: Flows, host: Array, pair: Array, peer: Array, hosts: Table, pairs: Table, peers: Table
) -> dict[str, Array]:
    """The numeric features; the tables are moved on."""
    of_host, of_pair = Groups(host), Groups(pair)
    time, port = found["time"], found["dport"]
    idle_host = _idle(time, of_host.before(time, hosts["time"]))
    first_pair = ~of_pair.before(np.ones(len(found), bool), pairs["seen"])
    idle_pair = _idle(time, of_pair.before(time, pairs["time"]))
    size = _log(found["src_ip_bytes"])
    last_idle = of_pair.before(idle_pair, pairs["idle"])
    change = np.clip(idle_pair - last_idle, -LARGEST_CHANGE, LARGEST_CHANGE)
    grown = size - of_pair.before(size, pairs["size"])
    name = np.fromiter((zlib.crc32(address.encode()) for address in found["dst"]), np.int64)
    bits = (port.astype(np.int64) * KNUTH & 0xFFFFFFFF) >> 26
    peer_groups = Groups(peer)
    known = peers["hosts"][peer] + peer_groups.count(first_pair)
    seen = {
        "idle_host": idle_host,
        "first_of_host": np.isnan(idle_host),
        "idle_pair": idle_pair,
        "first_of_pair": first_pair,
        "interval_change": change,
        "interval_known": ~np.isnan(change),
        "size_change": np.clip(grown, -LARGEST_CHANGE, LARGEST_CHANGE),
        "new_port_of_pair": newly_set(pair, bits, pairs["ports"]),
        "new_port_of_host": newly_set(host, bits, hosts["ports"]),
        "same_peer": of_host.before(name, hosts["peer"]) == name,
        "same_port": of_host.before(port, hosts["port"]) == port,
        "known_peer": np.log1p(known),
        **_sizes(found),
    }
    of_host.store(time, hosts["time"])
    of_host.store(port, hosts["port"])
    of_host.store(name, hosts["peer"])
    of_pair.store(time, pairs["time"])
    of_pair.store(idle_pair, pairs["idle"])
    of_pair.store(size, pairs["size"])
    of_pair.store(np.ones(len(found), bool), pairs["seen"])
    np.add.at(peers["hosts"], peer, first_pair)
    return seen


def _sizes(found: Flows) -> dict[str, Array]:
    """What a flow is by itself."""
    duration = found["duration"]
    src, dst = _log(found["src_ip_bytes"]), _log(found["dst_ip_bytes"])
    return {
        "duration": np.log1p(1000 * np.maximum(np.nan_to_num(duration), 0)),
        "duration_known": ~np.isnan(duration),
        "src_packets": _log(found["src_packets"]),
        "dst_packets": _log(found["dst_packets"]),
        "src_bytes": src,
        "dst_bytes": dst,
        "src_packet_size": src - _log(found["src_packets"]),
        "asymmetry": src - dst,
    }


def _idle(time: Array, before: Array) -> Array:
    """Logarithm of 1 + the milliseconds since; 0 where the clock went back, NaN for the first."""
    return np.log1p(1000 * np.maximum(time - before, 0))


def _log(numbers: Array) -> Array:
    return np.log1p(np.maximum(np.nan_to_num(numbers), 0))


# --- records


def record_geometry(found: Flows, most_words: int = 80) -> Geometry:
    """That of single records: their own columns, words that are frequent in `found`."""
    numbers = tuple(k for k, v in found.extra.items() if v.dtype != object)
    words = []
    for name, column in found.extra.items():
        if column.dtype == object:
            values, counts = np.unique(column.astype(str), return_counts=True)
            kept = values[np.argsort(-counts, kind="stable")][:most_words]
            words.append((name, ("", *(w for w in map(str, kept) if w))))
    return Geometry(found.source, numbers, tuple(words), hosts=False)


def record_features(shape: Geometry, found: Flows) -> Features:
    """Single records as the program reads them: sizes by their logarithm, rates as they are.

    Raises:
        UserError: a column of the training is missing.
    """
    for name in (*shape.numbers, *(name for name, _ in shape.words)):
        if name not in found.extra:
            raise UserError(
                f"the records have no column {name!r}", expected=", ".join(shape.numbers)[:200]
            )
    columns = [np.nan_to_num(found.extra[name].astype(np.float64)) for name in shape.numbers]
    numbers = np.stack([np.sign(c) * np.log1p(np.abs(c)) for c in columns], 1).astype(np.float32)
    words = []
    for (name, values), offset in zip(shape.words, shape.offsets, strict=True):
        index = {word: k for k, word in enumerate(values)}
        words.append([index.get(str(w), 0) + offset for w in found.extra[name]])
    alone = np.arange(len(found))
    return Features(numbers, np.array(words, np.int64).T.reshape(len(found), -1), alone, alone)
