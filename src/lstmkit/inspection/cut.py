"""The cost of forgetting: the score when the state is wiped `k` steps before the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.errors import UserError
from lstmkit.inspection.entrance import (
    Entrance,
    anchors,
    entrance,
    recurrent_parts,
    watched_input,
)
from lstmkit.inspection.modules import evaluating, recurrent

if TYPE_CHECKING:
    import torch
    from torch import nn

TOLERANCE = 0.01  # of the score


@dataclass(frozen=True)
class Cut:
    """The score where only the last `kept` steps before the answer could be remembered.

    Attributes:
        kept: (K,) steps, ascending; 0 keeps none.
        score: (K,) lower is better.
        full: with the whole memory.
        metric: its name.
    """

    kept: np.ndarray
    score: np.ndarray
    full: float
    metric: str = "score"

    @property
    def needed(self) -> int:
        """The fewest steps from which on the score stays within 1 % of the whole memory's."""
        near = self.score <= self.full + TOLERANCE * abs(self.full)
        enough = np.flatnonzero(np.logical_and.accumulate(near[::-1])[::-1])
        return int(self.kept[enough[0]]) if len(enough) else int(self.kept[-1])


def cut_by_lag(
    module: nn.Module,
    *inputs: Any,
    score: Callable[[Any], float],
    anchor: Any = None,
    kept: Sequence[int] | None = None,
    metric: str = "score",
    **named: Any,
) -> Cut:
    """The score where the state is wiped so that only the last `kept` steps can be remembered.

    Every lstmkit.LSTM inside is reset before step anchor - kept + 1 of each sample, as `resets`
    does: what follows equals a run that begins there.

    Args:
        score: of the module's output, lower is better.
        anchor: (N,) or one number, as in `gradient_by_lag`.
        kept: how many steps: 1, 2, 3, 4, 6, 8, 12 ... if left out; before them 0, a reset after the
            anchor, where steps follow it.

    Raises:
        UserError: no lstmkit.LSTM is there or ran, or it was given a PackedSequence.
    """
    import torch

    if not any(not is_cell for _, _, is_cell in recurrent(module)):
        raise UserError(
            "there is no lstmkit.LSTM whose state could be wiped",
            hint="lstmkit.convert(module) turns every torch.nn.LSTM inside into lstmkit.LSTM",
        )
    with evaluating(module), torch.no_grad():
        with watched_input(recurrent_parts(module)) as seen:
            full = float(score(module(*inputs, **named)))
        x, lengths = entrance(seen)
        shape = _shape(x)
        last = anchors(anchor, lengths, shape)
        follow = bool((last + 1 < shape[0]).all())
        kept = list(kept) if kept is not None else ladder(int(last.max()) + 1, 0 if follow else 1)
        scores = []
        for k in kept:
            with _reset_before(module, last - k + 1, shape):
                scores.append(float(score(module(*inputs, **named))))
    return Cut(np.asarray(kept), np.asarray(scores), full, metric)


def ladder(most: int, least: int = 1) -> list[int]:
    """`least`, ... 1, 2, 3, 4, 6, 8, 12, 16, 24 ... and `most`."""
    steps = {0, *(2**k for k in range(32)), *(3 * 2**k for k in range(30))}
    return sorted(k for k in steps if least <= k < most) + [most]


def _shape(x: Entrance) -> tuple[int, int]:
    if x.unpack is not None:
        raise UserError(
            "the state of a packed sequence cannot be cut", hint="give lengths= instead of packing"
        )
    if x.leaf.dim() == 2:
        return x.leaf.shape[0], 1
    T, N = x.leaf.shape[:2]
    return (N, T) if x.batch_first else (T, N)


@contextmanager
def _reset_before(module: nn.Module, step: np.ndarray, shape: tuple[int, int]) -> Iterator[None]:
    """Every lstmkit.LSTM inside forgets before `step` (N,); a step outside is no reset."""
    import torch

    T, N = shape
    resets = torch.zeros(T, N, dtype=torch.bool)
    inside = (step > 0) & (step < T)
    resets[step[inside], np.flatnonzero(inside)] = True

    def before(layer: Any, args: Any, kwargs: Any) -> Any:
        given = args[0] if args else kwargs["input"]
        mine = _resets_for(layer, given, resets)
        old = kwargs.get("resets")
        return args, {**kwargs, "resets": mine if old is None else mine | old}

    layers = [layer for _, layer, is_cell in recurrent(module) if not is_cell]
    handles = [layer.register_forward_pre_hook(before, with_kwargs=True) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _resets_for(layer: Any, given: Any, resets: torch.Tensor) -> Any:
    """The resets in the layout of this layer's input; those of steps that it does not have go."""
    if given.dim() == 2:
        return resets[: len(given), 0].to(given.device)
    T = given.shape[1 if layer.batch_first else 0]
    mine = resets[:T].to(given.device)
    return mine.T if layer.batch_first else mine
