"""Words as Penn Treebank and WikiText come: what stands between blanks, and the ends of lines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import numpy as np

from lstmkit.errors import UserError
from lstmkit.text.counting import Counts, Tally
from lstmkit.text.tokenizers import Decoder, Encoder, Tokenizer, checked, shown

MOST = 200_000  # words of a vocabulary
LONGEST = 1_000  # characters of a word
UNKNOWN, END = "<unk>", "<eos>"


class WordTokenizer(Tokenizer):
    """Words between blanks; `<eos>` is the end of a line, `<unk>` a word that is not known.

    Both may also be written in the text.
    """

    kind = "word"

    def __init__(self, symbols: list[str]) -> None:
        self.symbols = symbols
        self.size = len(symbols)
        self.numbers = {word: k for k, word in enumerate(symbols)}
        self.unknown, self.end = self.numbers[UNKNOWN], self.numbers[END]
        self.start = self.end

    def encoder(self, *, open_end: bool = False) -> Encoder:
        """As Tokenizer; without `open_end` a last line that is not ended has its `<eos>` too."""
        return _WordEncoder(self, open_end)

    def decoder(self) -> Decoder:
        """As Tokenizer: words with a blank between, `<eos>` as a new line."""
        return _WordDecoder(self)

    def token(self, number: int) -> str:
        """As Tokenizer."""
        return shown(self.symbols[number])

    def number(self, token: str) -> int | None:
        """As Tokenizer."""
        return self.numbers.get(token)

    def to_json(self) -> dict[str, Any]:
        """As Tokenizer."""
        return {"kind": self.kind, "symbols": self.symbols}

    @classmethod
    def from_json(cls, stored: Any) -> Self:
        """The inverse of to_json; ValueError where it is not."""
        symbols = checked(stored["symbols"])
        if UNKNOWN not in symbols or END not in symbols:
            raise ValueError(f"no {UNKNOWN} or {END}")
        return cls(symbols)


class Splitter:
    """Pieces of text to words and line ends; a word that may go on waits."""

    def __init__(self) -> None:
        self._rest, self._open = "", False

    def feed(self, piece: str) -> list[str]:
        """The words that this piece completes."""
        text = self._rest + piece
        cut = max(text.rfind(" "), text.rfind("\n")) + 1
        self._rest = text[cut:]
        if len(self._rest) > LONGEST:
            self._too_long(self._rest)
        found = text[:cut].replace("\n", f" {END} ").split()
        if found:
            self._open = found[-1] != END
        return found

    def finish(self, *, open_end: bool) -> list[str]:
        """The last words, and the end of a line that has none."""
        found = self._rest.split()
        self._rest = ""
        ends = not open_end and (self._open if not found else found[-1] != END)
        self._open = False
        return [*found, END] if ends else found

    def _too_long(self, text: str) -> None:
        word = max(text.split() or [""], key=len)
        if len(word) > LONGEST:
            raise UserError(
                f"a word of more than {LONGEST:,} characters",
                got=repr(word[:40] + "..."),
                expected="words with blanks between them",
                hint="--tokens char, or --tokens byte",
            )


class _WordEncoder(Encoder):
    def __init__(self, tokenizer: WordTokenizer, open_end: bool) -> None:
        self._tokenizer, self._open_end, self._splitter = tokenizer, open_end, Splitter()

    def feed(self, piece: Any) -> np.ndarray:
        return self._numbers(self._splitter.feed(piece))

    def finish(self) -> np.ndarray:
        return self._numbers(self._splitter.finish(open_end=self._open_end))

    def _numbers(self, words: list[str]) -> np.ndarray:
        known, unknown = self._tokenizer.numbers, self._tokenizer.unknown
        return np.fromiter((known.get(w, unknown) for w in words), np.int64, len(words))


class _WordDecoder(Decoder):
    def __init__(self, tokenizer: WordTokenizer) -> None:
        self._symbols, self._end, self._begins = tokenizer.symbols, tokenizer.end, True

    def feed(self, token: int) -> str:
        if token == self._end:
            self._begins = True
            return "\n"
        blank = "" if self._begins else " "
        self._begins = False
        return blank + self._symbols[token]

    def save(self) -> str:
        return "begins" if self._begins else "goes on"

    def restore(self, saved: str) -> None:
        self._begins = saved == "begins"


def learn(pieces: Iterable[str], most: int, least: int) -> tuple[WordTokenizer, Counts]:
    """The most frequent words of a text; `<unk>` and `<eos>` are always there."""
    if most < 2:
        raise UserError("a vocabulary is of two words or more", got=str(most))
    counts, tally, splitter, total = Counts(), Tally(), Splitter(), 0
    for piece in pieces:
        counts.see(piece)
        words = splitter.feed(piece)
        total += len(words)
        tally.add(words)
    last = splitter.finish(open_end=False)
    tally.add(last)
    total += len(last)
    if not total:
        raise UserError("the text has no words", expected="some words")
    special = {UNKNOWN, END}
    kept = [w for w in tally.ranked(least) if w not in special][: most - 2]
    frequent = sorted([*kept, *special], key=lambda w: (-tally.counts[w], w))
    known = sum(tally.counts[w] for w in frequent)
    counts.symbols = len(tally.counts)
    counts.left_out = counts.symbols - sum(w in tally.counts for w in frequent)
    counts.unknown, counts.pruned = 1 - known / total, tally.floor > 0
    return WordTokenizer(frequent), counts
