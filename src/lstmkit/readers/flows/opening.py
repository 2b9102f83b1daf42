"""The bytes of a file or of standard input, unpacked, in pieces."""

from __future__ import annotations

import os
import stat
import sys
import zlib
from collections.abc import Iterator
from typing import Any

from lstmkit.errors import UserError

STREAM = "-"
HEAD = 16_384  # bytes that are looked at
AT_ONCE = 1 << 20  # bytes of a piece, at most
GZIP = b"\x1f\x8b"
# https://www.rfc-editor.org/rfc/rfc8878, .xz, .bz2, .zip
PACKED = {b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zX": "xz", b"BZh": "bzip2", b"PK\x03\x04": "unzip"}
CAPTURES = (b"\xa1\xb2\xc3\xd4", b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x4d\x3c\xb2\xa1",
            b"\x0a\x0d\x0d\x0a")  # fmt: skip
UNPACKED = 31  # zlib's window bits: with gzip's header


class Source:
    """Pieces of bytes, once, as soon as they are there; gzip is unpacked, whatever its name.

    Attributes:
        regular: whether it can be opened again.
        damage: why a packed file ended early; empty where it did not.

    Raises:
        UserError: it cannot be read, or is packed otherwise.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path, self.damage = os.fspath(path), ""
        self.name = "standard input" if self.path == STREAM else self.path
        self._file: Any = sys.stdin.buffer if self.path == STREAM else _opened(path)
        self.regular = self.path != STREAM and stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)
        self._pieces = self._unpacked()
        self._kept: list[bytes] = []

    def head(self) -> bytes:
        """The beginning, a whole line if there is one; it comes again with the pieces."""
        found = b"".join(self._kept)
        while len(found) < HEAD and found[:4] not in CAPTURES and b"\n" not in found.lstrip():
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._kept.append(piece)
            found += piece
        return found[:HEAD]

    def __iter__(self) -> Iterator[bytes]:
        while self._kept:
            yield self._kept.pop(0)
        yield from self._pieces

    def close(self) -> None:
        """Let go of the file; standard input stays open."""
        if self.path != STREAM:
            self._file.close()

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, size: int) -> bytes:
        """What there is, at least a byte before the end."""
        try:
            found: bytes = self._file.read1(size)
        except OSError as error:
            raise UserError(f"{self.name} cannot be read", got=error.strerror or "") from error
        return found

    def _unpacked(self) -> Iterator[bytes]:
        first = self._read(HEAD)
        while first and len(first) < len(CAPTURES[0]):
            more = self._read(HEAD)
            if not more:
                break
            first += more
        for magic, tool in PACKED.items():
            if first.startswith(magic):
                hint = f"{tool} -dc FILE | lstmkit ... -" if tool != "unzip" else "unzip it first"
                raise UserError(f"{self.name} is packed by {tool}", hint=hint)
        if first[:2] == GZIP:
            yield from self._gunzipped(first)
            return
        while first:
            yield first
            first = self._read(AT_ONCE)

    def _gunzipped(self, data: bytes) -> Iterator[bytes]:
        """One gzip member after the other, in pieces of bounded size."""
        unpack = zlib.decompressobj(UNPACKED)
        while data:
            before = unpack.copy()
            try:
                piece = unpack.decompress(data, AT_ONCE)
            except zlib.error as error:
                self.damage = str(error)
                yield from _what_is_left(before, data)
                return
            if piece:
                yield piece
            data = unpack.unconsumed_tail
            if unpack.eof:
                data = unpack.unused_data.lstrip(b"\0") or self._read(AT_ONCE)
                unpack = zlib.decompressobj(UNPACKED) if data else unpack
            elif not data:
                data = self._read(AT_ONCE // 4)
        if not unpack.eof:
            self.damage = "it ends before its end"


def _what_is_left(unpack: Any, data: bytes) -> Iterator[bytes]:
    """All that can be unpacked before the damage, byte by byte."""
    found = bytearray()
    for k in range(len(data)):
        try:
            found += unpack.decompress(data[k : k + 1])
        except zlib.error:
            break
        if len(found) >= AT_ONCE:
            yield bytes(found)
            found.clear()
    if found:
        yield bytes(found)


def _opened(path: str | os.PathLike[str]) -> Any:
    try:
        return open(path, "rb")  # noqa: PTH123
    except OSError as error:
        raise UserError(f"{os.fspath(path)} cannot be read", got=error.strerror or "") from error
