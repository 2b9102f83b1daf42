"""Packets to flows: how many a second on one core, from bytes of a capture to columns of numpy.

    python benchmarks/speed/packets.py [CAPTURE ...] [--packets N] [--repeats N] [--piece BYTES]

Captures that are made here, unless files are given: `sessions` has 12 packets a flow, with payload;
`scan` has a new flow with every SYN, and half of them are refused. The bytes come in pieces, as
from a pipe. Each repeat is a fresh decoder. Memory is the most that a fresh process had beyond its
imports, Linux only, with the capture made piece by piece. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lstmkit.bench.machine import machine
from lstmkit.readers.flows.pcap import PcapDecoder

START = 1_700_000_000
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
HEADER = struct.pack("<IHHiIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1, 0)[:24]
# Packets a second that others have published or that users report; none was measured here.
OTHERS = {
    "Kitsune, C++ and Python, one core of a PC, features and model (Mirsky et al., NDSS 2018; "
    "figure taken second-hand)": 37_300,
    "dpkt, Python, parsing alone (reported)": 75_000,
    "scapy, Python, parsing alone (reported)": 4_400,
}

Piece = Iterator[bytes]


def frame(
    micro: int, ends: tuple[int, int, int, int], flags: int, seq: int, ack: int, data: bytes
) -> bytes:
    """A record of a pcap: Ethernet, IPv4 and TCP without options; checksums left to the card."""
    src, sport, dst, dport = ends
    length = 40 + len(data)
    pseudo = sum(((src >> 16), src & 0xFFFF, (dst >> 16), dst & 0xFFFF, 6, 20 + len(data)))
    pseudo = (pseudo & 0xFFFF) + (pseudo >> 16)
    pseudo = (pseudo & 0xFFFF) + (pseudo >> 16)
    ip = struct.pack(">BBHHHBBHII", 0x45, 0, length, 1, 0, 64, 6, 0, src, dst)
    tcp = struct.pack(">HHIIBBHHH", sport, dport, seq, ack, 0x50, flags, 1000, pseudo, 0)
    size = 14 + length
    head = struct.pack("<IIII", START + micro // 10**6, micro % 10**6, size, size)
    return head + bytes(12) + b"\x08\0" + ip + tcp + data


def session(k: int) -> Piece:
    """The 12 packets of a connection: a request and 10 kB of answer."""
    there = (0x0A000000 + k % 5000, 1024 + k % 60000, 0x0B000000 + k % 97, 80 if k % 2 else 443)
    back = (there[2], there[3], there[0], there[1])
    body = bytes(1448)
    yield frame(k * 100, there, SYN, 9, 0, b"")
    yield frame(k * 100 + 5, back, SYN | ACK, 99, 10, b"")
    yield frame(k * 100 + 10, there, ACK, 10, 100, b"")
    yield frame(k * 100 + 15, there, PSH | ACK, 10, 100, b"GET / HTTP/1.1\r\n" + bytes(284))
    for n in range(5):
        yield frame(k * 100 + 20 + n, back, ACK, 100 + n * 1448, 310, body)
    yield frame(k * 100 + 40, back, FIN | ACK, 7340, 310, b"")
    yield frame(k * 100 + 45, there, FIN | ACK, 310, 7341, b"")
    yield frame(k * 100 + 50, back, ACK, 7341, 311, b"")


def probe(k: int) -> Piece:
    """A SYN, and a RST for every second."""
    there = (0x0A000001, 40000 + k % 7, 0x0B000000 + k // 50000, 1 + k % 50000)
    yield frame(k * 20, there, SYN, k, 0, b"")
    if k % 2:
        yield frame(k * 20 + 3, (*there[2:], *there[:2]), RST | ACK, 0, k + 1, b"")


KINDS: dict[str, tuple[Callable[[int], Piece], float]] = {"sessions": (session, 12),
                                                         "scan": (probe, 1.5)}  # fmt: skip


def made(kind: str, packets: int, piece: int) -> Piece:
    """A capture in pieces."""
    conversation, each = KINDS[kind]
    waiting = [HEADER]
    size = len(HEADER)
    for k in range(int(packets / each)):
        for record in conversation(k):
            waiting.append(record)
            size += len(record)
        if size >= piece:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)


def read(path: str, piece: int) -> Piece:
    """A file in pieces."""
    with Path(path).open("rb") as file:
        while data := file.read(piece):
            yield data


def source(name: str, packets: int, piece: int) -> Piece:
    """A made capture by its kind, or a file by its path."""
    return made(name, packets, piece) if name in KINDS else read(name, piece)


def memory(name: str, packets: int, piece: int) -> dict[str, Any]:
    """Of this process, which has done nothing else."""
    before = peak()
    decoder = PcapDecoder()
    most = 0
    for data in source(name, packets, piece):
        decoder.feed(data)
        most = max(most, decoder.open)
    return {"megabytes": round(peak() - before, 1), "most_open_flows": most}


def peak() -> float:
    """Megabytes that this process had at most."""
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def once(pieces: list[bytes]) -> tuple[float, PcapDecoder]:
    """Seconds for all pieces, columns made and dropped."""
    decoder = PcapDecoder()
    begin = time.perf_counter()
    for data in pieces:
        decoder.feed(data)
    decoder.finish()
    return time.perf_counter() - begin, decoder


def measured(name: str, packets: int, piece: int, repeats: int) -> dict[str, Any]:
    """One capture's figures."""
    pieces = list(source(name, packets, piece))
    size = sum(map(len, pieces))
    runs = [once(pieces) for _ in range(repeats + 1)][1:]
    decoder = runs[0][1]
    rates = [decoder.packets / seconds for seconds, _ in runs]
    command = [sys.executable, __file__, "--memory", name, "--packets", str(packets)]
    done = subprocess.run([*command, "--piece", str(piece)], capture_output=True, check=True)
    return {
        "capture": Path(name).name,
        "packets": decoder.packets,
        "flows": decoder.answered,
        "refused": decoder.refused,
        "bytes": size,
        "packets_a_second": round(statistics.median(rates)),
        "least": round(min(rates)),
        "most": round(max(rates)),
        "megabytes_a_second": round(statistics.median(rates) * size / decoder.packets / 1e6, 1),
        "memory": json.loads(done.stdout),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("captures", nargs="*", default=list(KINDS))
    parser.add_argument("--packets", type=int, default=300_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--piece", type=int, default=1 << 20)
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.memory:
        print(json.dumps(memory(given.memory, given.packets, given.piece)))
        return
    rows = [measured(c, given.packets, given.piece, given.repeats) for c in given.captures]
    print(json.dumps({"machine": machine(), "rows": rows, "others": OTHERS}, indent=1))


if __name__ == "__main__":
    main()
