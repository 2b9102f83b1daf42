"""Every decoder of lines, on broken input and on input in pieces of any size."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstmkit.errors import UserError
from lstmkit.readers.flows.decoder import LONGEST_LINE, Decoder
from lstmkit.readers.flows.files import decoder
from lstmkit.readers.flows.schema import Flows, joined

ZEEK = b"""#separator \\x09
#empty_field\t(empty)
#unset_field\t-
#path\tconn
#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration\torig_bytes
1.5\tC1\t10.0.0.1\t5000\t10.0.0.2\t80\ttcp\thttp\t0.25\t100
1.5\tC2\t10.0.0.1\t5000\t10.0.0.2\t70000\ttcp\thttp\t0.25\t100
2.5\tC3\t\xff\xfe\t5000\t10.0.0.2\t80\ttcp\t(empty)\t-\t-\r
three cells only\t1\t2

2.5\tC\x00\t10.0.0.1\t5000\t10.0.0.2\t80\ttcp\t-\t-\t-
#close\t2020-01-01
#fields\tts\tid.orig_h\tid.resp_h\tproto\tconn_state\tlabel
3\tfe80::1\tfe80::2\tudp\tS0\tMalicious
{"ts": 4, "uid": "C4", "id.orig_h": "a", "id.resp_h": "b", "proto": "tcp", "conn_state": "SF"}
{"ts": 1e999, "id.orig_h": "a", "id.resp_h": "b", "proto": "tcp", "conn_state": "SF"}
5\tfe80::1\tfe80::2\tudp\tS0\tBenign
"""
EVENT = {
    "flow_id": 7, "event_type": "flow", "src_ip": "10.0.0.1", "src_port": 5000,
    "dest_ip": "10.0.0.2", "dest_port": 443, "proto": "TCP", "app_proto": "tls",
    "flow": {"pkts_toserver": 3, "pkts_toclient": 2, "bytes_toserver": 300, "bytes_toclient": 200,
             "start": "2022-02-23T19:22:24.405139+0100", "end": "2022-02-23T19:22:25+0100",
             "state": "closed", "alerted": True},
}  # fmt: skip
EVE = b"\n".join([
    json.dumps(EVENT).encode(), b'{"event_type": "dns"}', b"{", b"[1]", b"",
    json.dumps({**EVENT, "src_port": -1}).encode(),
    json.dumps({**EVENT, "src_ip": ["a"]}).encode(),
    json.dumps({**EVENT, "event_type": "netflow",
                "netflow": {"pkts": 1, "bytes": 60, "start": "2022-02-23T19:22:24Z"}}).encode(),
])  # fmt: skip
NETFLOW = b"""ts,te,td,sa,da,sp,dp,pr,flg,ipkt,ibyt,opkt,obyt\r
2022-06-13 08:14:02,2022-06-13 08:14:03,1.0,10.0.0.5,1.2.3.4,51000,443,TCP,...AP.SF,10,1200,0,0\r
2022-06-13 08:14:02,2022-06-13 08:14:03,1.0,1.2.3.4,10.0.0.5,443,51000,TCP,...AP.SF,10,1200,0,0
"2022-06-13 08:14:02","2022-06-13 08:14:03",1.0,"1.2.3.4",a,443,51000,17,,10,1200,0,0
x,2022-06-13 08:14:03,1.0,1.2.3.4,10.0.0.5,443,51000,TCP,...AP.SF,10,1200,0,0
Summary
flows,bytes
1,2
firstSeen,duration,proto,srcAddr,srcPort,dstAddr,dstPort,packets,bytes,flows
2024-11-22 19:50:00.123,0.5,UDP,10.0.0.1,5353,8.8.8.8,53,1,60,1
"""
CICFLOW = b"""Flow ID, Source IP, Source Port, Destination IP, Destination Port, Protocol, \
Timestamp, Flow Duration, Total Fwd Packets, Total Backward Packets,Flow Bytes/s, \
Fwd Header Length, Fwd Header Length, Label
a-b,10.0.0.1,443,10.0.0.2,50000,6,7/7/2017 3:30,3,2,0,Infinity,0,40,BENIGN
a-c,10.0.0.1,443,10.0.0.2,50000,6,7/13/2017 3:30:01 PM,-1,2,0,NaN,-3,40,Web Attack \x96 XSS
,10.0.0.1,443,10.0.0.2,50000,6,1/2/2017 12:30:01 AM,5,2,0,1.5,0,40,DDoS
a-d,10.0.0.1,443,10.0.0.2,66000,6,7/7/2017 3:30,3,2,0,1,0,40,BENIGN
,,,,,,,,,,,,,
"""
KDD = b"0,tcp,ftp_data,SF,491,0," + b"0," * 35 + b"normal,20\n"
NSL = KDD + KDD.replace(b"normal", b"neptune") + KDD.replace(b"491", b"-491") + b"1,2\n" + KDD[:-1]
UNSW = b"""\xef\xbb\xbfid,dur,proto,service,state,spkts,dpkts,sbytes,dbytes,rate,attack_cat,label
1,0.5,udp,-,INT,2,0,496,0,90909.0902,Normal,0
2,0.5,tcp,http,FIN,2,4,496,100,1.5, Exploits ,1
3,0.5,tcp,http,FIN,2,4,496,100,x,Exploits,1
"""
SAMPLES = {"zeek": ZEEK, "eve": EVE, "netflow": NETFLOW, "cicflow": CICFLOW, "nsl-kdd": NSL,
           "unsw-nb15": UNSW}  # fmt: skip
EXPECTED = {  # answered, refused
    "zeek": (4, 5), "eve": (2, 4), "netflow": (4, 1), "cicflow": (3, 1), "nsl-kdd": (3, 2),
    "unsw-nb15": (2, 1),
}  # fmt: skip
FORMATS = tuple(SAMPLES)


def in_pieces(reader: Decoder, pieces: list[bytes]) -> Flows:
    """All flows; each piece goes into a decoder that was restored from the one before."""
    found = []
    for piece in pieces:
        found.append(reader.feed(piece))
        saved, counted = reader.save(), (reader.refusals, reader.answered)
        reader = decoder(reader.FORMAT)
        reader.restore(saved)
        reader.refusals = counted[0]
    found.append(reader.finish())
    kept = [f for f in found if len(f)]
    return Flows(reader.FORMAT, joined(kept).columns if kept else {}, {"end": reader})


def same(one: Flows, other: Flows) -> bool:
    """Whether flows, counts and refusals are equal."""
    a, b = one.extra["end"], other.extra["end"]
    counts = [(r.answered, r.refused, r.refusals, r.number, r.skipped) for r in (a, b)]
    equal = [np.array_equal(x, other.columns[name], equal_nan=x.dtype.kind == "f")
             for name, x in one.columns.items()]  # fmt: skip
    return counts[0] == counts[1] and all(equal) and list(one.columns) == list(other.columns)


@pytest.mark.parametrize("format", FORMATS)
def test_good_lines_are_flows_and_bad_ones_are_counted(format: str) -> None:
    reader = decoder(format)
    found = joined([f for f in (reader.feed(SAMPLES[format]), reader.finish()) if len(f)])
    assert (len(found), reader.refused) == EXPECTED[format], reader.refusals
    assert reader.answered == len(found)
    numbers = [refusal.number for refusal in reader.refusals]
    assert numbers == sorted(numbers)
    assert all(0 < n <= SAMPLES[format].count(b"\n") + 1 for n in numbers)


def test_refusals_say_which_line_and_why() -> None:
    reader = decoder("zeek")
    reader.feed(ZEEK)
    said = [(number, why) for number, why in reader.refusals]
    assert [n for n, _ in said] == [7, 8, 9, 11, 16]
    assert "id.resp_p: no port: 70000" in said[0][1]
    assert "3 cells instead of 10" in said[2][1]
    assert "NUL" in said[3][1]


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, 2000), max_size=12))
def test_pieces_of_any_size_give_the_same(format: str, cuts: list[int]) -> None:
    data = SAMPLES[format]
    ends = sorted(min(cut, len(data)) for cut in cuts)
    pieces = [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]
    assert same(in_pieces(decoder(format), pieces), in_pieces(decoder(format), [data]))


@pytest.mark.parametrize("format", FORMATS)
def test_saved_at_every_byte(format: str) -> None:
    data = SAMPLES[format]
    whole = in_pieces(decoder(format), [data])
    for cut in range(0, len(data), 7):
        assert same(in_pieces(decoder(format), [data[:cut], data[cut:]]), whole)


@pytest.mark.parametrize("format", FORMATS)
def test_cut_at_every_byte(format: str) -> None:
    data = SAMPLES[format]
    for cut in range(0, len(data), len(data) // 500 + 1):
        reader = decoder(format)
        try:
            reader.feed(data[:cut])
            reader.finish()
        except UserError:
            assert b"\n" not in data[:cut], "only a header that is cut may be an error"
        assert reader.answered <= EXPECTED[format][0] + 1


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=40, deadline=None)
@given(data=st.binary(max_size=300))
def test_any_bytes(format: str, data: bytes) -> None:
    reader = decoder(format)
    try:
        reader.feed(data)
        reader.finish()
    except UserError:
        pass
    assert reader.answered == 0


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2000), st.binary(min_size=1, max_size=4)), max_size=6))
def test_bytes_changed(format: str, changes: list[tuple[int, bytes]]) -> None:
    data = bytearray(SAMPLES[format])
    for at, new in changes:
        data[at : at + len(new)] = new
    reader = decoder(format)
    try:
        found = [reader.feed(bytes(data)), reader.finish()]
    except UserError:
        return
    flows = joined([f for f in found if len(f)]) if any(map(len, found)) else found[0]
    assert np.all((flows["sport"] >= -1) & (flows["sport"] <= 65535))
    for name in ("src_packets", "dst_packets", "src_ip_bytes", "dst_ip_bytes", "duration"):
        assert not np.any(np.isinf(flows[name]) | (flows[name] < 0)), name
    assert not np.isinf(flows["time"]).any()


NUMBERS = ["1e999", "-1e999", "inf", "nan", "-5", "1_000", "0x10", "9" * 400, "9" * 5000, "\u0661",
           "1e18000", "--1", "5 5", "true"]  # fmt: skip


@pytest.mark.parametrize("number", NUMBERS)
def test_no_numbers(number: str) -> None:
    head = "#fields\tts\tid.orig_h\tid.resp_h\tproto\tduration\tid.orig_p\n"
    for cells in ((number, "1", "1"), ("1", number, "1"), ("1", "1", number)):
        reader = decoder("zeek")
        line = f"{cells[0]}\ta\tb\ttcp\t{cells[1]}\t{cells[2]}\n"
        assert len(reader.feed((head + line).encode())) == 0, cells
        assert reader.refused == 1
        row = '{"ts": %s, "id.orig_h": "a", "id.resp_h": "b", "proto": "tcp", "duration": %s, \
"id.orig_p": %s, "conn_state": "SF"}\n'
        for quote in ("", '"'):
            reader = decoder("zeek")
            quoted = (row % tuple(f"{quote}{c}{quote}" for c in cells)).encode()
            assert len(reader.feed(quoted)) == 0, quoted
            assert reader.refused == 1


@pytest.mark.parametrize("port", ["-1", "65536", "1.5", "99999999999999999999"])
def test_no_ports(port: str) -> None:
    head = "#fields\tts\tid.orig_h\tid.orig_p\tid.resp_h\tproto\tduration\n"
    reader = decoder("zeek")
    assert (
        len(reader.feed(f"{head}1\ta\t{port}\tb\ttcp\t1\n1\ta\t65535\tb\ttcp\t1\n".encode())) == 1
    )
    assert "port" in reader.refusals[0].why or "number" in reader.refusals[0].why


def test_json_that_is_deep_or_says_a_key_twice() -> None:
    reader = decoder("zeek")
    deep = b'{"ts": ' + b"[" * 100_000 + b"\n"
    twice = (b'{"ts": 1, "ts": 2, "id.orig_h": "a", "id.resp_h": "b", "proto": "tcp", '
             b'"conn_state": "SF"}\n')  # fmt: skip
    found = reader.feed(deep + twice)
    assert found["time"].tolist() == [2.0]
    assert reader.refused == 1


@pytest.mark.parametrize("step", [1 << 16, 3 << 20])
def test_lines_that_are_too_long_are_skipped_in_bounded_memory(step: int) -> None:
    head = b"#fields\tts\tid.orig_h\tid.resp_h\tproto\tduration\n"
    good = b"1\ta\tb\ttcp\t1\n"
    data = head + good + b"x" * (LONGEST_LINE + 1) + b"\n" + good
    data += b"1\ta\tb\ttcp\t" + b"0" * (2 * LONGEST_LINE) + b"\n" + good + b"y" * (LONGEST_LINE + 1)
    reader = decoder("zeek")
    found = []
    for k in range(0, len(data), step):
        found.append(len(reader.feed(data[k : k + step])))
        assert reader.pending <= LONGEST_LINE
    found.append(len(reader.finish()))
    assert sum(found) == 3
    assert [(number, why[:11]) for number, why in reader.refusals] == [
        (3, "longer than"), (5, "longer than"), (7, "longer than"),
    ]  # fmt: skip


def test_a_line_of_the_greatest_length_is_read() -> None:
    head = b"#fields\tts\tid.orig_h\tid.resp_h\tproto\tduration\tuid\n"
    start = b"1\ta\tb\ttcp\t1\t"
    line = start + b"u" * (LONGEST_LINE - len(start))
    for data in ([head + line + b"\n"], [head, line, b"\n"], [head, line]):
        reader = decoder("zeek")
        found = [len(reader.feed(piece)) for piece in data] + [len(reader.finish())]
        assert sum(found) == 1, reader.refusals


def test_one_bad_line_among_many_costs_little() -> None:
    head = b"#fields\tts\tid.orig_h\tid.resp_h\tproto\tduration\n"
    lines = [b"%d\ta\tb\ttcp\t1\n" % k for k in range(5000)]
    lines[1234] = b"1\ta\tb\ttcp\tx\n"
    reader = decoder("zeek")
    made = []
    columns = reader.columns
    reader.columns = lambda cells, n: made.append(n) or columns(cells, n)
    assert len(reader.feed(head + b"".join(lines))) == 4999
    assert reader.refusals[0].number == 1236
    assert len(made) < 60


def test_a_state_of_another_format_is_none() -> None:
    with pytest.raises(ValueError, match="zeek"):
        decoder("eve").restore(decoder("zeek").save())
