"""Series as a detector learns from them: scales, chunks of rows, and rows spoilt on purpose."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit import runtime
from lstmkit.tasks.anomaly import program
from lstmkit.tasks.anomaly.features import Geometry, inputs

if TYPE_CHECKING:
    from torch import Tensor

    from lstmkit.tasks.anomaly.network import Rows
    from lstmkit.training import Share

CHUNK = 128  # rows of a training chunk
HELD_SHARE = 0.2  # of each series, at its end, whose errors calibrate
FEWEST_HELD = 20
SPOILT = 0.5  # of the chunks
LEAST_SCALE = 0.01  # of a series' channel, in units of the channel's pooled spread
LEAST_SPREAD = 1e-3  # of a channel, of its typical value or of the others' spread


@dataclass(frozen=True)
class Part:
    """One series: values (n, C) float64 with NaN, times (n,), its number in the program."""

    values: np.ndarray
    time: np.ndarray
    number: int

    def until(self, stop: int) -> Part:
        """Its first rows."""
        return Part(self.values[:stop], self.time[:stop], self.number)

    @property
    def cut(self) -> int:
        """Where the rows that calibrate begin."""
        n = len(self.values)
        return n - max(int(HELD_SHARE * n), min(FEWEST_HELD, n // 2))


def spread(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Typical value and spread (C,) of rows (n, C): robust, and never 0.

    Nine tenths of the rows as of a normal distribution, or three tenths of the deviation where most
    rows are alike. A channel that never changes has a thousandth of its value, or of what the
    others change by.
    """
    some = ~np.isnan(values).all(0)
    middle, wide = np.zeros(values.shape[1]), np.zeros(values.shape[1])
    if some.any():
        low, mid, high = np.nanquantile(values[:, some], [0.05, 0.5, 0.95], axis=0)
        middle[some] = mid
        wide[some] = np.maximum((high - low) / 3.29, 0.3 * np.nanstd(values[:, some], 0))
    others = float(np.median(wide[wide > 0])) if (wide > 0).any() else 1.0
    least = LEAST_SPREAD * np.maximum(np.abs(middle), others)
    return middle, np.maximum(wide, np.where(wide > 0, 1e-9 * least, least))


def run(made: program.Program, shape: Geometry, part: Part) -> dict[str, np.ndarray]:
    """A program along a whole series."""
    given = inputs(shape, part.values, part.time, part.number)
    found: Any = runtime.load(made).session().run(given)
    return dict(found)


def scales(shape: Geometry, parts: Sequence[Part]) -> np.ndarray:
    """The spread of each channel around its level, (S + 1, C) float32; row 0 for unknown series."""
    rough = np.ones((len(shape.ids) + 1, len(shape.channels)), np.float32)
    found = rough.copy()
    for part in parts:
        out = run(program.normaliser(shape, rough), shape, part)
        off = np.where(out["known"] > 0, out["off"], np.nan).astype(np.float64)
        _, wide = spread(off)
        changed = np.nanmax(np.abs(np.nan_to_num(off)), axis=0) > 0
        found[part.number] = np.where(changed, np.maximum(wide, LEAST_SCALE), 1.0)
    found[0] = np.median(found[1:], axis=0)
    return found


@dataclass(frozen=True)
class Corpus:
    """Rows in units of their channels, of all series, to draw chunks from.

    Attributes:
        rows: of each series, what the normaliser says of it by name, and its calendar.
        length: of a chunk.
    """

    rows: Sequence[dict[str, np.ndarray]]
    length: int

    @classmethod
    def of(cls, shape: Geometry, scale: np.ndarray, parts: Sequence[Part]) -> Corpus:
        """Normalise all parts."""
        made = program.normaliser(shape, scale)
        found = []
        for part in parts:
            given = inputs(shape, part.values, part.time, part.number)
            out: Any = runtime.load(made).session().run(given)
            found.append({**out, "calendar": given["calendar"]})
        longest = max(len(p.values) for p in parts)
        return cls(found, min(CHUNK, max(8, longest // 2)))

    def digest(self) -> int:
        """A checksum of the rows."""
        code = 0
        for rows in self.rows:
            code = zlib.crc32(rows["z"].tobytes(), code)
        return code

    def directions(self, count: int) -> np.ndarray:
        """Principal directions (count, C) of the rows, those missing as 0."""
        every = max(1, sum(len(r["z"]) for r in self.rows) // 20_000)
        table = np.concatenate([r["z"][::every] for r in self.rows]).astype(np.float64)
        _, vectors = np.linalg.eigh(table.T @ table)
        return np.ascontiguousarray(vectors[:, ::-1][:, :count].T).astype(np.float32)

    def chunks(
        self, batch_size: int, steps: int, seed: tuple[int, ...], share: Share
    ) -> Iterator[Batch]:
        """Batches of random chunks, half of them spoilt; the same for a seed."""
        draw = np.random.default_rng(seed)
        weights = np.array([max(1, len(r["z"]) - self.length) for r in self.rows], float)
        for _ in range(steps):
            which = draw.choice(len(self.rows), batch_size, p=weights / weights.sum())
            found = [self._chunk(k, draw) for k in which]
            table = {name: np.stack([c[name] for c in found]) for name in found[0]}
            spoilt = spoil(table["z"], table["known"], draw)
            mine = slice(share.rank, None, share.world)
            yield _batch({k: v[mine] for k, v in table.items()}, spoilt[mine])

    def _chunk(self, k: int, draw: np.random.Generator) -> dict[str, np.ndarray]:
        rows, n = self.rows[k], len(self.rows[k]["z"])
        start = int(draw.integers(0, max(1, n - self.length + 1)))
        cut = {name: rows[name][start : start + self.length] for name in rows if name != "off"}
        short = self.length - min(n, self.length)
        if short:
            cut = {k: np.pad(v, ((0, short), (0, 0))) for k, v in cut.items()}
        return cut


@dataclass(frozen=True)
class Batch:
    """Rows as the network reads them, and the values that they had before they were spoilt."""

    rows: Rows
    truth: Tensor

    def to(self, device: Any) -> Batch:
        """On another device."""
        moved: Any = [None if x is None else x.to(device) for x in self.rows]
        return replace(self, rows=type(self.rows)(*moved), truth=self.truth.to(device))


def _batch(table: dict[str, np.ndarray], spoilt: np.ndarray) -> Batch:
    import torch

    from lstmkit.tasks.anomaly.network import Rows

    last = table["last"].copy()
    last[:, 1:] += (spoilt - table["z"])[:, :-1] * table["known"][:, :-1]
    given = {**table, "z": spoilt, "last": last}
    return Batch(
        Rows(**{k: torch.from_numpy(given[k]) for k in Rows._fields if k in given}),
        torch.from_numpy(table["z"]),
    )


def spoil(z: np.ndarray, known: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Chunks (B, T, C), every other one with a stretch of some channels shifted, exchanged with
    another chunk's, held or made noisy: what anomalies do, in sizes that vary."""
    B, T, C = z.shape
    found = z.copy()
    for b in np.flatnonzero(draw.random(B) < SPOILT):
        rows = int(np.exp(draw.uniform(0, np.log(T))))
        start = int(draw.integers(0, T - rows + 1))
        count = int(np.clip(np.exp(draw.uniform(0, np.log(0.7 * C + 1))), 1, C))
        place = np.ix_(np.arange(start, start + rows), draw.choice(C, count, replace=False))
        own = found[b][place]
        other = (
            own + draw.normal(0, 2.5, (1, count)),
            z[draw.integers(B)][place],
            np.broadcast_to(own[:1], own.shape),
            own + draw.normal(0, 1.5, own.shape),
        )[draw.integers(4)]
        found[b][place] = other
    return np.where(known > 0, found, 0).astype(np.float32)
