"""Commands that ask a model: the options of every task's answers, and which of them a model has."""

from __future__ import annotations

from typing import Any

import click

from lstmkit.cli.train import declare
from lstmkit.errors import UserError
from lstmkit.tasks import catalog
from lstmkit.tasks.estimator import Estimator, Option, check_values

ANSWERING, EVALUATING, STREAMING = "ANSWERING", "EVALUATING", "STREAMING"


class AskCommand(click.Command):
    """A command with the options that some task has under `asked`, one of the names above."""

    asked: str

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Those of the command, and after them each task's."""
        return [*super().get_params(ctx), *map(declare, options(self.asked).values())]


def asking(name: str) -> type[AskCommand]:
    """The class of a command that asks what is under `name`."""
    return type("AskCommand", (AskCommand,), {"asked": name})


def options(asked: str) -> dict[str, Option]:
    """What can be asked of the models of some task, by name."""
    estimators = map(catalog.resolve, catalog.names())
    return {option.name: option for e in estimators for option in getattr(e, asked)}


def understood(estimator: Estimator, asked: str, given: dict[str, Any]) -> dict[str, Any]:
    """The options that were given.

    Raises:
        UserError: one that this model's task has not, or of an impossible value.
    """
    given = {name: value for name, value in given.items() if value is not None}
    offered: tuple[Option, ...] = getattr(estimator, asked)
    known = [option.name for option in offered]
    for name in given:
        if name not in known:
            raise UserError(
                f"a model of {estimator.TASK} is not asked by --{name.replace('_', '-')}",
                expected=" ".join(f"--{n.replace('_', '-')}" for n in known) or "no such option",
            )
    check_values(offered, given)
    return given
