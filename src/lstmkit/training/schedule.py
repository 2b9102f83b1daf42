"""Learning-rate schedules: a factor of the peak rate, from how much of the run is over.

Over a fraction and not over steps, so that one function serves runs given in epochs and in minutes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

WARM_UP = 0.3  # share of the run; with FIRST and LAST the customary figures of the one-cycle policy
FIRST = 1 / 25
LAST = 1e-4 / 25


def one_cycle(fraction: float) -> float:
    """Up from 1/25 to 1, then down to almost nothing, both along half a cosine.

    Smith & Topin, "Super-Convergence" (2019), with cosine annealing in place of straight lines and
    a constant momentum.
    """
    if fraction < WARM_UP:
        return _between(FIRST, 1.0, fraction / WARM_UP)
    return _between(1.0, LAST, (fraction - WARM_UP) / (1 - WARM_UP))


def cosine(fraction: float) -> float:
    """From 1 down to 0 along half a cosine: Loshchilov & Hutter, "SGDR" (2017), no restarts."""
    return _between(1.0, 0.0, fraction)


def constant(fraction: float) -> float:
    """1 throughout."""
    return 1.0


def _between(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


SCHEDULES: dict[str, Callable[[float], float]] = {
    "one_cycle": one_cycle,
    "cosine": cosine,
    "constant": constant,
}
