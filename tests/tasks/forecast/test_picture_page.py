"""Pictures of many series, worst first: the backtests, the grid of panels, the HTML page."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from lstmkit.errors import UserError
from lstmkit.style import COLOURS
from lstmkit.tasks.forecast import page, picture, scoring
from lstmkit.tasks.forecast.backtest import backtests, worst_first

H, ROWS = 7, 90
EVIL = "</script><b>s0</b> & $1$"


def asked(model, frame):
    """Series, corpus and the forecasts after them."""
    table, corpus = model._read(frame)
    chosen = scoring.Selection(np.arange(len(corpus)), corpus.lengths, heldout=False)
    return table, corpus, scoring.forecast(model.model_, corpus, chosen)


@pytest.fixture(scope="module")
def known(fitted, make_table):
    """The table of the training, whose last rows were held out."""
    table, corpus, answer = asked(fitted, make_table())
    return table, corpus, answer, backtests(fitted, table, corpus)


@pytest.fixture(scope="module")
def many(fitted, make_table):
    """Thirty series that the model has never seen; one does not change, one has an evil name."""
    frame = make_table(series=30, seed=3, first=100)
    sold = pl.when(pl.col("shop") == "s105").then(7.0).otherwise(pl.col("sold"))
    frame = frame.with_columns(sold=sold, shop=pl.col("shop").replace("s107", EVIL))
    table, corpus, answer = asked(fitted, frame)
    return table, corpus, answer, backtests(fitted, table, corpus)


# --- backtests


def test_backtests_are_the_scores_of_the_report(fitted, known):
    found = known[3]
    assert np.mean([b.mase for b in found]) == pytest.approx(fitted.report_.metrics["mase"])
    naive = fitted.report_.baselines["seasonal_naive"]["mase"]
    assert np.mean([b.naive_mase for b in found]) == pytest.approx(naive)
    assert {b.origin for b in found} == {ROWS - H}
    assert all(b.quantiles.shape == (H, len(fitted.quantiles_)) for b in found)


def test_newer_rows_are_forecast_by_the_final_weights_and_held_out_rows_are_not(
    fitted, make_table, known
):
    longer = make_table(rows=ROWS + H).filter(pl.col("shop") == "s1")
    frame = pl.concat([make_table().filter(pl.col("shop") != "s1"), longer])
    table, corpus, _ = asked(fitted, frame)
    found = {b.name: b for b in backtests(fitted, table, corpus)}
    before = {b.name: b for b in known[3]}
    assert found["s1"].origin == ROWS
    ahead = dict(zip((s.id[0] for s in known[0].series), known[2], strict=True))
    np.testing.assert_allclose(found["s1"].quantiles, ahead["s1"][..., : len(fitted.quantiles_)])
    np.testing.assert_allclose(found["s0"].quantiles, before["s0"].quantiles)
    assert not np.allclose(before["s0"].quantiles, ahead["s0"][..., : len(fitted.quantiles_)])


def test_what_was_all_learnt_from_has_no_score_and_comes_last(fitted, make_table):
    frame = make_table()
    cut = frame["day"].unique().sort()[ROWS - 2 * H]
    frame = frame.filter((pl.col("shop") != "s0") | (pl.col("day") < cut))
    table, corpus, answer = asked(fitted, frame)
    found = backtests(fitted, table, corpus)
    assert found[0].origin == len(table.series[0].values) == ROWS - 2 * H
    assert np.isnan(found[0].mase) and not len(found[0].truth) and not found[0].beaten
    assert worst_first(found)[-1] == 0
    assert "learnt from every row: 1 series" in page.render(table, fitted.model_, answer, found)


def test_a_truth_that_ends_early_is_scored_and_drawn_as_far_as_it_goes(fitted, make_table):
    table, corpus, answer = asked(fitted, make_table(rows=ROWS + 3))
    found = backtests(fitted, table, corpus)
    assert np.isnan(found[0].truth).tolist() == [False] * 3 + [True] * 4
    axes = picture.draw(table, fitted.model_, answer, found).axes[0]
    came = next(line for line in axes.get_lines() if line.get_label() == "what came")
    assert len(came.get_xdata()) == 3


def test_worst_first_and_undefined_last(many):
    found = many[3]
    order = worst_first(found)
    mase = np.array([found[k].mase for k in order])
    assert (np.diff(mase[:-1]) <= 0).all() and np.isnan(mase[-1])
    assert found[order[-1]].name == "s105" and not found[order[-1]].scored


def test_windows_are_read_in_batches(fitted, many, monkeypatch):
    sizes, run = [], scoring.Model.run

    def counted(self, given, window, *rest):
        sizes.append(len(window.values))
        return run(self, given, window, *rest)

    monkeypatch.setattr(scoring.Model, "run", counted)
    monkeypatch.setattr(scoring, "BATCH", 8)
    again = backtests(fitted, many[0], many[1])
    assert sizes == [8, 8, 8, 6]
    np.testing.assert_allclose([b.mase for b in again], [b.mase for b in many[3]])


# --- the grid of panels


def test_the_worst_twenty_four_are_drawn_in_four_columns(fitted, many):
    table, _, answer, found = many
    figure = picture.draw(table, fitted.model_, answer, found)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert len(shown) == 24 and shown[0].get_gridspec().ncols == 4
    names = [axes.get_title(loc="left").split("\n")[0] for axes in shown]
    assert names == [found[k].name for k in worst_first(found)[:24]]
    assert "6 more series are not drawn" in figure.get_supxlabel()
    assert "Worst first" in figure.get_supxlabel()


def test_a_panel_tells_its_score_in_the_colour_of_the_winner(fitted, known):
    table, _, answer, found = known
    lost = [replace(b, mase=1.316, naive_mase=1.104) for b in found[:1]]
    figure = picture.draw(table, fitted.model_, answer, [*lost, *found[1:]])
    titles = {axes.get_title(loc="left"): axes for axes in figure.axes}
    axes = titles["s0\nMASE 1.32 (naive 1.10)"]
    assert axes._left_title.get_color() == COLOURS["baseline"]
    won = next(t for t in titles if t.startswith("s1"))
    assert (titles[won]._left_title.get_color() == COLOURS["baseline"]) == found[1].beaten
    labels = [line.get_label() for line in axes.get_lines()]
    assert {"seen", "what came", "seasonal naive", "median"} <= set(labels)
    assert labels.count("median") == 2  # of the test and of the forecast


def test_without_backtests_the_table_has_its_order(fitted, many):
    table, _, answer, _ = many
    figure = picture.draw(table, fitted.model_, answer)
    shown = [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()]
    assert shown == [s.id[0] for s in table.series[:9]]


def test_a_series_that_never_changes_is_drawn_on_its_own_scale(fitted, many):
    table, _, answer, found = many
    (k,) = (k for k, b in enumerate(found) if b.name == "s105")
    one = replace(table, series=[table.series[k]])
    low, high = picture.draw(one, fitted.model_, answer[[k]], [found[k]]).axes[0].get_ylim()
    assert low <= 6.3 and high >= 7.7


# --- the page


def parts(text: str):
    """What a page holds: its facts, its lines of curves, its lines of times."""
    found = {
        name: re.search(rf'id="{name}">(.*?)</script>', text, re.DOTALL)[1]
        for name in ("meta", "curves", "grids")
    }
    return json.loads(found["meta"]), found["curves"].split("\n"), found["grids"].split("\n")


def numbers(line: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(line), kind).astype(float)


def test_the_page_holds_what_was_forecast(fitted, many):
    table, _, answer, found = many
    meta, curves, grids = parts(page.render(table, fitted.model_, answer, found))
    order = worst_first(found)
    assert meta["names"] == [found[k].name for k in order] and len(curves) == 30
    assert meta["mase"][-1] is None and meta["mase"][0] == pytest.approx(found[order[0]].mase, 1e-5)
    k, R, C = order[0], meta["rows"][0], len(meta["channels"])
    assert (C, R, meta["tested"][0], len(grids)) == (5, picture.FEWEST, H, 1)
    values = numbers(curves[0], "<f4") + meta["levels"][0]
    seen, tested, naive, ahead = np.split(values, np.cumsum([R, C * H, H]))
    np.testing.assert_allclose(seen, table.series[k].values[-R:], rtol=1e-6)
    np.testing.assert_allclose(naive, found[k].naive, rtol=1e-6)
    positions = [fitted.quantiles_.index(q) for q in (0.5, 0.025, 0.975, 0.1, 0.9)]
    np.testing.assert_allclose(tested.reshape(C, H), found[k].quantiles.T[positions], rtol=1e-6)
    np.testing.assert_allclose(ahead.reshape(C, H), answer[k].T[positions], rtol=1e-6)
    times = numbers(grids[0], "<f8").astype("int64").astype("datetime64[ms]")
    assert times[R - 1] == table.series[k].time[-1] and len(times) == R + H


def test_an_offset_keeps_its_digits(fitted, make_table):
    table, corpus, answer = asked(fitted, make_table().with_columns(pl.col("sold") + 1e9))
    found = backtests(fitted, table, corpus)
    meta, curves, _ = parts(page.render(table, fitted.model_, answer, found))
    seen = numbers(curves[0], "<f4")[: meta["rows"][0]] + meta["levels"][0]
    expected = table.series[worst_first(found)[0]].values[-meta["rows"][0] :]
    np.testing.assert_allclose(seen, expected, rtol=0, atol=1e-4)


def test_names_are_text_and_the_page_asks_for_nothing(fitted, many):
    table, _, answer, found = many
    named = replace(table, target_column="<i>sold</i>")
    text = page.render(named, fitted.model_, answer, found)
    assert EVIL in parts(text)[0]["names"]
    assert "<b>s0" not in text and "<i>" not in text
    assert "&lt;i&gt;sold&lt;/i&gt;, 7 steps ahead" in text
    assert not re.search(r"https?://|@import|<link|<img|\ssrc=|\sstyle=|\son\w+=", text)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert policy.startswith("default-src 'none'")
    for tag in ("script", "style"):
        inside = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(i.encode()).digest()).decode() for i in inside]
        assert [f"{tag}-src 'sha256-{d}'" in policy for d in digests] == [True]


def test_the_summary_counts_every_series(many):
    found = many[3]
    better = sum(b.mase < b.naive_mase for b in found)
    first, undefined = page.summary(found, 30)
    assert first.startswith(f"The model beats the seasonal naive on {better} of 29 series")
    assert f"Median MASE {np.nanmedian([b.mase for b in found]):.2f}" in first
    assert undefined == "Without MASE, as nothing changed or nothing came: 1 series."


def test_beyond_the_limit_the_worst_are_on_the_page(fitted, many, monkeypatch):
    table, _, answer, found = many
    monkeypatch.setattr(page, "MOST", 12)
    text = page.render(table, fitted.model_, answer, found)
    meta, curves, _ = parts(text)
    assert len(curves) == len(meta["names"]) == 12
    assert meta["names"] == [found[k].name for k in worst_first(found)[:12]]
    assert "The worst 12 of 30 series are on this page." in text
    assert meta["sorted"]["count"] == 29  # the curve on top is of all


def test_other_horizons_and_one_quantile(fitted, known):
    table, _, answer, found = known
    median = fitted.model_.median
    model = replace(fitted.model_, quantiles=(0.5,))
    fewer = [replace(b, quantiles=b.quantiles[:, [median]]) for b in found]
    for horizon in (2, 3 * H):
        ahead = np.repeat(answer[:, :1, [median]], horizon, axis=1)
        meta, curves, _ = parts(page.render(table, model, ahead, fewer))
        assert meta["channels"] == ["median"] and meta["horizon"] == horizon
        assert len(numbers(curves[0], "<f4")) == meta["rows"][0] + 2 * H + horizon
        assert picture.draw(table, model, ahead, fewer)
    long = replace(fitted.shape_, horizon=200)  # the backtest is never cut off
    assert picture.rows_drawn(long, 2, picture.SHOWN_SMALL) >= 200


def test_the_suffix_chooses_and_files_are_whole(fitted, known, tmp_path: Path):
    table, corpus, answer, _ = known
    text = picture.write(fitted, table, corpus, answer, tmp_path / "all.HTML").read_text()
    assert text.startswith("<!doctype html>") and text.endswith("</html>\n")
    drawn = picture.write(fitted, table, corpus, answer, str(tmp_path / "all.svg"))
    assert drawn.read_text().startswith("<?xml")
    with pytest.raises(UserError, match="png"):
        picture.write(fitted, table, corpus, answer, tmp_path / "all.doc")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["all.HTML", "all.svg"]


# --- in a browser

NAMES = ("chromium", "chromium-browser", "google-chrome")
FOUND = os.environ.get("LSTMKIT_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture
def opened(tmp_path):
    """Opens a page; fails at its end where the page complained or asked the network."""
    api, wrong = pytest.importorskip("playwright.sync_api"), []
    with api.sync_playwright() as play:
        try:
            browser = play.chromium.launch(executable_path=FOUND, args=["--no-sandbox"])
        except api.Error:
            pytest.skip("no chromium: set LSTMKIT_CHROMIUM")
        shown = browser.new_page(viewport={"width": 1200, "height": 800})
        shown.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
        shown.on("pageerror", lambda e: wrong.append(str(e)))
        shown.on("request", lambda r: wrong.append(r.url) if r.url.startswith("http") else None)

        def open_(model, table, answer, found):
            shown.goto(page.write(table, model, answer, found, tmp_path / "p.html").as_uri())
            return shown

        yield open_
        browser.close()
    assert not wrong


@pytest.mark.slow
def test_the_page_sorts_finds_and_enlarges(fitted, many, opened):
    table, _, answer, found = many
    shown = opened(fitted.model_, table, answer, found)
    order = worst_first(found)

    def first() -> str:
        return shown.locator(".cell .name").first.inner_text()

    assert first() == found[order[0]].name
    shown.wait_for_selector(".cell[data-drawn]")
    assert 0 < shown.locator(".cell[data-drawn]").count() < 30  # only what is near
    shown.select_option("#sort", "relative")
    assert first() == max((b for b in found if b.scored), key=lambda b: b.mase / b.naive_mase).name
    shown.select_option("#sort", "name")
    assert first() == EVIL
    shown.fill("#search", "S12")
    assert shown.locator("#count").inner_text() == "10 of 30 series"
    shown.keyboard.press("Tab")
    shown.keyboard.press("ArrowRight")
    shown.keyboard.press("Enter")
    assert shown.locator("#large-name").inner_text() == "s121"
    shown.keyboard.press("ArrowRight")
    (k,) = (k for k, b in enumerate(found) if b.name == "s121")
    readout = shown.locator("#readout").inner_text()
    last = table.series[k].time[-1]
    assert str(last + np.timedelta64(1, "D"))[:10] in readout
    middle = answer[k, 0, fitted.model_.median]
    assert re.search(rf"median\s*{middle:.5g}".rstrip("0"), readout)
    shown.keyboard.press("PageDown")
    assert shown.locator("#large-name").inner_text() == "s122"
    shown.keyboard.press("Escape")
    assert shown.evaluate("document.activeElement.textContent").startswith("s122")


@pytest.mark.slow
def test_the_page_of_one_series_is_one_large_panel(fitted, known, opened):
    table, _, answer, found = known
    one = replace(table, series=table.series[:1])
    shown = opened(fitted.model_, one, answer[:1], found[:1])
    assert shown.locator(".cell canvas").bounding_box()["height"] > 400
    assert not shown.locator("#sort").is_visible() and not shown.locator("#overview").is_visible()
