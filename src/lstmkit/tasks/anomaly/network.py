"""The network of a detector: what is to be expected of a row.

An LSTM reads rows; from its state before a row the network predicts the row, and from the row
squeezed through a few numbers, with that state, it says the row again. The first error shows what
comes unexpectedly, the second what does not hang together, for as long as it does not. It learns
from rows that were spoilt on purpose to say what they were before (denoising, Vincent et al. 2008),
so that it neither repeats what is wrong nor needs training data without it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lstmkit.layers import LSTM
from lstmkit.tasks.anomaly.features import Geometry

CODE = 8  # numbers that a row is squeezed to, at most; and at most a third of its channels
CHANNELS_A_NUMBER = 3


class Sizes(NamedTuple):
    """Width and layers of the LSTM."""

    width: int
    layers: int = 1


class Rows(NamedTuple):
    """Rows (B, T, C) in units of their channels, as `program.Row`; calendar (B, T, K)."""

    z: Tensor
    known: Tensor
    last: Tensor
    calendar: Tensor
    past: Tensor | None = None
    there: Tensor | None = None


class DetectorNetwork(nn.Module):
    """Rows to (reconstruction or None, prediction), both (B, T, C)."""

    def __init__(self, shape: Geometry, sizes: Sizes) -> None:
        super().__init__()
        C, H = len(shape.channels), sizes.width
        about = shape.calendar_width + (2 * C if shape.season else 0)
        self.code = min(CODE, C // CHANNELS_A_NUMBER)
        self.embed = nn.Linear(2 * C + about, H)
        self.lstm = LSTM(H, H, sizes.layers, batch_first=True)
        self.predict = nn.Linear(H, C)
        self.predict_about = nn.Linear(about, C, bias=False)
        self.keep = nn.Parameter(torch.zeros(C))
        if self.code:
            self.encode = nn.Linear(C, self.code)
            self.context = nn.Linear(H, H)
            self.decode = nn.Linear(self.code + H, H)
            self.decode_linear = nn.Linear(self.code, C)
            self.reconstruct = nn.Linear(H, C)
        self._start_plain()

    @torch.no_grad()
    def _start_plain(self) -> None:
        """Begin near "as the last row"."""
        self.predict.weight.mul_(0.1)
        nn.init.zeros_(self.predict_about.weight)
        if self.code:
            self.reconstruct.weight.mul_(0.1)

    @torch.no_grad()
    def start_from(self, directions: Tensor) -> None:
        """Begin with a linear code of the rows: principal directions (code, C)."""
        self.encode.weight.copy_(directions)
        self.decode_linear.weight.copy_(directions.T)
        nn.init.zeros_(self.encode.bias)
        nn.init.zeros_(self.decode_linear.bias)

    def forward(self, rows: Rows) -> tuple[Tensor | None, Tensor]:
        """The row said again, and what it was expected to be; a sequence begins without a past."""
        parts = [] if rows.past is None or rows.there is None else [rows.past, rows.there]
        about = torch.cat([*parts, rows.calendar], -1)
        h = self.lstm(self.read(rows))[0]
        before = torch.cat([torch.zeros_like(h[:, :1]), h[:, :-1]], 1)
        predicted = (
            self.keep.sigmoid() * rows.last + self.predict(before) + self.predict_about(about)
        )
        if not self.code:
            return None, predicted
        code = self.encode(torch.where(rows.known > 0, rows.z, predicted))
        hidden = torch.relu(self.decode(torch.cat([code, self.context(before)], -1)))
        return self.decode_linear(code) + self.reconstruct(hidden), predicted

    def read(self, rows: Rows) -> Tensor:
        """What the LSTM reads: (B, T, width)."""
        parts = [] if rows.past is None or rows.there is None else [rows.past, rows.there]
        x: Tensor = self.embed(torch.cat([rows.z, rows.known, *parts, rows.calendar], -1))
        return x
