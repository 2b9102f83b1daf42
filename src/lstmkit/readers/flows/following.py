"""Following a log that grows: through rotation, truncation and restarts.

A file is known by its device, inode and first bytes. Where the name points to another file with
something in it, the old one is read to its end first. A file that is shorter than what was read, or
begins otherwise, was truncated: it is read anew.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from lstmkit.errors import UserError
from lstmkit.readers.flows.decoder import Decoder
from lstmkit.readers.flows.opening import GZIP
from lstmkit.readers.flows.schema import Flows, empty, joined
from lstmkit.readers.flows.textual import LineDecoder

HEAD = 256  # bytes by which a file is known
AT_ONCE = 1 << 20  # bytes of a poll
REMEMBERED = 100  # notes


class Known(NamedTuple):
    """What tells a file from others: where it is, and a digest of its first `size` bytes."""

    device: int
    inode: int
    digest: str
    size: int


class Follower:
    """`tail -F` of a log of flows; the caller sleeps between two polls.

    Args:
        path: of the log; it need not be there yet.
        make: makes a decoder at its beginning.
        place: where to go on, from `place()`; from the first line where left out.

    Attributes:
        notes: what happened: rotations, truncations, what was refused, what is lost.
        answered, refused: records so far. rotated, truncated: how often since it began to look.

    Raises:
        UserError: it cannot be read or is no file of lines; `place` is none.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        make: Callable[[], Decoder],
        place: Mapping[str, Any] | None = None,
    ) -> None:
        self.path, self._make = Path(path), make
        self.notes: list[str] = []
        self.answered = self.refused = self.rotated = self.truncated = 0
        self._decoder = make()
        self._file: BinaryIO | None = None
        self._known: Known | None = None
        self._offset = 0
        self._left_behind = False
        if place is not None:
            self._go_on(place)

    # --- reading

    def poll(self, most: int = AT_ONCE) -> Flows:
        """What is new now, of at most so many bytes; no flows where nothing is."""
        if self._file is None and not self._open(self.path):
            return empty(self._decoder.FORMAT)
        found = [self._anew()] if self._is_truncated() else []
        data = self._read(most)
        found.append(self._fed(data))
        if data:
            self._left_behind = False
        elif self._moved():
            found += self._next(most)
        kept = [part for part in found if len(part)]
        return joined(kept) if kept else empty(self._decoder.FORMAT)

    @property
    def waiting(self) -> bool:
        """Whether there is no log of this name."""
        return not self.path.exists()

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read(self, most: int) -> bytes:
        assert self._file is not None
        try:
            data = self._file.read(most)
        except OSError as error:
            raise UserError(f"{self.path} cannot be read", got=error.strerror or "") from error
        self._offset += len(data)
        if data and (self._known is None or self._known.size < HEAD):
            self._know()
        return data

    def _fed(self, data: bytes) -> Flows:
        return self._counted(lambda: self._decoder.feed(data))

    def _closed(self) -> Flows:
        """The end of a file; what comes is another."""
        found = self._counted(self._decoder.finish)
        self._decoder = self._make()
        return found

    def _counted(self, work: Callable[[], Flows]) -> Flows:
        answered, refused = self._decoder.answered, self._decoder.refused
        try:
            return work()
        except UserError as error:
            what = f"{self.path}: {error.what}"
            raise UserError(
                what, got=error.got, expected=error.expected, hint=error.hint
            ) from error
        finally:
            self.answered += self._decoder.answered - answered
            new = self._decoder.refused - refused
            self.refused += new
            for refusal in self._decoder.refusals[-new:] if new else ():
                self._note(f"{self.path.name}:{refusal.number}: {refusal.why}")

    # --- truncation

    def _is_truncated(self) -> bool:
        assert self._file is not None
        if os.fstat(self._file.fileno()).st_size < self._offset:
            return True
        if self._known is None:
            return False
        head = os.pread(self._file.fileno(), self._known.size, 0)
        return _digest(head) != self._known.digest

    def _anew(self) -> Flows:
        """Back to the beginning of the file. A line that was cut is lost: its end is gone."""
        assert self._file is not None
        lost = ""
        if isinstance(self._decoder, LineDecoder) and self._decoder.pending:
            self._decoder.drop()
            lost = "; a line whose end had not come is lost"
        self.truncated += 1
        self._note(f"{self.path.name} was truncated, and is read anew{lost}")
        found = self._closed()
        self._offset = 0
        self._file.seek(0)
        self._know()
        return found

    # --- rotation

    def _moved(self) -> bool:
        """Whether the name points to another file, with something in it, for the second time: what
        writes has finished the old one then."""
        assert self._file is not None
        mine = os.fstat(self._file.fileno())
        try:
            there = self.path.stat()
        except OSError:
            return False
        other = (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino) and there.st_size > 0
        twice, self._left_behind = other and self._left_behind, other
        return twice

    def _next(self, most: int) -> list[Flows]:
        """The old file's end, and the beginning of the new one."""
        assert self._file is not None
        found = [self._closed()]
        self.rotated += 1
        self._note(f"{self.path.name} was rotated")
        self._tell_between()
        self.close()
        self._left_behind = False
        if self._open(self.path):
            found.append(self._fed(self._read(most)))
        return found

    def _tell_between(self) -> None:
        """Say which files were the log between the old one and the new one: none looked then."""
        assert self._file is not None
        old = os.fstat(self._file.fileno())
        between = []
        for path in self._beside():
            try:
                there = path.stat()
            except OSError:
                continue
            mine = there.st_ino == old.st_ino
            if stat.S_ISREG(there.st_mode) and there.st_mtime > old.st_mtime and not mine:
                between.append(path.name)
        if between:
            self._note(f"lost: {', '.join(between)[:200]} came between, and is not read")

    def _beside(self) -> list[Path]:
        """Files whose names begin as the log's does."""
        stem = self.path.name.split(".")[0]
        try:
            found = [p for p in self.path.parent.iterdir() if p.name.startswith(f"{stem}.")]
        except OSError:
            return []
        return sorted(p for p in found if p != self.path)

    # --- files

    def _open(self, path: Path) -> bool:
        """Open a file at its beginning, if it is there."""
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                raise UserError(f"{path} cannot be followed", expected="a file")
            self._file = path.open("rb", buffering=0)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise UserError(f"{path} cannot be read", got=error.strerror or "") from error
        self._offset, self._known = 0, None
        self._know()
        return True

    def _know(self) -> None:
        assert self._file is not None
        mine = os.fstat(self._file.fileno())
        head = os.pread(self._file.fileno(), HEAD, 0)
        if head.startswith(GZIP):
            self.close()
            raise UserError(f"{self.path} cannot be followed", got="a file packed by gzip",
                            hint="read it as it is, without following")  # fmt: skip
        self._known = Known(mine.st_dev, mine.st_ino, _digest(head), len(head))

    def _note(self, text: str) -> None:
        self.notes = [*self.notes, text][-REMEMBERED:]

    # --- places

    def place(self) -> dict[str, Any]:
        """Where it stands, as JSON values: the file, the bytes that were read, the decoder with
        what it holds of a line that is not whole."""
        return {
            "known": None if self._known is None else list(self._known),
            "offset": self._offset,
            "decoder": self._decoder.save().tobytes().decode(),
            "counts": [self.answered, self.refused],
        }

    def _go_on(self, place: Mapping[str, Any]) -> None:
        try:
            self.answered, self.refused = (int(count) for count in place["counts"])
            known = None if place["known"] is None else Known(*place["known"])
            offset, saved = int(place["offset"]), str(place["decoder"]).encode()
            decoder = self._make()
            decoder.restore(np.frombuffer(saved, np.uint8))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError("this is no place in such a log", got=str(error)[:120]) from error
        if known is None or not (known.size or offset):
            return
        path = self._found(known, offset)
        if path is None or not self._open(path):
            self._note(f"lost: the file that was read last is gone, or is packed now; {self.path} "
                       "is read from its beginning")  # fmt: skip
            return
        assert self._file is not None
        self._offset, self._decoder = offset, decoder
        self._file.seek(offset)
        if path != self.path:
            self._note(f"going on in {path.name}, which was {self.path.name}")

    def _found(self, known: Known, offset: int) -> Path | None:
        """The file that was read: the same one by whatever name, or a copy of it."""
        candidates = [self.path, *self._beside()]
        for same in (True, False):
            for path in candidates:
                if _is(path, known, offset, same):
                    return path
        return None


def _is(path: Path, known: Known, offset: int, same: bool) -> bool:
    """Whether a file is the one that was read so far.

    Args:
        same: by its inode, too; otherwise by what it begins with, if that is enough to know it by.
    """
    try:
        there = path.stat()
        if not stat.S_ISREG(there.st_mode) or there.st_size < offset:
            return False
        if same and (there.st_dev, there.st_ino) != (known.device, known.inode):
            return False
        if not same and known.size < HEAD:
            return False
        with path.open("rb") as file:
            return _digest(file.read(known.size)) == known.digest
    except OSError:
        return False


def _digest(head: bytes) -> str:
    return hashlib.sha256(head).hexdigest()[:32]
