"""The exponential average of the weights over the steps (Polyak & Juditsky 1992).

Noise of the last steps averages out, which is worth a slower end of the schedule or a small
ensemble. Early on the average is short, so that the initial weights are soon forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

WARM_UP = 10  # after n steps at most (1 + n) / (WARM_UP + n) of the average is kept


class Average:
    """What a module's weights were on average; without a decay, what they are.

    Attributes:
        weights: by name, empty without a decay; whatever is no floating-point number is not in it.
    """

    def __init__(self, module: nn.Module, decay: float | None) -> None:
        self.module, self.decay = module, decay
        state = module.state_dict() if decay is not None else {}
        self.weights = {n: w.clone() for n, w in state.items() if w.is_floating_point()}

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """After optimizer step number `steps`, counted from 1."""
        if self.decay is None:
            return
        kept = min(self.decay, (1 + steps) / (WARM_UP + steps))
        state = self.module.state_dict()
        for name, average in self.weights.items():
            average.lerp_(state[name], 1 - kept)

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

    def restore(self, weights: dict[str, Tensor]) -> None:
        """Go on from a checkpoint's average."""
        for name, average in self.weights.items():
            average.copy_(weights[name])
