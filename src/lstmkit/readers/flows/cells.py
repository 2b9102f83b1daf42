"""Columns of cells, text or JSON values, to columns of flows; a cell that is none: ValueError."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

import numpy as np

LARGEST = 1e18  # of a count; nothing on a network is larger
LATEST, LATEST_MILLIS = 1e11, 1e14  # seconds since 1970; larger times are milliseconds
LONGEST_ADDRESS = 64


def counts(cells: Sequence[Any], name: str, unset: str = "-", signed: bool = False) -> np.ndarray:
    """Numbers from 0 on as (n,) float64, of text or of JSON values; NaN where there is none.

    Args:
        unset: what stands where there is none; so do an empty cell and None.
        signed: whether they may be below 0.

    Raises:
        ValueError: something else.
    """
    nothing = (unset, "", None)
    if not _plain(cells):
        found = np.array([np.nan if cell in nothing else _float(cell, name) for cell in cells])
    elif unset in cells or "" in cells:
        found = np.array([np.nan if cell in nothing else float(cell) for cell in cells])
    else:
        found = np.fromiter(map(float, cells), np.float64, len(cells))
    with np.errstate(invalid="ignore"):
        wrong = ~((found >= (-LARGEST if signed else 0)) & (found <= LARGEST))
    if wrong.any() and wrong.sum() > sum(cells.count(cell) for cell in {*nothing}):
        at = next(k for k in np.flatnonzero(wrong).tolist() if cells[k] not in nothing)
        raise ValueError(f"{name}: no number that can be: {str(cells[at])[:40]}")
    return found


def _plain(cells: Sequence[Any]) -> bool:
    """Whether all is text that Python takes for a number only where others do."""
    try:
        text = "".join(cells)
    except TypeError:
        return False
    return "_" not in text and text.isascii()


def _float(cell: Any, name: str) -> float:
    said = isinstance(cell, str)
    if isinstance(cell, bool) or (said and ("_" in cell or not cell.isascii())):
        raise ValueError(f"{name}: no number: {str(cell)[:40]}")
    return float(cell)


def ports(cells: Sequence[Any], name: str, unset: str = "-") -> np.ndarray:
    """Ports (n,) int32; -1 where there is none.

    Raises:
        ValueError: no whole number from 0 to 65535.
    """
    found = counts(cells, name, unset)
    found[np.isnan(found)] = -1
    wrong = (found > 65535) | (found != np.floor(found))
    if wrong.any():
        raise ValueError(f"{name}: no port: {str(cells[int(wrong.argmax())])[:40]}")
    return found.astype(np.int32)


def texts(cells: Sequence[Any], change: Callable[[Any], str]) -> list[str]:
    """Words changed, each distinct one once; equal ones are one object."""
    known = {cell: change(cell) for cell in set(cells)}
    return list(map(known.__getitem__, cells))


def addresses(cells: Sequence[Any], name: str) -> list[str]:
    """Addresses of hosts.

    Raises:
        ValueError: none, or what cannot be one.
    """
    return texts(cells, lambda cell: _address(cell, name))


def _address(cell: Any, name: str) -> str:
    if not isinstance(cell, str) or cell in ("", "-"):
        raise ValueError(f"no {name}")
    if not cell.isascii() or not cell.isprintable() or " " in cell or len(cell) > LONGEST_ADDRESS:
        raise ValueError(f"{name}: no address: {cell[:40]!r}")
    return cell


def times(cells: Sequence[Any], name: str) -> np.ndarray:
    """Seconds since 1970 (n,), of seconds, milliseconds, or ISO 8601 (UTC where no zone is said).

    Raises:
        ValueError: no time.
    """
    try:
        found = counts(cells, name)
    except ValueError:
        found = counts([_seconds(cell) for cell in cells], name)
    if np.isnan(found).any():
        raise ValueError(f"no {name}")
    late = found > LATEST
    if late.any():
        found = np.where(late, found / 1000, found)
        if (found > LATEST_MILLIS / 1000).any():
            raise ValueError(f"{name}: no time: {str(cells[int(late.argmax())])[:40]}")
    return found


def _seconds(cell: Any) -> Any:
    if not isinstance(cell, str) or not any(mark in cell for mark in ":-T"):
        return cell
    found = datetime.fromisoformat(cell.strip())
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


# --- JSON


def parsed(line: str) -> dict[str, Any]:
    """The object that a line of JSON is; of a key that comes twice, the last counts.

    Raises:
        ValueError: it is none, or has numbers that JSON does not.
    """
    try:
        text = line.strip()
        found, end = _DECODER.raw_decode(text)
        if end != len(text):
            raise ValueError("more than one value")
    except RecursionError:
        raise ValueError("too deep") from None
    if not isinstance(found, dict):
        raise ValueError("no object")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_number)
