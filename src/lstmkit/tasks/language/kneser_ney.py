"""N-gram language models: modified Kneser-Ney smoothing, with numpy alone.

Interpolated, after S. F. Chen and J. Goodman, "An empirical study of smoothing techniques for
language modeling", Computer Speech and Language 13 (1999), section 3. With c a context, c' the
context without its first token, and the probability of nothing known 1/V:

    p(w | c) = max(a(cw) - D(a(cw)), 0) / a(c) + b(c) p(w | c')
    b(c)     = sum of D(a(cw)) over the w seen after c / a(c);   1 where c was never seen

a is the count at the highest order. Below it, it is the number of different tokens seen before
cw; an occurrence that has nothing before it counts as one more. D takes one of three values for
a = 1, 2 and 3 or more, from the counts of counts of its order.

An n-gram has a number, its rank among those of its order, so that the key of a longer one,
number x V + token, is one int64 for any order. Counting is sorting, looking up is bisecting.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from lstmkit.errors import UserError

MOST = 20_000_000  # tokens that are learnt from, the last of the stream
BLOCK = 1 << 20  # tokens that are scored together
FALLBACK = (0.5, 1.0, 1.5)  # discounts where the counts of counts give none


class Order(NamedTuple):
    """The K n-grams of one order, and what they are continued from."""

    keys: np.ndarray  # (K,) int64, sorted
    share: np.ndarray  # (K,) float32: the discounted part of p(w | c)
    back_off: np.ndarray  # b(c) of the contexts, float32: one for each n-gram of the order below


class NGram:
    """An n-gram model over a closed vocabulary: interpolated modified Kneser-Ney.

    Order 1 is the unigram with one added to each count (Laplace). Memory: some 16 bytes for each
    different n-gram of each order, and some 60 for each token while they are counted; order 5
    over `MOST` tokens takes up to 2 GB.

    Sentences: without `boundary` a text is one stream, and contexts cross line ends, as those of a
    network with carried state do. With it, no context reaches back beyond the last `boundary`,
    which is itself part of the context: it is the </s> that is predicted and the <s> that is
    not, as SRILM and KenLM have it. That is the customary protocol of "KN5".

    Args:
        tokens: (n,) integers from 0 to size - 1; the last `most` of them are learnt from.
        size: symbols of the vocabulary, V. What never occurs has a probability as well.
        order: tokens of the longest n-gram, the predicted one included; 1 to 100.
        boundary: the token that ends a sentence, "<eos>"; None: there are no sentences.
        most: tokens to learn from at most.

    Raises:
        UserError: no token, a token outside the vocabulary, or an order outside its range.
    """

    def __init__(
        self,
        tokens: np.ndarray,
        size: int,
        order: int,
        *,
        boundary: int | None = None,
        most: int = MOST,
    ) -> None:
        if not 1 <= order <= 100:
            raise UserError("an n-gram model of no order", got=str(order), expected="1 to 100")
        self.size, self.order, self.boundary = size, order, boundary
        stream = _checked(tokens[max(len(tokens) - most, 0) :], size)
        if not len(stream):
            raise UserError("the n-gram model has no token to learn from")
        if boundary is not None:
            stream = np.concatenate([_checked(np.array([boundary]), size), stream])
        reach = _reach(stream, order, boundary)
        if boundary is not None:
            reach[0] = -1  # the context of the first sentence: never predicted itself
        self.orders = list(_count(stream, reach, size, order))

    def log_probs(self, tokens: np.ndarray, start: int) -> np.ndarray:
        """Natural log-probabilities (n,) float64 of all tokens (n,) of a stream.

        The first one's context is (start,); of the others, all tokens before them, `start`
        included, as far as the order and the boundary allow.

        Raises:
            UserError: a token outside the vocabulary.
        """
        found = np.empty(len(tokens))
        for begin in range(0, len(tokens), BLOCK):
            early = max(begin - self.order + 1, 0)
            stream = _checked(tokens[early : begin + BLOCK], self.size)
            if not early:
                stream = np.concatenate([_checked(np.array([start]), self.size), stream])
            count = min(BLOCK, len(tokens) - begin)
            found[begin : begin + count] = np.log(self._probabilities(stream)[-count:])
        return found

    def _probabilities(self, stream: np.ndarray) -> np.ndarray:
        """Of all tokens (n,) of a piece; right from the order-th on, or after a start."""
        reach = _reach(stream, self.order, self.boundary)
        first = self.orders[0]
        found: np.ndarray = first.share[stream].astype(np.float64)
        found += first.back_off[0] / self.size
        numbers = stream
        for length, grams in enumerate(self.orders[1:], 1):
            at = np.flatnonzero(reach >= length)
            at = at[numbers[at - 1] >= 0]
            context = numbers[at - 1]
            gram = _look_up(grams.keys, context * self.size + stream[at])
            seen = gram >= 0
            found[at] *= grams.back_off[context]
            found[at[seen]] += grams.share[gram[seen]]
            numbers = np.full(len(stream), -1)
            numbers[at] = gram
        return found


def _checked(tokens: np.ndarray, size: int) -> np.ndarray:
    """A copy as int64, if all lie in the vocabulary."""
    found = np.asarray(tokens).astype(np.int64)
    if len(found) and not (found.min() >= 0 and found.max() < size):
        wrong = found[(found < 0) | (found >= size)][0]
        raise UserError(
            "a token outside the vocabulary", got=str(wrong), expected=f"0 to {size - 1}"
        )
    return found


def _reach(stream: np.ndarray, order: int, boundary: int | None) -> np.ndarray:
    """The length (n,) int8 of each token's context: back to the boundary, at most order - 1."""
    place = np.arange(len(stream))
    found = place.copy()
    if boundary is not None:
        last = np.maximum.accumulate(np.where(stream == boundary, place, 0))
        found[1:] -= last[:-1]
    return np.minimum(found, order - 1).astype(np.int8)


def _count(stream: np.ndarray, reach: np.ndarray, size: int, order: int) -> Iterator[Order]:
    """Each order of the training stream (n,), the unigrams first."""
    keys, contexts = np.arange(size), 1
    numbers = stream  # of the n-gram that ends at each token; any value where `reach` forbids it
    for length in range(order):
        counts = np.bincount(numbers[reach == length], minlength=len(keys))
        longer = _extend(stream, reach, numbers, size, length + 1)
        counts += np.bincount(numbers[longer.one_of_each], minlength=len(keys))
        if order == 1:
            yield _add_one(keys, counts)
        else:
            yield _discount(keys, counts, keys // size, contexts)
        contexts, keys, numbers = len(keys), longer.keys, longer.numbers


class _Extended(NamedTuple):
    keys: np.ndarray  # (K,) int64 of the different n-grams
    numbers: np.ndarray  # (n,) int32 of the n-gram that ends at each token
    one_of_each: np.ndarray  # (K,) a place where each ends


def _extend(
    stream: np.ndarray, reach: np.ndarray, numbers: np.ndarray, size: int, length: int
) -> _Extended:
    """The n-grams of a context of `length` tokens, whose numbers are given, and a token."""
    at = np.flatnonzero(reach >= length)
    every = numbers[at - 1].astype(np.int64) * size + stream[at]
    sort = np.argsort(every)
    every = every[sort]
    new = np.ones(len(at), bool)
    new[1:] = every[1:] != every[:-1]
    at = at[sort]
    found = np.zeros(len(stream), np.int32)
    found[at] = np.cumsum(new, dtype=np.int32) - 1
    return _Extended(every[new], found, at[new])


def _look_up(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The places (n,) of the wanted keys (n,) among the sorted ones, -1 where there is none.

    Keys are looked up in their order, several times faster than at random.
    """
    if not len(keys):
        return np.full(len(wanted), -1)
    different, which = np.unique(wanted, return_inverse=True)
    place = np.minimum(np.searchsorted(keys, different), len(keys) - 1)
    found: np.ndarray = np.where(keys[place] == different, place, -1)[which]
    return found


def _discount(keys: np.ndarray, counts: np.ndarray, parent: np.ndarray, contexts: int) -> Order:
    """Counts (K,) as discounted shares of their contexts, parent (K,), and what is left over."""
    taken = np.array([0.0, *discounts(counts)])[np.minimum(counts, 3)]
    total = np.bincount(parent, counts, contexts)
    left = np.bincount(parent, taken, contexts)
    back_off = np.divide(left, total, out=np.ones(contexts), where=total > 0)
    share = (counts - taken) / total[parent]
    return Order(keys, share.astype(np.float32), back_off.astype(np.float32))


def discounts(counts: np.ndarray) -> tuple[float, float, float]:
    """D of counts of 1, 2 and 3 or more (Chen and Goodman's equation 26).

    FALLBACK where one of the four counts of counts is 0 or a discount is not above 0, as
    with a few symbols that are all frequent.
    """
    _, n1, n2, n3, n4 = np.bincount(np.minimum(counts, 5), minlength=6)[:5].tolist()
    if not (n1 and n2 and n3 and n4):
        return FALLBACK
    y = n1 / (n1 + 2 * n2)
    found = 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3
    return found if min(found) > 0 else FALLBACK


def _add_one(keys: np.ndarray, counts: np.ndarray) -> Order:
    """(count + 1) / (n + V), as a share and a part of 1/V."""
    total = counts.sum() + len(counts)
    back_off = np.array([len(counts) / total])
    return Order(keys, (counts / total).astype(np.float32), back_off.astype(np.float32))
