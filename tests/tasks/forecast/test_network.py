"""The network and its program are the same function, with every kind of input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lstmkit.readers.covariates import Covariate
from lstmkit.tasks.forecast import fitting
from lstmkit.tasks.forecast.data import Corpus
from lstmkit.tasks.forecast.features import Geometry, geometry
from lstmkit.tasks.forecast.learning import member_weights, together
from lstmkit.tasks.forecast.network import Sizes, build, rebuilt
from lstmkit.tasks.forecast.scoring import Model, Selection, forecast

QUANTILES = (0.1, 0.5, 0.9)
SIZES = Sizes(16, 1, 12, 0.1)
COVARIATES = (
    Covariate("price", "known"),
    Covariate("promotion", "known", ("a", "b")),
    Covariate("temperature", "past"),
    Covariate("area", "static"),
    Covariate("region", "static", ("x", "y", "z")),
)
LENGTHS = (150, 200, 90)


def shape_of(horizon: int, season: int, covariates: tuple[Covariate, ...] = COVARIATES) -> Geometry:
    found = geometry(horizon, season, "1d", lengths=[200], days=200)
    return replace(found, covariates=covariates)


def corpus(shape: Geometry, seed: int = 0) -> Corpus:
    """Three series with random values and covariates, a horizon of them known ahead."""
    g = np.random.default_rng(seed)
    day, start = np.timedelta64(1, "D"), np.datetime64("2024-01-01", "us")
    rows = [n + shape.horizon for n in LENGTHS]
    extra = [np.stack([g.normal(50, 5, n), g.integers(0, 3, n), g.normal(size=n)], 1) for n in rows]
    return Corpus(
        [start + np.arange(n) * day for n in LENGTHS],
        [g.normal(100, 10, n) for n in LENGTHS],
        shape,
        extra,
        np.stack([g.normal(size=3), g.integers(0, 4, 3)], 1),
    )


def shaken(shape: Geometry, data: Corpus, point: str, seed: int) -> torch.nn.Module:
    """A network in which every weight matters."""
    torch.manual_seed(seed)
    network = build(shape, SIZES, QUANTILES, point)
    network.standardise(data.extra, data.static)
    for parameter in network.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    network.calibration.add_(0.05 * torch.randn_like(network.calibration))
    return network.eval()


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("point", ["median", "mean"])
@pytest.mark.parametrize(("horizon", "season"), [(7, 7), (10, 7), (3, 12), (48, 24)])
def test_program_is_the_network(horizon: int, season: int, point: str, members: int) -> None:
    shape = shape_of(horizon, season)
    data = corpus(shape)
    network = together([shaken(shape, data, point, k) for k in range(members)])
    batch = data.batch(np.arange(3), np.array(LENGTHS))
    with torch.no_grad():
        expected = network(**batch.inputs).numpy()
    model, given = Model.of(network), data.window(np.arange(3), np.array(LENGTHS))[0]
    assert expected.shape == (3, horizon, len(QUANTILES) + (point == "mean"))
    assert (np.diff(expected[..., :3]) >= 0).all()
    for run in (model.ready.run, model.program.run):
        assert run("forecast", given)[0]["quantiles"] == pytest.approx(expected, abs=1e-5)
    weights = member_weights(model.weights)
    again = together([rebuilt(shape, SIZES, QUANTILES, point, w) for w in weights]).eval()
    with torch.no_grad():
        assert torch.equal(again(**batch.inputs), network(**batch.inputs))


@pytest.mark.parametrize("k", range(5))
def test_every_covariate_reaches_the_answer(k: int) -> None:
    shape = shape_of(7, 7)
    data = corpus(shape)
    model = Model.of(shaken(shape, data, "median", 0))
    chosen = Selection(np.arange(3), np.array(LENGTHS), heldout=False)
    before = forecast(model, data, chosen)
    if k < 3:
        data.extra[:, k] = data.extra[:, k][::-1]
    else:
        data.static[:, k - 3] = data.static[:, k - 3][::-1]
    assert np.abs(forecast(model, data, chosen) - before).max() > 1e-3


def test_what_lies_ahead_of_a_past_covariate_is_never_read() -> None:
    shape = shape_of(7, 7)
    data = corpus(shape)
    model = Model.of(shaken(shape, data, "median", 0))
    chosen = Selection(np.arange(3), np.array(LENGTHS) - 20, heldout=False)
    before = forecast(model, data, chosen)
    for k, n in enumerate(LENGTHS):
        data.extra[data.extra_start[k] + n - 20 : data.extra_stop[k], 2] = 1e6
    assert np.array_equal(forecast(model, data, chosen), before)


def test_a_missing_covariate_is_not_its_mean() -> None:
    shape = shape_of(7, 7, COVARIATES[:1])
    data = corpus(shape_of(7, 7))
    data = Corpus([data.times[:150]], [data.values[:150]], shape, [data.extra[:157, :1]])
    network = shaken(shape, data, "median", 0)
    given = data.window(np.array([0]), np.array([150]))[0]
    assert given["present"].all()
    data.extra[150:] = np.nan
    hidden = data.window(np.array([0]), np.array([150]))[0]
    assert not hidden["present"][0, shape.lookback :].any()
    mean = {**given, "numbers": np.where(hidden["present"] > 0, given["numbers"], 50.0)}
    answers = []
    for inputs in (hidden, mean):
        with torch.no_grad():
            answers.append(network(**{k: torch.from_numpy(v) for k, v in inputs.items()}))
    assert (answers[0] - answers[1]).abs().max() > 1e-3


def test_the_loss_is_a_sum_and_the_number_of_observed_rows() -> None:
    shape = shape_of(7, 7, ())
    data = corpus(shape)
    data.values[100:103] = np.nan
    network = build(shape, SIZES, QUANTILES, "mean").eval()
    batch = data.batch(np.array([0, 1]), np.array([100, 60]))
    with torch.no_grad():
        total, count = fitting.loss(network, batch)
        answer = network(**batch.inputs)
    expected = 0.0
    for b in range(2):
        for h in range(7):
            y, w = float(batch.truth[b, h]), float(batch.weight[b, h])
            errors = [y - float(a) for a in answer[b, h]]
            pinball = [max(p * e, (p - 1) * e) for p, e in zip(QUANTILES, errors, strict=False)]
            expected += w * sum(pinball) / 3 + (w * errors[3]) ** 2
    assert int(count) == 11
    assert float(total) == pytest.approx(expected, rel=1e-4)


def test_blind_windows_see_no_future() -> None:
    shape = shape_of(7, 7)
    data = corpus(shape)
    blind = np.array([True, False])
    batch = data.batch(np.array([0, 1]), np.array([120, 120]), blind)
    future = batch.inputs["present"][:, shape.lookback :, 0]
    assert not future[0].any() and future[1].all()
    assert not batch.inputs["codes"][0, shape.lookback :].any()


def test_parts_of_a_batch_are_the_batch() -> None:
    shape = shape_of(7, 7)
    data = corpus(shape)
    whole = list(data.random(8, 3, (1, 2)))
    parts = [list(data.random(8, 3, (1, 2), (rank, 2))) for rank in range(2)]
    for step in range(3):
        joined = torch.empty_like(whole[step].truth)
        joined[::2], joined[1::2] = (part[step].truth for part in parts)
        assert torch.equal(joined, whole[step].truth)
