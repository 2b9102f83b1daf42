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

from collections.abc import Sequence
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
    Sizes,
    split_inputs,
)
from lstmkit.tasks.forecast.rows import Rows

if TYPE_CHECKING:
    pass

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
