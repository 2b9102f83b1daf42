"""The forecasting network, and the same network as a program.

A window is normalised by its own mean and deviation. One LSTM reads its segments (values, mask,
calendar), then runs on over the segments to come (calendar and position only). From its output at
each of these a linear head reads two things: how much each past season counts for each row, and
what to add. The forecast of a row is the weighted mean of the rows of its phase in past seasons,
with weights from a softmax that leaves out missing rows, plus an offset for each quantile. An
untrained network is thus already close to the seasonal naive forecast; it learns when to differ.
Running the recurrence over segments follows SegRNN (Lin et al. 2023).

Covariates enter twice: the LSTM reads those of a segment, and every row has an effect of its own,
which is taken from the past rows before they are averaged and given to the future ones. So a
promotion last week is no reason to expect one now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from lstmkit.layers import LSTM
from lstmkit.tasks.forecast.features import EPSILON, Geometry
from lstmkit.tasks.forecast.rows import Rows, weight, write_rows

if TYPE_CHECKING:
    from lstmkit.program import Builder, Program

T = TypeVar("T")

ABSENT = -1e4  # added to the logit of a season whose row is missing
RECENT = 1.5  # initial logit of the latest season over the older ones
EFFECT_WIDTH = 32  # hidden units of the effect of a row's covariates
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
    """(B, L) windows to sorted quantiles (B, H, Q), in the units of the windows.

    With `point` "mean" there is one channel more, the expected value.
    """

    calibration: Tensor

    def __init__(
        self, shape: Geometry, sizes: Sizes, quantiles: Sequence[float], point: str = "median"
    ) -> None:
        super().__init__()
        self.shape, self.sizes, self.quantiles = shape, sizes, tuple(quantiles)
        self.point = point
        S, F, K = shape.segment, shape.future_steps, shape.seasons
        self.embed_rows = nn.Linear(2 * S, sizes.embedding)
        self.embed_calendar = nn.Linear(shape.calendar_width, sizes.embedding, bias=False)
        self.position = nn.Parameter(0.1 * torch.randn(F, sizes.embedding))
        self.lstm = LSTM(sizes.embedding, sizes.width, sizes.layers, batch_first=True)
        self.dropout = nn.Dropout(sizes.dropout)
        self.season_head = nn.Linear(sizes.width, S * K)
        self.offset_head = nn.Linear(sizes.width, S * self.channels)
        self.season_logits = nn.Parameter(torch.zeros(F, S, K))
        self.register_buffer("calibration", torch.zeros(shape.horizon, self.channels))
        if shape.dynamic:
            self.columns = Rows(shape.dynamic)
            self.embed_columns = nn.Linear(S * self.columns.width, sizes.embedding, bias=False)
            self.effect_rows = nn.Linear(self.columns.width, EFFECT_WIDTH)
            self.effect_gate = nn.Linear(sizes.width, EFFECT_WIDTH, bias=False)
            self.effect_head = nn.Linear(EFFECT_WIDTH, 1 + self.channels)
        if shape.static:
            self.static_columns = Rows(shape.static)
            self.embed_static = nn.Linear(self.static_columns.width, sizes.embedding, bias=False)
        self._start_naive()

    @property
    def channels(self) -> int:
        """Numbers forecast for each row: the quantiles, and the mean where it is asked for."""
        return len(self.quantiles) + (self.point == "mean")

    @torch.no_grad()
    def _start_naive(self) -> None:
        """Heads that repeat the latest season, with normal quantiles around it."""
        heads = [self.season_head, self.offset_head]
        heads += [self.effect_head] if self.shape.dynamic else []
        for head in heads:
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        self.season_logits[..., -1] = RECENT
        normal = NormalDist(sigma=SPREAD)
        spread = [normal.inv_cdf(p) for p in self.quantiles] + [0.0] * (self.point == "mean")
        self.offset_head.bias.copy_(torch.tensor(spread).repeat(self.shape.segment))

    def standardise(self, extra: np.ndarray, static: np.ndarray) -> None:
        """Take the scales of covariates from rows (M, C) and series (n, S) to learn from."""
        for covariates, cells, name in (
            (self.shape.dynamic, extra, "columns"),
            (self.shape.static, static, "static_columns"),
        ):
            if covariates:
                numbers = [k for k, c in enumerate(covariates) if c.categories is None]
                getattr(self, name).standardise(cells[:, numbers])

    def forward(
        self,
        values: Tensor,
        mask: Tensor,
        past_calendar: Tensor,
        future_calendar: Tensor,
        **covariates: Tensor,
    ) -> Tensor:
        """values, mask (B, L); past_calendar (B, P, C), future_calendar (B, F, C) -> (B, H, Q).

        Covariates by name, as `features.covariate_inputs` gives them.
        """
        shape, Q = self.shape, len(self.quantiles)
        z, mean, deviation = instance_norm(values, mask)
        fixed, moving = split_inputs(covariates)
        rows = self.columns(**moving) if shape.dynamic else None
        x = self.steps(z, mask, past_calendar, future_calendar, rows, fixed)
        h = self.dropout(self.lstm(x)[0])
        ahead = h[:, shape.past_steps :]
        answer = self.offset_head(ahead).reshape(len(values), -1, self.channels)
        if rows is not None:
            effects = self.effects(rows, h)
            z = z - effects[:, : shape.lookback, 0] * mask
            answer = answer + effects[:, shape.lookback :, 1:] + effects[:, shape.lookback :, :1]
        answer = (self.anchor(z, mask, ahead) + answer)[:, : shape.horizon] + self.calibration
        answer = answer * deviation.unsqueeze(-1) + mean.unsqueeze(-1)
        return torch.cat([answer[..., :Q].sort(-1).values, answer[..., Q:]], -1)

    def steps(
        self,
        z: Tensor,
        mask: Tensor,
        past: Tensor,
        future: Tensor,
        rows: Tensor | None,
        fixed: dict[str, Tensor],
    ) -> Tensor:
        """What the LSTM reads: (B, P + F, E), the past segments and then the future ones."""
        cut = (len(z), self.shape.past_steps, self.shape.segment)
        segments = torch.cat([z.reshape(cut), mask.reshape(cut)], -1)
        seen = self.embed_rows(segments) + self.embed_calendar(past)
        x = torch.cat([seen, self.embed_calendar(future) + self.position], 1)
        if rows is not None:
            x = x + self.embed_columns(rows.reshape(len(z), x.shape[1], -1))
        if fixed:
            x = x + self.embed_static(self.static_columns(**fixed)).unsqueeze(1)
        return x

    def effects(self, rows: Tensor, h: Tensor) -> Tensor:
        """What the covariates of each row do to it: (B, L + F S, 1 + channels).

        The first is an effect on the level, past rows' too, the rest are the channels' own.
        """
        B, steps = h.shape[:2]
        own = self.effect_rows(rows).reshape(B, steps, self.shape.segment, -1)
        hidden = torch.relu(own + self.effect_gate(h).unsqueeze(2))
        effects: Tensor = self.effect_head(hidden)
        return effects.reshape(B, steps * self.shape.segment, -1)

    def anchor(self, z: Tensor, mask: Tensor, h: Tensor) -> Tensor:
        """The weighted mean of each phase's past rows: (B, F S, 1)."""
        shape, B = self.shape, len(z)
        S, K, R, D = shape.segment, shape.seasons, shape.phases, shape.blocks
        logits = self.season_head(h).reshape(B, -1, S, K) + self.season_logits
        logits = logits.reshape(B, D, R // S, S, K)
        phases = (B, 1, R // S, S, K)
        present = mask.reshape(B, K, shape.season).mT[:, :R].reshape(phases)
        past = z.reshape(B, K, shape.season).mT[:, :R].reshape(phases)
        weights = (logits + (1 - present) * ABSENT).softmax(-1)
        return (weights * past).sum(-1).reshape(B, -1, 1)


class ForecastEnsemble(nn.Module):
    """The mean of networks that were trained from different seeds."""

    def __init__(self, members: Sequence[ForecastNetwork]) -> None:
        super().__init__()
        first = members[0]
        self.shape, self.quantiles, self.point = first.shape, first.quantiles, first.point
        self.members = nn.ModuleList(members)

    def each(self) -> list[Any]:
        """The members."""
        return list(self.members.children())

    def forward(self, **inputs: Tensor) -> Tensor:
        """As `ForecastNetwork.forward`."""
        answers = torch.stack([member(**inputs) for member in self.each()])
        return answers.mean(0)


def build(shape: Geometry, sizes: Sizes, quantiles: Sequence[float], point: str) -> Any:
    """The network of a kind: windowed or recurrent."""
    if shape.kind == "recurrent":
        from lstmkit.tasks.forecast.recurrent import RecurrentNetwork

        return RecurrentNetwork(shape, sizes, quantiles, point)
    return ForecastNetwork(shape, sizes, quantiles, point)


def rebuilt(
    shape: Geometry,
    sizes: Sizes,
    quantiles: Sequence[float],
    point: str,
    weights: Mapping[str, np.ndarray],
) -> Any:
    """A network with given weights."""
    from lstmkit.tasks.forecast.fitting import set_arrays

    network = build(shape, sizes, quantiles, point)
    set_arrays(network, weights)
    return network


def split_inputs(covariates: Mapping[str, T]) -> tuple[dict[str, T], dict[str, T]]:
    """Static covariates without their prefix, and dynamic ones."""
    fixed = {k[7:]: v for k, v in covariates.items() if k.startswith("static_")}
    return fixed, {k: v for k, v in covariates.items() if not k.startswith("static_")}


def instance_norm(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Windows (B, L) with mean 0 and deviation 1 of observed rows, 0 elsewhere; both (B, 1)."""
    count = mask.sum(1, keepdim=True).clamp(min=1)
    mean = (values * mask).sum(1, keepdim=True) / count
    centred = (values - mean) * mask
    deviation = ((centred**2).sum(1, keepdim=True) / count + EPSILON**2).sqrt()
    return centred / deviation, mean, deviation


def program(network: Any) -> Program:
    """The network in evaluation mode as a program; entry `forecast` gives `quantiles`.

    A windowed one; see `recurrent_program` for the other kind. Its weights have the names of the
    network's state_dict.
    """
    from lstmkit.program import Builder

    shape = network.shape
    if shape.kind == "recurrent":
        from lstmkit.tasks.forecast import recurrent_program

        return recurrent_program.program(network)
    arrays = {name: t.detach().cpu().numpy().copy() for name, t in network.state_dict().items()}
    alone = isinstance(network, ForecastNetwork)
    members: list[ForecastNetwork] = [network] if alone else network.each()
    b = Builder("windowed", window=shape.lookback)
    given = declare(b, shape)
    answers = []
    for k, member in enumerate(members):
        write = _Writer(b, member, arrays, "" if alone else f"members.{k}.")
        answers.append(write.forecast(given))
    total = answers[0]
    for answer in answers[1:]:
        total = b.op("add", total, answer)
    if len(answers) > 1:
        total = b.op("affine", total, scale=1 / len(answers))
    b.output("quantiles", total, ("B", shape.horizon, members[0].channels))
    b.entry("forecast")
    return b.build()


def declare(b: Builder, shape: Geometry) -> dict[str, str]:
    """The inputs of `forecast`, by name, as `features.inputs` gives them."""
    C, R = shape.calendar_width, shape.window_rows
    sizes: dict[str, tuple[int, ...]] = {
        "values": (shape.lookback,),
        "mask": (shape.lookback,),
        "past_calendar": (shape.past_steps, C),
        "future_calendar": (shape.future_steps, C),
    }
    for prefix, covariates, rows in (("", shape.dynamic, (R,)), ("static_", shape.static, ())):
        codes = sum(c.categories is not None for c in covariates)
        if len(covariates) > codes:
            sizes[f"{prefix}numbers"] = sizes[f"{prefix}present"] = (*rows, len(covariates) - codes)
        if codes:
            sizes[f"{prefix}codes"] = (*rows, codes)
    return {
        name: b.input(name, ("B", *size), "int64" if name.endswith("codes") else "float32")
        for name, size in sizes.items()
    }


@dataclass(frozen=True)
class _Writer:
    """Writes down what `ForecastNetwork.forward` does, method by method."""

    builder: Builder
    network: ForecastNetwork
    arrays: dict[str, Any]
    prefix: str

    @property
    def shape(self) -> Geometry:
        return self.network.shape

    def forecast(self, given: dict[str, str]) -> str:
        b, shape, channels = self.builder, self.shape, self.network.channels
        z, mean, deviation = b.op("instance_norm", given["values"], given["mask"], eps=EPSILON)
        fixed, moving = split_inputs(given)
        rows = self.columns(moving, "columns.", 3) if shape.dynamic else None
        x = self.steps(z, given, rows, fixed)
        h = b.lstm(x, self.arrays, f"{self.prefix}lstm.", self.network.lstm.options())
        steps = shape.past_steps + shape.future_steps
        ahead = b.op("slice", h, axis=1, start=shape.past_steps, stop=steps)
        total = shape.future_steps * shape.segment
        answer = self.reshape(self.linear(ahead, "offset_head"), total, channels)
        if rows is not None:
            z, answer = self.apply(self.effects(rows, h), z, given["mask"], answer)
        answer = b.op("add", self.anchor(z, given["mask"], ahead), answer)
        answer = b.op("slice", answer, axis=1, start=0, stop=shape.horizon)
        answer = b.op("add", answer, self.weight("calibration"))
        answer = b.op("multiply", answer, self.reshape(deviation, 1, 1))
        return self.ordered(b.op("add", answer, self.reshape(mean, 1, 1)))

    def ordered(self, answer: str) -> str:
        b, Q, channels = self.builder, len(self.network.quantiles), self.network.channels
        if channels == Q:
            return str(b.op("sort", answer))
        quantiles = b.op("sort", b.op("slice", answer, axis=2, start=0, stop=Q))
        mean = b.op("slice", answer, axis=2, start=Q, stop=channels)
        return str(b.op("concat", quantiles, mean, axis=2))

    def weight(self, name: str) -> str:
        return weight(self.builder, self.arrays, self.prefix + name)

    def linear(self, x: str, name: str) -> str:
        there = [r for r in ("weight", "bias") if f"{self.prefix}{name}.{r}" in self.arrays]
        given = {role: self.weight(f"{name}.{role}") for role in there}
        return str(self.builder.op("linear", x=x, **given))

    def reshape(self, x: str, *sizes: int) -> str:
        return str(self.builder.op("reshape", x, shape=[0, *sizes]))

    def columns(self, given: dict[str, str], name: str, rank: int) -> str:
        return write_rows(self.builder, self.arrays, self.prefix + name, given, rank)

    def steps(self, z: str, given: dict[str, str], rows: str | None, fixed: dict[str, str]) -> str:
        b, P = self.builder, self.shape.past_steps
        cut = [self.reshape(x, P, self.shape.segment) for x in (z, given["mask"])]
        segments = self.linear(b.op("concat", *cut), "embed_rows")
        seen = b.op("add", segments, self.linear(given["past_calendar"], "embed_calendar"))
        coming = self.linear(given["future_calendar"], "embed_calendar")
        coming = b.op("add", coming, self.weight("position"))
        steps = str(b.op("concat", seen, coming, axis=1))
        if rows is not None:
            width = self.shape.segment * self.network.columns.width
            cells = self.reshape(rows, P + self.shape.future_steps, width)
            steps = b.op("add", steps, self.linear(cells, "embed_columns"))
        if fixed:
            cells = self.linear(self.columns(fixed, "static_columns.", 2), "embed_static")
            steps = b.op("add", steps, self.reshape(cells, 1, self.network.sizes.embedding))
        return steps

    def effects(self, rows: str, h: str) -> str:
        b, shape, steps = self.builder, self.shape, self.shape.past_steps + self.shape.future_steps
        own = self.reshape(self.linear(rows, "effect_rows"), steps, shape.segment, EFFECT_WIDTH)
        gate = self.reshape(self.linear(h, "effect_gate"), steps, 1, EFFECT_WIDTH)
        effects = self.linear(b.op("relu", b.op("add", own, gate)), "effect_head")
        return self.reshape(effects, shape.window_rows, 1 + self.network.channels)

    def apply(self, effects: str, z: str, mask: str, answer: str) -> tuple[str, str]:
        """Takes the effects from the past rows, adds them to the future ones."""
        b, L, R = self.builder, self.shape.lookback, self.shape.window_rows
        level = b.op("slice", effects, axis=2, start=0, stop=1)
        own = b.op("slice", effects, axis=2, start=1, stop=1 + self.network.channels)
        past = self.reshape(b.op("slice", level, axis=1, start=0, stop=L), L)
        z = b.op("subtract", z, b.op("multiply", past, mask))
        for part in (level, own):
            answer = b.op("add", answer, b.op("slice", part, axis=1, start=L, stop=R))
        return z, answer

    def anchor(self, z: str, mask: str, h: str) -> str:
        b, shape = self.builder, self.shape
        S, K, R, D = shape.segment, shape.seasons, shape.phases, shape.blocks
        logits = self.reshape(self.linear(h, "season_head"), D * R // S, S, K)
        logits = b.op("add", logits, self.weight("season_logits"))
        logits = self.reshape(logits, D, R // S, S, K)
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
