"""Conversations as packets, and packets as a capture file (pcap) that any sniffer can read.

Frames are Ethernet and IPv4; lengths, checksums, sequence and acknowledgement numbers are right.
Of each frame only the first `snap` bytes are kept, as by `tcpdump -s`: what a segment would hold
beyond them is zeros, and its checksum is theirs. Big transfers come in segments of 60 KB, as a
capture on a host with segmentation offload has them. The sniffer stands next to the source: what
that sends it sees at once, what the destination answers a round trip later.
"""

from __future__ import annotations

import heapq
import itertools
import random
import socket
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lstmkit.modelfile import atomic_write

Packet = tuple[float, bytes]

SNAP, SHORTEST = 128, 96  # bytes of a frame that are kept; the least that will do
SEGMENT, OFFLOADED, BIG = 1448, 43 * 1448, 150_000  # bytes; messages above BIG are offloaded
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
ETHERNET, TCP_HEADER = 14, 32  # with the timestamp option
DELAYED = 0.04  # seconds that a receiver waits with an acknowledgement
NOISE = random.Random(0).randbytes(1 << 16) * 2
GATEWAY = "10.20.0.1"


@dataclass(frozen=True, slots=True)
class Spec:
    """One conversation: who, when, about what, how much, and how it ends.

    Attributes:
        time: seconds since 1970 of the first packet.
        sport, dport: ports; of ICMP type and code of the request, 8 and 0.
        kind: one of KINDS: what the payload looks like.
        turns: requests and answers: (seconds before the request, its bytes, the answer's bytes).
            What a protocol needs on top (a handshake, headers) is added; see `messages`.
        end: SF closed by both; RSTO, RSTR reset by source, destination; REJ refused; S0 unanswered.
        name: what is asked for: a host name.
        answers: addresses in a DNS answer; none is "no such name".
        rtt, rate: round trip in seconds; bytes a second.
        tries: SYNs (or datagrams) of an unanswered one.
        label: benign or the name of the attack.
        seed: of everything left open here.
    """

    time: float
    src: str
    sport: int
    dst: str
    dport: int
    kind: str
    turns: tuple[tuple[float, int, int], ...] = ()
    end: str = "SF"
    name: str = ""
    answers: tuple[str, ...] = ()
    rtt: float = 0.02
    rate: float = 4e6
    tries: int = 1
    label: str = "benign"
    seed: int = 0

    @property
    def host(self) -> str:
        """Whose doing it is."""
        return self.src

    @property
    def proto(self) -> str:
        """tcp, udp or icmp."""
        return PROTOS.get(self.kind, "tcp")


class Message(NamedTuple):
    """What one side says in one go: `head`, then noise up to `size` bytes, after `wait` seconds."""

    up: bool  # of the source
    wait: float
    head: bytes
    size: int


def messages(spec: Spec) -> list[Message]:
    """All payload of a conversation, in order."""
    if spec.end in ("S0", "REJ") and spec.proto == "tcp":
        return []
    rng = random.Random(spec.seed)
    found = [m for m in KINDS[spec.kind](spec, rng) if m.size]
    silent = spec.end == "S0"
    return [m for m in found if m.up or not silent] * (spec.tries if silent else 1)


def conversation(spec: Spec, snap: int = SNAP) -> list[Packet]:
    """Its packets: (seconds since 1970, frame), in order of time; at most `snap` bytes of each.

    Raises:
        ValueError: `snap` is too short for the headers.
    """
    if snap < SHORTEST:
        raise ValueError(f"{snap} bytes of a frame are less than its headers: {SHORTEST}")
    if spec.proto == "tcp":
        packets = _tcp(spec, snap)
    else:
        packets = _datagrams(spec, snap)
    packets.sort(key=lambda packet: packet[0])
    return packets


def by_time(specs: Iterable[Spec], snap: int = SNAP) -> Iterator[Packet]:
    """The packets of conversations that are sorted by start, merged; memory for what overlaps."""
    waiting: list[tuple[float, int, bytes]] = []
    serial = itertools.count()
    for spec in specs:
        while waiting and waiting[0][0] < spec.time:
            time, _, frame = heapq.heappop(waiting)
            yield time, frame
        for time, frame in conversation(spec, snap):
            heapq.heappush(waiting, (time, next(serial), frame))
    for time, _, frame in sorted(waiting):
        yield time, frame


def write_pcap(path: Path, packets: Iterable[Packet], snap: int = SNAP) -> int:
    """Write a classic capture file of microseconds, whole or not at all; the number of packets."""
    count = 0
    with atomic_write(path) as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, snap, 1))
        for time, frame in packets:
            seconds, micros = divmod(round(time * 1e6), 1_000_000)
            length = ETHERNET + int.from_bytes(frame[16:18], "big")
            file.write(struct.pack("<IIII", seconds, micros, len(frame), length) + frame)
            count += 1
    return count


# ---- payload, one function a kind


def _http(spec: Spec, rng: random.Random) -> Iterator[Message]:
    for wait, up, down in spec.turns:
        text = f"GET /{rng.getrandbits(32):08x} HTTP/1.1\r\nHost: {spec.name}\r\n"
        text += "User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: */*\r\nCookie: s="
        asked = (text + "0" * (up - len(text) - 4) + "\r\n\r\n").encode()
        yield Message(True, wait, asked, len(asked))
        told = "HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: application/octet-stream\r\n"
        head = f"{told}Content-Length: {down}\r\n\r\n".encode()
        yield Message(False, _thinks(rng), head, len(head) + down)


def _tls(spec: Spec, rng: random.Random) -> Iterator[Message]:
    hello = _client_hello(spec.name, rng)
    yield Message(True, 0.0005, hello, len(hello))
    chain = 2_400 + zlib.crc32(spec.name.encode()) % 2_600  # a site's certificates stay
    server = b"\x02\x00\x00\x46\x03\x03" + rng.randbytes(32) + b"\x20" + rng.randbytes(32)
    server += b"\xc0\x2f\x00"
    head = b"\x16\x03\x03" + struct.pack("!H", len(server)) + server + _record(chain, 0x16)
    yield Message(False, _thinks(rng), head, len(head) - 5 + chain)
    finished = b"\x14\x03\x03\x00\x01\x01" + _record(45, 0x16)
    yield Message(True, 0.001, finished, 51)
    yield Message(False, 0.0005, finished, 51)
    for wait, up, down in spec.turns:
        yield Message(True, wait, _record(up), up and max(up, 30))
        yield Message(False, _thinks(rng), _record(down), down and max(down, 30))


def _ssh(spec: Spec, rng: random.Random) -> Iterator[Message]:
    yield Message(True, 0.0005, b"SSH-2.0-OpenSSH_9.6\r\n", 21)
    yield Message(False, 0.01, b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", 32)
    for asks, number, size in (
        (True, 20, 1536),
        (False, 20, 1080),
        (True, 30, 48),
        (False, 31, 452),
    ):
        head = struct.pack("!IBB", size - 4, 6, number)
        yield Message(asks, 0.002 + _thinks(rng) / 4, head, size)
    yield Message(True, 0.003, struct.pack("!IBB", 12, 10, 21), 16)
    for wait, up, down in spec.turns:
        yield Message(True, wait, b"", up)
        yield Message(False, _thinks(rng), b"", down)


def _smb(spec: Spec, rng: random.Random) -> Iterator[Message]:
    for wait, up, down in spec.turns:
        for is_up, size, pause in ((True, up, wait), (False, down, _thinks(rng) / 10)):
            head = struct.pack("!I", size - 4) + b"\xfeSMB\x40\x00" if size > 10 else b""
            yield Message(is_up, pause, head, size)


def _print(spec: Spec, rng: random.Random) -> Iterator[Message]:
    for wait, up, down in spec.turns:
        yield Message(True, wait, b"\x1b%-12345X@PJL JOB\r\n", up)
        yield Message(False, _thinks(rng), b"@PJL USTATUS JOB\r\n", down)


def _probe(spec: Spec, rng: random.Random) -> Iterator[Message]:
    """A connection without a word."""
    yield from ()


def _dns(spec: Spec, rng: random.Random) -> Iterator[Message]:
    """An A record of `name`; with turns a TXT record of the answer's bytes."""
    number, text = rng.getrandbits(16), bool(spec.turns)
    question = _name(spec.name) + struct.pack("!HH", 16 if text else 1, 1)
    query = struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 0) + question
    yield Message(True, 0.0, query, len(query))
    data = [_txt(spec.turns[0][2])] if text else [socket.inet_aton(a) for a in spec.answers]
    flags = 0x8180 if data else 0x8183
    answer = struct.pack("!HHHHHH", number, flags, 1, len(data), 0, 0) + question
    for piece in data:
        answer += struct.pack("!HHHIH", 0xC00C, 16 if text else 1, 1, 300, len(piece)) + piece
    yield Message(False, 0.0, answer, len(answer))


def _ntp(spec: Spec, rng: random.Random) -> Iterator[Message]:
    yield Message(True, 0.0, b"\x23" + bytes(39) + _ntp_time(spec.time), 48)
    told = b"\x24\x02\x06\xe9" + bytes(20) + b"".join(_ntp_time(spec.time) for _ in range(3))
    yield Message(False, 0.0, told, 48)


def _dhcp(spec: Spec, rng: random.Random) -> Iterator[Message]:
    """A renewal: request, acknowledgement."""
    number, own = rng.getrandbits(32), socket.inet_aton(spec.src)
    for up in (True, False):
        head = struct.pack("!BBBBIHH", 1 if up else 2, 1, 6, 0, number, 0, 0)
        head += own + (bytes(4) if up else own) + bytes(8) + _mac(spec.src) + bytes(10 + 192)
        head += b"\x63\x82\x53\x63" + bytes([53, 1, 3 if up else 5]) + b"\xff"
        yield Message(up, 0.0, head + bytes(300 - len(head)), 300)


def _echo(spec: Spec, rng: random.Random) -> Iterator[Message]:
    for wait, up, _ in spec.turns:
        for asks in (True, False):
            yield Message(asks, wait * asks, bytes(range(up)), up)


Kind = Callable[[Spec, random.Random], Iterator[Message]]
KINDS: dict[str, Kind] = {"http": _http, "tls": _tls, "ssh": _ssh, "smb": _smb, "print": _print}
KINDS |= {"probe": _probe, "dns": _dns, "ntp": _ntp, "dhcp": _dhcp, "echo": _echo}
PROTOS = {"dns": "udp", "ntp": "udp", "dhcp": "udp", "echo": "icmp"}


def _client_hello(name: str, rng: random.Random) -> bytes:
    """A TLS 1.2 ClientHello with the server's name, padded to 517 bytes as browsers do."""
    host = name.encode()
    extensions = struct.pack("!HHHBH", 0, len(host) + 5, len(host) + 3, 0, len(host)) + host
    extensions += bytes.fromhex("000a00080006001d00170018000b00020100000d0006000404030804")
    body = b"\x03\x03" + rng.randbytes(32) + b"\x20" + rng.randbytes(32)
    body += bytes.fromhex("0008c02bc02fc02cc0300100")
    padding = 512 - 4 - len(body) - 2 - len(extensions) - 4
    extensions += struct.pack("!HH", 21, padding) + bytes(padding)
    body += struct.pack("!H", len(extensions)) + extensions
    hello = struct.pack("!I", 0x01000000 | len(body)) + body
    return b"\x16\x03\x01" + struct.pack("!H", len(hello)) + hello


def _record(size: int, kind: int = 0x17) -> bytes:
    """The header of the first TLS record of `size` bytes, its header among them."""
    return struct.pack("!BHH", kind, 0x0303, min(max(size, 30) - 5, 16_384))


def _name(name: str) -> bytes:
    parts = [part.encode() for part in name.split(".")]
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def _txt(size: int) -> bytes:
    chunks = [min(255, size - k) for k in range(0, size, 255)]
    return b"".join(bytes([n]) + b"A" * n for n in chunks)


def _ntp_time(time: float) -> bytes:
    return struct.pack("!II", int(time) + 2_208_988_800, int(time % 1 * 2**32))


def _thinks(rng: random.Random) -> float:
    return 0.001 + rng.expovariate(1 / 0.015)


# ---- packets


def _mac(address: str) -> bytes:
    """Locally administered; outside addresses are behind the gateway."""
    return b"\x02\x00" + socket.inet_aton(address if address.startswith("10.") else GATEWAY)


class _End:
    """One end of a conversation: what its packets have in common, and where it stands."""

    def __init__(self, src: str, dst: str, number: int, rng: random.Random) -> None:
        self.ethernet = _mac(dst) + _mac(src) + b"\x08\x00"
        self.addresses = socket.inet_aton(src) + socket.inet_aton(dst)
        hops = 0 if src.startswith("10.") else 5 + zlib.crc32(src.encode()) % 14
        self.lifetime = (64 - hops) << 8 | number
        self.sums = int.from_bytes(self.addresses, "big") % 0xFFFF
        self.ident, self.seq = rng.getrandbits(16), rng.getrandbits(32)
        self.clock = rng.getrandbits(31)

    def frame(self, body: bytes, rest: int) -> bytes:
        """An IP packet of `body` and `rest` bytes more that are not captured."""
        length, self.ident = 20 + len(body) + rest, (self.ident + 1) & 0xFFFF
        known = 0x4500 + length + self.ident + 0x4000 + self.lifetime + self.sums
        head = struct.pack(
            "!HHHHHH", 0x4500, length, self.ident, 0x4000, self.lifetime, -known % 0xFFFF
        )
        return self.ethernet + head + self.addresses + body


def _checksum(body: bytes, more: int = 0) -> int:
    """The one's complement checksum of bytes that stand at an even place, `more` added."""
    return -(int.from_bytes(body + b"\0" * (len(body) & 1), "big") + more) % 0xFFFF


def _fill(message: Message, offset: int, size: int, noise: int) -> bytes:
    """`size` bytes of a message from `offset` on."""
    known = message.head[offset : offset + size]
    begin = (noise + offset) & 0xFFFF
    return known + NOISE[begin : begin + size - len(known)]


class _Tcp:
    """Two ends of a TCP connection, and the packets between them so far."""

    def __init__(self, spec: Spec, snap: int) -> None:
        self.rng = random.Random(spec.seed + 1)
        self.spec, self.packets = spec, list[Packet]()
        self.room = snap - ETHERNET - 20 - TCP_HEADER
        self.ends = {True: _End(spec.src, spec.dst, 6, self.rng)}
        self.ends[False] = _End(spec.dst, spec.src, 6, self.rng)
        self.noise = self.rng.getrandbits(16)
        self.owed: tuple[float, bool, int] | None = None  # when due, whose, what it acknowledges
        self.late = {True: spec.rtt, False: 8e-5}  # until the other end's answer is seen

    def packet(
        self, time: float, up: bool, flags: int, ack: int, payload: bytes = b"", size: int = 0
    ) -> None:
        """One segment of `size` bytes, those of `payload` captured; moves the sequence on."""
        end, spec, window = self.ends[up], self.spec, 501
        ports = (spec.sport, spec.dport) if up else (spec.dport, spec.sport)
        stamp = (int(time * 1000) + end.clock) & 0xFFFFFFFF
        echo = (int(time * 1000) + self.ends[not up].clock - 1) & 0xFFFFFFFF if ack else 0
        if flags & RST:
            options, window = b"", 0
        elif flags & SYN:
            options = struct.pack("!IHBBIIBBBB", 0x020405B4, 0x0402, 8, 10, stamp, echo, 1, 3, 3, 7)
            window = 64_240
        else:
            options = struct.pack("!III", 0x0101080A, stamp, echo)
        place = (5 + len(options) // 4) << 12 | flags
        head = struct.pack("!HHIIHH", *ports, end.seq, ack, place, window)
        length = 20 + len(options) + size
        check = _checksum(head + bytes(4) + options + payload, end.sums + 6 + length)
        body = head + struct.pack("!HH", check, 0) + options + payload
        self.packets.append((time, end.frame(body, size - len(payload))))
        end.seq = (end.seq + size + (flags & (SYN | FIN) > 0)) & 0xFFFFFFFF

    def send(self, time: float, message: Message) -> float:
        """All segments of a message and their acknowledgements; when the last was seen."""
        up, size = message.up, message.size
        sender, receiver = self.ends[up], self.ends[not up]
        self.settle(time, up)
        step = OFFLOADED if size > BIG else SEGMENT
        for offset in range(0, size, step):
            length = min(step, size - offset)
            payload = _fill(message, offset, min(length, self.room), self.noise)
            if offset:
                time += length / self.spec.rate * self.rng.uniform(0.7, 1.5)
            last = offset + length == size
            self.packet(time, up, ACK | PSH * last, receiver.seq, payload, length)
            if offset // step % 2:
                self.packet(time + self.late[up], not up, ACK, sender.seq)
                self.owed = None
            else:
                self.owed = (time + self.late[up] + DELAYED, not up, sender.seq)
        return time

    def settle(self, time: float, up: bool) -> None:
        """Pay an owed acknowledgement, unless what `up` sends at `time` carries it."""
        if self.owed is not None:
            due, whose, number = self.owed
            if whose != up or due < time:
                self.packet(min(due, time), whose, ACK, number)
        self.owed = None

    def close(self, time: float, up: bool) -> None:
        """FIN of `up`, FIN of the other, acknowledged."""
        self.settle(time, up)
        self.packet(time, up, FIN | ACK, self.ends[not up].seq)
        time += self.late[up]
        self.packet(time, not up, FIN | ACK, self.ends[up].seq)
        self.packet(time + self.late[not up], up, ACK, self.ends[not up].seq)


def _tcp(spec: Spec, snap: int) -> list[Packet]:
    made, time = _Tcp(spec, snap), spec.time
    first = made.ends[True].seq
    for k in range(spec.tries if spec.end == "S0" else 1):
        made.ends[True].seq = first
        made.packet(time + 2.0**k - 1, True, SYN, 0)
    if spec.end == "S0":
        return made.packets
    time += spec.rtt
    if spec.end == "REJ":
        made.ends[False].seq = 0
        made.packet(time, False, RST | ACK, made.ends[True].seq)
        return made.packets
    made.packet(time, False, SYN | ACK, made.ends[True].seq)
    time += made.late[False]
    made.packet(time, True, ACK, made.ends[False].seq)
    before = True
    for message in messages(spec):
        time += message.wait + (spec.rtt if before and not message.up else 0.0)
        time, before = made.send(time, message), message.up
    time += 2e-4 + (spec.rtt if before else 0.0) + made.rng.expovariate(20)
    if spec.end == "SF":
        made.close(time, made.rng.random() < 0.8)
    else:
        up = spec.end == "RSTO"
        made.settle(time, up)
        made.packet(time, up, RST | ACK, made.ends[not up].seq)
    return made.packets


def _datagrams(spec: Spec, snap: int) -> list[Packet]:
    """UDP and ICMP: questions, and answers a round trip later."""
    rng = random.Random(spec.seed + 1)
    number = 17 if spec.proto == "udp" else 1
    ends = {True: _End(spec.src, spec.dst, number, rng)}
    ends[False] = _End(spec.dst, spec.src, number, rng)
    packets, time, asked = [], spec.time, 0
    for message in messages(spec):
        time += message.wait if message.up else spec.rtt
        if spec.end == "S0" and asked:
            time += 5.0
        asked += message.up
        end = ends[message.up]
        whole = _icmp(spec, message, asked) if number == 1 else _udp(spec, message, end)
        packets.append((time, end.frame(whole, 0)[:snap]))
    return packets


def _udp(spec: Spec, message: Message, end: _End) -> bytes:
    ports = (spec.sport, spec.dport) if message.up else (spec.dport, spec.sport)
    body = message.head[: message.size]
    length = 8 + len(body)
    head = struct.pack("!HHH", *ports, length)
    check = _checksum(head + bytes(2) + body, end.sums + 17 + length) or 0xFFFF
    return head + struct.pack("!H", check) + body


def _icmp(spec: Spec, message: Message, number: int) -> bytes:
    kind = 0x0800 if message.up else 0
    body = struct.pack("!HH", spec.seed & 0xFFFF, number) + message.head
    return struct.pack("!HH", kind, _checksum(body, kind)) + body
