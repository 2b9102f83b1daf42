"""Alerts: alarming flows of a host that belong together, told once, with what a person needs.

A host's first flow at or above the level begins an alert; flows after it belong to it until the
host has been quiet for `gap` seconds. It is told when it begins, and again each time that it
becomes graver. Of hosts that look suspicious the last flows are kept, so that an alert can show
what led to it. No torch.
"""

from __future__ import annotations

import json
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lstmkit.readers.flows import Flows
from lstmkit.tasks.intrusion import reasons
from lstmkit.tasks.intrusion.levels import GAP
from lstmkit.tasks.intrusion.reasons import Past, written
from lstmkit.tasks.intrusion.watch import HANDICAP, MEASURES, Judged

SEVERITIES = ("low", "medium", "high", "critical")
STEPS = (1.0, 2.0, 4.0)  # decades above the level at which an alert is graver
SUSPICIOUS = 1.0  # decades below the level from which on a host's flows are kept
KEPT = 32  # flows of such a host
SUSPECTS = 20_000  # hosts
EARLIER = 8  # flows that an alert shows
SURE = 0.5  # share of a class among the attacks from which on it is named

Alert = dict[str, Any]


class Rule(NamedTuple):
    """How scores become alerts.

    Attributes:
        level: the score that alarms.
        classes: names, the first benign.
        source: of the flows.
        gap: seconds.
        named: what an attack is called that looks like none of the classes.
    """

    level: float
    classes: tuple[str, ...]
    source: str
    gap: float = GAP
    named: str = "unusual"


class Open:
    """An alert that may go on."""

    __slots__ = ("begun", "flows", "grade", "last", "number", "peak")

    def __init__(
        self, number: int, begun: float, last: float, grade: int, peak: float, flows: int
    ) -> None:
        self.number, self.begun, self.last = number, begun, last
        self.grade, self.peak, self.flows = grade, peak, flows

    def to_json(self) -> list[Any]:
        """What `Open(*it)` makes again."""
        return [self.number, self.begun, self.last, self.grade, self.peak, self.flows]


class Alerter:
    """Scores in, alerts out; bounded memory.

    Args:
        rule: how.
    """

    def __init__(self, rule: Rule) -> None:
        self.rule, self.number = rule, 0
        self._open: OrderedDict[str, Open] = OrderedDict()
        self._past: OrderedDict[str, deque[Past]] = OrderedDict()

    def add(self, found: Flows, judged: Judged) -> list[Alert]:
        """The alerts that begin or become graver with these flows, in order."""
        low = max(self.rule.level - SUSPICIOUS, 0.5)
        hot = judged.score >= min(low, self.rule.level)
        src = found["src"]
        hosts = set(src[hot]) | self._past.keys()
        alerts = []
        for k in [k for k, host in enumerate(src) if host in hosts]:
            score = float(judged.score[k])
            if hot[k] or src[k] in self._past:
                self._keep(src[k], found, k, score)
            if score >= self.rule.level:
                told = self._alarm(found, judged, k)
                if told is not None:
                    alerts.append(told)
        return alerts

    def _keep(self, host: str, found: Flows, k: int, score: float) -> None:
        past = self._past.get(host)
        if past is None:
            past = self._past[host] = deque(maxlen=KEPT)
            if len(self._past) > SUSPECTS:
                self._past.popitem(last=False)
        else:
            self._past.move_to_end(host)
        past.append(Past.of(found, k, score))

    def _alarm(self, found: Flows, judged: Judged, k: int) -> Alert | None:
        """The alert that this alarming flow begins or makes graver."""
        host, time = found["src"][k], float(found["time"][k])
        score = float(judged.score[k])
        grade = int(sum(score - self.rule.level >= step for step in STEPS))
        running = self._open.get(host) if host else None
        if running is None or abs(time - running.last) > self.rule.gap:
            self.number += 1
            running = self._open[host] = Open(self.number, time, time, grade, score, 1)
            self._open.move_to_end(host)
            if len(self._open) > SUSPECTS:
                self._open.popitem(last=False)
            return self._told(running, "begun", found, judged, k)
        running.flows += 1
        running.last = max(time, running.last)
        running.peak = max(score, running.peak)
        self._open.move_to_end(host)
        if grade <= running.grade:
            return None
        running.grade = grade
        return self._told(running, "worse", found, judged, k)

    def _told(self, running: Open, state: str, found: Flows, judged: Judged, k: int) -> Alert:
        flow = found.row(k)
        past = list(self._past.get(flow["src"], ()))
        named = self.class_of(judged, k)
        return {
            "id": running.number,
            "time": written(flow["time"]),
            "host": flow["src"],
            "state": state,
            "score": round(float(judged.score[k]), 3),
            "severity": SEVERITIES[running.grade],
            "class": named,
            "reasons": reasons.of(judged, k, self.rule.classes, named, past),
            "flow": {name: _plain(value) for name, value in flow.items() if name != "label"},
            "record": flow["record"],
            "source": self.rule.source,
            "earlier": [p.to_json() for p in _earlier(past)],
            "flows": running.flows,
            "begun": written(running.begun),
        }

    def class_of(self, judged: Judged, k: int) -> str:
        """What an alarming flow is called."""
        classes, each = judged.classes[k], judged.each[k]
        attack = classes[1:]
        best = int(attack.argmax())
        by_surprise = len(each) > 1 and MEASURES[int((each - HANDICAP).argmax())] != "attack"
        unsure = attack[best] < SURE * attack.sum()
        if (by_surprise and classes[0] > SURE) or unsure:
            return self.rule.named
        return self.rule.classes[best + 1]

    # --- state

    def save(self) -> dict[str, np.ndarray]:
        """The state as bytes."""
        text = json.dumps({
            "number": self.number,
            "rule": [self.rule.level, self.rule.gap],
            "open": [[host, *one.to_json()] for host, one in self._open.items()],
            "past": [[host, list(map(list, kept))] for host, kept in self._past.items()],
        })  # fmt: skip
        return {"alerts": np.frombuffer(text.encode(), np.uint8).copy()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from `save`; alerts that are open stay so under another level."""
        stored = json.loads(state["alerts"].tobytes())
        self.number = int(stored["number"])
        self._open = OrderedDict((host, Open(*rest)) for host, *rest in stored["open"])
        self._past = OrderedDict(
            (host, deque((Past(*one) for one in kept), maxlen=KEPT))
            for host, kept in stored["past"]
        )


def _earlier(past: Sequence[Past]) -> list[Past]:
    """The flows before the last one that weighed most, in order."""
    before = past[:-1]
    chosen = sorted(range(len(before)), key=lambda k: (-before[k].score, -k))[:EARLIER]
    return [before[k] for k in sorted(chosen)]


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value
