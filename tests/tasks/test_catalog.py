"""The catalog, and what every estimator does alike."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lstmkit.errors import UserError
from lstmkit.tasks import catalog
from lstmkit.tasks.forecast.estimator import Forecaster


def test_every_task_resolves_to_its_own_class() -> None:
    for name in catalog.names():
        assert name == catalog.resolve(name).TASK


def test_unknown_task_names_the_known_ones() -> None:
    with pytest.raises(UserError, match="forecast"):
        catalog.resolve("divination")


def test_options_can_be_read_without_torch_and_polars() -> None:
    code = (
        "import sys\n"
        "for m in ('torch', 'polars', 'lightning', 'pandas'): sys.modules[m] = None\n"
        "from lstmkit.tasks import catalog\n"
        "assert all(catalog.resolve(n).OPTIONS for n in catalog.names())\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", catalog.names())
def test_options_are_the_constructor(name: str) -> None:
    estimator = catalog.resolve(name)
    params = estimator().get_params()
    assert {o.name for o in estimator.OPTIONS} == set(params)
    assert {o.name: o.default for o in estimator.OPTIONS} == params


def test_scikit_learn_clones_and_sets() -> None:
    base = pytest.importorskip("sklearn.base")
    model = Forecaster(7, quantiles=[0.1, 0.9], minutes=2.5)
    copy = base.clone(model)
    assert copy is not model and copy.get_params() == model.get_params()
    assert copy.set_params(horizon=3).horizon == 3 and model.horizon == 7
    assert repr(model) == "Forecaster(horizon=7, quantiles=[0.1, 0.9], minutes=2.5)"
    with pytest.raises(UserError, match="horizont"):
        model.set_params(horizont=3)


@pytest.mark.parametrize(
    "params",
    [
        {"horizon": 0},
        {"horizon": 2.5},
        {"horizon": "many"},
        {"horizon": True},
        {"minutes": 0},
        {"minutes": float("inf")},
        {"size": "huge"},
        {"device": "abacus"},
        {"seed": -1},
        {"epochs": -3},
    ],
)
def test_impossible_options_are_refused_before_the_data_is_read(params: dict[str, object]) -> None:
    (name,) = params
    with pytest.raises(UserError, match=name):
        Forecaster(**{"horizon": 4, **params}).fit("there-is-no-such-file.csv")


def test_using_a_model_before_fit() -> None:
    for call in (Forecaster(3).predict, Forecaster(3).evaluate, Forecaster(3).save):
        with pytest.raises(UserError, match="no model yet"):
            call("data.csv")
