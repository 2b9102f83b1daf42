"""Alerts as other programs read them, and as a page that nothing can break out of."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmkit.tasks.intrusion import page, picture, records

EVIL = "</script><img src=x onerror=alert(1)>"


def alert(**changes: object) -> dict:
    flow = {"time": 1.7e9, "src": "10.0.0.1", "dst": "10.0.0.2", "sport": 4000, "dport": 443,
            "proto": "tcp", "service": "ssl", "state": "SF", "src_packets": 5.0,
            "dst_packets": None, "src_ip_bytes": 900.0, "dst_ip_bytes": 10.0, "duration": None,
            "record": "C1"}  # fmt: skip
    made = {"id": 3, "time": "2026-03-01T10:00:00.250000Z", "host": "10.0.0.1", "state": "begun",
            "score": 5.5, "severity": "high", "class": "scan", "reasons": ["a", "b"], "flow": flow,
            "record": "C1", "source": "zeek", "earlier": [], "flows": 2,
            "begun": "2026-03-01T10:00:00.250000Z", "told": 9}  # fmt: skip
    return {**made, **changes}


words = st.text(max_size=20)


@given(words, words, st.floats(allow_nan=False, allow_infinity=False), st.lists(words, max_size=3))
def test_lines_of_json_come_back(host: str, named: str, score: float, reasons: list[str]) -> None:
    given_alert = alert(host=host, score=score, reasons=reasons) | {"class": named}
    line = records.json_line(given_alert)
    assert "\n" not in line
    assert records.parsed(line) == given_alert


def test_keys_stand_in_order_and_what_is_no_number_is_null() -> None:
    line = records.json_line(alert(score=float("nan"), more=1))
    assert list(json.loads(line))[:5] == ["id", "time", "host", "state", "score"]
    assert list(json.loads(line))[-1] == "more"
    assert json.loads(line)["score"] is None


def test_an_event_is_suricata_s() -> None:
    event = json.loads(records.eve_line(alert()))
    assert event["timestamp"] == "2026-03-01T10:00:00.250000+0000"
    assert event["event_type"] == "alert"
    assert (event["src_ip"], event["dest_port"], event["proto"]) == ("10.0.0.1", 443, "TCP")
    assert event["app_proto"] == "tls"
    assert event["alert"]["severity"] == 2
    assert event["alert"]["signature"] == "lstmkit: scan from 10.0.0.1"
    assert event["flow"]["pkts_toclient"] == 0
    assert 0 <= event["flow_id"] < 2**53
    assert event["lstmkit"]["told"] == 9
    assert records.eve_line(alert()) == records.eve_line(alert())
    own = json.loads(records.eve_line(alert(source="eve", record="1293959752068755")))
    assert own["flow_id"] == 1293959752068755
    other = json.loads(records.eve_line(alert() | {"class": "beacon"}))
    assert other["alert"]["signature_id"] != event["alert"]["signature_id"]
    grave = json.loads(records.eve_line(alert(severity="critical")))
    assert grave["alert"]["severity"] == 1


def test_a_row_has_the_columns_of_the_table() -> None:
    row = records.table_row(alert())
    assert set(row) == set(records.TABLE)
    assert row["reasons"] == "a; b"


class Markup(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)


def rendered(alerts: list[dict]) -> str:
    summary = {"flows": 10, "hosts": 2, "source": EVIL, "threshold": 3.0, "from": "", "to": "",
               "suppressed": 0}  # fmt: skip
    curves = {"time": [1.7e9, 1.7e9 + 60], "flows": [4, 6], "top_score": [1.0, 5.5],
              "threshold": 3.0}  # fmt: skip
    return page.render(alerts, summary, curves)


def test_text_from_the_network_never_becomes_markup() -> None:
    evil = alert(host=EVIL, reasons=[EVIL], record=EVIL) | {"class": EVIL}
    text = rendered([evil])
    plain = rendered([alert()])
    one, other = Markup(), Markup()
    one.feed(text)
    other.feed(plain)
    assert one.tags == other.tags
    block = re.search(r'<script type="application/json" id="meta">(.*?)</script>', text, re.DOTALL)
    assert block is not None
    assert json.loads(block[1])["alerts"][0]["host"] == EVIL


def test_the_page_runs_its_own_script_only() -> None:
    text = rendered([alert()])
    policy = re.search(r"script-src 'sha256-([^']+)'", text)
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)
    assert policy is not None
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert digest == policy[1]
    assert "http://" not in text.replace("http://www.w3.org", "")


@pytest.mark.parametrize("count", [0, 1, 5200])
def test_a_page_of_any_number_of_alerts(count: int) -> None:
    text = rendered([alert(id=k, time="" if k == 0 else alert()["time"]) for k in range(count)])
    block = re.search(r'id="meta">(.*?)</script>', text, re.DOTALL)
    assert block is not None
    assert len(json.loads(block[1])["alerts"]) == min(count, page.MOST)


def test_pictures_are_drawn_with_and_without_alerts(tmp_path: Path) -> None:
    summary = {"flows": 10, "source": "zeek"}
    curves = {"time": [1.7e9, 1.7e9 + 60], "flows": [4, 6], "top_score": [1.0, 5.5],
              "threshold": 3.0}  # fmt: skip
    for k, alerts in enumerate(([], [alert(), alert(host="b", severity="low", time="")])):
        picture.write_picture(tmp_path / f"{k}.svg", alerts, summary=summary, curves=curves)
        assert (tmp_path / f"{k}.svg").stat().st_size > 1000
    empty = {"time": [], "flows": [], "top_score": [], "threshold": 3.0}
    picture.write_picture(tmp_path / "e.svg", [], summary=summary, curves=empty)
