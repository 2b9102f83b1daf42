"""What a fitted language model says of texts: scores of lines and tokens, and evaluations."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.errors import UserError, require
from lstmkit.readers import texts
from lstmkit.tasks.language import baselines, corpus, evaluating
from lstmkit.tasks.language.corpus import Text

if TYPE_CHECKING:
    from lstmkit.evaluation.report import Report
    from lstmkit.tasks.language.estimator import LanguageModel

MOST_KNOWN = 0.5  # share of a text's places that were learnt from, above which it is in-sample
SOME_KNOWN = 0.05  # above which it is said


def scored(asked: LanguageModel, data: Any, by: str) -> Any:
    """A polars frame of scores; see LanguageModel.predict."""
    if by not in ("line", "token"):
        raise UserError("a text is not scored so", got=f"by={by!r}", expected="line or token")
    polars = require("polars", "train")
    rows = _by_line(asked, data) if by == "line" else _by_token(asked, data)
    return polars.DataFrame(rows)


def _lines(asked: LanguageModel, data: Any) -> Any:
    if asked.tokenizer_.kind == "byte":
        return texts.lines(piece.decode("latin-1") for piece in texts.pieces(data))
    return texts.lines(texts.texts(data, asked.encoding))


def _by_line(asked: LanguageModel, data: Any) -> dict[str, Any]:
    start = asked.stream()
    rows: dict[str, list[Any]] = {
        name: [] for name in ("line", "text", "tokens", "log_prob", "perplexity")
    }
    for number, text in enumerate(_lines(asked, data), 1):
        given: Any = text.encode("latin-1") if asked.tokenizer_.kind == "byte" else text
        found = start.branch().read(given).log_probs
        total, n = float(found.sum(dtype=np.float64)), len(found)
        each = float(np.exp(min(-total / n, 700))) if n else None
        for name, value in zip(rows, (number, text, n, total, each), strict=True):
            rows[name].append(value)
    return rows


def _by_token(asked: LanguageModel, data: Any) -> dict[str, Any]:
    from lstmkit import runtime

    tokenizer = asked.tokenizer_
    text = corpus.tokenised(tokenizer, data, asked.encoding)
    found = evaluating.log_probs(runtime.load(asked.model_), text.tokens, tokenizer.start)
    shown = [tokenizer.token(int(t)) for t in text.tokens]
    ends = [t == tokenizer.end or s == "\\n" for t, s in zip(text.tokens, shown, strict=True)]
    lines = 1 + np.concatenate([[0], np.cumsum(ends)[:-1]]).astype(np.int64)
    return {"line": lines, "token": shown, "log_prob": found}


def evaluated(asked: LanguageModel, data: Any, dynamic: bool, train: Any) -> Report:
    """The scores of a text; see LanguageModel.evaluate."""
    from lstmkit import runtime

    tokenizer, notes = asked.tokenizer_, []
    with corpus.twice(data) as source:
        text, said = unseen(asked, corpus.tokenised(tokenizer, source, asked.encoding))
    notes += said
    others, said = _baselines(asked, text.tokens, train)
    notes += said
    adapted = None
    if dynamic:
        from lstmkit.tasks.language.dynamic import log_probs

        adapted = log_probs(asked.network_, text.tokens, tokenizer.start)
        notes.append("adapted while reading: not_adapted is the model as it is")
    model = runtime.load(asked.model_)
    found = evaluating.report(model, tokenizer, text, others, asked.facts_, adapted)
    found.notes.extend(notes)
    return found


def unseen(asked: LanguageModel, text: Text) -> tuple[Text, list[str]]:
    """The part of a text that may be scored, and what is to be said of it.

    Raises:
        UserError: in-sample.
    """
    seen, N = asked.seen_, len(text.tokens)
    learnt, end = seen["tokens"], seen["tokens"] + seen["held"]
    if learnt < N and corpus.digest(text.tokens[:learnt]) == seen["digest"]:
        first = end if end < N else learnt
        rest = corpus.part(asked.tokenizer_, text, first, N)
        return rest, [f"learnt from its first {learnt:,} tokens: scored on the last {N - first:,}"]
    share = corpus.known(text.tokens, asked.marks_)
    if share > MOST_KNOWN:
        raise UserError(
            "in-sample: the model was trained on this text",
            got=f"about {share:.0%} of its places were learnt from",
            expected="a text that it has not seen",
        )
    said = f"about {share:.0%} of its places were learnt from" if share > SOME_KNOWN else ""
    return text, [said] if said else []


def _baselines(
    asked: LanguageModel, tokens: np.ndarray, train: Any
) -> tuple[dict[str, np.ndarray], list[str]]:
    """N-gram models of the training text; of its frequencies alone where it is not there."""
    tokenizer = asked.tokenizer_
    found = _training_text(asked, train)
    if found is not None:
        learnt = found[: asked.seen_["tokens"]]
        given = (learnt, tokens, tokenizer.size, tokenizer.start, tokenizer.end)
        return baselines.scores(*given), []
    counts = asked.frequencies_ + 1
    unigram = np.log(counts / counts.sum())[tokens]
    note = "no bigram and Kneser-Ney: the training text is not there; --train FILE names it"
    return {"unigram": unigram}, [note]


def _training_text(asked: LanguageModel, train: Any) -> np.ndarray | None:
    """Its tokens, where it is still what it was."""
    seen = asked.seen_
    source = seen["source"] if train is None else train
    if train is None and not (source and all(Path(name).exists() for name in source)):
        return None
    try:
        tokens = corpus.tokenised(asked.tokenizer_, source, asked.encoding).tokens
    except (UserError, OSError):
        if train is not None:
            raise
        return None
    same = corpus.digest(tokens[: seen["tokens"]]) == seen["digest"]
    if not same and train is not None:
        raise UserError("this is not the text that the model learnt from", got=os.fspath(train))
    return tokens if same else None
