"""The look of the figures: gate axes, what is drawn, and files that are whole or absent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lstmkit.errors import UserError
from lstmkit.style import COLOURS, canvas, plot_gates, save
from lstmkit.tasks.forecast.plots import Panel, plot_forecast

T, H = 30, 6


@pytest.fixture
def fields() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    gates = {f"{name}_gate": generator.random((T, H)) for name in ("input", "forget", "output")}
    return gates | {"candidate": generator.normal(size=(T, H)), "cell": np.zeros((T, H))}


def panels(count: int, future: int = 8) -> list[Panel]:
    days = np.datetime64("2024-01-01") + np.arange(T + future)
    quantiles = {q: np.full(future, q) for q in (0.1, 0.5, 0.9)}
    return [Panel(f"s{k}", days[:T], np.zeros(T), days[T:], quantiles) for k in range(count)]


def shown(figure) -> list:
    return [axes for axes in figure.axes if axes.get_visible()]


def test_gates_have_axes_from_0_to_1_and_one_colour_each(fields):
    figure = plot_gates(fields, series=np.arange(T), title="t", note="n", ahead=5)
    means = next(axes for axes in figure.axes if axes.get_legend())
    assert means.get_ylim() == (0, 1)
    colours = {line.get_label(): line.get_color() for line in means.get_lines()[:3]}
    assert colours == {f"{g} gate": COLOURS[g] for g in ("input", "forget", "output")}
    heats = [
        axes
        for axes in figure.axes
        if axes.collections and axes.get_title(loc="left").endswith(" gate")
    ]
    limits = [axes.collections[0].get_clim() for axes in heats if axes is not means]
    assert limits == [(0, 1)] * 3


def test_the_future_is_set_off_half_a_step_before_it(fields):
    figure = plot_gates(fields, ahead=5)
    dashed = [line for axes in figure.axes for line in axes.get_lines() if line.is_dashed()]
    assert {line.get_xdata()[0] for line in dashed} == {T - 5 - 0.5}
    assert len(dashed) == 6


def test_units_are_sorted_by_their_forget_gate(fields):
    figure = plot_gates(fields)
    forget = next(a for a in figure.axes if a.get_title(loc="left") == "forget gate")
    means = np.asarray(forget.collections[0].get_array()).reshape(H, T).mean(axis=1)
    assert (np.diff(means) >= 0).all()


def test_a_grid_of_nine_says_what_it_leaves_out():
    figure = plot_forecast(panels(11), note="LSTM.")
    assert len(shown(figure)) == 9
    assert figure.get_supxlabel() == "LSTM. 2 more series are not drawn."
    assert plot_forecast(panels(1), note="LSTM.").get_supxlabel() == "LSTM."


def test_a_band_needs_both_its_quantiles():
    axes = plot_forecast(panels(1)).axes[0]
    assert "80% interval" in axes.get_legend_handles_labels()[1]
    assert "95% interval" not in axes.get_legend_handles_labels()[1]


def test_a_figure_is_saved_whole_or_not_at_all(tmp_path: Path):
    figure = canvas(1, 1)
    assert (
        save(figure, tmp_path / "a.svg").read_bytes()
        == save(figure, tmp_path / "b.svg").read_bytes()
    )
    with pytest.raises(UserError, match="png"):
        save(figure, tmp_path / "c.doc")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.svg", "b.svg"]
