"""The recurrent forecasting network, and the same network as a program.

One step of an LSTM reads one row, and what it needs of the rows before it is carried: a level and a
scale, which normalise each row by the past alone, the last seasons of the series, and the LSTM's
own state. So a row costs the same however long the series is, and a forecast can be asked for
after any row: all steps ahead at once, from the LSTM's output and the calendar and covariates of
the rows to come (after MQ-RNN, Wen et al. 2017). A head of its own for every step ahead is what
most of the accuracy comes from: on the end of M4 Hourly's training file it took MASE from 0.865 to
0.802.

The forecast of a row is the weighted mean of the rows of its phase in past seasons, with weights
from a softmax that leaves out missing rows, plus an offset for each quantile, in units of the
scale. An untrained network is thus already close to the seasonal naive forecast. Everything the
network reads is relative to level and scale: series `a x + b` have forecasts `a y + b`.

Covariates: the LSTM reads those of a row; and every row's have an effect on it, which is taken from
the rows that are carried and given to the rows to come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lstmkit.layers import LSTM
from lstmkit.tasks.forecast.carried import carried_seasons
from lstmkit.tasks.forecast.features import Geometry
from lstmkit.tasks.forecast.fitting import Preset
from lstmkit.tasks.forecast.network import (
    ABSENT,
    EFFECT_WIDTH,
    RECENT,
    SPREAD,
    ForecastEnsemble,
    Sizes,
    split_inputs,
)
from lstmkit.tasks.forecast.rows import Rows, weight, write_rows

if TYPE_CHECKING:
    from lstmkit.program import Builder, Program

DYNAMIC = ("numbers", "present", "codes")  # inputs that hold covariates of rows
WIDEST = 6.0  # what the LSTM reads is squashed softly to this, in units of the scale
HALF_LIFE, LEAST_HALF_LIFE = 7.0, 16  # of level and scale: seasons, and rows

PRESETS = {
    "tiny": Preset(16, 1, 16, 0.0, 4, 24, 1e-2),
    "small": Preset(64, 1, 48, 0.1, 16, 24, 4e-3),
    "medium": Preset(96, 1, 48, 0.1, 40, 24, 4e-3),
    "large": Preset(192, 1, 96, 0.2, 100, 48, 3e-3),
}


def decay(shape: Geometry) -> float:
    """What an observed row leaves of the weights of those before it, in level and scale."""
    rows = max(HALF_LIFE * shape.season, LEAST_HALF_LIFE)
    return float(0.5 ** (1 / rows))


class Memory(NamedTuple):
    """What is carried beside the LSTM's state, after each row: all (B, T).

    `rows` are values without the effects of their covariates, 0 where `mask` is.
    """

    level: Tensor
    scale: Tensor
    rows: Tensor
    mask: Tensor


class RecurrentNetwork(nn.Module):
    """Rows (B, T) to the sorted quantiles (B, T, H, Q) of the rows after each, in their units.

    With `point` "mean" there is one channel more, the expected value.
    """

    calibration: Tensor
    phase: Tensor

    def __init__(
        self, shape: Geometry, sizes: Sizes, quantiles: Sequence[float], point: str = "median"
    ) -> None:
        super().__init__()
        self.shape, self.sizes, self.quantiles = shape, sizes, tuple(quantiles)
        self.point, self.seasons, self.decay = point, carried_seasons(shape), decay(shape)
        H, C, K = shape.horizon, shape.calendar_width, self.seasons
        width, D = sizes.width, sizes.embedding
        self.embed_row = nn.Linear(4 + K + C, width)
        self.lstm = LSTM(width, width, sizes.layers, batch_first=True)
        self.dropout = nn.Dropout(sizes.dropout)
        self.context = nn.Linear(width, D)
        self.position = nn.Parameter(0.1 * torch.randn(H, D))
        self.embed_ahead = nn.Linear(C, D, bias=False)
        self.direct = nn.Linear(width, H * (K + 1))
        self.season_head = nn.Linear(D, K)
        self.offset_head = nn.Linear(D, self.channels)
        self.season_logits = nn.Parameter(torch.zeros(H, K))
        self.register_buffer("calibration", torch.zeros(H, self.channels))
        self.register_buffer("phase", torch.arange(H) % shape.season, persistent=False)
        self._add_columns(width, D)
        self._start_naive()

    def _add_columns(self, width: int, ahead: int) -> None:
        """What reads covariates, where there are any."""
        if self.shape.dynamic:
            self.columns = Rows(self.shape.dynamic)
            self.embed_columns = nn.Linear(self.columns.width, width, bias=False)
            self.embed_columns_ahead = nn.Linear(self.columns.width, ahead, bias=False)
            self.effect_rows = nn.Linear(self.columns.width, EFFECT_WIDTH)
            self.effect_head = nn.Linear(EFFECT_WIDTH, 1, bias=False)
        if self.shape.static:
            self.static_columns = Rows(self.shape.static)
            self.embed_static = nn.Linear(self.static_columns.width, width, bias=False)

    @property
    def channels(self) -> int:
        """Numbers forecast for each row: the quantiles, and the mean where it is asked for."""
        return len(self.quantiles) + (self.point == "mean")

    @torch.no_grad()
    def _start_naive(self) -> None:
        """Heads that repeat the latest season, with normal quantiles around it."""
        for head in (self.direct, self.season_head, self.offset_head):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        if self.shape.dynamic:
            nn.init.zeros_(self.effect_head.weight)
        self.season_logits[:, -1] = RECENT
        normal = NormalDist(sigma=SPREAD)
        spread = [normal.inv_cdf(p) for p in self.quantiles] + [0.0] * (self.point == "mean")
        self.offset_head.bias.copy_(torch.tensor(spread))

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
        calendar: Tensor,
        at: Tensor | None = None,
        **covariates: Tensor,
    ) -> Tensor:
        """values, mask (B, T); calendar (B, T + H, C) -> (B, T, H, Q), a forecast after each row.

        Only after the rows `at` (B, A) int64 where they are given: (B, A, H, Q). Nothing was
        before the first row; after the last one may come rows with mask 0. Covariates by name, of
        T + H rows.
        """
        (B, T), device = values.shape, values.device
        if at is None:
            at = torch.arange(T, device=device).expand(B, T)
        here = (torch.arange(B, device=device).unsqueeze(1), at)
        ahead = at.unsqueeze(-1) + torch.arange(1, self.shape.horizon + 1, device=device)
        there = (here[0].unsqueeze(-1), ahead)
        fixed, moving = split_inputs(covariates)
        rows = self.columns(**moving) if self.shape.dynamic else None
        memory = self.remember(values, mask, rows)
        h = self.lstm(self.steps(values, memory, calendar, rows, fixed))[0][here]
        coming = self.coming(moving, there) if self.shape.dynamic else None
        h = self.dropout(h)
        hidden = self.ahead(h, calendar[there], coming)
        own = self.direct(h).unflatten(-1, (self.shape.horizon, -1))  # K logits, one offset
        offsets = self.offset_head(hidden) + own[..., -1:] + self.calibration
        if coming is not None:
            offsets = offsets + self.effects(coming)
        level, scale = (x[here][..., None, None] for x in memory[:2])
        logits = self.season_head(hidden) + own[..., :-1] + self.season_logits
        answer = level + self.anchor(logits, memory, level, here) + scale * offsets
        Q = len(self.quantiles)
        return torch.cat([answer[..., :Q].sort(-1).values, answer[..., Q:]], -1)

    def read(
        self, values: Tensor, mask: Tensor, calendar: Tensor, at: Any = None, **covariates: Tensor
    ) -> Tensor:
        """What the LSTM reads, from the arguments of `forward`: (B, T, width)."""
        fixed, moving = split_inputs(covariates)
        rows = self.columns(**moving) if self.shape.dynamic else None
        return self.steps(values, self.remember(values, mask, rows), calendar, rows, fixed)

    def remember(self, values: Tensor, mask: Tensor, rows: Tensor | None) -> Memory:
        """What is carried after each row."""
        level, scale = causal_norm(values, mask, self.decay)
        if rows is not None:
            values = values - scale * self.effects(rows[:, : values.shape[1]])[..., 0]
        return Memory(level, scale, values * mask, mask)

    def steps(
        self,
        values: Tensor,
        memory: Memory,
        calendar: Tensor,
        rows: Tensor | None,
        fixed: dict[str, Tensor],
    ) -> Tensor:
        """What the LSTM reads of each row, and of past seasons for the next: (B, T, width)."""
        T, mask = values.shape[1], memory.mask
        latest, observed = (self.seasons_back(x, 0)[..., -1] for x in memory[2:])
        both = mask * observed
        own = [
            relative(values - memory.level, memory.scale) * mask,
            mask,
            relative(values - latest, memory.scale) * both,
            both,
        ]
        past, seen = (self.seasons_back(x, 1) for x in memory[2:])
        past = relative(past - memory.level.unsqueeze(-1), memory.scale.unsqueeze(-1)) * seen
        x: Tensor = self.embed_row(torch.cat([torch.stack(own, -1), past, calendar[:, :T]], -1))
        if rows is not None:
            x = x + self.embed_columns(rows[:, :T])
        if fixed:
            x = x + self.embed_static(self.static_columns(**fixed)).unsqueeze(1)
        return x

    def seasons_back(self, x: Tensor, ahead: int) -> Tensor:
        """x (B, T) one to K seasons before each row and some `ahead`, oldest first: (B, T, K)."""
        m, K, T = self.shape.season, self.seasons, x.shape[1]
        padded = torch.cat([x.new_zeros(len(x), K * m), x], 1)
        return torch.stack([padded[:, k * m + ahead : k * m + ahead + T] for k in range(K)], -1)

    def coming(self, moving: dict[str, Tensor], there: tuple[Tensor, Tensor]) -> Tensor:
        """Covariates of the rows to come (B, A, H, D); those of the past are missing there."""
        found = {}
        for name, cells in moving.items():
            kinds = [c for c in self.shape.dynamic if (c.categories is None) == (name != "codes")]
            known = cells.new_tensor([c.role != "past" for c in kinds])
            found[name] = cells[there] * known
        rows: Tensor = self.columns(**found)
        return rows

    def effects(self, rows: Tensor) -> Tensor:
        """What the covariates of each row do to it, in units of the scale: (.., 1)."""
        effect: Tensor = self.effect_head(torch.relu(self.effect_rows(rows)))
        return effect

    def ahead(self, h: Tensor, calendar: Tensor, coming: Tensor | None) -> Tensor:
        """What each forecast row is made from: (B, A, H, D)."""
        hidden = self.context(h).unsqueeze(2) + self.position + self.embed_ahead(calendar)
        if coming is not None:
            hidden = hidden + self.embed_columns_ahead(coming)
        return torch.relu(hidden)

    def anchor(
        self, logits: Tensor, memory: Memory, level: Tensor, here: tuple[Tensor, Tensor]
    ) -> Tensor:
        """The mean of each phase's past rows, with weights from logits (B, A, H, K), less `level`:
        (B, A, H, 1)."""
        m, K = self.shape.season, self.seasons
        back = self.phase.unsqueeze(-1) + m * torch.arange(-K, 0, device=level.device)
        place = here[1][..., None, None] + 1 + back  # (B, A, H, K)
        sample = here[0][..., None, None]
        inside = place >= 0
        place = place.clamp(min=0)
        seen = memory.mask[sample, place] * inside
        past = (memory.rows[sample, place] - level) * seen
        weights = (logits + (1 - seen) * ABSENT).softmax(-1)
        return (weights * past).sum(-1, keepdim=True)


def causal_norm(values: Tensor, mask: Tensor, kept: float) -> tuple[Tensor, Tensor]:
    """Level and scale (B, T) of values (B, T) after each row, from observed rows up to it.

    The level is the mean with weights that fall by `kept` from one observed row to that before it;
    the scale is such a mean of distances from the level before, 0 until two rows have differed.
    """
    level = scale = total = torch.zeros_like(values[:, 0])
    found = []
    for x, there in zip(values.unbind(1), mask.unbind(1), strict=True):
        begun = torch.where(total > 0, there, total)
        scale = scale + begun * ((x - level).abs() - scale) / total.clamp(min=1)
        total = torch.where(there > 0, kept * total + 1, total)
        level = level + there * (x - level) / total.clamp(min=1)
        found.append(torch.stack([level, scale]))
    both = torch.stack(found, -1)
    return both[0], both[1]


def relative(distance: Tensor, scale: Tensor) -> Tensor:
    """Distances in units of the scale, squashed; 0 where there is no scale."""
    return WIDEST * torch.tanh(distance / torch.where(scale > 0, scale, 1) / WIDEST)


def program(network: RecurrentNetwork | ForecastEnsemble) -> Program:
    """The network in evaluation mode as a recurrent program; an ensemble's members side by side.

    `observe` reads a row and has no outputs; `forecast` reads the calendar and covariates of the
    rows to come, leaves the state as it is, and gives `quantiles` (B, H, Q) and the `scale` (B, 1).
    The weights have the names of the network's state_dict.
    """
    from lstmkit.program import Builder

    arrays = {name: t.detach().cpu().numpy().copy() for name, t in network.state_dict().items()}
    members: list[Any] = [network]
    if isinstance(network, ForecastEnsemble):
        members = list(network.members)
    prefixes = [""] if members[0] is network else [f"members.{k}." for k in range(len(members))]
    b = Builder("recurrent")
    writers = [_Writer(b, m, arrays, p) for m, p in zip(members, prefixes, strict=True)]
    given = declare(b, members[0].shape)
    for writer in writers:
        writer.observe(given)
    b.entry("observe")
    given = declare_ahead(b, members[0].shape)
    answers = [writer.forecast(given) for writer in writers]
    total = answers[0]
    for answer in answers[1:]:
        total = b.op("add", total, answer)
    if len(answers) > 1:
        total = b.op("affine", total, scale=1 / len(answers))
    b.output("quantiles", total, ("B", members[0].shape.horizon, members[0].channels))
    b.output("scale", b.op("affine", writers[0].slot("scale", 1)), ("B", 1))
    b.entry("forecast")
    return b.build()


def declare(b: Builder, shape: Geometry) -> dict[str, str]:
    """The inputs of `observe`: one row, by name."""
    sizes: dict[str, tuple[int, ...]] = {"value": (1,), "mask": (1,)}
    sizes["calendar"] = (shape.calendar_width,)
    sizes |= _column_sizes("", shape.dynamic, ()) | _column_sizes("static_", shape.static, ())
    return _declared(b, sizes)


def declare_ahead(b: Builder, shape: Geometry) -> dict[str, str]:
    """The inputs of `forecast`: the rows to come, by name."""
    H = shape.horizon
    sizes: dict[str, tuple[int, ...]] = {"future_calendar": (H, shape.calendar_width)}
    return _declared(b, sizes | _column_sizes("", shape.dynamic, (H,)))


def _column_sizes(
    prefix: str, covariates: Sequence[Any], rows: tuple[int, ...]
) -> dict[str, tuple[int, ...]]:
    codes = sum(c.categories is not None for c in covariates)
    numbers = len(covariates) - codes
    sizes = dict.fromkeys(("numbers", "present"), (*rows, numbers)) if numbers else {}
    sizes |= {"codes": (*rows, codes)} if codes else {}
    return {prefix + name: size for name, size in sizes.items()}


def _declared(b: Builder, sizes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    return {
        name: b.input(name, ("B", *size), "int64" if name.endswith("codes") else "float32")
        for name, size in sizes.items()
    }


@dataclass(frozen=True)
class _Writer:
    """Writes down what `RecurrentNetwork.forward` does, one row at a time."""

    builder: Builder
    network: RecurrentNetwork
    arrays: dict[str, Any]
    prefix: str

    def slot(self, name: str, size: int) -> str:
        return self.builder.slot(self.prefix + name, (size,))

    def weight(self, name: str) -> str:
        return weight(self.builder, self.arrays, self.prefix + name)

    def linear(self, x: str, name: str) -> str:
        there = [r for r in ("weight", "bias") if f"{self.prefix}{name}.{r}" in self.arrays]
        given = {role: self.weight(f"{name}.{role}") for role in there}
        return str(self.builder.op("linear", x=x, **given))

    def reshape(self, x: str, *sizes: int) -> str:
        return str(self.builder.op("reshape", x, shape=[0, *sizes]))

    def cut(self, x: str, axis: int, start: int, stop: int) -> str:
        return str(self.builder.op("slice", x, axis=axis, start=start, stop=stop))

    def columns(self, given: Mapping[str, str], name: str, rank: int) -> str:
        return write_rows(self.builder, self.arrays, self.prefix + name, given, rank)

    # --- a row

    def observe(self, given: dict[str, str]) -> None:
        b = self.builder
        fixed = {k[7:]: v for k, v in given.items() if k.startswith("static_")}
        moving = {k: given[k] for k in DYNAMIC if k in given}
        level, scale = self.norm(given["value"], given["mask"])
        rows = self.columns(moving, "columns.", 2) if moving else None
        past = given["value"]
        if rows is not None:
            past = b.op("subtract", past, b.op("multiply", scale, self.effects(rows)))
        past = b.op("multiply", past, given["mask"])
        x = self.step(given, level, scale, past)
        if rows is not None:
            x = b.op("add", x, self.linear(rows, "embed_columns"))
        if fixed:
            cells = self.columns(fixed, "static_columns.", 2)
            x = b.op("add", x, self.linear(cells, "embed_static"))
        b.lstm_cell(x, self.arrays, f"{self.prefix}lstm.", self.network.lstm.options())

    def norm(self, value: str, mask: str) -> tuple[str, str]:
        """The new level and scale, written."""
        b = self.builder
        level, scale, total = (self.slot(name, 1) for name in ("level", "scale", "total"))
        one = b.op("affine", total, scale=0.0, shift=1.0)
        begun = b.op("where", total, mask, total)
        change = b.op("subtract", b.op("abs", b.op("subtract", value, level)), scale)
        change = b.op("divide", b.op("multiply", begun, change), b.op("maximum", total, one))
        new_scale = b.op("add", scale, change)
        grown = b.op("affine", total, scale=self.network.decay, shift=1.0)
        new_total = b.op("where", mask, grown, total)
        change = b.op("multiply", mask, b.op("subtract", value, level))
        change = b.op("divide", change, b.op("maximum", new_total, one))
        new_level = b.op("add", level, change)
        for slot, new in ((level, new_level), (scale, new_scale), (total, new_total)):
            b.write(slot, new)
        return str(new_level), str(new_scale)

    def step(self, given: dict[str, str], level: str, scale: str, past: str) -> str:
        """What the LSTM reads; the ring of past seasons is moved on by the row."""
        b, mask = self.builder, given["mask"]
        (latest, rows), (observed, seen) = self.push("rows", past), self.push("seen", mask)
        both = b.op("multiply", mask, observed)
        own = [
            b.op("multiply", self.relative(given["value"], level, scale), mask),
            mask,
            b.op("multiply", self.relative(given["value"], latest, scale), both),
            both,
        ]
        back = b.op("multiply", self.relative(rows, level, scale), seen)
        x = b.op("concat", *own, back, given["calendar"], axis=1)
        return self.linear(x, "embed_row")

    def push(self, name: str, value: str) -> tuple[str, str]:
        """The ring moved on; the row one season ago, and those of past seasons for the next row."""
        b, m, K = self.builder, self.network.shape.season, self.network.seasons
        ring = self.slot(name, K * m)
        latest = self.cut(ring, 1, (K - 1) * m, (K - 1) * m + 1)
        moved = b.op("concat", self.cut(ring, 1, 1, K * m), value, axis=1)
        b.write(ring, moved)
        return latest, str(b.op("take", moved, axis=1, indices=[k * m for k in range(K)]))

    def relative(self, x: str, level: str, scale: str) -> str:
        b = self.builder
        one = b.op("affine", scale, scale=0.0, shift=1.0)
        ratio = b.op("divide", b.op("subtract", x, level), b.op("where", scale, scale, one))
        squashed = b.op("tanh", b.op("affine", ratio, scale=1 / WIDEST))
        return str(b.op("affine", squashed, scale=WIDEST))

    def effects(self, rows: str) -> str:
        return self.linear(self.builder.op("relu", self.linear(rows, "effect_rows")), "effect_head")

    # --- the rows to come

    def forecast(self, given: dict[str, str]) -> str:
        b = self.builder
        moving = {k: given[k] for k in DYNAMIC if k in given}
        coming = self.columns(moving, "columns.", 3) if moving else None
        sizes, K = self.network.sizes, self.network.seasons
        h = self.slot(f"lstm.h_l{sizes.layers - 1}", sizes.width)
        hidden = self.ahead(h, given["future_calendar"], coming)
        own = self.reshape(self.linear(h, "direct"), self.network.shape.horizon, K + 1)
        offsets = b.op("add", self.linear(hidden, "offset_head"), self.weight("calibration"))
        offsets = b.op("add", offsets, self.cut(own, 2, K, K + 1))
        if coming is not None:
            offsets = b.op("add", offsets, self.effects(coming))
        level, scale = (self.reshape(self.slot(name, 1), 1, 1) for name in ("level", "scale"))
        logits = b.op("add", self.linear(hidden, "season_head"), self.cut(own, 2, 0, K))
        answer = b.op("add", level, self.anchor(logits, level))
        return self.ordered(b.op("add", answer, b.op("multiply", scale, offsets)))

    def ahead(self, h: str, calendar: str, coming: str | None) -> str:
        b = self.builder
        context = self.reshape(self.linear(h, "context"), 1, self.network.sizes.embedding)
        hidden = b.op("add", context, self.weight("position"))
        hidden = b.op("add", hidden, self.linear(calendar, "embed_ahead"))
        if coming is not None:
            hidden = b.op("add", hidden, self.linear(coming, "embed_columns_ahead"))
        return str(b.op("relu", hidden))

    def anchor(self, logits: str, level: str) -> str:
        b, (rows, seen) = self.builder, (self.phases(name) for name in ("rows", "seen"))
        past = b.op("multiply", b.op("subtract", rows, level), seen)
        logits = b.op("add", logits, self.weight("season_logits"))
        absent = b.op("affine", seen, scale=-ABSENT, shift=ABSENT)
        weights = b.op("softmax", b.op("add", logits, absent))
        return str(b.op("sum", b.op("multiply", weights, past), keepdims=True))

    def phases(self, name: str) -> str:
        """The ring's rows of the phase of each row to come, (B, H, K)."""
        b, m, K = self.builder, self.network.shape.season, self.network.seasons
        table = self.reshape(self.slot(name, K * m), K, m)
        table = b.op("transpose", table, axes=[0, 2, 1])
        indices = [k % m for k in range(self.network.shape.horizon)]
        return str(b.op("take", table, axis=1, indices=indices))

    def ordered(self, answer: str) -> str:
        b, Q, channels = self.builder, len(self.network.quantiles), self.network.channels
        if channels == Q:
            return str(b.op("sort", answer))
        quantiles = b.op("sort", self.cut(answer, 2, 0, Q))
        return str(b.op("concat", quantiles, self.cut(answer, 2, Q, channels), axis=2))
