"""The recurrent forecasting network as a program: `RecurrentNetwork.forward` row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lstmkit.tasks.forecast.features import Geometry
from lstmkit.tasks.forecast.network import ABSENT, ForecastEnsemble
from lstmkit.tasks.forecast.recurrent import DYNAMIC, WIDEST, RecurrentNetwork
from lstmkit.tasks.forecast.rows import weight, write_rows

if TYPE_CHECKING:
    from lstmkit.program import Builder, Program


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
