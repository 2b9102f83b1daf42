"""Files of flows: which format, which files, in which order, and what is wrong with them."""

from __future__ import annotations

import gzip
import io
import os
import sys
import threading
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lstmkit.errors import UserError
from lstmkit.readers.flows.files import FORMATS, decoder, read, sniff
from lstmkit.readers.flows.opening import Source

HEAD = "#separator \\x09\n#fields\tts\tuid\tid.orig_h\tid.resp_h\tproto\tduration\tconn_state\n"
SAMPLES = {
    "zeek": HEAD,
    "eve": 'broken\n{"event_type": "dns"}\n'[7:],
    "netflow": "ts,te,td,sa,da,sp,dp,pr\n",
    "cicflow": " Flow ID, Source IP, Flow Duration, Label\n",
    "nsl-kdd": "0,tcp,http,SF," + "0," * 37 + "normal,20\n",
    "unsw-nb15": "\ufeffid,dur,proto,service,state,spkts,dpkts,sbytes,dbytes\n",
}


def log(first: int, n: int, head: str = HEAD) -> str:
    rows = (f"{k}.5\tC{k}\t10.0.0.1\t10.0.0.2\ttcp\t1\tSF\n" for k in range(first, first + n))
    return head + "".join(rows)


def packed(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()))
    return path


@pytest.mark.parametrize("format", list(SAMPLES))
def test_formats_by_how_they_begin(format: str, tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text(SAMPLES[format])
    assert sniff(path) == format
    assert sniff(packed(path, SAMPLES[format])) == format


@pytest.mark.parametrize("magic", ["a1b2c3d4", "d4c3b2a1", "a1b23c4d", "4d3cb2a1", "0a0d0d0a"])
def test_captures(magic: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes.fromhex(magic) + bytes(50))
    assert sniff(path) == "pcap"


def test_zeek_json_by_its_names_and_a_broken_first_event(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text('{"ts": 1, "id.orig_h": "a"}')
    assert sniff(path) == "zeek"
    path.write_text('{"ts": \n{"event_type": "flow"}\n')
    assert sniff(path) == "eve"


@pytest.mark.parametrize("text", ["hello\n", "a,b,c\n", '{"a": 1}\n', "[1]\n", "{\n", "#x\n",
                                  "\x00\x01\x02", "1,2\n" * 9])  # fmt: skip
def test_what_is_no_log_of_flows(text: str, tmp_path: Path) -> None:
    path = tmp_path / "strange.bin"
    path.write_text(text)
    with pytest.raises(UserError, match=r"strange\.bin is like no known log") as caught:
        sniff(path)
    assert text.strip()[:5].encode("unicode_escape").decode().split("\\n")[0] in str(caught.value)


def test_a_decoder_for_each_format() -> None:
    for name in set(FORMATS) - {"pcap"}:
        assert name == decoder(name).FORMAT
    with pytest.raises(UserError, match="no format 'csv'"):
        decoder("csv")


def test_files_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for day in ("2026-11-01", "2026-11-02"):
        (tmp_path / day).mkdir()
    names = ["2026-11-01/conn.00:00:00-01:00:00.log.gz", "2026-11-01/conn.10:00:00-11:00:00.log.gz",
             "2026-11-02/conn.2.log.gz", "2026-11-02/conn.10.log.gz"]  # fmt: skip
    for k in (3, 1, 0, 2):
        packed(tmp_path / names[k], log(k, 1))
    reading = read(f"{tmp_path}/*/conn.*.log.gz")
    assert [os.path.relpath(name, tmp_path) for name in reading.files] == names
    assert reading.all()["record"].tolist() == ["C0", "C1", "C2", "C3"]
    assert reading.source == "zeek"


def test_files_stay_in_the_order_in_which_they_are_named(tmp_path: Path) -> None:
    for k in range(3):
        (tmp_path / f"{k}.log").write_text(log(k, 1))
    named = [tmp_path / "2.log", str(tmp_path / "[01].log")]
    assert read(named).all()["record"].tolist() == ["C2", "C0", "C1"]


def test_a_name_with_the_letters_of_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "conn[1].log").write_text(log(0, 1))
    assert len(read(tmp_path / "conn[1].log").all()) == 1
    (tmp_path / "²3.log").write_text(log(0, 1))
    assert len(read(tmp_path / "*3.log").all()) == 1


@pytest.mark.parametrize(("name", "said"), [
    ("", "is a folder"), ("none.log", "there is no file"), ("*.nothing", "there is no file"),
    ("x\0y", "NUL"), ("y" * 5000, "there is no file"),
])  # fmt: skip
def test_what_is_no_file(name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        read(f"{tmp_path}/{name}")
    with pytest.raises(UserError, match="no files"):
        read([])


def test_one_format_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(log(0, 1))
    (tmp_path / "b.json").write_text(SAMPLES["eve"])
    with pytest.raises(UserError, match=r"a\.log is zeek.*b\.json is eve"):
        read(tmp_path / "*")


def test_a_bad_file_among_many_is_named(tmp_path: Path) -> None:
    (tmp_path / "1.log").write_text(log(0, 1))
    (tmp_path / "2.log").write_text("what?\n")
    with pytest.raises(UserError, match=r"2\.log is like no"):
        read(tmp_path / "*.log")
    (tmp_path / "2.log").write_text("#separator \\x09\n#path\tdns\n")
    with pytest.raises(UserError, match=r"2\.log: this Zeek log holds no flows"):
        read(tmp_path / "*.log").all()


def test_empty_files_among_others_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "1.log").write_text("")
    (tmp_path / "2.log").write_text(log(0, 1))
    packed(tmp_path / "3.log", "\n")
    assert len(read(tmp_path / "*.log").all()) == 1
    with pytest.raises(UserError, match="empty"):
        read(tmp_path / "1.log")
    with pytest.raises(UserError, match="these files are empty"):
        read([tmp_path / "1.log", tmp_path / "3.log"])


def test_counts_and_refusals_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "1.log").write_text(log(0, 5) + "bad\n")
    (tmp_path / "2.log").write_text(HEAD + "x\n" + '{"_path": "dns"}\n' + log(0, 5, ""))
    reading = read(tmp_path / "*.log", batch=2)
    sizes = [len(piece) for piece in reading]
    assert sizes == [2, 2, 1, 2, 2, 1]
    assert (reading.answered, reading.refused, reading.skipped) == (10, 2, 1)
    assert [(Path(r.file).name, r.number) for r in reading.refusals] == [("1.log", 8), ("2.log", 3)]
    assert str(reading.refusals[0]) == "1.log:8: 1 cells instead of 7"
    assert len(reading.all()) == 10
    assert reading.answered == 10


def test_no_flows_at_all(tmp_path: Path) -> None:
    (tmp_path / "1.log").write_text(HEAD)
    found = read(tmp_path / "1.log").all()
    assert len(found) == 0 and found.source == "zeek"


def test_columns_of_two_generations_do_not_mix(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("Flow ID,Flow Duration,Tot Fwd Pkts\na,1,1\n")
    (tmp_path / "2.csv").write_text("Flow ID,Flow Duration,Total Fwd Packets\na,1,1\n")
    with pytest.raises(UserError, match=r"2\.csv: its columns are not those") as caught:
        read(tmp_path / "*.csv").all()
    assert "Tot Fwd Pkts" in caught.value.got


def test_gzip_of_several_members_and_zeros_behind(tmp_path: Path) -> None:
    path = tmp_path / "conn.log"  # whatever the name says
    parts = [gzip.compress(text.encode()) for text in (log(0, 3), log(3, 3, ""))]
    path.write_bytes(b"".join(parts) + bytes(100))
    reading = read(path)
    assert len(reading.all()) == 6 and reading.refused == 0


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
def test_gzip_that_is_cut(kept: float, tmp_path: Path) -> None:
    data = gzip.compress(log(0, 3000).encode())
    path = tmp_path / "conn.log.gz"
    path.write_bytes(data[: int(len(data) * kept)])
    reading = read(path)
    found = reading.all()
    assert 3000 * (kept - 0.2) < len(found) <= 3000
    assert found["record"].tolist() == [f"C{k}" for k in range(len(found))]
    assert reading.refused == 1
    assert "cut or damaged" in reading.refusals[0].why and reading.refusals[0].number == 0


def test_the_line_that_a_cut_went_through_is_no_flow(tmp_path: Path) -> None:
    text = HEAD + "1.5\tC1\ta\tb\ttcp\t1\tSF\n2.5\tC2\ta\tb\ttcp\t1\tS"
    path = packed(tmp_path / "x.gz", text)
    assert len(read(path).all()) == 2  # whole, but for the end of the last line
    path.write_bytes(path.read_bytes()[:-8])
    assert len(read(path).all()) == 1


def test_gzip_that_is_damaged(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(log(0, 3000).encode()))
    data[len(data) // 2] ^= 0xFF
    path = tmp_path / "conn.log.gz"
    path.write_bytes(data)
    reading = read(path)
    found = reading.all()
    assert len(found) > 1000
    assert found["record"].tolist()[:1000] == [f"C{k}" for k in range(1000)]
    assert "damaged" in reading.refusals[-1].why


def test_gzip_that_unpacks_to_much_comes_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(bytes(20 << 20)))
    with Source(path) as source:
        sizes = [len(piece) for piece in source]
    assert sum(sizes) == 20 << 20 and max(sizes) <= 1 << 20


@pytest.mark.parametrize("cut", [1, 8, 9, 500, 5000])
def test_all_of_a_cut_file_that_can_be_unpacked_is(cut: int, tmp_path: Path) -> None:
    data = gzip.compress(bytes(20 << 20))[:-cut]
    (tmp_path / "x.gz").write_bytes(data)
    with Source(tmp_path / "x.gz") as source:
        size = sum(len(piece) for piece in source)
        assert source.damage
    assert size == len(zlib.decompressobj(31).decompress(data))


@pytest.mark.parametrize(("magic", "tool"), [(b"\x28\xb5\x2f\xfd", "zstd"), (b"\xfd7zXZ", "xz"),
                                             (b"BZh9", "bzip2")])  # fmt: skip
def test_other_packers(magic: bytes, tool: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(magic + bytes(20))
    with pytest.raises(UserError, match=f"packed by {tool}"):
        sniff(tmp_path / "x")


def test_what_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.symlink_to(path)
    with pytest.raises(UserError, match=r"x\.log"):
        read(path)


class Typed(io.RawIOBase):
    """Standard input that gives what it is told, piece by piece."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces, self.buffer = pieces, self

    def read1(self, size: int) -> bytes:
        if self.pieces and len(self.pieces[0]) > size:
            whole = self.pieces[0]
            self.pieces[0] = whole[size:]
            return whole[:size]
        return self.pieces.pop(0) if self.pieces else b""


@pytest.mark.parametrize("size", [1, 7, 100, 1 << 20])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_standard_input(size: int, pack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pack(log(0, 20).encode())
    pieces = [data[k : k + size] for k in range(0, len(data), size)]
    monkeypatch.setattr(sys, "stdin", Typed(pieces))
    reading = read("-")
    assert reading.source == "zeek"
    assert len(reading.all()) == 20
    assert reading.refused == 0


def test_standard_input_gives_flows_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Typed([HEAD.encode(), log(0, 1, "").encode(), log(1, 1, "").encode()])
    monkeypatch.setattr(sys, "stdin", stream)
    flows = iter(read("-"))
    assert next(flows)["record"].tolist() == ["C0"]
    assert len(stream.pieces) == 1, "it must not wait for more than it gives"
    assert next(flows)["record"].tolist() == ["C1"]


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_text(log(0, 4)))
    writer.start()
    reading = read(path)
    assert len(reading.all()) == 4
    writer.join()


class Endless(io.RawIOBase):
    """Standard input of so many lines, made as they are read."""

    def __init__(self, lines: int) -> None:
        self.pieces = self._made(lines)
        self.buffer = self

    def _made(self, lines: int) -> Iterator[bytes]:
        yield HEAD.encode()
        for k in range(0, lines, 5000):
            yield log(k, 5000, "").replace("C", 160 * "C").encode() + b"bad\n"

    def read1(self, size: int) -> bytes:
        return next(self.pieces, b"")


@pytest.mark.slow
def test_gigabytes_stream_through(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = []
    for lines in (25_000, 250_000):  # 5 and 50 MB
        monkeypatch.setattr(sys, "stdin", Endless(lines))
        reading = read("-", "zeek")
        tracemalloc.start()
        count = sum(len(piece) for piece in reading)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert count == lines and reading.refused == lines // 5000
    assert peaks[1] < 1.2 * peaks[0]
    assert peaks[1] < 64 << 20


def test_a_piece_holds_something(tmp_path: Path) -> None:
    (tmp_path / "1.log").write_text(log(0, 1))
    with pytest.raises(UserError, match="at least one"):
        read(tmp_path / "1.log", batch=0)
