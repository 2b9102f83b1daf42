"""`lstmkit demo [NAME]`."""

from __future__ import annotations

import importlib
from pathlib import Path

import click

from lstmkit.cli import checks
from lstmkit.cli.console import Console, shared
from lstmkit.demos import DEMOS


@click.command()
@click.argument("name", type=click.Choice(list(DEMOS)), default="forecast")
@click.option(
    "-o",
    "--output",
    default="lstmkit-demo",
    show_default=True,
    metavar="FOLDER",
    help="Where the model and the pictures go; made if it is not there.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Same seed, same model.")
@click.option("--epochs", type=click.IntRange(min=1), help="Fewer, for a quick look.")
@shared
def demo(name: str, output: str, seed: int, epochs: int | None, as_json: bool, quiet: bool) -> None:
    """Run a task from file to model on real data that comes with lstmkit, in about a minute."""
    console = Console(quiet)
    folder = Path(output)
    checks.folder(folder)
    module, _, function = DEMOS[name].partition(":")
    outcome = getattr(importlib.import_module(module), function)(folder, console, seed, epochs)
    if as_json:
        console.json(outcome)
