"""Following a log of flows that grows, is rotated, truncated, lost; stopping and going on."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lstmkit.errors import UserError
from lstmkit.readers.flows.following import Follower
from lstmkit.readers.flows.zeek import ZeekDecoder

HEAD = "#separator \\x09\n#fields\tts\tuid\tid.orig_h\tid.resp_h\tproto\tduration\tconn_state\n"


def line(k: int) -> str:
    return f"{k}.5\tC{k}\t10.0.0.1\t10.0.0.2\ttcp\t1\tSF\n"


def lines(*numbers: int) -> str:
    return "".join(map(line, numbers))


class Log:
    """A log that a test writes, and what a follower read of it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "conn.log"
        self.follower = self.follow()
        self.read: list[str] = []

    def follow(self, place: object = None) -> Follower:
        return Follower(self.path, ZeekDecoder, place)

    def write(self, text: str, mode: str = "a") -> None:
        with self.path.open(mode) as file:
            file.write(text)

    def rotate(self, name: str = "conn.1.log") -> Path:
        return self.path.rename(self.path.parent / name)

    def poll(self, times: int = 4, most: int = 1 << 20) -> list[str]:
        """Records that are new."""
        found: list[str] = []
        for _ in range(times):
            found += self.follower.poll(most)["record"].tolist()
        self.read += found
        return found

    def stop_and_go_on(self, between: Callable[[], object] = lambda: None) -> None:
        place = json.loads(json.dumps(self.follower.place()))
        self.follower.close()
        between()
        self.follower = self.follow(place)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    found = Log(tmp_path)
    yield found
    found.follower.close()


def test_a_log_that_is_not_there_yet(log: Log) -> None:
    assert log.follower.waiting and log.poll() == []
    log.write(HEAD + lines(0, 1))
    assert not log.follower.waiting
    assert log.poll() == ["C0", "C1"]
    assert log.poll() == []
    assert log.follower.answered == 2 and log.follower.notes == []


def test_half_a_line_waits_for_its_end(log: Log) -> None:
    log.write(HEAD + lines(0) + line(1)[:9])
    assert log.poll() == ["C0"]
    log.write(line(1)[9:-1])
    assert log.poll() == []
    log.write("\n")
    assert log.poll() == ["C1"]


def test_so_many_bytes_at_once(log: Log) -> None:
    log.write(HEAD + lines(*range(20)))
    assert log.poll(1, 200) == ["C0", "C1", "C2"]
    assert len(log.poll(40, 60)) == 17


def test_rotation(log: Log) -> None:
    log.write(HEAD + lines(0))
    assert log.poll() == ["C0"]
    log.write(lines(1))
    log.rotate()
    log.write(HEAD.replace("\tduration", "") + line(2).replace("\t1\t", "\t"))
    assert log.poll() == ["C1", "C2"]
    assert log.follower.rotated == 1 and "rotated" in log.follower.notes[0]
    assert log.follower.refused == 0
    log.write("bad\n" + line(3).replace("\t1\t", "\t"))
    assert log.poll() == ["C3"]
    assert "conn.log:4: 1 cells instead of 6" in log.follower.notes


def test_what_is_written_to_the_old_file_after_it_was_renamed(log: Log) -> None:
    log.write(HEAD + lines(0))
    assert log.poll() == ["C0"]
    old = log.rotate()
    log.path.touch()  # logrotate makes the new file before the writer knows
    assert log.poll() == []
    with old.open("a") as file:
        file.write(lines(1))
    assert log.poll() == ["C1"]
    log.write(HEAD + lines(2))
    assert log.poll() == ["C2"]


def test_a_rotation_right_after_a_look(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    log.write(HEAD + lines(0))
    assert log.poll() == ["C0"]
    read, rotated = log.follower._read, []

    def read_then_rotate(most: int) -> bytes:
        data = read(most)
        if not rotated:
            rotated.append(True)
            log.write(lines(1))
            log.rotate()
            log.write(HEAD + lines(2))
        return data

    monkeypatch.setattr(log.follower, "_read", read_then_rotate)
    assert log.poll() == ["C1", "C2"]


def test_an_old_file_is_read_to_its_end_in_pieces_without_flows(log: Log) -> None:
    log.write(HEAD)
    log.poll()
    log.write("#comment\n" * 100 + "bad\n" * 100 + lines(1))
    log.rotate()
    log.write(HEAD + lines(2))
    assert log.poll(200, 16) == ["C1", "C2"]
    assert log.follower.refused == 100


def test_the_last_line_of_an_old_file_without_its_end(log: Log) -> None:
    log.write(HEAD + lines(0) + line(1)[:-1])
    assert log.poll() == ["C0"]
    log.rotate()
    log.write(HEAD + lines(2))
    assert log.poll() == ["C1", "C2"]


def test_deleted_and_made_again(log: Log) -> None:
    log.write(HEAD + lines(0))
    assert log.poll() == ["C0"]
    log.path.unlink()
    assert log.follower.waiting and log.poll() == []
    log.write(HEAD + lines(1))
    assert log.poll() == ["C1"]


def test_copied_and_truncated(log: Log) -> None:
    log.write(HEAD + lines(*range(10)))
    assert len(log.poll()) == 10
    shutil.copy(log.path, log.path.with_name("conn.1.log"))
    log.write("", "w")
    log.write(HEAD + lines(10))
    assert log.poll() == ["C10"]
    assert log.follower.truncated == 1 and "truncated" in log.follower.notes[0]


def test_half_a_line_before_a_truncation_is_no_flow(log: Log) -> None:
    log.write(HEAD + lines(*range(10)) + line(123)[:-1])
    assert len(log.poll()) == 10
    log.write(HEAD + lines(11), "w")
    assert log.poll() == ["C11"]
    assert "lost" in log.follower.notes[0]


@pytest.mark.parametrize("more", [1, 5, 30])
def test_another_content_in_the_same_file(log: Log, more: int) -> None:
    log.write(HEAD + lines(*range(5)))
    inode = log.path.stat().st_ino
    assert len(log.poll()) == 5
    other = HEAD.replace("#fields", "#open\t2026\n#fields")
    log.write(other + lines(*range(100, 100 + more)), "r+")
    os.truncate(log.path, len(other) + len(lines(*range(100, 100 + more))))
    assert log.path.stat().st_ino == inode
    assert log.poll() == [f"C{k}" for k in range(100, 100 + more)]
    assert log.follower.truncated == 1


@pytest.mark.parametrize("cut", [0, 1, 9, 30])
def test_going_on_in_the_middle_of_a_line(log: Log, cut: int) -> None:
    log.write(HEAD + lines(0) + line(1)[:cut])
    assert log.poll() == ["C0"]
    log.stop_and_go_on(lambda: log.write(line(1)[cut:] + lines(2)))
    assert log.poll() == ["C1", "C2"]
    assert log.follower.answered == 3 and log.follower.notes == []


def test_line_numbers_go_on(log: Log) -> None:
    log.write(HEAD + lines(0))
    log.poll()
    log.stop_and_go_on(lambda: log.write("bad\n"))
    log.poll()
    assert "conn.log:4: 1 cells instead of 7" in log.follower.notes


def test_going_on_after_a_rotation(log: Log) -> None:
    log.write(HEAD + lines(0) + line(1)[:5])
    assert log.poll() == ["C0"]

    def rotated() -> None:
        log.write(line(1)[5:] + lines(2))
        log.rotate("conn.2026-11-01-10-00-00.log")
        log.write(HEAD + lines(3))

    log.stop_and_go_on(rotated)
    assert log.poll() == ["C1", "C2", "C3"]
    assert "going on in conn.2026-11-01-10-00-00.log" in log.follower.notes[0]


def test_going_on_while_the_new_log_is_not_there(log: Log) -> None:
    log.write(HEAD + lines(0))
    log.poll()
    log.stop_and_go_on(lambda: (log.write(lines(1)), log.rotate()))
    assert log.follower.waiting
    assert log.poll() == ["C1"]
    log.write(HEAD + lines(2))
    assert log.poll() == ["C2"]


def test_going_on_in_the_copy_after_a_truncation(log: Log) -> None:
    log.write(HEAD + lines(*range(10)))
    assert len(log.poll()) == 10

    def copied() -> None:
        log.write(lines(10))
        shutil.copy(log.path, log.path.with_name("conn.log.1"))
        log.write(HEAD + lines(11), "w")

    log.stop_and_go_on(copied)
    assert log.poll() == ["C10", "C11"]


def test_what_was_packed_meanwhile_is_said_to_be_lost(log: Log) -> None:
    log.write(HEAD + lines(*range(10)))
    log.poll()

    def zipped() -> None:
        log.write(lines(10))
        old = log.rotate()
        (old.parent / "conn.1.log.gz").write_bytes(gzip.compress(old.read_bytes()))
        log.write(HEAD + lines(11))
        old.unlink()

    log.stop_and_go_on(zipped)
    assert log.poll() == ["C11"]
    assert log.follower.notes[0].startswith("lost:")
    assert log.follower.answered == 11


def test_files_that_only_begin_alike_are_not_gone_on_in(log: Log) -> None:
    log.write(HEAD + lines(0))
    log.poll()

    def replaced() -> None:
        (log.path.parent / "conn.old.log").write_text(HEAD + lines(0, 7))
        log.path.unlink()
        log.write(HEAD + lines(5))

    log.stop_and_go_on(replaced)
    assert log.poll() == ["C5"]


def test_files_that_came_between_are_named(log: Log) -> None:
    log.write(HEAD + lines(0))
    log.poll()

    def twice() -> None:
        first = log.rotate("conn.1.log")
        os.utime(first, (1, 1))
        log.write(HEAD + lines(1))
        log.rotate("conn.2.log")
        log.write(HEAD + lines(2))

    log.stop_and_go_on(twice)
    assert log.poll() == ["C2"]
    assert any("lost: conn.2.log" in note for note in log.follower.notes)


def test_a_place_before_the_log_was_there(log: Log) -> None:
    log.poll()
    log.stop_and_go_on(lambda: log.write(HEAD + lines(0)))
    assert log.poll() == ["C0"] and log.follower.notes == []


def test_another_log_with_the_same_inode_is_not_gone_on_in(log: Log) -> None:
    log.write(HEAD + lines(*range(10)))
    log.poll()
    other = HEAD.replace("#fields", "#open\t2026\n#fields")
    log.stop_and_go_on(lambda: log.write(other + lines(*range(50, 80)), "w"))
    assert log.poll() == [f"C{k}" for k in range(50, 80)]
    assert log.follower.notes[0].startswith("lost:")


STEPS = st.lists(
    st.sampled_from(["line", "half", "rotate", "poll", "stop", "bad", "stop and rotate"]),
    max_size=25,
)


@settings(max_examples=20, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(steps=STEPS, most=st.sampled_from([40, 200, 1 << 20]))
def test_no_line_is_lost_or_read_twice(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], most: int
) -> None:
    """Whatever happens in whatever order, as long as each rotated file is looked at in time."""
    log = Log(tmp_path_factory.mktemp("log"))
    log.write(HEAD)
    written, half, rotated = 0, "", 0
    for step in steps:
        if step in ("line", "half"):
            text = half + (line(written) if not half else "")
            cut = len(text) // 2 if step == "half" else len(text)
            log.write(text[:cut])
            half, written = text[cut:], written + (not half)
        elif step == "bad" and not half:
            log.write("bad\n")
        elif step == "rotate":
            log.write(half)
            log.poll(2000 // most + 4, most)
            log.rotate(f"conn.{rotated}.log")
            half, rotated = "", rotated + 1
            log.write(HEAD)
            log.poll(2000 // most + 4, most)
        elif step == "stop":
            log.stop_and_go_on()
        elif step == "stop and rotate":
            name = f"conn.{rotated}.log"
            log.poll(2000 // most + 4, most)
            log.stop_and_go_on(
                lambda h=half, n=name: (log.write(h), log.rotate(n), log.write(HEAD))
            )
            half, rotated = "", rotated + 1
            log.poll(2000 // most + 4, most)
        else:
            log.poll(1, most)
    log.write(half)
    log.poll(3000 // most + 4, most)
    assert log.read == [f"C{k}" for k in range(written)]
    assert log.follower.answered == written
    log.follower.close()


def test_what_cannot_be_followed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    packed = tmp_path / "x.gz"
    packed.write_bytes(gzip.compress(b"x"))
    for path in (tmp_path, tmp_path / "pipe", packed):
        with pytest.raises(UserError, match="cannot be followed"):
            Follower(path, ZeekDecoder).poll()


def test_another_log_of_zeek_is_named(log: Log) -> None:
    log.write("#separator \\x09\n#path\tdns\n")
    with pytest.raises(UserError, match=r"conn\.log: this Zeek log holds no flows"):
        log.poll()


@pytest.mark.parametrize("place", [{}, {"known": [1]}, {"known": 5, "counts": [0, 0]},
                                   {"known": None, "counts": [0, 0], "offset": 0,
                                    "decoder": '{"format": "eve"}'}])  # fmt: skip
def test_what_is_no_place(log: Log, place: object) -> None:
    with pytest.raises(UserError, match="no place"):
        log.follow(place)
