"""The report as text: its size, its structure, and that it holds what was recorded."""

import base64
import json
import re
import zlib

import numpy as np
import pytest

from lstmkit.inspection import report
from lstmkit.inspection.horizon import time_constant
from lstmkit.inspection.record import LayerRecord, Recording
from lstmkit.inspection.report import packing, sorting
from lstmkit.inspection.view import Curve, Section, View


def recorded(T=40, N=2, H=6, layers=2, seed=0):
    rng = np.random.default_rng(seed)
    found = []
    for k in range(layers):
        gates = rng.uniform(size=(3, T, N, H)).astype(np.float32)
        inner = rng.uniform(-1, 1, size=(3, T, N, H)).astype(np.float32)
        found.append(LayerRecord("lstm", k, k == 1, *gates, inner[0], 3 * inner[1], inner[2]))
    lengths = np.full(N, T)
    lengths[-1] -= T // 4 if N > 1 else 0
    return Recording(tuple(found), lengths)


def view_of(recording, title="a model", **more):
    T, N = len(recording.layers[0].cell), len(recording.lengths)
    curve = Curve("sales", "input", np.arange(T), np.ones((N, T)))
    labels = np.array([[f"day {k}" for k in range(T)]] * N)
    names = tuple(f"sample {n}" for n in range(N))
    return View(title, recording, names, labels, curves=[curve], **more)


def meta_of(page):
    text = re.search(r'id="meta">(.*?)</script>', page, re.DOTALL)[1]
    return json.loads(text)


def test_the_page_asks_for_nothing_and_holds_every_sample_and_layer(tmp_path):
    path = report.write(view_of(recorded()), tmp_path / "r.html")
    page = path.read_text("utf-8")
    assert "default-src 'none'" in page and "http://" not in page and "https://" not in page
    assert "@@" not in page and page.count('id="block-') == 4
    assert [layer["words"] for layer in meta_of(page)["layers"]][1] == "lstm, layer 1, reverse"


def test_hostile_names_stay_text():
    bad = "</script><img src=x onerror=alert(1)>@@meta@@"
    section = Section(bad, [bad], table=[[bad], [bad]], key='"><img>')
    page = report.render(
        view_of(recorded(), bad, facts=[(bad, bad)], sections=[section], quantity=bad)
    )
    assert "<img" not in page and meta_of(page)["quantity"] == bad


def test_numbers_that_are_none_are_null():
    assert report.numbers(np.array([[1.0, np.nan], [np.inf, -2]])) == [[1.0, None], [None, -2.0]]


@pytest.mark.parametrize("pool", [1, 7])
def test_a_block_gives_back_what_was_packed(pool):
    recording = recorded(T=50)
    layer, exact = recording[0], [4, 1] if pool > 1 else []
    told = {"pool": pool, "exact": exact, "reach": [1.0] * 4 + [3.0]}
    codes = np.frombuffer(
        zlib.decompress(base64.b64decode(packing.block(layer, 1, recording, told))), np.uint8
    )
    T, H = recording.lengths[1], 6
    C = -(-T // pool)
    per = H * C + len(exact) * T + 3 * C
    assert len(codes) == 5 * per
    cell = codes[4 * per :]
    heat = np.cumsum(cell[: H * C].reshape(H, C), axis=1, dtype=np.uint8) / 254.0 * 6 - 3
    means = [layer.cell[c * pool : min((c + 1) * pool, T), 1].mean(0) for c in range(C)]
    np.testing.assert_allclose(heat.T, means, atol=3 / 254 + 1e-6)
    rows = np.cumsum(cell[H * C : H * C + len(exact) * T].reshape(-1, T), axis=1, dtype=np.uint8)
    np.testing.assert_allclose(rows.T / 254 * 6 - 3, layer.cell[:T, 1][:, exact], atol=3 / 254)


def test_codes_clip_and_mark_what_is_no_number():
    codes = packing.quantised(np.array([-9.0, -1, 0, 1, 9, np.nan]), -1.0, 1.0)
    assert codes.tolist() == [0, 0, 127, 254, 254, 255]


def test_small_recordings_are_exact_and_large_ones_fit():
    assert packing.plan(recorded()).pool == 1
    wide = np.broadcast_to(np.float32(0), (10_000, 1, 512))
    layer = LayerRecord("lstm", 0, False, *[wide] * 6)
    chosen = packing.plan(Recording((layer, layer), np.array([10_000])))
    values = 2 * (512 * -(-10_000 // chosen.pool) + chosen.exact * 10_000)
    assert chosen.pool == 10 and chosen.exact > 5 and values * 5 <= packing.BUDGET


def test_a_time_constant_is_that_of_an_exponential():
    forget = np.exp(-1 / np.array([[2.0, 50.0, 1e9]])).repeat(9, axis=0)
    np.testing.assert_allclose(time_constant(forget), [2, 50, 1e9], rtol=1e-6)
    assert time_constant(np.ones((9, 1)))[0] == np.inf


def test_a_unit_of_one_step_is_selective_and_a_constant_one_is_not():
    cell = np.zeros((100, 3))
    cell[7, 0], cell[:, 1] = -5, 2
    np.testing.assert_allclose(sorting.selectivity(cell), [1, 0, 0], atol=1e-12)


def test_units_that_move_together_stand_together():
    rng = np.random.default_rng(0)
    groups = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0])
    cell = rng.normal(size=(400, 3))[:, groups] + 0.1 * rng.normal(size=(400, 10))
    order = sorting.cluster_order(cell)
    assert sorted(order) == list(range(10))
    assert np.count_nonzero(np.diff(groups[order])) == 2


def test_padding_does_not_count():
    recording = recorded()
    recording[0].forget_gate[30:, 1] = 1e-9
    kept = sorting.orders(recording[0], recording)["tau"]
    recording[0].forget_gate[30:, 1] = 1.0
    assert kept == sorting.orders(recording[0], recording)["tau"]
