"""Public holidays of a country as a column that is known ahead (numpy; the library `holidays`).

The day of a row is that of its time as it stands: the wall clock, or UTC where a table with a zone
has steps shorter than a day.
"""

from __future__ import annotations

import difflib
import re
import warnings
from functools import lru_cache
from typing import Any

import numpy as np

from lstmkit.errors import UserError, require
from lstmkit.readers.calendar import DAY, parse_freq, step_times
from lstmkit.readers.covariates import Covariate

COLUMN = "holiday"
LANGUAGE = "en_US"  # fixed, so that names do not depend on the machine's locale
PASSING = re.compile(r"\s*\((estimated|substituted [^)]*)\)")


def covariate(times: np.ndarray, freq: str, country: str) -> Covariate:
    """The column that a table with these times (n,) generates.

    With steps of a day or less its categories are the names of the holidays in the years of
    `times`; with longer steps it is a number, the holidays in each step.

    Args:
        times: datetime64[us].
        country: `DE`, or with a part of the country `US-CA`.

    Raises:
        UserError: an unknown country or part, or rows that are only numbered.
        MissingExtra: the library is not installed.
    """
    _check(freq, country)
    if _counts(freq):
        return Covariate(COLUMN, "known")
    return Covariate(COLUMN, "known", tuple(names(times, country)))


def names(times: np.ndarray, country: str) -> list[str]:
    """The holidays in the years of `times` (n,), sorted."""
    years = np.array([times.min(), times.max()]).astype("datetime64[Y]").astype(int) + 1970
    return sorted({name for y in range(years[0], years[1] + 1) for _, name in _year(country, y)})


def values(column: Covariate, times: np.ndarray, freq: str, country: str) -> np.ndarray:
    """The column at any times (n,): float32 codes (0: no holiday, or a new one), or counts.

    A step of months that is named by its end counts the days up to its time, others those from
    their time on.

    Raises:
        UserError: as `covariate`.
    """
    _check(freq, country)
    if not len(times):
        return np.zeros(0, np.float32)
    if column.categories is None:
        return _count(times, freq, country)
    days = _days(times)
    begin = int(days.min())
    table = np.zeros(int(days.max()) + 1 - begin, np.float32)
    for day, name in _between(country, begin, begin + len(table)):
        table[day - begin] = column.code(name)
    return table[days - begin]


def _count(times: np.ndarray, freq: str, country: str) -> np.ndarray:
    begins, ends = _days(times), _days(step_times(times, freq, np.array(1)))
    if parse_freq(freq).end:
        begins, ends = _days(step_times(times, freq, np.array(-1))) + 1, begins + 1
    first, last = int(begins.min()), int(ends.max())
    before = np.zeros(last - first + 1, np.int64)
    for day, _ in _between(country, first, last):
        before[day - first + 1] = 1
    before = np.cumsum(before)
    return (before[ends - first] - before[begins - first]).astype(np.float32)


def _days(times: np.ndarray) -> np.ndarray:
    return times.astype("datetime64[D]").astype(np.int64)


def _counts(freq: str) -> bool:
    """Whether a step holds several days."""
    step = parse_freq(freq)
    return step.count > 1 if step.unit == "b" else step.spacing > DAY


def _between(country: str, first: int, last: int) -> list[tuple[int, str]]:
    """Days since 1970 from `first` to before `last`, and the name of the holiday on each."""
    years = np.array([first, last], "datetime64[D]").astype("datetime64[Y]").astype(int) + 1970
    found = (item for year in range(years[0], years[1] + 1) for item in _year(country, year))
    return [(day, name) for day, name in found if first <= day < last]


@lru_cache(maxsize=4096)
def _year(country: str, year: int) -> tuple[tuple[int, str], ...]:
    if not 1 <= year <= 9999:
        return ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = _look_up(country, [year])
    days = ((int(np.datetime64(day, "D").astype(int)), name) for day, name in found.items())
    return tuple((day, PASSING.sub("", name)) for day, name in days)


def _look_up(country: str, years: list[int]) -> Any:
    """The library's calendar of some years; parts of a country as `US-CA`."""
    library = require("holidays", "train")
    code, _, part = country.strip().partition("-")
    options = {"years": years, "language": LANGUAGE, "expand": False}
    return library.country_holidays(code.upper(), subdiv=part or None, **options)


@lru_cache(maxsize=256)
def _check(freq: str, country: str) -> None:
    if parse_freq(freq).unit == "i":
        raise UserError(
            "holidays need dates",
            got=f"rows at numbered steps ({freq})",
            hint="--time NAME, or leave out --holidays",
        )
    try:
        _look_up(country, [])
    except NotImplementedError:
        _unknown(country)


def _unknown(country: str) -> None:
    code, _, part = country.strip().upper().partition("-")
    library = require("holidays", "train")
    countries = library.list_supported_countries()
    if code in countries:
        parts = list(countries[code])
        near = [f"{code}-{p}" for p in difflib.get_close_matches(part, parts, 3, 0.3)]
        known = ", ".join(f"{code}-{p}" for p in parts[:12]) + (", ..." if len(parts) > 12 else "")
        raise UserError(
            f"{code} has no part {part!r} with holidays of its own",
            expected=f"{code}{', ' + known if parts else ''}",
            hint=f"did you mean {' or '.join(near)}?" if near else f"--holidays {code}",
        )
    spoken = {entry[0].upper(): entry[1] for entry in library.registry.COUNTRIES.values()}
    near = [code] if code in spoken else difflib.get_close_matches(code, [*spoken, *countries], 3)
    codes = list(dict.fromkeys(spoken.get(name, name) for name in near))
    raise UserError(
        f"no holidays are known of {country!r}",
        expected="the code of a country such as DE, or of a part of it such as US-CA",
        hint=f"did you mean {' or '.join(codes)}?" if codes else "",
    )
