"""Two data sets of series with labelled anomalies: Server Machine Dataset and NAB.

A detector gets a `Series`: the rows to fit on and the rows to score, never a label.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

MACHINES = ("machine-1-6", "machine-2-1", "machine-3-2")
PROBATION, LONGEST = 0.15, 5000  # of a file of NAB: its first rows, which are not scored
Event = tuple[int, int]  # first and last row


@dataclass(frozen=True)
class Series:
    """What a detector is given.

    Attributes:
        name: of the file.
        train: (m, C) rows to fit on.
        test: (n, C) rows to score; where `prefix`, its first m rows are `train`.
        time: (n,) datetime64[us] of the rows of `test`; empty where there is none.
        prefix: whether one file gives both.
    """

    name: str
    train: np.ndarray
    test: np.ndarray
    time: np.ndarray
    prefix: bool

    def save(self, path: Path) -> None:
        """As one .npz of plain arrays, which any environment reads."""
        np.savez(path, **vars(self))

    @classmethod
    def load(cls, path: Path) -> Series:
        """What `save` wrote."""
        with np.load(path) as file:
            found: dict[str, Any] = {k: v if v.ndim else v.item() for k, v in file.items()}
        return cls(**found)


@dataclass(frozen=True)
class Problem:
    """A series, and what is known of it.

    Attributes:
        series: what detectors are given.
        labels: (n,) 0 or 1 of each row of `series.test`.
        events: labelled windows as rows of `series.test`, in order; they may touch.
        causes: of each event the channels (0-based) that it shows in; empty where unknown.
    """

    series: Series
    labels: np.ndarray
    events: tuple[Event, ...]
    causes: tuple[tuple[int, ...], ...] = ()

    @property
    def scored(self) -> slice:
        """The rows of the test that were not fitted on."""
        return slice(len(self.series.train) if self.series.prefix else 0, None)


# --- Server Machine Dataset (Su et al. 2019): 38 metrics a minute, five weeks; half to fit on


def smd(folder: Path) -> Iterator[Problem]:
    """The three machines in `folder`, or in `folder`/smd.

    Raises:
        SystemExit: a file is missing, or labels do not fit the rows.
    """
    place = folder / "smd" if (folder / "smd").is_dir() else folder
    for name in MACHINES:
        train, test = (_numbers(place / f"{name}.{part}.txt.gz") for part in ("train", "test"))
        labels = _numbers(place / f"{name}.test_label.txt.gz").astype(np.int64).ravel()
        events, causes = _interpretation(place / f"{name}.interpretation_label.txt")
        if len(labels) != len(test) or (events and events[-1][1] >= len(test)):
            raise SystemExit(f"error: labels of {name} do not fit its {len(test):,} rows")
        none = np.zeros(0, "datetime64[us]")
        yield Problem(Series(name, train, test, none, False), labels, events, causes)


def _numbers(path: Path) -> np.ndarray:
    try:
        with gzip.open(path, "rt") as file:
            return np.loadtxt(file, delimiter=",", ndmin=2)
    except OSError as reason:
        raise SystemExit(f"error: {path.name}: {reason}") from None


def _interpretation(path: Path) -> tuple[tuple[Event, ...], tuple[tuple[int, ...], ...]]:
    """Lines `first-last:dimension,dimension`; dimensions count from 1 there, from 0 here."""
    lines = [line.partition(":") for line in path.read_text().split() if line]
    spans = [tuple(map(int, span.split("-"))) for span, _, _ in lines]
    causes = [tuple(int(k) - 1 for k in which.split(",")) for _, _, which in lines]
    order = sorted(range(len(spans)), key=spans.__getitem__)
    return tuple((spans[k][0], spans[k][1]) for k in order), tuple(causes[k] for k in order)


# --- Numenta Anomaly Benchmark (Lavin & Ahmad 2015): 58 files, one value a row


def nab(folder: Path) -> Iterator[Problem]:
    """All files of nab.tar.gz, or of the folder that it unpacks to, by name.

    Raises:
        SystemExit: neither is there.
    """
    with _opener(folder) as opened:
        windows = json.load(opened.text("labels/combined_windows.json"))
        for name in sorted(windows):
            yield _nab(name, opened.text(f"data/{name}"), windows[name])


def probation(rows: int) -> int:
    """The rows at the start of a file on which a detector may settle."""
    return int(PROBATION * min(rows, LONGEST))


def _nab(name: str, file: IO[str], windows: list[list[str]]) -> Problem:
    rows = list(csv.DictReader(file))
    time = np.array([row["timestamp"] for row in rows], "datetime64[us]")
    values = np.array([[float(row["value"])] for row in rows])
    spans = [tuple(np.datetime64(end.replace(" ", "T"), "us") for end in w) for w in windows]
    inside = [np.flatnonzero((time >= first) & (time <= last)) for first, last in spans]
    labels = np.zeros(len(rows), np.int64)
    for found in inside:
        labels[found] = 1
    events = tuple((int(found[0]), int(found[-1])) for found in inside if len(found))
    series = Series(name.removesuffix(".csv"), values[: probation(len(rows))], values, time, True)
    return Problem(series, labels, events)


class _Folder:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> _Folder:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def text(self, name: str) -> IO[str]:
        return io.StringIO((self.path / name).read_text())


class _Archive:
    def __init__(self, path: Path) -> None:
        self.file = tarfile.open(path)  # noqa: SIM115

    def __enter__(self) -> _Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def text(self, name: str) -> IO[str]:
        found = self.file.extractfile(f"./{name}")
        assert found is not None, name
        return io.StringIO(found.read().decode())


def _opener(folder: Path) -> _Folder | _Archive:
    if (folder / "labels").is_dir():
        return _Folder(folder)
    archive = folder if folder.suffix == ".gz" else folder / "nab.tar.gz"
    if not archive.is_file():
        raise SystemExit(f"error: neither nab.tar.gz nor labels/ and data/ in {folder}")
    return _Archive(archive)


DATASETS: dict[str, Callable[[Path], Iterator[Problem]]] = {"smd": smd, "nab": nab}
