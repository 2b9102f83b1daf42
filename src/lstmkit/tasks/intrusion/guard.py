"""The split guard: whether flows that a model is scored on could have been learnt by heart.

Scores on traffic that was split at random, flow by flow, are worth nothing: the same connection,
scan or day stands on both sides, and 99.9 % on such a split can be 79 % on the next day. So a model
keeps a fingerprint of what it was trained on, and an evaluation is refused, or flagged, by it.

Addresses, identifiers and times are never features of a model here; `leaks` looks for others that
name the label by themselves. No torch.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lstmkit.readers.flows import Flows
from lstmkit.readers.flows.schema import NUMBERS, PORTS, WORDS

MOST = 65_536  # hashes that are kept of each kind; of more, those that are smallest
KINDS = ("flows", "connections", "hosts")
TUPLE = ("src", "sport", "dst", "dport", "proto")
LEARNT = 0.5  # share of duplicates from which on the flows are those of the training
INTERLEAVED = 0.1  # share of flows in the time of the training, of its hosts: a random split
PERFECT = 0.995  # balanced accuracy of one feature from which on it names the label
FEW_VALUES = 100  # values of a feature that is looked up rather than cut
FEWEST = 20  # flows of each kind to judge a feature by

Array = np.ndarray


@dataclass(frozen=True)
class Fingerprint:
    """What is kept of the flows of a training, at most 1.5 MB however many they were.

    Hashes of 64 bits: of whole flows, of connections (both ends, protocol and second of the start),
    of source hosts. Of more than MOST the smallest are kept: a fair sample, by which later flows
    whose hash is as small are judged.

    Attributes:
        source: the format. count: flows.
        first, last: their times; NaN without times.
        kept: kind -> sorted hashes (k,) uint64.
        limit: kind -> the hash below which all are kept.
    """

    source: str
    count: int
    first: float
    last: float
    kept: Mapping[str, Array]
    limit: Mapping[str, int]

    @classmethod
    def of(cls, found: Flows) -> Fingerprint:
        """That of flows."""
        kept, limit = {}, {}
        for kind, hashes in hashed(found).items():
            unique = np.unique(hashes)
            whole = len(unique) <= MOST
            kept[kind] = unique[:MOST]
            limit[kind] = 2**64 - 1 if whole else int(unique[MOST - 1])
        time = found["time"][np.isfinite(found["time"])]
        ends = (float(time.min()), float(time.max())) if len(time) else (float("nan"),) * 2
        return cls(found.source, len(found), *ends, kept, limit)

    def known(self, kind: str, hashes: Array) -> tuple[Array, Array]:
        """Which hashes (n,) can be judged, and which of them were there, both (n,)."""
        kept = self.kept[kind]
        place = np.searchsorted(kept, hashes)
        there = np.zeros(len(hashes), bool)
        inside = place < len(kept)
        there[inside] = kept[place[inside]] == hashes[inside]
        return hashes <= np.uint64(self.limit[kind]), there

    def to_json(self) -> dict[str, Any]:
        """Values of JSON."""
        kept = {k: base64.b64encode(v.astype("<u8").tobytes()).decode()
                for k, v in self.kept.items()}  # fmt: skip
        ends = [None if np.isnan(t) else t for t in (self.first, self.last)]
        limit = {k: str(v) for k, v in self.limit.items()}
        return {"source": self.source, "count": self.count, "ends": ends, "kept": kept,
                "limit": limit}  # fmt: skip

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Fingerprint:
        """The inverse of `to_json`."""
        kept = {k: np.frombuffer(base64.b64decode(stored["kept"][k]), "<u8").astype(np.uint64)
                for k in KINDS}  # fmt: skip
        first, last = (float("nan") if t is None else float(t) for t in stored["ends"])
        limit = {k: int(stored["limit"][k]) for k in KINDS}
        return cls(stored["source"], int(stored["count"]), first, last, kept, limit)


def hashed(found: Flows) -> dict[str, Array]:
    """Hashes (n,) of flows, their connections and their hosts."""
    c = found.columns
    second = np.floor(np.nan_to_num(c["time"], nan=-1.0)).astype(np.int64)
    everything = [c[name] for name in (*NUMBERS, *PORTS, *WORDS) if name not in ("label", "record")]
    extra = [found.extra[name] for name in sorted(found.extra)]
    return {
        "flows": _hashes([*everything, *extra]),
        "connections": _hashes([*(c[name] for name in TUPLE), second]),
        "hosts": _hashes([c["src"]]),
    }


def _hashes(columns: Iterable[Array]) -> Array:
    texts = [column.tolist() for column in columns]
    digests = b"".join(
        hashlib.blake2b(repr(row).encode(), digest_size=8).digest()
        for row in zip(*texts, strict=True)
    )
    return np.frombuffer(digests, "<u8").astype(np.uint64)


class Verdict(NamedTuple):
    """What the guard says.

    Attributes:
        refused: why nothing may be scored; None where it may.
        flags: what a reader of the scores must know.
        clean: which flows (n,) are neither in the training nor of a connection of it.
        shares: of flows that are duplicates, of known connections, and amid the training.
    """

    refused: str | None
    flags: tuple[str, ...]
    clean: Array
    shares: dict[str, float]


def judge(train: Fingerprint, test: Flows) -> Verdict:
    """Flows to be scored against the flows of the training."""
    hashes = hashed(test)
    duplicate = _there(train, "flows", hashes)
    clean = ~duplicate[1]
    shares = {"duplicates": _share(*duplicate)}
    if not (np.isfinite(train.first) and (test["src"] != "").all()):
        flags = _flags(shares, "only duplicates can be judged: these are single records, without "
                       "hosts and times")  # fmt: skip
        return Verdict(_learnt(shares), flags, clean, shares)
    connection, host = (_there(train, kind, hashes) for kind in ("connections", "hosts"))
    clean &= ~connection[1]
    time = test["time"]
    inside = (time > train.first) & (time < train.last)
    shares["connections"] = _besides(duplicate, *connection)
    shares["amid"] = _besides(duplicate, host[0], host[1] & inside)
    refused = _learnt(shares)
    if refused is None and shares["amid"] >= INTERLEAVED:
        refused = (
            f"{100 * shares['amid']:.0f} % of these flows are of the training's hosts and lie "
            "between its flows in time: a random split"
        )
    return Verdict(refused, _flags(shares), clean, shares)


def _there(train: Fingerprint, kind: str, hashes: Mapping[str, Array]) -> tuple[Array, Array]:
    return train.known(kind, hashes[kind])


def _share(judged: Array, there: Array) -> float:
    return float((there & judged).sum() / max(judged.sum(), 1))


def _besides(duplicate: tuple[Array, Array], judged: Array, there: Array) -> float:
    """The share of flows that are there and no duplicates. Duplicates are there too: where only a
    sample of the flows is known, their share is subtracted."""
    if duplicate[0].all():
        return _share(judged, there & ~duplicate[1])
    return max(_share(judged, there) - _share(*duplicate), 0.0)


def _learnt(shares: Mapping[str, float]) -> str | None:
    if shares["duplicates"] < LEARNT:
        return None
    return f"{100 * shares['duplicates']:.0f} % of these flows were learnt from"


def _flags(shares: Mapping[str, float], *more: str) -> tuple[str, ...]:
    words = {
        "duplicates": "are duplicates of flows of the training",
        "connections": "belong to connections that the training has seen",
        "amid": "are of the training's hosts and lie between its flows in time",
    }
    found = [f"LEAK: {_percent(shares[kind])} % of the flows {text}"
             for kind, text in words.items() if shares.get(kind, 0) > 0]  # fmt: skip
    return (*found, *more)


def _percent(share: float) -> str:
    return np.format_float_positional(
        100 * share, precision=2, unique=False, fractional=False, trim="-"
    )


def leaks(features: Mapping[str, Array], attack: Array) -> list[str]:
    """Features that name the label by themselves.

    Args:
        features: name -> values (n,), numbers or whole numbers that stand for words.
        attack: (n,) bool.

    Returns:
        A sentence for each feature by which alone flows that it was not chosen on are told apart
        with a balanced accuracy of PERFECT.
    """
    found = []
    half = np.arange(len(attack)) % 2 == 0
    if (
        min(attack[half].sum(), (~attack)[half].sum(), attack[~half].sum(), (~attack)[~half].sum())
        < FEWEST
    ):
        return []
    for name, values in features.items():
        score = _alone(np.nan_to_num(values.astype(np.float64)), attack, half)
        if score >= PERFECT:
            found.append(
                f"LEAK: {name} alone tells attacks from benign flows here "
                f"({100 * score:.1f} % balanced accuracy): the labels may say no more than that"
            )
    return found


def _alone(values: Array, attack: Array, half: Array) -> float:
    """Balanced accuracy of one feature, chosen on one half and measured on the other."""
    if len(np.unique(values)) <= FEW_VALUES:
        answer = _looked_up(values, attack, half)
    else:
        answer = _cut(values, attack, half)
    truth = attack[~half]
    right = answer == truth
    return float((right[truth].mean() + right[~truth].mean()) / 2)


def _looked_up(values: Array, attack: Array, half: Array) -> Array:
    known, place = np.unique(values, return_inverse=True)
    mine = place[half]
    bad = np.bincount(mine, attack[half], len(known)) / max(attack[half].sum(), 1)
    good = np.bincount(mine, ~attack[half], len(known)) / max((~attack)[half].sum(), 1)
    found: Array = (bad > good)[place[~half]]
    return found


def _cut(values: Array, attack: Array, half: Array) -> Array:
    order = np.argsort(values[half], kind="stable")
    ordered, truth = values[half][order], attack[half][order]
    below_bad = np.cumsum(truth) / max(truth.sum(), 1)
    below_good = np.cumsum(~truth) / max((~truth).sum(), 1)
    gain = np.where(np.append(np.diff(ordered) > 0, False), below_good - below_bad, 0)
    k = int(np.abs(gain).argmax())
    above = values[~half] > ordered[k]
    found: Array = above if gain[k] >= 0 else ~above
    return found
