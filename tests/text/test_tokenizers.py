"""Tokenizers: vocabularies, pieces as the whole, and characters that are never broken."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmkit.errors import MissingExtra, UserError
from lstmkit.text import counting, tokenizers

TEXT = "the cat sat on the mat\nthe dog sat\n\nan odd word \u4e2d\U0001f642 caf\u00e9\n" * 20
KINDS = ("char", "byte", "word", "subword")
LETTERS = st.text(st.sampled_from("the cat\n\t \u00e9\u4e2d\U0001f642'1x\r\u0301"), max_size=60)


@pytest.fixture(scope="module")
def made() -> dict[str, tokenizers.Tokenizer]:
    pytest.importorskip("tokenizers")
    given = {"subword": 300}
    return {k: tokenizers.learn(k, [TEXT], vocabulary=given.get(k))[0] for k in KINDS}


@pytest.mark.parametrize("kind", KINDS)
@given(text=LETTERS, cuts=st.lists(st.integers(0, 60), max_size=5))
def test_pieces_give_the_tokens_of_the_whole(
    kind: str, text: str, cuts: list[int], made: dict[str, tokenizers.Tokenizer]
) -> None:
    encoder = made[kind].encoder()
    ends = sorted({min(c, len(text)) for c in cuts} | {0, len(text)})
    parts = [encoder.feed(text[a:b]) for a, b in itertools.pairwise(ends)]
    found = np.concatenate([np.empty(0, np.int64), *parts, encoder.finish()])
    assert found.tolist() == made[kind].encode(text).tolist()


@pytest.mark.parametrize("kind", ["byte", "subword"])
@given(text=LETTERS)
def test_bytes_and_subwords_come_back(
    kind: str, text: str, made: dict[str, tokenizers.Tokenizer]
) -> None:
    tokenizer = made[kind]
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == text
    decoder, told = tokenizer.decoder(), ""
    for token in tokens:
        told += decoder.feed(int(token))
        twin = tokenizer.decoder()
        twin.restore(decoder.save())
        decoder = twin
        assert "\ufffd" not in told
    assert told == text


def test_characters_are_the_most_frequent_first(made: dict[str, tokenizers.Tokenizer]) -> None:
    tokenizer, counts = tokenizers.learn("char", ["abca", "ab\n"])
    assert tokenizer.to_json()["symbols"] == ["\ufffd", "a", "b", "\n", "c"]
    assert (tokenizer.size, tokenizer.unknown, tokenizer.start) == (5, 0, 3)
    assert (counts.characters, counts.lines, counts.symbols, counts.left_out) == (7, 1, 4, 0)
    assert tokenizer.encode("az").tolist() == [1, 0] and tokenizer.decode([1, 0]) == "a\ufffd"
    few, counts = tokenizers.learn("char", ["aaabbc"], vocabulary=3)
    assert few.to_json()["symbols"] == ["\ufffd", "a", "b"]
    assert counts.left_out == 1 and counts.unknown == pytest.approx(1 / 6)
    assert tokenizers.learn("char", ["aaabbc"], least=2)[0].size == 3


def test_words_and_line_ends_are_those_of_penn_treebank() -> None:
    tokenizer, counts = tokenizers.learn("word", [" no it was <unk> \n it", " is\n"])
    assert tokenizer.to_json()["symbols"] == ["<eos>", "it", "<unk>", "is", "no", "was"]
    assert tokenizer.start == tokenizer.end == 0 and tokenizer.unknown == 2
    assert counts.symbols == 6 and counts.unknown == 0
    assert tokenizer.encode("it is\n\nno").tolist() == [1, 3, 0, 0, 4, 0]
    assert tokenizer.encode("it is\nno", open_end=True).tolist() == [1, 3, 0, 4]
    assert tokenizer.encode("it zyx").tolist() == [1, 2, 0]
    assert tokenizer.decode([1, 3, 0, 4]) == "it is\nno"
    few, counts = tokenizers.learn("word", ["a a b\n"], vocabulary=3)
    assert few.size == 3 and few.number("b") is None and counts.unknown == pytest.approx(1 / 4)
    assert "<unk>" in few.to_json()["symbols"]


def test_counting_is_bounded() -> None:
    tally = counting.Tally(most=50)
    for k in range(5000):
        tally.add(["often", f"rare{k}"])
        assert len(tally.counts) <= 50
    assert tally.counts["often"] == 5000 and tally.floor > 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_vocabulary_survives_as_json(kind: str, made: dict[str, tokenizers.Tokenizer]) -> None:
    again = tokenizers.from_json(made[kind].to_json())
    assert again.encode(TEXT).tolist() == made[kind].encode(TEXT).tolist()
    assert again.start == made[kind].start and again.size == made[kind].size
    number = int(made[kind].encode("the")[0])
    assert made[kind].number(made[kind].token(number)) == number


@pytest.mark.parametrize(
    "stored",
    [
        None,
        {},
        {"kind": "letters"},
        {"kind": "char", "symbols": ["ab", "\ufffd"]},
        {"kind": "char", "symbols": ["a", "a", "\ufffd"]},
        {"kind": "char", "symbols": ["a"]},
        {"kind": "word", "symbols": ["a"]},
        {"kind": "subword", "symbols": ["a"], "merges": []},
    ],
)
def test_a_damaged_vocabulary_is_refused(stored: Any) -> None:
    with pytest.raises(UserError):
        tokenizers.from_json(stored)


def test_subwords_decode_without_the_library(
    made: dict[str, tokenizers.Tokenizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = made["subword"].encode(TEXT)
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    again = tokenizers.from_json(made["subword"].to_json())
    assert again.decode(tokens) == TEXT
    with pytest.raises(MissingExtra, match="text"):
        again.encode("the")


def test_what_cannot_be_learnt_is_refused() -> None:
    for kind in ("char", "byte", "word"):
        with pytest.raises(UserError):
            tokenizers.learn(kind, [])
    with pytest.raises(UserError, match="--tokens char"):
        tokenizers.learn("word", ["x" * 3000])
    with pytest.raises(UserError, match="no tokens"):
        tokenizers.learn("letters", ["a"])
