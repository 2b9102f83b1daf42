"""`lstmkit`: the verbs, found without importing any of them."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

import lstmkit
from lstmkit.cli import failures
from lstmkit.cli.console import Invocation, close_stdout

# verb -> (module:command, the line of --help)
VERBS = {
    "train": ("lstmkit.cli.train:train", "Train a model on your data, and say how good it is."),
    "evaluate": ("lstmkit.cli.evaluate:evaluate", "Score a model on what it has not seen."),
    "predict": ("lstmkit.cli.predict:predict", "Write a model's answers to a file."),
    "stream": ("lstmkit.cli.stream:stream", "Answer rows as they arrive, without PyTorch."),
    "inspect": ("lstmkit.cli.inspect:inspect", "Look inside: gates, memory horizon, health."),
    "export": ("lstmkit.cli.export:export", "Write a model as ONNX, as C, or in fewer bits."),
    "bench": ("lstmkit.cli.bench:bench", "Time lstmkit on this machine, beside others."),
    "info": ("lstmkit.cli.info:info", "Describe a model file, or this installation."),
    "demo": ("lstmkit.cli.demo:demo", "Run a task on real data that comes with lstmkit."),
}
EPILOG = """\b
Examples:
  lstmkit demo
  lstmkit train forecast sales.csv --horizon 28 -o sales.safetensors
  lstmkit evaluate sales.safetensors sales.csv
  lstmkit predict sales.safetensors sales.csv -o forecast.csv --plot forecast.png
  tail -f sales.csv | lstmkit stream sales.safetensors --state sales.state
  lstmkit export sales.safetensors -o sales.onnx

\b
Exit codes: 0 fine, 2 bad input or usage, 130 Ctrl-C, 141 closed pipe, 1 a defect of lstmkit.
"""


class House(click.Group):
    """The group of verbs: each imported when used, every failure turned into words."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order in which people need them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb."""
        if cmd_name not in VERBS:
            return None
        module, _, name = VERBS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with the nearest verb named where none matches."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            ctx.fail(f"no command {args[0]!r}{nearest(args[0], VERBS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs with their lines, importing none."""
        with formatter.section("Commands"):
            formatter.write_dl([(verb, line) for verb, (_, line) in VERBS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; a reader that closed the pipe is no error to talk about."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            close_stdout()
            ctx.exit(failures.BROKEN_PIPE)
        return result

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run a command line and exit with its code."""
        extra.setdefault("obj", Invocation(sys.argv[1:] if args is None else list(args)))
        extra["standalone_mode"] = False
        try:
            code = super().main(args, prog_name or "lstmkit", **extra)
        except (Exception, KeyboardInterrupt) as error:
            code = failures.report(error)
        sys.exit(code if isinstance(code, int) else 0)


def nearest(word: str, words: Any) -> str:
    """`; did you mean 'train'?`, or all words where none is near."""
    found = difflib.get_close_matches(word, list(words), n=1)
    return f"; did you mean {found[0]!r}?" if found else f"; there is {', '.join(words)}"


@click.group(
    "lstmkit",
    cls=House,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(lstmkit.__version__, message="lstmkit %(version)s")
def cli() -> None:
    """Put a Long Short-Term Memory network to work: from a file to a trained, evaluated model."""


def main() -> NoReturn:
    """The console script."""
    cli.main()
