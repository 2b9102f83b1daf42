"""Drawing tokens: native as numpy, the right distribution, and the same in any pieces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lstmkit import runtime
from lstmkit.errors import UserError
from lstmkit.operations import ProgramError
from lstmkit.program import Builder
from lstmkit.runtime.generation import Generator, Sampling, allowed, draw_many, penalised

V, H = 9, 7
SAMPLINGS = {
    "plain": Sampling(),
    "cold": Sampling(temperature=0.4),
    "greedy": Sampling(temperature=0),
    "k": Sampling(top_k=3),
    "p": Sampling(top_p=0.6),
    "min": Sampling(min_p=0.3),
    "penalty": Sampling(repetition_penalty=1.7, repetition_window=4),
    "forbidden": Sampling(forbidden=(0, 4)),
    "all": Sampling(0.8, 5, 0.9, 0.05, 1.2, 6, (2,)),
}


def model(scale: float = 1.0) -> Any:
    draw = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return (scale * draw.standard_normal(shape)).astype(np.float32)

    b = Builder("recurrent")
    token = b.input("token", ("B",), "int64")
    x = b.op("embedding", token, b.weight("table", normal(V, H)))
    h, c = b.slot("h", (H,)), b.slot("c", (H,))
    weights = {"weight_ih": (4 * H, H), "weight_hh": (4 * H, H)}
    given = {name: b.weight(name, normal(*shape)) for name, shape in weights.items()}
    new_h, new_c = b.op("lstm_cell", x=x, h=h, c=c, hidden_size=H, **given)
    b.write(h, new_h)
    b.write(c, new_c)
    b.output("logits", b.op("linear", x=new_h, weight=b.weight("out", normal(V, H))), ("B", V))
    b.entry("step")
    return runtime.load(b.build())


MODEL = model()


def generator(sampling: Sampling, seed: int = 1, numpy: bool = False, **options: Any) -> Generator:
    made = Generator(MODEL.session(), 3, sampling, seed, **options)
    if numpy:
        made._sampler = None
    return made


@pytest.mark.parametrize("name", SAMPLINGS)
def test_native_and_numpy_draw_the_same(name: str) -> None:
    ours, plain = (generator(SAMPLINGS[name], numpy=n) for n in (False, True))
    assert ours._sampler is not None
    for found, expected in zip(ours.draw(300), plain.draw(300), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert (ours.pending, ours.drawn, ours.recent) == (plain.pending, plain.drawn, plain.recent)


@pytest.mark.parametrize("name", SAMPLINGS)
def test_tokens_come_as_often_as_they_should(name: str) -> None:
    sampling, recent = SAMPLINGS[name], [1, 5, 5, 2]
    logits = MODEL.session().step(np.array(3))
    chances = reference(logits, sampling, recent)
    count = 3000
    makers = [generator(sampling, seed=s, recent=recent) for s in range(count)]
    tokens = np.array([t[0] for t in draw_many(makers, 1)[0]])
    found = np.bincount(tokens, minlength=V)
    assert found[chances == 0].sum() == 0
    there = chances > 0
    surprise = ((found[there] - count * chances[there]) ** 2 / (count * chances[there])).sum()
    assert surprise < 35  # chi-square of at most 8 degrees: once in 40,000


def reference(logits: np.ndarray, s: Sampling, recent: list[int]) -> np.ndarray:
    """The probabilities by the papers' words."""
    x = logits.astype(np.float64).copy()
    for t in set(recent[-s.repetition_window :]) if s.repetition_penalty != 1 else ():
        x[t] = x[t] / s.repetition_penalty if x[t] > 0 else x[t] * s.repetition_penalty
    x[list(s.forbidden)] = -np.inf
    if s.temperature == 0:
        return np.eye(V)[x.argmax()]
    p = np.exp((x - x.max()) / s.temperature)
    if s.top_k:
        p[np.argsort(-p)[s.top_k :]] = 0
    p /= p.sum()
    order = np.argsort(-p)
    before = np.cumsum(p[order]) - p[order]
    p[order[before >= s.top_p]] = 0
    p[p < s.min_p * p.max()] = 0
    found: np.ndarray = p / p.sum()
    return found


@pytest.mark.parametrize("numpy", [False, True])
def test_pieces_give_what_the_whole_gives(numpy: bool) -> None:
    sampling = SAMPLINGS["all"]
    whole = generator(sampling, numpy=numpy).draw(12)
    parts = generator(sampling, numpy=numpy)
    some = [parts.draw(n) for n in (5, 0, 7)]
    for k in (0, 1):
        np.testing.assert_array_equal(whole[k], np.concatenate([s[k] for s in some]))
    first = generator(sampling, numpy=numpy)
    first.draw(5)
    session = MODEL.session()
    session.restore(first.session.save())
    given = {"drawn": first.drawn, "recent": first.recent}
    again = Generator(session, first.pending, sampling, 1, **given)
    assert again.draw(7)[0].tolist() == whole[0][5:].tolist()


@pytest.mark.parametrize("numpy", [False, True])
def test_many_draw_what_each_would_alone(numpy: bool) -> None:
    sampling = SAMPLINGS["penalty"]
    together = [generator(sampling, seed=s, numpy=numpy) for s in range(20)]
    found, chances = draw_many(together, 15, stop=[0, 6])
    for s in range(20):
        tokens, own = generator(sampling, seed=s, numpy=numpy).draw(15, stop=[0, 6])
        assert tokens.tolist() == found[s].tolist()
        np.testing.assert_allclose(own, chances[s], atol=1e-6)
    assert len({len(f) for f in found}) > 1
    ended = [f for f in found if len(f) < 15]
    assert ended and all(f[-1] in (0, 6) for f in ended)
    assert not any(set(f[:-1]) & {0, 6} for f in found)


def test_log_probs_are_the_models_own() -> None:
    tokens, found = generator(SAMPLINGS["all"]).draw(20)
    session, before = MODEL.session(), 3
    for token, own in zip(tokens, found, strict=True):
        x = session.step(np.array(before)).astype(np.float64)
        assert own == pytest.approx(x[token] - np.log(np.exp(x).sum()), abs=1e-5)
        before = int(token)


def test_equals_are_taken_in_their_order() -> None:
    flat = np.zeros(5, np.float32)
    assert allowed(flat, np.ones(5, np.float32), Sampling(top_k=2)).tolist() == [0, 1]
    assert penalised(flat, Sampling(forbidden=(1,)), [])[1] == -np.inf


@pytest.mark.parametrize(
    "option",
    [
        {"temperature": -1},
        {"temperature": np.inf},
        {"top_k": -1},
        {"top_p": 0},
        {"top_p": 1.1},
        {"min_p": 2},
        {"repetition_penalty": 0},
    ],
)
def test_options_out_of_range_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="out of range"):
        generator(Sampling(**option))


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(UserError, match="forbidden"):
        generator(Sampling(forbidden=tuple(range(V))))
    with pytest.raises(UserError, match="seed"):
        generator(Sampling(), seed=-1)
    broken = model(np.nan)
    for numpy in (False, True):
        made = Generator(broken.session(), 0, Sampling(), 0)
        made._sampler = None if numpy else made._sampler
        with pytest.raises(ProgramError, match="NaN"):
            made.draw(1)
    with pytest.raises(ProgramError, match="index"):
        Generator(MODEL.session(), V, Sampling(), 0).draw(1)
    with pytest.raises(ProgramError, match="one model"):
        draw_many([generator(Sampling()), generator(Sampling(top_k=2))], 1)
