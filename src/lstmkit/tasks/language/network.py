"""The network: a table of vectors, LSTMs one above the other, and the chances of the next token.

With every regulariser of AWD-LSTM (Merity, Keskar & Socher, "Regularizing and Optimizing LSTM
Language Models", 2017): DropConnect on the weights from state to state, dropout whose mask stays
over a sequence, dropout of whole symbols, and penalties on what the last layer shows.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lstmkit.layers import LSTM
from lstmkit.tasks.language.shape import DIVISOR, Recipe, Shape
from lstmkit.tasks.language.softmax import CrossEntropy, fast_half

INITIAL = 0.1  # the table begins in -INITIAL .. INITIAL

State = list[tuple[Tensor, Tensor]]  # per layer h (1, B, H), c (1, B, H)


class Losses(NamedTuple):
    """Of a piece (T, B): minus log-probability of all its targets, and the penalties of a token."""

    surprise: Tensor
    penalty: Tensor


class LanguageNetwork(nn.Module):
    """Tokens (T, B) to the chances of each next one, with a state that is carried on.

    Args:
        shape: the layers.
        recipe: the regularisers; only training uses them.
        halved: products with the vocabulary in bfloat16 while training.
    """

    def __init__(self, shape: Shape, recipe: Recipe, halved: bool = False) -> None:
        super().__init__()
        self.shape, self.recipe, self.halved = shape, recipe, halved
        self.embedding = nn.Embedding(shape.symbols, shape.embedding)
        widths = [shape.embedding, *shape.hidden]
        pairs = itertools.pairwise(widths)
        self.layers = nn.ModuleList(LSTM(i, h, weight_drop=recipe.weight_drop) for i, h in pairs)
        self.softmax: Full | Adaptive = (Adaptive if shape.cutoffs else Full)(shape)
        nn.init.uniform_(self.embedding.weight, -INITIAL, INITIAL)

    @property
    def table(self) -> Tensor:
        """The vectors of the answers (V, H): the table of the inputs where they are tied."""
        own = getattr(self.softmax, "weight", None)
        return self.embedding.weight if own is None else own

    def begin(self, batch: int) -> State:
        """The state before the first token: zeros."""
        like = self.embedding.weight
        return [
            (like.new_zeros(1, batch, h), like.new_zeros(1, batch, h)) for h in self.shape.hidden
        ]

    def forward(self, tokens: Tensor, targets: Tensor, state: State) -> tuple[Losses, State]:
        """The losses of a piece that begins with `state`, and the state after it."""
        seen, shown, state = self.read(tokens, state)
        flat = shown.flatten(0, 1)
        half = self.halved and self.training
        surprise = self.softmax(flat, targets.flatten(), self.embedding.weight, half)
        return Losses(surprise, self.penalty(seen, shown)), state

    def read(self, tokens: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """What the last layer gives (T, B, H), the same after dropout, and the state after."""
        r = self.recipe
        x = self.locked(self.embedded(tokens), r.dropout_input)
        after: State = []
        for k, (layer, before) in enumerate(zip(self.layers, state, strict=True)):
            x = x if k == 0 else self.locked(x, r.dropout_between)
            x, own = layer(x, before)
            after.append(own)
        return x, self.locked(x, r.dropout_output), after

    def embedded(self, tokens: Tensor) -> Tensor:
        """The vectors (T, B, E); in training some symbols are 0 wherever they stand."""
        x: Tensor = self.embedding(tokens)
        p = self.recipe.dropout_embedding
        if not self.training or p == 0:
            return x
        kept = x.new_empty(self.shape.symbols, 1).bernoulli_(1 - p).div_(1 - p)
        return x * kept[tokens]

    def locked(self, x: Tensor, p: float) -> Tensor:
        """Dropout with one mask (1, B, H) for all steps (Gal & Ghahramani 2016)."""
        if not self.training or p == 0:
            return x
        return x * x.new_empty(1, *x.shape[1:]).bernoulli_(1 - p).div_(1 - p)

    def penalty(self, seen: Tensor, shown: Tensor) -> Tensor:
        """AR of what is shown after dropout, TAR of what is before (Merity et al. 2017, 4.6)."""
        r = self.recipe
        found = seen.new_zeros(())
        if r.activation_penalty:
            found = found + r.activation_penalty * shown.square().mean()
        if r.slowness_penalty and len(seen) > 1:
            found = found + r.slowness_penalty * seen.diff(dim=0).square().mean()
        return found

    @torch.no_grad()
    def log_probs(self, tokens: Tensor, targets: Tensor, state: State) -> tuple[Tensor, State]:
        """The log-probability (T, B) of each target, in float32, and the state after."""
        _, shown, state = self.read(tokens, state)
        flat = self.softmax.log_probs(shown.flatten(0, 1), targets.flatten(), self.embedding.weight)
        return flat.view_as(targets), state


class Full(nn.Module):
    """One softmax over all symbols: their vectors are the table's where that is as wide."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(shape.symbols))
        if not shape.tied:
            self.weight = nn.Parameter(torch.empty(shape.symbols, shape.hidden[-1]))
            reach = shape.hidden[-1] ** -0.5
            nn.init.uniform_(self.weight, -reach, reach)

    def forward(self, x: Tensor, targets: Tensor, table: Tensor, half: bool) -> Tensor:
        """Minus log-probability of all targets (N,) together, x (N, H)."""
        weight = getattr(self, "weight", table)
        found: Tensor = CrossEntropy.apply(x, weight, self.bias, targets, half)
        return found

    def log_probs(self, x: Tensor, targets: Tensor, table: Tensor) -> Tensor:
        """The log-probability of each target (N,)."""
        weight, step = getattr(self, "weight", table), max(1, (1 << 22) // len(table))
        found = [
            nn.functional.cross_entropy(
                nn.functional.linear(some, weight, self.bias), right, reduction="none"
            ).neg()
            for some, right in zip(x.split(step), targets.split(step), strict=True)
        ]
        return torch.cat(found)


class Adaptive(nn.AdaptiveLogSoftmaxWithLoss):
    """Clusters of ever rarer symbols with ever narrower vectors (Grave et al. 2017)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape.hidden[-1], shape.symbols, list(shape.cutoffs), float(DIVISOR))

    def forward(  # type: ignore[override]
        self, x: Tensor, targets: Tensor, table: Tensor, half: bool
    ) -> Tensor:
        """As Full.forward."""
        return -super().forward(x, targets).output.sum()

    def log_probs(self, x: Tensor, targets: Tensor, table: Tensor) -> Tensor:
        """As Full.log_probs."""
        found: Tensor = super().forward(x, targets).output
        return found


def half_pays(device: str) -> bool:
    """Whether products with the vocabulary are worth doing in bfloat16 there."""
    return device != "cpu" or fast_half()
