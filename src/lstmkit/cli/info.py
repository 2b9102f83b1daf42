"""`lstmkit info [MODEL]`: a model file or this installation, without torch."""

from __future__ import annotations

import platform
from datetime import UTC, datetime, timedelta
from importlib import metadata
from typing import Any

import click

from lstmkit.cli import checks
from lstmkit.cli.console import Console, shared

EXTRAS = {  # what each extra brings that can be looked for
    "train": ("torch", "lightning", "polars", "matplotlib", "rich", "tensorboard"),
    "export": ("onnx", "onnxruntime"),
    "dev": ("pytest", "hypothesis", "ruff", "mypy"),
}


@click.command()
@click.argument("model", required=False)
@shared
def info(model: str | None, as_json: bool, quiet: bool) -> None:
    """Describe a MODEL file, or this installation."""
    console = Console(quiet)
    if model is not None:
        checks.readable(model)
    facts = installation() if model is None else describe(model)
    if as_json:
        console.json(facts)
    else:
        console.data("\n".join(lines(facts)))


def version(package: str) -> str | None:
    """The installed version, found without importing the package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def installation() -> dict[str, Any]:
    """Versions, extras and the native engine."""
    import lstmkit
    from lstmkit import engine

    extras = {name: extra(packages) for name, packages in EXTRAS.items()}
    return {
        "lstmkit": lstmkit.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "numpy": version("numpy"),
        "torch": version("torch") or "not installed: pip install 'lstmkit[train]'",
        "extras": extras,
        "native_engine": engine.status(),
    }


def extra(packages: tuple[str, ...]) -> str:
    """`present`, or what is missing."""
    missing = [package for package in packages if version(package) is None]
    return f"missing {', '.join(missing)}" if missing else "present"


def describe(path: str) -> dict[str, Any]:
    """What a model file says about itself."""
    from lstmkit import modelfile
    from lstmkit.lowprecision import dtype_of

    model = modelfile.load(path)
    program = model.program
    return {
        "file": str(path),
        "task": model.task,
        "kind": program.kind,
        **({"window": program.window} if program.window is not None else {}),
        "entry_points": {name: entry_point(entry) for name, entry in program.entries.items()},
        "state": {name: shape(slot) for name, slot in program.slots.items()} or "none",
        "parameters": sum(array.size for array in program.weights.values()),
        "weights": dtype_of(program),
        "bytes": sum(array.nbytes for array in program.weights.values()),
        **model.config,
        **training_cut(model),
        "provenance": model.provenance,
    }


def training_cut(model: Any) -> dict[str, Any]:
    """The latest rows that were learnt from: before the held-out score, and in the end."""
    if "seen/cut" not in model.tensors:
        return {}
    names = {"scored_after_learning_to": "seen/cut", "learnt_to": "seen/end"}
    integer = model.config["columns"]["freq"].endswith("i")
    latest = {name: int(model.tensors[key].max()) for name, key in names.items()}
    return {"training_cut": {k: v if integer else moment(v) for k, v in latest.items()}}


def moment(microseconds: int) -> str:
    """An ISO date, with the time of day where there is one."""
    found = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=microseconds)
    return found.replace(tzinfo=None).isoformat(" ").removesuffix(" 00:00:00")


def entry_point(entry: Any) -> dict[str, dict[str, str]]:
    """Inputs and outputs with their shapes."""
    return {
        "inputs": {port.name: shape(port) for port in entry.inputs},
        "outputs": {port.name: shape(port) for port in entry.outputs},
    }


def shape(port: Any) -> str:
    """`float32 (B, 48, 1)`."""
    return f"{port.dtype} ({', '.join(str(axis) for axis in port.shape)})"


def lines(facts: dict[str, Any], depth: int = 0) -> list[str]:
    """A mapping as indented lines, lists on one line."""
    found: list[str] = []
    width = max((len(str(key)) for key in facts), default=0)
    for key, value in facts.items():
        name = str(key).replace("_", " ")
        if isinstance(value, dict) and value:
            found += [f"{'  ' * depth}{name}", *lines(value, depth + 1)]
        else:
            found.append(f"{'  ' * depth}{name:<{width}}  {text(value)}")
    return found


def text(value: Any) -> str:
    """A value as a person writes it."""
    if isinstance(value, (list, tuple)):
        return ", ".join(text(item) for item in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value in (None, {}) else str(value)
