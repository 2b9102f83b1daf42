"""A text as streams that are read side by side, in pieces whose length varies.

The text is cut into B streams of equal length; the state of each goes on from piece to piece, and
gradients reach back to the beginning of the piece (truncated back-propagation). Were the cuts the
same in each epoch, some tokens would never see far back: their places are drawn anew, each piece
about as long as AWD-LSTM's (Merity et al. 2017, 4.1).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lstmkit.training import Share

if TYPE_CHECKING:
    from lstmkit.tasks.language.network import LanguageNetwork, State

SHORT = 0.05  # how often a piece is half as long
SPREAD = 5.0  # standard deviation of a piece's length, in tokens
FEWEST = 5  # tokens of a piece, before its length is fitted
SHORTEST_STREAM = 40  # pieces that a stream has at least; shorter texts are read in fewer streams


class Batch(NamedTuple):
    """Tokens and what follows each, (T, B) int64.

    Attributes:
        fresh: whether the streams begin here.
        share: of the usual length of a piece: so much of the learning rate is right for it.
    """

    tokens: Tensor
    targets: Tensor
    fresh: bool
    share: float


class Corpus:
    """The tokens of a training text.

    Args:
        tokens: (N,) whole numbers, possibly a memory map.
        start: the token before the first.
        batch_size: B, streams; fewer where the text is short.
        bptt: tokens of a piece, on average.
    """

    def __init__(self, tokens: np.ndarray, start: int, batch_size: int, bptt: int) -> None:
        self.tokens, self.start, self.bptt = tokens, start, bptt
        self.streams = max(1, min(batch_size, len(tokens) // (SHORTEST_STREAM * bptt)))
        self.length = len(tokens) // self.streams

    @property
    def pieces(self) -> int:
        """Pieces of an epoch."""
        return max(1, round(self.length / self.bptt))

    def cuts(self, seed: int, epoch: int) -> np.ndarray:
        """Where the pieces of an epoch begin and end, (pieces + 1,)."""
        rng = np.random.default_rng((seed, epoch))
        usual = np.where(rng.random(self.pieces) < SHORT, self.bptt / 2, self.bptt)
        lengths = np.maximum(rng.normal(usual, min(SPREAD, self.bptt / 4)), FEWEST)
        ends = np.cumsum(lengths) / lengths.sum() * self.length
        found: np.ndarray = np.unique(np.concatenate([[0], np.round(ends)]).astype(np.int64))
        return found

    def batches(self, seed: int, epoch: int, share: Share) -> Iterator[Batch]:
        """The pieces of an epoch in turn; of several processes each reads its own streams."""
        own = np.arange(self.streams)[share.rank :: share.world] * self.length
        cuts = self.cuts(seed, epoch)
        for first, last in itertools.pairwise(cuts):
            places = own + np.arange(first, last)[:, None]
            targets = torch.from_numpy(self.tokens[places].astype(np.int64))
            before = self.tokens[np.maximum(places - 1, 0)].astype(np.int64)
            before[places == 0] = self.start
            part = (last - first) / self.bptt
            yield Batch(torch.from_numpy(before), targets, first == 0, float(part))


class Carried:
    """The state of the streams from step to step of the training.

    A part of the checkpoint, so that a run that goes on reads on.
    """

    def __init__(self, network: LanguageNetwork) -> None:
        self.network = network
        self.state: State = []

    def before(self, batch: Batch) -> State:
        """The state that a batch begins with."""
        B = batch.tokens.shape[1]
        return self.network.begin(B) if batch.fresh or not self.state else self.state

    def after(self, state: State) -> None:
        """Keep a state; gradients end here."""
        self.state = [(h.detach(), c.detach()) for h, c in state]

    def state_dict(self) -> dict[str, Tensor]:
        """Copies, as {"h0", "c0", ...}."""
        names = {"h": 0, "c": 1}
        each = enumerate(self.state)
        return {f"{n}{k}": pair[j].clone() for k, pair in each for n, j in names.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state_dict`."""
        like = self.network.embedding.weight
        layers = range(len(state) // 2)
        self.state = [(state[f"h{k}"].to(like), state[f"c{k}"].to(like)) for k in layers]
