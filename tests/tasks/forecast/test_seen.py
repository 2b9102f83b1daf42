"""A model recognises what it has learnt from."""

from __future__ import annotations

import numpy as np
import pytest

from lstmkit.tasks.seen import Seen


def series(seed: int, n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    time = np.datetime64("2024-01-01", "us") + np.arange(n) * np.timedelta64(1, "h")
    return time, np.random.default_rng(seed).normal(size=n)


def known(*seeds: int) -> Seen:
    pairs = [series(s) for s in seeds]
    ids = [(f"s{s}",) for s in seeds]
    n = [250] * len(seeds)
    return Seen.of(ids, [t for t, _ in pairs], [v for _, v in pairs], [200] * len(seeds), n)


@pytest.mark.parametrize("rows", [slice(None), slice(100, None), slice(0, 90), slice(120, 300)])
def test_found_under_another_name_whole_or_in_part(rows: slice) -> None:
    time, values = series(2)
    assert known(1, 2, 3).find(("other",), time[rows], values[rows]) == 1


def test_another_series_of_the_same_name_is_new() -> None:
    time, values = series(7)
    assert known(1, 2).find(("s1",), time, values) is None


def test_by_name_where_no_marked_row_is_left() -> None:
    time, values = series(1, 400)
    assert known(1, 2).find(("s1",), time[300:], values[300:]) == 0
    assert known(1, 2).find(("s9",), time[300:], values[300:]) is None


def test_constant_and_missing_rows_carry_no_mark() -> None:
    time, _ = series(1)
    flat = np.full(300, 5.0)
    flat[10:20] = np.nan
    seen = Seen.of([("a",)], [time], [flat], [200], [300])
    assert not seen.mark_codes.any()
    assert seen.find(("b",), time, flat) is None and seen.find(("a",), time, flat) == 0


def test_survives_storage() -> None:
    seen = known(1, 2)
    again = Seen.from_tensors(seen.tensors())
    assert again.ids == seen.ids
    time, values = series(2)
    assert again.find(("x",), time, values) == 1
    assert again.end[0] == time[249].astype(np.int64)
