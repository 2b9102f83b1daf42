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
from lstmkit.cli.asking import ANSWERING, asking, understood
from lstmkit.cli.console import Console, shared
from lstmkit.errors import UserError

ALERTED = 3  # exit code
LINES = ("json", "eve")  # values of --alerts-as


@click.command(cls=asking(ANSWERING))
@click.argument("model")
@click.argument("data", nargs=-1, metavar="DATA...")
@click.option(
    "-o",
    "--output",
    default=checks.STREAM,
    metavar="FILE",
    help="A .csv or .parquet file, of lines a .json or .jsonl file; - is standard output, the "
    "default.",
)
@click.option(
    "--plot", metavar="FILE", help="Also draw the answers: a .png, .svg, .pdf, or .html page."
)
@click.option("--fail-on-alert", is_flag=True, help="Exit with 3 where there is an alert.")
@shared
def predict(
    model: str,
    data: tuple[str, ...],
    output: str,
    plot: str | None,
    fail_on_alert: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Write the answers of MODEL for DATA to FILE, or what follows --prompt."""
    console = Console(quiet)
    checks.readable(model)
    if options.get("prompt") is not None:
        prompted(model, data, output, plot, fail_on_alert, as_json, console, options)
        return
    if not data:
        raise click.UsageError("no DATA to answer (a model of language also takes --prompt TEXT)")
    source = checks.inputs(data, folders=True)
    if output != checks.STREAM:
        lines = options.get("alerts_as") in LINES
        checks.output(output, [model, *data], checks.LINES if lines else checks.TABLES)
    if plot:
        checks.output(plot, [model, *data], (*checks.PICTURES, checks.PAGE))
    from lstmkit.tasks.estimator import load

    estimator = load(model)
    given = understood(estimator, ANSWERING, options)
    if fail_on_alert and not estimator.ALERTS:
        raise UserError(f"a model of {estimator.TASK} gives no alerts", got="--fail-on-alert")
    for name, suffixes in (("scores", checks.TABLES), ("state", ())):
        if name in given:
            checks.output(given[name], [model, *data], suffixes)
    found = answer(estimator, source, output, plot, given, as_json, console)
    if fail_on_alert and len(found):
        click.get_current_context().exit(ALERTED)


def prompted(
    model: str,
    data: tuple[str, ...],
    output: str,
    plot: str | None,
    fail_on_alert: bool,
    as_json: bool,
    console: Console,
    options: dict[str, Any],
) -> None:
    """Text that goes on from a prompt, in place of answers to DATA."""
    if data or plot or fail_on_alert:
        raise UserError("--prompt stands alone", got="DATA, --plot or --fail-on-alert beside it")
    if output != checks.STREAM:
        checks.output(output, [model])
    from lstmkit.cli import writing
    from lstmkit.tasks.estimator import load

    estimator: Any = load(model)
    given = understood(estimator, ANSWERING, options)
    if "state" in given:
        checks.output(given["state"], [model])
    writing.run(estimator, output, given, as_json, console)


def answer(
    estimator: Any,
    source: str | list[str],
    output: str,
    plot: str | None,
    options: dict[str, Any],
    as_json: bool,
    console: Console,
) -> Any:
    """Predict, draw, write the table, which is returned."""
    from lstmkit.readers.tables import write_table

    with twice(source) as data:
        if plot:  # first: what is predicted may move a state on
            estimator.write_plot(data, plot, **options)
        frame = estimator.predict(data, **options)
    if isinstance(frame, list):
        write_lines(frame, output)
    elif as_json and output == checks.STREAM:
        console.json({"columns": frame.columns, "rows": [list(row) for row in frame.rows()]})
    else:
        write_table(frame, output)
    if output != checks.STREAM:
        if as_json:
            console.json({"output": output, "rows": len(frame), "plot": plot})
        console.say(f"{len(frame)} rows in {output}" + (f", drawn in {plot}" if plot else ""))
    return frame


def write_lines(lines: list[str], output: str) -> None:
    """Alerts as lines of JSON or EVE, whole or not at all."""
    from lstmkit.modelfile import atomic_write

    text = "".join(line + "\n" for line in lines)
    if output == checks.STREAM:
        sys.stdout.write(text)
        return
    with atomic_write(Path(output)) as file:
        file.write(text.encode())


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
