"""From a text to a fitted language model: vocabulary, held-out end, training, program, report."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lstmkit.errors import UserError
from lstmkit.tasks.language import corpus, evaluating, learning, program
from lstmkit.tasks.language import shape as shapes
from lstmkit.tasks.language.corpus import Text

if TYPE_CHECKING:
    from lstmkit.tasks.language.estimator import LanguageModel
    from lstmkit.tasks.language.network import LanguageNetwork
    from lstmkit.text.counting import Counts
    from lstmkit.text.tokenizers import Tokenizer

HELD = 0.05  # of a text, for validation and again for the test, where no other is given
FEWEST_TOKENS = 200  # of a text to learn from


class Parts(NamedTuple):
    """What is learnt from, what chooses the epoch, and what is scored."""

    train: Text
    validation: Text
    test: Text


def learn(
    asked: LanguageModel,
    data: Any,
    validation: Any,
    run: dict[str, Any],
    warm_start: str | os.PathLike[str] | None,
) -> None:
    """Read, train, score."""
    earlier = _earlier(warm_start) if warm_start is not None else None
    with corpus.twice(data) as source:
        asked.notes_ = []
        asked.tokenizer_ = _tokenizer(asked, source, earlier)
        parts = _parts(asked, source, validation)
    asked.shape_ = shape = _shape(asked, earlier)
    asked.recipe_ = _recipe(asked)
    course = course_of(asked, run)
    asked.notes_.extend(course.expectations(parts.train.tokens))
    weights = dict(earlier.program_.weights) if earlier else None
    network, asked.history_ = course.train(parts.train.tokens, parts.validation.tokens, weights)
    found = {k: v.detach().cpu().numpy().copy() for k, v in network.state_dict().items()}
    options = {**network.layers[0].options(), "weight_drop": 0.0}  # type: ignore[operator]
    asked.model_ = program.language_model(shape, found, options)
    asked.facts_ = _facts(asked, options)
    asked.marks_ = corpus.marks(parts.train.tokens)
    asked.frequencies_ = _frequencies(parts.train.tokens, shape.symbols)
    asked.seen_ = {
        "tokens": len(parts.train.tokens),
        "digest": corpus.digest(parts.train.tokens),
        "held": 0 if _given(asked, validation) else len(parts.validation.tokens),
        "source": _names(data),
    }
    asked.report_ = _report(asked, parts)


def _tokenizer(asked: LanguageModel, source: Any, earlier: LanguageModel | None) -> Tokenizer:
    """The vocabulary: that of the model to start from, or the text's own."""
    from lstmkit.text import tokenizers

    if earlier is not None:
        if earlier.tokens != asked.tokens:
            raise UserError(
                "the model to start from has other tokens",
                got=f"--tokens {asked.tokens}",
                expected=f"--tokens {earlier.tokens}",
            )
        return earlier.tokenizer_
    given = corpus.pieces(source, asked.tokens, asked.encoding)
    tokenizer, counts = tokenizers.learn(
        asked.tokens, given, vocabulary=asked.vocabulary, least=asked.least
    )
    asked.notes_.append(_described(tokenizer, counts))
    return tokenizer


def _described(tokenizer: Tokenizer, counts: Counts) -> str:
    """A line about a vocabulary."""
    names = {"char": "characters", "byte": "bytes", "word": "words", "subword": "subwords"}
    line = f"{tokenizer.size:,} symbols ({names[tokenizer.kind]})"
    if counts.left_out:
        line += f"; {counts.left_out:,} rarer ones are unknown, {counts.unknown:.2%} of the text"
    return line + ("; the rarest were dropped while counting" if counts.pruned else "")


def _parts(asked: LanguageModel, source: Any, validation: Any) -> Parts:
    """The texts; where some are not given, the end of the training text."""
    whole = corpus.tokenised(asked.tokenizer_, source, asked.encoding)
    if len(whole.tokens) < FEWEST_TOKENS:
        raise UserError(
            "the text is too short to learn from",
            got=f"{len(whole.tokens)} tokens",
            expected=f"at least {FEWEST_TOKENS}",
        )
    given = _given(asked, validation)
    found = [_read(asked, given), _read(asked, asked.test)]
    held = [round(HELD * len(whole.tokens)) if text is None else 0 for text in found]
    if asked.test is None and given is not None:
        held[1] = 0  # scored on the validation text, and said so
    end = len(whole.tokens)
    cuts = [end - sum(held), end - held[1], end]
    train = Text(whole.tokens[: cuts[0]], whole.counts)
    valid, test = found
    if valid is None:
        valid = corpus.part(asked.tokenizer_, whole, cuts[0], cuts[1])
    if test is None:
        test = corpus.part(asked.tokenizer_, whole, cuts[1], cuts[2]) if held[1] else valid
    _note_split(asked, train, valid, test, sum(held))
    return Parts(train, valid, test)


def _note_split(asked: LanguageModel, train: Text, valid: Text, test: Text, held: int) -> None:
    n = [len(text.tokens) for text in (train, valid, test)]
    asked.notes_.append(
        f"{n[0]:,} tokens to learn from, {n[1]:,} choose the epoch, {n[2]:,} are scored"
        + ("; held out at the end of the text" if held else "")
    )
    if test is valid:
        asked.notes_.append("no --test: scored on the text that chose the epoch, a little too well")
    for name, text in (("validation", valid), ("test", test)):
        if text.counts.unknown > 0 and asked.tokenizer_.kind != "word":
            asked.notes_.append(f"{text.counts.unknown:.3%} of the {name} text is unknown symbols")


def _given(asked: LanguageModel, validation: Any) -> Any:
    return asked.validation if validation is None else validation


def _read(asked: LanguageModel, data: Any) -> Text | None:
    return None if data is None else corpus.tokenised(asked.tokenizer_, data, asked.encoding)


def _earlier(path: str | os.PathLike[str]) -> LanguageModel:
    from lstmkit.tasks.estimator import load

    found: Any = load(path)
    if found.TASK != "language":
        raise UserError(f"{path} is a model of {found.TASK}", expected="a model of language")
    model: LanguageModel = found
    return model


def _shape(asked: LanguageModel, earlier: LanguageModel | None) -> shapes.Shape:
    if earlier is not None:
        return earlier.shape_
    given = {name: getattr(asked, name) for name in ("width", "layers", "embedding", "softmax")}
    return shapes.shape(asked.tokens, asked.size, asked.tokenizer_.size, **given)


def _recipe(asked: LanguageModel) -> shapes.Recipe:
    return shapes.recipe(asked.tokens, asked.size).with_options(asked.get_params())


def course_of(asked: LanguageModel, run: dict[str, Any]) -> learning.Course:
    """How a model is trained."""
    names = ("seed", "epochs", "minutes", "device", "threads")
    given = {name: getattr(asked, name) for name in names}
    half = {"auto": None, "float32": False, "bfloat16": True}[asked.precision]
    log_dir = Path(asked.log_dir) if asked.log_dir else None
    start = asked.tokenizer_.start
    return learning.Course(
        asked.shape_, asked.recipe_, start, half, log_dir=log_dir, **given, **run
    )


def _facts(asked: LanguageModel, options: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": "recurrent",
        "size": asked.size,
        "tokens": asked.tokens,
        "symbols": asked.shape_.symbols,
        "embedding": asked.shape_.embedding,
        "hidden": list(asked.shape_.hidden),
        "tied": asked.shape_.tied,
        "parameters": int(sum(np.size(w) for w in asked.model_.weights.values())),
        "epochs": asked.history_.epochs,
        "seconds": round(asked.history_.seconds, 1),
        "lstm": options,
    }


def _frequencies(tokens: np.ndarray, symbols: int) -> np.ndarray:
    """How often each symbol occurs (V,) int64."""
    found = np.zeros(symbols, np.int64)
    for piece in np.array_split(tokens, max(1, len(tokens) // corpus.AT_ONCE)):
        found += np.bincount(piece.astype(np.int64), minlength=symbols)
    return found


def _names(data: Any) -> list[str]:
    """What was given, by name, where it has one that can be read again."""
    items = data if isinstance(data, (list, tuple)) else [data]
    return [str(d) for d in items if isinstance(d, (str, os.PathLike)) and str(d) != "-"]


def _report(asked: LanguageModel, parts: Parts) -> Any:
    from lstmkit import runtime
    from lstmkit.tasks.language import baselines

    t = asked.tokenizer_
    others = baselines.scores(parts.train.tokens, parts.test.tokens, t.size, t.start, t.end)
    model = runtime.load(asked.model_)
    found = evaluating.report(model, t, parts.test, others, asked.facts_)
    found.notes.extend(asked.notes_)
    return found


def rebuilt(asked: LanguageModel) -> LanguageNetwork:
    """The torch module with the model's weights, in evaluation mode."""
    weights = {k: np.asarray(v) for k, v in asked.model_.weights.items()}
    run = {"callbacks": (), "checkpoint": None, "resume": False}
    return course_of(asked, run).network(weights).eval()
