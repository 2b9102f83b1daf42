"""The forecasting network, and the same network as a program.

A window is normalised by its own mean and deviation. One LSTM reads its segments (values, mask,
calendar), then runs on over the segments to come (calendar and position only). From its output at
each of these a linear head reads two things: how much each past season counts for this one, and
what to add. The forecast of a row is the weighted mean of the rows of its phase in past seasons,
with weights from a softmax that leaves out missing rows, plus an offset for each quantile. An
untrained network is thus already close to the seasonal naive forecast; it learns when to differ.
Running the recurrence over segments follows SegRNN (Lin et al. 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lstmkit.layers import LSTM
from lstmkit.tasks.forecast.features import Geometry

if TYPE_CHECKING:
    from lstmkit.program import Builder, Program

EPSILON = 1e-5
ABSENT = -1e4  # added to the logit of a season whose row is missing
RECENT = 1.5  # initial logit of the latest season over the older ones
SPREAD = 0.3  # initial deviation of the quantiles, in deviations of the window


@dataclass(frozen=True)
class Sizes:
    """What `size` chooses: width and layers of the LSTM, width of the embedding, dropout."""

    width: int
    layers: int
    embedding: int
    dropout: float

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


class ForecastNetwork(nn.Module):
    """(B, L) windows to sorted quantiles (B, H, Q), in the units of the windows."""

    def __init__(self, shape: Geometry, sizes: Sizes, quantiles: Sequence[float]) -> None:
        super().__init__()
        self.shape, self.sizes, self.quantiles = shape, sizes, tuple(quantiles)
        S, F, K = shape.segment, shape.future_steps, shape.seasons
        self.embed_rows = nn.Linear(2 * S, sizes.embedding)
        self.embed_calendar = nn.Linear(shape.calendar_width, sizes.embedding, bias=False)
        self.position = nn.Parameter(0.1 * torch.randn(F, sizes.embedding))
        self.lstm = LSTM(sizes.embedding, sizes.width, sizes.layers, batch_first=True)
        self.dropout = nn.Dropout(sizes.dropout)
        self.season_head = nn.Linear(sizes.width, K)
        self.offset_head = nn.Linear(sizes.width, S * len(self.quantiles))
        self.season_logits = nn.Parameter(torch.zeros(F, 1, K))
        self._start_naive()

    @torch.no_grad()
    def _start_naive(self) -> None:
        """Heads that repeat the latest season, with normal quantiles around it."""
        for head in (self.season_head, self.offset_head):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        self.season_logits[..., -1] = RECENT
        normal = NormalDist(sigma=SPREAD)
        spread = torch.tensor([normal.inv_cdf(p) for p in self.quantiles])
        self.offset_head.bias.copy_(spread.repeat(self.shape.segment))

    def forward(
        self, values: Tensor, mask: Tensor, past_calendar: Tensor, future_calendar: Tensor
    ) -> Tensor:
        """values, mask (B, L); past_calendar (B, P, C), future_calendar (B, F, C) -> (B, H, Q)."""
        shape, B = self.shape, len(values)
        z, mean, deviation = instance_norm(values, mask)
        h, _ = self.lstm(self.steps(z, mask, past_calendar, future_calendar))
        h = self.dropout(h[:, shape.past_steps :])
        offsets = self.offset_head(h).reshape(B, -1, len(self.quantiles))
        answer = (self.anchor(z, mask, h) + offsets)[:, : shape.horizon]
        answer = answer * deviation.unsqueeze(-1) + mean.unsqueeze(-1)
        return answer.sort(-1).values

    def steps(self, z: Tensor, mask: Tensor, past: Tensor, future: Tensor) -> Tensor:
        """What the LSTM reads: (B, P + F, E), the past segments and then the future ones."""
        cut = (len(z), self.shape.past_steps, self.shape.segment)
        rows = torch.cat([z.reshape(cut), mask.reshape(cut)], -1)
        seen = self.embed_rows(rows) + self.embed_calendar(past)
        return torch.cat([seen, self.embed_calendar(future) + self.position], 1)

    def anchor(self, z: Tensor, mask: Tensor, h: Tensor) -> Tensor:
        """The weighted mean of each phase's past rows: (B, F S, 1)."""
        shape, B = self.shape, len(z)
        S, K, R, D = shape.segment, shape.seasons, shape.phases, shape.blocks
        logits = self.season_head(h).unsqueeze(2) + self.season_logits  # (B, F, 1, K)
        logits = logits.reshape(B, D, R // S, 1, K)
        phases = (B, 1, R // S, S, K)
        present = mask.reshape(B, K, shape.season).mT[:, :R].reshape(phases)
        past = z.reshape(B, K, shape.season).mT[:, :R].reshape(phases)
        weights = (logits + (1 - present) * ABSENT).softmax(-1)
        return (weights * past).sum(-1).reshape(B, -1, 1)


def instance_norm(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Windows (B, L) with mean 0 and deviation 1 of observed rows, 0 elsewhere; both (B, 1)."""
    count = mask.sum(1, keepdim=True).clamp(min=1)
    mean = (values * mask).sum(1, keepdim=True) / count
    centred = (values - mean) * mask
    deviation = ((centred**2).sum(1, keepdim=True) / count + EPSILON**2).sqrt()
    return centred / deviation, mean, deviation


def program(network: ForecastNetwork) -> Program:
    """The network in evaluation mode as a windowed program; entry `forecast` gives `quantiles`.

    Its weights have the names of the network's state_dict.
    """
    from lstmkit.program import Builder

    shape = network.shape
    arrays = {name: t.detach().cpu().numpy().copy() for name, t in network.state_dict().items()}
    write = _Writer(Builder("windowed", window=shape.lookback), shape, arrays)
    write.forecast(network.lstm.options(), len(network.quantiles))
    return write.builder.build()


@dataclass(frozen=True)
class _Writer:
    """Writes down what `ForecastNetwork.forward` does, method by method."""

    builder: Builder
    shape: Geometry
    arrays: dict[str, Any]

    def forecast(self, options: dict[str, Any], quantiles: int) -> None:
        b, shape = self.builder, self.shape
        values = b.input("values", ("B", shape.lookback))
        mask = b.input("mask", ("B", shape.lookback))
        z, mean, deviation = b.op("instance_norm", values, mask, eps=EPSILON)
        h = b.lstm(self.steps(z, mask), self.arrays, "lstm.", options)
        steps = shape.past_steps + shape.future_steps
        h = b.op("slice", h, axis=1, start=shape.past_steps, stop=steps)
        rows = shape.future_steps * shape.segment
        offsets = self.reshape(self.linear(h, "offset_head"), rows, quantiles)
        answer = b.op("add", self.anchor(z, mask, h), offsets)
        answer = b.op("slice", answer, axis=1, start=0, stop=shape.horizon)
        answer = b.op("multiply", answer, self.reshape(deviation, 1, 1))
        answer = b.op("add", answer, self.reshape(mean, 1, 1))
        answer = b.op("sort", answer)
        b.output("quantiles", answer, ("B", shape.horizon, quantiles))
        b.entry("forecast")

    def weight(self, name: str) -> str:
        return self.builder.weight(name, self.arrays[name])

    def linear(self, x: str, name: str) -> str:
        roles = [r for r in ("weight", "bias") if f"{name}.{r}" in self.arrays]
        given = {role: self.weight(f"{name}.{role}") for role in roles}
        y: str = self.builder.op("linear", x=x, **given)
        return y

    def reshape(self, x: str, *sizes: int) -> str:
        y: str = self.builder.op("reshape", x, shape=[0, *sizes])
        return y

    def steps(self, z: str, mask: str) -> str:
        b, shape = self.builder, self.shape
        P, F, C = shape.past_steps, shape.future_steps, shape.calendar_width
        past = b.input("past_calendar", ("B", P, C))
        future = b.input("future_calendar", ("B", F, C))
        cut = [self.reshape(x, P, shape.segment) for x in (z, mask)]
        rows = self.linear(b.op("concat", *cut), "embed_rows")
        seen = b.op("add", rows, self.linear(past, "embed_calendar"))
        coming = self.linear(future, "embed_calendar")
        coming = b.op("add", coming, self.weight("position"))
        steps: str = b.op("concat", seen, coming, axis=1)
        return steps

    def anchor(self, z: str, mask: str, h: str) -> str:
        b, shape = self.builder, self.shape
        S, K, R, D = shape.segment, shape.seasons, shape.phases, shape.blocks
        logits = self.reshape(self.linear(h, "season_head"), D * R // S, 1, K)
        logits = b.op("add", logits, self.weight("season_logits"))
        logits = self.reshape(logits, D, R // S, 1, K)
        past, present = (self.phases(x) for x in (z, mask))
        absent = b.op("affine", present, scale=-ABSENT, shift=ABSENT)
        weights = b.op("softmax", b.op("add", logits, absent))
        mean = b.op("sum", b.op("multiply", weights, past))
        return self.reshape(mean, D * R, 1)

    def phases(self, rows: str) -> str:
        b, shape = self.builder, self.shape
        table = self.reshape(rows, shape.seasons, shape.season)
        table = b.op("transpose", table, axes=[0, 2, 1])
        table = b.op("slice", table, axis=1, start=0, stop=shape.phases)
        segments = shape.phases // shape.segment
        return self.reshape(table, 1, segments, shape.segment, shape.seasons)
