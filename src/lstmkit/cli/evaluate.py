"""`lstmkit evaluate MODEL DATA...`."""

from __future__ import annotations

from typing import Any

import click

from lstmkit.cli import checks
from lstmkit.cli.console import Console, shared


@click.command()
@click.argument("model")
@click.argument("data", nargs=-1, required=True, metavar="DATA...")
@click.option("--windows", type=click.IntRange(min=1), help="Score the last N origins only.")
@click.option("--refit", is_flag=True, help="Train anew before each origin: slow, uses all rows.")
@click.option(
    "--recalibrate", is_flag=True, help="Correct each origin's intervals by those before it."
)
@shared
def evaluate(
    model: str,
    data: tuple[str, ...],
    windows: int | None,
    refit: bool,
    recalibrate: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Score MODEL on the rows of DATA that it has not seen, beside baselines.

    Exit code 2 with `in-sample` where DATA has no such rows.
    """
    console = Console(quiet)
    checks.readable(model)
    source = checks.inputs(data)
    from lstmkit.tasks.estimator import load

    estimator: Any = load(model)
    report = estimator.evaluate(source, windows=windows, refit=refit, recalibrate=recalibrate)
    if as_json:
        console.json(report.to_dict())
    else:
        console.data(str(report))
