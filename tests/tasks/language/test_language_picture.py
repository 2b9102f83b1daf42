"""How surprising a text is: numbers, colours, figures, and the page."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from language_verses import verses

from lstmkit.errors import UserError
from lstmkit.tasks.language import evaluating, page, picture, shades
from lstmkit.tasks.language.estimator import LanguageModel

EVIL = "</script><script>alert(1)</script><b>x</b> & $1$ @@meta@@ \u202e\u4f60\n"


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Of bytes, hardly trained."""
    path = tmp_path_factory.mktemp("raw") / "raw.txt"
    path.write_text(verses(60, 1))
    options: dict[str, Any] = {"tokens": "byte", "width": 8, "layers": 1, "embedding": 4}
    return LanguageModel(epochs=1, threads=1, **options).fit(str(path))


def parts(text: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The words and the numbers of a page."""
    named = {n: re.search(rf'id="{n}">(.*?)</script>', text, re.DOTALL) for n in KINDS}
    found = {n: m[1] for n, m in named.items() if m}
    numbers = {n: np.frombuffer(base64.b64decode(found[n]), k) for n, k in KINDS.items() if k}
    return json.loads(found["meta"]), numbers


KINDS = {"meta": "", "bits": "<f4", "likeliest": "<i4", "chances": "<f4"}


def rendered(model: Any, text: str) -> str:
    return page.render(model, picture.surprise(model, text, picture.SHOWN))


# --- numbers


def test_bits_and_likeliest_tokens_are_the_runtimes(
    characters: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = verses(12, 9)
    whole = picture.surprise(characters, text, 1000)
    monkeypatch.setattr(evaluating, "LONGEST", 7)
    found = picture.surprise(characters, text, 1000)
    np.testing.assert_allclose(found.bits, whole.bits, atol=1e-4)
    stream = characters.stream()
    read = stream.read(text[:50])
    np.testing.assert_allclose(found.log_probs[:50], read.log_probs, atol=1e-5)
    most = stream.branch().generate(1, temperature=0)
    assert "".join(most) == characters.tokenizer_.decode(found.likeliest[50][:1])
    assert (np.diff(found.chances, axis=1) <= 0).all() and (found.chances.sum(1) <= 1 + 1e-6).all()
    hit = found.likeliest[:, 0] == found.tokens
    np.testing.assert_allclose(2.0 ** -found.bits[hit], found.chances[hit, 0], rtol=1e-4)
    assert not found.cut and picture.surprise(characters, text, 5).cut


def test_totals_are_those_of_evaluate(characters: Any, tmp_path: Path) -> None:
    path = tmp_path / "poem.txt"
    path.write_text(verses(40, 10))
    score = characters.evaluate(path).metrics
    found = picture.totals(characters, picture.surprise(characters, path, 20_000))
    assert found == pytest.approx(score, rel=1e-5) and "bits_per_char" in found


def test_a_vocabulary_smaller_than_the_likeliest(tmp_path: Path) -> None:
    path = tmp_path / "aa.txt"
    path.write_text("a" * 400)
    options: dict[str, Any] = {"width": 4, "layers": 1, "epochs": 1, "threads": 1}
    model = LanguageModel(**options).fit(str(path))
    assert picture.surprise(model, "aaa", 10).likeliest.shape == (3, 2)
    model.write_plot("aaa", tmp_path / "p.html")
    model.write_plot("aaa", tmp_path / "p.png")


# --- colours


@pytest.mark.parametrize("stops", [shades.LIGHT, shades.DARK])
def test_lightness_goes_evenly_and_text_is_read_on_every_shade(stops: tuple[str, ...]) -> None:
    found = shades.scale(stops)
    assert len(found) == shades.LEVELS and (found[0], found[-1]) == (stops[0], stops[-1])
    light = np.array([shades._lab(colour)[0] for colour in found])
    step = np.diff(light)
    assert np.abs(step - step.mean()).max() < 0.15 * np.abs(step.mean())
    assert min(shades.contrast(shades.ink(c), c) for c in found) > 4
    assert shades.contrast("#000000", "#ffffff") == pytest.approx(21)


def test_levels_stay_on_the_scale() -> None:
    bits = np.array([-0.0, 0.1, 4.99, 5.0, 10.0, 99.0])
    assert shades.level(bits, 10).tolist() == [0, 0, 11, 12, 23, 23]


# --- the page


def test_the_page_holds_the_text_and_what_was_expected(characters: Any) -> None:
    text = verses(30, 11)
    meta, numbers = parts(rendered(characters, text))
    found = picture.surprise(characters, text, picture.SHOWN)
    assert "".join(meta["pieces"]) == text and meta["tokens"] == found.tokens.tolist()
    np.testing.assert_allclose(numbers["bits"], found.bits, rtol=1e-6)
    np.testing.assert_array_equal(numbers["likeliest"], found.likeliest.ravel())
    np.testing.assert_allclose(numbers["chances"], found.chances.ravel(), rtol=1e-6)
    assert set(meta["names"]) >= {str(t) for t in found.likeliest.ravel()}
    assert len(meta["lines"]) == 30 and meta["lines"][-1][1] == len(text)
    for first, last, mean in meta["lines"]:
        assert text[last - 1] == "\n" and mean == pytest.approx(
            found.bits[first:last].mean(), abs=0.01
        )
    worst = [meta["lines"][place][2] for place, _ in meta["worst"]]
    assert worst == sorted((line[2] for line in meta["lines"]), reverse=True)[: page.WORST]
    place, told = meta["worst"][0]
    assert told == text.split("\n")[place]


def test_totals_and_remarks_are_told(
    characters: Any, words: Any, book: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = verses(30, 11)
    score = picture.totals(characters, picture.surprise(characters, text, picture.SHOWN))
    whole = rendered(characters, text)
    assert f"Perplexity {score['perplexity']:.4g}:" in whole and "are shown." not in whole
    assert f"{score['bits_per_char']:.3f} bits a character." in whole
    assert "equally likely words" in rendered(words, text)
    monkeypatch.setattr(picture, "SHOWN", 1200)
    characters.write_plot(book, tmp_path / "p.html")
    cut = (tmp_path / "p.html").read_text()
    assert "Only the first 1,200 tokens of the text are shown." in cut
    assert "The model learnt from about" in cut and "The model learnt" not in whole
    assert len(parts(cut)[0]["pieces"]) == 1200


def test_text_is_text_and_the_page_asks_for_nothing(raw: Any) -> None:
    text = rendered(raw, EVIL * 3)
    meta, _ = parts(text)
    assert "<" not in re.search(r'id="meta">(.*?)</script>', text, re.DOTALL)[1]  # type: ignore[index]
    shown = "".join(meta["pieces"])
    assert shown == EVIL.replace("\u202e", "\\u202e") * 3  # what turns text round is named
    assert meta["pieces"].count("") == 3 * 4  # two of a character's three bytes
    assert "<b>x" not in text and "alert(1)</script>" not in text
    assert not re.search(r"https?://|@import|<link|<img|\ssrc=|\sstyle=|\son\w+=", text)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]  # type: ignore[index]
    assert policy.startswith("default-src 'none'")
    for tag in ("script", "style"):
        inside = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(i.encode()).digest()).decode() for i in inside]
        assert [f"{tag}-src 'sha256-{d}'" in policy for d in digests] == [True]


def test_a_long_text_is_quickly_a_small_page(characters: Any) -> None:
    text = rendered(characters, verses(1000, 3))
    assert len(parts(text)[0]["pieces"]) == picture.SHOWN and len(text) < 1_500_000


def test_lines_end_with_their_line_end() -> None:
    bits = np.arange(6.0)
    found = page.lines(["a", "\n", "\n\n", "b", "c\nd", "e"], bits)
    assert [(line.first, line.last) for line in found] == [(0, 2), (2, 3), (3, 5), (5, 6)]
    assert [line.bits for line in found] == [0.5, 2, 3.5, 5]


# --- figures


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_figures_take_any_text(raw: Any, tmp_path: Path, suffix: str) -> None:
    for k, text in enumerate([EVIL * 2, "a"]):
        path = tmp_path / f"{k}.{suffix}"
        raw.write_plot(text, path)
        assert path.stat().st_size > 3000


def test_tokens_are_no_formulas(
    words: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture, "labels", lambda tokens: ["$\\wrong$"] * len(tokens))
    words.write_plot("alpha beta", tmp_path / "p.svg")


def test_a_figure_has_a_bar_a_token(words: Any) -> None:
    found = picture.surprise(words, verses(20, 1), 70)
    figure = picture.draw(words, found)
    first, second = figure.axes
    heights = [bar.get_height() for axes in (first, second) for bar in axes.patches]
    np.testing.assert_allclose(heights, found.bits, rtol=1e-5)
    shown = [label.get_text() for label in first.get_xticklabels()]
    assert shown[:4] == verses(20, 1).split()[:4] and shown[5] == "\u21b5"
    assert "70 tokens" in figure._supxlabel.get_text()


def test_other_suffixes_are_refused(words: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot draw"):
        words.write_plot("alpha", tmp_path / "p.doc")
    assert not list(tmp_path.iterdir())


# --- in a browser

NAMES = ("chromium", "chromium-browser", "google-chrome")
FOUND = os.environ.get("LSTMKIT_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[Any, str], Any]]:
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

        def open_(model: Any, text: str) -> Any:
            model.write_plot(text, tmp_path / "p.html")
            shown.goto((tmp_path / "p.html").as_uri())
            return shown

        yield open_
        browser.close()
    assert not wrong


@pytest.mark.slow
def test_a_token_tells_what_was_expected(characters: Any, opened: Any) -> None:
    text = verses(300, 12)
    found, shown = picture.surprise(characters, text, picture.SHOWN), opened(characters, text)
    spans = shown.locator(".line span")
    assert spans.count() == len(found.tokens) and shown.locator(".line").count() == 300
    spans.nth(7).hover()
    told = shown.locator("#tip").inner_text()
    assert told.startswith(f"{found.bits[7]:.2f} bits") and told.count("%") == 4
    best = [characters.tokenizer_.token(int(t)) for t in found.likeliest[7]]
    visible = [name.replace(" ", "␣").replace("\\n", "↵") for name in best]
    assert shown.locator("#tip > div code").all_inner_texts()[1:] == visible
    levels = shades.level(found.bits, picture.top(characters.tokenizer_))
    told = shown.evaluate("[...document.querySelectorAll('.line span')].map((s) => s.classList[0])")
    assert told == [f"s{level}" for level in levels] and len(set(told)) > 5
    shown.locator("#text").press("ArrowRight")
    assert shown.locator("#said").inner_text().endswith(f"{found.bits[8]:.2f} bits")
    shown.locator("#text").press("Escape")
    assert shown.locator("#tip").is_hidden()


@pytest.mark.slow
def test_a_click_goes_to_a_surprising_line(characters: Any, opened: Any) -> None:
    shown = opened(characters, verses(300, 12))
    told = shown.locator("#worst i").all_inner_texts()
    place = max(int(line.split()[1]) for line in told)
    assert shown.locator(".line").nth(place - 1).bounding_box()["y"] > 800
    button = shown.locator("#worst button").nth(told.index(f"line {place}"))
    button.click()
    line = shown.locator(".line").nth(place - 1)
    assert "sought" in line.get_attribute("class").split()
    assert 0 < line.bounding_box()["y"] < 800


@pytest.mark.slow
def test_evil_text_is_shown_as_it_is(raw: Any, opened: Any) -> None:
    shown = opened(raw, EVIL)
    text = shown.locator(".line p").first.text_content()
    assert "</script><script>alert(1)</script><b>x</b> & $1$ @@meta@@ " in text
    assert shown.locator("#text b").count() == 1  # the number of the line
