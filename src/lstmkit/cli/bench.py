"""`lstmkit bench [NAME]`: one subcommand a bench, each with its own options and table."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lstmkit.bench import BENCHES
from lstmkit.bench.memory import MODELS
from lstmkit.cli import checks
from lstmkit.cli.console import Console, shared
from lstmkit.cli.main import nearest

DEFAULT = "runtime"


class Benches(click.Group):
    """Without a name, the bench of the runtime."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """`bench --quick` is `bench runtime --quick`."""
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with the nearest bench named where none matches."""
        if args[0] not in self.commands:
            ctx.fail(f"no bench {args[0]!r}{nearest(args[0], self.commands)}")
        return super().resolve_command(ctx, args)


@click.group(cls=Benches)
def bench() -> None:
    """Measure lstmkit on this machine: the runtime's speed (if no name is given), or its memory."""


def load(name: str) -> Callable[..., dict[str, Any]]:
    """The function behind a bench; imports it."""
    module, _, function = BENCHES[name].partition(":")
    found: Callable[..., dict[str, Any]] = getattr(importlib.import_module(module), function)
    return found


@bench.command("runtime")
@click.option("--quick", is_flag=True, help="Fewer rounds: a first impression.")
@shared
def runtime(quick: bool, as_json: bool, quiet: bool) -> None:
    """Time single steps, on one core, beside what else is installed."""
    console = Console(quiet)
    console.say("timing; other work on this machine would blur it")
    run = load("runtime")
    found = run(blocks=3) if quick else run()
    if as_json:
        console.json(found)
    else:
        console.data("\n".join([found["machine"]["cpu"], "", *table(found["rows"])]))


@bench.command("memory")
@click.option("--task", "tasks", multiple=True, metavar="NAME", help="Repeatable; all if none.")
@click.option("--model", "models", multiple=True, type=click.Choice(MODELS), help="Repeatable.")
@click.option("--seeds", type=click.IntRange(min=1), default=10, show_default=True)
@click.option("--first-seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--workers", type=click.IntRange(min=1), help="Processes; half the cores if none.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    default=3.0,
    show_default=True,
    help="A trial that has not solved its task by then gives up.",
)
@click.option("--lags", is_flag=True, help="Also success against lag: what the picture shows.")
@click.option("--plot", metavar="FILE", help="Draw that picture.")
@click.option(
    "-o",
    "--output",
    metavar="FOLDER",
    help="Keep every trial as a line of trials.jsonl; those that it holds are not run again.",
)
@click.option("--quick", is_flag=True, help="Four tasks, one seed: about a minute.")
@shared
def memory(
    tasks: tuple[str, ...],
    models: tuple[str, ...],
    seeds: int,
    first_seed: int,
    workers: int | None,
    minutes: float,
    lags: bool,
    plot: str | None,
    output: str | None,
    quick: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Long time lags: every task of Hochreiter & Schmidhuber 1997, and later ones, by their rules.

    A plain RNN, the LSTM and the LSTM with chrono initialisation learn each task from fresh
    sequences; the table has how many they needed beside the paper's number. All of it takes hours,
    most of them for the plain RNN: an interrupted run goes on where -o FOLDER ends.
    """
    console = Console(quiet)
    if plot:
        checks.output(plot, suffixes=checks.PICTURES)
    if output:
        checks.folder(Path(output))
    found = load("memory")(
        tasks,
        models or MODELS,
        seeds=seeds,
        first=first_seed,
        workers=workers,
        minutes=minutes,
        folder=Path(output) if output else None,
        quick=quick,
        lags=lags or bool(plot),
        say=console.say,
    )
    if plot:
        draw(found, plot, console)
    if as_json:
        console.json(found)
    else:
        console.data(importlib.import_module("lstmkit.bench.memory.table").text(found["rows"]))


def draw(found: dict[str, Any], path: str, console: Console) -> None:
    """Success against lag, as a picture."""
    from lstmkit.bench.memory.picture import plot_lags
    from lstmkit.style import save

    save(plot_lags(found["rows"], note=found["machine"]["cpu"]), path)
    console.say(f"success against lag: {path}")


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
