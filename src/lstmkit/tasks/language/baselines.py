"""What a language model must beat: how frequent tokens are, and what mostly follows what."""

from __future__ import annotations

import numpy as np

from lstmkit.tasks.language.kneser_ney import MOST, NGram

BASELINES = {"unigram": 1, "bigram": 2, "kneser_ney_5": 5}  # the order of each


def scores(
    train: np.ndarray,
    test: np.ndarray,
    size: int,
    start: int,
    boundary: int | None = None,
    most: int = MOST,
) -> dict[str, np.ndarray]:
    """Natural log-probabilities (m,) of every token of the test by each baseline.

    The unigram has one added to each count; the others are interpolated modified Kneser-Ney.

    Args:
        train: tokens (n,) to learn from, of which the last `most` are. test: tokens (m,) to score.
        size: symbols of the vocabulary.
        start: the token before the first one of the test.
        boundary: the token that ends a sentence, which no context reaches beyond; None: contexts
            cross line ends.

    Raises:
        UserError: nothing to learn from, or a token outside the vocabulary.
    """
    found = {}
    for name, order in BASELINES.items():
        model = NGram(train, size, order, boundary=boundary, most=most)
        found[name] = model.log_probs(test, start)
    return found
