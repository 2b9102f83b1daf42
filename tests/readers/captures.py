"""Packets and captures made by hand, byte by byte."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
ETHERNET, RAW, NULL, LOOP, COOKED, COOKED_2 = 1, 101, 0, 108, 113, 276
A, B = "10.0.0.1", "10.0.0.2"
SIX_A, SIX_B = "2001:db8::1", "2001:db8::2"
START = 1_700_000_000

Timed = tuple[float, bytes]


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _pseudo(src: str, dst: str, protocol: int, length: int) -> bytes:
    ends = ipaddress.ip_address(src).packed + ipaddress.ip_address(dst).packed
    return ends + struct.pack(">IHH", length, 0, protocol)


def _summed(src: str, dst: str, protocol: int, data: bytes, at: int) -> bytes:
    pseudo = b"" if protocol == 1 else _pseudo(src, dst, protocol, len(data))
    found = checksum(pseudo + data) or 0xFFFF
    return data[:at] + struct.pack(">H", found) + data[at + 2 :]


def ip(
    src: str, dst: str, protocol: int, data: bytes, *, id: int = 1, offset: int = 0,
    more: bool = False, options: bytes = b"", total: int | None = None,
) -> bytes:  # fmt: skip
    """An IPv4 packet; offset in bytes."""
    header = 20 + len(options)
    first = 0x40 | header // 4
    said = header + len(data) if total is None else total
    ends = ipaddress.ip_address(src).packed + ipaddress.ip_address(dst).packed
    fragment = offset // 8 | (0x2000 if more else 0)
    head = struct.pack(">BBHHHBBH", first, 0, said, id, fragment, 64, protocol, 0) + ends + options
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + data


def ip6(src: str, dst: str, protocol: int, data: bytes, extensions: bytes = b"") -> bytes:
    """An IPv6 packet; `protocol` is what its header names, the first extension if there is one."""
    ends = ipaddress.ip_address(src).packed + ipaddress.ip_address(dst).packed
    length = len(extensions) + len(data)
    return struct.pack(">IHBB", 6 << 28, length, protocol, 64) + ends + extensions + data


def tcp_segment(
    sport: int, dport: int, flags: int, seq: int = 0, ack: int = 0, data: bytes = b"",
    window: int = 1000,
) -> bytes:  # fmt: skip
    seq, ack = seq % 2**32, ack % 2**32
    return struct.pack(">HHIIBBHHH", sport, dport, seq, ack, 0x50, flags, window, 0, 0) + data


def wrapped(src: str, dst: str, protocol: int, data: bytes, at: int) -> bytes:
    """Transport data with its checksum in an IP packet of the addresses' version."""
    summed = _summed(src, dst, protocol, data, at)
    return (ip6 if ":" in src else ip)(src, dst, protocol, summed)


def tcp(
    src: str, sport: int, dst: str, dport: int, flags: int, seq: int = 0, ack: int = 0,
    data: bytes = b"", window: int = 1000,
) -> bytes:  # fmt: skip
    segment = tcp_segment(sport, dport, flags, seq, ack, data, window)
    return wrapped(src, dst, 6, segment, 16)


def udp(src: str, sport: int, dst: str, dport: int, data: bytes = b"") -> bytes:
    datagram = struct.pack(">HHHH", sport, dport, 8 + len(data), 0) + data
    return wrapped(src, dst, 17, datagram, 6)


def icmp(src: str, dst: str, type: int, code: int = 0, data: bytes = b"ping") -> bytes:
    protocol = 58 if ":" in src else 1
    message = struct.pack(">BBHHH", type, code, 0, 7, 1) + data
    return wrapped(src, dst, protocol, message, 2)


def ethernet(packet: bytes, tags: Sequence[int] = ()) -> bytes:
    kind = 0x86DD if packet[:1] and packet[0] >> 4 == 6 else 0x0800
    vlan = b"".join(struct.pack(">HH", tag, 5) for tag in tags)
    return bytes(12) + vlan + struct.pack(">H", kind) + packet


def pcap(
    packets: Sequence[Timed], *, link: int = ETHERNET, big: bool = False, nano: bool = False,
    snap: int = 65535,
) -> bytes:  # fmt: skip
    """A pcap file of (time, frame)."""
    order = ">" if big else "<"
    magic = 0xA1B23C4D if nano else 0xA1B2C3D4
    found = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snap, link)]
    for time, frame in packets:
        unit = 10**9 if nano else 10**6
        ticks = round(time * 10**6) * (unit // 10**6)
        kept = frame[:snap]
        head = struct.pack(order + "IIII", ticks // unit, ticks % unit, len(kept), len(frame))
        found.append(head + kept)
    return b"".join(found)


def block(type: int, body: bytes, order: str = "<") -> bytes:
    """A pcapng block."""
    body += b"\0" * (-len(body) % 4)
    length = struct.pack(order + "I", 12 + len(body))
    return struct.pack(order + "I", type) + length + body + length


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + b"\0" * (-len(value) % 4)


def interface(
    link: int = ETHERNET, order: str = "<", resolution: int | None = None, offset: int = 0,
    snap: int = 0,
) -> bytes:  # fmt: skip
    options = option(2, b"eth0", order)
    if resolution is not None:
        options += option(9, bytes([resolution]), order)
    if offset:
        options += option(14, struct.pack(order + "q", offset), order)
    body = struct.pack(order + "HHI", link, 0, snap) + options + option(0, b"", order)
    return block(1, body, order)


def enhanced(ticks: int, frame: bytes, order: str = "<", which: int = 0) -> bytes:
    high, low = ticks >> 32, ticks & 0xFFFFFFFF
    body = struct.pack(order + "IIIII", which, high, low, len(frame), len(frame)) + frame
    return block(6, body, order)


def pcapng(packets: Sequence[Timed], link: int = ETHERNET, order: str = "<") -> bytes:
    """A pcapng file of one interface in microseconds."""
    blocks = [enhanced(round(time * 1e6), frame, order) for time, frame in packets]
    return section(order) + interface(link, order) + b"".join(blocks)


def conversation(
    sport: int, dport: int, said: bytes, answer: bytes, begin: float = START, src: str = A,
    dst: str = B, seq: int = 1000, peer_seq: int = 5000,
) -> list[Timed]:  # fmt: skip
    """A TCP connection from SYN to both FINs, a packet every 10 ms."""
    there, back = (src, sport, dst, dport), (dst, dport, src, sport)
    a, b = seq + 1, peer_seq + 1
    packets = [
        tcp(*there, SYN, seq),
        tcp(*back, SYN | ACK, peer_seq, a),
        tcp(*there, ACK, a, b),
        tcp(*there, PSH | ACK, a, b, said),
        tcp(*back, PSH | ACK, b, a + len(said), answer),
        tcp(*there, FIN | ACK, a + len(said), b + len(answer)),
        tcp(*back, FIN | ACK, b + len(answer), a + len(said) + 1),
        tcp(*there, ACK, a + len(said) + 1, b + len(answer) + 1),
    ]
    return [(begin + 0.01 * k, packet) for k, packet in enumerate(packets)]


def dns_query(name: str = "example") -> bytes:
    question = bytes([len(name)]) + name.encode() + b"\0" + struct.pack(">HH", 1, 1)
    return struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + question


def mixed(link: int = ETHERNET) -> list[Timed]:
    """A few packets of everything, in frames of a link type, in the order of time."""
    request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    found = conversation(40000, 80, request, b"HTTP/1.1 200 OK\r\n\r\n")
    found += conversation(40001, 443, b"\x16\x03\x01\0\5\1aaaa", b"\x16\x03\3\0\5\2", START + 1,
                          SIX_A, SIX_B)  # fmt: skip
    found += [(START + 2, udp(A, 5000, B, 53, dns_query())), (START + 3, icmp(A, B, 8))]
    found += [(START + 3.1, icmp(B, A, 0)), (START + 4, tcp(A, 6000, B, 22, SYN, 9))]
    found += [(START + 4.1, tcp(B, 22, A, 6000, RST | ACK, 0, 10))]
    corrupt = tcp(A, 6001, B, 22, SYN, 9)
    found += [(START + 4.5, corrupt[:-1] + b"\1"), (START + 7, tcp(A, 6002, B, 22, SYN, 9))]
    data = struct.pack(">HHHH", 7, 8, 24, 0) + b"x" * 16
    found += [(START + 5, ip(A, B, 17, data[:16], id=9, more=True))]
    found += [(START + 5.1, ip(A, B, 17, data[16:], id=9, offset=16))]
    found += [(START + 400, udp(SIX_A, 5000, SIX_B, 53, dns_query()))]
    return [(time, framed(packet, link)) for time, packet in sorted(found, key=lambda p: p[0])]


def framed(packet: bytes, link: int) -> bytes:
    """A packet as a frame of a link type."""
    six = packet[0] >> 4 == 6
    kind = 0x86DD if six else 0x0800
    if link == ETHERNET:
        return ethernet(packet)
    if link == NULL:
        return struct.pack("<I", 30 if six else 2) + packet
    if link == LOOP:
        return struct.pack(">I", 24 if six else 2) + packet
    if link == COOKED:
        return struct.pack(">HHH8sH", 0, 1, 6, bytes(8), kind) + packet
    if link == COOKED_2:
        return struct.pack(">HHIHBB8s", kind, 0, 1, 1, 0, 6, bytes(8)) + packet
    return packet
