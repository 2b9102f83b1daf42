"""The HTML page of alerts: what it holds, that nothing breaks out of it, and how it behaves."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lstmkit.tasks.intrusion import page
from lstmkit.tasks.intrusion.alerts import SEVERITIES

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)> & $x$ @@meta@@ <!--"
CURVES = {"time": [1.7e9, 1.7e9 + 60, 1.7e9 + 120], "flows": [4, 6, 0],
          "top_score": [1.0, 5.5, 0.0], "threshold": 3.0}  # fmt: skip
EMPTY = {"time": [], "flows": [], "top_score": [], "threshold": 3.0}
SUMMARY = {"flows": 12_345, "hosts": 1, "source": "zeek", "threshold": 3.0, "suppressed": 0,
           "from": "2023-11-14T22:13:20.000000Z", "to": "2023-11-14T22:16:20.000000Z"}  # fmt: skip


def alert(k: int = 0, severity: str = "high", score: float = 5.5, **changes: Any) -> dict[str, Any]:
    when = f"2023-11-14T22:{13 + k % 3}:{20 + k % 40}.250000Z"
    flow = {"time": 1.7e9, "src": "10.0.0.1", "dst": "10.0.0.2", "sport": 4000, "dport": 443,
            "proto": "tcp", "service": "ssl", "state": "SF", "src_packets": 5.0,
            "dst_packets": None, "src_ip_bytes": 900.0, "duration": None,
            "record": f"C{k}"}  # fmt: skip
    earlier = {"time": when, "record": f"C{k}a", "src": "10.0.0.1", "dst": "10.0.0.2",
               "dport": 80, "proto": "tcp", "state": "S0", "score": 2.5}  # fmt: skip
    made = {"id": k, "time": when, "host": f"10.0.0.{k % 7 + 1}", "state": "begun", "score": score,
            "severity": severity, "class": "scan", "reasons": ["9 ports of 10.0.0.2 in 3 s"],
            "flow": flow, "record": f"C{k}", "source": "zeek", "earlier": [earlier], "flows": 2,
            "begun": when, "told": k + 1}  # fmt: skip
    return {**made, **changes}


def rendered(alerts: list[dict], curves: dict = CURVES, **summary: Any) -> str:
    return page.render(alerts, SUMMARY | summary, curves)


def evil() -> dict[str, Any]:
    found = alert(record=EVIL, host=EVIL, reasons=[EVIL, EVIL], begun=EVIL)
    flow = {k: EVIL if isinstance(v, str) else v for k, v in found["flow"].items()}
    earlier = [{k: EVIL if isinstance(v, str) else v for k, v in found["earlier"][0].items()}]
    return found | {"class": EVIL, "flow": flow, "earlier": earlier, "source": EVIL}


class Markup(html.parser.HTMLParser):
    """Tags with their attributes, and what stands inside of them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple]] = []
        self.inside: dict[str, str] = {}
        self._last = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        given = dict(attrs)
        digests = re.sub(r"sha256-[^']*", "sha256", given.get("content") or "")
        self.tags.append((tag, tuple({**given, "content": digests}.items())))
        self._last = given.get("id") or given.get("class") or tag

    def handle_data(self, data: str) -> None:
        self.inside[self._last] = self.inside.get(self._last, "") + data


def meta(text: str) -> dict:
    return json.loads(Markup(text).inside["meta"], parse_constant=pytest.fail)


# --- what it holds


def test_the_page_holds_the_alerts_as_they_were_told_the_worst_first():
    given = [alert(0, "low", 9.0), alert(1, "critical", 7.5), alert(2, "critical", 8.0),
             alert(3, "medium", 5.0), alert(4, "high", 6.0), alert(5, "low", 9.5)]  # fmt: skip
    found = meta(rendered(given))
    assert [a["id"] for a in found["alerts"]] == [2, 1, 4, 3, 5, 0]
    assert sorted(found["alerts"], key=lambda a: a["id"]) == given
    assert found["curves"] == CURVES and found["end"] == CURVES["time"][-1] + 60
    assert found["clock"] == "second"


def test_what_is_no_number_is_null():
    strange = alert(score=float("nan"))
    curves = CURVES | {"top_score": [float("nan"), float("inf"), 1 / 3], "threshold": float("inf")}
    found = meta(rendered([strange], curves))
    assert found["alerts"][0]["score"] is None and found["curves"]["threshold"] is None
    assert found["curves"]["top_score"] == [None, None, 0.333333]


def test_facts_are_what_was_watched():
    inside = Markup(rendered([alert()])).inside
    facts = re.search(r'<dl class="facts">(.*?)</dl>', rendered([alert()]))[1]
    assert re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", facts) == [
        ("flows", "12,345"), ("hosts", "1"), ("source", "zeek"),
        ("from", "2023-11-14 22:13:20 to 2023-11-14 22:16:20 UTC"), ("level", "3.00"),
    ]  # fmt: skip
    assert inside["title"].strip() == "Alerts of the network"
    bare = rendered([], EMPTY, **{"from": "", "to": ""})
    assert "<dt>from</dt>" not in bare and "UTC" not in bare


@pytest.mark.parametrize(
    ("alerts", "suppressed", "words"),
    [
        ([], 0, "No alert: no flow reached the level."),
        ([alert()], 0, "1 alert of 1 host: 1 high."),
        ([alert(0, "low"), alert(1), alert(8)], 0, "3 alerts of 2 hosts: 2 high, 1 low."),
        ([alert(0, "critical"), alert(1, "medium")], 1234,
         "2 alerts of 2 hosts: 1 critical, 1 medium. 1,234 more were suppressed by rule."),
        ([alert(k, "low") for k in range(6000)], 0,
         "6,000 alerts of 7 hosts: 6,000 low. The worst 5,000 are listed."),
    ],
)  # fmt: skip
def test_the_summary_counts(alerts, suppressed, words):
    text = rendered(alerts, suppressed=suppressed)
    assert Markup(text).inside["summary"].strip() == words


def test_six_thousand_alerts_are_cut_to_the_worst():
    given = [alert(k, SEVERITIES[k % 4], 3 + k % 50) for k in range(6000)]
    started = time.process_time()
    text = rendered(given)
    assert time.process_time() - started < 3 and len(text) < 6_000_000
    found = meta(text)["alerts"]
    assert len(found) == page.MOST == 5000
    assert [a["severity"] for a in found[:1500]] == ["critical"] * 1500
    assert sum(a["severity"] == "low" for a in found) == 500
    assert min(a["score"] for a in found if a["severity"] == "low") >= 35


@pytest.mark.parametrize("curves", [CURVES, EMPTY, {**CURVES, "time": [1.7e9]}])
def test_no_alert_and_one_without_time_are_written(curves, tmp_path: Path):
    for given in ([], [alert(time="", begun="")]):
        where = page.write_page(tmp_path / "p.html", given, summary=SUMMARY, curves=curves)
        text = where.read_text("utf-8")
        assert text.endswith("</html>\n") and len(meta(text)["alerts"]) == len(given)
    assert list(tmp_path.iterdir()) == [tmp_path / "p.html"]


# --- nothing breaks out


def test_text_from_the_network_never_becomes_markup():
    text, plain = rendered([evil()], source=EVIL), rendered([alert()])
    one, other = Markup(text), Markup(plain)
    assert one.tags == other.tags  # the same elements with the same attributes
    found = json.loads(one.inside["meta"])["alerts"][0]
    assert found["host"] == found["class"] == found["record"] == found["flow"]["service"] == EVIL
    assert found["reasons"] == [EVIL, EVIL] and found["earlier"][0]["dst"] == EVIL
    assert EVIL in "".join(one.inside.values())  # the source, as text
    block = re.search(r'id="meta">(.*?)</script>', text, re.DOTALL)[1]
    assert not set("<>&") & set(block) and "@@" not in text.replace("@@meta@@", "")


def test_half_of_a_surrogate_pair_does_not_stop_the_page(tmp_path: Path):
    told = [alert(host="\ud800", reasons=["\udfff"], record="\udc80")]
    where = page.write_page(tmp_path / "p.html", told, summary=SUMMARY, curves=CURVES)
    assert meta(where.read_text("utf-8"))["alerts"][0]["host"] == "\ud800"


def test_the_page_runs_its_own_script_and_style_and_asks_for_nothing():
    text = rendered([alert()])
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert set(rules) == {"default-src", "script-src", "style-src", "base-uri", "form-action"}
    for tag in ("script", "style"):
        inside = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(i.encode()).digest()).decode() for i in inside]
        assert [rules[f"{tag}-src"]] == [f"'sha256-{d}'" for d in digests]
    assert not re.search(r"https?://|@import|<link|<img|\ssrc=|\sstyle=|\son\w+=|url\(", text)


def test_the_script_writes_text_only():
    script = re.findall(r"<script>(.*?)</script>", rendered([]), re.DOTALL)[0]
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(", script
    )


def test_every_severity_has_a_colour():
    text = rendered([])
    assert list(page.SEVERITY) == list(SEVERITIES)
    for name, value in page.SEVERITY.items():
        assert f"--{name}:{value};" in text


# --- in a browser

NAMES = ("chromium", "chromium-browser", "google-chrome")
FOUND = os.environ.get("LSTMKIT_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., Any]]:
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
        shown.on("dialog", lambda d: wrong.append(d.message))

        def open_(alerts: list[dict], curves: dict = CURVES) -> Any:
            given = {"summary": SUMMARY, "curves": curves}
            shown.goto(page.write_page(tmp_path / "p.html", alerts, **given).as_uri())
            return shown

        yield open_
        browser.close()
    assert not wrong


@pytest.mark.slow
def test_the_list_sorts_finds_and_follows_the_keys(opened):
    given = [alert(0, "low"), alert(1, "critical", 9.0), alert(9, **{"class": "beacon"}), evil()]
    shown = opened(given)
    first = shown.locator(".alert .first").first
    assert first.inner_text() == "scan · 10.0.0.2"
    assert shown.locator("#name").inner_text() == "scan from 10.0.0.2"
    shown.select_option("#sort", "newest")
    assert first.inner_text() == "scan · 10.0.0.2"
    shown.select_option("#sort", "host")
    assert first.inner_text().startswith("</script>")
    shown.select_option("#sort", "worst")
    shown.locator(".alert").first.focus()
    shown.keyboard.press("End")
    assert shown.locator("#name").inner_text() == "scan from 10.0.0.1"
    shown.keyboard.press("ArrowUp")
    assert "</script>" in shown.locator("#name").inner_text()
    shown.keyboard.press("/")
    shown.keyboard.type("BEACON c9")
    assert shown.locator("#count").inner_text() == "1 of 4 alerts"
    assert shown.locator("#records").inner_text() == "C9a C9"
    shown.fill("#search", "nothing has this")
    assert shown.locator("#none").is_visible() and not shown.locator("#one").is_visible()
    shown.fill("#search", "")
    shown.select_option("#class", "beacon")
    assert shown.locator(".alert").count() == 1 and shown.locator("#none").is_hidden()


@pytest.mark.slow
@pytest.mark.parametrize("given", [[], [alert(time="", begun="")]])
@pytest.mark.parametrize("curves", [CURVES, EMPTY])
def test_pages_of_little_open(opened, given, curves):
    shown = opened(given, curves)
    assert shown.locator("#one").is_visible() == bool(given)
    assert shown.locator("#none").is_visible() != bool(given)


@pytest.mark.slow
def test_more_of_many_alerts_come_when_asked_for(opened):
    shown = opened([alert(k) for k in range(700)])
    assert shown.locator(".alert").count() == 300
    shown.locator("#more").click()
    assert shown.locator(".alert").count() == 600
    shown.locator("#more").click()
    assert shown.locator(".alert").count() == 700 and shown.locator("#more").is_hidden()
