"""Lines whose last word repeats the first."""

from __future__ import annotations

import numpy as np

WORDS = ("alpha", "beta", "gamma", "delta", "no", "yes")


def verses(lines: int, seed: int) -> str:
    """Lines whose last word repeats the first: memory pays."""
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(lines):
        first, *middle = draw.choice(WORDS, 4)
        found.append(" ".join([first, *middle, first]))
    return "\n".join(found) + "\n"
