"""`lstmkit predict MODEL DATA... -o FILE`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from lstmkit.cli import checks
from lstmkit.cli.console import Console, shared
from lstmkit.cli.train import declare
from lstmkit.errors import UserError
from lstmkit.tasks import catalog
from lstmkit.tasks.estimator import Estimator, Option, check_values


class AskCommand(click.Command):
    """`lstmkit predict`, with the options of every task's answers in its help."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Those of the command, and after them each task's."""
        return [*super().get_params(ctx), *(declare(option) for option in answering().values())]


def answering() -> dict[str, Option]:
    """What can be asked of the models of some task, by name."""
    estimators = map(catalog.resolve, catalog.names())
    return {option.name: option for e in estimators for option in e.ANSWERING}


@click.command(cls=AskCommand)
@click.argument("model")
@click.argument("data", nargs=-1, required=True, metavar="DATA...")
@click.option(
    "-o",
    "--output",
    default=checks.STREAM,
    metavar="FILE",
    help="A .csv or .parquet file; - is standard output, the default.",
)
@click.option(
    "--plot", metavar="FILE", help="Also draw the answers: a .png, .svg, .pdf, or .html page."
)
@shared
def predict(
    model: str,
    data: tuple[str, ...],
    output: str,
    plot: str | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Write the answers of MODEL for DATA to FILE."""
    console = Console(quiet)
    checks.readable(model)
    source = checks.inputs(data)
    if output != checks.STREAM:
        checks.output(output, [model, *data], checks.TABLES)
    if plot:
        checks.output(plot, [model, *data], (*checks.PICTURES, checks.PAGE))
    from lstmkit.tasks.estimator import load

    estimator = load(model)
    answer(estimator, source, output, plot, understood(estimator, options), as_json, console)


def understood(estimator: Estimator, options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given.

    Raises:
        UserError: one that this model's task has not, or of an impossible value.
    """
    given = {name: value for name, value in options.items() if value is not None}
    known = [option.name for option in estimator.ANSWERING]
    for name in given:
        if name not in known:
            raise UserError(
                f"a model of {estimator.TASK} is not asked by --{name.replace('_', '-')}",
                expected=" ".join(f"--{n.replace('_', '-')}" for n in known) or "no such option",
            )
    check_values(estimator.ANSWERING, given)
    return given


def answer(
    estimator: Any,
    source: str | list[str],
    output: str,
    plot: str | None,
    options: dict[str, Any],
    as_json: bool,
    console: Console,
) -> None:
    """Predict, draw, write the table."""
    from lstmkit.readers.tables import write_table

    with twice(source) as data:
        frame = estimator.predict(data, **options)
        if plot:
            estimator.write_plot(data, plot, **options)
    if as_json and output == checks.STREAM:
        console.json({"columns": frame.columns, "rows": [list(row) for row in frame.rows()]})
    else:
        write_table(frame, output)
    if output != checks.STREAM:
        if as_json:
            console.json({"output": output, "rows": len(frame), "plot": plot})
        console.say(f"{len(frame)} rows in {output}" + (f", drawn in {plot}" if plot else ""))


@contextmanager
def twice(source: str | list[str]) -> Iterator[str | list[str]]:
    """`source`, or standard input as a file for as long as it is needed, to be read twice."""
    if source != checks.STREAM:
        yield source
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "standard-input.csv"
        path.write_bytes(sys.stdin.buffer.read())
        yield str(path)
