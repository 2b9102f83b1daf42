"""Rules for alerts that are not to be told."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmkit.errors import UserError
from lstmkit.tasks.intrusion.suppress import Suppressions

ALERT = {
    "host": "10.1.2.3", "class": "brute force", "severity": "medium",
    "time": "2026-11-30T23:59:59Z",
    "flow": {"src": "10.1.2.3", "dst": "2001:db8::5", "sport": 4000, "dport": 22, "proto": "tcp",
             "service": "ssh"},
}  # fmt: skip


def matched(tmp_path: Path, text: str) -> int | None:
    path = tmp_path / "rules"
    path.write_text(text)
    return Suppressions.read(path).match(ALERT)


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ("host=10.1.2.3", True),
        ("host=10.1.0.0/16", True),
        ("host=10.2.0.0/16", False),
        ("dst=2001:db8::/32", True),
        ("dst=10.0.0.0/8", False),
        ("src=10.1.2.3 sport=4000", True),
        ("dport=20-30", True),
        ("dport=23-30", False),
        ("class=brute_force", True),
        ("class=scan,brute_force", True),
        ("class=scan", False),
        ("proto=udp,tcp service=ssh", True),
        ("severity=medium", True),
        ("severity=critical", True),
        ("severity=low", False),
        ("until=2026-11-30", True),
        ("until=2026-11-29", False),
        ("host=10.1.2.3 class=scan", False),
    ],
)
def test_a_rule_holds_where_all_of_it_does(tmp_path: Path, rule: str, holds: bool) -> None:
    assert matched(tmp_path, rule) == (1 if holds else None)


def test_comments_and_lines_are_counted(tmp_path: Path) -> None:
    (tmp_path / "rules").write_text("# all\n\nclass=scan\nhost=10.1.2.3 # the scanner\n")
    rules = Suppressions.read(tmp_path / "rules")
    assert rules.match(ALERT) == rules.match(ALERT) == 4
    assert rules.counts == {3: 0, 4: 2}


@pytest.mark.parametrize(
    "rule",
    ["host", "host=", "what=1", "host=10.0.0.0/33", "dport=70000", "dport=9-3", "dport=x",
     "severity=bad", "until=tomorrow", "class=scan nonsense"],
)  # fmt: skip
def test_what_is_no_rule_is_named_with_its_line(tmp_path: Path, rule: str) -> None:
    (tmp_path / "rules").write_text(f"class=scan\n{rule}\n")
    with pytest.raises(UserError, match="rules:2 is no rule"):
        Suppressions.read(tmp_path / "rules")


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        Suppressions.read(tmp_path / "none")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read"):
        Suppressions.read(tmp_path / "bytes")


@given(st.text(max_size=60))
def test_any_text_is_rules_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_text(text, encoding="utf-8", errors="replace", newline="")
    with contextlib.suppress(UserError):
        Suppressions.read(path).match(ALERT)
