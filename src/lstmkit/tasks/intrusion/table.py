"""State by key in bounded memory: hosts, host pairs, destinations. No torch.

A table holds rows of numbers side by side; the key that was used least recently leaves when it is
full. What a row of flows sees of the rows before it does not depend on how the flows are cut into
pieces, as long as a piece is much smaller than the table.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

Array = np.ndarray
FIRST = 1024  # rows that are made at first; doubled as they are needed


class Table:
    """Rows of numbers by key.

    Args:
        capacity: keys that are kept.
        columns: name -> (dtype, shape of a row, first value).
    """

    def __init__(self, capacity: int, columns: Mapping[str, tuple[Any, tuple[int, ...], float]]):
        self.capacity, self._columns = capacity, dict(columns)
        self._slots: OrderedDict[str, int] = OrderedDict()
        self.left = 0  # keys that had to leave
        self.data: dict[str, Array] = {}
        self._grow(min(FIRST, capacity))

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, key: str) -> bool:
        return key in self._slots

    def __getitem__(self, name: str) -> Array:
        return self.data[name]

    def _grow(self, rows: int) -> None:
        self._rows = rows
        for name, (dtype, shape, first) in self._columns.items():
            if first == 0:  # memory that the system gives when it is written to
                if name not in self.data:
                    self.data[name] = np.zeros((self.capacity, *shape), dtype)
                continue
            made = np.full((rows, *shape), first, dtype)
            if name in self.data:
                made[: len(self.data[name])] = self.data[name]
            self.data[name] = made

    def slots(self, keys: Iterable[str], n: int) -> Array:
        """The row (n,) of each key, which becomes the newest; new keys get rows at their first
        values."""
        found = np.empty(n, np.int64)
        rows, get, fresh = self._slots, self._slots.get, self._fresh
        for k, key in enumerate(keys):
            slot = get(key)
            if slot is None:
                slot = fresh(key)
            else:
                rows.move_to_end(key)
            found[k] = slot
        return found

    def _fresh(self, key: str) -> int:
        count = len(self._slots)
        if count < self.capacity:
            slot = count
            if slot >= self._rows:
                self._grow(min(2 * slot, self.capacity))
        else:
            _, slot = self._slots.popitem(last=False)
            self.left += 1
            for name, (_, _, first) in self._columns.items():
                self.data[name][slot] = first
        self._slots[key] = slot
        return slot

    def peek(self, key: str) -> int | None:
        """The row of a key, which does not become newer; None where it is not there."""
        return self._slots.get(key)

    def save(self, prefix: str, most: int | None = None) -> dict[str, Array]:
        """Keys and rows, the least recently used first; at most so many of the newest."""
        first = max(len(self._slots) - most, 0) if most is not None else 0
        order = np.fromiter(self._slots.values(), np.int64, len(self._slots))[first:]
        keys = "\n".join(list(self._slots)[first:]).encode()
        found = {f"{prefix}/{name}": column[order] for name, column in self.data.items()}
        found[f"{prefix}/keys"] = np.frombuffer(keys, np.uint8).copy()
        found[f"{prefix}/left"] = np.array(self.left)
        return found

    def restore(self, state: Mapping[str, Array], prefix: str) -> None:
        """Go on from `save`.

        Raises:
            ValueError: the parts do not fit each other or this table.
        """
        text = state[f"{prefix}/keys"].tobytes().decode()
        keys = text.split("\n") if text else []
        if len(keys) > self.capacity or len(set(keys)) < len(keys):
            raise ValueError(f"{prefix}: {len(keys)} keys do not fit")
        self._slots = OrderedDict((key, k) for k, key in enumerate(keys))
        self.left = int(state[f"{prefix}/left"])
        rows = max(len(keys), min(FIRST, self.capacity))
        self.data = {}
        self._grow(rows)
        for name, column in self.data.items():
            given = state[f"{prefix}/{name}"]
            if given.shape != (len(keys), *column.shape[1:]):
                raise ValueError(f"{prefix}/{name} has shape {given.shape}")
            column[: len(keys)] = given


class Groups:
    """Rows of one slot after each other: what each saw of the one before it.

    Args:
        slots: (n,).
    """

    def __init__(self, slots: Array) -> None:
        self.slots = slots
        self.order = np.argsort(slots, kind="stable")
        ordered = slots[self.order]
        self.first = np.ones(len(slots), bool)
        self.first[1:] = ordered[1:] != ordered[:-1]
        self.last = np.append(self.first[1:], True) if len(slots) else self.first
        self.ordered = ordered

    def before(self, values: Array, stored: Array) -> Array:
        """The value of the row before of the same slot; the stored one of its slot for the first
        of a group."""
        inside = values[self.order]
        found = np.concatenate([inside[:1], inside[:-1]])
        found[self.first] = stored[self.ordered[self.first]]
        back = np.empty_like(found)
        back[self.order] = found
        return back

    def store(self, values: Array, stored: Array) -> None:
        """Keep the newest value of each slot."""
        stored[self.ordered[self.last]] = values[self.order][self.last]

    def count(self, marks: Array) -> Array:
        """How many marked rows of the same slot come before each row, (n,)."""
        inside = marks[self.order].astype(np.int64)
        total = np.cumsum(inside) - inside
        start = np.maximum.accumulate(np.where(self.first, np.arange(len(inside)), 0))
        found = np.empty(len(inside), np.int64)
        found[self.order] = total - total[start] if len(inside) else total
        return found

    def ranks(self) -> Array:
        """The place of each row among those of its slot, from 0."""
        return self.count(np.ones(len(self.slots), bool))


def newly_set(slots: Array, bits: Array, stored: Array) -> Array:
    """Whether each row is the first of its slot to set its bit (0 to 63); the bits are set."""
    keys = slots * 64 + bits
    found = np.zeros(len(slots), bool)
    _, first = np.unique(keys, return_index=True)
    found[first] = True
    masks = np.left_shift(np.uint64(1), bits.astype(np.uint64))
    found &= (stored[slots] & masks) == 0
    np.bitwise_or.at(stored, slots, masks)
    return found
