"""The report in a real browser, by real mouse moves."""

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from inspection.test_page import recorded, view_of

from lstmkit.inspection import report
from lstmkit.inspection.view import Curve

sync_api = pytest.importorskip("playwright.sync_api")
NAMES = ("chromium", "chromium-browser", "google-chrome")
FOUND = os.environ.get("LSTMKIT_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as play:
        try:
            found = play.chromium.launch(executable_path=FOUND, args=["--no-sandbox"])
        except sync_api.Error:
            pytest.skip("no chromium: set LSTMKIT_CHROMIUM")
        yield found
        found.close()


@pytest.fixture
def opened(browser, tmp_path):
    """Opens a report; fails at its end where the page complained or asked the network."""
    page, wrong = browser.new_page(viewport={"width": 1200, "height": 900}), []
    page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: wrong.append(str(e)))
    page.on("request", lambda r: wrong.append(r.url) if r.url.startswith("http") else None)

    def open_(view):
        page.goto(report.write(view, tmp_path / "r.html").as_uri())
        page.wait_for_function("window.lstmkit && lstmkit.state().ready")
        return page

    yield open_
    page.close()
    assert not wrong


def state(page):
    return page.evaluate("lstmkit.state()")


def over(page, panel, x=0.5, y=0.5):
    """The mouse over a part of a panel, the gutter left out."""
    canvas = page.locator(f"canvas[data-panel={panel}]")
    canvas.evaluate("c => c.scrollIntoView({block: 'center'})")
    box = canvas.bounding_box()
    inner = box["width"] - report.GUTTER - 1
    page.mouse.move(box["x"] + report.GUTTER + x * inner, box["y"] + y * box["height"])


def test_hovering_says_the_numbers_that_were_recorded(opened):
    recording = recorded()
    page = opened(view_of(recording))
    over(page, "heat1", 0.3, 0.6)
    found, layer = state(page), recording[0]
    step, unit = found["step"], found["unit"]
    assert (step, unit) == (int(0.3 * 40), int(0.6 * 6))
    reach = float(np.quantile(np.abs(layer.cell[recording.valid(layer)]), 0.999))
    for name, field in (
        ("forget gate", "forget_gate"),
        ("candidate", "candidate"),
        ("cell", "cell"),
    ):
        value = page.evaluate("([n, s, u]) => lstmkit.valueAt(n, s, u)", [name, step, unit])
        wanted = np.clip(getattr(layer, field)[step, 0, unit], -reach, reach)
        assert value == pytest.approx(wanted, abs=(reach if name == "cell" else 1) / 254 + 1e-6)
    text = page.locator("#readout").inner_text()
    assert f"day {step}" in text and f"{layer.forget_gate[step, 0, unit]:.2f}"[:3] in text


def test_controls_change_what_is_shown(opened):
    page = opened(view_of(recorded()))
    page.select_option("#layer", label="lstm, layer 1, reverse")
    page.select_option("#sample", "1")
    page.select_option("#sort", "tau")
    page.select_option("#mode", "curves")
    page.wait_for_function("lstmkit.state().sample == 1 && lstmkit.state().layer == 1")
    assert page.locator("canvas[data-panel=heat0]").count() == 0
    page.fill("#search", "1, 3-4")
    assert sorted(state(page)["rows"]) == [1, 3, 4]
    page.fill("#search", "what?")
    assert "no unit" in page.locator("#complaint").inner_text()


def test_wheel_drag_keys_and_double_click_move_the_time(opened):
    page = opened(view_of(recorded()))
    over(page, "heat0")
    page.mouse.wheel(0, -300)
    page.wait_for_function("lstmkit.state().to - lstmkit.state().from < 39")
    page.mouse.dblclick(*page.evaluate("[600, 500]"))
    page.wait_for_function("lstmkit.state().to - lstmkit.state().from == 40")
    over(page, "heat0", 0.25)
    page.mouse.down()
    over(page, "heat0", 0.75)
    page.mouse.up()
    now = state(page)
    assert now["to"] - now["from"] == pytest.approx(20, abs=0.1)
    page.keyboard.press("Tab")
    page.locator("#panels").focus()
    page.keyboard.press("ArrowRight")
    assert state(page)["step"] == now["step"] + 1


def test_a_long_recording_is_pooled_and_its_exact_units_are_not(opened):
    recording = recorded(T=10_000, N=1, H=128, layers=1)
    page = opened(view_of(recording))
    layer = json.loads(page.locator("#meta").text_content())["layers"][0]
    gate, pool = recording[0].forget_gate[:, 0], layer["pool"]
    exact = layer["exact"][0]
    pooled = next(u for u in range(128) if u not in layer["exact"])
    ask = "([s, u]) => lstmkit.valueAt('forget gate', s, u)"
    assert page.evaluate(ask, [4321, exact]) == pytest.approx(gate[4321, exact], abs=0.003)
    first = 4321 // pool * pool
    mean = gate[first : first + pool, pooled].mean()
    assert page.evaluate(ask, [4321, pooled]) == pytest.approx(mean, abs=0.003)
    over(page, "heat1", 0.5)
    page.mouse.wheel(0, -300)
    page.wait_for_function("lstmkit.state().to - lstmkit.state().from < 9000")


def test_answers_changes_and_contributions_are_read_out(opened):
    recording = recorded()
    labels, x = view_of(recording).labels, np.array([30.0, 31.0])
    y = np.full((2, 2), 7.0)
    curves = [
        Curve("forecast", "prediction", x, y),
        Curve("80 %", "band", x, y - 1, y + 1),
        Curve("with the intervention", "changed", x, y + 2),
    ]
    moved = np.zeros((2, 1, 40))
    moved[0, 0, 30] = -0.25
    view = replace(
        view_of(recording), curves=curves, attribution=moved, features=("price of eggs",),
        anchor=np.array([29, 29]), labels=labels, answer="the forecast",
    )  # fmt: skip
    page = opened(view)
    over(page, "top", 30.5 / 40)
    text = page.locator("#readout").inner_text()
    for part in ("forecast", "7", "6 to 8", "with the intervention", "9", "price of eggs", "0.25"):
        assert part in text, part
    heads = page.locator(".panel h3").all_inner_texts()
    assert "with the intervention" in heads[0] and "what moved the forecast" in heads[1]


def test_padding_has_no_value(opened):
    page = opened(view_of(recorded()))
    page.select_option("#sample", "1")
    page.wait_for_function("lstmkit.state().sample == 1")
    ask = "s => Number.isNaN(lstmkit.valueAt('cell', s, 0))"
    assert not page.evaluate(ask, 29) and page.evaluate(ask, 30)
