"""The three networks of the suite, alike but for their recurrent layer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lstmkit.layers.initialisation import Chrono
from lstmkit.layers.lstm import LSTM

if TYPE_CHECKING:
    from lstmkit.bench.memory.problems import Problem
    from lstmkit.bench.memory.tasks import Recipe

KEPT = 10  # lags that the cells of "lstm" keep what they hold, at first


class Network(nn.Module):
    """Recurrent layer and linear head, with the head also reading the input where `direct` is set.

    Args:
        model: "rnn" (tanh), "lstm" (forget gate open, input gate nearly shut) or "chrono".
    """

    def __init__(self, problem: Problem, model: str, recipe: Recipe) -> None:
        super().__init__()
        self.symbols = problem.symbols
        width = problem.inputs or problem.symbols
        self.embedding: nn.Embedding | None = None
        if recipe.symbols:
            width = recipe.hidden
            self.embedding = nn.Embedding(problem.symbols, width)
            nn.init.normal_(self.embedding.weight, std=recipe.symbols)
        self.recurrent = recurrent(model, width, recipe, problem.lag)
        self.head = nn.Linear(recipe.hidden, problem.answers)
        self.direct = nn.Linear(width, problem.answers, bias=False) if recipe.direct else None
        if self.direct is not None:
            nn.init.zeros_(self.direct.weight)

    def forward(self, x: Tensor, at: Tensor) -> Tensor:
        """(N, T) symbols or (N, T, I) values, and (N, S) steps -> (N, S, A) before any softmax."""
        read = self.read(x)
        found: Tensor = self.head(pick(self.recurrent(read)[0], at))
        return found if self.direct is None else found + self.direct(pick(read, at))

    def read(self, x: Tensor) -> Tensor:
        """(N, T, I) what the recurrent layer sees."""
        if self.embedding is not None:
            embedded: Tensor = self.embedding(x)
            return embedded
        return nn.functional.one_hot(x, self.symbols).float() if self.symbols else x

    def groups(self, recipe: Recipe) -> list[dict[str, Any]]:
        """Parameters for the optimiser, with `times` the learning rate that they learn, and what
        the embedding loses at each step: noise, for symbols that mean nothing."""
        apart: list[dict[str, Any]] = []
        if self.direct is not None:
            apart.append({"params": [self.direct.weight], "times": recipe.direct})
        if self.embedding is not None:
            decayed = {"times": 1.0, "weight_decay": recipe.decay}
            apart.append({"params": [self.embedding.weight], **decayed})
        taken = {id(group["params"][0]) for group in apart}
        rest = [p for p in self.parameters() if id(p) not in taken]
        return [{"params": rest, "times": 1.0}, *apart]

    @property
    def weights(self) -> int:
        """How many numbers are learnt."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)


def recurrent(model: str, width: int, recipe: Recipe, lag: int) -> Any:
    """The layer that remembers."""
    size = recipe.hidden
    if model == "rnn":
        return nn.RNN(width, size, batch_first=True)
    if model == "chrono":
        return LSTM(width, size, batch_first=True, init=Chrono(max(3.0, 1.5 * lag)))
    layer: Any = LSTM(width, size, batch_first=True, forget_bias=math.log(KEPT * lag))
    carousel(layer.bias_ih_l0, layer.bias_hh_l0, size, lag)
    return layer


@torch.no_grad()
def carousel(bias: Tensor, other: Tensor, size: int, lag: int) -> None:
    """Gates that nearly are the constant error carousel of 1997, which had no forget gate.

    f = 1 - 1 / (10 lag): a tenth is lost over the lag. i = 1 / lag: all steps before the answer
    together enter as much as one would, so that noise does not fill the cell; the paper shut its
    input gates by negative biases too.
    """
    nn.init.zeros_(bias)
    nn.init.zeros_(other)
    bias[:size] = -math.log(lag)
    bias[size : 2 * size] = math.log(KEPT * lag)


def pick(sequence: Tensor, at: Tensor) -> Tensor:
    """(N, T, H) and (N, S) -> (N, S, H)."""
    return sequence.gather(1, at[..., None].expand(-1, -1, sequence.shape[-1]))
