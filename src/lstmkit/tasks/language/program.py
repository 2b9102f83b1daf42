"""The model without torch: one token in, the logits of the next out; or a piece of text at once.

`step` takes a token (B,) and gives logits (B, V); `read` takes tokens (B, T) and gives (B, T, V).
Both go on from the same slots. Logits of an adaptive softmax are log-probabilities already.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lstmkit.operations import Arrays
from lstmkit.program import Builder, Program
from lstmkit.tasks.language.shape import Shape

TABLE = "embedding.weight"
STEP, READ = "step", "read"


def language_model(shape: Shape, weights: Arrays, options: Mapping[str, Any]) -> Program:
    """The program of a network's weights, by the names of its state_dict, and the `options()` of
    its layers."""
    b = Builder("recurrent")
    token = b.input("token", ("B",), "int64")
    x = b.op("embedding", token, b.weight(TABLE, weights[TABLE]))
    for k, size in enumerate(shape.hidden):
        own = {**options, "hidden_size": size}
        x = b.lstm_cell(x, *_layer(weights, k), own)
    b.output("logits", _logits(b, shape, weights, x), ("B", shape.symbols))
    b.entry(STEP)
    tokens = b.input("tokens", ("B", "T"), "int64")
    x = b.op("embedding", tokens, b.weight(TABLE, weights[TABLE]))
    for k, size in enumerate(shape.hidden):
        own = {**options, "hidden_size": size}
        x = b.lstm(x, *_layer(weights, k), own, carried=True)
    b.output("logits", _logits(b, shape, weights, x), ("B", "T", shape.symbols))
    b.entry(READ)
    return b.build()


def _layer(weights: Arrays, k: int) -> tuple[Arrays, str]:
    """The weights of a layer, and how their names begin."""
    prefix = f"layers.{k}."
    return {name: w for name, w in weights.items() if name.startswith(prefix)}, prefix


def _logits(b: Builder, shape: Shape, weights: Arrays, x: str) -> str:
    """What the network's softmax is made from, of x (.., H)."""

    def weight(name: str) -> str:
        return b.weight(name, weights[name])

    if not shape.cutoffs:
        table = TABLE if shape.tied else "softmax.weight"
        return str(b.op("linear", x=x, weight=weight(table), bias=weight("softmax.bias")))
    first, clusters = shape.cutoffs[0], len(shape.cutoffs)
    head = b.op("log_softmax", b.op("linear", x=x, weight=weight("softmax.head.weight")))
    parts = [b.op("slice", head, axis=-1, start=0, stop=first)]
    for k in range(clusters):
        narrow = b.op("linear", x=x, weight=weight(f"softmax.tail.{k}.0.weight"))
        inner = b.op("linear", x=narrow, weight=weight(f"softmax.tail.{k}.1.weight"))
        way = b.op("slice", head, axis=-1, start=first + k, stop=first + k + 1)
        parts.append(b.op("add", b.op("log_softmax", inner), way))
    return str(b.op("concat", *parts, axis=-1))
