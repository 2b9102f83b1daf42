"""`lstmkit train TASK DATA... -o MODEL`."""

from __future__ import annotations

import functools
import glob
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from lstmkit.cli import checks
from lstmkit.cli.console import Console, Invocation, plain, shared
from lstmkit.cli.failures import INTERRUPTED
from lstmkit.cli.main import nearest
from lstmkit.errors import Interrupted, UserError
from lstmkit.tasks import catalog
from lstmkit.tasks.estimator import Option
from lstmkit.training.processes import share

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


class TaskCommand(click.Command):
    """`lstmkit train TASK`, its options in sections."""

    sections: dict[str, list[str]]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """A section a group; options of no group come first."""
        grouped = {name for names in self.sections.values() for name in names}
        params = [p for p in self.get_params(ctx) if isinstance(p, click.Option)]
        own = [p.name for p in params if p.name not in grouped]
        for title, names in {"options": own, **self.sections}.items():
            chosen = [p for p in params if p.name in names]
            records = [r for p in chosen if (r := p.get_help_record(ctx)) is not None]
            with formatter.section(title.capitalize()):
                formatter.write_dl(records)


def build(task: str) -> click.Command:
    """`lstmkit train TASK`: DATA, -o, --resume, --from, and what its estimator declares."""
    estimator = catalog.resolve(task)
    data = click.Argument(["data"], nargs=-1, required=True, metavar="DATA...")
    about = (estimator.__doc__ or task).split("\n\n")
    command = TaskCommand(
        task,
        params=[data, *general_options(), *map(declare, estimator.OPTIONS)],
        callback=functools.partial(run, task),
        help="\n\n".join(about[:2]),
        short_help=about[0],
        epilog="DATA are files of one kind, or - for standard input. In several processes, on one "
        "machine or many: torchrun --nproc-per-node 2 -m lstmkit train " + task + " ...",
    )
    command.sections = {}
    for option in estimator.OPTIONS:
        command.sections.setdefault(option.group, []).append(option.name)
    return shared(command)


def general_options() -> list[click.Option]:
    """What `train` itself needs."""
    return [
        click.Option(["-o", "--output"], required=True, metavar="MODEL", help="The model file."),
        click.Option(["--resume"], is_flag=True, help="Go on where Ctrl-C or a crash stopped."),
        click.Option(
            ["--from", "warm_start"], metavar="MODEL", help="Start from the weights of a model."
        ),
        click.Option(
            ["--watch"],
            is_flag=True,
            help="Log gate statistics to TensorBoard, in --log-dir or MODEL.logs.",
        ),
    ]


def declare(option: Option) -> click.Option:
    """One of an estimator's options as click's; None where it is left out."""
    flag = f"--{option.name.replace('_', '-')}"
    preset = option.default if isinstance(option.default, str | int | float) else None
    default = "" if preset is None or option.type is bool else f" [default: {preset}]"
    about = option.help + default
    if option.type is bool:
        return click.Option([f"{flag}/--no-{flag[2:]}"], default=None, help=about)
    kind: Any = click.Choice(option.choices) if option.choices else option.type
    return click.Option([flag], type=kind, metavar=option.metavar, help=about)


def run(
    task: str,
    data: tuple[str, ...],
    output: str,
    resume: bool,
    warm_start: str | None,
    watch: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Check, fit, save, and say how good the model is and what to do next.

    Of several processes that train together the first one talks and writes.
    """
    speaks = share().speaks
    console = Console(quiet or not speaks)
    checkpoint = Path(output + CHECKPOINT)
    folders = catalog.resolve(task).TEXT
    source = check(data, output, checkpoint, resume, warm_start, folders)
    given = {name: value for name, value in options.items() if value is not None}
    callbacks = [watcher(given, output)] if watch else []
    model = catalog.resolve(task)(**given)
    fit(model, source, checkpoint, resume, warm_start, callbacks, console)
    if not speaks:
        return
    model.save(output)
    for left in checkpoint.parent.glob(glob.escape(checkpoint.name) + "*"):
        left.unlink(missing_ok=True)
    finish(model, data, output, as_json, console)


def check(
    data: tuple[str, ...],
    output: str,
    checkpoint: Path,
    resume: bool,
    warm_start: str | None,
    folders: bool,
) -> str | list[str]:
    """Everything that can be known to fail before the work begins."""
    source = checks.inputs(data, folders=folders)
    if source == checks.STREAM and not share().alone:
        raise UserError(
            "several processes cannot share standard input (-)", hint="give them the file itself"
        )
    checks.model_output(output, data)
    if warm_start:
        checks.readable(warm_start)
    if resume and share().speaks and not checkpoint.exists():
        raise UserError(
            f"nothing to resume: there is no {checkpoint}",
            hint="leave out --resume, or name the -o of the run that was interrupted",
        )
    return source


def watcher(given: dict[str, Any], output: str) -> Any:
    """The callback of --watch; logs go beside the model where --log-dir does not say otherwise."""
    from lstmkit.inspection.watch import Watch

    given.setdefault("log_dir", output + ".logs")
    return Watch()


def fit(
    model: Any,
    source: str | list[str],
    checkpoint: Path,
    resume: bool,
    warm_start: str | None,
    callbacks: list[Any],
    console: Console,
) -> None:
    """Fit under a progress display; Ctrl-C says, once, which command goes on."""
    from lstmkit.training.progress import RichProgress

    left = checkpoint if checkpoint.exists() and not resume else None
    try:
        model.fit(
            source,
            callbacks=[Notes(model, console, left), RichProgress(quiet=console.quiet), *callbacks],
            checkpoint=checkpoint,
            resume=resume,
            warm_start=warm_start,
        )
    except KeyboardInterrupt as stop:
        if not share().speaks:
            raise SystemExit(INTERRUPTED) from stop
        if not checkpoint.exists():
            raise
        typed: Invocation = click.get_current_context().find_root().obj
        raise Interrupted(f"to go on: {typed.again('--resume')}") from stop


class Notes:
    """A training callback that says, before the first step, what was inferred from the data.

    Args:
        model: the estimator whose notes these are.
        console: who says them.
        left: the checkpoint of an earlier run that nobody asked to go on from.
    """

    def __init__(self, model: Any, console: Console, left: Path | None = None) -> None:
        self.model, self.console, self.left, self.said = model, console, left, False

    def on_start(self, plan: Any, description: str = "") -> None:
        """Said once, though a task may train twice."""
        if self.said:
            return
        self.said = True
        if self.left and plan.resume:
            self.console.note(f"started again by torchrun; going on from {self.left}")
        elif self.left:
            self.console.note(
                f"an interrupted run left {self.left}; starting anew (--resume goes on)"
            )
        for note in self.model.notes_:
            self.console.note(note)


def finish(model: Any, data: tuple[str, ...], output: str, as_json: bool, console: Console) -> None:
    """The held-out report, where the model is, and the next command."""
    if as_json:
        console.json({"saved": output, **plain(model.report_.to_dict())})
    else:
        said = [] if console.quiet else model.notes_
        new = [note for note in model.report_.notes if note not in said]
        console.data(str(replace(model.report_, notes=new)))
    files = " ".join(data)
    console.say(f"\nmodel: {output}")
    if model.TEXT:
        console.say(f'next:  lstmkit predict {output} --prompt "..." --temperature 0.8')
        return
    name = "alerts" if model.ALERTS else "forecast"
    console.say(f"next:  lstmkit predict {output} {files} -o {name}.csv --plot {name}.html")
