"""The network: its loss, its regularisers, and its program."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from lstmkit import runtime
from lstmkit.tasks.language import features
from lstmkit.tasks.language import shape as shapes
from lstmkit.tasks.language.data import Carried, Corpus
from lstmkit.tasks.language.learning import Course, surprise
from lstmkit.tasks.language.network import LanguageNetwork
from lstmkit.tasks.language.program import language_model
from lstmkit.tasks.language.shape import Recipe, Shape
from lstmkit.tasks.language.softmax import CrossEntropy
from lstmkit.training import Share

TIED, FREE = Shape(11, 6, (8, 6)), Shape(11, 5, (8,))
ADAPTIVE = Shape(30, 6, (8, 16), cutoffs=(5, 12))
SHAPES = {"tied": TIED, "free": FREE, "adaptive": ADAPTIVE}
ALONE = Share(0, 1)


def network(shape: Shape, recipe: Recipe | None = None, seed: int = 0) -> LanguageNetwork:
    torch.manual_seed(seed)
    return LanguageNetwork(shape, recipe or Recipe())


def piece(shape: Shape, T: int = 7, B: int = 3) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    tokens = torch.randint(shape.symbols, (T + 1, B), generator=draw)
    return tokens[:-1], tokens[1:]


# --- loss -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cached", [1, 40, 1 << 20])
def test_the_loss_in_pieces_is_torchs_and_so_are_its_gradients(
    cached: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lstmkit.tasks.language import softmax

    monkeypatch.setattr(softmax, "CACHED", cached)
    draw = torch.Generator().manual_seed(0)
    given = [torch.randn(*n, generator=draw, dtype=torch.float64) for n in ((9, 4), (13, 4), (13,))]
    x, weight, bias = (g.requires_grad_() for g in given)
    targets = torch.randint(13, (9,), generator=draw)
    ours = CrossEntropy.apply(x, weight, bias, targets, False)
    found = torch.autograd.grad(3 * ours, (x, weight, bias))
    logits = torch.nn.functional.linear(x, weight, bias)
    usual = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
    torch.testing.assert_close(ours, usual)
    for own, true in zip(found, torch.autograd.grad(3 * usual, (x, weight, bias)), strict=True):
        torch.testing.assert_close(own, true)


def test_in_bfloat16_the_loss_is_near() -> None:
    draw = torch.Generator().manual_seed(0)
    given = [torch.randn(*n, generator=draw) for n in ((50, 32), (200, 32), (200,))]
    x, weight, bias = (g.requires_grad_() for g in given)
    targets = torch.randint(200, (50,), generator=draw)
    exact, half = (CrossEntropy.apply(x, weight, bias, targets, h) for h in (False, True))
    assert half != exact and abs(half / exact - 1) < 0.01
    slopes = [torch.autograd.grad(loss, (x, weight)) for loss in (exact, half)]
    for a, b in zip(*slopes, strict=True):
        assert a.dtype == b.dtype == torch.float32
        assert torch.linalg.vector_norm(a - b) < 0.02 * torch.linalg.vector_norm(a)


def test_an_impossible_token_costs_much_and_not_infinity() -> None:
    x, weight = torch.tensor([[1000.0]]), torch.tensor([[1.0], [-1.0]])
    loss = CrossEntropy.apply(x, weight, torch.zeros(2), torch.tensor([1]), False)
    assert 80 < float(loss) < 90


# --- regularisers ---------------------------------------------------------------------------------


def test_dropout_of_symbols_takes_whole_vectors_wherever_they_stand() -> None:
    model = network(FREE, Recipe(dropout_embedding=0.5)).train()
    tokens = torch.arange(11).repeat(4)[:, None]
    found = model.embedded(tokens).view(4, 11, -1)
    assert torch.equal(found[0], found[3])
    gone = found[0].abs().sum(-1) == 0
    assert 0 < int(gone.sum()) < 11
    torch.testing.assert_close(found[0][~gone], 2 * model.embedding.weight[~gone])


def test_masks_stay_over_a_sequence_and_differ_between_samples() -> None:
    model = network(FREE).train()
    found = model.locked(torch.ones(20, 6, 50), 0.4)
    assert torch.equal(found[0], found[19]) and not torch.equal(found[0, 0], found[0, 1])
    assert found.unique().tolist() == [0.0, pytest.approx(1 / 0.6)]
    assert abs(float((found == 0).float().mean()) - 0.4) < 0.1
    assert torch.equal(model.eval().locked(torch.ones(2, 2, 2), 0.4), torch.ones(2, 2, 2))


@pytest.mark.parametrize(
    "name",
    ["dropout_embedding", "dropout_input", "dropout_between", "dropout_output", "weight_drop"],
)
def test_every_dropout_acts_in_training_alone(name: str) -> None:
    plain, dropped = network(TIED), network(TIED, Recipe(**{name: 0.5}))
    tokens, targets = piece(TIED)
    state = plain.begin(3)
    with torch.no_grad():
        for model in (plain, dropped):
            model.eval()
        same = [m(tokens, targets, state)[0].surprise for m in (plain, dropped)]
        assert torch.equal(*same)
        losses = [dropped.train()(tokens, targets, state)[0].surprise for _ in range(2)]
    assert losses[0] != losses[1] and losses[0] != same[0]


def test_penalties_are_the_papers() -> None:
    model = network(TIED, Recipe(activation_penalty=2.0, slowness_penalty=3.0))
    tokens, targets = piece(TIED)
    losses, _ = model(tokens, targets, model.begin(3))
    seen, shown, _ = model.read(tokens, model.begin(3))
    expected = 2 * (shown**2).mean() + 3 * ((seen[1:] - seen[:-1]) ** 2).mean()
    torch.testing.assert_close(losses.penalty, expected)
    assert losses.penalty > 0
    assert network(TIED)(tokens, targets, model.begin(3))[0].penalty == 0


def test_answers_are_tied_to_the_table_where_it_is_as_wide() -> None:
    tied, free = network(TIED), network(FREE)
    assert tied.table is tied.embedding.weight
    assert free.table is not free.embedding.weight and free.table.shape == (11, 8)
    assert sum("softmax" in name for name, _ in tied.named_parameters()) == 1


def test_sizes_are_those_that_the_papers_name() -> None:
    large = shapes.shape("word", "large", 10_000)
    assert large.hidden == (1150, 1150, 400) and large.embedding == 400 and large.tied
    weights = sum(p.numel() for p in network(large).parameters())
    assert abs(weights - 24.2e6) < 0.1e6  # AWD-LSTM on Penn Treebank: 24 M
    recipe = shapes.recipe("word", "large")
    assert (recipe.learning_rate, recipe.clip, recipe.averaging) == (30.0, 0.25, "triggered")
    assert shapes.shape("word", "small", 10_000).hidden == (200, 200)
    assert shapes.shape("word", "small", 80_000).cutoffs == (3200, 16000)
    assert not shapes.shape("word", "small", 80_000, softmax="full").cutoffs
    narrow = shapes.shape("word", "small", 80_000, width=8)  # 8 / 4 / 4 is no vector
    assert narrow.cutoffs == (3200,)
    assert shapes.shape("char", "tiny", 60, width=9, layers=3).hidden == (9, 9, 9)


# --- program --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHAPES)
def test_the_program_is_the_network_a_token_at_a_time_and_at_once(name: str) -> None:
    shape = SHAPES[name]
    model = network(shape, Recipe(weight_drop=0.3)).eval()
    weights = {k: v.detach().numpy().copy() for k, v in model.state_dict().items()}
    options = {**model.layers[0].options(), "weight_drop": 0.0}  # type: ignore[operator]
    made = runtime.load(language_model(shape, weights, options))
    tokens, targets = piece(shape)
    expected, _ = model.log_probs(tokens, targets, model.begin(3))
    outputs, _ = made.run("read", {"tokens": tokens.T.numpy()})
    for b in range(3):
        found = features.log_probs(outputs["logits"][b], targets[:, b].numpy())
        np.testing.assert_allclose(found, expected[:, b].numpy(), atol=2e-6)
        session = made.session()
        stepped = np.stack([session.step(np.array(int(t))) for t in tokens[:, b]])
        np.testing.assert_allclose(stepped, outputs["logits"][b], atol=2e-6)


def test_the_adaptive_softmax_adds_up_to_one() -> None:
    model = network(ADAPTIVE)
    weights = {k: v.detach().numpy().copy() for k, v in model.state_dict().items()}
    options = model.layers[0].options()  # type: ignore[operator]
    made = runtime.load(language_model(ADAPTIVE, weights, options))
    logits = made.session().step(np.array(3))
    assert np.exp(logits).sum() == pytest.approx(1, abs=1e-5)


# --- streams --------------------------------------------------------------------------------------


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams of two pieces."""
    from lstmkit.tasks.language import data

    monkeypatch.setattr(data, "SHORTEST_STREAM", 2)


@pytest.mark.usefixtures("short")
def test_pieces_cover_every_stream_once_and_targets_follow_tokens() -> None:
    tokens = np.arange(1, 1004)
    corpus = Corpus(tokens, 0, 4, 20)
    assert corpus.streams == 4 and corpus.length == 250
    parts = list(corpus.batches(3, 1, ALONE))
    assert parts[0].fresh and not any(p.fresh for p in parts[1:])
    targets = torch.cat([p.targets for p in parts]).T.numpy()
    assert np.array_equal(targets.ravel(), tokens[:1000])
    before = torch.cat([p.tokens for p in parts]).T.numpy()
    assert np.array_equal(before, targets - 1)
    lengths = {len(p.tokens) for p in parts}
    assert len(lengths) > 3 and len(parts) == corpus.pieces
    assert parts[2].share == pytest.approx(len(parts[2].tokens) / 20)
    assert not np.array_equal(corpus.cuts(3, 1), corpus.cuts(3, 2))


@pytest.mark.usefixtures("short")
def test_processes_share_the_streams() -> None:
    corpus = Corpus(np.arange(1000), 0, 4, 20)
    whole = list(corpus.batches(0, 0, ALONE))
    halves = [list(corpus.batches(0, 0, Share(rank, 2))) for rank in (0, 1)]
    for one, a, b in zip(whole, *halves, strict=True):
        assert torch.equal(one.tokens[:, ::2], a.tokens)
        assert torch.equal(one.tokens[:, 1::2], b.tokens)


def test_a_short_text_is_read_in_fewer_streams_and_more_epochs() -> None:
    assert Corpus(np.arange(1600), 0, 20, 20).streams == 2
    assert Corpus(np.arange(10), 0, 20, 20).streams == 1
    course = Course(TIED, Recipe(epochs=3, bptt=20), 0)
    assert course.planned_epochs(Corpus(np.arange(1600), 0, 2, 20)) == 38  # 1,500 steps of 40
    assert course.planned_epochs(Corpus(np.arange(10), 0, 2, 20)) == 60
    assert replace(course, epochs=2).planned_epochs(Corpus(np.arange(10), 0, 2, 20)) == 2
    assert replace(course, minutes=2).planned_epochs(Corpus(np.arange(10), 0, 2, 20)) is None


@pytest.mark.usefixtures("short")
def test_the_state_is_carried_from_piece_to_piece() -> None:
    model = network(TIED).eval()
    course = Course(TIED, Recipe(), 0)
    tokens = np.random.default_rng(0).integers(0, 11, 120)
    corpus, carried = Corpus(tokens, 0, 2, 12), Carried(model)
    with torch.no_grad():
        parts = list(corpus.batches(0, 0, ALONE))
        nats = [course.loss(model, p, carried) * p.targets.numel() for p in parts]
        both = [torch.cat([getattr(p, n) for p in parts]) for n in ("tokens", "targets")]
        whole, _ = model(*both, model.begin(2))
    assert float(sum(nats)) == pytest.approx(float(whole.surprise), rel=1e-5)
    saved = carried.state_dict()
    other = Carried(model)
    other.load_state_dict(saved)
    for (h, c), (h2, c2) in zip(carried.state, other.state, strict=True):
        assert torch.equal(h, h2) and torch.equal(c, c2)


def test_validation_counts_every_token(monkeypatch: pytest.MonkeyPatch) -> None:
    from lstmkit.tasks.language import learning

    model = network(TIED).eval()
    tokens = np.random.default_rng(0).integers(0, 11, 97)
    monkeypatch.setattr(learning, "VALID_PIECE", 13)
    monkeypatch.setattr(learning, "VALID_STREAMS", 1)
    alone = surprise(model, tokens, 4)
    given = torch.from_numpy(features.before(tokens, 4))[:, None]
    found, _ = model.log_probs(given, torch.from_numpy(tokens)[:, None], model.begin(1))
    assert alone == pytest.approx(-float(found.mean()), rel=1e-5)
    monkeypatch.setattr(learning, "VALID_STREAMS", 5)
    assert surprise(model, tokens, 4) == pytest.approx(alone, rel=0.05)


def test_options_change_the_recipe_and_nothing_else() -> None:
    recipe = shapes.recipe("word", "small")
    changed = recipe.with_options({"bptt": 7, "clip": None, "vocabulary": 3})
    assert changed == replace(recipe, bptt=7)
