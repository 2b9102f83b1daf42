"""Flows as a detector learns from them: windows of hosts, attacks among them, batches."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lstmkit.readers.flows import BENIGN, Flows, pieces
from lstmkit.tasks.intrusion import shapes
from lstmkit.tasks.intrusion.features import (
    Context,
    Features,
    Geometry,
    record_features,
)
from lstmkit.tasks.intrusion.table import Groups

if TYPE_CHECKING:
    from torch import Tensor

    from lstmkit.tasks.intrusion.network import Sequences
    from lstmkit.training import Share

WINDOW = 384  # flows of a host in a training sequence, at most
PIECE = 16384  # flows that are read at once
MOST_HOSTS = 1_000_000
BASE = 240  # flows of a host that an attack is put among, at most
VARIED = 0.5  # share of normal windows that are varied
ALONE = 0.4  # share of attacks that stand alone
EARLY_WEIGHT = 0.1
NOBODY = -1  # class of a flow of which nobody said what it is


class Window(NamedTuple):
    """Flows of one host in order: features, classes (T,) and whether they show what is normal."""

    numbers: np.ndarray
    words: np.ndarray
    pair: np.ndarray
    classes: np.ndarray
    normal: np.ndarray
    weight: np.ndarray


class Batch(NamedTuple):
    """Sequences and what is to be said of them: classes (B, T), NOBODY where nothing is; which
    flows (B, T) the expectation learns from; and how much each counts (B, T)."""

    flows: Sequences
    classes: Tensor
    normal: Tensor
    weight: Tensor


@dataclass(frozen=True)
class Corpus:
    """The flows that a network learns from.

    Attributes:
        shape: what is read.
        found: flows in order of arrival, features of them.
        classes: of each (n,), NOBODY where it is not known.
        windows: rows of each window.
        cast: who may act in made-up attacks; None where there are none.
        made: class of each of shapes.CLASSES, from the first on.
        context: the tables after the flows; None for records.
        balance: how often a window is drawn, (windows,).
    """

    shape: Geometry
    found: Flows
    features: Features
    classes: np.ndarray
    windows: Sequence[np.ndarray]
    cast: shapes.Cast | None
    made: np.ndarray
    context: Context | None
    balance: np.ndarray

    @classmethod
    def of(cls, shape: Geometry, found: Flows, classes: np.ndarray, made: np.ndarray) -> Corpus:
        """Windows and features of flows in order of arrival."""
        if not shape.hosts:
            windows = [np.array([k]) for k in range(len(found))]
            even = np.ones(len(found))
            features = record_features(shape, found)
            return cls(shape, found, features, classes, windows, None, made, None, even)
        context = Context(shape, MOST_HOSTS)
        parts = [context.read(piece) for piece in pieces(found, PIECE)]
        features = Features(*(np.concatenate(column) for column in zip(*parts, strict=True)))
        windows = _windows(features.host)
        cast = _cast(context, found.take(classes == 0)) if (classes == 0).any() else None
        balance = np.array([len(w) ** 0.5 for w in windows])
        return cls(shape, found, features, classes, windows, cast, made, context, balance)

    def digest(self) -> int:
        """A number that tells these flows from others."""
        found = zlib.crc32(np.ascontiguousarray(self.features.numbers).tobytes())
        found = zlib.crc32(np.ascontiguousarray(self.features.words).tobytes(), found)
        return zlib.crc32(self.classes.astype(np.int64).tobytes(), found)

    def scales(self) -> tuple[np.ndarray, np.ndarray]:
        """Middle and scale (N,) of the numbers."""
        numbers = self.features.numbers.astype(np.float64)
        scale = numbers.std(0)
        return numbers.mean(0), np.where(scale > 1e-3, scale, 1.0)

    def window(self, rows: np.ndarray) -> Window:
        """One window, as it was seen."""
        f, classes = self.features, self.classes[rows]
        return _window(Features(*(column[rows] for column in f)), classes)

    def attack(self, rng: np.random.Generator) -> Window:
        """A made-up attack, alone or among the flows of a host."""
        assert self.cast is not None
        base = self.found.take(slice(0, 0))
        if rng.random() > ALONE:
            base = self._stretch(rng, BASE)
        found, kinds = shapes.episode(rng, base, self.cast)
        begin = rng.integers(max(len(found) - WINDOW, 0) + 1) if rng.random() < 0.3 else 0
        found, kinds = found.take(slice(begin, begin + WINDOW)), kinds[begin : begin + WINDOW]
        f = self._alone(found)
        found_window = _window(f, np.concatenate([[0], self.made])[kinds])
        if found["src"][0] not in self.cast.hosts:  # who is not of the house stands out at once
            return found_window
        return found_window._replace(weight=earliness(kinds))

    def varied(self, rng: np.random.Generator) -> Window:
        """Normal flows of a host, varied."""
        f = self._alone(self._stretch(rng, WINDOW))
        return _window(f, np.zeros(len(f.numbers), np.int64))

    def _stretch(self, rng: np.random.Generator, most: int) -> Flows:
        """Normal flows of some host, varied."""
        rows = self.windows[rng.choice(len(self.windows), p=self.balance / self.balance.sum())]
        rows = rows[self.classes[rows] == 0]
        first = rng.integers(max(len(rows) - most, 0) + 1)
        found = self.found.take(rows[first : first + most])
        return shapes.varied(rng, found) if rng.random() < VARIED else found

    def _alone(self, found: Flows) -> Features:
        """Features of flows before which their host was not seen, though its peers were."""
        assert self.context is not None
        context = Context(self.shape, 4 * WINDOW)
        context.home = self.context.home
        known = self.context.peers
        for address in dict.fromkeys(found["dst"]):
            row = known.peek(address)
            if row is not None:
                context.peers["hosts"][context.peers.slots([address], 1)] = known["hosts"][row]
        return context.read(found)

    def batches(
        self, batch_size: int, steps: int, seed: tuple[int, ...], share: Share, made: float
    ) -> Iterator[Batch]:
        """This process's part of an epoch's batches.

        Args:
            made: the share of windows that are made-up attacks.
        """
        rng = np.random.default_rng(seed)
        weights = self.balance / self.balance.sum()
        mine = slice(share.rank, None, share.world)
        if not self.shape.hosts:
            for _ in range(steps):
                yield self.records(rng.choice(len(self.classes), batch_size, p=weights)[mine])
            return
        attacks = round(batch_size * made) if self.cast is not None else 0
        for _ in range(steps):
            drawn = rng.choice(len(self.windows), batch_size - attacks, p=weights)
            varied = round(VARIED * len(drawn)) if attacks else 0
            windows = [self.window(self.windows[k]) for k in drawn[varied:]]
            windows += [self.varied(rng) for _ in range(varied)]
            windows += [self.attack(rng) for _ in range(attacks)]
            windows = [w for w in windows if len(w.classes)]
            yield batch(windows[mine])

    def records(self, rows: np.ndarray) -> Batch:
        """Single records, each a sequence of its own."""
        import torch

        from lstmkit.tasks.intrusion.network import Sequences

        f, alone = self.features, torch.zeros(len(rows), 1, dtype=torch.int64)
        numbers = torch.from_numpy(f.numbers[rows][:, None])
        words = torch.from_numpy(f.words[rows][:, None])
        starts = torch.ones(len(rows), 1, dtype=torch.bool)
        given = Sequences(
            numbers, words, torch.ones(len(rows), dtype=torch.int64), alone, alone, starts
        )
        classes = torch.from_numpy(self.classes[rows][:, None])
        return Batch(given, classes, classes == 0, torch.ones_like(numbers[..., 0]))


def _windows(host: np.ndarray) -> list[np.ndarray]:
    """Rows of each host, in order, cut to WINDOW."""
    groups = Groups(host)
    hosts = np.split(groups.order, np.flatnonzero(groups.first)[1:])
    return [rows[k : k + WINDOW] for rows in hosts for k in range(0, len(rows), WINDOW)]


def _cast(context: Context, normal: Flows) -> shapes.Cast:
    sources = list(dict.fromkeys(normal["src"]))
    home = [a for a in sources if context.home.place(a) == 1] or sources
    peers = list(dict.fromkeys(normal["dst"]))
    outside = [a for a in peers if context.home.place(a) == 2]
    return shapes.Cast(home, peers, outside, normal)


def batch(windows: Sequence[Window]) -> Batch:
    """Windows side by side, padded at their ends."""
    import torch

    from lstmkit.tasks.intrusion.network import Sequences

    B, T = len(windows), max(len(w.classes) for w in windows)
    numbers = np.zeros((B, T, windows[0].numbers.shape[1]), np.float32)
    words = np.zeros((B, T, windows[0].words.shape[1]), np.int64)
    classes, normal = np.full((B, T), NOBODY), np.zeros((B, T), bool)
    weight = np.ones((B, T), np.float32)
    by_pair = np.tile(np.arange(T), (B, 1))
    back, starts = by_pair.copy(), np.zeros((B, T), bool)
    for b, w in enumerate(windows):
        n = len(w.classes)
        numbers[b, :n], words[b, :n] = w.numbers, w.words
        classes[b, :n], normal[b, :n], weight[b, :n] = w.classes, w.normal, w.weight
        groups = Groups(w.pair)
        by_pair[b, :n] = groups.order
        back[b, groups.order] = np.arange(n)
        starts[b, :n] = groups.first
    lengths = torch.tensor([len(w.classes) for w in windows])
    given: dict[str, Any] = {"numbers": numbers, "words": words, "by_pair": by_pair}
    given |= {"back": back, "starts": starts}
    tensors = {name: torch.from_numpy(array) for name, array in given.items()}
    sequences = Sequences(lengths=lengths, **tensors)
    said = [torch.from_numpy(array) for array in (classes, normal, weight)]
    return Batch(sequences, *said)


def _window(f: Features, classes: np.ndarray) -> Window:
    weight = np.ones(len(classes), np.float32)
    return Window(f.numbers, f.words, f.pair, classes, classes == 0, weight)


def earliness(kinds: np.ndarray) -> np.ndarray:
    """How much each flow (n,) counts: the first ones of an attack say little yet."""
    weight = np.ones(len(kinds), np.float32)
    for k, name in enumerate(shapes.CLASSES, 1):
        first = np.flatnonzero(kinds == k)[: shapes.EARLY.get(name, 0)]
        weight[first] = EARLY_WEIGHT
    return weight


def classes_of(labels: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Labels (n,) as classes: 0 benign, NOBODY for an empty one or one that is not among names."""
    index = {name: k for k, name in enumerate(names)} | {BENIGN: 0}
    return np.array([index.get(label, NOBODY) for label in labels], np.int64)
