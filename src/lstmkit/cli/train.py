"""`lstmkit train TASK DATA... -o MODEL`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import click

from lstmkit.cli import checks
from lstmkit.cli.console import Console, Invocation, plain, shared
from lstmkit.cli.main import nearest
from lstmkit.errors import Interrupted, UserError
from lstmkit.tasks import catalog

CHECKPOINT = ".checkpoint"


class Tasks(click.Group):
    """One subcommand a task, built from the options that its estimator declares."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The tasks of the catalog."""
        return list(catalog.names())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of one task; imports its estimator, not torch."""
        return build(cmd_name) if cmd_name in catalog.names() else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with the nearest task named where none matches."""
        if args and args[0] not in catalog.names() and not args[0].startswith("-"):
            ctx.fail(f"no task {args[0]!r}{nearest(args[0], catalog.names())}")
        return super().resolve_command(ctx, args)


@click.group(cls=Tasks, subcommand_metavar="TASK DATA... -o MODEL")
def train() -> None:
    """Train a model of TASK on DATA, score it on rows held out, and save it."""


def build(task: str) -> click.Command:
    """`lstmkit train TASK`: DATA, -o, what all tasks share, and the task's own options."""
    estimator = catalog.resolve(task)
    common = shared_options()
    taken = {option.name for option in common}
    own = [declare(option) for option in estimator.OPTIONS if option.name not in taken]
    data = click.Argument(["data"], nargs=-1, required=True, metavar="DATA...")
    command = click.Command(
        task,
        params=[data, *own, *common],
        callback=functools.partial(run, task),
        help=estimator.__doc__.partition("\n\n")[0],
        short_help=estimator.__doc__.partition("\n")[0],
        epilog="DATA are files, or - for standard input.",
    )
    return shared(command)


def shared_options() -> list[click.Option]:
    """The options of every `train`."""
    positive = click.IntRange(min=1)
    minutes = click.FloatRange(min=0, min_open=True)
    return [
        click.Option(["-o", "--output"], required=True, metavar="MODEL", help="The model file."),
        click.Option(["--minutes"], type=minutes, help="Stop after so many minutes."),
        click.Option(["--epochs"], type=positive, help="Stop after so many epochs."),
        click.Option(["--seed"], type=click.IntRange(min=0), help="Same seed, same model."),
        click.Option(
            ["--size"],
            type=click.Choice(["tiny", "small", "medium", "large"]),
            help="How large a network.",
        ),
        click.Option(["--device"], type=click.Choice(["auto", "cpu", "cuda"]), help="Where."),
        click.Option(["--threads"], type=positive, help="CPU threads."),
        click.Option(["--resume"], is_flag=True, help="Go on where Ctrl-C or a crash stopped."),
        click.Option(
            ["--from", "warm_start"], metavar="MODEL", help="Start from the weights of a model."
        ),
    ]


def declare(option: Any) -> click.Option:
    """One of an estimator's options as click's."""
    flag = f"--{option.name.replace('_', '-')}"
    if option.type is bool:
        return click.Option([f"{flag}/--no-{flag[2:]}"], default=None, help=option.help)
    kind = click.Choice(list(option.choices)) if option.choices else option.type
    return click.Option([flag], type=kind, metavar=option.metavar, help=option.help)


def run(
    task: str,
    data: tuple[str, ...],
    output: str,
    resume: bool,
    warm_start: str | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Check, fit, save, and say how good the model is and what to do next."""
    console = Console(quiet)
    checkpoint = Path(output + CHECKPOINT)
    source = check(data, output, checkpoint, resume, warm_start, console)
    given = {name: value for name, value in options.items() if value is not None}
    model = catalog.resolve(task)(**given)
    fit(model, source, checkpoint, resume, warm_start, console)
    model.save(output)
    checkpoint.unlink(missing_ok=True)
    finish(model, data, output, as_json, console)


def check(
    data: tuple[str, ...],
    output: str,
    checkpoint: Path,
    resume: bool,
    warm_start: str | None,
    console: Console,
) -> str | list[str]:
    """Everything that can be known to fail before the work begins."""
    source = checks.inputs(data)
    checks.model_output(output, data)
    if warm_start:
        checks.readable(warm_start)
    if resume and not checkpoint.exists():
        raise UserError(
            f"nothing to resume: there is no {checkpoint}",
            hint="leave out --resume, or name the -o of the run that was interrupted",
        )
    if checkpoint.exists() and not resume:
        console.note(f"an interrupted run left {checkpoint}; starting anew (--resume goes on)")
    return source


def fit(
    model: Any,
    source: str | list[str],
    checkpoint: Path,
    resume: bool,
    warm_start: str | None,
    console: Console,
) -> None:
    """Fit under a progress display; Ctrl-C says which command goes on."""
    from lstmkit.training.progress import RichProgress

    try:
        model.fit(
            source,
            callbacks=[RichProgress(quiet=console.quiet)],
            checkpoint=checkpoint,
            resume=resume,
            warm_start=warm_start,
        )
    except KeyboardInterrupt as stop:
        if not checkpoint.exists():
            raise
        typed: Invocation = click.get_current_context().find_root().obj
        raise Interrupted(f"to go on: {typed.again('--resume')}") from stop


def finish(
    model: Any, data: tuple[str, ...], output: str, as_json: bool, console: Console
) -> None:
    """The held-out report, where the model is, and the next command."""
    if as_json:
        console.json({"saved": output, **plain(model.report_.to_dict())})
    else:
        console.data(str(model.report_))
    files = " ".join(data)
    console.say(f"\nmodel: {output}")
    console.say(f"next:  lstmkit predict {output} {files} -o forecast.csv --plot forecast.png")
