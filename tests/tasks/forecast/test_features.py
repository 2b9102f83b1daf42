"""Geometry, units and calendar of windows."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmkit.readers.covariates import Covariate
from lstmkit.tasks.forecast import features
from lstmkit.tasks.forecast.features import Geometry


@given(
    st.integers(1, 300), st.integers(1, 200), st.integers(1, 5000), st.none() | st.integers(1, 900)
)
def test_segments_fill_seasons_and_the_horizon(
    horizon: int, season: int, length: int, lookback: int | None
) -> None:
    g = features.geometry(horizon, season, "1h", lookback=lookback, lengths=[length], days=9.0)
    assert g.season % g.segment == 0 and g.lookback == g.seasons * g.season >= 1
    assert g.past_steps * g.segment == g.lookback
    assert g.blocks * g.phases == g.future_steps * g.segment >= horizon
    assert Geometry.from_json(g.to_json()) == g
    if lookback:
        assert g.lookback >= lookback


def test_only_cycles_seen_twice_become_features() -> None:
    short = features.geometry(24, 24, "1h", lengths=[240], days=10)
    long = features.geometry(24, 24, "1h", lengths=[24000], days=1000)
    assert short.cycles == ("hour_of_day",)
    assert long.cycles == ("hour_of_day", "day_of_week", "day_of_month", "day_of_year")


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e12])
@pytest.mark.parametrize("offset", [0.0, -1.0, 1e4])
def test_units_of_any_size_come_back(scale: float, offset: float) -> None:
    shape = features.geometry(7, 5, "1d", lengths=[100], days=100)
    rows = (np.random.default_rng(0).normal(size=(4, 20)) + offset) * scale
    window = features.encode(rows)
    assert np.abs(window.values).max() == 1
    back = features.decode(shape, window.values[..., None].astype(np.float64), window)[..., 0]
    assert np.allclose(back, rows, rtol=0, atol=1e-6 * np.ptp(rows))


def test_missing_constant_and_empty_windows() -> None:
    rows = np.array([[np.nan, 3, np.nan], [5, 5, 5], [np.nan] * 3])
    window = features.encode(rows)
    assert window.mask.tolist() == [[0, 1, 0], [1, 1, 1], [0, 0, 0]]
    assert not window.values.any() and np.isfinite(window.span).all()
    assert window.level[:, 0].tolist() == [3, 5, 0]


def test_calendar_of_a_step_is_that_of_its_first_row() -> None:
    g = features.geometry(24, 24, "1h", lookback=48, lengths=[1000], days=40)
    last = np.array(["2024-03-05T11:00"], "datetime64[us]")
    found = features.step_calendar(g, last)
    assert found.shape == (1, g.past_steps + g.future_steps, g.calendar_width)
    first = last + np.timedelta64(1, "h")
    expected = features.calendar_features(g, first)
    assert found[0, g.past_steps] == pytest.approx(expected[0])
    hour = 2 * np.pi * 12 / 24
    assert expected[0, :2] == pytest.approx([np.sin(hour), np.cos(hour)], abs=1e-6)


def test_integer_time_has_the_wave_of_its_season() -> None:
    g = features.geometry(4, 8, "2i", lengths=[100], days=0)
    waves = features.calendar_features(g, np.array([0, 4, 16]))
    assert waves == pytest.approx(np.array([[0, 1], [1, 0], [0, 1]]), abs=1e-6)


def test_no_forecast_is_below_zero_where_none_may_be() -> None:
    shape = features.geometry(1, 5, "1d", lengths=[100], days=100)
    window = features.encode(np.array([[0.0, 1.0, 0.0]]))
    below = np.array([[[-2.0, 0.5]]])
    assert features.decode(shape, below, window).tolist() == [[[-2.0, 0.5]]]
    floored = dataclasses.replace(shape, nonnegative=True)
    assert features.decode(floored, below, window).tolist() == [[[0.0, 0.5]]]


def test_a_geometry_survives_json() -> None:
    shape = features.geometry(7, 5, "1d", lengths=[100], days=100)
    kinds = (Covariate("a", "known", ("x", "y")), Covariate("b", "static"))
    shape = dataclasses.replace(shape, covariates=kinds, nonnegative=True)
    stored = json.loads(json.dumps(shape.to_json()))
    assert features.Geometry.from_json(stored) == shape
    old = {k: v for k, v in stored.items() if k not in ("covariates", "kind", "nonnegative")}
    assert features.Geometry.from_json(old).covariates == ()
