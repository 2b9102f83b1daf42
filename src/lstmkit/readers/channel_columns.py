"""Which columns of a table are channels, and which are its ids, its time and its label."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from lstmkit.errors import UserError
from lstmkit.readers.columns import (
    DOTTED,
    FEW_DUPLICATES,
    ID_NAMES,
    TIME_NAMES,
    blank_to_null,
    distinct,
    find_time,
    is_number,
    is_whole,
    listed,
    name_list,
    near_names,
    parse_numbers,
    require_column,
    telling_apart,
)
from lstmkit.readers.labels import LABEL_NAMES, is_label

Names = str | list[str] | None
TEXT = (pl.String, pl.Categorical, pl.Enum)
FLAGS = {"true": 1.0, "false": 0.0}
CLOCKS = re.compile(r"t|ds|dt|index|epoch|unix|utc|time|timestamp|datetime|date", re.IGNORECASE)
IDS = re.compile(
    r"((unique|series|device|machine|host|sensor|unit|asset|node|site)_?)?id", re.IGNORECASE
)
ADDRESS = r"^\d{1,3}(\.\d{1,3}){3}$"
SHARED_TIMES = 0.1  # share of rows from which numbers, too, may tell series apart
BACKWARD = 0.1  # most steps back of a column of numbers that may be a time


@dataclass
class ChannelRoles:
    """What the columns of a frame are.

    Attributes:
        ids, channels: columns in the order of the file, or as the user named them.
        time: None where rows are only numbered.
        label: a column of labels that is to be used.
    """

    ids: list[str]
    time: str | None
    label: str | None
    channels: list[str]


def find_channel_roles(
    frame: pl.DataFrame,
    wishes: dict[str, Names],
    ids_given: bool,
    trained: Sequence[str] | None,
    notes: list[str],
) -> ChannelRoles:
    """The role of each column; what was inferred or left out goes to `notes`.

    Args:
        wishes: what the user named, under `id`, `time`, `channels`, `label`, `ignore`.
        ids_given: whether the ids are settled, even if there are none.
        trained: the channels of a model, which are taken by name and in that order.

    Raises:
        UserError: a named column is missing or has two roles, or no column holds numbers.
    """
    named = {role: name_list(frame, names) for role, names in wishes.items()}
    if trained is not None:
        _require_trained(frame, trained)
        named["channels"] = list(trained)
    _check_named(frame, named)
    label = named["label"][0] if named["label"] else None
    free = [n for n in frame.columns if not any(n in names for names in named.values())]
    time = named["time"][0] if named["time"] else _find_time(frame.select(free), notes)
    free = [name for name in free if name != time]
    ids = named["id"]
    if not ids_given:
        ids = _find_ids(frame, time, free)
        notes.append(f"id columns: {', '.join(ids)}" if ids else "id columns: none (one series)")
        free = [name for name in free if name not in ids]
    if trained is not None:
        _note_extra(frame.select(free), notes)
    channels = named["channels"] or _find_channels(frame.select(free), notes)
    return ChannelRoles(ids, time, label, channels)


def _require_trained(frame: pl.DataFrame, trained: Sequence[str]) -> None:
    missing = [name for name in trained if name not in frame.columns]
    if not missing:
        return
    others = [name for name in frame.columns if name not in trained]
    near = near_names(others, missing[0])
    raise UserError(
        f"{len(missing)} of the {len(trained)} channels that the model watches are missing: "
        f"{listed(missing)}",
        got=listed(frame.columns, 20),
        expected=listed(trained, 20),
        hint=f"is {missing[0]!r} now called {' or '.join(map(repr, near))}?" if near else "",
    )


def _check_named(frame: pl.DataFrame, named: dict[str, list[str]]) -> None:
    taken: dict[str, str] = {}
    for role, names in named.items():
        for name in names:
            require_column(frame, name)
            if name in taken:
                raise UserError(
                    f"column {name!r} is given as {taken[name]} and as {role}",
                    expected="one role a column",
                    hint=f"--{role} NAME",
                )
            taken[name] = role


def _find_time(frame: pl.DataFrame, notes: list[str]) -> str | None:
    """As for other tables, but channels such as `response_time` that go up and down are none."""
    wild = [
        name
        for name in frame.columns
        if TIME_NAMES.fullmatch(name)
        and not CLOCKS.fullmatch(name)
        and is_whole(frame[name])
        and not _runs_forward(frame[name])
    ]
    return find_time(frame, wild, notes)


def _runs_forward(column: pl.Series) -> bool:
    """Whether a column of whole numbers mostly grows, as times do."""
    steps = np.diff(column.cast(pl.Float64, strict=False).to_numpy())
    return bool((steps > 0).any() and (steps < 0).mean() <= BACKWARD)


def _find_ids(frame: pl.DataFrame, time: str | None, free: Sequence[str]) -> list[str]:
    """Columns that tell series apart: those without which many rows would share a time.

    Text that is named like an id comes first; other text and numbers only where a tenth of the
    rows share a time. Without times only names that leave no doubt.
    """
    texts = [name for name in free if frame[name].dtype in TEXT and not is_channel(frame[name])]
    named = [name for name in texts if ID_NAMES.fullmatch(name)]
    if time is None:
        named = [n for n in free if n in named or (IDS.fullmatch(n) and is_whole(frame[n]))]
        return [name for name in named if frame[name].n_unique() <= frame.height / 2]
    rows = distinct(frame, [time])
    whole = []
    if rows < (1 - SHARED_TIMES) * frame.height:
        whole = [name for name in free if name not in texts and is_whole(frame[name])]
        whole.sort(key=lambda name: ID_NAMES.fullmatch(name) is None)
        named = named + [name for name in texts if name not in named]
    chosen = telling_apart(frame, time, [], [*named, *whole])
    if distinct(frame, [time, *chosen]) < (1 - FEW_DUPLICATES) * frame.height:
        return []
    return [name for name in frame.columns if name in chosen]


def is_flag(column: pl.Series) -> bool:
    """Whether a column holds true and false only, by type or in text."""
    if column.dtype != pl.String:
        return column.dtype == pl.Boolean
    cells = blank_to_null(column.head(1000)).drop_nulls().str.to_lowercase()
    return bool(len(cells) and cells.is_in(list(FLAGS)).all())


def is_channel(column: pl.Series) -> bool:
    """Whether a column holds numbers, or true and false; addresses such as 10.0.0.1 are none."""
    return is_flag(column) or (is_number(column) and not _is_address(column))


def _is_address(column: pl.Series) -> bool:
    if column.dtype != pl.String:
        return False
    cells = column.head(200).drop_nulls()
    thousands = cells.str.contains(DOTTED).all()  # 1.234.567.890
    return bool(len(cells) and cells.str.contains(ADDRESS).all() and not thousands)


def read_channel(column: pl.Series, separator: str) -> np.ndarray:
    """A channel as float64 (n,), NaN where missing; true is 1.

    Raises:
        UserError: a cell that is no number, with its row and text.
    """
    if column.dtype == pl.String and is_flag(column):
        cells = column.str.strip_chars()
        flags = cells.str.to_lowercase().replace_strict(FLAGS, default=None)
        column = pl.select(pl.coalesce(flags.cast(pl.String), cells)).to_series()
    return parse_numbers(column.alias(column.name), separator)


def _find_channels(free: pl.DataFrame, notes: list[str]) -> list[str]:
    """The columns of numbers; labels, counters of rows, clocks and text are left out and told."""
    numbers = [name for name in free.columns if is_channel(free[name])]
    text = [name for name in free.columns if name not in numbers]
    labels = _labels(free)
    rest = [name for name in numbers if name not in labels]
    clocks = [name for name in rest if CLOCKS.fullmatch(name)]
    counters = [name for name in rest if name not in clocks and _counts_rows(free[name])]
    channels = [name for name in rest if name not in clocks + counters]
    _note_left_out([n for n in text if n not in labels], labels, clocks, counters, notes)
    if channels:
        return channels
    raise UserError(
        "no column holds numbers to watch",
        got=listed(free.columns, 20) or "no columns beside time, id and label",
        expected="at least one column of numbers",
        hint="--channels NAME",
    )


def _counts_rows(column: pl.Series) -> bool:
    """Whether a column of whole numbers does nothing but count, 17, 18, 19 ..."""
    if len(column) < 3 or not is_whole(column):
        return False
    steps = np.diff(column.cast(pl.Float64, strict=False).to_numpy())
    return bool((steps == 1).all())


def _note_left_out(
    text: list[str], labels: list[str], clocks: list[str], counters: list[str], notes: list[str]
) -> None:
    for name in labels:
        notes.append(
            f"column {name!r} looks like a label and is no channel: "
            f"--label {name} takes it as the truth, --channels {name} watches it"
        )
    for name in clocks:
        notes.append(f"column {name!r} is named like a time and is no channel (--time, --channels)")
    for name in counters:
        notes.append(f"column {name!r} only counts the rows and is no channel (--channels)")
    if text:
        notes.append(f"columns without numbers are left out: {listed(text)}")


def _note_extra(free: pl.DataFrame, notes: list[str]) -> None:
    labels = _labels(free)
    others = [name for name in free.columns if name not in labels]
    if others:
        notes.append(f"columns that the model does not watch: {listed(others)}")
    notes.extend(f"column {name!r} looks like a label: --label {name}" for name in labels)


def _labels(free: pl.DataFrame) -> list[str]:
    """Columns that are named like a label and hold nothing else."""
    return [n for n in free.columns if LABEL_NAMES.fullmatch(n) and is_label(free[n])]
