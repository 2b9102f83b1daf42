"""What all thresholds share: fitted on scores of mostly normal rows, then compared row by row."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np

from lstmkit.errors import UserError

FEWEST = 20  # scores to fit on


class Threshold:
    """A level that scores are compared with.

    A subclass sets STATE, the names of the numbers and arrays that are its state, and implements
    `_fit` and `_next`; one whose level stays as it is leaves `_next` as it is.
    """

    STATE: ClassVar[tuple[str, ...]] = ("level",)
    STEADY: ClassVar[bool] = False  # whether the level stays what it is after `fit`

    level: float

    def fit(self, scores: np.ndarray, starts: np.ndarray | None = None) -> Self:
        """Choose the level from scores (n,) of mostly normal rows; NaN is left out.

        Args:
            starts: where each series begins in them, (S,); one series if left out.

        Raises:
            UserError: fewer than FEWEST scores, or infinite ones.
        """
        scores = np.asarray(scores, np.float64)
        known = ~np.isnan(scores)
        if np.isinf(scores).any():
            raise UserError("a score is infinite", expected="finite scores, NaN where missing")
        if known.sum() < FEWEST:
            raise UserError(
                "too few scores to set a threshold by",
                got=f"{int(known.sum())} scores",
                expected=f"at least {FEWEST}",
            )
        begins = np.zeros(1, np.int64) if starts is None else np.asarray(starts, np.int64)
        self._fit(scores, begins)
        return self

    def _fit(self, scores: np.ndarray, starts: np.ndarray) -> None:
        raise NotImplementedError

    def update(self, score: float) -> bool:
        """Whether a row of this score alarms; what adapts learns from it. NaN never alarms."""
        if np.isnan(score):
            self._missing()
            return False
        alarm = bool(score > self.level)
        self._next(float(score), alarm)
        return alarm

    def _next(self, score: float, alarm: bool) -> None:
        """Learn from a score that was compared."""

    def _missing(self) -> None:
        """A row without a score went by."""

    def run(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The levels (n,) that scores (n,) were compared with, and which alarm, bool (n,): as
        `update` row after row."""
        scores = np.asarray(scores, np.float64)
        if self.STEADY:
            return np.full(len(scores), self.level), scores > self.level
        levels, alarms = np.empty(len(scores)), np.zeros(len(scores), bool)
        for k, score in enumerate(scores.tolist()):
            levels[k] = self.level
            alarms[k] = self.update(score)
        return levels, alarms

    def save(self) -> dict[str, np.ndarray]:
        """The state as plain arrays, for `restore`."""
        return {name: np.array(getattr(self, name)) for name in self.STATE}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go on from a `save` of a threshold with the same options."""
        for name in self.STATE:
            array = np.array(state[name])
            setattr(self, name, array.item() if array.ndim == 0 else array)


def share(name: str, value: float) -> float:
    """`value`, a share between 0 and 1.

    Raises:
        UserError: it is none.
    """
    if not 0 < value < 1:
        raise UserError(
            f"{name} is a share of the rows", got=f"{value:g}", expected="above 0, below 1"
        )
    return float(value)
