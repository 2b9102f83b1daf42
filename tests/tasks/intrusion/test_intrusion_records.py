"""Alerts as other programs read them: lines of JSON, events of Suricata's EVE, rows of a table."""

from __future__ import annotations

import json
import math
import re
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstmkit.tasks.intrusion import alerts, records, shapes

HOSTILE = ["</script>", "\u2028\x85\n\r", "\x00\x1b[2J\x7f", '"\\', "\ud800", "é😀", "a" * 5000]


def flow(**changes: Any) -> dict[str, Any]:
    found = {"time": 1.7e9, "src": "10.0.0.1", "dst": "10.0.0.2", "sport": 4000, "dport": 443,
             "proto": "tcp", "service": "ssl", "state": "SF", "src_packets": 5.0,
             "dst_packets": None, "src_ip_bytes": 900.0, "dst_ip_bytes": 10.0, "duration": None,
             "record": "C1"}  # fmt: skip
    return found | changes


def alert(**changes: Any) -> dict[str, Any]:
    made = {"id": 3, "time": "2026-03-01T10:00:00.250000Z", "host": "10.0.0.1", "state": "begun",
            "score": 5.5, "severity": "high", "class": "scan", "reasons": ["a", "b"],
            "flow": flow(), "record": "C1", "source": "zeek", "flows": 2, "told": 9,
            "earlier": [{"time": "", "record": "C0", "score": 1.25}],
            "begun": "2026-03-01T09:00:00.000000Z"}  # fmt: skip
    return {**made, **changes}


def event(**changes: Any) -> dict[str, Any]:
    line = records.eve_line(alert(**changes))
    assert "\n" not in line and line.encode()
    return json.loads(line)


# --- lines of JSON

words = st.text(max_size=20)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), words,
              st.floats(allow_nan=False, allow_infinity=False)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=3)),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(words, words, st.floats(allow_nan=False, allow_infinity=False), st.lists(words, max_size=3),
       values)  # fmt: skip
def test_lines_of_json_come_back(host, named, score, reasons, more):
    told = alert(host=host, score=score, reasons=reasons, more=more) | {"class": named}
    line = records.json_line(told)
    assert "\n" not in line and line.encode()
    assert records.parsed(line) == told


def test_keys_stand_in_order_whatever_order_they_came_in():
    told = alert(zeta=1, alpha=2)
    backwards = dict(reversed(told.items()))
    assert list(json.loads(records.json_line(backwards))) == [*records.ORDER, "alpha", "zeta"]
    assert records.json_line(told).startswith('{"id": 3, "time": "2026-03-01T10:00:00.250000Z", ')
    short = {"class": "scan", "host": "a"}
    assert records.json_line(short) == '{"host": "a", "class": "scan"}'


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_null_however_deep(number):
    told = alert(score=number, flow=flow(duration=number), earlier=({"score": number},))
    found = json.loads(records.json_line(told), parse_constant=pytest.fail)
    assert (found["score"], found["flow"]["duration"], found["earlier"]) == (
        None, None, [{"score": None}],
    )  # fmt: skip
    eve = json.loads(records.eve_line(told), parse_constant=pytest.fail)
    assert eve["lstmkit"]["score"] is None


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text_on_one_line_of_utf8(text):
    named = {"class": text}
    told = alert(host=text, reasons=[text], record=text, flow=flow(service=text), **named)
    line = records.json_line(told)
    assert not set(line) & set("\n\r\0\x1b") and line.encode("utf-8")
    assert records.parsed(line) == told
    again = records.eve_line(told)
    assert not set(again) & set("\n\r\0\x1b") and again.encode("utf-8")
    assert json.loads(again)["lstmkit"]["class"] == text
    assert json.loads(again)["alert"]["signature"] == f"lstmkit: {text} from {text}"
    assert all(v.encode("utf-8") for v in records.table_row(told).values() if isinstance(v, str))


# --- Suricata's EVE: docs.suricata.io/en/latest/output/eve/eve-json-format.html


def test_an_event_has_the_fields_that_suricata_documents():
    found = event()
    ids = found.pop("flow_id"), found["alert"].pop("signature_id")
    assert found.pop("lstmkit") == {
        "id": 3, "told": 9, "state": "begun", "score": 5.5, "class": "scan", "reasons": ["a", "b"],
        "record": "C1", "source": "zeek", "flows": 2, "begun": "2026-03-01T09:00:00.000000Z",
        "earlier": [{"time": "", "record": "C0", "score": 1.25}],
    }  # fmt: skip
    assert found == {
        "timestamp": "2026-03-01T10:00:00.250000+0000",
        "event_type": "alert",
        "src_ip": "10.0.0.1", "src_port": 4000, "dest_ip": "10.0.0.2", "dest_port": 443,
        "proto": "TCP",
        "app_proto": "tls",
        "alert": {"action": "allowed", "gid": 1, "rev": 1, "severity": 2,
                  "signature": "lstmkit: scan from 10.0.0.1",
                  "category": "Detection of a Network Scan"},
        "flow": {"pkts_toserver": 5, "pkts_toclient": 0, "bytes_toserver": 900,
                 "bytes_toclient": 10, "start": "2026-03-01T10:00:00.250000+0000"},
    }  # fmt: skip
    assert all(type(x) is int for x in ids) and 0 <= ids[0] < 2**53
    assert 9_100_000 <= ids[1] < 9_200_000
    numbers = [found["src_port"], *[v for k, v in found["flow"].items() if k != "start"]]
    assert all(type(x) is int for x in [*numbers, found["alert"]["severity"]])


def test_timestamps_are_written_as_suricata_s():
    stamp = event()["timestamp"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d{4}", stamp)
    assert datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp() == 1772359200.25
    assert event(time="")["timestamp"] == "" == event(time="")["flow"]["start"]


def test_severity_one_is_the_gravest():
    found = [event(severity=s)["alert"]["severity"] for s in alerts.SEVERITIES]
    assert found == [4, 3, 2, 1]


def test_every_class_has_a_signature_and_a_category_of_its_own():
    names = [*shapes.CLASSES, "unknown", "DoS Hulk"]
    found = [event(**{"class": n})["alert"] for n in names]
    assert len({a["signature_id"] for a in found}) == len(names)
    known = [a["category"] for a, n in zip(found, names, strict=True) if n in shapes.SHAPES]
    assert "Misc activity" not in known and len(known) == len(shapes.SHAPES)
    assert [a["category"] for a in found[-3:]] == ["Misc activity"] * 3
    assert event(host="10.9.9.9")["alert"]["signature_id"] == found[0]["signature_id"]


@pytest.mark.parametrize(
    ("service", "app"),
    [("", "unknown"), ("ssl", "tls"), ("http", "http"), ("dns", "dns"), ("dce_rpc", "dcerpc"),
     ("krb", "krb5"), ("krb_tcp", "krb5"), ("postgresql", "pgsql"), ("ssh", "ssh")],
)  # fmt: skip
def test_services_have_suricata_s_names(service, app):
    assert event(flow=flow(service=service))["app_proto"] == app


def test_names_of_services_come_back_through_the_reader():
    from lstmkit.readers.flows import eve

    for service, app in records.APPS.items():
        proto = "tcp" if service == "krb_tcp" else "udp"
        assert eve._service((app, proto)) == service


def test_icmp_has_a_type_and_a_code_and_no_ports():
    found = event(flow=flow(proto="icmp", sport=8, dport=0))
    assert (found["proto"], found["icmp_type"], found["icmp_code"]) == ("ICMP", 8, 0)
    assert "src_port" not in found and "dest_port" not in found
    bare = event(flow=flow(proto="gre", sport=-1, dport=-1))
    assert (bare["proto"], bare["src_port"], bare["dest_port"]) == ("GRE", 0, 0)
    assert "icmp_type" not in bare


def test_the_flow_s_own_number_stays_and_others_are_made():
    assert event(source="eve", record="1293959752068755")["flow_id"] == 1293959752068755
    assert event(source="zeek", record="1293959752068755")["flow_id"] != 1293959752068755
    for record in (str(2**53), "9" * 5000, "²", "-1", "١٢", "1.5", "", "x"):
        found = event(source="eve", record=record)["flow_id"]
        assert 0 <= found < 2**53 and str(found) != record
        assert found == event(source="eve", record=record, score=1.0, id=7)["flow_id"]


def test_numbers_of_flows_are_stable_and_differ_from_flow_to_flow():
    assert event()["flow_id"] == 6895741728245154  # not of this run alone
    changes = [{}, {"src": "10.0.0.9"}, {"dst": "10.0.0.9"}, {"sport": 1}, {"dport": 1},
               {"proto": "udp"}]  # fmt: skip
    found = {event(flow=flow(**c))["flow_id"] for c in changes}
    assert len({*found, event(record="C2")["flow_id"]}) == 7


def test_counts_are_whole_numbers():
    given = {"src_packets": 3.0, "dst_packets": None, "src_ip_bytes": math.inf}
    found = event(flow=flow(**given, dst_ip_bytes=math.nan))["flow"]
    assert [v for k, v in found.items() if k != "start"] == [3, 0, 0, 0]


# --- rows


def test_a_row_has_the_columns_of_the_table():
    row = records.table_row(alert())
    assert list(row)[: len(row) - 5] == [n for n in records.TABLE if n in alert()]
    assert set(row) == set(records.TABLE)
    assert (row["reasons"], row["dport"], row["src"], row["score"]) == (
        "a; b",
        443,
        "10.0.0.1",
        5.5,
    )
    assert records.table_row(alert(reasons=[]))["reasons"] == ""
