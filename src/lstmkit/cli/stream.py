"""`lstmkit stream MODEL [FILE]`: one answer a row, without torch or polars."""

from __future__ import annotations

import csv
import io
import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click

from lstmkit.cli import checks
from lstmkit.cli.asking import STREAMING, asking, understood
from lstmkit.cli.console import Console, plain, shared
from lstmkit.errors import UserError

SAVE_EVERY = 10.0  # seconds
ANSWERS = ("json", "csv")


@click.command(cls=asking(STREAMING))
@click.argument("model")
@click.argument("data", default=checks.STREAM, metavar="[FILE]")
@click.option(
    "--state",
    metavar="FILE",
    help="Go on from FILE where it exists, and keep it up to date: at the end, when stopped, "
    "every 10 seconds.",
)
@click.option(
    "--format",
    "written",
    metavar="NAME",
    help="What an answer is: json, an object on a line (the default), or csv. Of a model of "
    "network flows, what FILE is: zeek, eve, pcap ...",
)
@click.option("--strict", is_flag=True, help="Stop at the first row that cannot be used.")
@shared
def stream(
    model: str,
    data: str,
    state: str | None,
    written: str | None,
    strict: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Answer each row of FILE, or of standard input, as it arrives.

    Rows are CSV with a header, or JSON lines, with the columns of the training. Every row has one
    line of answer, written at once; a row that cannot be used has its error there.

    A model of network flows reads captures and logs of flows instead, and tells its alerts only.
    """
    console = Console(quiet)
    if as_json and written == "csv":
        raise UserError("answers are JSON or CSV, not both", got="--json --format csv")
    checks.readable(model)
    if data != checks.STREAM:
        checks.readable(data)
    if state is not None:
        checks.output(state, [model, data])
    from lstmkit.tasks.estimator import load

    estimator: Any = load(model)
    given = understood(estimator, STREAMING, options)
    if estimator.FLOWS:
        from lstmkit.cli import flows

        with stopped():
            flows.run(estimator, data, written, state, given, console)
        return
    written = written or "json"
    if written not in ANSWERS:
        raise UserError("no such form of answers", got=written, expected=" or ".join(ANSWERS))
    found = estimator.stream(**given)
    keeper = Keeper(found, state)
    if keeper.restored:
        console.note(f"going on from {state}")
    with opened(data) as file, stopped(), keeper:
        writer = Writer(found, written)
        answered, refused = follow(found, file, writer, keeper, console, strict)
    console.say(f"{answered} rows answered, {refused} refused")


class Keeper:
    """The state in its file: read at the beginning, written now and then and at the end."""

    def __init__(self, stream: Any, path: str | None) -> None:
        self.stream, self.path, self.saved = stream, path, time.monotonic()
        self.restored = path is not None and Path(path).exists()
        if self.restored:
            stream.read_state(path)

    def now_and_then(self) -> None:
        """Write it where the last time is long ago."""
        if self.path is not None and time.monotonic() - self.saved > SAVE_EVERY:
            self.stream.write_state(self.path)
            self.saved = time.monotonic()

    def __enter__(self) -> Keeper:
        return self

    def __exit__(self, *error: object) -> None:
        if self.path is not None:
            self.stream.write_state(self.path)


class Writer:
    """Answers on stdout, each flushed."""

    def __init__(self, stream: Any, written: str) -> None:
        self.stream, self.csv, self.names = stream, written == "csv", list[str]()

    def answer(self, answer: dict[str, Any]) -> None:
        """One line."""
        if not self.csv:
            self._line(json.dumps(plain(answer), ensure_ascii=False))
            return
        cells = self.stream.flat(answer)
        if not self.names:
            self.names = list(cells)
            self._line(self._row(self.names))
        self._line(self._row([cells[name] for name in self.names]))

    def refusal(self, error: UserError) -> None:
        """What was wrong, in the answer's place; an empty line of CSV."""
        if self.csv:
            self._line("," * (len(self.names) - 1) if self.names else "")
        else:
            text = {"error": error.what, "got": error.got, "expected": error.expected}
            self._line(json.dumps({k: v for k, v in text.items() if v}, ensure_ascii=False))

    def _row(self, cells: list[Any]) -> str:
        text = io.StringIO()
        csv.writer(text, lineterminator="").writerow(
            ["" if isinstance(c, float) and c != c else c for c in cells]
        )
        return text.getvalue()

    def _line(self, text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def follow(
    stream: Any, file: IO[str], writer: Writer, keeper: Keeper, console: Console, strict: bool
) -> tuple[int, int]:
    """Answer every row; how many were answered, and how many refused."""
    from lstmkit.readers import lines

    answered = refused = 0
    for row in lines.rows(file):
        try:
            if isinstance(row, lines.BadRow):
                raise row
            writer.answer(stream.step(row))
            answered += 1
        except UserError as error:
            if strict:
                raise
            refused += 1
            console.note(f"refused: {error.what}" + (f": {error.got}" if error.got else ""))
            writer.refusal(error)
        keeper.now_and_then()
    return answered, refused


@contextmanager
def opened(data: str) -> Iterator[IO[str]]:
    """Standard input or a file as text; what is no UTF-8 is replaced."""
    if data == checks.STREAM:
        yield io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8", errors="replace", newline="")
        return
    with Path(data).open(encoding="utf-8", errors="replace", newline="") as file:
        yield file


@contextmanager
def stopped() -> Iterator[None]:
    """SIGTERM stops as Ctrl-C does: the state is written first."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not in the main thread: then signals are somebody else's
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
