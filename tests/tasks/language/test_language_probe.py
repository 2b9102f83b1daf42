"""A language model under inspection: answers, attribution, horizon, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from language_verses import verses

from lstmkit import runtime
from lstmkit.errors import UserError
from lstmkit.inspection.attribution import attribute
from lstmkit.inspection.examine import inspect, tensors
from lstmkit.inspection.intervention import clamp
from lstmkit.tasks.language import probe as probes
from lstmkit.tasks.language.estimator import LanguageModel


@pytest.fixture(scope="module")
def poem(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A text that no model has seen."""
    path = tmp_path_factory.mktemp("poem") / "poem.txt"
    path.write_text(verses(150, 7))
    return str(path)


@pytest.fixture(scope="module")
def stacked(book: Path) -> Any:
    """Two layers, vectors of their own for the answers, clusters of words."""
    options: dict[str, Any] = {"tokens": "word", "width": 16, "layers": 2, "embedding": 5}
    brief: dict[str, Any] = {"epochs": 4, "bptt": 12, "batch_size": 4, "learning_rate": 0.03}
    return LanguageModel(softmax="adaptive", threads=1, **options, **brief).fit(str(book))


def logits_after(model: Any, text: str, place: int, probe: Any) -> np.ndarray:
    """(V,) of the runtime after the stretch at `place` and the tokens that are read before it."""
    length = probe.labels.shape[1]
    tokens = model.tokenizer_.encode(text)
    lead = probes._lengths(model, len(tokens))[1]
    given = tokens[place - lead : place + length][None].astype(np.int64)
    found: np.ndarray = runtime.load(model.program_).run("read", {"tokens": given})[0]["logits"]
    return found[0, -1].astype(np.float64)


@pytest.mark.parametrize("kind", ["words", "characters", "stacked"])
def test_answers_are_the_chances_that_the_runtime_tells(
    kind: str, poem: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(probes, "STRETCH", {True: 9, False: 9})  # the state before it matters
    model, text = request.getfixturevalue(kind), Path(poem).read_text()
    found = model.probe(poem, samples=3)
    with torch.no_grad():
        answers = found.answers(found.network(**tensors(found.inputs))).numpy()
    tokens = model.tokenizer_.encode(text)
    for name, row in zip(found.samples, answers, strict=True):
        place = int(name.split()[1].strip(":").replace(",", "")) - 1
        logits = logits_after(model, text, place, found)
        logs = (logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())) / np.log(2)
        came = tokens[place + found.labels.shape[1]]
        expected = [logs[came], *np.sort(logs)[::-1][:3]]
        np.testing.assert_allclose(row, expected, atol=1e-4)
    assert found.answer_names[0] == "the token that came" and answers.shape == (3, 4)


def test_curves_tell_the_surprise_of_every_token(words: Any, poem: str) -> None:
    import torch

    found = words.probe(poem, samples=2)
    with torch.no_grad():
        output = found.network(**tensors(found.inputs))
        (curve,) = found.curves(output)
        answers = found.answers(output).numpy()
    T = found.labels.shape[1]
    assert curve.kind == "prediction" and curve.y.shape == (2, T) and curve.x[-1] == T - 0.5
    np.testing.assert_allclose(curve.y[:, -1], -answers[:, 0], rtol=1e-5)
    tokens = words.tokenizer_.encode(Path(poem).read_text())
    place = int(found.samples[0].split()[1].strip(":")) - 1
    assert [words.tokenizer_.token(int(t)) for t in tokens[place : place + T]] == list(
        found.labels[0]
    )


def test_memory_reaches_back_to_the_first_word_of_a_line(words: Any, poem: str) -> None:
    found = inspect(words.probe(poem), method="none")
    cut = found.horizon.cut
    assert cut is not None and cut.metric == "nats a token"
    assert cut.score[0] > 1.1 * cut.full and cut.needed >= 4
    np.testing.assert_allclose(cut.score[-1], cut.full, rtol=0.02)
    assert found.horizon.sentence.startswith("The memory reaches back")
    assert "(a step is a word)" in found.horizon.sentence
    assert found.recording.names == ("layers.0.0",)


def test_the_first_word_of_a_line_moves_the_last(words: Any, poem: str) -> None:
    pytest.importorskip("captum")
    tokens = words.tokenizer_.encode(Path(poem).read_text())
    T = probes.STRETCH[True]
    ends = np.flatnonzero(tokens == words.tokenizer_.end)
    ends = ends[ends > probes.LEAD + T + 1][[3, 20, 40]]  # the last word stands before the end
    names = [f"{end - T:,}" for end in ends]
    found = inspect(words.probe(poem, only=names), answer=0, method="occlusion")
    assert found.attribution is not None and found.answer == "the token that came"
    line = found.attribution[:, 0, -5:]  # the end before, the first word, three between
    rest = np.abs(found.attribution[:, 0, :-5])
    assert (line[:, 1] > 2 * np.abs(line[:, 2:]).max(1)).all()
    assert (line[:, 1] > 2 * rest.max(1)).all()


def test_the_account_is_complete_where_its_path_is_fine(stacked: Any, poem: str) -> None:
    pytest.importorskip("captum")
    probe = stacked.probe(poem, samples=3)
    found = attribute(
        probe.network,
        tensors(probe.inputs),
        answer=lambda output: probe.answers(output)[:, 0],
        baselines=tensors({f.input: f.baseline for f in probe.features}),
        path_steps=1500,
    )
    size = np.abs(found.values["vectors"].sum(-1)).sum(1)
    assert (np.abs(found.gap) < 0.02 * size).all() and (size > 0.05).all()


def test_tokens_are_compared_with_the_mean_of_those_learnt(
    words: Any, poem: str, book: Path
) -> None:
    (feature,) = words.probe(poem, samples=2).features
    learnt = words.tokenizer_.encode(book.read_text())[: words.seen_["tokens"]]
    mean = words.program_.weights["embedding.weight"][learnt].mean(0)
    np.testing.assert_allclose(
        feature.baseline, np.broadcast_to(mean, feature.baseline.shape), atol=1e-5
    )
    assert np.abs(mean).max() > 0.01


def test_held_out_text_is_scored_and_known_text_is_not(words: Any, book: Path) -> None:
    held = words.probe(str(book), samples=2)
    learnt, whole = words.seen_["tokens"], len(words.tokenizer_.encode(book.read_text()))
    firsts = [int(name.split()[1].strip(":").replace(",", "")) for name in held.samples]
    assert all(learnt < first < whole for first in firsts) and held.scoring is not None
    assert "shown are stretches of the last" in held.notes[0]
    known = words.probe(book.read_text()[40:])
    assert known.scoring is None and "trained on this text" in known.notes[0]
    assert inspect(known, method="none").horizon.cut is None


def test_layers_are_changed_one_by_one(stacked: Any, poem: str, tmp_path: Path) -> None:
    plain = stacked.probe(poem, samples=1)
    found = inspect(plain, interventions=[clamp("layers.1.0.forget_gate", 0.0)], method="none")
    assert found.recording.names == ("layers.0.0", "layers.1.0")
    assert found.recording["layers.1.0"].forget_gate.max() == 0
    assert found.recording["layers.0.0"].forget_gate.min() > 0
    assert found.change is not None and found.change.means()[0][0] != found.change.means()[0][1]
    page = found.write(tmp_path / "report.html").read_text()
    assert "nats a token" in page and "LanguageModel of 8 words" in page


def test_places_that_are_not_there_and_texts_too_short(words: Any, poem: str) -> None:
    for name in ("1", "900000", "alpha", ""):
        with pytest.raises(UserError, match="no stretch"):
            words.probe(poem, only=[name])
    name = words.probe(poem, samples=2).samples[1]
    assert words.probe(poem, only=[name]).samples == (name,)
    with pytest.raises(UserError, match="too short"):
        words.probe("alpha beta gamma")
    short = words.probe("alpha beta gamma alpha no\n" * 4)
    assert short.labels.shape[1] >= probes.SHORTEST
    assert inspect(short, method="none").horizon.reach >= 1
