"""Whatever bytes come: no crash, no hang, bounded memory, and flows that no piece decides."""

from __future__ import annotations

import itertools
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from readers.captures import (
    COOKED,
    COOKED_2,
    ETHERNET,
    LOOP,
    NULL,
    RAW,
    START,
    SYN,
    A,
    B,
    ethernet,
    mixed,
    pcap,
    pcapng,
    tcp,
    udp,
)

from lstmkit import engine
from lstmkit.errors import UserError
from lstmkit.readers.flows.pcap import PcapDecoder
from lstmkit.readers.flows.schema import Flows, joined

pytestmark = pytest.mark.skipif(engine.NATIVE is None, reason="no native part")

NATIVE_CODE = Path(__file__).parents[2] / "native"
PARTS = ("capture", "packets", "tcp", "services", "flowtable", "flowstate", "flowreader")
SEEDS = {
    "pcap": pcap(mixed()),
    "big": pcap(mixed(), big=True, nano=True),
    "pcapng": pcapng(mixed()),
    "big-pcapng": pcapng(mixed(), order=">"),
    **{f"link-{link}": pcap(mixed(link), link=link)
       for link in (RAW, NULL, LOOP, COOKED, COOKED_2)},
}  # fmt: skip
EDGES = (0, 1, 3, 4, 8, 12, 16, 0x7F, 0xFF, 0xFFFF, 1 << 18, (1 << 18) + 1, 1 << 24, 0x7FFFFFFF,
         0x80000000, 0xFFFFFFFF)  # fmt: skip

seeds = st.sampled_from(sorted(SEEDS)).map(SEEDS.__getitem__)
kinds = st.sampled_from(["flip", "set", "put", "cut", "repeat", "end"])
changes = st.tuples(kinds, st.integers(0, 1 << 30), st.integers(0, 255), st.sampled_from(EDGES))


def changed(data: bytes, kind: str, where: int, value: int, edge: int) -> bytes:
    """One change at a place."""
    at = where % max(len(data), 1)
    before, after = data[:at], data[at + 1 :]
    if kind == "put":
        order = "<>"[value % 2]
        return before + struct.pack(order + "I", edge) + data[at + 4 :]
    if kind == "cut":
        return before + data[at + value :]
    if kind == "repeat":
        return before + data[at : at + value] + data[at:]
    if kind == "end" or not data:
        return before
    return before + bytes([data[at] ^ 1 << value % 8 if kind == "flip" else value]) + after


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    """A sound capture with some changes."""
    data: bytes = draw(seeds)
    for change in draw(st.lists(changes, max_size=8)):
        data = changed(data, *change)
    return data


def read(data: bytes, cuts: list[int] | None = None) -> tuple[list[list[object]], PcapDecoder]:
    """The flows of the pieces between cuts, as plain rows; none where it is no capture."""
    decoder = PcapDecoder(most=50)
    bounds = [0, *sorted(min(c, len(data)) for c in cuts or []), len(data)]
    try:
        parts = [decoder.feed(data[a:b]) for a, b in itertools.pairwise(bounds)]
    except UserError:
        return [["no capture"]], decoder
    return plain(joined([p for p in [*parts, decoder.finish()] if len(p)] or parts[:1])), decoder


def plain(found: Flows) -> list[list[object]]:
    columns = [*found.columns.values(), *found.extra.values()]
    return [[repr(c[k]) for c in columns] for k in range(len(found))]


def sound(found: Flows) -> bool:
    """Whether numbers are such that a model can use them."""
    numbers = [found[name] for name in ("time", "src_packets", "dst_packets", "src_ip_bytes")]
    durations = found["duration"][~np.isnan(found["duration"])]
    return all(np.isfinite(n).all() and (n >= 0).all() for n in [*numbers, durations])


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=300), st.sampled_from([b"", *(s[:24] for s in SEEDS.values())]))
def test_arbitrary_bytes(data: bytes, head: bytes) -> None:
    read(head + data)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200), st.sampled_from([ETHERNET, RAW, NULL, COOKED, COOKED_2]))
def test_arbitrary_frames(frame: bytes, link: int) -> None:
    found, decoder = read(pcap([(START, frame)], link=link))
    assert len(found) + decoder.others + decoder.refused == 1


@settings(deadline=None, max_examples=200)
@given(broken(), st.lists(st.integers(0, 5000), max_size=10))
def test_pieces_decide_nothing(data: bytes, cuts: list[int]) -> None:
    a, first = read(data)
    b, second = read(data, cuts)
    assert a == b
    if a != [["no capture"]]:
        assert (first.refused, first.refusals, first.packets, first.others) == (
            second.refused, second.refusals, second.packets, second.others)  # fmt: skip


@settings(deadline=None, max_examples=200)
@given(broken(), st.integers(0, 5000))
def test_a_saved_state_decides_nothing(data: bytes, cut: int) -> None:
    usual, _ = read(data)
    first, second = PcapDecoder(most=50), PcapDecoder()
    try:
        parts = [first.feed(data[:cut])]
        second.restore(first.save())
        parts += [second.feed(data[cut:]), second.finish()]
    except UserError:
        assert usual == [["no capture"]]
        return
    assert plain(joined([p for p in parts if len(p)] or parts[:1])) == usual


@settings(deadline=None, max_examples=200)
@given(broken())
def test_numbers_are_sound(data: bytes) -> None:
    decoder = PcapDecoder(most=50)
    try:
        assert sound(decoder.feed(data)) and sound(decoder.finish())
    except UserError:
        return
    assert decoder.open == 0 and len(decoder.refusals) <= 20


@settings(deadline=None, max_examples=100)
@given(seeds, st.lists(changes, min_size=1, max_size=4), st.integers(0, 3000))
def test_a_broken_state_is_refused_or_works(
    data: bytes, edits: list[tuple[str, int, int, int]], cut: int
) -> None:
    reader = engine.NATIVE.PcapReader(50, True)  # type: ignore[union-attr]
    reader.feed(data[:cut])
    state = reader.state()
    for edit in edits:
        state = changed(state, *edit)
    other = engine.NATIVE.PcapReader(50, True)  # type: ignore[union-attr]
    if other.set_state(state):
        other.feed(data[cut:])
        n = other.finish()
        numbers, ports = np.empty((8, n)), np.empty((2, n), np.int32)
        other.take(numbers.ctypes.data, ports.ctypes.data, n)


@pytest.mark.parametrize("name", ["pcap", "pcapng"])
def test_cut_at_every_byte(name: str) -> None:
    """A beginning of a capture gives the flows of the packets that are complete in it."""
    data = SEEDS[name]
    complete = PcapDecoder()
    usual: dict[int, list[list[object]]] = {}
    for cut in range(len(data) + 1):
        found, decoder = read(data[:cut])
        complete.feed(data[max(cut - 1, 0) : cut])
        assert decoder.packets == complete.packets
        assert found == usual.setdefault(decoder.packets, found)
        assert decoder.refused <= 1 and all("ends inside" in r.why for r in decoder.refusals)
    assert len(usual) == len(mixed()) + 1


def test_a_flood_takes_no_more_memory_than_was_said() -> None:
    decoder = PcapDecoder(most=100)
    decoder.feed(pcap([], link=RAW))
    source = range(1, 10001)
    same_time = [(START, tcp(A, 40000, B, 80, SYN, k)) for k in source]  # the ports used again
    scan = [(START, udp(f"10.{k % 200}.{k // 200}.1", 9, B, 9)) for k in source]
    assert len(decoder.feed(pcap(same_time, link=RAW)[24:])) == len(source) - 1
    assert decoder._reader.timers < 2000
    assert len(decoder.feed(pcap(scan, link=RAW)[24:])) == len(source) + 1 - 100
    assert decoder.open == 100 and len(decoder.save()) < 60_000 and decoder._reader.timers < 2000


def test_lengths_allocate_nothing() -> None:
    """Blocks and packets that say they are big, of which nothing comes."""
    for length in (1 << 18, 1 << 24, 1 << 31):
        decoder = PcapDecoder()
        decoder.feed(pcap([]) + struct.pack("<IIII", START, 0, length, length))
        assert len(decoder.save()) < 2000
        decoder = PcapDecoder()
        decoder.feed(pcapng([(START, ethernet(b"x"))]) + struct.pack("<II", 6, length))
        assert len(decoder.save()) < 2000


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
def test_sanitizers_find_nothing(tmp_path: Path) -> None:
    program, files = tmp_path / "packets_fuzz", []
    for name, data in SEEDS.items():
        files.append(tmp_path / f"{name}.capture")
        files[-1].write_bytes(data)
    driver = Path(__file__).parents[1] / "native" / "packets_fuzz.cpp"
    sources = [str(driver), *(str(NATIVE_CODE / f"{part}.cpp") for part in PARTS)]
    flags = ["-std=c++20", "-O1", "-g", "-fsanitize=address,undefined"]
    command = [
        "g++",
        *flags,
        "-fno-sanitize-recover=all",
        f"-I{NATIVE_CODE}",
        *sources,
        "-o",
        str(program),
    ]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    run = [str(program), "20", "1", *map(str, files)]
    done = subprocess.run(run, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    captures, flows = (int(part.split()[0]) for part in done.stdout.split(","))
    assert captures > 100 and flows > captures
