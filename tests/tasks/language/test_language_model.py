"""LanguageModel: learning, scores on what was not seen, resume, and what is refused."""

from __future__ import annotations

import gzip
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from language_verses import verses

import lstmkit
from lstmkit import runtime
from lstmkit.errors import UserError
from lstmkit.tasks.language import corpus, evaluating, features
from lstmkit.tasks.language.estimator import LanguageModel

TINY: dict[str, Any] = {"width": 6, "layers": 1, "embedding": 4, "epochs": 1, "threads": 1}


def tiny(**options: Any) -> LanguageModel:
    return LanguageModel(**{**TINY, "bptt": 10, "batch_size": 4, **options})


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


# --- scores ---------------------------------------------------------------------------------------


def test_memory_makes_it_better_than_the_bigram(words: Any) -> None:
    report = words.report_
    assert report.metrics["perplexity"] < report.baselines["bigram"]["perplexity"]
    assert report.metrics["perplexity"] < report.memory_worth["perplexity"]
    assert set(report.baselines) == {"unigram", "bigram", "kneser_ney_5"}
    assert np.isnan(report.intervals["perplexity"]).all()  # of 120 tokens


def test_intervals_hold_the_score(words: Any, tmp_path: Path) -> None:
    report = words.evaluate(write(tmp_path / "other.txt", verses(300, 9)))
    low, high = report.intervals["perplexity"]
    assert low < report.metrics["perplexity"] < high < 1.5 * low


def test_every_token_is_scored_once_in_one_stream(characters: Any) -> None:
    tokens = characters.tokenizer_.encode(verses(20, 5))[:310]
    model = runtime.load(characters.program_)
    session, logits = model.session("step"), []
    for token in features.before(tokens, characters.tokenizer_.start):
        logits.append(session.step(np.array(token)))
    expected = features.log_probs(np.stack(logits), tokens)
    found = evaluating.log_probs(model, tokens, characters.tokenizer_.start)
    assert len(found) == 310
    np.testing.assert_allclose(found, expected, atol=1e-5)
    read = characters.stream().read(verses(20, 5)[:310])
    np.testing.assert_allclose(read.log_probs, expected, atol=1e-5)


def test_without_memory_only_the_token_before_counts(characters: Any) -> None:
    tokens = characters.tokenizer_.encode(verses(3, 5))
    model, start = runtime.load(characters.program_), characters.tokenizer_.start
    found = evaluating.memoryless(model, tokens, start)
    for k in (0, 1, 40, len(tokens) - 1):
        before = start if k == 0 else int(tokens[k - 1])
        logits = model.session("step").step(np.array(before))
        own = features.log_probs(logits[None], tokens[k : k + 1])[0]
        assert found[k] == pytest.approx(own, abs=1e-5)


def test_bits_are_of_characters_and_bytes() -> None:
    counts = corpus.Counts()
    counts.see("née")
    text = corpus.Text(np.zeros(2, np.uint8), counts)
    found = evaluating.metrics(np.log(np.array([0.25, 0.25])), text, "subword")
    assert found == pytest.approx({"perplexity": 4, "bits_per_char": 4 / 3, "bits_per_byte": 1})
    assert set(evaluating.metrics(np.zeros(2), text, "word")) == {"perplexity"}
    assert set(evaluating.metrics(np.zeros(2), text, "byte")) == {"perplexity", "bits_per_byte"}


def test_the_training_text_is_scored_on_its_held_out_end_alone(words: Any, book: Path) -> None:
    report = words.evaluate(str(book))
    assert report.metrics == pytest.approx(words.report_.metrics)
    assert report.data["tokens"] == words.report_.data["tokens"] == 400 * 6 // 20
    assert any("learnt from its first" in note for note in report.notes)


def test_a_text_that_was_learnt_from_is_in_sample(words: Any, book: Path, tmp_path: Path) -> None:
    part = "".join(book.read_text().splitlines(keepends=True)[50:200])
    with pytest.raises(UserError, match="in-sample"):
        words.evaluate(write(tmp_path / "part.txt", part))
    other = words.evaluate(write(tmp_path / "other.txt", verses(150, 9)))
    assert other.metrics["perplexity"] < other.baselines["unigram"]["perplexity"]


def test_baselines_need_the_training_text(words: Any, book: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other.txt", verses(30, 9))
    moved = LanguageModel(**words.get_params())
    moved.__dict__.update(words.__dict__)
    moved.seen_ = {**words.seen_, "source": ["gone.txt"]}
    report = moved.evaluate(other)
    assert set(report.baselines) == {"unigram"} and "--train" in report.notes[0]
    again = moved.evaluate(other, train=str(book))
    assert again.baselines == words.evaluate(other).baselines
    one = report.baselines["unigram"]["perplexity"]
    assert one == pytest.approx(again.baselines["unigram"]["perplexity"])
    with pytest.raises(UserError, match="not the text"):
        moved.evaluate(other, train=other)


def test_dynamic_evaluation_follows_the_text_and_leaves_the_model(
    words: Any, tmp_path: Path
) -> None:
    strange = "yes no yes no yes no yes no\n" * 60
    path = write(tmp_path / "strange.txt", strange)
    plain = words.evaluate(path)
    report = words.evaluate(path, dynamic=True)
    assert report.metrics["perplexity"] < 0.9 * plain.metrics["perplexity"]
    assert report.baselines["not_adapted"] == plain.metrics
    assert plain.memory_worth and report.memory_worth is None
    assert words.evaluate(path).metrics == plain.metrics


def test_dynamic_scores_come_before_the_step() -> None:
    from lstmkit.tasks.language import dynamic

    network = assembly_network()
    tokens = np.random.default_rng(0).integers(0, 9, 50)
    still = dynamic.log_probs(network, tokens, 0, rate=0.0, piece=7)
    moved = dynamic.log_probs(network, tokens, 0, rate=0.1, piece=7)
    assert np.array_equal(still[:7], moved[:7]) and not np.allclose(still[7:], moved[7:])


def assembly_network() -> Any:
    from lstmkit.tasks.language.learning import Course
    from lstmkit.tasks.language.shape import Recipe, Shape

    return Course(Shape(9, 5, (5,)), Recipe(), 0).network()


def test_ranking_and_lines(words: Any, tmp_path: Path) -> None:
    right, wrong = words.score(["yes no beta no yes\n", "yes no beta no alpha\n"])
    assert right.log_probs.sum() > wrong.log_probs.sum()
    assert (
        len(right.tokens) == 6 and words.score("yes").tokens.tolist() == right.tokens[:1].tolist()
    )
    path = write(tmp_path / "lines.txt", "yes no beta no yes\n\nno no\n")
    frame = words.predict(path)
    assert frame["line"].to_list() == [1, 2, 3] and frame["tokens"].to_list() == [5, 0, 2]
    assert frame["log_prob"][0] == pytest.approx(float(right.log_probs[:5].sum()), rel=1e-5)
    assert frame["perplexity"][1] is None
    each = words.predict(path, by="token")
    assert each["token"].to_list()[:6] == ["yes", "no", "beta", "no", "yes", "<eos>"]
    assert each["line"].to_list() == [1] * 6 + [2] + [3] * 3


# --- learning -------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", ["char", "byte", "word", "subword"])
def test_every_kind_of_token_learns_is_saved_and_goes_on(tokens: str, tmp_path: Path) -> None:
    if tokens == "subword":
        pytest.importorskip("tokenizers")
    book = write(tmp_path / "book.txt", verses(120, 1))
    given = {"vocabulary": 300} if tokens == "subword" else {}
    model = tiny(tokens=tokens, **given).fit(book)
    model.save(tmp_path / "m.safetensors")
    again: Any = lstmkit.load(tmp_path / "m.safetensors")
    told = ["".join(m.generate("alpha beta", 20, seed=4)) for m in (model, again)]
    assert told[0] == told[1] and told[0]
    assert again.report_.metrics == model.report_.metrics
    assert again.tokenizer_.to_json() == model.tokenizer_.to_json()
    assert again.get_params() == model.get_params()
    assert again.evaluate(book).metrics == pytest.approx(model.report_.metrics)


def test_texts_come_as_files_folders_gzip_and_open_files(tmp_path: Path) -> None:
    text = verses(80, 1)
    plain = tiny().fit(write(tmp_path / "a.txt", text))
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(text.encode()))
    folder = tmp_path / "folder"
    folder.mkdir()
    half = text.index("\n", len(text) // 2) + 1
    write(folder / "1.txt", text[:half])
    write(folder / "2.txt", text[half:])
    sources: Sequence[Any] = (str(tmp_path / "b.txt.gz"), str(folder), io.BytesIO(text.encode()))
    for source in sources:
        assert tiny().fit(source).seen_["digest"] == plain.seen_["digest"]


def test_given_texts_choose_and_score(tmp_path: Path) -> None:
    train, valid, test = (
        write(tmp_path / f"{name}.txt", verses(n, n))
        for name, n in zip("abc", (90, 20, 30), strict=True)
    )
    model = tiny(tokens="word", validation=valid, test=test).fit(train)
    assert model.report_.data["tokens"] == 30 * 6 and model.seen_["tokens"] == 90 * 6
    only = tiny(tokens="word", validation=valid).fit(train)
    assert any("no --test" in note for note in only.notes_)
    assert only.report_.data["tokens"] == 20 * 6


class Stop:
    """Ctrl-C after so many steps."""

    def __init__(self, after: int) -> None:
        self.after = after

    def on_step(self, step: int, total: int, loss: float) -> None:
        if step == self.after:
            import signal

            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("averaging", ["none", "ema", "triggered"])
def test_resume_amid_an_epoch_repeats_every_bit(averaging: str, book: Path, tmp_path: Path) -> None:
    def model() -> LanguageModel:
        options: dict[str, Any] = {"epochs": 2, "weight_drop": 0.3, "dropout_input": 0.2}
        return tiny(
            tokens="word", averaging=averaging, optimizer="sgd", learning_rate=1.0, **options
        )

    whole = model().fit(str(book))
    checkpoint = tmp_path / "c"
    with pytest.raises(KeyboardInterrupt):
        model().fit(str(book), callbacks=[Stop(whole.history_.steps // 4)], checkpoint=checkpoint)
    parts = model().fit(str(book), checkpoint=checkpoint, resume=True)
    for name, weight in whole.program_.weights.items():
        assert np.array_equal(weight, parts.program_.weights[name]), name


def test_a_warm_start_keeps_the_vocabulary(words: Any, tmp_path: Path) -> None:
    words.save(tmp_path / "m.safetensors")
    text = write(tmp_path / "t.txt", verses(60, 3).replace("alpha", "omega"))
    model = tiny(tokens="word", learning_rate=1e-9).fit(text, warm_start=tmp_path / "m.safetensors")
    assert model.shape_ == words.shape_
    assert model.tokenizer_.number("omega") is None
    before, after = (m.program_.weights["embedding.weight"] for m in (words, model))
    np.testing.assert_allclose(after, before, atol=1e-4)
    with pytest.raises(UserError, match="other tokens"):
        tiny().fit(text, warm_start=tmp_path / "m.safetensors")


def test_what_is_expected_is_said_before_it_begins(words: Any) -> None:
    said = " ".join(words.notes_)
    assert "on this CPU" in said and "on a GPU" in said and "LSTM of 24 cells" in said


def test_low_precision_says_nearly_the_same(words: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "other.txt", verses(60, 9))
    plain = words.evaluate(path).metrics["perplexity"]
    for dtype in ("bfloat16", "int8"):
        assert words.lowered(dtype).evaluate(path).metrics["perplexity"] == pytest.approx(
            plain, rel=0.05
        )


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "options", "said"),
    [
        (b"", {}, "empty"),
        (b"too short", {}, "too short"),
        (b"\x00\x01" * 500, {}, "no text"),
        (b"caf\xe9 " * 100, {}, "not utf-8"),
        (b"x" * 5000, {"tokens": "word"}, "a word of more than"),
        (b"some text " * 50, {"dropout_input": 1.0}, "below 1"),
        (b"some text " * 50, {"softmax": "sparse"}, "softmax cannot be"),
        (b"some text " * 50, {"tokens": "byte", "vocabulary": 9}, "256"),
        (b"some text " * 50, {"vocabulary": 1}, "two characters"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(
    raw: bytes, options: dict[str, Any], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "book.txt"
    path.write_bytes(raw)
    with pytest.raises(UserError, match=said):
        tiny(**options).fit(str(path))


def test_bytes_take_any_file(tmp_path: Path) -> None:
    path = tmp_path / "any.bin"
    path.write_bytes(np.random.default_rng(0).integers(0, 256, 900, np.uint8).tobytes())
    model = tiny(tokens="byte").fit(str(path))
    assert model.report_.metrics["bits_per_byte"] > 6
    assert isinstance("".join(model.generate(b"\xff\x00", 30)), str)


def test_options_that_do_not_go_together(words: Any, book: Path) -> None:
    with pytest.raises(UserError, match="goes with a prompt"):
        words.predict(str(book), temperature=1.0)
    with pytest.raises(UserError, match="not scored so"):
        words.predict(str(book), by="page")
    with pytest.raises(UserError, match="takes no y"):
        tiny().fit(str(book), [1])
    with pytest.raises(UserError, match="no model yet"):
        tiny().stream()


def test_a_damaged_vocabulary_is_refused(words: Any) -> None:
    from lstmkit.modelfile import ModelFile

    made = words.contents()
    config, tensors = made["config"], dict(made["tensors"])
    tensors["tokenizer"] = np.frombuffer(b'{"kind": "word", "symbols": ["a"]}', np.uint8)
    file = ModelFile(
        **{**fields_of(ModelFile), "config": config, "tensors": tensors, "program": made["program"]}
    )
    with pytest.raises(UserError, match="damaged"):
        LanguageModel.from_modelfile(file)


def fields_of(kind: Any) -> dict[str, Any]:
    from dataclasses import fields

    return {f.name: None for f in fields(kind)}


def test_torch_is_left_as_it_was(book: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    tiny(tokens="word").fit(str(book))
    assert torch.equal(torch.rand(3), expected)
