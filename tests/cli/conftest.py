"""A small table, a small model, and a way to run the command line in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

Run = Callable[..., Result]


def rows(days: int = 60, shops: int = 2) -> list[str]:
    """CSV rows with a week and noise."""
    generator = np.random.default_rng(0)
    found = []
    for shop in range(shops):
        values = 50 + 10 * np.sin(2 * np.pi * np.arange(days) / 7) + generator.normal(size=days)
        dates = np.datetime64("2024-01-01") + np.arange(days)
        found += [f"s{shop},{d},{v:.3f}" for d, v in zip(dates, values, strict=True)]
    return found


@pytest.fixture
def lstmkit() -> Run:
    """Run a command line; the result has exit_code, stdout and stderr."""
    from lstmkit.cli.main import cli

    def run(*args: object, stdin: str | None = None) -> Result:
        return CliRunner().invoke(cli, [str(arg) for arg in args], input=stdin)

    return run


@pytest.fixture(scope="session")
def header() -> str:
    return "shop,day,sold"


@pytest.fixture(scope="session")
def sales(tmp_path_factory: pytest.TempPathFactory, header: str) -> Path:
    """Two shops, sixty days."""
    path = tmp_path_factory.mktemp("data") / "sales.csv"
    path.write_text("\n".join([header, *rows()]) + "\n")
    return path


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, sales: Path) -> Path:
    """A tiny forecaster of the shops, a week ahead."""
    from lstmkit.tasks.forecast import learning
    from lstmkit.tasks.forecast.estimator import Forecaster

    path = tmp_path_factory.mktemp("model") / "sales.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning, "STEPS_PER_EPOCH", 5)
        Forecaster(7, size="tiny", epochs=1, threads=1).fit(str(sales)).save(path)
    return path
