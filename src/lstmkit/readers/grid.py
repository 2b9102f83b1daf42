"""Rows with times onto regular grids, for all series at once (numpy only).

Each series has its own origin; a row belongs to the nearest step. Rows may lie beside their step by
1 % of it, in grids of days and longer by an hour (daylight saving), in months by four days (the
last business day); with a frequency that the user gave, by half a step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lstmkit.errors import UserError
from lstmkit.readers.calendar import (
    DAY,
    MICROSECONDS,
    Freq,
    ends_months,
    grid_index,
    infer_freq,
    parse_freq,
    step_times,
)

SPARSE_CELLS = 5_000_000
SPARSE_FACTOR = 50


class Uneven(UserError):  # noqa: N818
    """Times that fit no grid of the spacing that was tried."""


@dataclass
class Placement:
    """Where rows go: `times[starts[i]:starts[i+1]]` is the grid of series i.

    Attributes:
        times: (cells,) datetime64[us] or int64, the grids of all series one after the other.
        starts: (series + 1,) where each grid begins.
        rows: (kept,) rows of the input that have a cell.
        cells: (kept,) their cells.
    """

    times: np.ndarray
    starts: np.ndarray
    rows: np.ndarray
    cells: np.ndarray

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Values of the rows (n,) on the grid (cells,), NaN where no row is."""
        spread = np.full(len(self.times), np.nan)
        spread[self.cells] = values[self.rows]
        return spread

    def neighbours(self) -> float:
        """Share of the rows that follow the row before them by one step; 1 without such pairs."""
        series = np.searchsorted(self.starts, self.cells, side="right")
        steps = np.diff(self.cells)[np.diff(series) == 0]
        return float((steps == 1).mean()) if len(steps) else 1.0


def choose_freq(times: np.ndarray, codes: np.ndarray, freq: str | None, notes: list[str]) -> str:
    """The user's frequency, anchored at month ends where the times are, or the inferred one."""
    numbered = times.dtype.kind != "M"
    if freq is None:
        need_two_rows(times, codes)
        return infer_freq(times, codes)
    given = parse_freq(freq)
    if numbered != (given.unit == "i"):
        raise UserError(
            f"freq {freq} does not suit {'numbered rows' if numbered else 'dates'}",
            expected="1i" if numbered else "a step of time such as 1h or 1d",
        )
    if given.months and not given.end and ends_months(times):
        notes.append("times are month ends")
        given = replace(given, end=True)
    return str(given)


def need_two_rows(times: np.ndarray, codes: np.ndarray) -> None:
    """Raise a UserError where no series has two rows."""
    if len(times) < 2 or np.bincount(codes).max() < 2:
        raise UserError(
            "one row is no time series" if len(times) == 1 else "every series has one row only",
            got=f"{len(times)} row{'s' if len(times) > 1 else ''}",
            expected="at least two rows a series",
            hint="" if len(times) == 1 else "--id NAME: another column may name the series",
        )


def place(
    times: np.ndarray,
    codes: np.ndarray,
    freq: str,
    given: bool,
    notes: list[str],
    crowded: float = 0.0,
) -> Placement:
    """Put rows (n,) of series `codes` (n,) on grids.

    Args:
        given: whether rows may lie half a step beside their step.
        crowded: the share of the rows that may share a step with a later one, which is kept.

    Raises:
        UserError: most rows share a time; its kind `Uneven`: times that do not fit, rows that
            share a step, or gaps too large to hold.
    """
    rows = _sorted_rows(times, codes, notes)
    rows = _without_duplicates(times, codes, rows, notes)
    moments, owners = times[rows], codes[rows]
    first = np.flatnonzero(np.diff(owners, prepend=-1))
    step = parse_freq(freq)
    origins = _origins(moments, owners, first, step, given)
    index = grid_index(moments, freq, origins[owners])
    exact = _check_fit(moments, origins[owners], index, step, given, notes)
    last = _last_of_steps(moments, owners, index, freq, crowded, notes)
    rows, moments, owners, index = rows[last], moments[last], owners[last], index[last]
    first = np.flatnonzero(np.diff(owners, prepend=-1))
    index = index - index[first][owners]
    lengths = index[np.append(first[1:], len(index)) - 1] + 1
    _check_size(int(lengths.sum()), len(times), freq)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    if exact and starts[-1] == len(rows):  # every step has its row
        return Placement(moments, starts, rows, np.arange(len(rows)))
    cells = np.arange(starts[-1]) - np.repeat(starts[:-1], lengths)
    begins = grid_index(moments[first], freq, origins) if len(first) else first
    grids = step_times(np.repeat(origins, lengths), freq, cells + np.repeat(begins, lengths))
    return Placement(grids, starts, rows, starts[owners] + index)


def place_events(times: np.ndarray, codes: np.ndarray, notes: list[str]) -> Placement:
    """Rows (n,) of series `codes` (n,) one after the other, numbered 1, 2, 3 ... in each.

    Raises:
        UserError: most rows share a time.
    """
    rows = _without_duplicates(times, codes, _sorted_rows(times, codes, notes), notes)
    lengths = np.bincount(codes[rows])
    starts = np.concatenate([[0], np.cumsum(lengths)])
    cells = np.arange(len(rows))
    return Placement(cells - np.repeat(starts[:-1], lengths) + 1, starts, rows, cells)


def _sorted_rows(times: np.ndarray, codes: np.ndarray, notes: list[str]) -> np.ndarray:
    grouped = np.argsort(codes, kind="stable")
    backward = (np.diff(times[grouped]) < np.zeros((), np.diff(times[:2]).dtype)) & (
        np.diff(codes[grouped]) == 0
    )
    if not backward.any():
        return grouped
    notes.append(f"rows were not in order of time ({int(backward.sum())} steps back): sorted")
    return np.lexsort((times, codes))


def _without_duplicates(
    times: np.ndarray, codes: np.ndarray, rows: np.ndarray, notes: list[str]
) -> np.ndarray:
    same = (times[rows][1:] == times[rows][:-1]) & (codes[rows][1:] == codes[rows][:-1])
    count = int(same.sum())
    if count > len(rows) / 2:
        raise UserError(
            f"{count} of {len(rows)} rows repeat a time of their series",
            expected="one row a series and time",
            hint="--id NAME: name the columns that tell the series apart",
        )
    if count:
        notes.append(f"{count} rows repeat a time of their series: the last one is kept")
    return rows[np.append(~same, True)]


def _origins(
    moments: np.ndarray, owners: np.ndarray, first: np.ndarray, step: Freq, given: bool
) -> np.ndarray:
    """First time of each series; the nearest round time where the first one alone does not fit."""
    origins = moments[first]
    if not step.fixed or step.unit == "i":
        return origins
    phase = (moments.astype(np.int64) - origins.astype(np.int64)[owners]) % step.fixed
    if not phase.any():
        return origins
    base = 4 * DAY if step.unit == "w" else 0
    ticks = origins.astype(np.int64) - base
    rounded = (ticks + step.fixed // 2) // step.fixed * step.fixed + base
    allowed = step.fixed // 2 if given else _tolerance(step, False)
    near = np.abs(rounded - origins.astype(np.int64)) <= allowed
    return np.where(near, rounded.astype("datetime64[us]"), origins)


def _tolerance(step: Freq, given: bool) -> int:
    """Microseconds (integers: steps) that a row may lie beside its step."""
    if step.unit == "i":
        return 0
    if step.months:
        return 16 * DAY if given else 4 * DAY
    if given:
        return step.fixed // 2 if step.fixed else DAY - 1
    return MICROSECONDS["h"] if step.days_or_longer else step.fixed // 100


def _check_fit(
    moments: np.ndarray,
    origins: np.ndarray,
    index: np.ndarray,
    step: Freq,
    given: bool,
    notes: list[str],
) -> bool:
    """Whether every row lies on its step exactly; one that lies too far away is an error."""
    off = np.abs(moments.astype(np.int64) - step_times(origins, str(step), index).astype(np.int64))
    wrong = off > _tolerance(step, given)
    if wrong.any():
        raise Uneven(
            f"the times do not fit a grid of {step}",
            got=f"{int(wrong.sum())} of {len(off)} rows lie beside it, "
            f"the first at {moments[np.argmax(wrong)]}",
            expected=f"times {step} apart" + ("" if given else ", the most frequent spacing"),
            hint="--freq 1h (or another spacing): rows then go to the nearest step",
        )
    if off.any():
        notes.append(f"{int((off > 0).sum())} rows were moved to the nearest step of {step}")
    return not off.any()


def _last_of_steps(
    moments: np.ndarray,
    owners: np.ndarray,
    index: np.ndarray,
    freq: str,
    crowded: float,
    notes: list[str],
) -> np.ndarray:
    """Which rows (n,) are the last in their step; an error where too many are not."""
    same = (np.diff(index) == 0) & (np.diff(owners) == 0)
    count = int(same.sum())
    if count > (max(1.0, crowded * len(index)) if crowded else 0):
        row = int(np.argmax(same))
        raise Uneven(
            f"several rows fall into one step of {freq}",
            got=f"{moments[row]} and {moments[row + 1]}",
            hint="choose a finer --freq, or add the rows up first",
        )
    if count:
        notes.append(f"{count} rows share a step of {freq} with a later one, which is kept")
    return np.append(~same, True)


def _check_size(cells: int, rows: int, freq: str) -> None:
    if cells > max(SPARSE_CELLS, SPARSE_FACTOR * rows):
        raise Uneven(
            f"{rows} rows would make {cells} steps of {freq}",
            expected="rows that mostly follow each other",
            hint="give a coarser --freq, or check for a wrong date far from the others",
        )
