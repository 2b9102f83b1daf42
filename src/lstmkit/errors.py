"""Errors that rebuild the caller's picture: what was asked, what came, what was expected, hint."""

from __future__ import annotations

import importlib
from types import ModuleType


class UserError(ValueError):
    """Bad input, said in a way that can be acted on; the command line prints it and exits 2."""

    def __init__(self, what: str, *, got: str = "", expected: str = "", hint: str = "") -> None:
        self.what, self.got, self.expected, self.hint = what, got, expected, hint
        parts = {"got": got, "expected": expected, "hint": hint}
        super().__init__("\n".join([what, *(f"  {k}: {v}" for k, v in parts.items() if v)]))


class MissingExtra(ImportError):  # noqa: N818
    """A command or class whose optional dependencies are not installed."""

    def __init__(self, extra: str, package: str) -> None:
        self.extra, self.package = extra, package
        super().__init__(
            f"this needs {package}, which is not installed\n  hint: pip install 'lstmkit[{extra}]'"
        )


class Interrupted(KeyboardInterrupt):
    """Work stopped by Ctrl-C after its state was saved; `hint` says how to go on."""

    def __init__(self, hint: str) -> None:
        self.hint = hint
        super().__init__(hint)


def require(module: str, extra: str) -> ModuleType:
    """Import `module`, or raise MissingExtra with the pip line of the extra that carries it."""
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        raise MissingExtra(extra, package) from error
