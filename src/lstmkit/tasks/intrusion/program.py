"""A detector as a program: one flow of one host to what was expected of it and what it looks like.

The state of the pair stands before that of the host, each as h and c; `table` keeps them apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.program import Builder
from lstmkit.tasks.intrusion.features import EXPECTED_NUMBERS, EXPECTED_WORDS, Geometry

if TYPE_CHECKING:
    from lstmkit.program import Program

FARTHEST = 6.0  # as in the network
NARROWEST, WIDEST = -3.0, 3.0
CHANCE = "chance_"  # of a word, before its name

Arrays = Mapping[str, np.ndarray]


def detector(shape: Geometry, weights: Arrays, options: Mapping[str, Any]) -> Program:
    """The program of a trained network.

    Args:
        shape: what is read.
        weights: of the network, by their names in its state_dict.
        options: of its two LSTMs, `pair` and `host`.
    """
    writer = Writer(Builder("recurrent"), shape, weights, options)
    writer.step()
    writer.builder.entry("step")
    return writer.builder.build()


@dataclass(frozen=True)
class Writer:
    """Writes a step into a builder."""

    builder: Builder
    shape: Geometry
    weights: Arrays
    options: Mapping[str, Any]

    def op(self, kind: str, *values: str, **arguments: Any) -> str:
        return str(self.builder.op(kind, *values, **arguments))

    def weight(self, name: str) -> str:
        return self.builder.weight(name, self.weights[name])

    def linear(self, x: str, name: str) -> str:
        return self.op(
            "linear",
            x=x,
            weight=self.weight(f"{name}.weight"),
            bias=self.weight(f"{name}.bias"),
        )

    def clipped(self, x: str, least: float, most: float) -> str:
        low = self.op("maximum", x, self.op("affine", x, scale=0.0, shift=least))
        return self.op("minimum", low, self.op("affine", x, scale=0.0, shift=most))

    def step(self) -> None:
        """One flow."""
        N, W, K = len(self.shape.numbers), len(self.shape.words), len(self.weights["judge.bias"])
        numbers = self.builder.input("numbers", ("B", N))
        words = self.builder.input("words", ("B", W), "int64")
        scaled = self.op("subtract", numbers, self.weight("middle"))
        scaled = self.clipped(self.op("divide", scaled, self.weight("scale")), -FARTHEST, FARTHEST)
        named = self.op("embedding", words, self.weight("embed.weight"))
        x = self.op("add", self.linear(scaled, "read"), self.op("sum", named, axis=1))
        x = self.op("tanh", x)
        old = [self.state("pair."), self.state("host.")]
        pair = self.builder.lstm_cell(x, self.weights, "pair.", self.options["pair"])
        heard = self.op("concat", x, pair)
        host = self.builder.lstm_cell(heard, self.weights, "host.", self.options["host"])
        if self.shape.hosts:
            self.expected(self.op("concat", old[1], old[0]), scaled, words)
        looked = self.op("relu", self.linear(self.op("concat", host, pair, x), "look"))
        classes = self.op("softmax", self.linear(looked, "judge"), axis=-1)
        self.builder.output("classes", classes, ("B", K))

    def state(self, prefix: str) -> str:
        """The output of an LSTM at the step before."""
        size = self.options[prefix[:-1]]["hidden_size"]
        return self.builder.slot(f"{prefix}h_l0", (size,))

    def expected(self, states: str, scaled: str, words: str) -> None:
        """Chances of the flow's words before it, all of the vocabulary's, and how far off its
        numbers are: minus the logarithm of a Laplace density."""
        before = self.op("relu", self.linear(states, "before"))
        place = [name for name, _ in self.shape.words].index("port")
        port = self.op("slice", words, axis=1, start=place, stop=place + 1)
        asked = self.op("embedding", port, self.weight("embed.weight"))
        asked = self.op("reshape", asked, shape=[0, self.weights["embed.weight"].shape[1]])
        given = self.op("relu", self.linear(self.op("concat", before, asked), "given"))
        for name in EXPECTED_WORDS:
            layer = "ended" if name == "state" else f"asked.{name}"
            chances = self.op(
                "softmax", self.linear(given if name == "state" else before, layer), axis=-1
            )
            self.builder.output(CHANCE + name, chances, ("B", len(self.shape.words_of(name))))
        self.builder.output("off", self.off(given, scaled), ("B", len(EXPECTED_NUMBERS)))

    def off(self, given: str, scaled: str) -> str:
        """|x - middle| / width + log width of each expected number."""
        M = len(EXPECTED_NUMBERS)
        said = self.linear(given, "amount")
        middle = self.op("slice", said, axis=1, start=0, stop=M)
        width = self.clipped(self.op("slice", said, axis=1, start=M, stop=2 * M), NARROWEST, WIDEST)
        places = [self.shape.numbers.index(name) for name in EXPECTED_NUMBERS]
        there = self.op("take", scaled, axis=1, indices=places)
        away = self.op("abs", self.op("subtract", there, middle))
        inverse = self.op("exp", self.op("affine", width, scale=-1.0))
        return self.op("add", self.op("multiply", away, inverse), width)
