"""What a user asks of the columns beside the target, checked against the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lstmkit.errors import UserError
from lstmkit.readers import covariates, holidays
from lstmkit.readers.columns import name_list, require_column
from lstmkit.readers.covariates import ROLES, Covariate

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Wish:
    """What was asked of the columns beside the target.

    Attributes:
        columns: columns of the table and their roles, known ones first, static ones last.
        categorical: those to take as categories although they hold numbers.
        country: whose holidays are generated.
        events: whether rows are events, and the time between them is generated.
        trained: the covariates of a model, which are to be used as they are.
    """

    columns: Mapping[str, str]
    categorical: tuple[str, ...] = ()
    country: str | None = None
    events: bool = False
    trained: tuple[Covariate, ...] | None = None

    def named(self, *roles: str) -> list[str]:
        """The columns of these roles."""
        return [name for name, role in self.columns.items() if role in roles]

    def holiday(self) -> bool:
        """Whether a column of holidays is generated."""
        if self.trained is None:
            return self.country is not None
        return self.country is not None and any(c.name == holidays.COLUMN for c in self.trained)

    def any(self) -> bool:
        """Whether anything was asked."""
        return bool(self.columns) or self.holiday() or self.events

    def gap(self) -> str | None:
        """The name of the generated gaps, which no column of the user has; None without them."""
        if self.trained is not None:
            return next((c.name for c in self.trained if c.scale is not None), None)
        if not self.events:
            return None
        return "gap" if "gap" not in self.columns else "gap_"

    def dynamic(self) -> list[str]:
        """The names of all dynamic covariates in their order, generated ones too."""
        if self.trained is not None:
            return [c.name for c in covariates.dynamic(self.trained)]
        made = [holidays.COLUMN] if self.holiday() else []
        return [*self.named("known"), *self.named("past"), *made, *filter(None, [self.gap()])]

    def as_trained(self, name: str) -> Covariate | None:
        """What a model knows of a column; None where there is no model yet."""
        return next((c for c in self.trained or () if c.name == name), None)


def wish(
    frame: pl.DataFrame,
    roles: Mapping[str, str | list[str] | None],
    categorical: str | list[str] | None,
    country: str | None,
    events: bool,
    trained: Sequence[Covariate] | None,
) -> Wish:
    """What was asked, checked against the columns of the table.

    Args:
        roles: `known`, `past`, `static`, and under `id`, `time`, `target` what is no covariate.

    Raises:
        UserError: a column is missing, has two roles, or bears the name of a generated one.
    """
    if trained is not None:
        return _as_trained(frame, tuple(trained), country, events)
    found = {role: name_list(frame, roles[role]) for role in ROLES}
    names = [name for role in ROLES for name in found[role]]
    for name in names:
        require_column(frame, name)
    taken = {name: key for key in ("id", "time", "target") for name in name_list(frame, roles[key])}
    _check_names(found, taken, country)
    marked = tuple(name_list(frame, categorical))
    for name in marked:
        require_column(frame, name)
        if name not in names:
            raise UserError(
                f"column {name!r} is said to be categorical, but not what it tells",
                hint=f"--known {name}, --past {name} or --static {name}",
            )
    columns = {name: role for role in ROLES for name in found[role]}
    return Wish(columns, marked, country, events)


def _check_names(
    found: Mapping[str, list[str]], taken: Mapping[str, str], country: str | None
) -> None:
    if country is not None:
        taken = {**taken, holidays.COLUMN: "the column that --holidays generates"}
    for role in ROLES:
        for name in found[role]:
            if name in taken:
                raise UserError(
                    f"column {name!r} is {role} and also {taken[name]}",
                    expected="one role a column",
                    hint="rename the column" if name == holidays.COLUMN else f"--{role} NAME",
                )
            taken = {**taken, name: role}


def _as_trained(
    frame: pl.DataFrame, trained: tuple[Covariate, ...], country: str | None, events: bool
) -> Wish:
    given = [c for c in trained if c.scale is None]
    if country is not None:
        given = [c for c in given if c.name != holidays.COLUMN]
    for covariate in given:
        require_column(frame, covariate.name)
    return Wish({c.name: c.role for c in given}, (), country, events, trained)
