"""The recurrent network: laws of the whole sequence, and its program row by row."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lstmkit import runtime
from lstmkit.readers.covariates import Covariate
from lstmkit.tasks.forecast import features, recurrent
from lstmkit.tasks.forecast.features import Geometry
from lstmkit.tasks.forecast.network import ForecastEnsemble, Sizes
from lstmkit.tasks.forecast.recurrent import RecurrentNetwork, causal_norm
from lstmkit.tasks.forecast.recurrent_program import program

QUANTILES = (0.1, 0.5, 0.9)
COVARIATES = (
    Covariate("price", "known"),
    Covariate("promotion", "known", ("a", "b")),
    Covariate("temperature", "past"),
    Covariate("weather", "past", ("sun", "rain")),
    Covariate("area", "static"),
    Covariate("region", "static", ("x", "y", "z")),
)
SHAPES = [(3, 7), (10, 7), (5, 1), (7, 7)]  # horizon below, above the season, no season
Inputs = dict[str, torch.Tensor]


def shape_of(
    horizon: int = 10, season: int = 7, covariates: tuple[Covariate, ...] = ()
) -> Geometry:
    lookback = 4 * season
    shape = Geometry(horizon, season, lookback, 1, "1d", ("day_of_week",), covariates=covariates)
    return features.recurrent(shape)


def shaken(
    shape: Geometry, point: str = "median", layers: int = 1, seed: int = 0
) -> RecurrentNetwork:
    """A network in which every weight matters."""
    torch.manual_seed(seed)
    network = RecurrentNetwork(shape, Sizes(16, layers, 12, 0.1), QUANTILES, point)
    for parameter in network.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    network.calibration.add_(0.05 * torch.randn_like(network.calibration))
    return network.eval()


def inputs(shape: Geometry, rows: int = 40, batch: int = 3, missing: float = 0.2) -> Inputs:
    """Random rows, some missing."""
    g = torch.Generator().manual_seed(1)
    mask = (torch.rand(batch, rows, generator=g) >= missing).float()
    found = {"values": torch.randn(batch, rows, generator=g).cumsum(1) * mask, "mask": mask}
    total = rows + shape.horizon
    found["calendar"] = torch.randn(batch, total, shape.calendar_width, generator=g)
    for prefix, given, size in (
        ("", shape.dynamic, (batch, total)),
        ("static_", shape.static, (batch,)),
    ):
        codes = sum(c.categories is not None for c in given)
        numbers = len(given) - codes
        if numbers:
            present = (torch.rand(*size, numbers, generator=g) > 0.2).float()
            found[f"{prefix}present"] = present
            found[f"{prefix}numbers"] = torch.randn(*size, numbers, generator=g) * present
        if codes:
            found[f"{prefix}codes"] = torch.randint(0, 3, (*size, codes), generator=g)
    return found


@torch.no_grad()
def answers(network: torch.nn.Module, given: Inputs) -> np.ndarray:
    return network(**given).numpy()


def stepped(model: runtime.Model, shape: Geometry, given: Inputs, native: bool) -> np.ndarray:
    """The program's forecasts after each row, (B, T, H, Q)."""
    run, arrays = (model if native else model.program).run, {k: v.numpy() for k, v in given.items()}
    fixed = {k: v for k, v in arrays.items() if k.startswith("static_")}
    moving = {k: arrays[k] for k in ("numbers", "present", "codes") if k in arrays}
    past = {k: v.copy() for k, v in moving.items()}
    for name, cells in past.items():  # what is not known of the rows to come is missing there
        kinds = [c for c in shape.dynamic if (c.categories is None) == (name != "codes")]
        cells[..., [c.role == "past" for c in kinds]] = 0
    state, found = model.program.initial_state(len(arrays["mask"])), []
    for t in range(arrays["mask"].shape[1]):
        row = {"value": arrays["values"][:, t : t + 1], "mask": arrays["mask"][:, t : t + 1]}
        row |= {"calendar": arrays["calendar"][:, t], **fixed}
        outputs, state = run("observe", row | {k: v[:, t] for k, v in moving.items()}, state)
        assert not outputs
        ahead = slice(t + 1, t + 1 + shape.horizon)
        coming = {"future_calendar": arrays["calendar"][:, ahead]}
        outputs, after = run("forecast", coming | {k: v[:, ahead] for k, v in past.items()}, state)
        assert all(np.array_equal(after[name], state[name]) for name in state)
        found.append(outputs["quantiles"])
    return np.stack(found, 1)


# --- the program ----------------------------------------------------------------------------------


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("covariates", [(), COVARIATES, COVARIATES[:1], COVARIATES[3:]])
@pytest.mark.parametrize(("horizon", "season"), SHAPES)
def test_program_is_the_network(
    horizon: int, season: int, covariates: tuple[Covariate, ...], native: bool
) -> None:
    shape = shape_of(horizon, season, covariates)
    network, given = shaken(shape), inputs(shape)
    expected = answers(network, given)
    assert expected.shape == (3, 40, horizon, 3)
    assert np.ptp(expected) > 1
    model = runtime.load(program(network))
    assert stepped(model, shape, given, native) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("layers", [1, 2])
def test_program_of_a_mean_of_layers_of_an_ensemble(layers: int, members: int) -> None:
    shape = shape_of(covariates=COVARIATES)
    each = [shaken(shape, "mean", layers, seed) for seed in range(members)]
    network = each[0] if members == 1 else ForecastEnsemble(each)
    given = inputs(shape)
    expected = answers(network, given)
    assert expected.shape[-1] == 4
    model = runtime.load(program(network))
    assert stepped(model, shape, given, native=True) == pytest.approx(expected, abs=1e-5)
    assert set(model.program.weights) == set(network.state_dict())


def test_program_runs_natively_as_a_whole() -> None:
    model = runtime.load(program(shaken(shape_of(covariates=COVARIATES), "mean")))
    for name in ("observe", "forecast"):
        plan = model.plan(model.point(name), {})
        assert plan is not None
        assert plan.native


# --- laws -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("covariates", [(), COVARIATES])
def test_an_answer_depends_on_what_was_known_alone(covariates: tuple[Covariate, ...]) -> None:
    shape = shape_of(covariates=covariates)
    network, given = shaken(shape), inputs(shape)
    other = {k: v.clone() for k, v in given.items()}
    other["values"][:, 20:] = 7.0
    other["mask"][:, 20:] = 1.0
    for name, cells in other.items():  # covariates of the past, the second of each kind
        if name in ("numbers", "present", "codes"):
            cells[:, 20:, 1] = 1
    before, after = answers(network, given), answers(network, other)
    assert np.array_equal(before[:, :20], after[:, :20])
    assert np.abs(before[:, 20] - after[:, 20]).max() > 1e-2


def test_only_the_rows_asked_for_are_answered() -> None:
    shape = shape_of(covariates=COVARIATES)
    network, given = shaken(shape), inputs(shape)
    at = torch.tensor([[0, 39], [5, 5], [20, 3]])
    found, every = answers(network, {**given, "at": at}), answers(network, given)
    assert found == pytest.approx(np.stack([every[k, at[k]] for k in range(3)]), abs=1e-6)


@pytest.mark.parametrize(("scale", "shift"), [(3.0, 0.0), (1e-6, 0.0), (1e6, 0.0), (0.7, 40.0)])
def test_scaled_and_shifted_series_have_such_forecasts(scale: float, shift: float) -> None:
    shape = shape_of(covariates=COVARIATES)
    network, given = shaken(shape), inputs(shape)
    moved = {**given, "values": (scale * given["values"] + shift) * given["mask"]}
    expected = scale * answers(network, given) + shift
    begun = (given["mask"].cumsum(1) > 0).numpy()  # before the first observed row it says 0
    tolerance = 1e-5 * float(np.abs(expected).max())
    assert answers(network, moved)[begun] == pytest.approx(expected[begun], abs=tolerance)


def test_samples_do_not_mix() -> None:
    shape = shape_of(covariates=COVARIATES)
    network, given = shaken(shape), inputs(shape)
    alone = answers(network, {k: v[1:2] for k, v in given.items()})
    assert alone[0] == pytest.approx(answers(network, given)[1], abs=1e-6)


def test_a_missing_row_leaves_level_and_scale() -> None:
    given = inputs(shape_of(), missing=0.5)
    level, scale = causal_norm(given["values"], given["mask"], 0.9)
    garbage = torch.where(given["mask"] > 0, given["values"], 1e3)
    assert torch.equal(causal_norm(garbage, given["mask"], 0.9)[0], level)
    kept = given["mask"][0] > 0
    short = causal_norm(given["values"][:1, kept], torch.ones(1, int(kept.sum())), 0.9)
    assert torch.equal(short[0][0], level[0, kept])
    assert torch.equal(short[1][0], scale[0, kept])


def test_level_and_scale_are_weighted_means() -> None:
    x, weights = np.array([3.0, 5.0, 4.0, 8.0]), 0.8 ** np.arange(3, -1, -1)
    level, scale = causal_norm(torch.tensor(x)[None], torch.ones(1, 4), 0.8)
    assert float(level[0, -1]) == pytest.approx((weights * x).sum() / weights.sum())
    before = np.array([np.average(x[:k], weights=weights[-k:]) for k in range(1, 4)])
    distance = (weights[1:] * np.abs(x[1:] - before)).sum() / weights[1:].sum()
    assert float(scale[0, -1]) == pytest.approx(distance)
    assert scale[0, :2].tolist() == [0.0, 2.0]


@pytest.mark.parametrize("value", [0.0, -3.5, 1e7])
def test_a_constant_series_goes_on(value: float) -> None:
    shape = shape_of()
    given = inputs(shape, missing=0.0)
    given["values"] = torch.full_like(given["values"], value)
    assert (answers(shaken(shape), given) == value).all()


def test_a_first_row_and_no_row_at_all() -> None:
    shape = shape_of()
    given = inputs(shape, rows=1, missing=0.0)
    found = answers(shaken(shape), given)
    assert np.array_equal(found, np.broadcast_to(given["values"][..., None, None], found.shape))
    nothing = {**given, "values": torch.zeros(3, 1), "mask": torch.zeros(3, 1)}
    assert (answers(shaken(shape), nothing) == 0).all()


@pytest.mark.parametrize("k", range(6))
def test_every_covariate_reaches_the_answer(k: int) -> None:
    shape = shape_of(covariates=COVARIATES)
    network, given = shaken(shape), inputs(shape)
    prefix = "" if k < 4 else "static_"
    name = prefix + ("codes" if k % 2 else "numbers")
    changed = given[name].clone()
    changed[..., k // 2 % 2] = (changed[..., k // 2 % 2] + 1) % 3
    given[f"{prefix}present"] = torch.ones_like(given[f"{prefix}present"])
    other = answers(network, {**given, name: changed})
    assert np.abs(other - answers(network, given)).max() > 1e-3


# --- learning -------------------------------------------------------------------------------------


def test_an_untrained_network_is_close_to_the_seasonal_naive() -> None:
    shape = shape_of(10, 7)
    torch.manual_seed(0)
    network = RecurrentNetwork(shape, Sizes(16, 1, 12, 0.0), QUANTILES).eval()
    week = torch.tensor([3.0, 1, 4, 1, 5, 9, 2]).repeat(6)[None]
    given = {"values": week, "mask": torch.ones_like(week), "calendar": torch.zeros(1, 52, 2)}
    found = answers(network, given)[0, -1]
    assert found[:, 1] == pytest.approx(week[0, :10].numpy(), abs=1e-4)
    assert (np.diff(found) > 0).all()


def test_effects_of_covariates_are_taken_from_the_past() -> None:
    """Last season's promotion, of a known effect, is not expected again."""
    shape = shape_of(7, 7, (Covariate("promotion", "known"),))
    torch.manual_seed(0)
    network = RecurrentNetwork(shape, Sizes(16, 1, 12, 0.0), QUANTILES).eval()
    with torch.no_grad():
        network.effect_rows.weight.zero_()[0] = 1.0
        network.effect_rows.bias.zero_()
        network.effect_head.weight[0, 0] = 2.0
    values = torch.randn(1, 42, generator=torch.Generator().manual_seed(0))
    numbers = torch.zeros(1, 49, 1)
    numbers[0, 35] = 1.0
    given = {"values": values, "mask": torch.ones(1, 42), "calendar": torch.zeros(1, 49, 2)}
    given |= {"numbers": numbers, "present": torch.ones(1, 49, 1)}
    scale = float(causal_norm(values, given["mask"], network.decay)[1][0, 35])
    plain = answers(network, {**given, "numbers": torch.zeros(1, 49, 1)})[0, -1]
    share = float(network.season_logits.detach().softmax(-1)[0, -1])
    moved = plain[0] - answers(network, given)[0, -1][0]
    assert moved == pytest.approx(share * 2 * scale, rel=1e-3)


def test_presets_and_sizes() -> None:
    assert set(recurrent.PRESETS) == {"tiny", "small", "medium", "large"}
    rows = [recurrent.decay(shape_of(5, m)) ** r for m, r in ((1, 16), (24, 168))]
    assert rows == pytest.approx([0.5, 0.5])


@pytest.mark.slow
def test_it_learns_what_the_seasonal_naive_cannot() -> None:
    """A trend with a week: the loss falls well below that of the start."""
    shape = shape_of(7, 7)
    torch.manual_seed(0)
    network = RecurrentNetwork(shape, Sizes(16, 1, 16, 0.0), QUANTILES)
    t, g = torch.arange(80.0), torch.Generator().manual_seed(0)
    slope, phase = torch.rand(32, 1, generator=g), 7 * torch.rand(32, 1, generator=g)
    rows = slope * t + torch.sin(2 * torch.pi * (t + phase) / 7)
    rows = rows + 0.1 * torch.randn(rows.shape, generator=g)
    given = {"values": rows[:, :73], "mask": torch.ones(32, 73), "calendar": torch.zeros(32, 80, 2)}
    given["at"] = torch.arange(30, 73).expand(32, -1)
    truth = rows.unfold(1, 7, 1)[:, 31:74].unsqueeze(-1)
    optimizer, p = torch.optim.Adam(network.parameters(), 1e-2), torch.tensor(QUANTILES)
    losses = []
    for _ in range(60):
        error = truth - network(**given)
        loss = (p * error).maximum((p - 1) * error).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
