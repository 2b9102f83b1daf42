"""Perplexity and bits of a text that the model has not seen, beside n-gram models; no torch.

The text is read as one stream from its first token to its last, the state carried all the way;
every token is predicted, the first one after the token that stands before a text.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.evaluation import Report, bootstrap
from lstmkit.tasks.language import features
from lstmkit.tasks.language.corpus import Text

if TYPE_CHECKING:
    from lstmkit.runtime.model import Model
    from lstmkit.text.tokenizers import Tokenizer

LOGITS = 1 << 22  # numbers held at once
LONGEST = 256  # tokens of a piece
BLOCKS = 200  # that intervals resample
SHORTEST_BLOCK = 100  # tokens
FEWEST_BLOCKS = 10  # that say something of their spread


def log_probs(model: Model, tokens: np.ndarray, start: int) -> np.ndarray:
    """The natural log-probability (N,) of every token, given all before it."""
    size = max(1, min(LONGEST, LOGITS // model.program.entry("step").outputs[0].shape[1]))  # type: ignore[operator]
    state, pending, found = None, start, []
    for piece in features.in_pieces(tokens, size):
        given = {"tokens": features.before(piece, pending)[None]}
        outputs, state = model.run("read", given, state)
        found.append(features.log_probs(outputs["logits"][0], piece))
        pending = int(piece[-1])
    return np.concatenate([np.empty(0, np.float32), *found])


def memoryless(model: Model, tokens: np.ndarray, start: int) -> np.ndarray:
    """The same with the state reset before every step: only the token before is known."""
    given = features.before(tokens, start)
    different, which = np.unique(given, return_inverse=True)
    V = int(model.program.entry("step").outputs[0].shape[1])
    found = np.empty(len(tokens), np.float32)
    order = np.argsort(which, kind="stable")
    ends = np.searchsorted(which[order], np.arange(len(different) + 1))
    size = max(1, LOGITS // V)
    for first in range(0, len(different), size):
        some = different[first : first + size]
        logits = model.run("step", {"token": some})[0]["logits"]
        for k, row in enumerate(logits):
            places = order[ends[first + k] : ends[first + k + 1]]
            most = row.max()
            whole = math.log(np.exp(row - most).sum(dtype=np.float64))
            found[places] = row[tokens[places]] - most - whole
    return found


def metrics(found: np.ndarray, text: Text, kind: str) -> dict[str, float]:
    """Perplexity a token; and bits, of a character or byte, where tokens make up the whole text."""
    nats = -float(found.sum(dtype=np.float64))
    scores = {"perplexity": math.exp(min(nats / max(len(found), 1), 700))}
    bits = nats / math.log(2)
    if kind in ("char", "subword"):
        scores["bits_per_char"] = bits / max(text.counts.characters, 1)
    if kind in ("byte", "subword"):
        scores["bits_per_byte"] = bits / max(text.counts.bytes, 1)
    return scores


def interval(found: np.ndarray) -> tuple[float, float]:
    """95 % of the perplexity, from blocks of the text drawn again and again; NaN if short."""
    blocks = min(BLOCKS, len(found) // SHORTEST_BLOCK)
    if blocks < FEWEST_BLOCKS:
        return math.nan, math.nan
    parts = np.array_split(found.astype(np.float64), blocks)
    low, high = bootstrap.interval(
        (np.array([-p.sum() for p in parts]), np.array([len(p) for p in parts], float))
    )
    return math.exp(low), math.exp(high)


def report(
    model: Model,
    tokenizer: Tokenizer,
    text: Text,
    baselines: dict[str, np.ndarray],
    facts: dict[str, Any],
    dynamic: np.ndarray | None = None,
) -> Report:
    """The scores of a text; `baselines` and `dynamic` are log-probabilities (N,) of its tokens.

    What memory is worth is not told of a model that adapts: without memory it would not be the same
    model.
    """
    kind = tokenizer.kind
    found = log_probs(model, text.tokens, tokenizer.start)
    if dynamic is not None:
        baselines = {"not_adapted": found, **baselines}
        found = dynamic
    reset = memoryless(model, text.tokens, tokenizer.start) if dynamic is None else None
    data: dict[str, Any] = {"tokens": len(found), "kind": kind}
    if kind != "byte":
        data["characters"] = text.counts.characters
    if tokenizer.unknown is not None:
        data["unknown_share"] = round(text.counts.unknown, 6)
    return Report(
        "language",
        metrics(found, text, kind),
        {name: metrics(own, text, kind) for name, own in baselines.items()},
        data,
        facts,
        intervals={"perplexity": interval(found)},
        memory_worth=None if reset is None else metrics(reset, text, kind),
    )
