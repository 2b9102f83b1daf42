"""Texts: files, folders, gzip, standard input, in pieces that fit in memory.

Only the standard library. A piece never splits a character, and nothing is held but a piece.
"""

from __future__ import annotations

import codecs
import glob
import gzip
import os
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from lstmkit.errors import UserError

PIECE = 1 << 20  # bytes read at once
STREAM = "-"
GZIP = b"\x1f\x8b"
MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
GLOB = frozenset("*?[")


def files(data: Any) -> list[Path]:
    """The files that a path, a folder, a glob, or a list of such stands for.

    Of a folder all that lie in it, in the order of their names; hidden ones and links are left out.

    Raises:
        UserError: there is none.
    """
    items = list(data) if isinstance(data, (list, tuple)) else [data]
    if not items or not all(isinstance(item, (str, os.PathLike)) for item in items):
        raise UserError(
            f"a text cannot be read from {type(data).__name__}",
            expected="a path, a folder, a list of paths, '-', or an open file",
        )
    return [path for item in items for path in _expanded(Path(item).expanduser())]


def _expanded(path: Path) -> list[Path]:
    if path.is_dir():
        inside = (p for p in sorted(path.rglob("*")) if p.is_file() and not p.is_symlink())
        found = [p for p in inside if not _hidden(p.relative_to(path))]
        if not found:
            raise UserError(f"the folder {path} has no files in it")
        return found
    if path.exists():
        return [path]
    found = [Path(p) for p in sorted(glob.glob(str(path)))] if set(str(path)) & GLOB else []  # noqa: PTH207
    if not found:
        raise UserError(f"there is no file {path}", hint="check the path; quote globs in a script")
    return found


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in path.parts)


def pieces(data: Any, at_once: int = PIECE) -> Iterator[bytes]:
    """The bytes of all files, one after the other, decompressed where they are gzip.

    Raises:
        UserError: a file is missing, cannot be read, or is damaged.
    """
    for _, chunk in _chunks(data, at_once):
        yield chunk


def texts(data: Any, encoding: str = "utf-8", at_once: int = PIECE) -> Iterator[str]:
    """The text of all files: line ends are "\\n", a byte order mark is left out, and a file that
    does not end in one has a line end put between it and the next.

    Raises:
        UserError: no text in it at all, binary, in another encoding, or as `pieces`.
    """
    before, last = "", "\n"
    found = False
    for name, chunks in _documents(data, at_once):
        if found and last != "\n":
            yield "\n"
        for text in _decoded(name, chunks, encoding):
            found, last = True, text[-1]
            yield text
        before = name
    if not found:
        raise UserError(f"{before or 'the text'} is empty", expected="some text")


def size(data: Any) -> int | None:
    """Bytes of all files as they lie on the disk; None where they come from a stream."""
    if data == STREAM or hasattr(data, "read"):
        return None
    return sum(path.stat().st_size for path in files(data))


# --- opening --------------------------------------------------------------------------------------


def _documents(data: Any, at_once: int) -> Iterator[tuple[str, Iterator[bytes]]]:
    """(name, its chunks) of each file in turn."""
    if hasattr(data, "read"):
        yield str(getattr(data, "name", "the given file")), _read(data, at_once)
        return
    if data == STREAM:
        yield "standard input", _read(_plain(sys.stdin.buffer), at_once)
        return
    for path in files(data):
        yield str(path), _of_file(path, at_once)


def _chunks(data: Any, at_once: int) -> Iterator[tuple[str, bytes]]:
    for name, chunks in _documents(data, at_once):
        for chunk in chunks:
            yield name, chunk


def _of_file(path: Path, at_once: int) -> Iterator[bytes]:
    with _refusing(str(path)), path.open("rb") as raw:
        yield from _read(_plain(raw), at_once)


def _plain(raw: Any) -> Any:
    """A file whose bytes are decompressed where it is gzip."""
    start = raw.peek(2)[:2] if hasattr(raw, "peek") else b""
    return gzip.GzipFile(fileobj=raw) if start == GZIP else raw


def _read(file: IO[Any], at_once: int) -> Iterator[bytes]:
    with _refusing(str(getattr(file, "name", "the text"))):
        while chunk := file.read(at_once):
            yield chunk.encode() if isinstance(chunk, str) else chunk


@contextmanager
def _refusing(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{name} cannot be read", got=str(error)) from error


# --- decoding -------------------------------------------------------------------------------------


def _decoded(name: str, chunks: Iterator[bytes], encoding: str) -> Iterator[str]:
    decoder = _decoder(encoding)
    done, returned = 0, False  # bytes decoded; whether the text so far ends in "\r"
    for chunk in chunks:
        _check_text(name, chunk, done, encoding)
        text = _decode(decoder, chunk, name, done, encoding)
        done += len(chunk)
        text, returned = _unified(text, returned, final=False)
        if text:
            yield text
    text, _ = _unified(_decode(decoder, b"", name, done, encoding, True), returned, final=True)
    if text:
        yield text


def _decoder(encoding: str) -> codecs.IncrementalDecoder:
    try:
        kind = "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
        return codecs.getincrementaldecoder(kind)("strict")
    except LookupError:
        raise UserError(
            "there is no such encoding", got=encoding, expected="utf-8, latin-1, utf-16, ..."
        ) from None


def _check_text(name: str, chunk: bytes, done: int, encoding: str) -> None:
    """Refuse what is no text: it has bytes 0, or begins as another encoding does."""
    wide = encoding.lower().replace("_", "-").startswith(("utf-16", "utf-32"))
    if wide:
        return
    if done == 0 and chunk[:2] in MARKS:
        other = MARKS[chunk[:2]]
        raise UserError(
            f"{name} is not {encoding}", got=f"it begins as {other}", hint=f"--encoding {other}"
        )
    if (at := chunk.find(0)) >= 0:
        raise UserError(
            f"{name} is no text",
            got=f"a byte 0 at {done + at}",
            hint="--tokens byte models any file",
        )


def _decode(
    decoder: codecs.IncrementalDecoder,
    chunk: bytes,
    name: str,
    done: int,
    encoding: str,
    final: bool = False,
) -> str:
    held = decoder.getstate()[0]
    try:
        return decoder.decode(chunk, final)
    except UnicodeError as error:
        start = getattr(error, "start", 0)
        bad = (held + chunk)[start : start + 1]
        raise UserError(
            f"{name} is not {encoding}",
            got=f"byte 0x{bad.hex()} at {done - len(held) + start}",
            hint="--encoding latin-1, or --tokens byte, which takes any file",
        ) from None


def _unified(text: str, returned: bool, *, final: bool) -> tuple[str, bool]:
    """Line ends as "\\n"; a "\\r" at the end waits for what follows."""
    if returned:
        text = "\r" + text
    returned = text.endswith("\r") and not final
    text = text[:-1] if returned else text
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text, returned


def lines(pieces_of_text: Iterator[str]) -> Iterator[str]:
    """Lines without their ends; the last one too where it is not empty."""
    rest: Sequence[str] = ()
    for piece in pieces_of_text:
        *whole, last = ("".join(rest) + piece).split("\n") if "\n" in piece else [piece]
        if "\n" in piece:
            yield from whole
            rest = [last]
        else:
            rest = [*rest, last]
    if text := "".join(rest):
        yield text
