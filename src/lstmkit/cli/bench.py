"""`lstmkit bench [NAME]`."""

from __future__ import annotations

import importlib
from typing import Any

import click

from lstmkit.bench import BENCHES
from lstmkit.cli.console import Console, shared


@click.command()
@click.argument("name", type=click.Choice(list(BENCHES)), default="runtime")
@click.option("--quick", is_flag=True, help="Fewer rounds: a first impression.")
@shared
def bench(name: str, quick: bool, as_json: bool, quiet: bool) -> None:
    """Time lstmkit on this machine, on one core, beside what else is installed."""
    console = Console(quiet)
    module, _, function = BENCHES[name].partition(":")
    console.say("timing; other work on this machine would blur it")
    run = getattr(importlib.import_module(module), function)
    found = run(blocks=3) if quick else run()
    if as_json:
        console.json(found)
    else:
        console.data("\n".join([found["machine"]["cpu"], "", *table(found["rows"])]))


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Rows under their names, numbers to the right."""
    names = list(rows[0])
    cells = [names, *([text(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[k]) for line in cells) for k in range(len(names))]
    return ["  ".join(c.rjust(w) for c, w in zip(line, widths, strict=True)) for line in cells]


def text(value: Any) -> str:
    """A number as short as it is precise; a dash for nothing."""
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)
