"""`lstmkit stream` for models of network flows: logs and captures in, alerts out, for days."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from lstmkit.cli import checks
from lstmkit.cli.console import Console
from lstmkit.errors import UserError

PAUSE = 0.25  # seconds between two looks at a log that does not grow
SAVE_EVERY = 10.0  # seconds
SAVE_SHARE = 20.0  # times that saving took, at least, until it is saved again
TAIL = 1 << 20  # bytes of a file of alerts in which its last line is looked for


def run(
    estimator: Any,
    data: str,
    format: str | None,
    state: str | None,
    given: dict[str, Any],
    console: Console,
) -> None:
    """Watch flows until they end, or until it is stopped."""
    follow, once = given.pop("follow", None), bool(given.pop("once", False))
    path, written = given.pop("alerts", None), given.pop("alerts_as", "json")
    if follow is not None and data != checks.STREAM:
        raise UserError("either FILE or --follow FILE", got=f"{data} --follow {follow}")
    if path is not None:
        checks.output(path, [p for p in (data, follow, state) if p])
    stream = estimator.stream(**given)
    keeper = Keeper(stream, state)
    if keeper.restored:
        console.note(f"going on from {state}")
    with Sink(path, _writer(written), stream.told if keeper.restored else None) as sink, keeper:
        if follow is not None:
            source = followed(follow, format or _format(follow, stream), stream, once, console)
        else:
            source = ((flows, None) for flows in read(data, format, console))
        for flows, place in source:
            with keeper.amid():
                for alert in stream.feed(flows):
                    sink.tell(alert)
                stream.place = place or stream.place
            keeper.now_and_then()
    console.say(f"{stream.read:,} flows, {stream.told:,} alerts, {stream.suppressed:,} suppressed")


def _format(path: str, stream: Any) -> str:
    """That of a log to follow: what it begins with, or what the model was trained on."""
    from lstmkit.readers.flows import sniff

    if Path(path).exists() and Path(path).stat().st_size:
        return sniff(path)
    return str(stream.shape.source)


def _writer(written: str) -> Callable[[dict[str, Any]], str]:
    from lstmkit.tasks.intrusion import records

    return records.eve_line if written == "eve" else records.json_line


def read(data: str, format: str | None, console: Console) -> Iterator[Any]:
    """The flows of a file, or of standard input as they arrive."""
    from lstmkit.readers import flows

    reading = flows.read(data, format)
    yield from reading
    for refusal in reading.refusals:
        console.note(f"refused: {refusal}")
    if reading.refused:
        console.say(f"{reading.refused:,} records refused")


def followed(
    path: str, format: str, stream: Any, once: bool, console: Console
) -> Iterator[tuple[Any, Any]]:
    """The flows of a log as it grows, and the place behind them; begins at `stream.place`."""
    from lstmkit.readers.flows import Follower
    from lstmkit.readers.flows.files import decoder

    follower = Follower(path, lambda: decoder(format), stream.place)
    idle = 0
    try:
        while True:
            flows = follower.poll()
            for note in follower.notes:
                console.note(note)
            follower.notes = []
            found = flows, follower.place()
            if len(flows):
                idle = 0
                yield found
                continue
            idle += 1
            if once and idle > 2:  # a rotation is seen at the second look
                return
            if not once:
                yield found
                time.sleep(PAUSE)
    finally:
        follower.close()
        if follower.refused:
            console.say(f"{follower.refused:,} lines refused")


class Keeper:
    """The state in its file: read at the beginning, written now and then and at the end.

    Attributes:
        whole: whether the state is that of a place between flows; stopped amid some, what was
            written last stays.
    """

    def __init__(self, stream: Any, path: str | None) -> None:
        self.stream, self.path, self.whole = stream, path, True
        self.restored = path is not None and Path(path).exists()
        if self.restored:
            stream.read_state(path)
        self.due = time.monotonic() + SAVE_EVERY

    def now_and_then(self) -> None:
        """Write it where the last time is long ago, for what it takes."""
        if self.path is None or time.monotonic() < self.due:
            return
        began = time.monotonic()
        self.stream.write_state(self.path)
        took = time.monotonic() - began
        self.due = time.monotonic() + max(SAVE_EVERY, SAVE_SHARE * took)

    @contextmanager
    def amid(self) -> Iterator[None]:
        """Inside, the state is on its way from one place to the next."""
        self.whole = False
        yield
        self.whole = True

    def __enter__(self) -> Keeper:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        stopped = kind is None or issubclass(kind, (KeyboardInterrupt, BrokenPipeError))
        if self.path is not None and stopped and self.whole:
            self.stream.write_state(self.path)


class Sink:
    """Alerts, a line each, on standard output or at the end of a file.

    What is told is numbered. After a crash the state is older than the file: alerts come again
    that are there already, and are not told twice; half a line at the end is cut off.

    Args:
        path: of the file; None for standard output.
        line: makes an alert's line.
        restored: how many the restored state has told; None where there is none.
    """

    def __init__(
        self, path: str | None, line: Callable[[dict[str, Any]], str], restored: int | None
    ) -> None:
        self.path, self.line = path, line
        self.last = 0
        if path is not None and Path(path).exists():
            last = _last_told(path)
            self.last = last if restored is not None else 0
        self._file: IO[str] | None = None

    def __enter__(self) -> Sink:
        if self.path is not None:
            self._file = open(self.path, "a", encoding="utf-8")  # noqa: PTH123
        return self

    def tell(self, alert: dict[str, Any]) -> None:
        """One alert, unless it was told before the crash."""
        if alert["told"] <= self.last:
            return
        out = self._file or sys.stdout
        out.write(self.line(alert) + "\n")
        out.flush()

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()


def _last_told(path: str) -> int:
    """The number of the last whole line of alerts; what is after it is cut off."""
    with open(path, "r+b") as file:  # noqa: PTH123
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - TAIL, 0))
        tail = file.read()
        end = tail.rfind(b"\n") + 1
        if end < len(tail):
            file.truncate(size - len(tail) + end)
        lines = tail[:end].splitlines()
    for line in reversed(lines):
        try:
            row = json.loads(line)
            return int(row.get("told", row.get("lstmkit", {}).get("told", 0)))
        except (ValueError, AttributeError):
            continue
    return 0
