"""A language model as inspection sees it: stretches of a text, and what it expects to follow them.

Each stretch is read with the state that the model has after the tokens before it. The answers are
the chances of the token that came after it and of the likeliest ones, as log2 of probabilities.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lstmkit.errors import UserError
from lstmkit.inspection.probe import Feature, Probe, Scoring
from lstmkit.inspection.view import Curve
from lstmkit.tasks.language import corpus
from lstmkit.tasks.language.answers import unseen as unseen_part
from lstmkit.tasks.language.network import Full, LanguageNetwork
from lstmkit.tasks.language.shape import WORDS
from lstmkit.tasks.language.trace import opened, written

if TYPE_CHECKING:
    from lstmkit.tasks.language.estimator import LanguageModel
    from lstmkit.tasks.language.network import State
    from lstmkit.text.tokenizers import Tokenizer

STRETCH = {True: 64, False: 128}  # tokens of a stretch: of words, of characters
LEAD = 256  # tokens that are read before it
SHORTEST = 8  # tokens of a stretch
STUDIED, SCORED, FEWEST_SCORED = 64, 512, 64  # stretches
WORK = 1e12  # floating-point operations that scoring may take, all lengths of memory together
LENGTHS = 14  # of memory, about
LIKELIEST = 3  # tokens beside the one that came
SNIPPET = 24  # characters of a sample's name
BITS = 1 / np.log(2)


class Shown(NamedTuple):
    """What the last layer gives at each step (N, T, H), and the tokens asked about (N, A)."""

    hidden: Tensor
    asked: Tensor


class Stretches(NamedTuple):
    """Tokens (N, T), what came after each stretch (N,), and the state before it."""

    tokens: np.ndarray
    next: np.ndarray
    state: State


class Continuing(nn.Module):
    """The network as a function of named arrays: vectors of tokens (N, T, E), numbers of the tokens
    asked about (N, A), and the state before, h0 (N, H), c0, h1, ..."""

    def __init__(self, network: LanguageNetwork) -> None:
        super().__init__()
        self.layers, self.network = network.layers, network  # first: recordings name them so

    def forward(self, vectors: Tensor, asked: Tensor, **state: Tensor) -> Shown:
        x = vectors.transpose(0, 1)
        for k, layer in enumerate(self.layers):
            x, _ = layer(x, (state[f"h{k}"][None], state[f"c{k}"][None]))
        return Shown(x.transpose(0, 1), asked.round().long())

    def log_probs(self, hidden: Tensor, tokens: Tensor) -> Tensor:
        """log2 of the chances of tokens (N,), after `hidden` (N, H)."""
        softmax, table = self.network.softmax, self.network.embedding.weight
        found: Tensor = softmax.log_probs(hidden, tokens, table) * BITS
        return found

    def answers(self, output: Shown) -> Tensor:
        """(N, A) of the tokens asked about, after the last step."""
        A = output.asked.shape[1]
        last = output.hidden[:, -1].repeat_interleave(A, 0)
        return self.log_probs(last, output.asked.flatten()).view(-1, A)


def probe(asked: LanguageModel, data: Any, samples: int, only: Sequence[str]) -> Probe:
    """Stretches of the part of a text that was not learnt from; of all of it, unscored, where the
    model knows it.

    Args:
        data: as `LanguageModel.trace`.
        samples: so many stretches, spread over the text.
        only: the tokens, counted from 1, at which stretches begin; or names of such.

    Raises:
        UserError: a text too short, or no such place.
    """
    text, before, notes, unseen = _text(asked, data)
    length, lead = _lengths(asked, len(text))
    network = Continuing(asked.network_).eval()
    room = (lead, len(text) - length - 1)  # the first and the last place of a stretch
    places = _chosen(only, before, room) if only else _spread(room, samples)
    shown = _stretches(network.network, text, places, length, lead)
    studied = _stretches(network.network, text, _spread(room, STUDIED), length, lead)
    inputs = _inputs(network, shown)
    return Probe(
        network=network,
        inputs=inputs,
        samples=tuple(_names(asked.tokenizer_, shown, places + before)),
        labels=_labels(asked.tokenizer_, shown.tokens),
        anchor=np.full(len(places), length - 1),
        studied=_inputs(network, studied),
        studied_anchor=np.full(len(studied.next), length - 1),
        answers=network.answers,
        answer_names=_answer_names(inputs),
        scale=np.ones(len(places)),
        features=[_feature(asked, inputs["vectors"])],
        curves=lambda output: _curves(network, shown, output),
        title=f"LanguageModel of {asked.shape_.symbols:,} {_unit(asked)}s",
        facts=_facts(asked, length, lead),
        quantity="surprise, bits a token",
        step=f"a {_unit(asked)}",
        scoring=_scoring(network, text, room, length, lead) if unseen else None,
        notes=[*notes, *_told(inputs, lead)],
    )


# --- the text


def _text(asked: LanguageModel, data: Any) -> tuple[np.ndarray, int, list[str], bool]:
    """Its tokens, how many of the file stand before them, what is to be said, whether unseen."""
    source, encoding = opened(asked, data)
    with corpus.twice(source) as again:
        whole = corpus.tokenised(asked.tokenizer_, again, encoding)
    try:
        part, notes = unseen_part(asked, whole)
    except UserError:
        said = "the model was trained on this text: the cost of forgetting is not scored"
        return whole.tokens, 0, [said], False
    notes = [note.replace("scored on", "shown are stretches of") for note in notes]
    return part.tokens, len(whole.tokens) - len(part.tokens), notes, True


def _lengths(asked: LanguageModel, tokens: int) -> tuple[int, int]:
    """Tokens of a stretch, and those read before it: less of both where the text is short."""
    length = min(STRETCH[asked.tokens in WORDS], (tokens - 1) // 2)
    if length < SHORTEST:
        raise UserError(
            "the text is too short to look into",
            got=f"{tokens} tokens",
            expected=f"at least {2 * SHORTEST + 1} that the model has not learnt from",
        )
    return length, min(LEAD, (tokens - 1 - length) // 2)


def _spread(room: tuple[int, int], count: int) -> np.ndarray:
    """So many places, at most, from the first to the last."""
    return np.unique(np.linspace(*room, count).round().astype(np.int64))


def _chosen(only: Sequence[str], before: int, room: tuple[int, int]) -> np.ndarray:
    """The places that are named by the number of a token of the file, from 1."""
    first, last = (place + before + 1 for place in room)
    found = []
    for name in only:
        number = re.match(r"\s*(?:token )?([\d,]+)", name)
        place = int(number[1].replace(",", "") or 0) if number else 0
        if not first <= place <= last:
            raise UserError(
                f"no stretch {name!r} to look at",
                expected=f"the token that it begins with, {first:,} to {last:,}",
            )
        found.append(place - before - 1)
    return np.array(found)


@torch.no_grad()
def _stretches(
    network: LanguageNetwork, text: np.ndarray, places: np.ndarray, length: int, lead: int
) -> Stretches:
    """Stretches that begin at `places`, at least `lead` each, with the state before them."""
    rows = places[:, None] + np.arange(-lead, length + 1)
    tokens = text[rows].astype(np.int64)
    _, _, state = network.read(torch.from_numpy(tokens[:, :lead].T), network.begin(len(places)))
    return Stretches(tokens[:, lead:-1], tokens[:, -1], state)


@torch.no_grad()
def _came(network: Continuing, given: Stretches) -> dict[str, Tensor]:
    """What the network takes; asked about is the token that came."""
    vectors = network.network.embedding(torch.from_numpy(given.tokens))
    found = {"vectors": vectors, "asked": torch.from_numpy(given.next)[:, None].float()}
    for k, (h, c) in enumerate(given.state):
        found |= {f"h{k}": h[0], f"c{k}": c[0]}
    return found  # numbers of tokens are below 2^24: exact in float32


@torch.no_grad()
def _inputs(network: Continuing, given: Stretches) -> dict[str, np.ndarray]:
    """The same; asked about are the likeliest tokens too."""
    found = _came(network, given)
    last = network(**found).hidden[:, -1]
    found["asked"] = torch.cat([found["asked"], _likeliest(network.network, last).float()], 1)
    return {name: x.numpy() for name, x in found.items()}


def _likeliest(network: LanguageNetwork, hidden: Tensor) -> Tensor:
    """The tokens (N, LIKELIEST) that most probably follow `hidden` (N, H)."""
    softmax = network.softmax
    if isinstance(softmax, Full):
        found = nn.functional.linear(hidden, network.table, softmax.bias)
    else:
        found = softmax.log_prob(hidden)
    return found.topk(min(LIKELIEST, found.shape[1])).indices


# --- what is shown


def _unit(asked: LanguageModel) -> str:
    return {"char": "character"}.get(asked.tokens, asked.tokens)


def _facts(asked: LanguageModel, length: int, lead: int) -> list[tuple[str, str]]:
    cells = " + ".join(map(str, asked.shape_.hidden))
    return [
        ("task", "language"),
        (
            "cells",
            f"{cells} in {len(asked.shape_.hidden)} layer{'s' * (len(asked.shape_.hidden) > 1)}",
        ),
        ("reads", f"a {_unit(asked)} a step, {length} shown after {lead} others"),
        ("answers", "log2 of the chance of what follows"),
    ]


def _answer_names(inputs: dict[str, np.ndarray]) -> tuple[str, ...]:
    ranks = ("likeliest", "second likeliest", "third likeliest")[: inputs["asked"].shape[1] - 1]
    return ("the token that came", *(f"the {rank} token" for rank in ranks))


def _told(inputs: dict[str, np.ndarray], lead: int) -> list[str]:
    names = _answer_names(inputs)
    told = ", ".join(f"{k} is {name}" for k, name in enumerate(names, 1))
    return [
        f"the state before each stretch is that after the {lead} tokens before it",
        f"answers are log2 of the chance, after the stretch, of a token: {told}",
    ]


def _names(tokenizer: Tokenizer, shown: Stretches, places: np.ndarray) -> list[str]:
    """Such as `token 1,201: What say you`."""
    found = []
    for place, row in zip(places + 1, shown.tokens, strict=True):
        text = " ".join("".join(written(tokenizer, row[: 2 * SNIPPET])).split())
        told = "".join(c for c in text if c.isprintable() and c != "$")  # no formula in a caption
        found.append(f"token {place:,}: {told[:SNIPPET].strip()}")
    return found


def _labels(tokenizer: Tokenizer, tokens: np.ndarray) -> np.ndarray:
    """(N, T) tokens as they are shown, blanks made visible."""
    shown = [[tokenizer.token(int(t)) for t in row] for row in tokens]
    return np.array([["\u2423" if t == " " else t for t in row] for row in shown])


def _feature(asked: LanguageModel, vectors: np.ndarray) -> Feature:
    """What was read, compared with the mean vector of the training text."""
    table = np.asarray(asked.network_.embedding.weight.detach().numpy(), np.float64)
    often = asked.frequencies_ / max(asked.frequencies_.sum(), 1)
    mean = (often @ table).astype(np.float32)
    baseline = np.broadcast_to(mean, vectors.shape)
    return Feature("tokens", "vectors", None, baseline, np.arange(vectors.shape[1]))


def _curves(network: Continuing, shown: Stretches, output: Shown) -> list[Curve]:
    """How surprising each token was, from the second on to the one after the stretch."""
    targets = np.concatenate([shown.tokens[:, 1:], shown.next[:, None]], 1)
    flat = torch.from_numpy(targets.reshape(-1))
    with torch.no_grad():
        found = network.log_probs(output.hidden.detach().flatten(0, 1), flat)
    T = targets.shape[1]
    x = np.append(np.arange(1.0, T), T - 0.5)  # the last one, right of all that was read
    return [Curve("surprise of the token", "prediction", x, -found.view(-1, T).numpy())]


# --- scores


def _scoring(
    network: Continuing, text: np.ndarray, room: tuple[int, int], length: int, lead: int
) -> Scoring:
    """Nats a token of what follows stretches all over the text."""
    places = _spread(room, _affordable(network.network, length))
    given = _stretches(network.network, text, places, length, lead)
    inputs = {name: x.numpy() for name, x in _came(network, given).items()}

    def score(output: Shown) -> float:
        return float(-network.answers(output).mean() / BITS)

    return Scoring(inputs, np.full(len(places), length - 1), score, "nats a token")


def _affordable(network: LanguageNetwork, length: int) -> int:
    """How many stretches are scored: fewer of a larger network."""
    cells = sum(p.numel() for p in network.layers.parameters())
    return int(np.clip(WORK / (2.0 * cells * length * LENGTHS), FEWEST_SCORED, SCORED))
