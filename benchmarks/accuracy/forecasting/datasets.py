"""Three data sets and their protocols: what a contestant is given, and what came.

A contestant gets a `Task`: every series up to its last origin, how many of its rows may be fitted
on, and the origins to forecast from. The truth stays with the parent process. Gaps in what is given
are filled with the row before, the same for all; gaps in the truth are not scored.
"""

from __future__ import annotations

import csv
import gzip
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

LEVELS = (0.025, 0.1, 0.9, 0.975)  # of the bounds: the 95 and 80 % intervals


@dataclass(frozen=True)
class Task:
    """What a contestant is given.

    Attributes:
        dataset: its name.
        horizon: rows ahead.
        season: rows in a season, as every model is told; 1 where none is known.
        freq: pandas' alias of the spacing, or "" where time is a number of the row.
        ids: (S,) names.
        starts: (S,) time of the first row, whole numbers or datetime64[h]; each row is one later.
        values: S arrays (T_s,) up to the last origin, no gaps.
        train: (S,) rows that may be fitted on.
        origins: (S, O) rows known when a forecast is made; the row of that number is its first.
        rows: how many rows before an origin are given to models that fit once.
        rows_refitted: the same for models that are fitted at every origin.
    """

    dataset: str
    horizon: int
    season: int
    freq: str
    ids: np.ndarray
    starts: np.ndarray
    values: tuple[np.ndarray, ...]
    train: np.ndarray
    origins: np.ndarray
    rows: int = 2000
    rows_refitted: int = 1 << 30

    def columns(self, first: np.ndarray, last: np.ndarray) -> dict[str, np.ndarray]:
        """Rows first[s] to last[s] of every series s: `unique_id`, `ds` and `y`, long."""
        spans = [range(max(0, a), b) for a, b in zip(first, last, strict=True)]
        lengths = [len(span) for span in spans]
        values = [v[r.start : r.stop] for v, r in zip(self.values, spans, strict=True)]
        steps = [at + np.array(r) for at, r in zip(self.starts, spans, strict=True)]
        ds = np.concatenate(steps)
        return {
            "unique_id": np.repeat(self.ids, lengths),
            "ds": ds.astype("datetime64[us]") if self.freq else ds,
            "y": np.concatenate(values),
        }

    def training(self) -> dict[str, np.ndarray]:
        """The rows that may be fitted on."""
        return self.columns(np.zeros_like(self.train), self.train)

    def histories(self, rows: int) -> Iterator[dict[str, np.ndarray]]:
        """For each origin the last `rows` rows before it."""
        for origin in self.origins.T:
            yield self.columns(origin - rows, origin)

    def save(self, path: Path) -> None:
        """As one .npz of plain arrays, which any environment reads."""
        fields = {k: v for k, v in vars(self).items() if k != "values"}
        lengths = [len(v) for v in self.values]
        np.savez(path, lengths=lengths, values=np.concatenate(self.values), **fields)

    @classmethod
    def load(cls, path: Path) -> Task:
        """What `save` wrote."""
        with np.load(path) as file:
            found: dict[str, Any] = {k: v if v.ndim else v.item() for k, v in file.items()}
        cuts = np.cumsum(found.pop("lengths"))[:-1]
        return cls(**{**found, "values": tuple(np.split(found["values"], cuts))})


@dataclass(frozen=True)
class Problem:
    """A task, what came, and how forecasts of it are scored.

    Attributes:
        task: what contestants are given.
        truth: (S, O, horizon), NaN where nothing was recorded.
        scale_season: m of MASE and MSIS.
        naives: name and season of the seasonal naive forecasts beside.
        metrics: names, in the order of the table.
        protocol: in words.
        published: figures of others on the same split.
        check: what the seasonal naive must give on the whole data set.
    """

    task: Task
    truth: np.ndarray
    scale_season: int
    naives: dict[str, int]
    metrics: tuple[str, ...]
    protocol: str
    published: dict[str, dict[str, float]]
    check: dict[str, float]

    def first(self, series: int) -> Problem:
        """The same of the first `series` series: a trial, with nothing published to match."""
        task = self.task
        fields = ("ids", "starts", "values", "train", "origins")
        fewer = replace(task, **{name: getattr(task, name)[:series] for name in fields})
        return replace(self, task=fewer, truth=self.truth[:series], check={})


# --- M4 Hourly


def m4_hourly(folder: Path) -> Problem:
    """The official split: M4-Hourly-train.csv(.gz), and 48 rows of M4-Hourly-test.csv(.gz)."""
    past = dict(_named_rows(_found(folder, "M4-Hourly-train.csv")))
    future = dict(_named_rows(_found(folder, "M4-Hourly-test.csv")))
    lengths = np.array([len(row) for row in past.values()])
    task = Task(
        "m4_hourly", 48, 24, "", np.array(list(past)), np.ones(len(past), int),
        tuple(past.values()), lengths, lengths[:, None],
    )  # fmt: skip
    return Problem(
        task,
        np.stack([future[name] for name in past])[:, None],
        24,
        {"seasonal_naive": 24},
        ("smape", "mase", "msis", "mae", "coverage_80", "coverage_95"),
        "official split: one forecast of 48 rows for each series, MASE and MSIS with m = 24",
        {
            "seasonal naive": {"smape": 13.912, "mase": 1.193},
            "ES-RNN, 1st of M4": {"smape": 9.328, "mase": 0.893, "msis": 7.928},
            "Doornik et al., best of Hourly": {"smape": 8.913, "mase": 0.801, "msis": 6.139},
        },
        {"smape": 13.912, "mase": 1.193},
    )


def _named_rows(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """A name and its values from each line after the first; empty cells end a row."""
    for name, *cells in _lines(path, skip=1):
        yield name, np.array([float(cell) for cell in cells if cell])


# --- exchange rates


def exchange(folder: Path) -> Problem:
    """Eight daily rates, 70/10/20 by time: 24 rows ahead from every 24th row of the last fifth."""
    table = np.array([[float(cell) for cell in line] for line in _lines(_found(folder, EXCHANGE))])
    count, series = table.shape
    first, horizon = count - int(0.2 * count), 24
    origins = np.arange(first, count - horizon + 1, horizon)
    task = Task(
        "exchange", horizon, 1, "", np.array([f"rate {k + 1}" for k in range(series)]),
        np.ones(series, int), tuple(table[: origins[-1]].T), np.full(series, first),
        np.tile(origins, (series, 1)),
    )  # fmt: skip
    return Problem(
        task,
        np.stack([table[o : o + horizon].T for o in origins], axis=1),
        1,
        {"naive": 1},
        ("smape", "mase", "msis", "mae", "coverage_80", "coverage_95"),
        "24 rows ahead from every 24th row of the last 20 %, fitted on the 80 % before; MASE and "
        "MSIS with m = 1; AutoETS and AutoTheta are fitted again at every origin",
        {},
        {},
    )


EXCHANGE = "exchange_rate.txt"


# --- electricity load of PJM's areas


def pjm(folder: Path, test_year: int = 2017, every: int = 6) -> Problem:
    """Hourly load, a day ahead from every sixth midnight of `test_year`, fitted on what was before.

    A time is the end of its hour: the first hour of a day is labelled 01:00, and of the night when
    clocks are put forward 03:00 is missing.
    """
    names, begin, table = _hourly(_found(folder, PJM))
    midnight = np.datetime64(f"{test_year}-01-01", "h")
    first = int((midnight - begin).astype(int)) + 1
    days = int((np.datetime64(f"{test_year + 1}-01-01", "h") - midnight).astype(int)) // 24
    origins = first + 24 * np.arange(0, days, every)
    kept = [k for k, column in enumerate(table.T) if _covers(column, first, origins[-1] + 24)]
    starts = np.array([int(np.argmax(~np.isnan(table[:, k]))) for k in kept])
    values = [table[start:, k] for start, k in zip(starts, kept, strict=True)]
    own = origins - starts[:, None]
    task = Task(
        "pjm", 24, 24, "h", np.array([names[k] for k in kept]), begin + starts,
        tuple(_filled(v[: o[-1]]) for v, o in zip(values, own, strict=True)), first - starts, own,
        rows_refitted=8 * 168,
    )  # fmt: skip
    gaps = sum(int(np.isnan(v[: o[-1]]).sum()) for v, o in zip(values, own, strict=True))
    return Problem(
        task,
        np.stack([[v[o : o + 24] for o in row] for v, row in zip(values, own, strict=True)]),
        168,
        {"seasonal_naive": 24, "weekly_naive": 168},
        ("mape", "smape", "mase", "msis", "mae", "coverage_80", "coverage_95"),
        f"24 hours ahead from every {every}th midnight of {test_year}, fitted once on what was "
        f"before {test_year}; the {len(kept)} areas of {len(names)} with load in {test_year}; "
        f"{gaps} missing hours are given as the hour before, and not scored; MASE and MSIS with "
        "m = 168; AutoETS and AutoTheta are fitted at every origin on the last 8 weeks",
        {},
        {},
    )


PJM = "pjm_est_hourly.csv"


def _hourly(path: Path) -> tuple[list[str], np.datetime64, np.ndarray]:
    """Names, time of the first row, and an hourly grid (T, names): sorted, the first of doubles."""
    head, *lines = _lines(path)
    at = np.array([line[0] for line in lines], "datetime64[s]").astype("datetime64[h]")
    rows = np.array([[float(c) if c else np.nan for c in line[1:]] for line in lines])
    begin = at.min()
    step, chosen = np.unique((at - begin).astype(int), return_index=True)
    table = np.full((step[-1] + 1, rows.shape[1]), np.nan)
    table[step] = rows[chosen]
    return head[1:], begin, table


def _covers(column: np.ndarray, first: int, last: int) -> bool:
    """Whether there are values before row `first`, and on most rows from there to `last`."""
    return bool((~np.isnan(column[:first])).any() and np.isnan(column[first:last]).mean() < 0.01)


def _filled(values: np.ndarray) -> np.ndarray:
    """Gaps take the value before them; the first value is none."""
    known = np.where(np.isnan(values), 0, np.arange(len(values)))
    return values[np.maximum.accumulate(known)]


# --- files


def _found(folder: Path, name: str) -> Path:
    """`name` in `folder`, packed or not."""
    for path in (folder / f"{name}.gz", folder / name):
        if path.exists():
            return path
    raise SystemExit(f"error: no {name}.gz or {name} in the folder")


def _lines(path: Path, skip: int = 0) -> Iterator[list[str]]:
    packed = path.suffix == ".gz"
    with gzip.open(path, "rt") if packed else path.open() as file:
        yield from itertools.islice(csv.reader(file), skip, None)


DATASETS = {"m4_hourly": m4_hourly, "exchange": exchange, "pjm": pjm}
