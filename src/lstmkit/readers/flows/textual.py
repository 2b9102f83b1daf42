"""What the decoders of lines share: bytes to whole lines, and lines to cells."""

from __future__ import annotations

import base64
import csv
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lstmkit.errors import UserError
from lstmkit.readers.flows.decoder import LONGEST_LINE, Decoder
from lstmkit.readers.flows.schema import Flows, empty, flows, joined

NEWLINE = b"\n"
QUOTED = "\x1f"  # between cells, where a cell may hold the separator itself
LINE = "\n"  # the column of line numbers: no header can name it
WRONG = (ValueError, TypeError, OverflowError, KeyError, IndexError)

Cells = Mapping[str, Sequence[Any]]
Columns = dict[str, Any]


class LineDecoder(Decoder):
    """Whole lines to flows.

    A subclass says which lines are `marks` (headers and the like), what a `mark` changes, and how
    the `rows` between them become flows; `header`/`set_header` save what the marks said.

    Attributes:
        number: of the last whole line.
        skipped: lines that are well formed and no flows.
    """

    def __init__(self) -> None:
        super().__init__()
        self.number = self.skipped = 0
        self._pending = bytearray()
        self._skipping = False
        self._wrong: list[tuple[int, str]] = []

    def marks(self, lines: Sequence[str]) -> Sequence[int]:
        """Which lines say how to read those after them."""
        return ()

    def mark(self, line: str, number: int) -> None:
        """Take what such a line says."""

    def rows(self, lines: list[str], first: int) -> Flows:
        """The flows of lines without marks, the first of which has number `first`."""
        raise NotImplementedError

    def columns(self, cells: Cells, n: int) -> Columns:
        """Columns of `flows` (and `extra`) of n records' cells, each (n,).

        Raises:
            ValueError: a cell that cannot be used.
        """
        raise NotImplementedError

    def header(self) -> Any:
        """What earlier lines said of those to come, as JSON values."""
        return None

    def set_header(self, header: Any) -> None:
        """Take what `header` gave."""

    # --- bytes to lines

    def feed(self, data: bytes) -> Flows:
        """See `Decoder`."""
        cut = data.rfind(NEWLINE) + 1
        if not cut:
            self._wait(data)
            return empty(self.FORMAT)
        begin = 0
        if self._skipping:
            self._skipping = False
            begin = data.index(NEWLINE) + 1
            self._too_long()
        whole = bytes(self._pending) + data[begin:cut]
        self._pending.clear()
        self._wait(data[cut:])
        return self._decoded(whole)

    def finish(self) -> Flows:
        """See `Decoder`."""
        if self._skipping:
            self._skipping = False
            self._too_long()
        whole = bytes(self._pending)
        self._pending.clear()
        return self._decoded(whole, end=True)

    def drop(self) -> None:
        """Forget a line whose end will not come."""
        self._pending.clear()
        self._skipping = False

    def _wait(self, data: bytes) -> None:
        """Keep the beginning of a line; of one that is too long, nothing."""
        if self._skipping:
            return
        self._pending += data
        if len(self._pending) > LONGEST_LINE:
            self._pending.clear()
            self._skipping = True

    def _too_long(self) -> None:
        self.number += 1
        self.refuse(self.number, f"longer than {LONGEST_LINE} bytes")

    def _decoded(self, whole: bytes, end: bool = False) -> Flows:
        if not whole:
            return empty(self.FORMAT)
        first = self.number + 1
        lines = self._lines(whole, first)
        self.number += len(lines)
        try:
            found = empty(self.FORMAT) if end and self.marks(lines) else self._flows(lines, first)
        finally:
            for number, why in sorted(self._wrong):
                self.refuse(number, why)
            self._wrong = []
        self.answered += len(found)
        return found

    def _lines(self, whole: bytes, first: int) -> list[str]:
        """Lines without their ends; those that cannot be read are rejected, and empty."""
        text = whole.decode("utf-8", "replace")
        lines = text.split("\n")
        if lines[-1] == "":
            lines.pop()
        if first == 1:
            lines[0] = lines[0].removeprefix("\ufeff")
        if "\r" in text:
            lines = [line.removesuffix("\r") for line in lines]
        if len(whole) > LONGEST_LINE:
            lines = self._bounded(lines, whole, first)
        if "\0" in text:
            lines = [self._whole(line, number) for number, line in enumerate(lines, first)]
        return lines

    def _bounded(self, lines: list[str], whole: bytes, first: int) -> list[str]:
        sizes = list(map(len, whole.split(NEWLINE)))
        if max(sizes) <= LONGEST_LINE:
            return lines
        for k, size in enumerate(sizes):
            if size > LONGEST_LINE:
                self.reject(first + k, f"longer than {LONGEST_LINE} bytes")
                lines[k] = ""
        return lines

    def _whole(self, line: str, number: int) -> str:
        if "\0" not in line:
            return line
        self.reject(number, "holds NUL bytes")
        return ""

    # --- lines to flows

    def _flows(self, lines: list[str], first: int) -> Flows:
        found, begin = [], 0
        for k in self.marks(lines):
            if begin < k:
                found.append(self.rows(lines[begin:k], first + begin))
            self.mark(lines[k], first + k)
            begin = k + 1
        if begin < len(lines):
            found.append(self.rows(lines[begin:] if begin else lines, first + begin))
        kept = [f for f in found if len(f)]
        return joined(kept) if kept else empty(self.FORMAT)

    def reject(self, number: int, why: str) -> None:
        """Refuse a line of those at hand; they are counted in their order."""
        self._wrong.append((number, why))

    def converted(self, cells: Cells, numbers: Sequence[int]) -> Flows:
        """Flows of records; those whose cells cannot be used are rejected.

        Args:
            cells: by name, each (n,).
            numbers: of their lines, (n,).
        """
        given: Cells = {**cells, LINE: numbers}
        try:
            return self._made(given)
        except WRONG:
            good = list(self._good(given, 0, len(numbers)))
        if not good:
            return empty(self.FORMAT)
        return self._made({name: [column[k] for k in good] for name, column in given.items()})

    def _good(self, cells: Cells, begin: int, end: int) -> Iterator[int]:
        """Records that can be used, found by halves; those that cannot are rejected."""
        try:
            self.columns({name: c[begin:end] for name, c in cells.items()}, end - begin)
            yield from range(begin, end)
        except WRONG as error:
            if end - begin == 1:
                self.reject(cells[LINE][begin], said(error))
                return
            middle = (begin + end) // 2
            yield from self._good(cells, begin, middle)
            yield from self._good(cells, middle, end)

    def _made(self, cells: Cells) -> Flows:
        n = len(cells[LINE])
        if not n:
            return empty(self.FORMAT)
        columns = self.columns(cells, n)
        return flows(self.FORMAT, n, columns.pop("extra", None), **columns)

    # --- state

    @property
    def pending(self) -> int:
        """Bytes of a line whose end has not come."""
        return len(self._pending)

    def state(self) -> dict[str, Any]:
        """See `Decoder`."""
        pending = base64.b64encode(self._pending).decode()
        found = {"number": self.number, "skipped": self.skipped, "pending": pending}
        return {**found, "skipping": self._skipping, "header": self.header()}

    def set_state(self, state: dict[str, Any]) -> None:
        """See `Decoder`."""
        self.number, self.skipped = int(state["number"]), int(state["skipped"])
        self._skipping = bool(state["skipping"])
        self._pending = bytearray(base64.b64decode(state["pending"]))
        self.set_header(state["header"])


class CsvDecoder(LineDecoder):
    """Comma separated lines below a header that names the columns.

    A subclass sets NEEDED: names of which a header has all of one group, in lower case.
    """

    NEEDED: tuple[frozenset[str], ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def header(self) -> Any:
        """Names of the columns."""
        return self.names

    def set_header(self, header: Any) -> None:
        """Take what `header` gave."""
        self.names = list(header)

    def marks(self, lines: Sequence[str]) -> Sequence[int]:
        """See `LineDecoder`: no record begins with a letter and has the names of a header."""
        return [k for k, line in enumerate(lines)
                if not line[:1].isdigit() and self.is_header(line)]  # fmt: skip

    def is_header(self, line: str) -> bool:
        """Whether a line names the columns."""
        names = {name.lower() for name in names_of(line)}
        return any(group <= names for group in self.NEEDED)

    def mark(self, line: str, number: int) -> None:
        """See `LineDecoder`."""
        self.names = distinct(names_of(line))

    def rows(self, lines: list[str], first: int) -> Flows:
        """See `LineDecoder`."""
        numbers: Sequence[int] = range(first, first + len(lines))
        if not all(line.strip(", ") for line in lines):
            numbers = [n for n, line in zip(numbers, lines, strict=True) if line.strip(", ")]
            lines = [line for line in lines if line.strip(", ")]
        if not lines:
            return empty(self.FORMAT)
        if not self.names:
            raise UserError(
                f"the first line of {self.FORMAT} must name the columns",
                got=lines[0][:120],
                expected=", ".join(sorted(self.NEEDED[0])),
            )
        cells, numbers = self.cells(lines, numbers, len(self.names), ",")
        return self.converted(dict(zip(self.names, cells, strict=True)), numbers)

    def cells(
        self, lines: Sequence[str], numbers: Sequence[int], width: int, separator: str
    ) -> tuple[list[list[str]], Sequence[int]]:
        """Columns of cells, and the numbers of the lines that have as many."""
        if any('"' in line for line in lines):
            lines, numbers = self._unquoted(lines, numbers, separator)
            separator = QUOTED
        return split(self, lines, numbers, width, separator)

    def _unquoted(
        self, lines: Sequence[str], numbers: Sequence[int], separator: str
    ) -> tuple[list[str], list[int]]:
        found = []
        for number, line in zip(numbers, lines, strict=True):
            try:
                cells = next(csv.reader([line], delimiter=separator, strict=True))
            except (csv.Error, StopIteration) as error:
                self.reject(number, f"no CSV: {error}")
                continue
            found.append((number, QUOTED.join(cells)))
        return [line for _, line in found], [number for number, _ in found]


def names_of(line: str) -> list[str]:
    """Names of a header, without the blanks and quotes around them."""
    return [name.strip().strip('"').strip() for name in line.split(",")]


def distinct(names: Sequence[str]) -> list[str]:
    """Names of which each occurs once: the second `x` becomes `x.1`, as pandas has it."""
    found: list[str] = []
    for name in names:
        number, free = 0, name
        while free in found:
            number += 1
            free = f"{name}.{number}"
        found.append(free)
    return found


def split(
    decoder: LineDecoder,
    lines: Sequence[str],
    numbers: Sequence[int],
    width: int,
    separator: str,
    glue: str = "",
) -> tuple[list[list[str]], Sequence[int]]:
    """Lines to columns of cells, and the numbers of their lines; lines with more or fewer cells are
    rejected.

    Args:
        glue: what stands between cells, too, in lines that have too few without it.
    """
    sizes = [line.count(separator) + 1 for line in lines]
    if glue and sizes.count(width) != len(lines):
        lines = [line if size >= width else line.replace(glue, separator)
                 for line, size in zip(lines, sizes, strict=True)]  # fmt: skip
        sizes = [line.count(separator) + 1 for line in lines]
    if sizes.count(width) != len(lines):
        for number, size in zip(numbers, sizes, strict=True):
            if size != width:
                decoder.reject(number, f"{size} cells instead of {width}")
        lines = [line for line, size in zip(lines, sizes, strict=True) if size == width]
        numbers = [k for k, size in zip(numbers, sizes, strict=True) if size == width]
    flat = separator.join(lines).split(separator) if lines else []
    return [flat[k::width] for k in range(width)], numbers


def said(error: Exception) -> str:
    """What was wrong with a record, shortly."""
    if isinstance(error, KeyError):
        return f"no {error.args[0]}"[:120]
    return str(error)[:120]
