"""The helper functions of a generated header: those that it uses, under the model's name."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lstmkit.export.c.algebra import ALGEBRA, RESTRICT
from lstmkit.export.c.functions import FUNCTIONS

HELPERS = FUNCTIONS | ALGEBRA


def helpers(wanted: Iterable[str], name: str) -> str:
    """The C text of the helpers `wanted` and of all that they need, for a model called `name`."""
    found = _closed(wanted)
    text = "".join(body for helper, (_, body) in HELPERS.items() if helper in found)
    return _renamed((RESTRICT if "NAME_RESTRICT" in text else "") + text, name)


def _renamed(text: str, name: str) -> str:
    text = re.sub(r"\bname_", f"{name}_", text)
    return re.sub(r"\bNAME_", f"{name.upper()}_", text)


def _closed(wanted: Iterable[str]) -> set[str]:
    found: set[str] = set()
    waiting = list(wanted)
    while waiting:
        helper = waiting.pop()
        found.add(helper)
        waiting += HELPERS[helper][0]
    return found
