"""A detector as a program: how a row becomes an error, one operation after the other.

Level, season and typical error are carried beside the LSTM's state, so a row costs the same however
long the series is, and whole = chunked = streamed. `normaliser` is the part before the network,
from which the training takes its inputs: there is one definition of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lstmkit.program import Builder
from lstmkit.tasks.anomaly.features import Geometry

if TYPE_CHECKING:
    from lstmkit.program import Program

WIDEST = 8.0  # what the network reads is squashed softly to this, in units of the scale
FARTHEST = 6.0  # scales by which one row can move its channel's level at most
STRANGE = 1.0  # scales from the expected value at which a row is cut off in the memory of seasons
LARGEST_ERROR = 10.0  # in units of the typical one; what one channel can say at most
MEASURES = 3  # of how far a row is off: now, lasting, leaning
LEANING = 3  # the mean error is of so many times the rows of the mean distance
LAST, RINGS = "last", ("ring", "ring_mask")

Arrays = Mapping[str, np.ndarray]


class Row(NamedTuple):
    """Names of a row's numbers, all (B, C): in units of the scale, relative to the level before it.

    `z` the values, `known` where they and a level are; `last` the last observed ones, `past` those
    one season ago, and `there` where such are; `off` values less their level, in units of the data.
    """

    z: str
    known: str
    last: str
    past: str
    there: str
    off: str
    level: str
    scale: str


@dataclass(frozen=True)
class Writer:
    """Writes the steps of a detector into a builder."""

    builder: Builder
    shape: Geometry
    weights: Arrays

    def op(self, kind: str, *values: str, **arguments: Any) -> str:
        return str(self.builder.op(kind, *values, **arguments))

    def weight(self, name: str) -> str:
        return self.builder.weight(name, self.weights[name])

    def linear(self, x: str, name: str) -> str:
        there = [r for r in ("weight", "bias") if f"{name}.{r}" in self.weights]
        return self.op("linear", x=x, **{r: self.weight(f"{name}.{r}") for r in there})

    def constant(self, like: str, value: float) -> str:
        return self.op("affine", like, scale=0.0, shift=value)

    def clipped(self, x: str, most: float) -> str:
        low = self.op("maximum", x, self.constant(x, -most))
        return self.op("minimum", low, self.constant(x, most))

    def squashed(self, x: str) -> str:
        return self.op(
            "affine", self.op("tanh", self.op("affine", x, scale=1 / WIDEST)), scale=WIDEST
        )

    def of_series(self, name: str, given: Mapping[str, str], width: int) -> str:
        """A row of a table with one row a series: (B, width)."""
        found = self.op("embedding", given["series"], self.weight(name))
        return self.op("reshape", found, shape=[0, width])

    # --- a row

    def declare(self) -> dict[str, str]:
        """The inputs of an entry point, by name."""
        C, K = len(self.shape.channels), self.shape.calendar_width
        given = {name: self.builder.input(name, ("B", C)) for name in ("values", "mask")}
        given["calendar"] = self.builder.input("calendar", ("B", K))
        given["series"] = self.builder.input("series", ("B", 1), "int64")
        return given

    def row(self, given: Mapping[str, str]) -> Row:
        """A row in units of its channels; levels and rings are moved on by it."""
        C, mask, values = len(self.shape.channels), given["mask"], given["values"]
        scale = self.of_series("scale", given, C)
        level, begun = self.level(values, mask, scale)
        last = self.builder.slot(LAST, (C,))
        self.builder.write(LAST, self.op("where", mask, values, last))
        past, there = self.season()
        known = self.op("multiply", mask, begun)

        def relative(x: str) -> str:
            return self.squashed(self.op("divide", self.op("subtract", x, level), scale))

        off = self.op("multiply", self.op("subtract", values, level), known)
        z = self.op("multiply", relative(values), known)
        before = self.op("multiply", relative(last), begun)
        ago = self.op("multiply", relative(past), there) if past else ""
        return Row(z, known, before, ago, there, off, level, scale)

    def level(self, values: str, mask: str, scale: str) -> tuple[str, str]:
        """The level before this row, and whether there is one; it follows by what the row is off.

        A mean of all rows at first, then with weights that halve every `half_life` rows; a row
        counts as at most FARTHEST scales off, so that a spike does not move it.
        """
        C = len(self.shape.channels)
        level, count = (self.builder.slot(name, (C,)) for name in ("level", "count"))
        most = 1 / (1 - 0.5 ** (1 / self.shape.half_life))
        grown = self.op("add", count, mask)
        grown = self.op("minimum", grown, self.constant(grown, most))
        off = self.op("subtract", values, level)
        held = self.op("multiply", self.clipped(self.op("divide", off, scale), FARTHEST), scale)
        step = self.op("where", count, held, off)
        one = self.constant(grown, 1.0)
        gain = self.op("divide", mask, self.op("maximum", grown, one))
        self.builder.write("level", self.op("add", level, self.op("multiply", gain, step)))
        self.builder.write("count", grown)
        begun = self.op("minimum", count, one)
        return level, begun

    def season(self) -> tuple[str, str]:
        """Values one season ago and whether they were there; nothing without a season."""
        m, C = self.shape.season, len(self.shape.channels)
        if not m:
            return "", ""
        rings = [self.builder.slot(name, (m * C,)) for name in RINGS]
        first, there = (self.op("slice", ring, axis=1, start=0, stop=C) for ring in rings)
        return first, there

    def remember(self, values: str, mask: str) -> None:
        """Move the rings of the season on by a row."""
        m, C = self.shape.season, len(self.shape.channels)
        for name, x in zip(RINGS, (values, mask), strict=True):
            ring = self.builder.slot(name, (m * C,))
            rest = [self.op("slice", ring, axis=1, start=C, stop=m * C)] if m > 1 else []
            self.builder.write(name, self.op("concat", *rest, x, axis=1))

    def believable(self, row: Row, values: str, predicted: str) -> str:
        """Values as they are remembered for the next season: at most STRANGE scales from what was
        expected, so that an anomaly is not expected again."""
        expected = self.op("add", row.level, self.op("multiply", row.scale, predicted))
        off = self.op("divide", self.op("subtract", values, expected), row.scale)
        near = self.op("multiply", self.clipped(off, STRANGE), row.scale)
        return self.op("where", row.known, self.op("add", expected, near), values)

    # --- the network

    def errors(
        self, row: Row, given: Mapping[str, str], options: Mapping[str, Any]
    ) -> tuple[str, str]:
        """Errors (B, E) of prediction, then of reconstruction; and what was predicted (B, C)."""
        H = options["hidden_size"]
        h = self.builder.slot(f"lstm.h_l{options['num_layers'] - 1}", (H,))
        known_before = [row.past, row.there] if row.past else []
        about = self.op("concat", *known_before, given["calendar"], axis=1)
        own = self.op("multiply", row.last, self.op("sigmoid", self.weight("keep")))
        predicted = self.op("add", own, self.linear(h, "predict"))
        predicted = self.op("add", predicted, self.linear(about, "predict_about"))
        found = [self.op("multiply", self.op("subtract", row.z, predicted), row.known)]
        if "encode.weight" in self.weights:
            found.append(self.reconstruction_error(row, predicted, h))
        if self.shape.season:
            values = self.believable(row, given["values"], predicted)
            self.remember(values, given["mask"])
        x = self.op("concat", row.z, row.known, about, axis=1)
        self.builder.lstm_cell(self.linear(x, "embed"), self.weights, "lstm.", options)
        return self.op("concat", *found, axis=1) if len(found) > 1 else found[0], predicted

    def reconstruction_error(self, row: Row, predicted: str, h: str) -> str:
        """What a few numbers about the row, and the state before it, leave unexplained of it."""
        code = self.linear(self.op("where", row.known, row.z, predicted), "encode")
        hidden = self.op("concat", code, self.linear(h, "context"), axis=1)
        hidden = self.op("relu", self.linear(hidden, "decode"))
        again = self.op(
            "add", self.linear(code, "decode_linear"), self.linear(hidden, "reconstruct")
        )
        return self.op("multiply", self.op("subtract", row.z, again), row.known)

    # --- the score

    def distances(self, errors: str, row: Row, given: Mapping[str, str]) -> tuple[str, str]:
        """How unusual a row is, in three ways (B, 3), and each channel's part in it (B, C).

        Mahalanobis' distance of this row's errors; its mean over the last rows, for what lasts; and
        that of the mean error over more rows, for what leans to one side. Each in units of its
        typical size, and scaled up where channels are missing. A channel's part is its own squared
        errors: shares of the distance itself smear over channels that go together.
        """
        E = self.errors_wide
        each = self.op("divide", errors, self.of_series("error_scale", given, E))
        each = self.clipped(each, LARGEST_ERROR)
        there = self.op("sum", row.known, keepdims=True)
        now = self.distance(each, there)
        lasting = self.averaged("lasting", now, there, self.shape.smoothing)
        mean = self.averaged("mean_error", each, there, LEANING * self.shape.smoothing)
        found = self.op("concat", now, lasting, self.distance(mean, there), axis=1)
        typical = self.of_series("typical", given, MEASURES)
        own = self.by_channel(self.op("multiply", each, each))
        return self.op("divide", found, typical), own

    def distance(self, errors: str, there: str) -> str:
        """Mahalanobis' distance (B, 1) of errors (B, E)."""
        C = len(self.shape.channels)
        white = self.linear(self.linear(errors, "whiten"), "unwhiten")
        parts = self.op("relu", self.by_channel(self.op("multiply", errors, white)))
        count = self.op("maximum", there, self.constant(there, 1.0))
        share = self.op("divide", self.constant(there, float(C)), count)
        total = self.op("sum", parts, keepdims=True)
        return self.op("sqrt", self.op("multiply", total, share))

    def by_channel(self, x: str) -> str:
        """Numbers of errors (B, E) added up for each channel (B, C)."""
        C, E = len(self.shape.channels), self.errors_wide
        if E == C:
            return x
        halves = [self.op("slice", x, axis=1, start=k, stop=k + C) for k in (0, C)]
        return self.op("add", *halves)

    def averaged(self, name: str, x: str, there: str, rows: int) -> str:
        """The exponential mean over about so many rows that have any value, slot `name`."""
        kept = 1 - 2 / (rows + 1)
        slot = self.builder.slot(name, (1 if name == "lasting" else self.errors_wide,))
        kept_part = self.op("affine", slot, scale=kept)
        new = self.op("add", kept_part, self.op("affine", x, scale=1 - kept))
        new = self.op("where", there, new, slot)
        self.builder.write(name, new)
        return new

    @property
    def errors_wide(self) -> int:
        """E: errors of a row, of prediction and, where there is any, of reconstruction."""
        return len(self.shape.channels) * (2 if "encode.weight" in self.weights else 1)


def normaliser(shape: Geometry, scale: np.ndarray) -> Program:
    """Rows to what the network reads: `z`, `known`, `last`, `off`; of a season `past`, `there`."""
    b = Builder("recurrent")
    w = Writer(b, shape, {"scale": scale})
    given = w.declare()
    row = w.row(given)
    if shape.season:
        w.remember(given["values"], given["mask"])
    C = len(shape.channels)
    for name in ("z", "known", "last", "off") + (("past", "there") if row.past else ()):
        b.output(name, w.op("affine", getattr(row, name)), ("B", C))
    b.entry("step")
    return b.build()


def raw(shape: Geometry, weights: Arrays, options: Mapping[str, Any]) -> Program:
    """The detector without what is learnt from its errors: outputs `errors` (B, E)."""
    b = Builder("recurrent")
    w = Writer(b, shape, weights)
    given = w.declare()
    row = w.row(given)
    errors, _ = w.errors(row, given, options)
    b.output("errors", w.op("affine", errors), ("B", w.errors_wide))
    b.output("known", w.op("affine", row.known), ("B", len(shape.channels)))
    b.entry("step")
    return b.build()


def detector(shape: Geometry, weights: Arrays, options: Mapping[str, Any]) -> Program:
    """The whole: outputs `distances` (B, 3), `parts` (B, C) and what was `expected` (B, C)."""
    b = Builder("recurrent")
    w = Writer(b, shape, weights)
    given = w.declare()
    row = w.row(given)
    errors, predicted = w.errors(row, given, options)
    distances, parts = w.distances(errors, row, given)
    C = len(shape.channels)
    expected = w.op("add", row.level, w.op("multiply", row.scale, predicted))
    b.output("distances", distances, ("B", MEASURES))
    b.output("parts", parts, ("B", C))
    b.output("expected", expected, ("B", C))
    b.entry("step")
    return b.build()
