"""Why a flow alarmed, in words: what it looks like, what was expected, what its host has done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lstmkit.readers.flows import Flows
from lstmkit.tasks.intrusion.features import EXPECTED_WORDS, WORDS
from lstmkit.tasks.intrusion.watch import HANDICAP, MEASURES, Judged

STRANGE = -1.5  # log10 of a chance below which it is said
LIKELY = 0.3  # chance of a word from which on it is named as the expected one
MANY = 4  # ports or peers from which on they are counted
REGULAR = 0.35  # spread of the intervals, in units of their median, below which they are a rhythm
FEWEST = 5  # times that make one
MUCH = 1e6  # bytes that are worth saying
UNANSWERED = ("S0", "REJ", "SH", "RSTOS0")
MOST = 5  # reasons
WORTH = 0.1  # probability of a class from which on it is said
SIZES = ("src_ip_bytes", "dst_ip_bytes")
NAMES = ("record", "src", "dst", "proto", "state")


class Past(NamedTuple):
    """A flow that is kept because its host is suspicious."""

    time: float
    record: str
    src: str
    dst: str
    dport: int
    proto: str
    state: str
    sent: float
    received: float
    score: float

    @classmethod
    def of(cls, found: Flows, k: int, score: float) -> Past:
        """The k-th flow."""
        c = found.columns
        time, sent, received = (_known(c[name][k]) for name in ("time", *SIZES))
        record, src, dst, proto, state = (str(c[name][k]) for name in NAMES)
        port, rounded = int(c["dport"][k]), round(score, 3)
        return cls(time, record, src, dst, port, proto, state, sent, received, rounded)

    def to_json(self) -> dict[str, Any]:
        """As an alert shows it."""
        shown = ("record", "src", "dst", "dport", "proto", "state", "score")
        return {"time": written(self.time), **{name: getattr(self, name) for name in shown}}


def _known(number: Any) -> float:
    """A number; 0 for NaN. numpy's own way takes ten times as long for one."""
    found = float(number)
    return found if found == found else 0.0


def of(
    judged: Judged, k: int, classes: Sequence[str], named: str, past: Sequence[Past]
) -> list[str]:
    """Up to MOST reasons, what the host has done first."""
    found = done(past)
    attack = judged.classes[k]
    if named in classes[1:]:
        share = float(attack[classes.index(named)])
        if share > WORTH:
            found.append(f"looks like {named}: {percent(share)}")
    found += _unexpected(judged, k)
    return found[:MOST] or [_measured(judged, k, classes)]


def _measured(judged: Judged, k: int, classes: Sequence[str]) -> str:
    """What is left to say: which measure it was, and how rare that is."""
    rarity = f"one normal flow in {10 ** min(float(judged.score[k]), 15):,.0f} scores as high"
    each = judged.each[k]
    name = MEASURES[int((each - HANDICAP).argmax())] if len(each) > 1 else MEASURES[0]
    if name == "surprise":
        return f"its sizes or its timing were not expected; {rarity}"
    if name == "lasting":
        return f"the host's last flows together were not expected; {rarity}"
    best = 1 + int(judged.classes[k][1:].argmax())
    return f"most like {classes[best]} of all attacks; {rarity}"


def _unexpected(judged: Judged, k: int) -> list[str]:
    """Words that had little chance before the flow, and what was expected."""
    found = []
    for place, name in enumerate(EXPECTED_WORDS):
        chance = float(judged.chances[k, place]) if judged.chances.shape[1] else 0.0
        if judged.each.shape[1] < 2 or chance > STRANGE:
            continue
        expected = WORDS[name][int(judged.likely[k, place])] or "none"
        how = float(judged.likeliest[k, place])
        instead = f", {expected} was expected ({percent(how)})" if how > LIKELY else ""
        found.append(f"{_SAID[name]} that comes once in {10**-chance:,.0f} flows here{instead}")
    return found


_SAID = {
    "port": "a service",
    "direction": "a direction",
    "proto": "a protocol",
    "state": "an end of the connection",
}


def done(past: Sequence[Past]) -> list[str]:
    """What a host did in its last flows."""
    if not past:
        return []
    found = []
    last = past[-1]
    same = [p for p in past if p.dst == last.dst]
    ports = {p.dport for p in same}
    peers = {p.dst for p in past}
    if len(ports) >= MANY:
        found.append(f"{len(ports)} ports of {last.dst} in {lasting(_span(same))}")
    if len(peers) >= MANY:
        found.append(f"{len(peers)} destinations in {lasting(_span(past))}")
    void = sum(p.state in UNANSWERED for p in past)
    if void >= MANY and void >= len(past) / 2:
        found.append(f"{void} of its last {len(past)} flows unanswered or refused")
    found += _again([p for p in same if p.dport == last.dport])
    return found + _sent(same)


def _again(same: Sequence[Past]) -> list[str]:
    """A rhythm, or how often."""
    if len(same) < FEWEST:
        return []
    last = same[-1]
    where = f"{last.dst} {last.proto}/{last.dport}" if last.dport >= 0 else last.dst
    gaps = np.diff([p.time for p in same])
    middle = float(np.median(gaps))
    spread = float(np.median(np.abs(gaps - middle)))
    if middle > 1 and spread < REGULAR * middle:
        return [
            f"{len(same)} times {where}, every {lasting(middle)} (± {percent(spread / middle)})"
        ]
    return [f"{len(same)} times {where} in {lasting(_span(same))}"]


def _span(past: Sequence[Past]) -> float:
    """Seconds from the first to the last; flows that began earlier may arrive later."""
    times = [p.time for p in past]
    return max(times) - min(times)


def _sent(same: Sequence[Past]) -> list[str]:
    sent, received = sum(p.sent for p in same), sum(p.received for p in same)
    if sent < MUCH or sent < 5 * received:
        return []
    return [f"{_bytes(sent)} sent to {same[-1].dst}, {_bytes(received)} received"]


def written(time: float) -> str:
    """Seconds since 1970 in ISO 8601, UTC; empty where unknown."""
    if not np.isfinite(time) or abs(time) > 2e11:
        return ""
    return str(np.datetime64(round(time * 1e6), "us")) + "Z"


def lasting(seconds: float) -> str:
    """A length of time in words."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{_short(seconds / size)} {unit}"
    return f"{_short(seconds)} s"


def percent(share: float) -> str:
    """A share in percent, never rounded up to all of it."""
    return f"{_short(min(100 * share, 99.9))} %"


def _bytes(number: float) -> str:
    for size, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= size:
            return f"{_short(number / size)} {unit}"
    return f"{number:.0f} B"


def _short(number: float) -> str:
    """Three digits that count, and no exponent; nothing below a thousandth."""
    return f"{float(f'{number:.3g}'):,.12g}" if abs(number) >= 1e-3 else "0"
