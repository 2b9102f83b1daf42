"""What is checked before any long work begins, so that nothing is lost at its end."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from lstmkit.errors import UserError

STREAM = "-"
TABLES = (".csv", ".csv.gz", ".parquet")
LINES = (".json", ".jsonl")
PICTURES = (".png", ".svg", ".pdf", ".jpg")
PAGE = ".html"
GLOB = frozenset("*?[")


def inputs(data: Sequence[str], *, folders: bool = False) -> str | list[str]:
    """The data arguments as readers take them: one path, several, or `-`; `folders` too."""
    if STREAM in data and len(data) > 1:
        raise UserError("standard input (-) cannot be mixed with files", got=" ".join(data))
    for path in data:
        found = set(path) & GLOB and glob.glob(path)  # noqa: PTH207
        if path != STREAM and not found and not (folders and Path(path).is_dir()):
            readable(path)
    return data[0] if len(data) == 1 else list(data)


def readable(path: str | Path) -> None:
    """Raise UserError unless `path` is a file that can be opened."""
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder, not a file", hint=f"name its files: {path / '*.csv'}")
    if not path.exists():
        raise UserError(f"no such file: {path}", hint=alike(path))
    if not os.access(path, os.R_OK):
        raise UserError(f"no permission to read {path}")


def alike(path: Path) -> str:
    """A file beside `path` whose name is nearly the same, as a question; or nothing."""
    import difflib

    if not path.parent.is_dir():
        return f"the folder {path.parent} does not exist"
    names = [entry.name for entry in path.parent.iterdir()]
    found = difflib.get_close_matches(path.name, names, n=1)
    return f"did you mean {path.parent / found[0]}?" if found else ""


def output(path: str, inputs: Iterable[str] = (), suffixes: Sequence[str] = ()) -> None:
    """Raise UserError unless `path` can be written without losing one of `inputs`."""
    target = Path(path)
    if target.is_dir():
        raise UserError(
            f"{path} is a folder, not a file", hint=f"name a file in it: -o {path}/FILE"
        )
    if suffixes and not target.name.lower().endswith(tuple(suffixes)):
        raise UserError(
            f"cannot tell the kind of file from the name {path}",
            got=target.suffix or "no suffix",
            expected=f"one of {' '.join(suffixes)}",
        )
    if not target.parent.is_dir():
        raise UserError(
            f"the folder {target.parent} does not exist", hint=f"mkdir -p {target.parent}"
        )
    if not os.access(target.parent, os.W_OK):
        raise UserError(f"no permission to write in {target.parent}")
    for name in inputs:
        if name != STREAM and same(target, Path(name)):
            raise UserError(
                f"{path} is an input: writing would destroy it", hint="another name for -o"
            )


def same(one: Path, other: Path) -> bool:
    """Whether two paths name one file."""
    return one.exists() and other.exists() and one.samefile(other)


def model_output(path: str, inputs: Iterable[str]) -> None:
    """As `output`, and never over an existing file that is no model."""
    output(path, inputs)
    target = Path(path)
    if target.exists() and target.suffix != ".safetensors":
        raise UserError(
            f"{path} exists and does not look like a model file",
            expected="a new name, or one that ends in .safetensors",
            hint=f"-o {target.with_suffix('.safetensors')}",
        )


def folder(path: Path) -> None:
    """Raise UserError unless `path` is a folder that can be written, or can be made."""
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file, not a folder", hint="another name for -o")
    nearest = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    if not os.access(nearest, os.W_OK):
        raise UserError(f"no permission to write in {nearest}")
