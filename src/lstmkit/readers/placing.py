"""Rows on the grid of their table, in the clock that suits its steps."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from lstmkit.errors import UserError
from lstmkit.readers import grid
from lstmkit.readers.calendar import parse_freq
from lstmkit.readers.timestamps import Times, TimeStyle

EVENTS = "1i"  # the frequency of irregular rows
FEW = 0.01  # rows that may share a step of a spacing that was found
CROWDED = 0.1  # and of one that was given


class GridTime(NamedTuple):
    """The frequency of a grid, and the true times (cells,) of its steps."""

    freq: str
    moments: np.ndarray


Placed = tuple[grid.Placement, GridTime, TimeStyle]


def place(
    found: Times,
    codes: np.ndarray,
    freq: str | None,
    events: bool,
    notes: list[str],
    nearest: bool = False,
    crowded: float = 0.0,
) -> Placed:
    """The grid of all series: in UTC where a zone is known and steps are shorter than a day.

    Args:
        found: times of the rows (n,), which belong to the series `codes` (n,).
        freq: the spacing; None finds it.
        events: whether rows lie on no grid, but one after the other.
        nearest: whether rows may lie half a step beside their step although `freq` was found.
        crowded: the share of the rows that may share a step with a later one, which is kept.

    Raises:
        UserError: as `grid.choose_freq` and `grid.place`.
    """
    if events:
        return place_events(found, codes, freq, notes)
    used, as_utc = _spacing(found, codes, freq, notes)
    notes.append(f"freq: {used}" + ("" if freq else " (inferred)"))
    given = nearest or freq is not None
    placed = grid.place(_clock(found, as_utc), codes, used, given, notes, crowded)
    return placed, GridTime(used, placed.times), replace(found.style, utc=as_utc)


def _spacing(
    found: Times, codes: np.ndarray, freq: str | None, notes: list[str]
) -> tuple[str, bool]:
    """The frequency, and whether the grid is in UTC."""
    used = grid.choose_freq(found.wall, codes, freq, notes)
    as_utc = found.utc is not None and not parse_freq(used).days_or_longer
    if as_utc and freq is None:
        used = grid.choose_freq(_clock(found, as_utc), codes, None, [])
    return used, as_utc


def _clock(found: Times, as_utc: bool) -> np.ndarray:
    return found.utc if as_utc and found.utc is not None else found.wall


def place_if_it_fits(found: Times, codes: np.ndarray, freq: str | None, notes: list[str]) -> Placed:
    """As `place`; where no frequency is given, uneven rows need no help.

    They go to the nearest step of the most frequent spacing. Where more than one in a hundred
    would share a step, or too few would follow the row before by one step (half of those that
    were on their steps, eight in ten of those that were moved), there is no such spacing: rows
    are taken one after the other, and that is told. `1i` asks for the latter.

    Raises:
        UserError: as `place`, but for times that fit no grid that was not asked for.
    """
    dated = found.wall.dtype.kind == "M"
    if freq is not None or not dated:
        return place(found, codes, freq, dated and freq == EVENTS, notes, crowded=CROWDED)
    for nearest in (False, True):
        said: list[str] = []
        placed = _tried(found, codes, nearest, said)
        if placed is not None and placed[0].neighbours() >= (0.8 if nearest else 0.5):
            notes.extend(said)
            return placed
    usual, _ = _spacing(found, codes, None, [])
    notes.append(f"times are irregular ({usual} is most frequent): rows are taken one by one")
    return place_events(found, codes, None, notes)


def _tried(found: Times, codes: np.ndarray, nearest: bool, notes: list[str]) -> Placed | None:
    try:
        return place(found, codes, None, False, notes, nearest, FEW if nearest else 0.0)
    except grid.Uneven:
        return None


def place_events(found: Times, codes: np.ndarray, freq: str | None, notes: list[str]) -> Placed:
    """Rows one after the other, whenever they were."""
    if freq not in (None, EVENTS):
        raise UserError(
            "irregular rows lie on no grid", got=f"freq {freq}", hint="leave out --freq"
        )
    moments = found.wall if found.utc is None else found.utc
    if moments.dtype.kind != "M":
        raise UserError(
            "irregular rows need times", got="rows that are only numbered", hint="--time NAME"
        )
    if freq is None:
        grid.need_two_rows(moments, codes)
    placed = grid.place_events(moments, codes, notes)
    style = replace(found.style, utc=found.utc is not None)
    return placed, GridTime(EVENTS, moments[placed.rows]), style
