"""Forecasting many series: block by block, in this process or in several.

A block is a few hundred series with the rows that their forecasts need. It is the unit of memory,
of work, and of randomness: answers do not depend on the number of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lstmkit.tasks.forecast import ahead
from lstmkit.tasks.forecast.scoring import Selection

if TYPE_CHECKING:
    from lstmkit.tasks.forecast.data import Corpus
    from lstmkit.tasks.forecast.scoring import Model

SERIES = 256  # of a block


class Question(NamedTuple):
    """What is asked about each series.

    Attributes:
        model, copula: with what to answer.
        horizon: steps ahead.
        samples: paths (N, samples, horizon) instead of quantiles (N, horizon, Q), where given.
        seed: of the paths.
    """

    model: Model
    copula: np.ndarray
    horizon: int
    samples: int | None = None
    seed: int = 0

    def answer(self, corpus: Corpus, number: int) -> np.ndarray:
        """The answers to block `number`, for the rows after the end of each of its series."""
        chosen = Selection(np.arange(len(corpus)), corpus.lengths, heldout=False)
        seed = self.seed + number
        if self.samples is None:
            return ahead.quantiles(self.model, corpus, chosen, self.copula, self.horizon, seed)
        given = (self.copula, self.horizon, self.samples, seed)
        return ahead.sample(self.model, corpus, chosen, *given)


def ask(question: Question, corpus: Corpus, processes: int = 1) -> np.ndarray:
    """The answers for all series of a corpus.

    Args:
        processes: so many at once. They are started afresh, so a script that asks for several has
            to keep its own work under `if __name__ == "__main__":`.
    """
    blocks = enumerate(_cut(corpus))
    if processes == 1 or len(corpus) <= SERIES:
        return np.concatenate([question.answer(block, number) for number, block in blocks])
    with ProcessPoolExecutor(processes, get_context("spawn"), _take, (question,)) as pool:
        return np.concatenate(list(pool.map(_answer, blocks)))


def _cut(corpus: Corpus) -> Iterator[Corpus]:
    """Blocks of series; of a windowed model's only the rows that a window holds."""
    rows = corpus.shape.lookback if corpus.shape.kind == "windowed" else None
    for first in range(0, len(corpus), SERIES):
        yield corpus.part(np.arange(first, min(first + SERIES, len(corpus))), rows)


_answering: Callable[[Any, int], np.ndarray]


def _take(question: Question) -> None:
    """Keep the question in a process that was started for it."""
    global _answering
    _answering = question.answer


def _answer(block: tuple[int, Corpus]) -> np.ndarray:
    number, corpus = block
    return _answering(corpus, number)
