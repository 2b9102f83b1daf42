"""From an exception to words and an exit code.

0 fine; 2 bad input, usage, a missing extra or the surroundings (disk, memory, permissions);
130 Ctrl-C; 141 the reader of the pipe went away; 1 only for a defect of lstmkit.
LSTMKIT_DEBUG=1 shows the whole traceback of any of them.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

import click

from lstmkit.cli.console import complain
from lstmkit.errors import Interrupted, MissingExtra, UserError

USAGE, DEFECT, INTERRUPTED, BROKEN_PIPE = 2, 1, 130, 141


def report(error: BaseException) -> int:
    """Say on stderr what went wrong; the exit code."""
    if os.environ.get("LSTMKIT_DEBUG") == "1":
        traceback.print_exception(error)
    if isinstance(error, click.Abort):
        return interrupted(error.__cause__ or error)
    if isinstance(error, KeyboardInterrupt):
        return interrupted(error)
    words = explain(error)
    if words is None:
        return defect(error)
    complain(*words)
    return USAGE


def explain(error: BaseException) -> tuple[str, str] | None:
    """(what went wrong, hint) where the cause lies outside lstmkit; None for a defect."""
    if isinstance(error, UserError):
        facts = {"got": error.got, "expected": error.expected}
        return "\n".join([error.what, *(f"  {k}: {v}" for k, v in facts.items() if v)]), error.hint
    if isinstance(error, MissingExtra):
        return str(error).partition("\n")[0], f"pip install 'lstmkit[{error.extra}]'"
    if isinstance(error, ModuleNotFoundError) and (extra := carrier(error.name or "")):
        return f"this needs {error.name}, which is not installed", f"pip install 'lstmkit[{extra}]'"
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "lstmkit"
        return error.format_message(), f"{path} --help"
    if isinstance(error, click.ClickException):
        return error.format_message(), ""
    if isinstance(error, OSError) and error.errno is not None:
        where = f": {error.filename}" if error.filename else ""
        return f"{(error.strerror or str(error)).lower()}{where}", ""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "out of memory", "a smaller --size, a smaller --batch-size, or fewer series a run"
    return None


def carrier(module: str) -> str | None:
    """The extra that a missing module comes with."""
    from lstmkit.cli.info import EXTRAS

    package = module.partition(".")[0]
    return next((name for name, packages in EXTRAS.items() if package in packages), None)


def interrupted(error: BaseException) -> int:
    """Ctrl-C: how to go on, where something was saved."""
    hint = error.hint if isinstance(error, Interrupted) else ""
    complain("interrupted" if hint else "interrupted; nothing was written", hint)
    return INTERRUPTED


def defect(error: BaseException) -> int:
    """A failure that no user can be blamed for, with the place where it happened."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    complain(
        f"this is a bug in lstmkit: {type(error).__name__}: {error}{place}",
        "LSTMKIT_DEBUG=1 shows the whole traceback; please report it with the command",
    )
    sys.stderr.flush()
    return DEFECT
