"""The HTML page of alerts: what it holds, that it asks for nothing, and how it behaves."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from anomaly_stories import DAY, FIRST, MINUTE, ROWS, alert_of, story_of

from lstmkit.errors import UserError
from lstmkit.tasks.anomaly import page, pageparts
from lstmkit.tasks.anomaly.story import Story

EVIL = "</script><script>alert(1)</script><b>x</b> & $1$ @@meta@@"
BLOCKS = ("meta", "grids", "lanes", "channels", "details", "rows")


def parts(text: str) -> dict:
    """What a page holds: its words, and its lines of numbers by name."""
    found = {name: re.search(rf'id="{name}">(.*?)</script>', text, re.DOTALL)[1] for name in BLOCKS}
    return {k: json.loads(v) if k == "meta" else v.split("\n") for k, v in found.items()}


def numbers(line: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(line), kind).astype(float)


def told(text: str) -> str:
    return re.search(r'class="summary">(.*?)</p>', text)[1]


@pytest.fixture(scope="module")
def labelled() -> Story:
    labels = np.zeros(ROWS)
    labels[28:33] = labels[120:125] = 1
    alerts = [alert_of(30, 40), alert_of(200, 202, 5.0, open=True)]
    return story_of(alerts, labels=labels, name="s")


# --- what it holds


def test_the_page_lists_the_worst_first_in_words(labelled):
    meta = parts(page.render([labelled]))["meta"]
    first, second = meta["alerts"]
    assert (first["severity"], second["severity"]) == (2, 0) and first["series"] == "s"
    assert first["began"] == "2026-09-01 03:20" and first["ended"] == "2026-09-01 03:22"
    assert (first["long"], second["long"], first["rows"]) == ("3 min", "11 min", 3)
    assert (first["open"], second["open"]) == (True, False)
    assert first["rarity"] == "one normal row in 100 million" and first["peak"] == 8
    assert first["channels"] == [["b", 0.75], ["a", 0.25]]
    assert second["reasons"] == ["b is too high"]
    assert second["start"] == (FIRST + 30 * MINUTE).astype("datetime64[ms]").astype(int)


def test_the_curves_of_an_alert_are_its_rows(labelled):
    found = parts(page.render([labelled]))
    drawn = found["meta"]["drawn"][1]
    assert (drawn["points"], drawn["thinned"]) == (81, 1) and drawn["channels"] == ["b", "a"]
    times, curves = found["details"][1].split(" ")
    rows = slice(0, 81)
    ms = labelled.time[rows].astype("datetime64[ms]").astype(float)
    np.testing.assert_array_equal(numbers(times, "<f8"), ms)
    score, level, label, *channels = numbers(curves, "<f4").reshape(3 + 3 * 2, 81)
    np.testing.assert_allclose(score, labelled.scores[rows], rtol=1e-6)
    np.testing.assert_array_equal(level, labelled.levels[rows])
    np.testing.assert_array_equal(label, labelled.labels[rows])
    for k, c in enumerate([1, 0]):
        values, expected, share = channels[3 * k : 3 * k + 3]
        offset = drawn["levels"][k]
        np.testing.assert_allclose(values + offset, labelled.values[rows, c], atol=1e-6)
        np.testing.assert_allclose(expected + offset, labelled.expected[rows, c], atol=1e-6)
        np.testing.assert_allclose(share, labelled.contributions[rows, c], rtol=1e-6)


def test_the_rows_of_the_table_are_exact_and_causes_stand_first(labelled):
    big = replace(labelled, values=labelled.values + 1_700_000_000)
    found = parts(page.render([big]))
    meta = found["meta"]["tables"][0]
    assert meta["columns"] == ["b", "a", "c"] and meta["causes"] == 2 and meta["left"] == 0
    assert (meta["first"], meta["rows"], meta["alert"]) == (185, 31, [200, 202])
    table = numbers(found["rows"][0], "<f8").reshape(7, 31)
    rows = slice(185, 216)
    np.testing.assert_array_equal(table[4:].T, big.values[rows][:, [1, 0, 2]])
    np.testing.assert_array_equal(table[1], big.scores[rows])


def test_the_whole_time_keeps_every_peak():
    story = story_of([alert_of(77_777, 77_777, 40.0)], rows=100_000)
    story.values[1234, 2] = -500
    found = parts(page.render([story]))
    grid = numbers(found["grids"][found["meta"]["grid"][0][0]], "<f8")
    score, level, label = numbers(found["lanes"][0], "<f4").reshape(3, len(grid))
    assert score.max() == pytest.approx(story.scores.max(), rel=1e-6)
    peak = np.datetime64(int(grid[score.argmax()]), "ms")
    assert abs(peak - story.time[77_777]) <= 50 * MINUTE
    assert (level == 3).all() and np.isnan(label).all()
    meta, curves = found["meta"], numbers(found["channels"][0], "<f4").reshape(3, -1, 2)
    k = meta["small"][0].index("c")
    assert meta["small"][0][0] == "b"  # caused the alert
    assert curves[k].min() + meta["levels"][0][k] == pytest.approx(-500, rel=1e-6)
    assert (curves[..., 0] <= curves[..., 1]).all()


def test_an_offset_keeps_its_digits(labelled):
    far = {"values": labelled.values + 1e9, "expected": labelled.expected + 1e9}
    found = parts(page.render([replace(labelled, **far)]))
    points, level = found["meta"]["drawn"][0]["points"], found["meta"]["drawn"][0]["levels"][0]
    curves = numbers(found["details"][0].split(" ")[1], "<f4").reshape(-1, points)
    wanted = labelled.values[160:243, 1] + 1e9
    np.testing.assert_allclose(curves[3] + level, wanted, rtol=0, atol=1e-6)


def test_the_summary_counts_alerts_days_and_labels(labelled):
    text = told(page.render([labelled, story_of(name="unlabelled")]))
    assert text == (
        "2 alerts: 1 critical, 1 warning. Labelled events with an alert in them: 1 of 2;"
        " alerts outside of any: 1 of 2, in the series with labels."
    )
    alerts = [alert_of(k, k) for k in (0, 3, 9, 200)]
    assert "0.32 a day on average over 12 days, 3 on the busiest." in told(
        page.render([story_of(alerts, step=60 * MINUTE)])
    )
    assert "One in 75 days on average over 299 days." in told(
        page.render([story_of(alerts, step=DAY)])
    )
    assert told(page.render([story_of()])).startswith("No alert")


def test_names_are_text_and_the_page_asks_for_nothing():
    story = story_of([alert_of(5, 9, channels=((EVIL, 1.0),), reasons=(EVIL,))], name=EVIL)
    story = replace(story, channels=(EVIL, "b", "c"))
    text = page.render([story], title=EVIL, note=EVIL)
    meta = parts(text)["meta"]
    assert meta["alerts"][0]["series"] == meta["small"][0][0] == meta["lanes"][0] == EVIL
    assert meta["alerts"][0]["reasons"] == [EVIL] and meta["drawn"][0]["shares"] == [1.0]
    assert "<" not in re.search(r'id="meta">(.*?)</script>', text, re.DOTALL)[1]
    assert "<b>x" not in text and "alert(1)</script>" not in text
    assert not re.search(r"https?://|@import|<link|<img|\ssrc=|\sstyle=|\son\w+=", text)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert policy.startswith("default-src 'none'")
    for tag in ("script", "style"):
        inside = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(i.encode()).digest()).decode() for i in inside]
        assert [f"{tag}-src 'sha256-{d}'" in policy for d in digests] == [True]


def test_unknown_and_infinite_numbers_become_null():
    story = story_of([alert_of(5, 9)])
    worst = replace(story.alerts[0], peak=np.inf)
    story.values[:, 1] = np.inf
    story.scores[6] = np.inf
    found = parts(page.render([replace(story, alerts=[worst])]))
    alert = found["meta"]["alerts"][0]
    assert alert["peak"] is alert["above"] is None and alert["rarity"] == "rarer than can be told"
    assert alert["severity"] == 2
    curves = numbers(found["details"][0].split(" ")[1], "<f4")
    assert not np.isinf(curves).any() and found["meta"]["drawn"][0]["levels"][0] != 0


def test_a_file_of_many_rows_channels_and_alerts_stays_small():
    channels = tuple(f"a channel with a long name {k}" for k in range(100))
    rng = np.random.default_rng(0)
    rows = 20_000
    shares = tuple((name, 0.2) for name in channels[:7])
    alerts = [
        alert_of(k, k + 59, k / 5000, channels=shares, reasons=("it is far too high",) * 9)
        for k in range(0, rows - 100, 60)
    ]
    noise = rng.normal(size=(rows, 100))
    more = {"channels": channels, "contributions": np.abs(noise), "expected": noise + 1}
    story = story_of(alerts, rows=rows, values=noise, **more)
    started = time.process_time()
    text = page.render([story])
    assert len(text) < 5_000_000 and time.process_time() - started < 2
    meta = parts(text)["meta"]
    assert len(meta["alerts"]) == page.MOST_ALERTS < len(alerts)
    assert "The worst 300 of 332 alerts are listed." in told(text)
    assert min(d["points"] for d in meta["drawn"]) >= pageparts.FEWEST_POINTS
    assert meta["alerts"][0]["moreReasons"] == 1 and len(meta["drawn"][0]["channels"]) == 5
    assert meta["tables"][0]["left"] > 80


def test_many_series_are_drawn_as_far_as_there_is_room():
    stories = [story_of([alert_of(k, k)] if k > 4 else (), name=f"s{k}") for k in range(80)]
    text = page.render(stories)
    meta = parts(text)["meta"]
    assert len(meta["lanes"]) == page.MOST_LANES and len(meta["alerts"]) == 75
    assert "60 of 80 series are drawn" in told(text)
    assert meta["alerts"][59]["lane"] == 59 and meta["alerts"][60]["lane"] is None
    assert meta["counts"]["unit"] == "hour" and sum(map(sum, meta["counts"]["counts"])) == 75


def test_dates_and_numbers_do_not_share_a_page():
    with pytest.raises(UserError, match="row numbers"):
        page.render([story_of(), story_of(step=None)])


@pytest.mark.parametrize(
    "stories",
    [
        [],
        [story_of(rows=0)],
        [story_of()],
        [story_of([alert_of(0, 0)], rows=1, expected=None)],
        [story_of([alert_of(0, 0)], channels=(), values=np.zeros((ROWS, 0)), expected=None,
                  contributions=np.zeros((ROWS, 0)))],
        [story_of([alert_of(3, 4, channels=())], step=None)],
    ],
)  # fmt: skip
def test_strange_stories_are_written(stories, tmp_path: Path):
    text = page.write(stories, tmp_path / "p.html").read_text()
    alerts = sum(len(story.alerts) for story in stories)
    assert len(parts(text)["meta"]["alerts"]) == alerts and text.endswith("</html>\n")


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

        def open_(stories):
            shown.goto(page.write(stories, tmp_path / "p.html").as_uri())
            return shown

        yield open_
        browser.close()
    assert not wrong


DRAWN = """() => {
  const canvas = document.querySelector("#small canvas"), { width, height } = canvas;
  return canvas.getContext("2d").getImageData(0, 0, width, height).data.some((v) => v > 0);
}"""


def spaced(text: str) -> str:
    """Text on one line, with minus signs that float reads."""
    return re.sub(r"\s+", " ", text).replace("−", "-")


def first_of(shown) -> str:
    return shown.locator(".alert .first").first.inner_text()


@pytest.mark.slow
def test_the_list_sorts_finds_and_follows_the_keys(opened):
    alerts = [alert_of(30, 90), alert_of(200, 202, 5.0), alert_of(250, 251, 2.5)]
    alerts[2] = replace(alerts[2], channels=(("c", 1.0),), reasons=("c fell",))
    shown = opened([story_of(alerts, name="host"), story_of([alert_of(1, 1, 0.5)], name=EVIL)])
    assert first_of(shown) == "2026-09-01 03:20"
    assert shown.locator("#name").inner_text() == "critical alert: host"
    for order, began in [("newest", "04:10"), ("oldest", "00:01"), ("longest", "00:30")]:
        shown.select_option("#sort", order)
        assert first_of(shown) == f"2026-09-01 {began}"
    shown.select_option("#sort", "worst")
    shown.locator("#alerts").press("End")
    shown.locator(".alert").first.focus()
    shown.keyboard.press("End")
    assert EVIL in shown.locator("#name").inner_text()
    shown.keyboard.press("ArrowUp")
    assert shown.locator("#when").inner_text().startswith("2026-09-01 00:30 to 2026-09-01 01:30")
    shown.keyboard.press("/")
    shown.keyboard.type("host FELL")
    assert shown.locator("#count").inner_text() == "1 of 4 alerts"
    assert shown.locator("#reasons").inner_text() == "c fell"
    shown.fill("#search", "nothing has this")
    assert shown.locator("#none").inner_text() == "No alert has these words."
    shown.keyboard.press("Escape")
    assert shown.locator(".alert").count() == 4


@pytest.mark.slow
def test_the_cursor_reads_values_expectations_and_contributions(opened):
    story = story_of([alert_of(200, 202, 5.0)])
    shown = opened([story])
    shown.locator("#curves").focus()
    shown.keyboard.press("ArrowRight")
    readout = shown.locator("#readout").inner_text()
    assert "2026-09-01 03:20" in readout
    assert f"score {story.scores[200]:.2f} level 3.00" in spaced(readout)
    shown.keyboard.press("ArrowRight")
    readout = spaced(shown.locator("#readout").inner_text())
    came, expected = re.search(r"b ?(\S+), expected (\S+)", readout).groups()
    assert float(came) == pytest.approx(story.values[201, 1], abs=1e-4)
    assert float(expected) == pytest.approx(story.expected[201, 1], abs=1e-4)
    bars = shown.locator("#shares").inner_text().split()
    assert bars[:2] == ["b", f"{story.contributions[201, 1]:.2f}"]
    peak = shown.locator("tr.peak").inner_text().replace("−", "-").split()
    assert peak[1] == "03:20" and float(peak[3]) == pytest.approx(story.values[200, 1], abs=1e-5)
    assert shown.locator("tr.inside").count() == 2


@pytest.mark.slow
def test_a_click_on_the_whole_time_chooses_the_alert_there(opened):
    shown = opened([story_of([alert_of(30, 40), alert_of(200, 202, 5.0)], name="host")])
    shown.wait_for_function("timeline !== null")
    box = shown.locator("#timeline").bounding_box()
    left, right = 190, box["width"] - 10
    shown.mouse.click(box["x"] + left + 35 / 299 * (right - left), box["y"] + 40)
    assert shown.locator("#name").inner_text() == "warning alert: host"
    assert shown.locator("#under").inner_text().startswith("warning alert · host")
    shown.locator("#all > summary").click()
    assert shown.locator("#small canvas").count() == 3
    shown.locator("#small canvas").last.scroll_into_view_if_needed()
    shown.wait_for_function(DRAWN)


@pytest.mark.slow
@pytest.mark.parametrize("stories", [[], [story_of()], [story_of([alert_of(0, 0)], rows=1)]])
def test_empty_pages_open(opened, stories):
    shown = opened(stories)
    shown.wait_for_function("waiting === false")
    none = not any(story.alerts for story in stories)
    assert shown.locator("#one").is_visible() != none
    assert shown.locator("#none").is_visible() == none
