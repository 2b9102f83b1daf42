"""The native engine `lstmkit._native`: loaded once, here, and only here.

The package installs where no C++ compiler is found; then `NATIVE` is None, `status()` says why, and
numpy does the work. LSTMKIT_REQUIRE_NATIVE=1 turns an absent engine into an ImportError.
LSTMKIT_INSTRUCTION_SET names the kernels to use, one of `status()["instruction_sets"]` (the widest
if it is not set); one that is not there is a ValueError.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import Any

HINT = "install a C++ compiler, then: pip install --force-reinstall --no-deps lstmkit"


def _load() -> tuple[ModuleType | None, str]:
    try:
        return importlib.import_module("lstmkit._native"), ""
    except ImportError as error:
        if os.environ.get("LSTMKIT_REQUIRE_NATIVE") == "1":
            raise ImportError(
                f"LSTMKIT_REQUIRE_NATIVE=1, but the native engine does not load: {error}\n"
                f"  hint: {HINT}"
            ) from error
        return None, str(error)


def _choose(native: ModuleType | None) -> None:
    wanted = os.environ.get("LSTMKIT_INSTRUCTION_SET")
    if native is None or not wanted:
        return
    try:
        native.use(wanted)
    except ValueError as error:
        raise ValueError(f"LSTMKIT_INSTRUCTION_SET: {error}") from None


NATIVE, _reason = _load()
_choose(NATIVE)


def status() -> dict[str, Any]:
    """Whether the native engine runs here: {"available", "instruction_sets", "instruction_set" (the
    one in use), "compiler"} or {"available", "reason", "hint"}."""
    if NATIVE is None:
        return {"available": False, "reason": _reason, "hint": HINT}
    return {
        "available": True,
        "instruction_sets": list(NATIVE.instruction_sets()),
        "instruction_set": NATIVE.instruction_set(),
        "compiler": NATIVE.compiler(),
    }
