"""`lstmkit evaluate MODEL DATA...`."""

from __future__ import annotations

from typing import Any

import click

from lstmkit.cli import checks
from lstmkit.cli.asking import EVALUATING, asking, understood
from lstmkit.cli.console import Console, shared


@click.command(cls=asking(EVALUATING))
@click.argument("model")
@click.argument("data", nargs=-1, required=True, metavar="DATA...")
@shared
def evaluate(model: str, data: tuple[str, ...], as_json: bool, quiet: bool, **options: Any) -> None:
    """Score MODEL on the rows of DATA that it has not seen, beside baselines.

    Exit code 2 with `in-sample` where DATA has no such rows.
    """
    console = Console(quiet)
    checks.readable(model)
    source = checks.inputs(data, folders=True)
    from lstmkit.tasks.estimator import load

    estimator: Any = load(model)
    report = estimator.evaluate(source, **understood(estimator, EVALUATING, options))
    if as_json:
        console.json(report.to_dict())
    else:
        console.data(str(report))
