"""Small tables, and a forecaster that is fitted once."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from lstmkit.tasks.forecast import learning
from lstmkit.tasks.forecast.estimator import Forecaster


def table(series: int = 4, rows: int = 90, seed: int = 0, first: int = 0) -> pl.DataFrame:
    """Daily series with a week, a trend and noise, of different levels: shop, day, sold."""
    t = np.arange(rows)
    frames = []
    for k in range(series):
        generator = np.random.default_rng((seed, k))  # more rows: the same first rows
        week = 10 * np.sin(2 * np.pi * (t + k) / 7)
        sold = (k + 1) * (50 + 0.1 * t + week + generator.normal(size=rows))
        days = np.datetime64("2024-01-01") + t
        frames.append(pl.DataFrame({"shop": f"s{k + first}", "day": days, "sold": sold}))
    return pl.concat(frames)


@pytest.fixture(scope="session")
def make_table() -> object:
    return table


@pytest.fixture(autouse=True)
def brief_epochs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Epochs of ten steps, except where quality is tested."""
    if "slow" not in request.keywords:
        monkeypatch.setattr(learning, "STEPS_PER_EPOCH", 10)


@pytest.fixture(scope="session")
def fitted() -> Forecaster:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning, "STEPS_PER_EPOCH", 10)
        return Forecaster(7, size="tiny", epochs=2, threads=1).fit(table())
