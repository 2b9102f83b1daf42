"""The header as a file."""

from __future__ import annotations

from pathlib import Path

from lstmkit.export.c.header import to_c
from lstmkit.export.c.text import identifier, is_identifier
from lstmkit.modelfile import Name, atomic_write
from lstmkit.program import Program


def write(
    program: Program,
    path: Name,
    entry: str | None = None,
    name: str | None = None,
    *,
    steps: int | None = None,
) -> None:
    """`to_c` into a file, which is there whole or not at all.

    Args:
        program, entry, steps: as of `to_c`.
        path: the file, by custom ending in .h.
        name: as of `to_c`; left out, made from the file's name.

    Raises:
        UserError: what `to_c` raises, or a file that cannot be written.
    """
    text = to_c(program, entry, name or _named(Path(path).stem), steps=steps)
    with atomic_write(path, "w") as file:
        file.write(text)


def _named(stem: str) -> str:
    """An identifier from a file's name."""
    found = identifier(stem)
    return found if is_identifier(found) else f"{found}_model"
