"""The network of a detector: what is to be expected of a host's next flow, and which attack its
flows look like.

One LSTM reads the flows of a pair of hosts, another those of a host together with what the first
has made of them. From their states before a flow the network says what the flow will be: the kind
of service, its direction, how it will end, how large it will be. From their states after it, it
says which attack this is. Single records have a state that nothing came before.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lstmkit.layers import LSTM
from lstmkit.tasks.intrusion.features import EXPECTED_NUMBERS, EXPECTED_WORDS, Geometry

NARROWEST, WIDEST = -3.0, 3.0  # log scales of the expected numbers
FARTHEST = 6.0  # scales of a number beyond which it is not told apart


class Sizes(NamedTuple):
    """Cells of the LSTM of hosts and of pairs, and width of a flow."""

    host: int
    pair: int
    flow: int


class Sequences(NamedTuple):
    """Flows of hosts side by side, in order of arrival.

    Attributes:
        numbers: (B, T, N), words: (B, T, W) into the common vocabulary.
        lengths: (B,) flows of each host.
        by_pair: (B, T) the flows ordered by pair, those of one pair in order.
        back: (B, T) the inverse of it.
        starts: (B, T) where a pair begins in that order.
    """

    numbers: Tensor
    words: Tensor
    lengths: Tensor
    by_pair: Tensor
    back: Tensor
    starts: Tensor


class Said(NamedTuple):
    """What the network says of flows: (B, T, ...).

    Attributes:
        words: log probabilities of each of EXPECTED_WORDS, before the flow.
        middle, width: of EXPECTED_NUMBERS in units of their scale; width is a logarithm.
        classes: logits of the classes, after the flow.
    """

    words: dict[str, Tensor]
    middle: Tensor
    width: Tensor
    classes: Tensor


class IntrusionNetwork(nn.Module):
    """See the module.

    Args:
        shape: what is read.
        sizes: widths.
        classes: that it tells apart, the first being benign.
        dropout: of the last hidden layer, in training.
    """

    middle: Tensor
    scale: Tensor

    def __init__(self, shape: Geometry, sizes: Sizes, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.shape, self.sizes = shape, sizes
        N, D = len(shape.numbers), sizes.flow
        self.register_buffer("middle", torch.zeros(N))
        self.register_buffer("scale", torch.ones(N))
        self.embed = nn.Embedding(max(shape.vocabulary, 1), D)
        self.read = nn.Linear(N, D)
        self.pair = LSTM(D, sizes.pair, batch_first=True)
        self.host = LSTM(D + sizes.pair, sizes.host, batch_first=True)
        states = sizes.host + sizes.pair
        self.look = nn.Linear(states + D, D)
        self.judge = nn.Linear(D, classes)
        self.drop = nn.Dropout(dropout)
        if shape.hosts:
            self._expecting(states, D)
        nn.init.normal_(self.embed.weight, std=0.3)

    def _expecting(self, states: int, D: int) -> None:
        sizes = {name: len(self.shape.words_of(name)) for name in EXPECTED_WORDS}
        self.before = nn.Linear(states, D)
        self.asked = nn.ModuleDict(
            {name: nn.Linear(D, sizes[name]) for name in EXPECTED_WORDS if name != "state"}
        )
        self.given = nn.Linear(D + D, D)  # what was asked is known when it is said how it went
        self.ended = nn.Linear(D, sizes["state"])
        self.amount = nn.Linear(D, 2 * len(EXPECTED_NUMBERS))

    def scaled(self, numbers: Tensor) -> Tensor:
        """Numbers in units of their scale, cut off far out."""
        found: Tensor = ((numbers - self.middle) / self.scale).clamp(-FARTHEST, FARTHEST)
        return found

    def flow(self, numbers: Tensor, words: Tensor) -> Tensor:
        """A flow by itself: (..., D)."""
        found: Tensor = torch.tanh(self.read(self.scaled(numbers)) + self.embed(words).sum(-2))
        return found

    def forward(self, given: Sequences) -> Said:
        """Said of every flow; sequences begin without a past."""
        x = self.flow(given.numbers, given.words)
        pair = self.pair(_ordered(x, given.by_pair), resets=given.starts, lengths=given.lengths)[0]
        pair_before = _shifted(pair).masked_fill(given.starts[..., None], 0.0)
        pair, pair_before = _ordered(pair, given.back), _ordered(pair_before, given.back)
        host = self.host(torch.cat([x, pair], -1), lengths=given.lengths)[0]
        before = torch.cat([_shifted(host), pair_before], -1)
        looked = torch.relu(self.look(torch.cat([host, pair, x], -1)))
        classes = self.judge(self.drop(looked))
        if not self.shape.hosts:
            empty = x.new_zeros(*x.shape[:2], 0)
            return Said({}, empty, empty, classes)
        return self._expected(before, given.words, classes)

    def traced(self, given: Sequences) -> Any:
        """The trace of the LSTM of hosts, a layer each."""
        x = self.flow(given.numbers, given.words)
        pair = self.pair(_ordered(x, given.by_pair), resets=given.starts, lengths=given.lengths)[0]
        heard = torch.cat([x, _ordered(pair, given.back)], -1)
        return self.host(heard, lengths=given.lengths, trace=True)[2]

    def _expected(self, before: Tensor, words: Tensor, classes: Tensor) -> Said:
        b = torch.relu(self.before(before))
        said = {name: layer(b).log_softmax(-1) for name, layer in self.asked.items()}
        place = [name for name, _ in self.shape.words].index("port")
        g = torch.relu(self.given(torch.cat([b, self.embed(words[..., place])], -1)))
        said["state"] = self.ended(g).log_softmax(-1)
        middle, width = self.amount(g).chunk(2, -1)
        return Said(said, middle, width.clamp(NARROWEST, WIDEST), classes)


def _ordered(x: Tensor, order: Tensor) -> Tensor:
    """x (B, T, D) with its steps in another order (B, T)."""
    return x.gather(1, order[..., None].expand_as(x))


def _shifted(x: Tensor) -> Tensor:
    """What stood before each step of x (B, T, D); nothing before the first."""
    return torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1)
