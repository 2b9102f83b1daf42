"""The made-up network: its packets are right to the last checksum, its days are of one network."""

from __future__ import annotations

import struct
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lstmkit.demos import traffic, wire
from lstmkit.demos.wire import Spec
from lstmkit.readers.flows.pcap import PcapDecoder
from lstmkit.readers.flows.schema import Flows, flows, joined

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
T0 = 1_772_500_000.25
PAGE = ((0.1, 400, 5_000), (0.5, 600, 40_000), (0.2, 300, 0))


def tls(**changes) -> Spec:
    plain = Spec(T0, "10.20.1.9", 40_001, "93.1.2.3", 443, "tls", PAGE, name="www.kite.example")
    return replace(plain, seed=5, **changes)


EVERY = {
    "tls": tls(),
    "tls reset here": tls(end="RSTO"),
    "tls reset there": tls(end="RSTR"),
    "refused": tls(end="REJ"),
    "unanswered": tls(end="S0", tries=3),
    "probed": tls(kind="probe", end="RSTO"),
    "http": tls(kind="http", dport=80),
    "upload": tls(turns=((0.1, 700_000, 100),)),
    "ssh": tls(kind="ssh", dport=22),
    "smb": tls(kind="smb", dport=445, dst="10.20.0.5"),
    "print": tls(kind="print", dport=9100),
    "dns": tls(kind="dns", dport=53, turns=(), answers=("93.1.2.3", "93.1.2.4")),
    "no such name": tls(kind="dns", dport=53, turns=()),
    "text": tls(kind="dns", dport=53, turns=((0, 0, 300),)),
    "dns unanswered": tls(kind="dns", dport=53, turns=(), end="S0", tries=2),
    "ntp": tls(kind="ntp", sport=123, dport=123),
    "dhcp": tls(kind="dhcp", sport=68, dport=67),
    "echo": tls(kind="echo", sport=8, dport=0, turns=((0, 60, 0), (1, 60, 0))),
}
OVER_TCP = [name for name, spec in EVERY.items() if spec.proto == "tcp"]


class Packet:
    """A frame of a capture file, read from its bytes alone.

    What was cut off a TCP segment counts as zeros; a datagram's checksum is that of all of it.
    """

    def __init__(self, time: float, frame: bytes, length: int) -> None:
        self.time, self.length = time, length
        assert frame[12:14] == b"\x08\x00"
        ip = frame[14:]
        assert ip[0] == 0x45
        self.total, self.ttl, self.number = int.from_bytes(ip[2:4], "big"), ip[8], ip[9]
        assert self.total + 14 == length
        assert summed(ip[:20]) == 0xFFFF
        self.src, self.dst = (".".join(map(str, ip[k : k + 4])) for k in (12, 16))
        self.body = ip[20:]
        size = self.total - 20
        pseudo = ip[12:20] + struct.pack("!HH", self.number, size)
        whole = len(self.body) == size or self.number == 6
        if self.number == 1:
            assert summed(self.body) == 0xFFFF or not whole
            self.ports, self.head, self.flags = (0, 0), 8, 0
        else:
            assert summed(pseudo + self.body) == 0xFFFF or not whole
            self.ports = struct.unpack("!HH", self.body[:4])
            self.head = (self.body[12] >> 4) * 4 if self.number == 6 else 8
            self.flags = self.body[13] if self.number == 6 else 0
        if self.number == 17:
            assert int.from_bytes(self.body[4:6], "big") == size
        self.seq, self.ack = struct.unpack("!II", self.body[4:12].ljust(8, b"\0"))
        self.payload, self.size = self.body[self.head :], size - self.head


def summed(data: bytes) -> int:
    """The one's complement sum of 16-bit words, added one by one."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) // 2 * 2]))
    total += data[-1] << 8 if len(data) % 2 else 0
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def parsed(path: Path, snap: int) -> list[Packet]:
    data = path.read_bytes()
    assert struct.unpack("<IHHiIII", data[:24]) == (0xA1B2C3D4, 2, 4, 0, 0, snap, 1)
    found, place = [], 24
    while place < len(data):
        seconds, micros, kept, length = struct.unpack("<IIII", data[place : place + 16])
        assert micros < 1_000_000
        assert kept == min(length, snap)
        frame = data[place + 16 : place + 16 + kept]
        found.append(Packet(seconds + micros / 1e6, frame, length))
        place += 16 + kept
    assert place == len(data)
    return found


def sniffed(spec: Spec, folder: Path, snap: int = wire.SNAP) -> list[Packet]:
    wire.write_pcap(folder / "one.pcap", wire.conversation(spec, snap), snap)
    return parsed(folder / "one.pcap", snap)


@pytest.mark.parametrize("snap", [96, 128, 65_535])
@pytest.mark.parametrize("name", list(EVERY))
def test_every_frame_is_valid_and_between_the_two(name, snap, tmp_path):
    spec = EVERY[name]
    found = sniffed(spec, tmp_path, snap)
    assert found[0].time == pytest.approx(spec.time, abs=1e-6)
    assert (found[0].src, found[0].dst) == (spec.src, spec.dst)
    assert {(p.src, p.dst) for p in found} <= {(spec.src, spec.dst), (spec.dst, spec.src)}
    assert {p.number for p in found} == {{"tcp": 6, "udp": 17, "icmp": 1}[spec.proto]}
    times = [p.time for p in found]
    assert times == sorted(times)
    if spec.proto != "icmp":
        assert all(sorted(p.ports) == sorted((spec.sport, spec.dport)) for p in found)
    said = Counter()
    for message in wire.messages(spec):
        said[message.up] += message.size
    for up in (True, False):
        assert sum(p.size for p in found if (p.src == spec.src) == up) == said[up]


@pytest.mark.parametrize("name", OVER_TCP)
def test_sequence_numbers_go_on_without_a_gap(name, tmp_path):
    spec = EVERY[name]
    following: dict[str, int] = {}
    for packet in sniffed(spec, tmp_path):
        syn, fin, rst = (bool(packet.flags & bit) for bit in (SYN, FIN, RST))
        if spec.end == "REJ" and rst:
            assert packet.seq == 0
        elif packet.src in following and spec.end != "S0":
            assert packet.seq == following[packet.src]
        other = following.get(spec.dst if packet.src == spec.src else spec.src)
        if packet.flags & ACK:
            assert other is not None
            assert 0 <= (other - packet.ack) & 0xFFFFFFFF < 2 * wire.OFFLOADED
        else:
            assert syn
            assert packet.ack == 0
        following[packet.src] = (packet.seq + packet.size + syn + fin) & 0xFFFFFFFF
        last = packet
    if spec.end == "SF":
        assert last.ack == following[spec.dst if last.src == spec.src else spec.src]


def flags(found: list[Packet], src: str) -> list[int]:
    return [p.flags for p in found if p.src == src]


def test_a_connection_begins_with_a_handshake_and_ends_by_both(tmp_path):
    found = sniffed(tls(), tmp_path)
    assert [p.flags for p in found[:3]] == [SYN, SYN | ACK, ACK]
    assert [p.src for p in found[:3]] == ["10.20.1.9", "93.1.2.3", "10.20.1.9"]
    assert found[1].time - found[0].time == pytest.approx(0.02, abs=1e-5)
    assert [p.flags for p in found[-3:]] == [FIN | ACK, FIN | ACK, ACK]
    assert found[-3].src != found[-2].src
    assert all(p.flags & (FIN | RST | SYN) == 0 for p in found[3:-3])


@pytest.mark.parametrize(
    ("end", "here", "there"),
    [("RSTO", RST | ACK, None), ("RSTR", None, RST | ACK), ("REJ", SYN, RST | ACK)],
)
def test_other_ends(end, here, there, tmp_path):
    found = sniffed(tls(end=end), tmp_path)
    last = found[-1]
    assert last.flags == RST | ACK
    assert last.src == ("10.20.1.9" if end == "RSTO" else "93.1.2.3")
    if here:
        assert flags(found, "10.20.1.9")[-1] == here
    if there:
        assert flags(found, "93.1.2.3")[-1] == there
    assert (len(found) == 2) == (end == "REJ")


def test_an_unanswered_syn_is_repeated_as_it_was(tmp_path):
    found = sniffed(tls(end="S0", tries=3), tmp_path)
    assert [p.flags for p in found] == [SYN] * 3
    assert len({p.seq for p in found}) == 1
    assert np.diff([p.time for p in found]) == pytest.approx([1, 2], abs=1e-4)


def test_an_unanswered_question_is_repeated(tmp_path):
    found = sniffed(EVERY["dns unanswered"], tmp_path)
    assert [p.src for p in found] == ["10.20.1.9"] * 2
    assert found[0].payload == found[1].payload
    assert found[1].time - found[0].time == pytest.approx(5, abs=1e-4)


def test_what_arrives_is_acknowledged_soon(tmp_path):
    """Each segment within a delayed acknowledgement and a round trip."""
    for name in ("tls", "upload", "http", "ssh"):
        found = sniffed(EVERY[name], tmp_path)
        for k, packet in enumerate(found):
            if packet.size:
                end = (packet.seq + packet.size) & 0xFFFFFFFF
                answers = [
                    p.time
                    for p in found[k:]
                    if p.src != packet.src and (p.ack - end) & 0xFFFFFFFF < 1 << 31
                ]
                assert answers[0] - packet.time < 0.04 + 0.02 + 1e-3


def test_payload_is_what_the_protocol_says(tmp_path):
    def first(name: str, up: bool) -> bytes:
        spec = EVERY[name]
        found = sniffed(spec, tmp_path, 65_535)
        return next(p.payload for p in found if p.size and (p.src == spec.src) == up)

    request = first("http", True)
    assert request.startswith(b"GET /")
    assert b"\r\nHost: www.kite.example\r\n" in request
    assert request.endswith(b"\r\n\r\n")
    assert len(request) == 400
    head, _, rest = first("http", False).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert b"Content-Length: 5000" in head
    assert len(rest) > 1000
    assert first("ssh", True).startswith(b"SSH-2.0-")
    assert first("ssh", False).startswith(b"SSH-2.0-")
    assert first("smb", True)[4:8] == b"\xfeSMB"
    hello = first("tls", True)
    assert hello[:3] == b"\x16\x03\x01"
    assert int.from_bytes(hello[3:5], "big") == len(hello) - 5 == 512
    assert int.from_bytes(hello[6:9], "big") == len(hello) - 9
    assert server_name(hello) == "www.kite.example"
    assert first("tls", False)[:3] == b"\x16\x03\x03"


def server_name(hello: bytes) -> str:
    """The SNI of a ClientHello, by the lengths that it gives."""
    place = 9 + 2 + 32
    place += 1 + hello[place]
    place += 2 + int.from_bytes(hello[place : place + 2], "big")
    place += 1 + hello[place]
    assert int.from_bytes(hello[place : place + 2], "big") == len(hello) - place - 2
    place += 2
    names = {}
    while place < len(hello):
        kind, size = struct.unpack("!HH", hello[place : place + 4])
        names[kind] = hello[place + 4 : place + 4 + size]
        place += 4 + size
    assert place == len(hello)
    assert int.from_bytes(names[0][3:5], "big") == len(names[0]) - 5
    return names[0][5:].decode()


def answered(payload: bytes) -> tuple[str, int, list[bytes]]:
    """Name, code and data of a DNS message with one question."""
    _, code, questions, answers, *_ = struct.unpack("!HHHHHH", payload[:12])
    assert questions == 1
    labels, place = [], 12
    while payload[place]:
        labels.append(payload[place + 1 : place + 1 + payload[place]].decode())
        place += 1 + payload[place]
    place, data = place + 5, []
    for _ in range(answers):
        assert payload[place : place + 2] == b"\xc0\x0c"
        size = int.from_bytes(payload[place + 10 : place + 12], "big")
        data.append(payload[place + 12 : place + 12 + size])
        place += 12 + size
    assert place == len(payload)
    return ".".join(labels), code, data


def test_names_are_asked_for_and_answered(tmp_path):
    query, answer = sniffed(EVERY["dns"], tmp_path, 65_535)
    assert answered(query.payload) == ("www.kite.example", 0x0100, [])
    name, code, data = answered(answer.payload)
    assert (name, code, data) == ("www.kite.example", 0x8180, [b"]\1\2\3", b"]\1\2\4"])
    assert query.payload[:2] == answer.payload[:2]
    _, answer = sniffed(EVERY["no such name"], tmp_path, 65_535)
    assert answered(answer.payload)[1:] == (0x8183, [])
    _, answer = sniffed(EVERY["text"], tmp_path, 65_535)
    (text,) = answered(answer.payload)[2]
    assert len(text) == 302
    assert (text[0], text[256]) == (255, 45)


def test_a_frame_too_short_for_its_headers_is_refused():
    with pytest.raises(ValueError, match="less than its headers"):
        wire.conversation(tls(), 60)


# ---- days


@pytest.fixture(scope="module")
def afternoon() -> traffic.Scenario:
    return traffic.scenario(seed=3, hosts=14, hours=24)


def test_packets_of_many_are_merged_by_time(afternoon):
    some = afternoon.flows[:400]
    merged = list(wire.by_time(some))
    assert [t for t, _ in merged] == sorted(t for t, _ in merged)
    assert Counter(merged) == Counter(p for spec in some for p in wire.conversation(spec))


def test_a_capture_file_is_the_same_again(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        made = traffic.scenario(seed=seed, hosts=10, hours=2)
        truth = traffic.write(tmp_path / f"{name}.pcap", made)
        assert truth.packets == len(parsed(tmp_path / f"{name}.pcap", wire.SNAP))
        assert len(truth.conversations) == len(made.flows)
    data = [(tmp_path / f"{name}.pcap").read_bytes() for name in "abc"]
    assert data[0] == data[1] != data[2]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pcap", "b.pcap", "c.pcap"]


def test_conversations_are_told_apart_by_their_ends(afternoon):
    specs = afternoon.flows
    assert [s.time for s in specs] == sorted(s.time for s in specs)
    assert all(afternoon.start <= s.time < afternoon.stop for s in specs if s.label != "benign")
    assert all(afternoon.start - 60 <= s.time < afternoon.stop + 60 for s in specs)
    tcp = [(s.src, s.sport, s.dst, s.dport) for s in specs if s.proto == "tcp"]
    assert len(set(tcp)) == len(tcp)
    assert all(0 < s.sport < 65_536 for s in specs)


def test_normal_days_have_no_attack_in_them():
    calm = traffic.scenario(seed=3, hosts=14, attacks=False)
    assert {s.label for s in calm.flows} == {"benign"}
    assert calm.attacks == []


def test_attacks_do_not_change_what_else_happens(afternoon):
    calm = traffic.scenario(seed=3, hosts=14, attacks=False)
    benign = [replace(s, sport=0) for s in afternoon.flows if s.label == "benign"]
    assert benign == [replace(s, sport=0) for s in calm.flows]


def known_peers(made: traffic.Scenario) -> dict[str, set[str]]:
    found = defaultdict(set)
    for spec in made.flows:
        if spec.label == "benign":
            found[spec.src].add(spec.name or spec.dst)
    return found


def test_two_days_of_one_network_share_hosts_and_habits():
    one, two, other = (
        traffic.scenario(seed=seed, hosts=20, attacks=False, network=network)
        for seed, network in ((1, 0), (2, 0), (2, 9))
    )
    assert one.network == two.network != other.network
    assert one.flows != two.flows
    peers = [known_peers(made) for made in (one, two, other)]
    common = [
        np.mean([len(peers[0][h] & p[h]) / len(peers[0][h] | p[h]) for h in peers[0]])
        for p in peers[1:]
    ]
    assert common[0] > 1.5 * common[1]
    assert {s.name or s.dst for s in two.flows} - {s.name or s.dst for s in one.flows}


def test_more_hosts_leave_the_first_as_they_are():
    few, many = traffic.network_of(12, 0), traffic.network_of(40, 0)
    assert many.sites == few.sites
    habits = [[replace(h, printer="") for h in n.hosts] for n in (few, many)]
    assert habits[1][: len(few.hosts)] == habits[0]
    assert len({h.address for h in many.hosts}) == len(many.hosts) == 40 - 6 - 2


def test_people_sleep_and_rest_on_sunday():
    work = traffic.scenario(hosts=12, attacks=False)
    quiet = traffic.scenario(hosts=12, attacks=False, day=5)
    sleepers = [host for host in work.network.hosts if not host.always]
    assert 0 < len(sleepers) < len(work.network.hosts)
    for host in sleepers:
        hours = [s.time % 86400 / 3600 for s in work.flows if s.src == host.address]
        assert host.wakes - 0.01 < min(hours) < 12 < max(hours) < host.sleeps + 0.01
    slept = {host.address for host in sleepers}
    counts = [sum(s.src in slept for s in made.flows) for made in (work, quiet)]
    assert 0 < counts[1] < 0.2 * counts[0]
    assert quiet.start == work.start + 5 * 86400


def test_mail_is_fetched_at_its_interval(afternoon):
    place = afternoon.network
    for host in place.hosts:
        mine = [s for s in afternoon.flows if s.src == host.address and s.dport == 993]
        gaps = np.diff([s.time for s in mine])
        assert len(mine) > 15
        assert np.median(gaps) == pytest.approx(host.mail[0], abs=1.0)


def test_a_name_is_looked_up_before_it_is_visited(afternoon):
    asked = defaultdict(list)
    for spec in afternoon.flows:
        if spec.kind == "dns" and spec.answers:
            asked[spec.src].append(set(spec.answers))
        elif spec.kind == "tls" and spec.label == "benign":
            assert any(spec.dst in answers for answers in asked[spec.src])
    assert sum(map(len, asked.values())) > 100
    assert 0 < sum(s.kind == "dns" and not s.answers for s in afternoon.flows) < 30


def test_attacks_lie_in_the_last_hours_and_have_their_shape(afternoon):
    names = [attack.name for attack in afternoon.attacks]
    assert names == ["beacon", "slow scan", "brute force"]
    assert len({attack.host for attack in afternoon.attacks}) == 3
    beacon, scan, guesses = afternoon.attacks
    assert all(attack.start > afternoon.stop - 6 * 3600 for attack in afternoon.attacks)
    assert all(attack.end < afternoon.stop for attack in afternoon.attacks)
    assert beacon.end - beacon.start == pytest.approx(5 * 3600, abs=400)
    assert scan.end - scan.start > 2 * 3600
    assert guesses.end - guesses.start == pytest.approx(900, abs=10)
    mine = {n: [s for s in afternoon.flows if s.label == n] for n in names}
    gaps = np.diff([s.time for s in mine["beacon"]])
    assert 240 <= gaps.min() < 275
    assert 325 < gaps.max() <= 360
    everybody = {s.dst for s in afternoon.flows if s.label == "benign"}
    assert beacon.peer not in everybody
    assert len({s.dport for s in mine["slow scan"]}) == len(mine["slow scan"]) > 120
    assert np.median(np.diff([s.time for s in mine["slow scan"]])) == pytest.approx(60, abs=3)
    assert np.diff([s.time for s in mine["brute force"]]).mean() == pytest.approx(4, abs=0.1)
    assert guesses.dports == (22,)


def test_attacks_can_be_chosen():
    made = traffic.scenario(hosts=12, hours=6, attacks=["exfiltration", "dns tunnel"])
    assert [a.name for a in made.attacks] == ["exfiltration", "dns tunnel"]
    assert all(made.start < a.start < a.end < made.stop for a in made.attacks)
    sent = sum(s.turns[0][1] for s in made.flows if s.label == "exfiltration")
    assert sent == pytest.approx(6e7, rel=0.3)
    assert min(len(s.name) for s in made.flows if s.label == "dns tunnel") > 50
    for spec in made.flows:
        if spec.label == "dns tunnel":
            wire.conversation(spec)


@pytest.mark.parametrize(
    "wrong", [{"hosts": 9}, {"hours": 0.0}, {"hours": float("nan")}, {"attacks": ["beakon"]}]
)
def test_what_cannot_be_made_is_refused(wrong):
    with pytest.raises(ValueError, match="at least 10"):
        traffic.scenario(**wrong)


def test_flows_that_are_read_back_get_their_labels(afternoon, tmp_path):
    truth = traffic.write(tmp_path / "day.pcap", afternoon)
    known = truth.conversations
    turned = [k._replace(src=k.dst, sport=k.dport, dst=k.src, dport=k.sport) for k in known]
    for rows in (known, turned):
        columns = {n: [getattr(k, n) for k in rows] for n in ("proto", "src", "dst")}
        columns |= {n: [getattr(k, n) for k in rows] for n in ("sport", "dport")}
        found = flows("pcap", len(rows), time=[k.start for k in rows], **columns)
        assert list(traffic.label(found, truth)["label"]) == [k.label for k in rows]
    assert (found["label"] == "").all()
    stranger = flows("pcap", 1, time=[known[5].start], src=["1.1.1.1"])
    assert list(traffic.label(stranger, truth)["label"]) == [""]


def test_a_port_used_twice_has_the_label_of_its_time():
    ends = ("tcp", "10.20.1.1", 4000, "10.20.0.5", 80)
    known = [traffic.Known(*ends, 100.0, "benign"), traffic.Known(*ends, 200.0, "scan")]
    truth = traffic.Truth([], known, 0)
    names = {"proto": ["tcp"] * 4, "src": [ends[1]] * 4, "dst": [ends[3]] * 4}
    names |= {"sport": [4000] * 4, "dport": [80] * 4}
    for times, told in (
        ([99.0, 100.0, 199.0, 200.0], ["", "benign", "benign", "scan"]),
        ([np.nan, np.nan, 1e9, -1e9], ["", "", "scan", ""]),
    ):
        assert list(traffic.label(flows("pcap", 4, time=times, **names), truth)["label"]) == told


def test_source_ports_stay_among_those_that_there_are():
    busy = [tls(sport=0, time=float(k)) for k in range(25_000)]
    ports = np.array([spec.sport for spec in traffic._numbered(busy, 0)])
    assert ports.min() >= 32_768
    assert ports.max() < 61_000
    assert (np.diff(ports) < 0).sum() >= 1


def decoded(path: Path) -> Flows:
    decoder, data = PcapDecoder(), path.read_bytes()
    found = [decoder.feed(data), decoder.finish()]
    assert decoder.refused == 0
    return joined([part for part in found if len(part)])


def counted(spec: Spec) -> tuple[float, ...]:
    """Packets, bytes and payload of the source, then of the destination."""
    found: list[float] = []
    for up in (True, False):
        src = bytes(map(int, (spec.src if up else spec.dst).split(".")))
        frames = [f for _, f in wire.conversation(spec) if f[26:30] == src]
        said = sum(m.size for m in wire.messages(spec) if m.up == up)
        found += [len(frames), sum(int.from_bytes(f[16:18], "big") for f in frames), said]
    return tuple(found)


def test_flows_read_from_the_capture_are_the_conversations(tmp_path):
    made = traffic.scenario(seed=8, hosts=10, hours=18)
    truth = traffic.write(tmp_path / "day.pcap", made)
    found = traffic.label(decoded(tmp_path / "day.pcap"), truth)
    assert len(found) == len(made.flows)
    ends = ("src", "sport", "dst", "dport", "proto", "time")
    numbers = [f"{s}_{n}" for s in ("src", "dst") for n in ("packets", "ip_bytes", "bytes")]
    rows = sorted(
        zip(*(found[n].tolist() for n in (*ends, *numbers, "state", "label")), strict=True)
    )
    wanted = sorted(made.flows, key=lambda s: (s.src, s.sport, s.dst, s.dport, s.proto, s.time))
    for (*key, time, _, _, _, _, _, _, state, told), spec in zip(rows, wanted, strict=True):
        assert key == [spec.src, spec.sport, spec.dst, spec.dport, spec.proto]
        assert time == pytest.approx(spec.time, abs=2e-6)
        assert (state, told) == ("OTH" if spec.proto == "icmp" else spec.end, spec.label)
    assert [row[6:12] for row in rows] == [counted(spec) for spec in wanted]
