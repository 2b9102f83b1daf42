"""Kitsune's idea on flows (Mirsky et al. 2018, doi:10.14722/ndss.2018.23204), as a baseline.

Damped statistics of every host, pair and service say what it has done lately, with several decays;
an ensemble of small autoencoders, each of features that go together, learns what is usual of them,
and one more autoencoder judges their errors. The paper does this with packets. Written from its
equations.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from lstmkit.readers.flows import Flows
from lstmkit.tasks.intrusion.baselines import Baseline

Array = np.ndarray
DECAYS = (1.0, 0.1, 0.01, 0.001)  # per second: the paper's are for packets, 5 to 0.01
LARGEST = 10  # features of an autoencoder
HIDDEN = 0.75  # of its inputs
EPOCHS, RATE = 3, 0.1
KEYS = (("src",), ("src", "dst"), ("src", "dst", "dport"), ("dst",))


class Kitsune(Baseline):
    """See the module."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)

    def fit(self, train: Flows, attack: Array | None) -> Self:
        """Learn what is usual; labels are not looked at."""
        x = damped(train)
        self.low, span = x.min(0), np.ptp(x, 0)
        self.span = np.where(span > 0, span, 1.0)
        x = self._scaled(x)
        self.groups = _groups(x)
        self.small = [_Autoencoder(len(g), self.rng) for g in self.groups]
        self.last = _Autoencoder(len(self.groups), self.rng)
        for _ in range(EPOCHS):
            for row in x:
                errors = [a.learn(row[g]) for a, g in zip(self.small, self.groups, strict=True)]
                self.last.learn(np.clip(errors, 0, 1))
        return self

    def score(self, test: Flows) -> Array:
        """The error of the last autoencoder."""
        x = self._scaled(damped(test))
        errors = [a.error(x[:, g]) for a, g in zip(self.small, self.groups, strict=True)]
        found: Array = self.last.error(np.stack(errors, 1))
        return found

    def _scaled(self, x: Array) -> Array:
        return np.asarray(np.clip((x - self.low) / self.span, -1, 5))


def damped(found: Flows) -> Array:
    """Weight, mean and deviation of sizes and of intervals, damped by time (n, F)."""
    size = np.log1p(np.nan_to_num(found["src_ip_bytes"] + found["dst_ip_bytes"]))
    time = np.nan_to_num(found["time"])
    columns = []
    for names in KEYS:
        keys = list(zip(*(found[name].tolist() for name in names), strict=True))
        columns += [_damped(keys, time, size, decay) for decay in DECAYS]
    return np.concatenate(columns, 1)


def _damped(keys: list[tuple[object, ...]], time: Array, size: Array, decay: float) -> Array:
    """(n, 5): weight, mean and deviation of the size, mean and deviation of the interval."""
    state: dict[tuple[object, ...], list[float]] = {}
    found = np.empty((len(keys), 5))
    for k, key in enumerate(keys):
        t, s = float(time[k]), float(size[k])
        w, a, b, c, d, last = state.get(key, [0.0, 0.0, 0.0, 0.0, 0.0, t])
        gap = max(t - last, 0.0)
        kept, idle = 2.0 ** (-decay * gap), np.log1p(gap)
        w, a, b = kept * w + 1, kept * a + s, kept * b + s * s
        c, d = kept * c + idle, kept * d + idle * idle
        state[key] = [w, a, b, c, d, max(t, last)]
        deviations = [np.sqrt(max(q / w - (m / w) ** 2, 0.0)) for m, q in ((a, b), (c, d))]
        found[k] = w, a / w, deviations[0], c / w, deviations[1]
    return found


def _groups(x: Array) -> list[Array]:
    """Features that go together, at most LARGEST: hierarchical clustering by correlation."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    varied = x + 1e-9 * np.random.default_rng(0).standard_normal(x.shape)
    distance: Array = 1 - np.asarray(np.corrcoef(varied.T))
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(np.clip(distance, 0, 2), checks=False), "average")
    count = 1
    while True:
        labels = fcluster(tree, count, "maxclust")
        groups = [np.flatnonzero(labels == k) for k in np.unique(labels)]
        if max(map(len, groups)) <= LARGEST or count >= x.shape[1]:
            return groups
        count += 1


class _Autoencoder:
    """One hidden layer with tied sigmoid units, learnt flow by flow."""

    def __init__(self, inputs: int, rng: np.random.Generator) -> None:
        hidden = max(int(np.ceil(HIDDEN * inputs)), 1)
        self.w = rng.uniform(-1 / inputs, 1 / inputs, (inputs, hidden))
        self.b, self.c = np.zeros(hidden), np.zeros(inputs)

    def _said(self, x: Array) -> tuple[Array, Array]:
        hidden = _sigmoid(x @ self.w + self.b)
        return hidden, _sigmoid(hidden @ self.w.T + self.c)

    def learn(self, x: Array) -> float:
        """One step of gradient descent; the error before it."""
        hidden, again = self._said(x)
        off = x - again
        outer = off * again * (1 - again)
        inner = (outer @ self.w) * hidden * (1 - hidden)
        self.w += RATE * (np.outer(x, inner) + np.outer(outer, hidden))
        self.b += RATE * inner
        self.c += RATE * outer
        return float(np.sqrt(np.mean(off**2)))

    def error(self, x: Array) -> Array:
        """Root mean squared errors of rows (n, inputs)."""
        found: Array = np.sqrt(np.mean((x - self._said(x)[1]) ** 2, -1))
        return found


def _sigmoid(x: Array) -> Array:
    found: Array = 1 / (1 + np.exp(-np.clip(x, -30, 30)))
    return found
