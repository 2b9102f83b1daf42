"""Drawing tokens from a model of language: step, filter, draw, and again, in one native call.

The entry point has one input, a token, and one output, the logits of the next. A stream holds its
last token *pending*, not stepped yet: so the state after a prompt serves any number of
continuations. Numbers are counter-based (Philox, as for masks) by seed and how many were drawn
before: pieces of any size give what the whole gives, and native and numpy the same tokens (where no
two choices are as near as float32 rounds).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lstmkit.engine import NATIVE
from lstmkit.equations import philox
from lstmkit.errors import UserError
from lstmkit.operations import Array, ProgramError
from lstmkit.runtime.model import refused
from lstmkit.runtime.session import Session, step_many

PURPOSE = 0x67656E00  # as in native/sampling.cpp
NOTHING = "the logits have no finite one that may be drawn, or a NaN"
LARGEST_SEED = (1 << 63) - 1


class Sampling(NamedTuple):
    """How the next token is chosen; filters work in this order.

    Attributes:
        repetition_penalty: divides the logits above 0, and multiplies those below, of tokens among
            the last `repetition_window` drawn (Keskar et al. 2019); 1 is none.
        temperature: divides the logits; 0 takes the likeliest, the first of equals.
        top_k: keeps so many of the likeliest (Fan et al. 2018); 0 keeps all.
        top_p: keeps the fewest of the likeliest that have this much of the probability (nucleus
            sampling, Holtzman et al. 2020).
        min_p: keeps what has at least this share of the likeliest's probability (Nguyen et al.
            2024).
        forbidden: tokens that are never drawn.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    repetition_window: int = 64
    forbidden: tuple[int, ...] = ()

    def check(self) -> None:
        """Raises UserError naming the first value that cannot be."""
        allowed = {
            "temperature": ("0 or more", 0 <= self.temperature < np.inf),
            "top_k": ("0 or more", self.top_k >= 0),
            "top_p": ("above 0, at most 1", 0 < self.top_p <= 1),
            "min_p": ("0 to 1", 0 <= self.min_p <= 1),
            "repetition_penalty": ("above 0", 0 < self.repetition_penalty < np.inf),
            "repetition_window": ("0 or more", self.repetition_window >= 0),
        }
        for name, (expected, good) in allowed.items():
            if not good:
                raise UserError(
                    f"{name} is out of range", got=f"{getattr(self, name)}", expected=expected
                )


class Generator:
    """One stream of drawn tokens; the session is its own.

    Args:
        session: at the state before `pending`.
        pending: the last token, not stepped yet.
        sampling: how to choose.
        seed: same seed, same tokens.
        drawn: how many numbers of the seed were used.
        recent: the tokens before, for the repetition penalty.

    Raises:
        UserError: an option out of range.
        ProgramError: the model has another kind of step.
    """

    def __init__(
        self,
        session: Session,
        pending: int,
        sampling: Sampling,
        seed: int = 0,
        *,
        drawn: int = 0,
        recent: Sequence[int] = (),
    ) -> None:
        sampling.check()
        if not 0 <= seed <= LARGEST_SEED:
            raise UserError("a seed is a whole number", got=str(seed), expected="0 to 2^63 - 1")
        self.session, self.sampling = session, sampling
        self.symbols = _symbols(session)
        if len(set(sampling.forbidden)) >= self.symbols:
            raise UserError("every token is forbidden")
        self.pending, self.seed, self.drawn = pending, seed, drawn
        self._recent = list(recent)[-max(sampling.repetition_window, 1) :]
        self._sampler = _native_sampler(session, sampling, self.symbols)

    @property
    def recent(self) -> list[int]:
        """The tokens that a repetition penalty looks at."""
        return self._recent

    def draw(self, count: int, stop: Sequence[int] = ()) -> tuple[Array, Array]:
        """Up to `count` tokens (n,) int64, the last perhaps one of `stop`, and the natural
        logarithm (n,) of each one's probability under the model itself, float32.

        Raises:
            ProgramError: a logit is no number, or none is left to draw.
            RuntimeError: another thread is stepping the session.
        """
        tokens, log_probs = draw_many([self], count, stop)
        return tokens[0], log_probs[0]

    def keep(self, tokens: Array) -> None:
        """Remember what was drawn."""
        self._recent = [*self._recent, *tokens.tolist()][-max(self.sampling.repetition_window, 1) :]


def draw_many(
    generators: Sequence[Generator], count: int, stop: Sequence[int] = ()
) -> tuple[list[Array], list[Array]]:
    """`draw` of many generators of one model and one sampling, which step together; each gets what
    it would get alone.

    Returns:
        The tokens and the log-probabilities of each.
    """
    if not generators:
        return [], []
    first = generators[0]
    same = all(
        g.session.model is first.session.model and g.sampling == first.sampling for g in generators
    )
    if not same:
        raise ProgramError("generators of one call must be of one model and one sampling")
    B = len(generators)
    tokens, log_probs = np.zeros((B, count), np.int64), np.zeros((B, count), np.float32)
    lengths = np.zeros(B, np.int64)
    run = _natively if first._sampler is not None else _in_numpy
    try:
        run(generators, count, stop, (tokens, log_probs, lengths))
    except ValueError as error:
        raise refused(error) from error
    found = [t[:n].copy() for t, n in zip(tokens, lengths, strict=True)]
    for generator, drawn in zip(generators, found, strict=True):
        generator.keep(drawn)
    return found, [p[:n].copy() for p, n in zip(log_probs, lengths, strict=True)]


Results = tuple[Array, Array, Array]  # tokens, log_probs, lengths


def _natively(gs: Sequence[Generator], count: int, stop: Sequence[int], results: Results) -> None:
    plan = gs[0].session._plan
    assert plan is not None
    pending, seeds, drawn = (
        np.array([getattr(g, name) for g in gs], np.int64) for name in ("pending", "seed", "drawn")
    )
    tokens, log_probs, lengths = results
    arrays = (pending, seeds, drawn, tokens, log_probs, lengths)
    cores = [g.session._core for g in gs]
    recent = [g.recent for g in gs] if gs[0].sampling.repetition_penalty != 1 else [[] for _ in gs]
    try:
        plan.machine.generate(
            cores, gs[0]._sampler, count, [a.ctypes.data for a in arrays], recent, list(stop)
        )
    finally:
        for g, token, number in zip(gs, pending, drawn, strict=True):
            g.pending, g.drawn = int(token), int(number)


def _in_numpy(gs: Sequence[Generator], count: int, stop: Sequence[int], results: Results) -> None:
    tokens, log_probs, lengths = results
    active = list(range(len(gs)))
    recent = [list(g.recent) for g in gs]
    for t in range(count):
        if not active:
            return
        pending = np.array([gs[b].pending for b in active], np.int64)
        logits = step_many([gs[b].session for b in active], pending)
        going = []
        for b, row in zip(active, logits, strict=True):
            g = gs[b]
            token, log_prob = choose(row, g.sampling, recent[b], uniform(g.seed, g.drawn))
            g.drawn, g.pending = g.drawn + 1, token
            tokens[b, t], log_probs[b, t], lengths[b] = token, log_prob, t + 1
            recent[b].append(token)
            if token not in stop:
                going.append(b)
        active = going


def uniform(seed: int, number: int) -> float:
    """Number `number` of a seed, of 48 bits in [0, 1)."""
    counter = (number & philox.LOW, number >> 32 & philox.LOW, PURPOSE, 0)
    high, low, _, _ = philox.philox(counter, (seed & philox.LOW, seed >> 32 & philox.LOW))
    return float(((high >> 8) * 2**24 + (low >> 8)) / 2**48)


def choose(
    logits: Array, sampling: Sampling, recent: Sequence[int], share: float
) -> tuple[int, float]:
    """The token that `share` of the probability reaches, and its own log-probability; what
    native/sampling.cpp does."""
    adjusted = penalised(logits, sampling, recent)
    most, raw_most = adjusted.max(), logits.max()
    if not (np.isfinite(most) and np.isfinite(raw_most)):
        raise ProgramError(NOTHING)
    token = int(adjusted.argmax())
    if sampling.temperature > 0:
        weights = np.exp((adjusted - most) * np.float32(1 / sampling.temperature))
        weights[list(sampling.forbidden)] = 0
        order = allowed(adjusted, weights, sampling)
        reached = np.cumsum(weights[order], dtype=np.float64)
        found = int(np.searchsorted(reached, share * reached[-1], side="right"))
        token = int(order[found]) if found < len(order) else token
    whole = np.exp(logits - raw_most).sum(dtype=np.float64)
    return token, float(logits[token] - raw_most - np.log(whole))


def penalised(logits: Array, sampling: Sampling, recent: Sequence[int]) -> Array:
    """The logits after the repetition penalty, -inf for what is forbidden."""
    found = np.array(logits, np.float32)
    if sampling.repetition_penalty != 1 and sampling.repetition_window:
        by = np.float32(sampling.repetition_penalty)
        often = sorted(set(recent[-sampling.repetition_window :]))
        some = found[often]
        found[often] = np.where(some > 0, some / by, some * by)
    found[list(sampling.forbidden)] = -np.inf
    return found


def allowed(logits: Array, weights: Array, sampling: Sampling) -> Array:
    """The tokens that may be drawn: all in their order, or what filters leave, likeliest first."""
    s, V = sampling, len(weights)
    if not (0 < s.top_k < V or s.top_p < 1 or s.min_p > 0):
        return np.arange(V)
    order = np.lexsort((np.arange(V), -logits))
    order = order[weights[order] > 0]
    order = order[: s.top_k] if 0 < s.top_k < V else order
    if s.top_p < 1:
        before = np.cumsum(weights[order], dtype=np.float64) - weights[order]
        whole = weights[order].sum(dtype=np.float64)
        order = order[: max(1, int(np.count_nonzero(before < s.top_p * whole)))]
    strong = max(1, int(np.count_nonzero(weights[order] >= np.float32(s.min_p))))
    return order[:strong]


def _symbols(session: Session) -> int:
    """V, where the session's entry point takes a token and gives logits."""
    point = session._point
    fits = len(point.inputs) == 1 == len(point.outputs)
    fits = fits and point.inputs[0].shape == ("B",) and point.inputs[0].dtype == "int64"
    fits = fits and len(point.outputs[0].shape) == 2
    if not fits:
        raise ProgramError(
            f"entry point {point.name!r} does not step from token to token",
            expected="one input (B,) of int64, one output (B, V)",
        )
    return int(point.outputs[0].shape[1])


def _native_sampler(session: Session, sampling: Sampling, symbols: int) -> Any:
    """What draws natively; None where numpy has to."""
    plan = session._plan
    if NATIVE is None or plan is None or not plan.native:
        return None
    *options, forbidden = sampling
    temperature, top_k, top_p, min_p, penalty, window = options
    given = (float(temperature), int(top_k), float(top_p), float(min_p), float(penalty), window)
    return NATIVE.Sampler(given, list(forbidden), symbols)
