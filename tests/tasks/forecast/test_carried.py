"""Whole series, series side by side, and a stream: the same forecasts of a recurrent program."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lstmkit import runtime
from lstmkit.operations import ProgramError
from lstmkit.readers.covariates import Covariate
from lstmkit.tasks.forecast import carried, features
from lstmkit.tasks.forecast.carried import Carried, History, chunk, run
from lstmkit.tasks.forecast.data import Corpus
from lstmkit.tasks.forecast.features import Geometry, calendar_features
from lstmkit.tasks.forecast.network import Sizes
from lstmkit.tasks.forecast.recurrent import RecurrentNetwork
from lstmkit.tasks.forecast.recurrent_program import program

COVARIATES = (
    Covariate("price", "known"),
    Covariate("promotion", "known", ("a", "b")),
    Covariate("temperature", "past"),
    Covariate("region", "static", ("x", "y")),
)
LENGTHS = (60, 33, 47, 1)
DAY = np.timedelta64(1, "D")
START = np.datetime64("2024-01-01", "us")


def shape_of(covariates: tuple[Covariate, ...] = (), **changes: object) -> Geometry:
    shape = Geometry(10, 7, 28, 1, "1d", ("day_of_week",), covariates=covariates)
    return replace(features.recurrent(shape), **changes)


def network_of(shape: Geometry) -> RecurrentNetwork:
    torch.manual_seed(0)
    network = RecurrentNetwork(shape, Sizes(16, 2, 12, 0.0), (0.1, 0.5, 0.9))
    for parameter in network.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


def model_of(shape: Geometry) -> runtime.Model:
    return runtime.load(program(network_of(shape)))


def history(shape: Geometry, rows: int, seed: int = 0, missing: float = 0.2) -> History:
    """Random rows, the first one observed; covariates known a horizon ahead."""
    g = np.random.default_rng((seed, rows))
    values = 50 + g.normal(size=rows).cumsum()
    values[1:][g.random(rows - 1) < missing] = np.nan
    total = rows + shape.horizon
    extra = np.stack([g.normal(size=total), g.integers(0, 3, total), g.normal(size=total)], 1)
    extra[g.random(extra.shape) < 0.1] = np.nan
    times = START + np.arange(rows) * DAY
    return History(values, times, extra if shape.dynamic else None, np.array([seed % 3.0]))


def histories(shape: Geometry) -> list[History]:
    return [history(shape, n, k) for k, n in enumerate(LENGTHS)]


def of(shape: Geometry, each: list[History]) -> list[History]:
    """Without static covariates where there are none."""
    return [h if shape.static else h._replace(static=None) for h in each]


def everywhere(each: list[History]) -> tuple[np.ndarray, np.ndarray]:
    """Every origin of every history."""
    pairs = [(k, origin) for k, h in enumerate(each) for origin in range(1, len(h.values) + 1)]
    which, origin = np.array(pairs).T
    return which, origin


def streamed(model: runtime.Model, shape: Geometry, series: History) -> np.ndarray:
    """Forecasts after each row of a history, (T, H, Q): pushed one at a time, missing ones too."""
    stream, found = Carried(model, shape, series.times[0]), []
    if shape.static and series.static is not None:
        stream.static = series.static
    extra = series.extra
    for t, value in enumerate(series.values):
        given = np.empty(0) if extra is None else extra[t]
        stream.push(1, value, series.times[t], given)
        known = None if extra is None else extra[t + 1 : t + 1 + shape.horizon]
        found.append(stream.forecast(known))
    return np.stack(found)


SHAPES = pytest.mark.parametrize("shape", [shape_of(), shape_of(COVARIATES)], ids=["plain", "all"])


@SHAPES
def test_a_run_is_the_network(shape: Geometry) -> None:
    each = of(shape, histories(shape))
    model, network = model_of(shape), network_of(shape)
    found = run(model, shape, each, *everywhere(each)).quantiles
    parts = []
    for h in each:
        rows = carried._cells(h.extra, np.arange(len(h.values) + 10), len(shape.dynamic))
        times = START + np.arange(len(h.values) + 10) * DAY
        values = h.values - h.values[0]
        given = carried.row_inputs(shape, np.append(values, [np.nan] * 10), times, rows, h.static)
        given = {k: torch.from_numpy(np.array(v))[None] for k, v in given.items()}
        mask, past = given.pop("mask")[:, :-10, 0], given.pop("value")[:, :-10, 0]
        given = {k: v[:, 0] if k.startswith("static") else v for k, v in given.items()}
        with torch.no_grad():
            parts.append(network(past, mask, **given)[0].numpy() + h.values[0])
    assert found == pytest.approx(np.concatenate(parts), abs=1e-4)


@SHAPES
def test_alone_beside_others_and_in_a_stream(shape: Geometry) -> None:
    """Bit for bit."""
    each, model = of(shape, histories(shape)), model_of(shape)
    which, origin = everywhere(each)
    together = run(model, shape, each, which, origin)
    assert np.isfinite(together.quantiles).all()
    for k, h in enumerate(each):
        mine = which == k
        alone = run(model, shape, each, which[mine], origin[mine])
        assert np.array_equal(alone.quantiles, together.quantiles[mine])
        assert np.array_equal(alone.scale, together.scale[mine])
        assert np.array_equal(streamed(model, shape, h), together.quantiles[mine])


def test_batches_and_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = shape_of(COVARIATES)
    each, model = histories(shape), model_of(shape)
    asked = everywhere(each)
    whole = run(model, shape, each, *asked)
    monkeypatch.setattr(carried, "BATCH", 3)
    monkeypatch.setattr(carried, "BLOCK", 8)
    parts = run(model, shape, each, *asked)
    assert np.array_equal(whole.quantiles, parts.quantiles)
    assert np.array_equal(whole.scale, parts.scale)


def test_rows_after_an_origin_are_not_read() -> None:
    shape = shape_of(COVARIATES)
    each, model = [history(shape, 60)], model_of(shape)
    which, origin = np.zeros(2, int), np.array([25, 30])
    before = run(model, shape, each, which, origin).quantiles
    each[0].values[30:] = 1e6
    each[0].extra[30:, 2] = 1e6
    assert np.array_equal(run(model, shape, each, which, origin).quantiles, before)
    each[0].values[29] += 1
    after = run(model, shape, each, which, origin).quantiles
    assert np.array_equal(after[0], before[0])
    assert not np.array_equal(after[1], before[1])


def test_a_corpus_is_its_series() -> None:
    shape = shape_of(COVARIATES)
    each, network = histories(shape), network_of(shape)
    corpus = Corpus(
        [h.times for h in each],
        [h.values for h in each],
        shape,
        [h.extra for h in each],
        np.stack([h.static for h in each]),
    )
    model = SimpleNamespace(ready=runtime.load(program(network)), shape=shape)
    which, origin = np.array([2, 0, 2]), np.array([47, 20, 30])
    found = carried.forecast(model, corpus, which, origin)
    as_float32 = [h._replace(extra=h.extra.astype(np.float32)) for h in each]
    expected = run(model.ready, shape, as_float32, which, origin)
    assert np.array_equal(found.quantiles, expected.quantiles)


# --- gaps -----------------------------------------------------------------------------------------


def gappy(rows: int = 60) -> np.ndarray:
    values = history(shape_of(), rows, missing=0.0).values
    values[20:35] = np.nan
    return values


def jumped(stream: Carried, series: History) -> None:
    """Pushes the observed rows alone."""
    last = -1
    for t in np.flatnonzero(~np.isnan(series.values)):
        steps = t - last if last >= 0 else 1
        extra = series.extra
        if extra is not None:
            for k in range(1, steps):
                stream.foretell(k, extra[last + k])
        given = np.empty(0) if extra is None else extra[t]
        stream.push(int(steps), series.values[t], series.times[t], given)
        last = t


@pytest.mark.parametrize("longest", [4, 4096])
@SHAPES
def test_rows_left_out_of_a_stream_are_missing(
    shape: Geometry, longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carried, "longest_gap", lambda _: longest)
    series = of(shape, [history(shape, 60)._replace(values=gappy())])[0]
    if series.extra is not None:
        series.extra[20:35, 2] = np.nan  # of rows left out nothing is told but what is known ahead
        series.extra[30:35] = np.nan
    model = model_of(shape)
    stream = Carried(model, shape, series.times[0])
    if shape.static and series.static is not None:
        stream.static = series.static
    jumped(stream, series)
    known = None if series.extra is None else series.extra[60:]
    expected = run(model, shape, [series], np.zeros(1, int), np.array([60])).quantiles[0]
    assert np.array_equal(stream.forecast(known), expected)
    assert np.array_equal(streamed(model, shape, series)[-1], expected)


def test_a_gap_without_end_takes_no_time() -> None:
    shape = shape_of()
    stream = Carried(model_of(shape), shape, START)
    for t in range(20):
        stream.push(1, float(t), START + t * DAY, np.empty(0))
    stream.push(10**7, 3.0, START + (19 + 10**7) * DAY, np.empty(0))
    assert np.isfinite(stream.forecast()).all()


def test_rows_before_the_first_observed_one_are_left_out() -> None:
    shape = shape_of()
    model, late = model_of(shape), history(shape, 40)
    padded = History(
        np.append([np.nan] * 9, late.values), START + np.arange(-9, 40) * DAY, None, None
    )
    late = late._replace(static=None)
    a = run(model, shape, [late], np.zeros(1, int), np.array([40])).quantiles
    b = run(model, shape, [padded], np.zeros(1, int), np.array([49])).quantiles
    assert np.array_equal(a, b)
    nothing = run(model, shape, [padded, late], np.array([0, 1]), np.array([5, 40]))
    assert (nothing.quantiles[0] == 0).all()
    assert np.array_equal(nothing.quantiles[1], a[0])
    assert (nothing.scale > 0).all()


# --- units ----------------------------------------------------------------------------------------


def test_large_prices_with_small_changes_keep_their_digits() -> None:
    shape = shape_of()
    model, small = model_of(shape), history(shape, 60, missing=0.0)._replace(static=None)
    steps = np.round(small.values - small.values[0], 2) * 2.0**-10  # exact beside 1e9
    asked = (np.zeros(1, int), np.array([60]))
    near = run(model, shape, [small._replace(values=steps)], *asked)
    far = run(model, shape, [small._replace(values=1e9 + steps)], *asked)
    assert far.quantiles - 1e9 == pytest.approx(near.quantiles, abs=1e-6)
    assert np.ptp(near.quantiles) > 1e-3
    assert far.scale == pytest.approx(near.scale, rel=1e-3)
    grown = run(model, shape, [small._replace(values=2.0**40 * steps)], *asked)
    assert np.array_equal(grown.quantiles, 2.0**40 * near.quantiles)


def test_constant_series_and_none_below_zero() -> None:
    shape = shape_of()
    model, series = model_of(shape), history(shape, 30, missing=0.0)._replace(static=None)
    asked = (np.zeros(1, int), np.array([30]))
    constant = run(model, shape, [series._replace(values=np.full(30, 0.1))], *asked)
    assert (constant.quantiles == 0.1).all()
    assert constant.scale > 0
    falling = series._replace(values=np.linspace(3, -1, 30))
    assert run(model, shape, [falling], *asked).quantiles.min() < 0
    assert run(model, replace(shape, nonnegative=True), [falling], *asked).quantiles.min() == 0


# --- memory ---------------------------------------------------------------------------------------


def test_memoryless_is_the_program_without_memory() -> None:
    shape = shape_of(COVARIATES)
    each, model = histories(shape), model_of(shape)
    which, origin = np.array([0, 1, 3]), np.array([60, 20, 1])
    found = run(model, shape, each, which, origin, memoryless=True).quantiles
    for k in range(3):
        h, n = each[which[k]], origin[k]
        track = carried._Track(h, shape, n)
        rows, state = track.rows(0, n), None
        for t in range(n):
            row = {name: array[t : t + 1] for name, array in rows.items()}
            _, state = model.program.run("observe", row, state, memoryless=True)
        coming = {name: array[None] for name, array in track.coming(n).items()}
        outputs, _ = model.program.run("forecast", coming, state)
        expected = outputs["quantiles"][0] * track.unit + track.offset
        assert found[k] == pytest.approx(expected, abs=1e-4)
    assert np.abs(found - run(model, shape, each, which, origin).quantiles).max() > 1e-2


def test_a_saved_stream_goes_on() -> None:
    shape = shape_of(COVARIATES)
    model, series = model_of(shape), history(shape, 40)
    one = Carried(model, shape, series.times[0])
    one.static = series.static
    push: Callable[[Carried, int], None] = lambda s, t: s.push(  # noqa: E731
        1, series.values[t], series.times[t], series.extra[t]
    )
    for t in range(25):
        push(one, t)
    one.foretell(2, series.extra[26])
    other = Carried.restored(model, shape, one.save())
    for t in range(25, 40):
        push(one, t)
        push(other, t)
        assert np.array_equal(one.forecast(), other.forecast())
    assert other.last == one.last
    assert other.moment is None
    changed = one.save()
    changed["state"] = changed["state"].copy()
    changed["state"][-1] ^= 1
    with pytest.raises(ProgramError, match="damaged"):
        Carried.restored(model, shape, changed)


def test_what_is_known_ahead_is_read_when_it_comes() -> None:
    shape = shape_of(COVARIATES[:1])
    model, nothing = model_of(shape), np.array([np.nan])
    told, later = (Carried(model, shape, START) for _ in range(2))
    for stream in (told, later):
        stream.push(1, 1.0, START, nothing)
        stream.push(1, 2.0, START + DAY, nothing)
    told.foretell(1, np.array([5.0]))
    told.foretell(9, np.array([7.0]))
    told.foretell(11, np.array([8.0]))  # beyond the horizon
    assert not np.array_equal(told.forecast(), later.forecast())
    told.push(1, 3.0, START + 2 * DAY, nothing)
    later.push(1, 3.0, START + 2 * DAY, np.array([5.0]))
    for stream in (told, later):
        stream.push(3, 4.0, START + 5 * DAY, nothing)
    later.foretell(5, np.array([7.0]))
    assert told.ahead[:, 0] == pytest.approx([np.nan] * 4 + [7.0] + [np.nan] * 5, nan_ok=True)
    assert np.array_equal(told.forecast(), later.forecast())


# --- the rest -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("season", "horizon", "seasons", "rows"),
    [(1, 5, 4, 96), (7, 28, 4, 98), (24, 48, 4, 336), (96, 96, 4, 480), (365, 30, 2, 760)],
)
def test_chunks_hold_what_is_carried_and_the_horizon(
    season: int, horizon: int, seasons: int, rows: int
) -> None:
    shape = shape_of(season=season, horizon=horizon, lookback=4 * season)
    assert carried.carried_seasons(shape) == seasons
    assert chunk(shape) == rows


def test_row_inputs_follow_the_calendar() -> None:
    shape = shape_of()
    times = START + np.arange(5) * DAY
    found = carried.row_inputs(shape, np.array([0, np.nan, 2, 3, 4]), times, np.empty((5, 0)), None)
    assert np.array_equal(found["calendar"], calendar_features(shape, times))
    assert found["mask"][:, 0].tolist() == [1, 0, 1, 1, 1]
    ahead = carried.ahead_inputs(shape, times[0], np.empty((10, 0)))
    assert np.array_equal(ahead["future_calendar"][:4], found["calendar"][1:])


def test_it_runs_where_torch_is_not() -> None:
    code = (
        "import sys; sys.modules['torch'] = sys.modules['polars'] = None;"
        "import lstmkit.tasks.forecast.carried"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
