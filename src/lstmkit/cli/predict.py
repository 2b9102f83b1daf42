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


@click.command()
@click.argument("model")
@click.argument("data", nargs=-1, required=True, metavar="DATA...")
@click.option(
    "-o",
    "--output",
    default=checks.STREAM,
    metavar="FILE",
    help="A .csv or .parquet file; - is standard output, the default.",
)
@click.option("--plot", metavar="FILE", help="Also draw the answers: .png, .svg, .pdf or .jpg.")
@shared
def predict(
    model: str,
    data: tuple[str, ...],
    output: str,
    plot: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write the answers of MODEL for DATA to FILE."""
    console = Console(quiet)
    checks.readable(model)
    source = checks.inputs(data)
    if output != checks.STREAM:
        checks.output(output, [model, *data], checks.TABLES)
    if plot:
        checks.output(plot, [model, *data], checks.PICTURES)
    from lstmkit.tasks.estimator import load

    answer(load(model), source, output, plot, as_json, console)


def answer(
    estimator: Any,
    source: str | list[str],
    output: str,
    plot: str | None,
    as_json: bool,
    console: Console,
) -> None:
    """Predict, write the table, draw."""
    from lstmkit.readers.tables import write_table

    with twice(source) as data:
        frame = estimator.predict(data)
        figure = estimator.plot(data, frame) if plot else None
    if as_json and output == checks.STREAM:
        console.json({"columns": frame.columns, "rows": [list(row) for row in frame.rows()]})
    else:
        write_table(frame, output)
    if plot and figure is not None:
        from lstmkit.style import save

        save(figure, plot)
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
