"""Files of flows: which format, which files, in which order, piece by piece."""

from __future__ import annotations

import glob
import importlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lstmkit.errors import UserError
from lstmkit.readers.flows.decoder import REMEMBERED, Decoder
from lstmkit.readers.flows.opening import CAPTURES, STREAM, Source
from lstmkit.readers.flows.schema import Flows, empty, joined, pieces
from lstmkit.readers.flows.textual import LineDecoder

DECODERS = {
    "zeek": "zeek:ZeekDecoder",
    "eve": "eve:EveDecoder",
    "pcap": "pcap:PcapDecoder",
    "netflow": "netflow:NetflowDecoder",
    "cicflow": "cicflow:CicflowDecoder",
    "nsl-kdd": "records:NslKddDecoder",
    "unsw-nb15": "records:UnswDecoder",
}
FORMATS = tuple(DECODERS)
LOOKED_AT = 20  # lines of JSON

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


class Placed(NamedTuple):
    """A record that could not be read: its file, line or packet (0: the file itself), and why."""

    file: str
    number: int
    why: str

    def __str__(self) -> str:
        number = f":{self.number}" if self.number else ""
        return f"{Path(self.file).name}{number}: {self.why}"


def decoder(format: str) -> Decoder:
    """A decoder at its beginning.

    Raises:
        UserError: no such format.
    """
    if format not in DECODERS:
        raise UserError(f"there is no format {format!r}", expected=", ".join(FORMATS))
    module, _, name = DECODERS[format].partition(":")
    found: Decoder = getattr(importlib.import_module(f"lstmkit.readers.flows.{module}"), name)()
    return found


# --- which format


def sniff(path: str | os.PathLike[str]) -> str:
    """The format of a file, from how it begins.

    Raises:
        UserError: it cannot be read, is empty, or is like none of FORMATS.
    """
    with Source(path) as source:
        return sniffed(source.head(), source.name)


def sniffed(head: bytes, name: str) -> str:
    """The format of bytes that a file begins with."""
    if head[:4] in CAPTURES:
        return "pcap"
    if not head.strip():
        raise UserError(f"{name} is empty", expected=f"flows: {', '.join(FORMATS)}")
    text = head.decode("utf-8", "replace").removeprefix("\ufeff").lstrip()
    lines = text.split("\n")
    found = _of_lines(lines)
    if found is None:
        raise UserError(
            f"{name} is like no known log of flows",
            got=repr(lines[0].strip()[:80]),
            expected=", ".join(FORMATS),
            hint="--format zeek, if you know better",
        )
    return found


def _of_lines(lines: Sequence[str]) -> str | None:
    first = lines[0]
    if first.startswith("#"):
        zeek = any(line.startswith(("#separator", "#fields")) for line in lines)
        return "zeek" if zeek else None
    if first.startswith("{"):
        return next(filter(None, map(_of_object, lines[:LOOKED_AT])), None)
    return _of_names(first)


def _of_names(line: str) -> str | None:
    """By the header of a table, or the cells of one that has none."""
    cells = line.strip().split(",")
    names = {cell.strip().strip('"').lower() for cell in cells}
    if {"spkts", "sbytes", "dur"} <= names:
        return "unsw-nb15"
    if "flow duration" in names and names & {"flow id", "destination port", "dst port"}:
        return "cicflow"
    if {"ts", "sa", "da"} <= names or {"srcaddr", "dstaddr"} <= names:
        return "netflow"
    if len(cells) in (42, 43) and cells[1] in ("tcp", "udp", "icmp"):
        return "nsl-kdd"
    return None


def _of_object(line: str) -> str | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict):
        return None
    if "event_type" in row:
        return "eve"
    return "zeek" if "id.orig_h" in row else None


# --- which files


def chosen(paths: Paths) -> list[str]:
    """The files of paths and globs, each pattern's in the order of numbers in their names.

    Raises:
        UserError: none, a folder, or one that is not there.
    """
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    found = [file for path in given for file in _matched(os.fspath(path))]
    if not found:
        raise UserError("there are no files of flows")
    return found


def _matched(path: str) -> list[str]:
    if path == STREAM:
        return [path]
    if "\0" in path:
        raise UserError("a file's name holds no NUL", got=repr(path)[:80])
    if os.path.isdir(path):  # noqa: PTH112
        raise UserError(f"{path} is a folder", hint=f"'{path}/*.log.gz' names the files in it")
    if os.path.exists(path):  # noqa: PTH110
        return [path]
    names = glob.glob(path, recursive=True)  # noqa: PTH207
    found = [name for name in names if not Path(name).is_dir()]
    if not found:
        raise UserError(f"there is no file {path}")
    return sorted(found, key=_natural)


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Numbers in a name by their value."""
    parts = [part for part in re.split(r"([0-9]+)", name) if part]
    return [(0, int(p), p) if p[0] in "0123456789" else (1, 0, p) for p in parts]


# --- reading


class Reading:
    """Flows of files, piece by piece, in bounded memory.

    Attributes:
        files: in order. source: the format. batch: flows in a piece, at most.
        answered, refused, skipped: records so far that became flows, could not, were no flows.
        refusals: the last of those that could not.
    """

    def __init__(self, files: Sequence[str], source: str, batch: int) -> None:
        self.files, self.source, self.batch = list(files), source, batch
        self._open: dict[str, Source] = {}
        self._begin()

    def _begin(self) -> None:
        self.answered = self.refused = self.skipped = 0
        self.refusals: list[Placed] = []
        self._extra: tuple[str, ...] | None = None

    def __iter__(self) -> Iterator[Flows]:
        self._begin()
        for path in self.files:
            source = self._open.pop(path, None) or Source(path)
            with source:
                for found in self._file(source):
                    yield from (piece for piece in pieces(found, self.batch) if len(piece))

    def _file(self, source: Source) -> Iterator[Flows]:
        reader = decoder(self.source)
        before = (self.answered, self.refused, self.skipped, self.refusals)
        try:
            for data in source:
                found = reader.feed(data)
                self._count(before, reader, source)
                yield self._alike(found, source)
            yield self._alike(self._end(reader, source), source)
        except UserError as error:
            raise _placed(error, source.name) from error
        finally:
            self._count(before, reader, source)

    def _end(self, reader: Decoder, source: Source) -> Flows:
        """The last flows; of a file that is cut, without the line that the cut went through."""
        if source.damage:
            if isinstance(reader, LineDecoder):
                reader.drop()
            reader.refuse(0, f"the compressed file is cut or damaged: {source.damage[:80]}")
        return reader.finish()

    def _count(self, before: tuple[Any, ...], reader: Decoder, source: Source) -> None:
        answered, refused, skipped, refusals = before
        self.answered = answered + reader.answered
        self.refused = refused + reader.refused
        self.skipped = skipped + getattr(reader, "skipped", 0)
        found = [Placed(source.name, *refusal) for refusal in reader.refusals]
        self.refusals = [*refusals, *found][-REMEMBERED:]

    def _alike(self, found: Flows, source: Source) -> Flows:
        """The flows, if they have the columns of those before."""
        if len(found):
            names = tuple(found.extra)
            if self._extra is not None and names != self._extra:
                other = sorted(set(names) ^ set(self._extra))
                raise UserError(
                    "its columns are not those of the flows before it",
                    got=", ".join(other)[:160] or "another order",
                    hint=f"read files of one version of {self.source} at a time",
                )
            self._extra = names
        return found

    def all(self) -> Flows:
        """All of them at once."""
        found = list(self)
        return joined(found) if found else empty(self.source)


def _placed(error: UserError, name: str) -> UserError:
    if error.what.startswith(name):
        return error
    what = f"{name}: {error.what}"
    return UserError(what, got=error.got, expected=error.expected, hint=error.hint)


def read(paths: Paths, format: str | None = None, *, batch: int = 16_384) -> Reading:
    """The flows of files, in the files' order and in order of arrival within each.

    Args:
        paths: files, globs, or `-` for standard input; packed by gzip or not.
        format: one of FORMATS; found where left out. Empty files among others are left out, then.
        batch: flows in a piece, at most.

    Raises:
        UserError: no such file or format, or files of several formats.
    """
    files = chosen(paths)
    if batch < 1:
        raise UserError("a piece holds at least one flow", got=f"batch={batch}")
    if format is not None:
        decoder(format)
        return Reading(files, format, batch)
    formats, opened = _formats(files)
    if len(set(formats.values())) > 1:
        first = next(iter(formats))
        other = next(path for path, found in formats.items() if found != formats[first])
        raise UserError(
            "these files are of several formats",
            got=f"{first} is {formats[first]}, {other} is {formats[other]}",
            expected="one format at a time",
        )
    kept = [path for path in files if path in formats]
    found = Reading(kept, formats[kept[0]], batch)
    found._open = opened
    return found


def _formats(files: Sequence[str]) -> tuple[dict[str, str], dict[str, Source]]:
    """The formats of files that are not empty; what cannot be opened twice is left open."""
    formats: dict[str, str] = {}
    opened: dict[str, Source] = {}
    for path in dict.fromkeys(files):
        source = Source(path)
        try:
            head = source.head()
            if head.strip() or len(files) == 1:
                formats[path] = sniffed(head, source.name)
        finally:
            if source.regular:
                source.close()
            else:
                opened[path] = source
    if not formats:
        raise UserError("these files are empty", got=", ".join(files)[:160])
    return formats, opened
