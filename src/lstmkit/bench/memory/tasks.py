"""Every task with its criterion, the published figures, and the one recipe that all seeds use."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from lstmkit.bench.memory.problems import (
    Adding,
    Copy,
    Marked,
    NoiseFree,
    Problem,
    Reber,
    TemporalOrder,
    TwoSequence,
    VeryLong,
)
from lstmkit.bench.memory.rules import Criterion, Rule


@dataclass(frozen=True)
class Recipe:
    """Size and training of all three networks on one task: Adam, BPTT over the whole sequence.

    Attributes:
        hidden: cells.
        batch: sequences a step of the optimiser.
        rate: Adam's learning rate at first; it falls as a cosine to a twentieth ...
        horizon: ... over so many sequences, and stays there.
        direct: the head also reads the input, by weights that learn so many times as fast; 0: not.
        symbols: deviation of the symbols' embedding at first: small where a thousand of them mean
            nothing and must not fill the cell; 0: symbols are read one-hot.
        decay: of that embedding (AdamW).
        clip: the largest norm of the gradient.
        eps: Adam's; smaller where the gradients of a long sequence's mean error are.
    """

    hidden: int
    batch: int
    rate: float
    horizon: int
    direct: float = 0.0
    symbols: float = 0.0
    decay: float = 0.0
    clip: float = 1.0
    eps: float = 1e-8

    def rate_after(self, seen: int) -> float:
        """The learning rate after so many sequences."""
        done = min(1.0, seen / self.horizon)
        return self.rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))


@dataclass(frozen=True)
class Task:
    """One row of the suite.

    Attributes:
        paper: sequences that the paper needed, None where it gives no number.
        published: what the paper says, in words.
        limit: give up after so many sequences where `paper` is None.
        strings: the size of a fixed training set, 0 where every sequence is fresh.
        first: the lag of the first training sequences, which then grows; 0: the task's own.
    """

    name: str
    problem: Problem
    criterion: Criterion
    recipe: Recipe
    paper: int | None = None
    published: str = ""
    limit: int = 100_000
    strings: int = 0
    first: int = 0

    @property
    def most(self) -> int:
        """Give up after so many sequences."""
        return self.paper or self.limit


FEW = 128  # symbols that are read one-hot


def reber() -> Task:
    """Experiment 1: both sets, and no more; a third set is tested and reported."""
    criterion = Criterion(Rule(256, 0.5), Rule(256, 0.5, 256), "sets", every=100)
    said = "8,440 to 39,740 strings"
    recipe = Recipe(24, 4, 0.02, 8_000, direct=1.0)
    return Task("reber", Reber(), criterion, recipe, 8_440, said, strings=256)


def noise_free() -> Task:
    """Experiment 2a. Only two sequences exist: 256 draws hold both, and so does what 10,000 say."""
    criterion = Criterion(Rule(256, 0.25), Rule(10_000, 0.25), "fresh", every=100)
    recipe = Recipe(8, 2, 0.02, 5_000, direct=20.0)
    return Task("lag-2a", NoiseFree(100), criterion, recipe, 5_040, "18 of 18 runs")


def very_long(q: int, p: int, paper: int) -> Task:
    """Experiment 2c."""
    rule = Rule(10_000, 0.2)
    criterion = Criterion(rule, rule, "fresh", every=500)
    many = {"symbols": 0.1, "decay": 0.5} if p > FEW else {}
    recipe = Recipe(8, 10 if many else 4 if q < 500 else 2, 0.01, paper, **many)
    return Task(f"lag-2c-q{q}-p{p}", VeryLong(q, p), criterion, recipe, paper)


def two_sequence(letter: str, T: int, N: int, paper: int) -> Task:
    """Experiment 3, with the stopping rule ST2 of each letter."""
    stop, test, extra = {
        "a": (Rule(10_000, 0.5, 0, 0.01), Rule(2560, 0.5, 2, 0.012), {}),
        "b": (Rule(2560, 0.5, 20, 0.03), Rule(2560, 0.5, 59, 0.04), {"noisy": True}),
        "c": (
            Rule(2560, 0.1, 14, 0.012),
            Rule(2560, 0.1, 59, 0.015),
            {"noisy": True, "targets": (0.2, 0.8), "spread": 0.1**0.5},
        ),
    }[letter]
    problem = TwoSequence(T, N, **extra)
    recipe = Recipe(8, 16, 0.01, 40_000)
    name = f"two-sequence-3{letter}-T{T}-N{N}"
    return Task(name, problem, Criterion(stop, test, "fresh", every=500), recipe, paper)


def adding(T: int, paper: int) -> Task:
    """Experiment 4."""
    criterion = Criterion(Rule(2000, 0.04, 0, 0.01), Rule(2560, 0.04, 3))
    recipe = Recipe(8, 20, 0.01, 40_000)
    return Task(f"adding-T{T}", Marked(T), criterion, recipe, paper, "at most 3 of 2560 wrong")


def multiplication(wrong: int, paper: int, published: int) -> Task:
    """Experiment 5: fewer than `wrong` of the last 2000 over 0.04."""
    criterion = Criterion(Rule(2000, 0.04, wrong - 1), Rule(2560, 0.04, published))
    recipe = Recipe(16, 20, 0.01, paper // 4)
    name = f"multiplication-{wrong}"
    return Task(name, Marked(100, True), criterion, recipe, paper, f"{published} of 2560 wrong")


def order(letter: str, relevant: int, paper: int, published: int) -> Task:
    """Experiment 6."""
    criterion = Criterion(Rule(2000, 0.3, 0, 0.1), Rule(2560, 0.3, 3))
    recipe = Recipe(16, 20, 0.01, min(paper, 60_000))
    problem = TemporalOrder(relevant=relevant)
    return Task(f"order-{letter}", problem, criterion, recipe, paper, f"{published} of 2560 wrong")


BELOW = 0.5  # of the baseline


def copy(T: int, limit: int) -> Task:
    """Copy memory: half of the baseline or less. The T of training grows from 5, by half each time
    that the network is at half of the baseline of the T that it is at."""
    problem = Copy(T)
    stop, test = (Rule(256, mean=s * problem.baseline) for s in (0.9 * BELOW, BELOW))
    criterion = Criterion(stop, Rule(1024, mean=test.mean), "fresh", every=3_200)
    recipe = Recipe(64, 32, 0.005, 1_000_000, eps=1e-12)
    said = f"baseline {problem.baseline:.4f}"
    return Task(f"copy-T{T}", problem, criterion, recipe, None, said, limit, first=5)


def noiseless(T: int, limit: int) -> Task:
    """The noiseless adding problem."""
    rule = Rule(512, mean=0.01)
    criterion = Criterion(rule, Rule(2560, mean=0.01), "fresh", every=1_000)
    recipe = Recipe(16, 20, 0.01, limit)
    said = "memoryless 0.167"
    return Task(f"noiseless-adding-T{T}", Adding(T), criterion, recipe, None, said, limit)


VERY_LONG = [  # q, p, and the sequences of the paper
    (50, 50, 30_000),
    (100, 100, 31_000),
    (200, 200, 33_000),
    (500, 500, 38_000),
    (1000, 1000, 49_000),
    (1000, 500, 49_000),
    (1000, 200, 75_000),
    (1000, 100, 135_000),
    (1000, 50, 203_000),
]

_all = [reber(), noise_free(), *(very_long(*row) for row in VERY_LONG)]
_all += [two_sequence("a", 100, 3, 39_850), two_sequence("a", 100, 1, 64_330)]
_all += [two_sequence("a", 1000, 3, 452_460), two_sequence("b", 100, 3, 43_250)]
_all += [two_sequence("c", 100, 3, 269_650)]
_all += [adding(100, 74_000), adding(500, 209_000), adding(1000, 853_000)]
_all += [multiplication(140, 482_000, 139), multiplication(13, 1_273_000, 14)]
_all += [order("6a", 2, 31_390, 1), order("6b", 3, 571_100, 2)]
_all += [copy(500, 200_000), copy(1000, 200_000)]
_all += [noiseless(T, 100_000) for T in (200, 500, 1000, 2000)]
TASKS: Mapping[str, Task] = {task.name: task for task in _all}

LAGS = (10, 20, 50, 100, 200, 500, 1000)
LAG_SEQUENCES = 30_000


def lag_tasks() -> list[Task]:
    """The sweep of the picture: temporal order (6a) with all its places scaled to T."""
    return [lag_task(T) for T in LAGS]


def lag_task(T: int) -> Task:
    """Experiment 6a at T steps, with one budget of sequences for every lag."""
    criterion = Criterion(Rule(4000, 0.3, 0, 0.1), Rule(2560, 0.3, 3))
    recipe = Recipe(16, 20, 0.01, LAG_SEQUENCES)
    return Task(f"lag-T{T}", TemporalOrder(T), criterion, recipe, limit=LAG_SEQUENCES)
