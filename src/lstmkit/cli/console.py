"""How the command line speaks: data on stdout, talk on stderr, colour only on a terminal."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class Invocation:
    """What was typed, kept so that an interrupted command can say how to go on."""

    args: Sequence[str] = field(default_factory=tuple)

    def again(self, *more: str) -> str:
        """The command line that was typed, with options added where they are not there yet."""
        added = [option for option in more if option not in self.args]
        return shlex.join(["lstmkit", *self.args, *added])


@dataclass(frozen=True)
class Console:
    """Where a command's words go: `say` to people, `data` to the next program."""

    quiet: bool = False

    def say(self, text: str = "") -> None:
        """A line for people, on stderr; nothing under --quiet."""
        if not self.quiet:
            click.echo(text, err=True, color=colour())

    def note(self, text: str) -> None:
        """Something that was inferred, repaired or left out."""
        self.say(f"{paint('note:', 'cyan')} {text}")

    def data(self, text: str) -> None:
        """The command's result, on stdout."""
        click.echo(text, color=False)

    def json(self, value: Mapping[str, Any]) -> None:
        """The command's result as one JSON object; numbers that are not finite become null."""
        self.data(json.dumps(plain(value), indent=2, ensure_ascii=False))


def plain(value: Any) -> Any:
    """`value` with only what strict JSON knows: numpy scalars unpacked, nan and inf as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def colour() -> bool | None:
    """None lets click colour only a terminal; False forbids it."""
    return False if os.environ.get("NO_COLOR") else None


def paint(text: str, name: str, bold: bool = False) -> str:
    """`text` in a colour, which `click.echo` removes where no terminal shows it."""
    return click.style(text, fg=name, bold=bold)


def complain(what: str, hint: str = "") -> None:
    """`error: ...` and `hint: ...` on stderr."""
    click.echo(f"{paint('error:', 'red', bold=True)} {what}", err=True, color=colour())
    if hint:
        click.echo(f"{paint('hint:', 'green', bold=True)} {hint}", err=True, color=colour())


def shared(command: F) -> F:
    """Adds --json and --quiet, which every verb has."""
    for option in (
        click.option("--quiet", is_flag=True, help="Say nothing but the result and errors."),
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
    ):
        command = option(command)
    return command


def close_stdout() -> None:
    """After a broken pipe: whatever is still buffered goes nowhere, silently."""
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
