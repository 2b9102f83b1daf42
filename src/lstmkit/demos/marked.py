"""Store on mark, show on request: the smallest task whose three gates can be read.

A stream of numbers; one is marked. Later comes a request: the answer there is the marked number, 0
everywhere else. One LSTM unit is enough, so nothing is averaged when its gates are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

STEPS, BATCH, UPDATES, STARTS = 30, 64, 800, 4
LENGTHS = (6, 10, 20, STEPS)  # of the sequences, a quarter of the updates each
RATE, FORGET_BIAS = 0.05, 2.0


@dataclass(frozen=True)
class Batch:
    """N sequences of the task.

    Attributes:
        x: (N, T, 3): the number, 1 where it is marked, 1 where it is asked for.
        y: (N, T) the wanted answers.
        mark, ask: (N,) the steps of the mark and of the request.
    """

    x: Tensor
    y: Tensor
    mark: Tensor
    ask: Tensor


def draw_batch(count: int, steps: int, generator: Any) -> Batch:
    """Numbers from U[-0.8, 0.8]; the mark in the first third, the request in the second half."""
    import torch

    x = torch.zeros(count, steps, 3)
    x[..., 0] = torch.rand(count, steps, generator=generator) * 1.6 - 0.8
    mark = torch.randint(1, max(2, steps // 3), (count,), generator=generator)
    ask = torch.randint(steps // 2, steps - 1, (count,), generator=generator)
    n = torch.arange(count)
    x[n, mark, 1] = 1
    x[n, ask, 2] = 1
    y = torch.zeros(count, steps)
    y[n, ask] = x[n, mark, 0]
    return Batch(x, y, mark, ask)


def make_network() -> nn.Module:
    """One LSTM unit and one number that scales what it shows."""
    import torch

    import lstmkit

    class Memory(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = lstmkit.LSTM(3, 1, batch_first=True, forget_bias=FORGET_BIAS)
            self.scale = torch.nn.Linear(1, 1)

        def forward(self, x: Tensor) -> Tensor:
            answer: Tensor = self.scale(self.lstm(x)[0])[..., 0]
            return answer

    return Memory()


def loss_of(network: nn.Module, batch: Batch) -> Tensor:
    """Mean squared error at the requests plus that at all other steps."""
    asked = batch.x[..., 2]
    wrong = (network(batch.x) - batch.y) ** 2
    loss: Tensor = (asked * wrong).sum() / asked.sum() + ((1 - asked) * wrong).mean()
    return loss


def train_once(seed: int, updates: int) -> tuple[float, nn.Module]:
    """(loss on fresh sequences, network) of one start."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = make_network()
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    for update in range(updates):
        batch = draw_batch(BATCH, LENGTHS[4 * update // updates], generator)
        loss = loss_of(network, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return float(loss_of(network, draw_batch(256, STEPS, generator))), network


def train(seed: int, updates: int | None = None) -> tuple[list[float], nn.Module]:
    """(the losses of all starts, the network with the lowest)."""
    found = [train_once(STARTS * seed + k, updates or UPDATES) for k in range(STARTS)]
    return [loss for loss, _ in found], min(found, key=lambda pair: pair[0])[1]
