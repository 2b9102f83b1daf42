"""Figures draw what they were given, also where there is little to draw."""

from __future__ import annotations

import numpy as np
import pytest

from lstmkit.inspection.cut import Cut
from lstmkit.inspection.horizon import Horizon
from lstmkit.inspection.plots import plot_attribution, plot_horizon, plot_horizons
from lstmkit.inspection.sections import svg

LAGS = np.arange(50)
CUT = Cut(np.array([0, 1, 2, 4]), np.array([3.0, 2.0, 1.0, 1.0]), 1.0, "MASE")
FULL = Horizon(
    0.9**LAGS, {"lstm.0": 0.95**LAGS}, {"lstm.0": np.array([1.0, 5, np.inf])}, CUT, 50, "4 weeks"
)


def test_curves_of_several_models_are_shares_of_their_own_largest() -> None:
    figure = plot_horizons({"a": FULL, "b": Horizon(5 * 0.5**LAGS)}, title="t", note="n")
    a, b = (figure.axes[0].lines[k].get_ydata() for k in (0, 2))
    np.testing.assert_allclose(a, 0.9**LAGS)
    np.testing.assert_allclose(b[:30], 0.5 ** LAGS[:30])
    assert "steps of 4 weeks" in figure.axes[0].get_xlabel()


@pytest.mark.parametrize(
    "horizon", [FULL, Horizon(np.zeros(3)), Horizon(np.ones(1)), Horizon(0.9**LAGS, cut=CUT)]
)
def test_one_model_has_a_panel_for_what_is_known(horizon: Horizon) -> None:
    panels = 1 + (horizon.cut is not None) + bool(horizon.time_constants)
    assert len(plot_horizon(horizon).axes) == panels
    assert horizon._repr_html_().startswith("<p>")


def test_the_same_figure_is_the_same_svg() -> None:
    first, second = (svg(plot_horizon(FULL, title="t")) for _ in range(2))
    assert first == second and first.lstrip().startswith("<?xml")


def test_attributions_are_symmetric_around_zero() -> None:
    figure = plot_attribution(np.array([[1.0, -3.0]]), ["sold"], labels=["mon", "tue"])
    assert figure.axes[0].images[0].get_clim() == (-3.0, 3.0)
