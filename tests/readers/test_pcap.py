"""Packets to flows: formats of captures, links, IP, what is one flow, how it went, when it ends."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from readers.captures import (
    ACK,
    COOKED,
    COOKED_2,
    ETHERNET,
    FIN,
    LOOP,
    NULL,
    PSH,
    RAW,
    RST,
    SIX_A,
    SIX_B,
    START,
    SYN,
    A,
    B,
    Timed,
    block,
    conversation,
    dns_query,
    enhanced,
    ethernet,
    framed,
    icmp,
    interface,
    ip,
    ip6,
    mixed,
    pcap,
    pcapng,
    section,
    tcp,
    tcp_segment,
    udp,
)

from lstmkit import engine
from lstmkit.errors import UserError
from lstmkit.readers.flows.pcap import PcapDecoder
from lstmkit.readers.flows.schema import Flows, joined

pytestmark = pytest.mark.skipif(engine.NATIVE is None, reason="no native part")

GET, OK = b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"
Row = dict[str, Any]


def read(data: bytes, piece: int = 1 << 20, **options: Any) -> tuple[Flows, PcapDecoder]:
    decoder = PcapDecoder(**options)
    parts = [decoder.feed(data[k : k + piece]) for k in range(0, len(data), piece)]
    parts.append(decoder.finish())
    return joined([p for p in parts if len(p)] or parts[:1]), decoder


def rows(packets: list[Timed] | list[bytes], **options: Any) -> list[Row]:
    """The flows of IP packets; without times, one comes every millisecond."""
    timed = [p if isinstance(p, tuple) else (START + k / 1000, p) for k, p in enumerate(packets)]
    found, decoder = read(pcap(timed, link=RAW), **options)
    assert not decoder.refused, decoder.refusals
    history = found.extra["history"] if len(found) else []
    return [{**found.row(k), "history": history[k]} for k in range(len(found))]


def row(packets: list[Timed] | list[bytes], **options: Any) -> Row:
    (found,) = rows(packets, **options)
    return found


def same(a: Flows, b: Flows) -> bool:
    columns = {**a.columns, **a.extra}, {**b.columns, **b.extra}
    return all(
        np.array_equal(x, columns[1][name], equal_nan=x.dtype != object)
        for name, x in columns[0].items()
    )


# --- captures -------------------------------------------------------------------------------------


def test_a_connection() -> None:
    found = row(conversation(40000, 80, GET, OK))
    assert found["time"] == START and found["duration"] == pytest.approx(0.06, abs=1e-9)
    assert (found["src"], found["sport"], found["dst"], found["dport"]) == (A, 40000, B, 80)
    assert (found["proto"], found["service"], found["state"]) == ("tcp", "http", "SF")
    assert (found["src_packets"], found["dst_packets"]) == (5, 3)
    assert (found["src_bytes"], found["dst_bytes"]) == (len(GET), len(OK))
    assert (found["src_ip_bytes"], found["dst_ip_bytes"]) == (5 * 40 + len(GET), 120 + len(OK))
    assert found["history"] == "ShADdFf" and found["record"] == "packets 1-8"
    assert found["label"] == ""


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("nano", [False, True])
def test_pcap_of_every_kind(big: bool, nano: bool) -> None:
    usual, _ = read(pcap(mixed()))
    found, decoder = read(pcap(mixed(), big=big, nano=nano))
    assert len(found) == 9 and same(found, usual) and not decoder.refused
    assert decoder.packets == 26 and decoder.answered == 9


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_is_the_same(order: str) -> None:
    assert same(read(pcapng(mixed(), order=order))[0], read(pcap(mixed()))[0])


@pytest.mark.parametrize("link", [RAW, 12, 14, NULL, LOOP, COOKED, COOKED_2])
def test_every_link_type_is_the_same(link: int) -> None:
    found, decoder = read(pcap(mixed(link), link=link))
    assert same(found, read(pcap(mixed()))[0]) and not decoder.refused


def times(*resolutions: tuple[int | None, int, int]) -> list[float]:
    """When packets began whose interfaces have (resolution, offset), and their ticks."""
    frame = ethernet(udp(A, 1, B, 2))
    data = section() + b"".join(interface(resolution=r, offset=o) for r, o, _ in resolutions)
    data += b"".join(enhanced(t, frame, which=k) for k, (_, _, t) in enumerate(resolutions))
    found, decoder = read(data)
    assert len(found) == 1 and not decoder.refused
    return [found["time"][0], found["time"][0] + np.nan_to_num(found["duration"][0])]


def test_ticks_of_a_pcapng() -> None:
    micro = START * 10**6 + 250_000
    assert times((None, 0, micro)) == times((6, 0, micro)) == [START + 0.25] * 2
    assert times((9, 0, micro * 1000))[0] == times((3, 0, micro // 1000))[0] == START + 0.25
    assert times((0x80 | 10, 0, START * 1024 + 256))[0] == START + 0.25
    assert times((6, START, 250_000))[0] == times((0, START, 0))[0] + 0.25 == START + 0.25
    assert times((6, -10, micro))[0] == START - 9.75
    assert times((12, 0, 5 * 10**12), (6, 0, 7 * 10**6)) == [5.0, 7.0]


def test_sections_and_blocks_of_a_pcapng() -> None:
    first, second = ethernet(udp(A, 1, B, 2)), ethernet(udp(A, 3, B, 4))
    ticks = START * 10**6
    data = section() + interface(LOOP) + interface() + block(0xBAD, b"unknown")
    data += enhanced(ticks, first, which=1)
    old = struct.pack("<HHIIII", 1, 0, ticks >> 32, ticks & 0xFFFFFFFF, len(first), len(first))
    data += block(2, old + first)
    data += section(">") + interface(order=">")
    data += block(3, struct.pack(">I", len(second)) + second, ">")
    found, decoder = read(data)
    assert not decoder.refused and decoder.packets == 3
    assert list(found["sport"]) == [1, 3] and list(found["src_packets"]) == [2, 1]
    assert list(found["record"]) == ["packets 1-2", "packets 3-3"]
    assert list(found["time"]) == [START, START]  # a simple packet has the time before it


@pytest.mark.parametrize("tags", [[0x8100], [0x88A8, 0x8100], [0x9100, 0x8100, 0x8100]])
def test_tags_of_virtual_networks(tags: list[int]) -> None:
    frames = [(t, ethernet(p, tags)) for t, p in conversation(1, 80, GET, OK)]
    plain = [(t, ethernet(p)) for t, p in conversation(1, 80, GET, OK)]
    assert same(read(pcap(frames))[0], read(pcap(plain))[0])


def test_under_labels_and_dial_up_and_snap() -> None:
    packet = udp(A, 1, B, 2)
    labels = bytes(12) + b"\x88\x47" + b"\0\1\0\x40" + b"\0\2\1\x40" + packet
    dialled = bytes(12) + b"\x88\x64" + b"\x11\0\0\1\0\x20" + b"\0\x21" + packet
    snap = bytes(12) + struct.pack(">H", 8 + len(packet)) + b"\xaa\xaa\3\0\0\0\x08\0" + packet
    found, decoder = read(pcap([(START, labels), (START, dialled), (START, snap)]))
    assert list(found["src_packets"]) == [3] and not decoder.refused


def test_other_frames_are_no_refusals() -> None:
    arp = bytes(12) + b"\x08\x06" + bytes(28)
    spanning = bytes(12) + b"\0\x26\x42\x42\3" + bytes(40)
    found, decoder = read(pcap([(START, arp), (START, spanning), (START, ethernet(icmp(A, B, 8)))]))
    assert len(found) == 1 and (decoder.others, decoder.refused, decoder.packets) == (2, 0, 3)
    assert found["record"][0] == "packets 3-3"


# --- IP -------------------------------------------------------------------------------------------


def test_addresses_of_version_6_as_everybody_writes_them() -> None:
    for written in ("::", "::1", "fe80::1:0:0:1", "2001:db8:0:1:1:1:1:1", "1:0:0:2::3", "1::"):
        found = row([udp(written, 1, SIX_B, 2)])
        assert found["src"] == written and found["dst"] == SIX_B


def test_extension_headers() -> None:
    segment = tcp_segment(1, 80, SYN)
    hop = b"\x2b\0" + bytes(6)  # then a routing header, destination options, a fragment of all
    route, options, whole = b"\x3c\1" + bytes(14), b"\x2c\0" + bytes(6), b"\6\0\0\0\0\0\0\7"
    found = row([ip6(SIX_A, SIX_B, 0, segment, hop + route + options + whole)])
    assert (found["proto"], found["sport"], found["dport"], found["state"]) == ("tcp", 1, 80, "S0")
    assert found["src_ip_bytes"] == 40 + 8 + 16 + 8 + 8 + 20


def test_options_of_version_4() -> None:
    found = row([ip(A, B, 6, tcp_segment(1, 2, SYN), options=b"\1" * 8)])
    assert found["sport"] == 1 and found["src_ip_bytes"] == 48


def test_fragments_belong_to_the_flow_of_their_first() -> None:
    data = struct.pack(">HHHH", 7, 8, 8 + 48, 0) + b"x" * 48
    parts = [ip(A, B, 17, data[:16], id=9, more=True), ip(A, B, 17, data[16:40], id=9, offset=16,
             more=True), ip(A, B, 17, data[40:], id=9, offset=40)]  # fmt: skip
    found = row([*parts, udp(B, 8, A, 7)])
    assert found["src_packets"] == 3 and found["src_bytes"] == 48
    assert found["src_ip_bytes"] == 3 * 20 + 56 and found["record"] == "packets 1-4"
    first, last = (b"\x11\0" + struct.pack(">HI", place, 77) for place in (1, 16))
    found = row([ip6(SIX_A, SIX_B, 44, data[:16], first), ip6(SIX_A, SIX_B, 44, data[16:], last)])
    assert found["src_packets"] == 2 and found["sport"] == 7


def test_a_fragment_without_its_first() -> None:
    lost = ip(A, B, 17, bytes(8), id=9, offset=16)
    found, decoder = read(pcap([(START, lost)], link=RAW))
    assert len(found) == 0 and decoder.refused == 1
    assert "first part was not seen" in decoder.refusals[0].why
    late = [(START, ip(A, B, 17, struct.pack(">HHHH", 1, 2, 24, 0), id=9, more=True)),
            (START + 40, lost)]  # fmt: skip
    assert read(pcap(late, link=RAW))[1].refused == 1


def test_what_was_cut_off_counts_by_the_headers() -> None:
    packets = conversation(40000, 80, GET, OK)
    full, _ = read(pcap([(t, ethernet(p)) for t, p in packets]))
    cut, decoder = read(pcap([(t, ethernet(p)) for t, p in packets], snap=58))
    assert not decoder.refused
    assert all(np.array_equal(full[name], cut[name]) for name in full.columns if name != "service")


def test_padding_is_no_payload() -> None:
    found = row([tcp(A, 1, B, 2, SYN) + bytes(6), tcp(A, 1, B, 2, ACK, 1) + bytes(6)])
    assert found["src_bytes"] == 0 and found["src_ip_bytes"] == 80
    bad = tcp(A, 1, B, 2, SYN)[:-1] + b"\1"
    assert row([bad + bytes(6)])["history"] == "C"


def test_a_length_that_was_left_to_the_network_card() -> None:
    data = tcp_segment(1, 2, PSH | ACK, 5, 1, b"x" * 3000)
    assert row([ip(A, B, 6, data, total=0)])["src_ip_bytes"] == 3040


@pytest.mark.parametrize(
    ("packet", "why"),
    [
        (b"", "link header"),
        (b"\x45\0\0", "inside its IP header"),
        (ip(A, B, 6, tcp_segment(1, 2, SYN))[:30], "more bytes than the frame"),
        (ip(A, B, 6, bytes(12)), "inside its TCP"),
        (ip(A, B, 17, bytes(4)), "inside its TCP"),
        (ip(A, B, 1, bytes(4)), "inside its TCP"),
        (ip(A, B, 6, tcp_segment(1, 2, SYN)[:12] + b"\x40\2" + bytes(6)), "TCP header"),
        (ip(A, B, 6, tcp_segment(1, 2, SYN), total=1000), "more bytes than the frame"),
        (ip(A, B, 6, tcp_segment(1, 2, SYN), total=10), "IP header"),
        (b"\x42" + ip(A, B, 6, tcp_segment(1, 2, SYN))[1:], "IP header"),
        (b"\x95" + bytes(40), "IP header"),
        (ip(A, B, 17, bytes(8))[:8] + b"\1" + ip(A, B, 17, bytes(8))[9:], "wrong checksum"),
        (ip6(SIX_A, SIX_B, 0, b"", b"\0\0" + bytes(6)) * 20, "IP header"),
        (ip6(SIX_A, SIX_B, 0, bytes(8), (b"\0\0" + bytes(6)) * 20), "too many headers"),
        (ip6(SIX_A, SIX_B, 43, b"", b"\6\xff" + bytes(6)), "IP header"),
    ],
)
def test_broken_packets_are_counted_with_their_reason(packet: bytes, why: str) -> None:
    good = icmp(A, B, 8)
    found, decoder = read(pcap([(START, good), (START, packet), (START, good)], link=RAW))
    assert list(found["src_packets"]) == [2] and decoder.refused == 1
    (refusal,) = decoder.refusals
    assert refusal.number == 2 and why in refusal.why and "packet 2:" in refusal.why


def test_packets_that_were_cut_too_short() -> None:
    for snap, why in ((10, "link header"), (30, "IP header"), (50, "TCP, UDP or ICMP")):
        found, decoder = read(pcap([(START, ethernet(tcp(A, 1, B, 2, SYN)))], snap=snap))
        assert len(found) == 0 and why in decoder.refusals[0].why


# --- how it went ----------------------------------------------------------------------------------

THERE, BACK = (A, 40000, B, 80), (B, 80, A, 40000)
OPEN = [tcp(*THERE, SYN, 9), tcp(*BACK, SYN | ACK, 99, 10), tcp(*THERE, ACK, 10, 100)]


@pytest.mark.parametrize(
    ("state", "history", "packets"),
    [
        ("S0", "S", [tcp(*THERE, SYN, 9)] * 3),
        ("S1", "ShA", OPEN),
        ("SF", "ShAFf", [*OPEN, tcp(*THERE, FIN | ACK, 10, 100), tcp(*BACK, FIN | ACK, 100, 11)]),
        ("S2", "ShAF", [*OPEN, tcp(*THERE, FIN | ACK, 10, 100)]),
        ("S3", "ShAf", [*OPEN, tcp(*BACK, FIN | ACK, 100, 10)]),
        ("REJ", "Sr", [tcp(*THERE, SYN, 9), tcp(*BACK, RST | ACK, 0, 10)]),
        ("RSTO", "ShAR", [*OPEN, tcp(*THERE, RST | ACK, 10, 100)]),
        ("RSTR", "ShAr", [*OPEN, tcp(*BACK, RST | ACK, 100, 10)]),
        ("RSTOS0", "SR", [tcp(*THERE, SYN, 9), tcp(*THERE, RST, 10)]),
        ("RSTRH", "^hr", [tcp(*BACK, SYN | ACK, 99, 10), tcp(*BACK, RST, 100)]),
        ("SH", "SF", [tcp(*THERE, SYN, 9), tcp(*THERE, FIN, 10)]),
        ("SHR", "^hf", [tcp(*BACK, SYN | ACK, 99, 10), tcp(*BACK, FIN | ACK, 100, 10)]),
        ("OTH", "DdA", [tcp(*THERE, PSH | ACK, 1, 5, b"x"), tcp(*BACK, PSH | ACK, 5, 2, b"y"),
                        tcp(*THERE, ACK, 2, 6)]),
        ("S0", "Sa", [tcp(*THERE, SYN, 9), tcp(*BACK, ACK, 99, 10)]),
        ("S1", "^hA", [tcp(*BACK, SYN | ACK, 99, 10), tcp(*THERE, ACK, 10, 100)]),
        ("S1", "Hs^A", [tcp(*THERE, SYN | ACK, 99, 10), tcp(*BACK, SYN, 9),
                       tcp(*BACK, ACK, 10, 100)]),
    ],
)  # fmt: skip
def test_states_of_tcp(state: str, history: str, packets: list[bytes]) -> None:
    found = row(packets)
    assert (found["state"], found["history"]) == (state, history)


def test_who_began_where_the_beginning_was_missed() -> None:
    back = row([tcp(*BACK, PSH | ACK, 5, 1, b"x"), tcp(*THERE, ACK, 1, 6)])
    assert (back["src"], back["dport"], back["history"]) == (A, 80, "^dA")
    assert (back["src_packets"], back["dst_packets"]) == (1, 1)
    assert row([tcp(B, 50000, A, 40000, PSH | ACK, 5, 1, b"x")])["src"] == B
    assert row([tcp(B, 443, A, 80, PSH | ACK, 5, 1, b"x")])["src"] == B  # both are servers' ports
    assert row([tcp(B, 80, A, 443, PSH | ACK, 5, 1, b"x")])["src"] == A
    assert row([tcp(B, 80, A, 443, SYN | ACK, 5, 1)])["src"] == B
    found = row([tcp(*THERE, PSH | ACK, 0, 5, b"xyz"), tcp(*BACK, PSH | ACK, 5, 3, b"y")])
    assert (found["src_bytes"], found["dst_bytes"]) == (3, 1)
    answer = row([udp(B, 53, A, 5000, dns_query())])
    assert (answer["src"], answer["dport"], answer["state"]) == (A, 53, "SHR")


def test_a_swapped_beginning_counts_for_the_right_ends() -> None:
    packets = [tcp(*THERE, SYN | ACK, 99, 10), tcp(*BACK, SYN, 9),
               tcp(*BACK, PSH | ACK, 10, 100, b"x" * 7)]  # fmt: skip
    found = row(packets)
    assert (found["src"], found["sport"], found["src_packets"], found["src_bytes"]) == (B, 80, 2, 7)


@pytest.mark.parametrize("seq", [1000, 2**32 - 1, 2**32 - 5, 2**31 - 3])
def test_bytes_by_sequence_numbers(seq: int) -> None:
    found = row(conversation(1, 80, GET, OK, seq=seq, peer_seq=2**32 - 10))
    assert (found["src_bytes"], found["dst_bytes"]) == (len(GET), len(OK))
    unheard = [tcp(*THERE, SYN, seq), tcp(*THERE, PSH | ACK, seq + 1, 1, GET)]
    assert row(unheard)["src_bytes"] == len(GET)


def test_bytes_that_the_capture_missed_or_saw_twice() -> None:
    packets = [*OPEN, tcp(*THERE, PSH | ACK, 10, 100, b"x" * 50),
               tcp(*THERE, PSH | ACK, 10, 100, b"x" * 50), tcp(*BACK, ACK, 100, 1060)]  # fmt: skip
    found = row(packets)
    assert found["src_bytes"] == 1050 and found["history"] == "ShADTa"


def test_more_than_four_gigabytes() -> None:
    step = 1 << 30
    packets = [*OPEN, *(tcp(*THERE, PSH | ACK, 10 + k * step, 100, b"x") for k in range(10))]
    assert row(packets)["src_bytes"] == 9 * step + 1


def test_letters_that_come_at_powers_of_ten() -> None:
    zero = tcp(*BACK, ACK, 100, 10, window=0)
    assert row([*OPEN, *[zero] * 9])["history"] == "ShAaw"
    assert row([*OPEN, *[zero] * 100])["history"] == "ShAawww"


def test_wrong_checksums() -> None:
    bad = bytearray(tcp(*THERE, PSH | ACK, 10, 100, b"xyz"))
    bad[-1] ^= 1
    found = row([*OPEN, bytes(bad)])
    assert (found["history"], found["src_packets"], found["src_bytes"]) == ("ShAC", 3, 0)
    assert row([*OPEN, bytes(bad)], checksums=False)["src_bytes"] == 3
    only = row([bytes(bad)])
    assert (only["state"], only["history"]) == ("OTH", "C") and np.isnan(only["src_bytes"])


def test_checksums_that_were_left_to_the_network_card() -> None:
    whole = tcp(*THERE, SYN, 9)
    ends = struct.unpack(">4H", whole[12:20])
    partial = sum(ends) + 6 + 20
    partial = (partial & 0xFFFF) + (partial >> 16)
    left = whole[:36] + struct.pack(">H", partial) + whole[38:]
    assert row([left])["history"] == "S"


def test_udp_and_icmp() -> None:
    found = row([udp(A, 1, B, 2, b"abc"), udp(B, 2, A, 1, b"de"), udp(B, 2, A, 1, b"f")])
    assert (found["state"], found["history"], found["src_bytes"], found["dst_bytes"]) == (
        "SF", "Dd", 3, 3)  # fmt: skip
    found = row([icmp(A, B, 8), icmp(B, A, 0), icmp(A, B, 8)])
    assert (found["proto"], found["sport"], found["dport"], found["state"]) == ("icmp", 8, 0, "OTH")
    assert (found["src_packets"], found["dst_packets"], found["dst_bytes"]) == (2, 1, 4)
    assert found["history"] == ""
    found = row([icmp(SIX_A, SIX_B, 128), icmp(SIX_B, SIX_A, 129)])
    assert (found["proto"], found["sport"], found["dport"], found["dst_packets"]) == (
        "icmp", 128, 129, 1)  # fmt: skip
    one_way = rows([icmp(A, B, 3, 1), icmp(B, A, 3, 1)])
    assert [(r["src"], r["sport"], r["dport"]) for r in one_way] == [(A, 3, 1), (B, 3, 1)]


def test_other_protocols() -> None:
    packets = [ip(A, B, 47, bytes(10)), ip(B, A, 47, bytes(20)), ip(A, B, 132, b""),
               ip(A, B, 250, b"x")]  # fmt: skip
    found = rows(packets)
    assert [r["proto"] for r in found] == ["gre", "sctp", "250"]
    assert (found[0]["sport"], found[0]["dport"], found[0]["dst_bytes"]) == (-1, -1, 20)


def test_one_moment_has_no_duration() -> None:
    found = row([udp(A, 1, B, 2, b"abc")])
    assert np.isnan([found["duration"], found["src_bytes"], found["dst_bytes"]]).all()
    assert found["src_ip_bytes"] == 31
    frame = ethernet(udp(A, 1, B, 2, b"abc"))
    ticks = START * 10**9 + 1500
    for later, moment in ((400, True), (600, False)):  # Zeek's clock has microseconds
        data = section() + interface(resolution=9) + enhanced(ticks, frame)
        found, _ = read(data + enhanced(ticks + later, frame))
        assert np.isnan(found["duration"][0]) == moment


@pytest.mark.parametrize(
    ("service", "port", "said", "answer"),
    [
        ("http", 80, GET, b""),
        ("http", 1234, GET, OK),
        ("", 1234, GET, b"what?"),
        ("ssl", 443, b"\x16\x03\x01\0\x05\x01aaaa", b"\x16\x03\x03\0\x05\x02"),
        ("ssh", 2222, b"SSH-2.0-a\r\n", b"SSH-2.0-b\r\n"),
        ("", 22, b"SSH-2.0-a\r\n", b""),
        ("smtp", 25, b"EHLO a\r\n", b"220 mail\r\n"),
        ("ftp", 21, b"USER a\r\n", b"220 ftp\r\n"),
        ("pop3", 110, b"USER a\r\n", b"+OK\r\n"),
        ("smb", 445, b"\0\0\0\x45\xfeSMB@", b""),
        ("dns", 53, b"\0\x1d" + dns_query(), b""),
        ("", 80, b"\x01\x02\x03", b"\x04"),
    ],
)
def test_services_of_tcp(service: str, port: int, said: bytes, answer: bytes) -> None:
    assert row(conversation(40000, port, said, answer))["service"] == service
    assert row(conversation(40000, port, said, answer)[3:])["service"] == ""  # begun before


def test_services_of_udp() -> None:
    dhcp = bytes(236) + b"\x63\x82\x53\x63\x35"
    for service, port, said in (
        ("dns", 53, dns_query()), ("dns", 5353, dns_query()), ("dhcp", 67, dhcp),
        ("ntp", 123, b"\x1b" + bytes(47)), ("snmp", 161, b"\x30\x10"), ("", 53, b"no"),
        ("sip", 5060, b"INVITE sip:a SIP/2.0\r\n"), ("", 4000, dns_query()),
    ):  # fmt: skip
        assert row([udp(A, 40000, B, port, said)])["service"] == service


# --- what is one flow, and when it ends -----------------------------------------------------------


def ends(packets: list[Timed], step: float, until: float) -> list[tuple[float, str]]:
    """When flows came, by a clock of others' packets, and what they were."""
    ticks = [(START + k * step, udp("9.9.9.9", 10000 + k, "8.8.8.8", 9)) for k in
             range(int(until / step))]  # fmt: skip
    decoder = PcapDecoder()
    found = []
    decoder.feed(pcap([], link=RAW))
    for time, packet in sorted([*packets, *ticks], key=lambda p: p[0]):
        out = decoder.feed(pcap([(time, packet)], link=RAW)[24:])
        found += [(time - START, s) for s, src in zip(out["state"], out["src"], strict=True)
                  if src != "9.9.9.9"]  # fmt: skip
    return found


@pytest.mark.parametrize(
    ("packets", "when", "state"),
    [
        ([(0, tcp(*THERE, SYN, 9)), (4, tcp(*THERE, SYN, 9))], 5, "S0"),
        ([(0, OPEN[0]), (0, OPEN[1]), (1, OPEN[2])], 301, "S1"),
        ([(t - START, p) for t, p in conversation(1, 80, GET, OK)], 5.5, "SF"),
        ([(0, tcp(*THERE, SYN, 9)), (1, tcp(*BACK, RST | ACK, 0, 10))], 6, "REJ"),
        ([(0, udp(A, 1, B, 2)), (30, udp(B, 2, A, 1))], 90, "SF"),
        ([(0, icmp(A, B, 8))], 60, "OTH"),
        ([(0, ip(A, B, 47, b""))], 60, "OTH"),
    ],
)
def test_when_a_flow_ends(packets: list[Timed], when: float, state: str) -> None:
    assert ends([(START + t, p) for t, p in packets], 0.5, 400) == [(when, state)]


def test_ports_used_again() -> None:
    second = conversation(40000, 80, GET, OK, START + 1, seq=777)
    found = rows([*conversation(40000, 80, GET, OK), *second])
    assert [r["record"] for r in found] == ["packets 1-8", "packets 9-16"]
    assert [r["state"] for r in found] == ["SF", "SF"]
    assert len(rows([tcp(*THERE, SYN, 9), tcp(*THERE, SYN, 9), tcp(*THERE, SYN, 10)])) == 2
    late = [(START, udp(A, 1, B, 2)), (START + 61, udp(A, 1, B, 2))]
    assert len(rows(late)) == 2 and len(rows([late[0], (START + 59, late[1][1])])) == 1


def test_flows_come_in_the_order_in_which_they_end() -> None:
    found = rows([(START, udp(A, 1, B, 2)), (START + 1, tcp(*THERE, SYN, 9)),
                  (START + 2, udp(A, 3, B, 4)), (START + 2, udp(A, 5, B, 6))])  # fmt: skip
    assert [r["sport"] for r in found] == [40000, 1, 3, 5]


def test_times_that_cannot_be() -> None:
    absurd = [(0, udp(A, 5, B, 6)), (4e9, udp(A, 7, B, 8)), (START - 1e6, udp(A, 9, B, 10))]
    for strange in absurd:
        packets = [(START, udp(A, 1, B, 2)), strange, (START + 59, udp(A, 1, B, 2))]
        found = rows(packets)
        assert sorted(r["src_packets"] for r in found) == [1, 2]
        assert sorted(r["sport"] for r in found) == [1, strange[1][21]]
    found = rows([(START, udp(A, 1, B, 2)), *((START + 1e6 + k, udp(A, 1, B, 2)) for k in (0, 1))])
    assert [r["src_packets"] for r in found] == [2, 1]  # two packets agree: time went on
    back = [(START - k / 10, udp(A, 1, B, 2)) for k in range(20)]
    assert row(back)["src_packets"] == 20


def test_most_flows_at_once() -> None:
    packets = [udp(A, 10000 + k, B, 9) for k in range(100)]
    found, decoder = read(pcap([(START, p) for p in packets], link=RAW), most=10)
    assert list(found["sport"]) == list(range(10000, 10100))
    decoder = PcapDecoder(most=10)
    assert len(decoder.feed(pcap([(START, p) for p in packets], link=RAW))) == 90
    assert decoder.open == 10
    used = [*packets[:3], packets[0], *packets[3:5]]
    assert [r["sport"] for r in rows(used, most=3)][:2] == [10001, 10002]


def test_many_flows_are_kept_apart() -> None:
    ports = np.random.default_rng(0).permutation(np.arange(10000, 14000))
    everyone = [udp(A, int(p), B, 9) for p in ports]
    stayed = [udp(B, 9, A, int(p)) for p in ports[::2]]
    packets = [(START, p) for p in everyone] + [(START + 40, p) for p in stayed]
    packets += [(START + 70, p) for p in stayed] + [(START + 70, p) for p in everyone]
    found = rows(packets)
    assert [(r["sport"], r["src_packets"]) for r in found[:2000]] == [(p, 1) for p in ports[1::2]]
    counts = {r["sport"]: (r["src_packets"], r["dst_packets"]) for r in found[2000:]}
    assert counts == {p: (2, 2) if k % 2 == 0 else (1, 0) for k, p in enumerate(ports)}


# --- the decoder ----------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"hello, this is text\n", b"\x1f\x8b\x08\0\0\0", bytes(30)])
def test_no_capture(data: bytes) -> None:
    with pytest.raises(UserError, match="no packet capture"):
        PcapDecoder().feed(data)
    decoder = PcapDecoder()
    with pytest.raises(UserError, match="no packet capture"):
        for k in range(len(data)):
            decoder.feed(data[k : k + 1])


def test_a_link_type_that_is_not_read() -> None:
    with pytest.raises(UserError, match="link type 127"):
        PcapDecoder().feed(pcap([], link=127))
    frame = ethernet(icmp(A, B, 8))
    data = section() + interface(127) + interface() + enhanced(0, frame)
    data += enhanced(1, frame, which=1)
    found, decoder = read(data)
    assert len(found) == 1 and decoder.refusals[0].number == 1
    assert "link type" in decoder.refusals[0].why


def test_lengths_that_cannot_be() -> None:
    good = pcap([(START, ethernet(icmp(A, B, 8)))])
    found, decoder = read(good + struct.pack("<IIII", START, 0, 1 << 30, 60) + good[24:] * 3)
    assert len(found) == 1 and decoder.refused == 1 and "all after it" in decoder.refusals[0].why
    good = section() + interface() + enhanced(0, ethernet(icmp(A, B, 8)))
    for length in (0, 11, 13, (16 << 20) + 4, 2**32 - 4):
        found, decoder = read(good + struct.pack("<II", 6, length) + bytes(100))
        assert len(found) == 1 and decoder.refused == 1


def test_blocks_that_do_not_fit() -> None:
    frame = ethernet(icmp(A, B, 8))
    lying = block(6, struct.pack("<IIIII", 0, 0, 0, 1000, 1000) + frame)
    unknown = enhanced(0, frame, which=5)
    torn = enhanced(0, frame)[:-4] + b"\1\0\0\0"
    just = block(6, struct.pack("<IIIII", 0, 0, 0, 49, 49) + bytes(48))
    broken = [lying, unknown, torn, block(1, b""), just]
    found, decoder = read(section() + interface() + b"".join(broken) + enhanced(0, frame))
    assert len(found) == 1 and [r.number for r in decoder.refusals] == [1, 2, 3, 4, 5]


def test_a_frame_longer_than_is_kept() -> None:
    frame = ethernet(icmp(A, B, 8)) + bytes(400_000)
    data = section() + interface() + enhanced(0, frame) * 2
    for piece in (1 << 20, 1000):
        found, decoder = read(data, piece)
        assert list(found["src_packets"]) == [2] and not decoder.refused


def test_nothing_at_all() -> None:
    decoder = PcapDecoder()
    assert len(decoder.feed(b"")) == len(decoder.finish()) == 0 and not decoder.refused
    decoder.feed(b"\xd4\xc3")
    assert len(decoder.finish()) == 0 and decoder.refused == 1
    assert same(read(pcap([]))[0], read(section())[0])


def test_many_refusals_are_counted_and_the_last_kept() -> None:
    found, decoder = read(pcap([(START, b"\x45")] * 1000, link=RAW))
    assert len(found) == 0 and decoder.refused == 1000
    assert [r.number for r in decoder.refusals] == list(range(981, 1001))


@pytest.mark.parametrize("data", [pcap(mixed()), pcapng(mixed())], ids=["pcap", "pcapng"])
def test_a_state_goes_on_at_any_byte(data: bytes) -> None:
    usual, before = read(data, checksums=False)
    for cut in range(0, len(data), 7):
        first, second = PcapDecoder(most=100, checksums=False), PcapDecoder()
        parts = [first.feed(data[:cut])]
        second.restore(first.save())
        parts += [second.feed(data[cut:]), second.finish()]
        assert same(joined([p for p in parts if len(p)]), usual)
        assert second.answered == before.answered and second.packets == before.packets


def test_states_that_are_none() -> None:
    decoder = PcapDecoder()
    decoder.feed(pcap(mixed())[:500])
    state = decoder.state()
    for broken in ("", "AAAA", "no base64!", state["capture"][:-8] + "AAAAAAA="):
        with pytest.raises(ValueError):
            PcapDecoder().set_state({**state, "capture": broken})


def test_a_state_with_letters_that_are_none() -> None:
    reader = PcapDecoder()._reader
    reader.feed(pcap(conversation(1, 80, GET, OK), link=RAW))
    state = reader.state()
    assert state.count(b"ShADdFf") == 1
    assert not PcapDecoder()._reader.set_state(state.replace(b"ShADdFf", b"ShA\xffdFf"))
    assert PcapDecoder()._reader.set_state(state)


def test_without_the_native_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "NATIVE", None)
    with pytest.raises(UserError, match="native part"):
        PcapDecoder()


def test_frames_of_a_loopback_in_either_order() -> None:
    packet = udp(A, 1, B, 2)
    for family in (struct.pack("<I", 2), struct.pack(">I", 2)):
        assert len(read(pcap([(START, family + packet)], link=NULL))[0]) == 1
    assert len(read(pcap([(START, framed(packet, ETHERNET))]))[0]) == 1
