"""Averages of the weights over the steps (Polyak & Juditsky 1992).

Exponential: noise of the last steps averages out, which is worth a slower end of the schedule or a
small ensemble. Early on the average is short, so that the initial weights are soon forgotten.
Triggered: the plain average of all weights since the score stopped falling (Merity et al. 2017).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

WARM_UP = 10  # after n steps at most (1 + n) / (WARM_UP + n) of the average is kept


class Average:
    """What a module's weights were on average; without `decay` and `trigger`, what they are.

    Attributes:
        weights: by name, empty where nothing is averaged (yet); whatever is no floating-point
            number is not in it.
        began: the step after which the triggered average begins; None before.
    """

    def __init__(self, module: nn.Module, decay: float | None, trigger: int | None = None) -> None:
        self.module, self.decay, self.trigger = module, decay, trigger
        self.began: int | None = None
        self.weights: dict[str, Tensor] = self._own() if decay is not None else {}

    def _own(self) -> dict[str, Tensor]:
        state = self.module.state_dict()
        return {n: w.clone() for n, w in state.items() if w.is_floating_point()}

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """After optimizer step number `steps`, counted from 1."""
        if self.decay is not None:
            new = 1 - min(self.decay, (1 + steps) / (WARM_UP + steps))
        elif self.began is not None:
            new = 1 / (steps - self.began)
        else:
            return
        state = self.module.state_dict()
        if not self.weights:
            self.weights = self._own()
        for name, average in self.weights.items():
            average.lerp_(state[name], new)

    def watch(self, scores: Sequence[float], steps: int) -> None:
        """Begin the triggered average after so many steps, if the scores so far say so."""
        n = self.trigger
        if n is None or self.began is not None or len(scores) <= n:
            return
        if scores[-1] > min(scores[:-n]):
            self.began = steps

    @contextmanager
    def worn(self) -> Iterator[None]:
        """Inside, the module has the averaged weights."""
        own = {name: self.module.state_dict()[name].clone() for name in self.weights}
        self.settle()
        try:
            yield
        finally:
            self.module.load_state_dict(own, strict=False)

    def settle(self) -> None:
        """Give the module the averaged weights for good."""
        self.module.load_state_dict(self.weights, strict=False)

    def restore(self, weights: dict[str, Tensor], began: int | None) -> None:
        """Go on from a checkpoint's average."""
        self.began = began
        if began is not None and weights:
            self.weights = self._own()
        for name, average in self.weights.items():
            average.copy_(weights[name])
