"""Tables with a bound against plain dicts; groups against loops."""

from __future__ import annotations

from collections import OrderedDict, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmkit.tasks.intrusion.table import Groups, Table, newly_set

COLUMNS = {"time": (np.float64, (), np.nan), "state": (np.float32, (3,), 0.0)}
keys = st.lists(st.sampled_from("abcdefgh"), max_size=60)


@given(keys, st.integers(1, 6))
def test_the_least_recently_used_key_leaves(asked: list[str], capacity: int) -> None:
    table, plain, left = Table(capacity, COLUMNS), OrderedDict[str, float](), 0
    for k, key in enumerate(asked):
        slot = int(table.slots([key], 1)[0])
        if key not in plain and len(plain) == capacity:
            plain.popitem(last=False)
            left += 1
        seen = plain.get(key)
        before = table["time"][slot]
        assert np.isnan(before) if seen is None else before == seen
        table["time"][slot] = plain[key] = float(k)
        plain.move_to_end(key)
    assert len(table) == len(plain)
    assert table.left == left
    assert all(key in table for key in plain)


@given(keys)
def test_a_key_that_left_begins_anew(asked: list[str]) -> None:
    table = Table(2, COLUMNS)
    for key in asked:
        slot = table.slots([key], 1)
        table["state"][slot] += 1
    for key in ("y", "z"):
        slot = table.slots([key], 1)
        assert not table["state"][slot].any()


def test_it_grows_and_keeps_what_it_has() -> None:
    table = Table(5000, COLUMNS)
    slots = table.slots(map(str, range(5000)), 5000)
    table["time"][slots] = np.arange(5000)
    again = table.slots(map(str, range(5000)), 5000)
    np.testing.assert_array_equal(slots, again)
    np.testing.assert_array_equal(table["time"][again], np.arange(5000))


def test_saved_and_restored_it_forgets_the_same_key_next() -> None:
    table = Table(3, COLUMNS)
    table["time"][table.slots("abc", 3)] = [1, 2, 3]
    table.slots("a", 1)
    other = Table(3, COLUMNS)
    other.restore(table.save("t"), "t")
    for one in (table, other):
        one.slots("d", 1)
        assert "b" not in one
        assert one["time"][one.slots("a", 1)[0]] == 1
    newest = table.save("t", 1)
    assert newest["t/keys"].tobytes() == b"a"


def test_a_damaged_state_is_refused() -> None:
    table = Table(3, COLUMNS)
    table.slots("ab", 2)
    state = table.save("t")
    with pytest.raises(ValueError, match="keys"):
        Table(1, COLUMNS).restore(state, "t")
    with pytest.raises(ValueError, match="time"):
        Table(3, COLUMNS).restore(state | {"t/time": np.zeros(7)}, "t")


slots = st.lists(st.integers(0, 4), max_size=40).map(lambda x: np.array(x, np.int64))


@given(slots, st.integers(0, 9))
def test_groups_see_the_row_before_them(slots: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, stored, marks = rng.random(len(slots)), rng.random(5), rng.random(len(slots)) < 0.5
    groups = Groups(slots)
    last, counts = stored.copy(), defaultdict(int)
    before, counted, ranks = [], [], defaultdict(int)
    expected_ranks = []
    for slot, value, mark in zip(slots, values, marks, strict=True):
        before.append(last[slot])
        counted.append(counts[slot])
        expected_ranks.append(ranks[slot])
        last[slot] = value
        counts[slot] += bool(mark)
        ranks[slot] += 1
    np.testing.assert_array_equal(groups.before(values, stored), before)
    np.testing.assert_array_equal(groups.count(marks), counted)
    np.testing.assert_array_equal(groups.ranks(), expected_ranks)
    kept = stored.copy()
    groups.store(values, kept)
    np.testing.assert_array_equal(kept, last)


@given(slots, st.integers(0, 9))
def test_bits_are_new_once(slots: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bits = rng.integers(60, 64, len(slots))
    stored = np.zeros(5, np.uint64)
    stored[2] = np.uint64(1 << 61)
    seen = {(2, 61)}
    expected = []
    for pair in zip(slots.tolist(), bits.tolist(), strict=True):
        expected.append(pair not in seen)
        seen.add(pair)
    assert newly_set(slots, bits, stored).tolist() == expected
    assert not newly_set(slots, bits, stored).any()
