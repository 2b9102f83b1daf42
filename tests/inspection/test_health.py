"""Each finding is found where it was put, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from inspection.networks import Reader, batch

from lstmkit.inspection.health import ADVICE, check, statistics, summary
from lstmkit.inspection.horizon import Horizon
from lstmkit.inspection.record import LayerRecord, Recording, observe


def healthy(T: int = 50, N: int = 3, H: int = 6) -> Recording:
    """A layer that a doctor would send home."""
    draw = np.random.default_rng(0).uniform
    i, o = (draw(0.1, 0.9, (T, N, H)).astype(np.float32) for _ in range(2))
    f = draw(0.6, 0.98, (T, N, H)).astype(np.float32)
    g, c = (draw(-0.9, 0.9, (T, N, H)).astype(np.float32) for _ in range(2))
    layer = LayerRecord("lstm", 0, False, i, f, o, g, c, o * np.tanh(c))
    return Recording((layer,), np.full(N, T))


def sick(field: str, unit: int, value: float) -> Recording:
    found = healthy()
    values = getattr(found.layers[0], field).copy()
    values[..., unit] = value
    return Recording((replace(found.layers[0], **{field: values}),), found.lengths)


def test_a_healthy_layer_has_no_finding() -> None:
    assert check(healthy()) == []
    assert summary([]).startswith("healthy")


@pytest.mark.parametrize(
    ("field", "value", "kind"),
    [
        ("input_gate", 0.01, "input gate shut"),
        ("output_gate", 0.01, "output gate shut"),
        ("forget_gate", 0.999, "never forgets"),
        ("forget_gate", 0.01, "forgets at once"),
        ("candidate", -0.999, "candidate saturated"),
        ("cell", 5.0, "cell saturated"),
        ("cell", np.nan, "not finite"),
        ("cell", 0.0, "dead"),
    ],
)
def test_the_sick_unit_is_named(field: str, value: float, kind: str) -> None:
    found = check(sick(field, 4, value))
    assert [(f.kind, f.units) for f in found if f.kind == kind] == [(kind, (4,))]
    assert all(f.units == (4,) for f in found)
    assert ADVICE[kind] in str(found[0]) or len(found) > 1


def test_a_gate_that_opens_now_and_then_is_not_saturated() -> None:
    found = sick("input_gate", 4, 0.01)
    found.layers[0].input_gate[::10, :, 4] = 0.8
    assert check(found) == []


def test_a_duplicate_is_named_once_whatever_its_sign_and_scale() -> None:
    found = healthy()
    cell = found.layers[0].cell.copy()
    cell[..., 5] = 0.1 - 0.7 * cell[..., 2]
    found = Recording((replace(found.layers[0], cell=cell),), found.lengths)
    assert [(f.kind, f.units) for f in check(found)] == [("duplicate", (5,))]


def test_padding_is_no_symptom() -> None:
    found = healthy()
    for field in ("input_gate", "forget_gate", "output_gate", "candidate", "cell", "hidden"):
        getattr(found.layers[0], field)[1:, 1:] = 0
    assert check(Recording(found.layers, np.array([50, 1, 1]))) == []


def test_a_layer_without_memory_is_named_whole() -> None:
    found = healthy()
    gate = np.full_like(found.layers[0].forget_gate, 0.4)
    found = Recording((replace(found.layers[0], forget_gate=gate),), found.lengths)
    assert [f.kind for f in check(found)] == ["no unit remembers"]


def test_gradients_that_vanish_or_explode_are_named() -> None:
    lags = np.arange(100)
    for curve, kinds in (
        (0.99**lags, []),
        (0.5**lags, ["gradient vanishes"]),
        (1.1**lags, ["gradient explodes"]),
    ):
        horizon = Horizon(curve, cells={"lstm.0": curve}, available=100)
        assert [f.kind for f in check(healthy(), horizon)] == kinds


def test_statistics_are_those_of_the_gates() -> None:
    recording = observe(Reader(), batch())
    layer = recording["lstm.1"]
    found = statistics(layer, recording.valid(layer))
    assert found["forget_gate/mean"] == pytest.approx(layer.forget_gate.mean(), rel=1e-5)
    assert found["input_gate/shut"] == (layer.input_gate < 0.05).mean()
    assert 0 < found["time_constant/median"] < 10
