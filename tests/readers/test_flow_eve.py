"""Suricata's eve.json: flows among other events."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from lstmkit.readers.flows.eve import EveDecoder
from lstmkit.readers.flows.schema import Flows

FLOW = {"pkts_toserver": 10, "pkts_toclient": 8, "bytes_toserver": 1140, "bytes_toclient": 5000,
        "start": "2022-02-23T19:22:24.500000+0100", "end": "2022-02-23T19:22:26.000000+0100",
        "age": 2, "state": "closed", "reason": "shutdown", "alerted": False}  # fmt: skip
EVENT: dict[str, Any] = {
    "timestamp": "2022-02-23T19:22:30.405139+0100", "flow_id": 1293959752068755,
    "event_type": "flow", "src_ip": "10.0.0.5", "src_port": 51000, "dest_ip": "1.2.3.4",
    "dest_port": 443, "proto": "TCP", "app_proto": "tls", "flow": FLOW,
    "tcp": {"tcp_flags": "1b", "tcp_flags_ts": "1b", "tcp_flags_tc": "1b"},
}  # fmt: skip


def read(*events: Any) -> tuple[Flows, EveDecoder]:
    decoder = EveDecoder()
    lines = [event if isinstance(event, str) else json.dumps(event) for event in events]
    return decoder.feed(("\n".join(lines) + "\n").encode()), decoder


def test_an_event_is_a_flow() -> None:
    found, decoder = read(EVENT)
    assert decoder.refusals == []
    row = found.row(0)
    assert np.isnan(row.pop("src_bytes")) and np.isnan(row.pop("dst_bytes"))
    assert row == {
        "time": 1645640544.5, "duration": 1.5, "src_packets": 10.0, "dst_packets": 8.0,
        "src_ip_bytes": 1000.0, "dst_ip_bytes": 5000.0 - 8 * 14, "sport": 51000, "dport": 443,
        "src": "10.0.0.5", "dst": "1.2.3.4", "proto": "tcp", "service": "ssl", "state": "SF",
        "label": "", "record": "1293959752068755",
    }  # fmt: skip


def test_other_events_are_skipped_and_broken_ones_refused() -> None:
    found, decoder = read(EVENT, {"event_type": "alert"}, "{", "7", "{}", '{"event_type":"flow"}')
    assert (len(found), decoder.skipped, decoder.refused) == (1, 1, 4)
    assert [refusal.number for refusal in decoder.refusals] == [3, 4, 5, 6]


def test_headers_of_frames_are_taken_off() -> None:
    found, _ = read({**EVENT, "vlan": [10]}, {**EVENT, "vlan": [10, 20]},
                    {**EVENT, "flow": {**FLOW, "bytes_toserver": 60}})  # fmt: skip
    assert found["src_ip_bytes"].tolist() == [1140 - 180, 1140 - 220, 0]


@pytest.mark.parametrize(("flags", "state"), [
    (("02", "12"), "S1"), (("02", "00"), "S0"), (("02", "14"), "REJ"), (("1b", "1b"), "SF"),
    (("1b", "1a"), "S2"), (("1a", "1b"), "S3"), (("1e", "1a"), "RSTO"), (("1a", "1e"), "RSTR"),
    (("06", "00"), "RSTOS0"), (("03", "00"), "SH"), (("00", "13"), "SHR"), (("00", "16"), "RSTRH"),
    (("10", "10"), "OTH"),
])  # fmt: skip
def test_states_by_the_flags_of_both_ends(flags: tuple[str, str], state: str) -> None:
    tcp = {"tcp_flags_ts": flags[0], "tcp_flags_tc": flags[1]}
    found, _ = read({**EVENT, "tcp": tcp})
    assert found["state"].tolist() == [state]


@pytest.mark.parametrize(("said", "state"), [("new", "S0"), ("established", "S1"),
                                             ("closed", "SF"), ("bypassed", "")])  # fmt: skip
def test_states_without_flags(said: str, state: str) -> None:
    found, _ = read({**EVENT, "tcp": {}, "flow": {**FLOW, "state": said}})
    assert found["state"].tolist() == [state]


def test_states_of_datagrams() -> None:
    one_way = {**EVENT, "proto": "UDP", "flow": {**FLOW, "pkts_toclient": 0}}
    icmp = {**EVENT, "proto": "ICMP", "icmp_type": 8, "icmp_code": 0}
    found, _ = read({**EVENT, "proto": "UDP"}, one_way, icmp, {**icmp, "proto": "IPv6-ICMP"})
    assert found["state"].tolist() == ["SF", "S0", "OTH", "OTH"]
    assert found["proto"].tolist() == ["udp", "udp", "icmp", "icmp"]
    assert found["sport"].tolist() == [51000, 51000, 8, 8]
    assert found["dport"].tolist() == [443, 443, 0, 0]


@pytest.mark.parametrize(("name", "proto", "service"), [
    ("tls", "TCP", "ssl"), ("failed", "TCP", ""), (None, "TCP", ""), ("dcerpc", "TCP", "dce_rpc"),
    ("krb5", "TCP", "krb_tcp"), ("krb5", "UDP", "krb"), ("dns", "UDP", "dns"),
])  # fmt: skip
def test_services(name: str | None, proto: str, service: str) -> None:
    found, _ = read({**EVENT, "app_proto": name, "proto": proto})
    assert found["service"].tolist() == [service]


def test_an_alert_is_no_label() -> None:
    found, _ = read({**EVENT, "flow": {**FLOW, "alerted": True}}, EVENT)
    assert found["label"].tolist() == ["", ""]
    assert found.extra["alerted"].tolist() == [1.0, 0.0]


def test_netflow_goes_one_way_and_its_ends_are_put_in_order() -> None:
    part = {"pkts": 10, "bytes": 1140, "start": FLOW["start"], "end": FLOW["end"]}
    there = {**EVENT, "event_type": "netflow", "netflow": part, "tcp": {"tcp_flags": "1b"}}
    del there["flow"]
    back = {**there, "src_ip": "1.2.3.4", "src_port": 443, "dest_ip": "10.0.0.5",
            "dest_port": 51000}  # fmt: skip
    found, decoder = read(there, back)
    assert decoder.refusals == []
    assert found["src"].tolist() == ["10.0.0.5"] * 2 and found["dport"].tolist() == [443] * 2
    assert found["src_packets"].tolist() == [10.0, 0.0]
    assert found["dst_ip_bytes"].tolist() == [0.0, 1000.0]
    assert found["state"].tolist() == ["SF", "SF"]


@pytest.mark.parametrize("change", [
    {"src_ip": None}, {"src_port": "x"}, {"proto": 6}, {"flow_id": None}, {"flow_id": True},
    {"flow": {**FLOW, "start": "then"}}, {"flow": {**FLOW, "pkts_toserver": -1}}, {"flow": 5},
    {"tcp": {"tcp_flags_ts": "zz", "tcp_flags_tc": "1b"}}, {"app_proto": [1]},
])  # fmt: skip
def test_events_that_cannot_be_used(change: dict[str, Any]) -> None:
    found, decoder = read(EVENT, {**EVENT, **change})
    assert (len(found), decoder.refused) == (1, 1)
    assert decoder.refusals[0].number == 2
