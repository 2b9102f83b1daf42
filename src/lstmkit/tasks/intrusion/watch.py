"""Flows in, scores out, host by host, in pieces of any size. No torch.

Whole files, streams of packets and logs that grow all go through this: what is said of a flow does
not depend on the pieces in which the flows came.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lstmkit.calibration.tails import Tail
from lstmkit.readers.flows import Flows, pieces
from lstmkit.tasks.intrusion.features import (
    EXPECTED_WORDS,
    Context,
    Features,
    Geometry,
    record_features,
)
from lstmkit.tasks.intrusion.program import CHANCE
from lstmkit.tasks.intrusion.table import Groups

if TYPE_CHECKING:
    from lstmkit.runtime import Model

HOSTS = 100_000  # that are remembered, where nothing else is said
MEASURES = ("attack", "surprise", "lasting")
LEAST_SLOPES = (0.3, 0.1, 0.15)  # of their tails
HANDICAP = (0.0, 1.0, 1.0)  # decades from which on each is heard
KEPT = 0.9  # of a host's lasting surprise at each flow
LEAST_CHANCE = 1e-9
PIECE = 8192
EASY = 20.0  # added to the surprise, which may be below 0, so that its logarithm can be taken

Array = np.ndarray


class Judged(NamedTuple):
    """What is said of flows (n,).

    Attributes:
        score: minus log10 of the probability of so strange a normal flow.
        measures: the numbers (n, 3) behind it, see MEASURES.
        each: the score (n, 3) of each measure.
        classes: probability (n, K) of each class, the first benign.
        chances: log10 of the chance (n, 4) of the words of EXPECTED_WORDS.
        likely: the word (n, 4) that was likeliest, and `likeliest` its chance.
    """

    score: Array
    measures: Array
    each: Array
    classes: Array
    chances: Array
    likely: Array
    likeliest: Array


@dataclass(frozen=True)
class Scale:
    """How the numbers of a detector become scores.

    Attributes:
        tails: of the measures on normal flows that were not learnt from.
        handicap: decades from which on each measure is heard.
    """

    tails: tuple[Tail, ...]
    handicap: tuple[float, ...] = HANDICAP

    def scores(self, measures: Array) -> Array:
        """Scores (n, M) of measures (n, M)."""
        each = [t.score(c) for t, c in zip(self.tails, measures.T, strict=True)]
        return np.stack(each, 1) if each else np.zeros((len(measures), 0))

    def joined(self, each: Array) -> Array:
        """One score (n,) of those of the measures (n, M): the largest, each from its handicap."""
        found: Array = np.maximum((each - np.array(self.handicap)).max(1), 0.0)
        return found


class Watch:
    """The state of a network: that of each host and pair, in bounded memory.

    Args:
        model: what runs the program.
        shape: what it reads.
        scale: how its numbers become scores; None for the numbers alone.
        hosts: hosts that are remembered; the one unseen for longest leaves first.
        memory: False resets the LSTMs at every flow, which tells what their memory is worth.
        start: the state to begin with, as `save` gives it: what the training has seen last.
    """

    def __init__(
        self,
        model: Model,
        shape: Geometry,
        scale: Scale | None = None,
        hosts: int = HOSTS,
        memory: bool = True,
        start: Mapping[str, Array] | None = None,
    ) -> None:
        self.model, self.shape, self.scale, self.memory = model, shape, scale, memory
        slots = model.program.slots.values()
        sizes = {
            end: sum(int(np.prod(s.shape)) for s in slots if s.name.startswith(end))
            for end in ("pair.", "host.")
        }
        own = {"lasting": (np.float32, (), 0.0)}
        self.cut = sizes["pair."]
        states = (sizes["host."], sizes["pair."])
        hosts = max(hosts, 4 * PIECE)
        self.context = Context(shape, hosts if shape.hosts else 1, states, own)
        self._columns = self._order()
        self._plan = model.plan(model.program.entry("step"), {})
        if start:
            self.restore(start)

    def _order(self) -> Array:
        """Where the numbers of (pair, host) stand in the state of the program."""
        places, at = {"pair.": [], "host.": []}, 0  # type: dict[str, list[int]], int
        for slot in self.model.program.slots.values():
            size = int(np.prod(slot.shape))
            places[slot.name[:5]] += range(at, at + size)
            at += size
        return np.array(places["pair."] + places["host."], np.int64)

    def read(self, found: Flows) -> Judged:
        """The next flows, in order of arrival."""
        parts = [self._read(piece) for piece in pieces(found, PIECE)]
        if not parts:
            return self._judged(*self._empty())
        return Judged(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _empty(self) -> tuple[dict[str, Array], Features, Array]:
        outputs = self.model.program.entry("step").outputs
        none = {p.name: np.zeros((0, int(p.shape[1])), np.float32) for p in outputs}
        words = np.zeros((0, len(self.shape.words)), np.int64)
        nobody = np.zeros(0, np.int64)
        return none, Features(np.zeros((0, 0), np.float32), words, nobody, nobody), np.zeros(0)

    def _read(self, found: Flows) -> Judged:
        if not self.shape.hosts:
            features = record_features(self.shape, found)
            states = np.zeros((len(found), self.model.state_size), np.float32)
            said = self._run(features.numbers, features.words, states)
            return self._judged(said, features, np.zeros(0))
        features = self.context.read(found)
        said = self._waves(features)
        surprise = self._surprise(said, features)
        return self._judged(said, features, self._lasting(surprise, features.host))

    # --- the program

    def _run(self, numbers: Array, words: Array, states: Array) -> dict[str, Array]:
        """One flow of each of some hosts; states (B, S) are changed."""
        given = {"numbers": numbers, "words": words}
        if self._plan is not None:
            return self._plan.run(given, states)
        out, new = self.model.program.run("step", given, self.model.slots(states))
        states[:] = self.model.flat(new, len(states))
        return out

    def _waves(self, features: Features) -> dict[str, Array]:
        """All flows: the first of each host together, then the second of each, and so on."""
        hosts, pairs = self.context.hosts["state"], self.context.pairs["state"]
        found: dict[str, Array] = {}
        turns = waves(features.host)
        order = np.concatenate(turns) if turns else np.zeros(0, np.int64)
        numbers, words, host, pair = (column[order] for column in features)
        at = 0
        for turn in turns:
            now = slice(at, at := at + len(turn))
            states = np.zeros((len(turn), self.model.state_size), np.float32)
            if self.memory:
                states[:, self._columns] = np.concatenate([pairs[pair[now]], hosts[host[now]]], 1)
            out = self._run(numbers[now], words[now], states)
            mine = states[:, self._columns]
            pairs[pair[now]], hosts[host[now]] = mine[:, : self.cut], mine[:, self.cut :]
            for name, values in out.items():
                if name not in found:
                    found[name] = np.empty((len(order), values.shape[1]), np.float32)
                found[name][now] = values
        back = np.argsort(order, kind="stable")
        return {name: values[back] for name, values in found.items()}

    # --- scores

    def _words(self, said: Mapping[str, Array], features: Features) -> Iterator[Array]:
        names, offsets = [n for n, _ in self.shape.words], self.shape.offsets
        for name in EXPECTED_WORDS:
            place = names.index(name)
            word = features.words[:, place] - offsets[place]
            yield said[CHANCE + name][np.arange(len(word)), word]

    def _surprise(self, said: Mapping[str, Array], features: Features) -> Array:
        """Minus the log probability (n,) of each flow given those before it."""
        chances = np.stack(list(self._words(said, features)), 1).astype(np.float64)
        words = -np.log(np.maximum(chances, LEAST_CHANCE)).sum(1)
        found: Array = words + said["off"].astype(np.float64).sum(1)
        return found

    def _lasting(self, surprise: Array, host: Array) -> Array:
        """Surprise (n, 2): of the flow, and averaged over the flows of its host."""
        stored = self.context.hosts["lasting"]
        lasting = np.empty(len(surprise))
        clipped = np.clip(surprise + EASY, 0, 5 * EASY)
        for rows in waves(host):
            slot = host[rows]
            now = KEPT * stored[slot] + (1 - KEPT) * clipped[rows]
            stored[slot] = now
            lasting[rows] = now
        return np.stack([surprise, lasting], 1)

    def _judged(self, said: Mapping[str, Array], features: Features, surprise: Array) -> Judged:
        classes = said["classes"].astype(np.float64)
        n, benign = len(classes), np.clip(classes[:, 0], 1e-12, 1.0) if len(classes) else 0.0
        attack = (1 - benign + 1e-12) / benign
        if not self.shape.hosts or not n:
            empty = np.zeros((n, len(EXPECTED_WORDS)))
            measures = np.reshape(attack, (n, 1)) if n else np.zeros((0, 1))
            return self._scored(measures, classes, empty, empty.astype(np.int64), empty)
        measures = np.stack([attack, np.maximum(surprise[:, 0] + EASY, 0), surprise[:, 1]], 1)
        chances = np.log10(np.maximum(np.stack(list(self._words(said, features)), 1), LEAST_CHANCE))
        tables = [said[CHANCE + name] for name in EXPECTED_WORDS]
        likely = np.stack([table.argmax(1) for table in tables], 1)
        likeliest = np.stack([table.max(1) for table in tables], 1)
        return self._scored(measures, classes, chances, likely, likeliest)

    def _scored(
        self, measures: Array, classes: Array, chances: Array, likely: Array, likeliest: Array
    ) -> Judged:
        if self.scale is None:
            each, score = np.zeros_like(measures), np.zeros(len(measures))
        else:
            each = self.scale.scores(measures)
            score = self.scale.joined(each)
        return Judged(score, measures, each, classes, chances, likely, likeliest)

    # --- state

    def save(self, most: int | None = None) -> dict[str, Array]:
        """The state as plain arrays; at most so many of the newest hosts, pairs and peers."""
        return self.context.save(most) if self.shape.hosts else {}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Go on from `save`."""
        if self.shape.hosts:
            self.context.restore(state)


def waves(slots: Array) -> Sequence[Array]:
    """Rows (n,) in turns: each slot at most once in a turn, its rows in order."""
    ranks = Groups(slots).ranks()
    order = np.argsort(ranks, kind="stable")
    sizes = np.bincount(ranks) if len(ranks) else np.zeros(0, np.int64)
    return np.split(order, np.cumsum(sizes)[:-1])
