"""Small networks that tests look inside."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import lstmkit


class Reader(nn.Module):
    """An LSTM and a linear head on its last valid output: (N, T, 3) to (N, 2)."""

    def __init__(self, hidden: int = 8, layers: int = 2, **options: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.lstm = lstmkit.LSTM(3, hidden, layers, batch_first=True, **options)
        self.head = nn.Linear(hidden * (1 + self.lstm.bidirectional), 2)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        y, _ = self.lstm(x, lengths=lengths)
        last = torch.full((len(x),), x.shape[1]) if lengths is None else lengths
        answer: Tensor = self.head(y[torch.arange(len(x)), last - 1])
        return answer


class Looped(nn.Module):
    """An LSTMCell stepped by hand: (N, T, 3) to (N, 6)."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.cell = lstmkit.LSTMCell(3, 6, **options)

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for step in x.unbind(1):
            state = self.cell(step, state)
        assert state is not None
        return state[0]


def batch(N: int = 4, T: int = 12) -> Tensor:
    return torch.randn(N, T, 3, generator=torch.Generator().manual_seed(1))
