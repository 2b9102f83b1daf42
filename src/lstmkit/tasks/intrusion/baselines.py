"""What stands beside a detector: trees on the same features, a periodicity test, rarity, chance.

All have one shape: `fit(train, attack)`, of flows and which of them are attacks (None: nobody
knows), then `score(test)`, one number a flow, the higher the stranger.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from lstmkit.readers.flows import Flows
from lstmkit.tasks.intrusion.features import Context, Geometry

Array = np.ndarray
MOST_HOSTS = 1_000_000
OF_FLOW = ("duration", "duration_known", "src_packets", "dst_packets", "src_bytes", "dst_bytes",
           "src_packet_size", "asymmetry")  # fmt: skip
FEWEST_TIMES = 4  # flows of a pair before its rhythm is judged
LAST_TIMES = 64  # flows of a pair that are looked at


class Baseline:
    """The shape of all."""

    def fit(self, train: Flows, attack: Array | None) -> Self:
        """Learn from flows (n,) and which of them are attacks; None where nobody knows."""
        raise NotImplementedError

    def score(self, test: Flows) -> Array:
        """One number (n,) a flow."""
        raise NotImplementedError


def table(shape: Geometry, found: Flows, context: bool) -> Array:
    """The features (n, F) that the network reads: with what a flow sees of those before it, as new
    ports and the time since, or of the flow alone."""
    read = Context(shape, MOST_HOSTS).read(found)
    if context:
        return np.concatenate([read.numbers, read.words], 1)
    alone = [shape.numbers.index(name) for name in OF_FLOW]
    return np.concatenate([read.numbers[:, alone], read.words], 1)


class Boosting(Baseline):
    """Gradient boosted trees with labels (Friedman 2001), as scikit-learn's histogram ones."""

    def __init__(self, shape: Geometry, context: bool = True, seed: int = 0) -> None:
        self.shape, self.context, self.seed = shape, context, seed

    def fit(self, train: Flows, attack: Array | None) -> Self:
        """See `Baseline`; labels are needed."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        if attack is None:
            raise ValueError("boosting needs labels")
        self.trees = HistGradientBoostingClassifier(random_state=self.seed)
        self.trees.fit(table(self.shape, train, self.context), attack)
        return self

    def score(self, test: Flows) -> Array:
        """The probability of an attack."""
        found: Array = self.trees.predict_proba(table(self.shape, test, self.context))[:, 1]
        return found


class Forest(Baseline):
    """Isolation forest without labels (Liu et al. 2008)."""

    def __init__(self, shape: Geometry, context: bool = True, seed: int = 0) -> None:
        self.shape, self.context, self.seed = shape, context, seed

    def fit(self, train: Flows, attack: Array | None) -> Self:
        """See `Baseline`."""
        from sklearn.ensemble import IsolationForest

        self.trees = IsolationForest(random_state=self.seed, n_estimators=200)
        self.trees.fit(table(self.shape, train, self.context))
        return self

    def score(self, test: Flows) -> Array:
        """How easily a flow is cut off from the others."""
        found: Array = -self.trees.score_samples(table(self.shape, test, self.context))
        return found


class Rarity(Baseline):
    """Minus the logarithm of how often (protocol, service, end, direction) came in the training."""

    def __init__(self, shape: Geometry) -> None:
        self.shape = shape

    def fit(self, train: Flows, attack: Array | None) -> Self:
        """See `Baseline`."""
        self.counts: dict[tuple[int, ...], int] = defaultdict(int)
        for row in self._rows(train):
            self.counts[row] += 1
        self.total = len(train)
        return self

    def score(self, test: Flows) -> Array:
        """With one added to every count."""
        known: Mapping[Any, int] = dict(self.counts)
        rows = self._rows(test)
        return np.array([np.log((self.total + 1) / (known.get(row, 0) + 1)) for row in rows])

    def _rows(self, found: Flows) -> list[tuple[int, ...]]:
        return [tuple(row) for row in Context(self.shape, MOST_HOSTS).read(found).words.tolist()]


class Periodicity(Baseline):
    """How much like a clock a pair of hosts speaks, and how alike in size: the idea of RITA's
    beacon score (Active Countermeasures, https://github.com/activecm/rita): Bowley skewness and
    median absolute deviation of the intervals and of the sizes, here of the pair's past only."""

    def fit(self, train: Flows, attack: Array | None) -> Self:
        """Nothing is learnt."""
        return self

    def score(self, test: Flows) -> Array:
        """0 to 1."""
        past: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
        found = np.zeros(len(test))
        sizes = np.nan_to_num(test["src_ip_bytes"])
        rows = zip(test["src"], test["dst"], test["time"], sizes, strict=True)
        for k, (src, dst, time, size) in enumerate(rows):
            seen = past[src, dst]
            seen.append((time, size))
            if len(seen) > LAST_TIMES:
                del seen[0]
            if len(seen) > FEWEST_TIMES:
                found[k] = _rhythm(np.array(seen))
        return found


def _rhythm(seen: Array) -> float:
    times, sizes = np.sort(seen[:, 0]), seen[:, 1]
    parts = [_regular(np.diff(times)), _regular(sizes)]
    return float(np.mean(parts))


def _regular(x: Array) -> float:
    """1 for numbers that are all alike and symmetric about their median."""
    low, middle, high = np.quantile(x, [0.25, 0.5, 0.75])
    skew = abs((low + high - 2 * middle) / (high - low)) if high > low else 0.0
    spread = float(np.median(np.abs(x - middle))) / max(float(middle), 1e-9)
    return (1 - skew + max(1 - spread, 0.0)) / 2


class Random(Baseline):
    """Chance."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)

    def fit(self, train: Flows, attack: Array | None) -> Self:
        """Nothing is learnt."""
        return self

    def score(self, test: Flows) -> Array:
        """Any number."""
        return self.rng.random(len(test))
