"""Steps of time: names, inference, walking, seasons, cycles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmkit.errors import UserError
from lstmkit.readers import calendar

FREQS = ["30s", "1m", "15m", "1h", "6h", "1d", "2d", "1w", "1b", "1mo", "1mo-end", "1q", "1q-end"]
FREQS += ["1y", "1y-end", "2mo", "100ms"]


def moments(*texts: str) -> np.ndarray:
    return np.array(texts, "datetime64[us]")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1h", "1h"), ("H", "1h"), ("15min", "15m"), ("15T", "15m"), ("M", "1mo"), ("MS", "1mo"),
        ("ME", "1mo-end"), ("m", "1m"), ("10ms", "10ms"), ("W-SUN", "1w"), ("QE-DEC", "1q-end"),
        ("daily", "1d"), ("2 weeks", "2w"), ("1mo-end", "1mo-end"), ("Y", "1y"), ("B", "1b"),
        ("1i", "1i"), ("30s", "30s"),
    ],
)  # fmt: skip
def test_names_of_frequencies(text: str, expected: str) -> None:
    assert str(calendar.parse_freq(text)) == expected


@pytest.mark.parametrize("text", ["", "0h", "1.5h", "fortnight", "-1d", "1d-end", "h1"])
def test_bad_frequency_is_a_user_error(text: str) -> None:
    with pytest.raises(UserError, match="frequency"):
        calendar.parse_freq(text)


@given(st.sampled_from(FREQS), st.integers(0, 20_000), st.integers(14, 90), st.randoms())
def test_inferred_frequency_is_the_one_walked(freq: str, day: int, n: int, random: object) -> None:
    start = np.datetime64("1970-01-05", "us") + np.timedelta64(day, "D")
    if freq == "1b":
        start = np.busday_offset(start.astype("datetime64[D]"), 0, roll="forward")
    if "end" not in freq:
        start = start.astype("datetime64[M]") if calendar.parse_freq(freq).months else start
    times = calendar.step_times(start, freq, np.arange(n))
    order = np.random.default_rng(n).permutation(n)
    assert calendar.infer_freq(times[order]) == freq
    assert (calendar.grid_index(times, freq) == np.arange(n)).all()


@pytest.mark.parametrize(
    ("last", "freq", "expected"),
    [
        ("2024-01-31", "1mo-end", ["2024-02-29", "2024-03-31", "2024-04-30"]),
        ("2023-11-30", "1q-end", ["2024-02-29", "2024-05-31", "2024-08-31"]),
        ("2024-01-15", "1mo", ["2024-02-15", "2024-03-15", "2024-04-15"]),
        ("2024-01-05", "1b", ["2024-01-08", "2024-01-09", "2024-01-10"]),
        ("2023-12-31", "1y-end", ["2024-12-31", "2025-12-31", "2026-12-31"]),
        ("2024-02-28T23:00", "1h", ["2024-02-29T00:00", "2024-02-29T01:00", "2024-02-29T02:00"]),
    ],
)
def test_future_times(last: str, freq: str, expected: list[str]) -> None:
    future = calendar.future_times(np.datetime64(last), freq, 3)
    assert future.dtype == np.dtype("datetime64[us]")
    assert (future == moments(*expected)).all()


def test_future_of_integer_time() -> None:
    assert calendar.future_times(10, "5i", 3).tolist() == [15, 20, 25]


def test_inference_survives_gaps_and_ignores_steps_between_series() -> None:
    times = np.concatenate([np.arange(0, 40, 2), np.arange(1, 41, 2)])
    assert calendar.infer_freq(times, np.repeat([0, 1], 20)) == "2i"
    assert calendar.infer_freq(times) == "1i"
    assert calendar.infer_freq(np.array([0, 10, 11, 12, 13]), np.array([0, 0, 1, 2, 3])) == "10i"
    assert (
        calendar.infer_freq(moments("2024-01-01", "2024-01-02", "2024-01-03", "2024-02-09")) == "1d"
    )


def test_business_month_ends_are_month_ends_and_four_weeks_are_not() -> None:
    assert (
        calendar.infer_freq(moments("2024-03-29", "2024-04-30", "2024-05-31", "2024-06-28"))
        == "1mo-end"
    )
    times = calendar.step_times(np.datetime64("2020-01-01", "us"), "4w", np.arange(30))
    assert calendar.infer_freq(times) == "4w"


def test_one_time_has_no_spacing() -> None:
    with pytest.raises(UserError, match="spacing"):
        calendar.infer_freq(moments("2024-01-01", "2024-01-01"))


@pytest.mark.parametrize(
    ("freq", "season"),
    [("1h", 24), ("30m", 48), ("15m", 96), ("1m", 1440), ("30s", 120), ("100ms", 600), ("1d", 7)]
    + [("1b", 5), ("1w", 52), ("1mo", 12), ("1q", 4), ("3mo", 4), ("1y", 1), ("1i", 1), ("7h", 1)],
)
def test_seasons(freq: str, season: int) -> None:
    assert calendar.season_of(freq) == season


@pytest.mark.parametrize(
    ("freq", "cycles"),
    [
        ("1h", ("hour_of_day", "day_of_week", "day_of_month", "day_of_year")),
        ("1d", ("day_of_week", "day_of_month", "day_of_year")),
        ("1b", ("day_of_week", "day_of_month", "day_of_year")),
        ("1w", ("day_of_year",)),
        ("1mo", ("month_of_year",)),
        ("1y", ()),
        ("1i", ()),
    ],
)
def test_visible_cycles(freq: str, cycles: tuple[str, ...]) -> None:
    assert calendar.cycles(freq) == cycles
    times = np.arange(3) if freq == "1i" else moments("2024-01-01", "2024-02-01", "2024-03-01")
    found = calendar.features(times, freq)
    assert found.shape == (3, 2 * len(cycles)) and found.dtype == np.float32
    assert len(calendar.feature_names(freq)) == found.shape[1]


def test_phases_of_known_moments() -> None:
    found = calendar.features(moments("2024-01-03T06:00", "2024-01-01T12:00"), "1h")
    names = calendar.feature_names("1h")
    column = dict(zip(names, found.T, strict=True))
    np.testing.assert_allclose(column["hour_of_day_sin"], [1, 0], atol=1e-6)
    np.testing.assert_allclose(column["hour_of_day_cos"], [0, -1], atol=1e-6)
    np.testing.assert_allclose(column["day_of_week_sin"], [np.sin(4 * np.pi / 7), 0], atol=1e-6)
    np.testing.assert_allclose(column["day_of_year_sin"][1], 0, atol=1e-6)


@given(st.integers(-(10**9), 4 * 10**9), st.sampled_from(["1h", "1d", "1mo", "30s"]))
def test_features_lie_on_unit_circles(second: int, freq: str) -> None:
    pairs = calendar.features(np.array([second], "datetime64[s]"), freq).reshape(-1, 2)
    np.testing.assert_allclose((pairs**2).sum(1), 1, rtol=1e-5)
