"""How rare a number is among normal ones: the scale on which scores of different series compare.

A score is minus log10 of the probability that a normal row has at least this number: 0.3 is the
median, 3 one row in a thousand. It is empirical where there is data. Beyond that the logarithm of
the numbers is taken to have an exponential tail, that is the numbers a Pareto one, whose index is
estimated after Hill (1975): such scores never end, however far a number is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lstmkit.errors import UserError

GRID = 256  # quantiles that are kept
TAIL = 0.02  # share of the numbers that the tail is estimated from, at least FEWEST of them
FEWEST = 8
LEAST_SLOPE = 0.05  # of log numbers: keeps nearly constant ones from making everything rare
TINY = 1e-9


@dataclass(frozen=True)
class Tail:
    """What is kept of the normal numbers.

    Attributes:
        knots: log of numbers (GRID,), rising.
        rarity: minus log10 of the share of numbers above each knot (GRID,), rising.
        slope: mean excess of the log numbers beyond the last knot.
    """

    knots: np.ndarray
    rarity: np.ndarray
    slope: float

    @classmethod
    def fit(cls, numbers: np.ndarray, least_slope: float = LEAST_SLOPE) -> Tail:
        """From numbers (n,) >= 0 of mostly normal rows; NaN is left out.

        Args:
            least_slope: the tail is taken to be at least so heavy; more where neighbours are alike,
                and many rows say little.

        Raises:
            UserError: fewer than FEWEST numbers.
        """
        known = np.sort(numbers[~np.isnan(numbers)]).astype(np.float64)
        if len(known) < FEWEST:
            raise UserError(
                "too few rows to say what is rare",
                got=f"{len(known)} scored rows",
                expected=f"at least {FEWEST}",
            )
        logs = np.log(known + TINY)
        tail = int(np.clip(TAIL * len(logs), FEWEST // 2, len(logs) // 2))
        begin = len(logs) - tail
        slope = max(float(np.mean(logs[begin:] - logs[begin - 1])), least_slope)
        places = np.unique(np.linspace(0, begin - 1, GRID).astype(int))
        above = (len(logs) - places) / len(logs)
        knots, first = np.unique(logs[places], return_index=True)
        return cls(knots, -np.log10(above)[first], slope)

    def score(self, numbers: np.ndarray) -> np.ndarray:
        """Minus log10 of the probability of at least such numbers; NaN stays."""
        logs = np.log(np.maximum(numbers, 0) + TINY)
        found = np.interp(logs, self.knots, self.rarity)
        beyond = (logs - self.knots[-1]) / (self.slope * np.log(10))
        score: np.ndarray = np.where(logs > self.knots[-1], self.rarity[-1] + beyond, found)
        return score

    def tensors(self) -> dict[str, np.ndarray]:
        """As arrays for a model file."""
        table = np.stack([self.knots, self.rarity])
        return {"tail/table": table, "tail/slope": np.array(self.slope)}

    @classmethod
    def from_tensors(cls, stored: dict[str, np.ndarray]) -> Tail:
        """The inverse of tensors."""
        knots, rarity = stored["tail/table"].astype(np.float64)
        return cls(knots, rarity, float(stored["tail/slope"]))


BIN = 0.02  # of log numbers, in a running tail
LOWEST, HIGHEST = -8.0, 12.0  # log numbers between which a running tail tells them apart


class RunningTail:
    """A tail that learns from every number after it has scored it; constant memory and time.

    Numbers are counted in bins of BIN of their logarithm, so a score depends on all numbers before
    it, those of the training first.

    Args:
        half_life: numbers after which a count weighs half; 0 forgets nothing.
        least_slope: as in `Tail.fit`.
    """

    def __init__(self, half_life: int = 0, least_slope: float = LEAST_SLOPE) -> None:
        self.least_slope = least_slope
        self.kept = 0.5 ** (1 / half_life) if half_life else 1.0
        self.counts = np.zeros(round((HIGHEST - LOWEST) / BIN))
        self.middles = LOWEST + BIN * (np.arange(len(self.counts)) + 0.5)

    def learn(self, numbers: np.ndarray) -> RunningTail:
        """Count numbers (n,) without scoring them; NaN is left out."""
        places = self._places(numbers[~np.isnan(numbers)])
        self.counts += np.bincount(places, minlength=len(self.counts))
        return self

    def _places(self, numbers: np.ndarray) -> np.ndarray:
        logs = np.log(np.maximum(numbers, 0) + TINY)
        found: np.ndarray = ((logs - LOWEST) / BIN).astype(np.int64).clip(0, len(self.counts) - 1)
        return found

    def score(self, numbers: np.ndarray) -> np.ndarray:
        """Scores of numbers (n,), each by those before it."""
        logs, places = np.log(np.maximum(numbers, 0) + TINY), self._places(np.nan_to_num(numbers))
        found = np.full(len(numbers), np.nan)
        for t in np.flatnonzero(~np.isnan(numbers)):
            found[t] = self._one(float(logs[t]), int(places[t]))
            if self.kept < 1:
                self.counts *= self.kept
            self.counts[places[t]] += 1
        return found

    def _one(self, log: float, place: int) -> float:
        above = self.counts[::-1].cumsum()[::-1]
        total = above[0]
        if total < FEWEST:
            return 0.0
        tail = min(max(TAIL * total, FEWEST), total / 2)
        first = int(np.searchsorted(-above, -tail, side="right"))  # where fewer than `tail` begin
        if place < first:
            return float(-np.log10((above[place] - self.counts[place] / 2 + 1) / (total + 1)))
        first = max(first, 1)
        edge, weights = LOWEST + BIN * first, self.counts[first:]
        rest = max(float(above[first]) if first < len(above) else 0.0, 0.5)
        excess = float((weights * (self.middles[first:] - edge)).sum()) / rest
        beyond = max(log - edge, 0.0) / (max(excess, self.least_slope) * np.log(10))
        return float(-np.log10((rest + 1) / (total + 1)) + beyond)

    def save(self) -> dict[str, np.ndarray]:
        """The counts."""
        return {"counts": self.counts.copy()}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go on from a `save`."""
        self.counts = np.asarray(state["counts"], np.float64).copy()
