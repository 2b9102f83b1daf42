"""Sequences whose answer lies far behind, drawn online with numpy; nothing here knows torch.

Hochreiter & Schmidhuber 1997, "Long Short-Term Memory", experiments 1 to 6; Arjovsky, Shah & Bengio
2016 for copy memory and the noiseless adding problem. N sequences, T steps, S answers a sequence.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

Random = np.random.Generator
Array = np.ndarray
Answer = Literal["class", "probability", "value"]


@dataclass(frozen=True)
class Batch:
    """Sequences of one draw, padded at the end.

    Attributes:
        x: (N, T) int64 symbols, or (N, T, I) float32 values.
        at: (N, S) int64, the steps after which an answer is due.
        target: (N, S) int64 classes, -1 where no answer is due; or float32 values.
        ideal: (N, S) float32 noise-free targets that errors are measured by; the target if None.
        legal: (N, S, A) bool, all classes that may follow; only where several may.
    """

    x: Array
    at: Array
    target: Array
    ideal: Array | None = None
    legal: Array | None = None

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, index: Array) -> Batch:
        """Some of the sequences."""
        kept = {k: v[index] for k, v in vars(self).items() if v is not None}
        return replace(self, **kept)


@dataclass(frozen=True)
class Problem:
    """What a network sees and answers.

    Attributes:
        lag: steps that the information must be kept, at most: the horizon of Chrono.
        inputs: numbers of one step, 0 where steps are symbols.
        symbols: size of the alphabet, 0 where steps are numbers.
        answers: outputs of the network.
        kind: "class" (softmax), "probability" (one sigmoid) or "value" (linear).
    """

    lag: int
    inputs: int = field(default=0, init=False)
    symbols: int = field(default=0, init=False)
    answers: int = field(default=1, init=False)
    kind: Answer = field(default="value", init=False)

    def draw(self, random: Random, n: int) -> Batch:
        """`n` fresh sequences."""
        raise NotImplementedError

    def errors(self, output: Array, batch: Batch) -> Array:
        """(N,) the largest absolute error of any output unit at any answer of each sequence.

        Args:
            output: (N, S, A) probabilities or values.

        One softmax unit is never further off than the right one, so 1 - p(right) is the largest.
        """
        if self.kind == "class":
            due = batch.target >= 0
            right = np.take_along_axis(output, np.maximum(batch.target, 0)[..., None], -1)[..., 0]
            found: Array = np.where(due, 1.0 - right, 0.0).max(axis=1)
        else:
            wanted = batch.target if batch.ideal is None else batch.ideal
            found = np.abs(output[..., 0] - wanted).max(axis=1)
        return found

    def set(self, **shape: object) -> None:
        """For __post_init__ of the frozen problems below."""
        for name, value in shape.items():
            object.__setattr__(self, name, value)


# --- 1: embedded Reber grammar --------------------------------------------------------------------

REBER = "BTPSXVE"
ARCS: dict[int, dict[str, int]] = {  # state -> symbol -> state of the inner grammar, after its B
    0: {"T": 1, "P": 2},
    1: {"S": 1, "X": 3},
    2: {"T": 2, "V": 4},
    3: {"X": 2, "S": 5},
    4: {"P": 3, "V": 5},
    5: {"E": 6},
}


def reber(random: Random) -> tuple[str, list[str]]:
    """An embedded Reber string, and what may follow each of its symbols but the last."""
    outer = "TP"[random.integers(2)]
    text, following, state = f"B{outer}B", ["TP", "B"], 0
    while state != 6:
        legal = "".join(ARCS[state])
        following.append(legal)
        symbol = legal[random.integers(len(legal))]
        text, state = text + symbol, ARCS[state][symbol]
    return f"{text}{outer}E", [*following, outer, "E"]


@dataclass(frozen=True)
class Reber(Problem):
    """Experiment 1: predict every next symbol; the second decides the last but one."""

    lag: int = 20

    def __post_init__(self) -> None:
        self.set(symbols=7, answers=7, kind="class")

    def draw(self, random: Random, n: int) -> Batch:
        drawn = [reber(random) for _ in range(n)]
        T = max(len(following) for _, following in drawn)
        x, target = np.zeros((n, T), np.int64), np.full((n, T), -1, np.int64)
        legal = np.zeros((n, T, 7), bool)
        for k, (text, following) in enumerate(drawn):
            code = [REBER.index(symbol) for symbol in text]
            x[k, : len(following)], target[k, : len(following)] = code[:-1], code[1:]
            for t, allowed in enumerate(following):
                legal[k, t, [REBER.index(symbol) for symbol in allowed]] = True
        return Batch(x, np.broadcast_to(np.arange(T), (n, T)).copy(), target, legal=legal)

    def errors(self, output: Array, batch: Batch) -> Array:
        """(N,) 1.0 where at any step a symbol that may not follow is as active as one that may."""
        assert batch.legal is not None
        least = np.where(batch.legal, output, np.inf).min(-1)
        most = np.where(batch.legal, -np.inf, output).max(-1)
        due = batch.target >= 0
        return np.any(due & (least <= most), axis=1).astype(np.float64)


# --- 2: long time lags ----------------------------------------------------------------------------


@dataclass(frozen=True)
class NoiseFree(Problem):
    """Experiment 2a: (y, a1 .. a(p-1), y) or (x, a1 .. a(p-1), x), every next symbol predicted.

    Symbols: a1 .. a(p-1) are 0 .. p-2, x is p-1, y is p.
    """

    lag: int = 100

    def __post_init__(self) -> None:
        self.set(symbols=self.lag + 1, answers=self.lag + 1, kind="class")

    def draw(self, random: Random, n: int) -> Batch:
        p = self.lag
        first = p - 1 + random.integers(0, 2, (n, 1))
        between = np.broadcast_to(np.arange(p - 1), (n, p - 1))
        x = np.concatenate([first, between], axis=1)
        at = np.broadcast_to(np.arange(p), (n, p)).copy()
        return Batch(x, at, np.concatenate([between, first], axis=1))


@dataclass(frozen=True)
class VeryLong(Problem):
    """Experiment 2c: b, then x or y, then at least q random distractors, then the trigger e.

    From the q-th distractor on each next symbol is e with probability 1/10. The answer is the
    second symbol. Symbols: distractors 0 .. p-1, then x, y, b, e.
    """

    distractors: int = 1000

    def __post_init__(self) -> None:
        self.set(symbols=self.distractors + 4, answers=self.distractors + 4, kind="class")

    def draw(self, random: Random, n: int) -> Batch:
        p, more = self.distractors, random.geometric(0.1, n) - 1
        last = 2 + self.lag + more  # the step of e
        x = random.integers(0, p, (n, int(last.max()) + 1))
        x[:, 0], x[:, 1] = p + 2, p + random.integers(0, 2, n)
        x[np.arange(n), last] = p + 3
        return Batch(x, last[:, None], x[:, 1:2].copy())


# --- 3: the two-sequence problem ------------------------------------------------------------------


@dataclass(frozen=True)
class TwoSequence(Problem):
    """Experiment 3: the first elements say which of two classes, Gaussian noise follows.

    Attributes:
        informative: N, how many elements are +1 (class 1) or -1 (class 2).
        noisy: noise of variance 0.2 on these too (3b, 3c).
        targets: of class 1 and class 2.
        spread: standard deviation of the Gaussian noise on the training targets (3c).
    """

    informative: int = 3
    noisy: bool = False
    targets: tuple[float, float] = (1.0, 0.0)
    spread: float = 0.0

    def __post_init__(self) -> None:
        self.set(inputs=1, kind="probability")

    def draw(self, random: Random, n: int) -> Batch:
        T, N = self.lag, self.informative
        lengths = random.integers(T, T + T // 10 + 1, n)
        second = random.integers(0, 2, n)
        x = random.normal(0.0, 0.2**0.5, (n, int(lengths.max()), 1)).astype(np.float32)
        x[:, :N] = x[:, :N] * self.noisy + (1 - 2 * second)[:, None, None]
        ideal = np.asarray(self.targets, np.float32)[second][:, None]
        noise = random.normal(0.0, 1.0, ideal.shape).astype(np.float32) * np.float32(self.spread)
        return Batch(x, lengths[:, None] - 1, ideal + noise, ideal=ideal)


# --- 4 and 5: adding and multiplication -----------------------------------------------------------


@dataclass(frozen=True)
class Marked(Problem):
    """Experiments 4 and 5: the sum, or the product, of two marked values among T to T + T/10.

    A step is (value, marker): 1 at the two marked steps, -1 at the first and the last, else 0. One
    mark lies among the first ten steps, one among the first T/2 - 1. A mark that falls on the first
    step, whose marker stays -1, stands for the neutral value.
    """

    product: bool = False

    def __post_init__(self) -> None:
        self.set(inputs=2)

    def draw(self, random: Random, n: int) -> Batch:
        T, every = self.lag, np.arange(n)
        lengths = random.integers(T, T + T // 10 + 1, n)
        values = random.uniform(0.0 if self.product else -1.0, 1.0, (n, int(lengths.max())))
        one = random.integers(0, 10, n)
        other = random.integers(0, T // 2 - 2, n)
        other += other >= one  # uniform over what is not marked yet
        markers = np.zeros_like(values)
        markers[every, one] = markers[every, other] = 1.0
        markers[:, 0] = markers[every, lengths - 1] = -1.0
        a, b = (self.value(values, step) for step in (one, other))
        target = a * b if self.product else 0.5 + (a + b) / 4
        x = np.stack([values, markers], -1).astype(np.float32)
        return Batch(x, lengths[:, None] - 1, target.astype(np.float32)[:, None])

    def value(self, values: Array, step: Array) -> Array:
        """(N,) what is read at a marked step."""
        neutral = 1.0 if self.product else 0.0
        found: Array = np.where(step > 0, values[np.arange(len(values)), step], neutral)
        return found


# --- 6: temporal order ----------------------------------------------------------------------------


@dataclass(frozen=True)
class TemporalOrder(Problem):
    """Experiment 6: in which order X and Y came, far apart, among distractors a b c d.

    With two of them (6a) at T/10 .. T/5 and T/2 .. 3T/5; with three (6b) at T/10 .. T/5,
    T/3 .. 3T/7 and 2T/3 .. 3T/4, for T = 100 the paper's. Symbols: E B a b c d X Y.
    """

    lag: int = 100
    relevant: int = 2

    def __post_init__(self) -> None:
        self.set(symbols=8, answers=2**self.relevant, kind="class")

    def places(self) -> list[tuple[int, int]]:
        """The first and last step of each relevant symbol."""
        shares = {2: [(10, 20), (50, 60)], 3: [(10, 20), (33, 43), (66, 76)]}[self.relevant]
        return [(low * self.lag // 100, high * self.lag // 100) for low, high in shares]

    def draw(self, random: Random, n: int) -> Batch:
        T, every = self.lag, np.arange(n)
        lengths = random.integers(T, T + T // 10 + 1, n)
        x = random.integers(2, 6, (n, int(lengths.max())))
        x[:, 0] = 0
        x[every, lengths - 1] = 1
        target = np.zeros(n, np.int64)
        for low, high in self.places():
            which = random.integers(0, 2, n)
            x[every, random.integers(low, high + 1, n)] = 6 + which
            target = 2 * target + which
        return Batch(x, lengths[:, None] - 1, target[:, None])


# --- later papers ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Copy(Problem):
    """Ten of eight symbols, T blanks, the last of which is the delimiter, then the ten again.

    The class is the blank (8) but at the last ten of the T + 20 steps. Symbols: 0 .. 7, blank 8,
    delimiter 9.
    """

    def __post_init__(self) -> None:
        self.set(symbols=10, answers=9, kind="class")

    @property
    def baseline(self) -> float:
        """Mean cross-entropy of who knows when but not what: 10 ln 8 / (T + 20)."""
        return float(10 * np.log(8) / (self.lag + 20))

    def draw(self, random: Random, n: int) -> Batch:
        T = self.lag
        x = np.full((n, T + 20), 8)
        x[:, :10] = random.integers(0, 8, (n, 10))
        x[:, T + 9] = 9
        target = np.full((n, T + 20), 8)
        target[:, -10:] = x[:, :10]
        return Batch(x, np.broadcast_to(np.arange(T + 20), (n, T + 20)).copy(), target)

    def errors(self, output: Array, batch: Batch) -> Array:
        """(N,) the mean cross-entropy of each sequence."""
        right = np.take_along_axis(output, batch.target[..., None], -1)[..., 0]
        found: Array = -np.log(np.maximum(right, 1e-30)).mean(axis=1)
        return found


@dataclass(frozen=True)
class Adding(Problem):
    """The noiseless adding problem: values from U[0, 1], one mark in each half, their sum.

    Always answering 1 has a mean squared error of 1/6.
    """

    def __post_init__(self) -> None:
        self.set(inputs=2)

    def draw(self, random: Random, n: int) -> Batch:
        T, every = self.lag, np.arange(n)
        values, markers = random.uniform(0.0, 1.0, (n, T)), np.zeros((n, T))
        one, other = random.integers(0, T // 2, n), random.integers(T // 2, T, n)
        markers[every, one] = markers[every, other] = 1.0
        target = (values * markers).sum(1, keepdims=True).astype(np.float32)
        x = np.stack([values, markers], -1).astype(np.float32)
        return Batch(x, np.full((n, 1), T - 1), target)

    def errors(self, output: Array, batch: Batch) -> Array:
        """(N,) squared errors."""
        found: Array = ((output[..., 0] - batch.target) ** 2).mean(axis=1)
        return found
