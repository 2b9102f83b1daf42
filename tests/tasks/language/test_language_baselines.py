"""N-gram models: against dictionaries, against arithmetic by hand, and as distributions."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from lstmkit.errors import UserError
from lstmkit.tasks.language import baselines, kneser_ney
from lstmkit.tasks.language.kneser_ney import NGram

SIZE = 7
END = 0  # the token that ends a sentence, where there are any
PROTOCOLS = [None, END]


def chain(n: int, seed: int, size: int = SIZE) -> np.ndarray:
    """A Markov chain in which each token has a few that mostly follow it."""
    rng = np.random.default_rng(seed)
    follows = rng.dirichlet(np.full(size, 0.3), size).cumsum(1)
    found = [1]
    for number in rng.random(n - 1):
        found.append(min(int((follows[found[-1]] < number).sum()), size - 1))
    return np.array(found)


def windows(before: list[int], tokens: list[int], boundary: int | None, order: int) -> list[tuple]:
    """(context, token) of each token, the context as long as the order and the boundary allow."""
    found, context = [], tuple(before)
    for token in tokens:
        context = context[max(len(context) - order + 1, 0) :]
        found.append((context, token))
        context = (token,) if token == boundary else (*context, token)
    return found


class Dictionaries:
    """The definition, word by word: distinct tokens before an n-gram, and discounts by order."""

    def __init__(self, tokens: np.ndarray, size: int, order: int, boundary: int | None) -> None:
        self.size, self.counts, self.taken = size, [], []
        seen = windows([] if boundary is None else [boundary], tokens.tolist(), boundary, order)
        for length in range(order):
            counts: dict = defaultdict(lambda: defaultdict(int))
            before: dict = defaultdict(set)
            for context, token in seen:
                if len(context) == length:
                    counts[context][token] += 1
                elif len(context) > length:
                    short = context[len(context) - length :]
                    before[short, token].add(context[len(context) - length - 1])
            for (context, token), different in before.items():
                counts[context][token] += len(different)
            self.counts.append(counts)
            self.taken.append(self.discounts([a for c in counts.values() for a in c.values()]))

    @staticmethod
    def discounts(every: list[int]) -> list[float]:
        n1, n2, n3, n4 = (every.count(k) for k in (1, 2, 3, 4))
        if 0 in (n1, n2, n3, n4):
            return [0.5, 1.0, 1.5]
        y = n1 / (n1 + 2 * n2)
        found = [1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
        return found if all(d > 0 for d in found) else [0.5, 1.0, 1.5]

    def probability(self, context: tuple, token: int) -> float:
        lower = self.probability(context[1:], token) if context else 1 / self.size
        seen = self.counts[len(context)].get(context)
        if not seen:
            return lower
        d1, d2, d3 = self.taken[len(context)]
        taken = {w: {1: d1, 2: d2}.get(a, d3) for w, a in seen.items()}
        left = sum(taken.values()) * lower
        return (seen.get(token, 0) - taken.get(token, 0.0) + left) / sum(seen.values())


@pytest.mark.parametrize("boundary", PROTOCOLS)
@pytest.mark.parametrize("order", [2, 3, 4, 5])
def test_equals_dictionaries(order: int, boundary: int | None) -> None:
    train, test = chain(900, 1), chain(250, 2)
    model = NGram(train, SIZE + 2, order, boundary=boundary)
    truth = Dictionaries(train, SIZE + 2, order, boundary)
    assert truth.taken[-1] != [0.5, 1.0, 1.5], "the discounts should come from counts of counts"
    pairs = windows([END], test.tolist(), boundary, order)
    expected = [np.log(truth.probability(*pair)) for pair in pairs]
    assert model.log_probs(test, END) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("boundary", PROTOCOLS)
@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_sums_to_one_after_any_context(order: int, boundary: int | None) -> None:
    train, size = chain(400, 3), SIZE + 3  # three symbols that never occur
    model = NGram(train, size, order, boundary=boundary)
    rng = np.random.default_rng(4)
    for context in rng.integers(0, size, (40, 6)):
        each = [model.log_probs(np.array([*context, w]), END)[-1] for w in range(size)]
        assert np.exp(each).sum() == pytest.approx(1, abs=1e-6)
        assert np.isfinite(each).all()


@pytest.mark.parametrize("text", [[0], [0, 0, 0, 0], [1, 2], [2, 1, 2, 1, 2]])
@pytest.mark.parametrize("boundary", PROTOCOLS)
def test_the_smallest_of_texts(text: list[int], boundary: int | None) -> None:
    model = NGram(np.array(text), 3, 5, boundary=boundary)
    each = [model.log_probs(np.array([*text, w]), 0) for w in range(3)]
    assert np.exp([x[-1] for x in each]).sum() == pytest.approx(1, abs=1e-6)
    assert not len(model.log_probs(np.array([], int), 0))


def test_unigram_by_hand() -> None:
    found = NGram(np.array([2, 2, 2, 1]), 4, 1).log_probs(np.array([2, 1, 0]), 3)
    assert found == pytest.approx(np.log([4 / 8, 2 / 8, 1 / 8]))


def test_bigram_by_hand() -> None:
    """a b a b a c: a follows {nothing, b}, b follows {a}, c follows {a}; the fallback discounts."""
    model = NGram(np.array([0, 1, 0, 1, 0, 2]), 3, 2)
    a, b = (2 - 1.0 + 2.0 / 3) / 4, (1 - 0.5 + 2.0 / 3) / 4
    after = (2 - 1.0 + 1.5 * b) / 3, (2 - 1.0 + 1.0 * a) / 2  # b after a, a after b
    found = model.log_probs(np.array([1, 0, 1]), 0)
    assert found == pytest.approx(np.log([after[0], after[1], after[0]]), abs=1e-6)


def test_counts_histories_and_not_occurrences() -> None:
    """Francisco is frequent, yet after one token only; glasses is rarer, after many."""
    san, francisco, glasses = 10, 11, 12
    pairs = [[san, francisco]] * 40 + [[k, glasses] for k in range(10)]
    model = NGram(np.concatenate(pairs), 14, 2)
    found = model.log_probs(np.array([13, francisco, 13, glasses]), 0)  # after one never seen
    assert found[3] > found[1] + 1


def test_discounts_of_chen_and_goodman() -> None:
    counts = np.repeat([1, 2, 3, 4, 9], [100, 40, 20, 10, 30])
    y = 100 / 180
    expected = 1 - 2 * y * 40 / 100, 2 - 3 * y * 20 / 40, 3 - 4 * y * 10 / 20
    assert kneser_ney.discounts(counts) == pytest.approx(expected)
    assert kneser_ney.discounts(np.array([5, 6, 7])) == kneser_ney.FALLBACK
    assert kneser_ney.discounts(np.repeat([1, 2, 3, 4], [9, 1, 9, 1])) == kneser_ney.FALLBACK


def test_no_context_reaches_beyond_a_boundary() -> None:
    model = NGram(chain(2000, 5), SIZE, 4, boundary=END)
    one, other = np.array([3, 4, 5, END, 2, 3]), np.array([6, 6, 1, END, 2, 3])
    found = [model.log_probs(x, END) for x in (one, other)]
    assert np.array_equal(found[0][4:], found[1][4:])
    assert np.array_equal(found[0][4:], model.log_probs(one[4:], END))
    across = NGram(chain(2000, 5), SIZE, 4)
    found = [across.log_probs(x, END) for x in (one, other)]
    assert not np.array_equal(found[0][4:], found[1][4:])


@pytest.mark.parametrize("boundary", PROTOCOLS)
@pytest.mark.parametrize("block", [1, 3, 64])
def test_blocks_do_not_matter(
    block: int, boundary: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = NGram(chain(1500, 6), SIZE, 5, boundary=boundary)
    test = chain(130, 7)
    whole = model.log_probs(test, 3)
    monkeypatch.setattr(kneser_ney, "BLOCK", block)
    assert np.array_equal(model.log_probs(test, 3), whole)


def test_learns_from_the_last_tokens_of_a_file(tmp_path: Path) -> None:
    train, test = chain(1200, 8), chain(100, 9)
    path = tmp_path / "tokens"
    train.astype(np.uint16).tofile(path)
    stored = np.memmap(path, np.uint16, "r")
    found = NGram(stored, SIZE, 3, most=500).log_probs(test, 0)
    assert np.array_equal(found, NGram(train[-500:], SIZE, 3).log_probs(test, 0))
    assert not np.allclose(found, NGram(train, SIZE, 3).log_probs(test, 0))


def test_a_number_of_any_n_gram_fits() -> None:
    """A vocabulary of millions: keys stay within 64 bits at any order."""
    size = 5_000_000
    train = np.random.default_rng(10).integers(0, size, 3000)
    train = np.concatenate([train, train])
    found = np.exp(NGram(train, size, 6).log_probs(train[3000:], int(train[2999])))
    assert (found[5:] > 0.1).all() and (found < 1).all()


def test_scores_of_each_baseline() -> None:
    both = chain(8000, 11, 30)
    train, test = both[:7000], both[7000:]
    found = baselines.scores(train, test, 30, start=END, boundary=END)
    assert list(found) == list(baselines.BASELINES) == ["unigram", "bigram", "kneser_ney_5"]
    for name, order in baselines.BASELINES.items():
        expected = NGram(train, 30, order, boundary=END).log_probs(test, END)
        assert np.array_equal(found[name], expected)
    loss = {name: -x.mean() for name, x in found.items()}
    assert loss["bigram"] < loss["unigram"] - 0.3
    assert loss["kneser_ney_5"] < loss["bigram"] + 0.2  # the text has no longer memory than one
    fewer = baselines.scores(train, test, 30, start=END, boundary=END, most=100)
    assert all(-fewer[name].mean() > loss[name] for name in loss)


@pytest.mark.parametrize("wrong", [-1, SIZE])
def test_tokens_outside_the_vocabulary_are_refused(wrong: int) -> None:
    model, bad = NGram(chain(50, 12), SIZE, 2), np.array([1, wrong])
    for action in (
        lambda: NGram(bad, SIZE, 2),
        lambda: NGram(chain(50, 12), SIZE, 2, boundary=wrong),
        lambda: model.log_probs(bad, 0),
        lambda: model.log_probs(np.array([1]), wrong),
    ):
        with pytest.raises(UserError, match="outside the vocabulary") as caught:
            action()
        assert str(wrong) in caught.value.got and caught.value.expected == "0 to 6"


def test_nothing_to_learn_from_and_no_order() -> None:
    with pytest.raises(UserError, match="no token to learn from"):
        baselines.scores(np.array([], int), np.array([1]), SIZE, 0)
    for order in (0, -1, 101):
        with pytest.raises(UserError, match="no order"):
            NGram(np.array([1, 2]), SIZE, order)
