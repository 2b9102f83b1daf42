"""Texts in pieces: nothing is lost at their borders, and what is no text is refused."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmkit.errors import UserError
from lstmkit.readers import texts


def whole(data: object, **options: object) -> str:
    return "".join(texts.texts(data, **options))


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff"), min_size=1),
    st.integers(1, 7),
)
def test_pieces_of_any_size_give_the_text(text: str, at_once: int) -> None:
    found = whole(io.BytesIO(text.encode()), at_once=at_once)
    assert found == text.replace("\r\n", "\n").replace("\r", "\n")


def test_files_follow_each_other_on_lines_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("two\n")
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone")
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress("thr\u00e9\u00e9".encode()))
    (tmp_path / ".hidden").write_text("no")
    assert whole(tmp_path) == "one\ntwo\nthr\u00e9\u00e9"
    assert [p.name for p in texts.files(tmp_path)] == ["a.txt", "b.txt", "c.txt.gz"]
    assert whole(str(tmp_path / "*.txt")) == "one\ntwo\n"
    assert whole([tmp_path / "b.txt", tmp_path / "b.txt"]) == "two\ntwo\n"
    assert b"".join(texts.pieces(tmp_path / "c.txt.gz")).decode() == "thr\u00e9\u00e9"


def test_lines_are_whole_whatever_the_pieces() -> None:
    assert list(texts.lines(iter(["a", "b\nc", "\n", "\nd"]))) == ["ab", "c", "", "d"]
    assert list(texts.lines(iter(["a\n"]))) == ["a"]


@pytest.mark.parametrize(
    ("raw", "encoding", "said"),
    [
        (b"", "utf-8", "empty"),
        (b"ab\0c", "utf-8", "a byte 0 at 2"),
        (b"caf\xe9 au lait", "utf-8", "byte 0xe9 at 3"),
        ("\ufeffabc".encode("utf-16-le"), "utf-8", "--encoding utf-16"),
        (b"abc\xe2\x82", "utf-8", "not utf-8"),
        (b"abc", "klingon", "no such encoding"),
        (gzip.compress(b"abc" * 999, mtime=0)[:-9], "utf-8", "cannot be read"),
    ],
)
def test_what_is_no_text_is_refused(raw: bytes, encoding: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(raw)
    for at_once in (4, 1 << 20):
        with pytest.raises(UserError, match=said):
            whole(path, encoding=encoding, at_once=at_once)


def test_other_encodings_are_read(tmp_path: Path) -> None:
    for encoding in ("latin-1", "utf-16"):
        path = tmp_path / encoding
        path.write_bytes("caf\xe9\n".encode(encoding))
        assert whole(path, encoding=encoding, at_once=1) == "caf\xe9\n"


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    for data in (tmp_path / "gone.txt", tmp_path, 3, []):
        with pytest.raises(UserError):
            whole(data)
