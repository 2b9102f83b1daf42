"""What a model has seen of each series, so that no score is in-sample.

A model keeps, per series, where its training rows and its held-out rows ended, and marks: hashes of
(time, value) for a few rows spread over the series. Marks find a series again under any name, and
tell another series of the same name apart. Rows that only repeat their predecessor carry no mark.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

MARKS = 32
FEWEST = 4  # marks that must agree before two series count as one
AGREE = 0.8


def hashes(time: np.ndarray, values: np.ndarray) -> np.ndarray:
    """A 64-bit hash of each (time, value): splitmix64's finaliser (Steele et al. 2014)."""
    x = (values + 0.0).view(np.uint64) ^ (
        time.astype(np.int64).view(np.uint64) * 0x9E3779B97F4A7C15
    )
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = x ^ (x >> np.uint64(31))
    return mixed


def changes(values: np.ndarray) -> np.ndarray:
    """Positions of the observed values that differ from the observed value before them."""
    observed = np.flatnonzero(~np.isnan(values))
    return observed[1:][np.diff(values[observed]) != 0]


def marks(time: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Times int64 and hashes uint64 of MARKS rows spread over a series; padded with zeros."""
    found = changes(values)
    chosen = (
        found[np.unique(np.linspace(0, len(found) - 1, MARKS).astype(int))] if len(found) else found
    )
    times, codes = np.zeros(MARKS, np.int64), np.zeros(MARKS, np.uint64)
    times[: len(chosen)] = time[chosen].astype(np.int64)
    codes[: len(chosen)] = hashes(time[chosen], values[chosen])
    return times, codes


@dataclass(frozen=True)
class Seen:
    """Per known series: id, cut (last row that the held-out weights saw), end (last row that the
    final weights saw), both as int64 time, and its marks (N, MARKS)."""

    ids: tuple[tuple[str, ...], ...]
    cut: np.ndarray
    end: np.ndarray
    mark_times: np.ndarray
    mark_codes: np.ndarray

    @classmethod
    def of(
        cls,
        ids: Sequence[tuple[object, ...]],
        times: Sequence[np.ndarray],
        values: Sequence[np.ndarray],
        cut: Sequence[int],
        end: Sequence[int],
    ) -> Seen:
        """Record series; cut and end are numbers of rows from the start of each."""
        pairs = [marks(t[:n], v[:n]) for t, v, n in zip(times, values, end, strict=True)]
        ticks = [t.astype(np.int64) for t in times]
        return cls(
            tuple(tuple(str(part) for part in name) for name in ids),
            np.array([t[n - 1] for t, n in zip(ticks, cut, strict=True)], np.int64),
            np.array([t[n - 1] for t, n in zip(ticks, end, strict=True)], np.int64),
            np.stack([t for t, _ in pairs]),
            np.stack([c for _, c in pairs]),
        )

    def find(self, name: tuple[object, ...], time: np.ndarray, values: np.ndarray) -> int | None:
        """The number of the known series that this one is, or None.

        The marks decide; where no mark lies in the series' time, its name does.
        """
        observed = np.flatnonzero(~np.isnan(values))
        codes = hashes(time[observed], values[observed])
        namesake = self.locate(name)
        if namesake is not None and self._agrees(namesake, time, codes) is not False:
            return namesake
        hits = (np.isin(self.mark_codes, codes) & (self.mark_codes != 0)).sum(1)
        best = int(np.argmax(hits))
        return best if hits[best] >= FEWEST and self._agrees(best, time, codes) else None

    def locate(self, name: tuple[object, ...]) -> int | None:
        """The number of the series of this name, or None."""
        return self._numbers.get(tuple(str(part) for part in name))

    @cached_property
    def _numbers(self) -> dict[tuple[str, ...], int]:
        return {name: number for number, name in enumerate(self.ids)}

    def _agrees(self, known: int, time: np.ndarray, codes: np.ndarray) -> bool | None:
        """Whether the marks inside the time of a series are in it; None where too few are."""
        ticks, marked = self.mark_times[known], self.mark_codes[known]
        first, last = time[[0, -1]].astype(np.int64)
        inside = (marked != 0) & (ticks >= first) & (ticks <= last)
        if inside.sum() < FEWEST:
            return None
        return bool(np.isin(marked[inside], codes).mean() >= AGREE)

    def tensors(self) -> dict[str, np.ndarray]:
        """As arrays for a model file."""
        names = np.frombuffer(json.dumps(self.ids).encode(), np.uint8)
        return {
            "seen/ids": names,
            "seen/cut": self.cut,
            "seen/end": self.end,
            "seen/mark_times": self.mark_times,
            "seen/mark_codes": self.mark_codes.view(np.int64),
        }

    @classmethod
    def from_tensors(cls, stored: dict[str, np.ndarray]) -> Seen:
        """The inverse of tensors."""
        ids = json.loads(stored["seen/ids"].tobytes())
        return cls(
            tuple(tuple(name) for name in ids),
            stored["seen/cut"],
            stored["seen/end"],
            stored["seen/mark_times"],
            stored["seen/mark_codes"].view(np.uint64),
        )
