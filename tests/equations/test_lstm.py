"""The equations in numpy and in torch: the same numbers, at their limits too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from contract.cases import BY_NAME
from contract.oracle import Direction
from contract.oracle import philox as scalar_philox
from hypothesis import given, settings
from hypothesis import strategies as st

from lstmkit.equations import namespace, philox
from lstmkit.equations.lstm import Step, Weights, project_input, step

CELLS = {
    "plain": "plain",
    "no bias": "no-bias",
    "projected": "projected",
    "peephole": "peephole",
    "layer norm": "layer-norm",
    "coupled": "peephole-coupled",
    "all": "all",
    "all coupled": "all-coupled",
}


def cell(name: str) -> tuple[Any, Weights, list[np.ndarray]]:
    """A layer, its weights in numpy, and x, h, c."""
    case = BY_NAME[CELLS[name]]
    layer = case.make()
    weights = {k: w.detach().numpy() for k, w in layer.weights_of(0, False).items()}
    random = np.random.default_rng(0)
    widths = case.I, layer.proj_size or case.H, case.H
    return layer, Weights(**weights), [random.standard_normal((case.B, n)) for n in widths]


@pytest.mark.parametrize("name", CELLS)
def test_a_step_is_the_same_in_numpy_in_torch_and_by_scalars(name: str) -> None:
    layer, w, (x, h, c) = cell(name)
    keep_h, keep_c = layer.zoneout
    options = {"coupled": layer.coupled_gates, "keep_h": keep_h, "keep_c": keep_c}
    found = step(project_input(x, w), h, c, w, **options)
    tensors = Weights(*(None if a is None else torch.from_numpy(a) for a in w))
    x_t, h_t, c_t = (torch.from_numpy(a) for a in (x, h, c))
    in_torch = step(project_input(x_t, tensors), h_t, c_t, tensors, **options)
    for a, b in zip(found, in_torch, strict=True):
        np.testing.assert_allclose(a, b.numpy(), atol=1e-13)
    given_weights = {k: v for k, v in w._asdict().items() if v is not None}
    rest = {"layer": 0, "reverse": False, "zoneout": layer.zoneout, "recurrent_dropout": 0.0}
    one = Direction(given_weights, {**rest, "coupled": layer.coupled_gates}, None)
    for b in range(len(x)):
        for a, e in zip(found, Step(*one.step(x[b], h[b], c[b], b, 0)), strict=True):
            np.testing.assert_allclose(a[b], e, atol=1e-13)


def test_dropout_on_h_and_zoneout_masks_enter_where_they_should() -> None:
    _, w, (x, h, c) = cell("plain")
    zx, none = project_input(x, w), np.zeros_like(h)
    without_h = step(zx, h, c, w, drop_h=none)
    np.testing.assert_array_equal(without_h.hidden, step(zx, none, c, w).hidden)
    kept = step(zx, h, c, w, keep_h=np.ones_like(h), keep_c=np.ones_like(c))
    np.testing.assert_array_equal(kept.hidden, h)
    np.testing.assert_array_equal(kept.cell, c)
    only_cell = step(zx, h, c, w, keep_c=np.ones_like(c))
    np.testing.assert_array_equal(only_cell.hidden, step(zx, h, c, w).hidden)


@pytest.mark.filterwarnings("error")
def test_no_overflow_at_the_ends() -> None:
    z = np.array([-1e308, -750.0, 0.0, 750.0, 1e308])
    np.testing.assert_array_equal(namespace.sigmoid(z), [0.0, 0.0, 0.5, 1.0, 1.0])
    narrow = z.clip(-3e38, 3e38).astype(np.float32)
    np.testing.assert_array_equal(namespace.sigmoid(narrow), [0.0, 0.0, 0.5, 1.0, 1.0])


def test_normalise_has_mean_0_and_unit_variance_and_takes_constants() -> None:
    x = np.random.default_rng(1).normal(3.0, 5.0, (4, 50))
    y = namespace.normalise(x)
    np.testing.assert_allclose(y.mean(-1), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(-1), 1, atol=1e-4)
    np.testing.assert_array_equal(namespace.normalise(np.full((2, 5), 7.0)), 0)
    expected = torch.nn.functional.layer_norm(torch.from_numpy(x), (50,))
    np.testing.assert_allclose(y, expected.numpy(), atol=1e-12)


word32 = st.integers(0, 2**32 - 1)


@settings(max_examples=50, deadline=None)
@given(counter=st.tuples(*[word32] * 4), key=st.tuples(word32, word32))
def test_philox_equals_that_of_exact_integers(counter: Any, key: Any) -> None:
    expected = scalar_philox(list(counter), list(key))
    for make in (np.int64, torch.tensor):
        found = philox.philox(tuple(map(make, counter)), tuple(map(make, key)))
        assert [int(v) for v in found] == expected


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(-(2**63), 2**63 - 1),
    sample=st.integers(0, 2**47),
    place=st.tuples(st.integers(0, 7), st.integers(0, 4095), st.integers(0, 1)),
    step=st.integers(0, 2**31),
    unit=st.integers(0, 10_000),
)
def test_words_follow_the_documented_counter(
    seed: int, sample: int, place: Any, step: int, unit: int
) -> None:
    purpose, layer, reverse = place
    word3 = purpose | reverse << 3 | layer << 4 | (sample >> 32) << 16
    counter = [unit // 4, step, sample % 2**32, word3 % 2**32]
    expected = scalar_philox(counter, [seed % 2**32, (seed >> 32) % 2**32])[unit % 4] >> 8
    arrays = [torch.tensor(v) for v in (sample, step, unit)]
    assert int(philox.words(torch.tensor(seed), purpose, layer, reverse, *arrays)) == expected


def test_every_coordinate_of_a_mask_matters() -> None:
    base = {"seed": 5, "purpose": 1, "layer": 2, "direction": 0, "sample": 3, "step": 4}
    units = np.arange(64)

    def draw(**changed: Any) -> np.ndarray:
        return philox.words(**{**base, **changed}, unit=units)

    changes = [{k: v + 1} for k, v in base.items()] + [{"sample": 3 + 2**32}, {"seed": 5 + 2**32}]
    drawn = [draw(), *(draw(**change) for change in changes)]
    for k, a in enumerate(drawn):
        assert all((a != b).mean() > 0.9 for b in drawn[:k])
    assert min(d.min() for d in drawn) >= 0 and max(d.max() for d in drawn) < 2**24
