"""Columns beside the target: what is known of the future, of the past only, and of whole series."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lstmkit.errors import UserError
from lstmkit.readers import lines

ROLES = ("known", "past", "static")
NO_CATEGORY = frozenset({"", "nan", "null"})
TRUTH = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True)
class Covariate:
    """A column and how it becomes numbers.

    Attributes:
        name: the user's column, or what was generated (`holiday`, `gap`).
        role: `known` in the past and the future, `past`, or `static`: one value a series.
        categories: None for numbers; otherwise codes 1..K in this order, 0 where missing or new.
        scale: of a generated gap, the median gap in seconds.
    """

    name: str
    role: str
    categories: tuple[str, ...] | None = None
    scale: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        categories = None if self.categories is None else list(self.categories)
        return {
            "name": self.name,
            "role": self.role,
            "categories": categories,
            "scale": self.scale,
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Covariate:
        """The inverse of to_json."""
        found = stored["categories"]
        return cls(
            stored["name"],
            stored["role"],
            None if found is None else tuple(found),
            stored.get("scale"),
        )

    @property
    def blank(self) -> float:
        """What stands where nothing is known: NaN, of categories 0."""
        return float("nan") if self.categories is None else 0.0

    def code(self, cell: Any) -> float:
        """One cell as a number, NaN where missing, or as the code of its category.

        Raises:
            UserError: it is no number, or infinite.
        """
        if self.categories is not None:
            return float(self._codes.get(category(cell), 0))
        truth = TRUTH.get(str(cell).strip().lower())
        number = lines.number(cell, self.name) if truth is None else truth
        if np.isinf(number):
            raise UserError(f"column {self.name!r} is infinite", got=repr(cell)[:80])
        return number

    def codes(self, cells: Iterable[Any]) -> list[float]:
        """`code` of each of many cells."""
        return [self.code(cell) for cell in cells]

    @cached_property
    def _codes(self) -> dict[str, int]:
        return {name: k for k, name in enumerate(self.categories or (), 1)}


def category(cell: Any) -> str:
    """A cell as the name of a category, empty where missing; `1.0` is `1`, `True` is `true`."""
    text = "" if cell is None else str(cell).strip()
    lowered = text.lower()
    if lowered in NO_CATEGORY:
        return ""
    if lowered in TRUTH:
        return lowered
    return text.partition(".")[0] if re.fullmatch(r"[+-]?\d+\.0+", text) else text


def dynamic(covariates: Sequence[Covariate]) -> list[Covariate]:
    """Those that change from row to row, known and past, in order."""
    return [c for c in covariates if c.role != "static"]


def static(covariates: Sequence[Covariate]) -> list[Covariate]:
    """Those of whole series, in order."""
    return [c for c in covariates if c.role == "static"]
