"""Rules for alerts that are not to be told: what they match, and what is no rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lstmkit.errors import UserError
from lstmkit.tasks.intrusion import suppress
from lstmkit.tasks.intrusion.suppress import FIELDS, Suppressions

FLOW = {
    "src": "10.0.0.5", "dst": "203.0.113.7", "sport": 50_000, "dport": 443, "proto": "tcp",
    "service": "ssl", "state": "SF",
}  # fmt: skip


def alert(**changes: Any) -> dict[str, Any]:
    flow = {**FLOW, **{k: v for k, v in changes.items() if k in FLOW}}
    found = {"host": flow["src"], "class": "brute force", "severity": "medium",
             "time": "2026-11-23T10:00:00.000000Z", "flow": flow}  # fmt: skip
    return found | {k: v for k, v in changes.items() if k not in FLOW}


@pytest.fixture()
def rules(tmp_path):
    path = tmp_path / "rules.txt"

    def read(text: str | bytes) -> Suppressions:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return Suppressions.read(path)

    return read


HOLDS = [
    ("host=10.0.0.5", {}, {"host": "10.0.0.6"}),
    ("host=10.0.0.0/29", {"host": "10.0.0.7"}, {"host": "10.0.0.8"}),
    ("host=10.0.0.5/29", {"host": "10.0.0.1"}, {"host": "10.0.0.8"}),
    ("host=0.0.0.0/0", {"host": "8.8.8.8"}, {"host": "2001:db8::1"}),
    ("host=2001:db8::/32", {"host": "2001:db8:5::1"}, {"host": "2001:db9::1"}),
    ("host=2001:DB8:0::1", {"host": "2001:db8::1"}, {"host": "2001:db8::2"}),
    ("host=::/0", {"host": "fe80::1%eth0"}, {"host": "10.0.0.5"}),
    ("host=10.0.0.0/8", {"host": "::ffff:10.0.0.5"}, {"host": "::ffff:11.0.0.5"}),
    ("host=::ffff:10.0.0.5", {"host": "::ffff:10.0.0.5"}, {"host": "10.0.0.5"}),
    ("host=0.0.0.0/0", {}, {"host": ""}),
    ("host=0.0.0.0/0", {}, {"host": "printer"}),
    ("src=10.0.0.5", {"host": "8.8.8.8"}, {"src": "10.0.0.6", "host": "10.0.0.5"}),
    ("dst=203.0.113.0/24", {}, {"dst": "203.0.114.7"}),
    ("dport=443", {}, {"dport": 444}),
    ("dport=440-443", {"dport": 440}, {"dport": 439}),
    ("dport=443-450", {}, {"dport": 451}),
    ("dport=0-65535", {"dport": 0}, {"dport": -1}),
    ("sport=50000", {}, {"sport": 50_001}),
    ("sport=50000", {"dport": 1}, {"sport": 443, "dport": 50_000}),
    ("proto=tcp", {}, {"proto": "udp"}),
    ("proto=UDP,icmp", {"proto": "icmp"}, {}),
    ("service=ssl,http", {"service": "http"}, {"service": "dns"}),
    ("service=ssl", {}, {"service": ""}),
    ("class=brute_force", {}, {"class": "brute"}),
    ("class=scan,Brute_Force", {}, {"class": "force"}),
    ("class=web_attack_-_xss", {"class": "Web Attack - XSS"}, {}),
    ("class=a_b", {"class": "a_b"}, {}),
    ("severity=medium", {"severity": "low"}, {"severity": "high"}),
    ("severity=low", {"severity": "low"}, {}),
    ("severity=critical", {"severity": "critical"}, None),
    ("until=2026-11-23", {}, {"time": "2026-11-24T00:00:00.000000Z"}),
    ("until=2026-11-23", {"time": "2026-11-23T23:59:59.999999Z"}, {"time": ""}),
    ("until=2027-01-01", {}, {"time": "2027-01-02T00:00:00.000000Z"}),
    ("host=10.0.0.5 dport=443", {}, {"dport": 80}),
    ("host=10.0.0.5 dport=443", {}, {"host": "10.0.0.6"}),
    ("dport=400-500 dport=443-600", {}, {"dport": 442}),
]


@pytest.mark.parametrize(("rule", "yes", "no"), HOLDS)
def test_a_rule_holds_for_what_it_names_and_nothing_else(rules, rule, yes, no):
    found = rules(rule)
    assert found.match(alert(**yes)) == 1
    if no is not None:
        assert found.match(alert(**no)) is None


def test_every_field_is_told_here():
    assert {part.partition("=")[0] for rule, _, _ in HOLDS for part in rule.split()} == set(FIELDS)


def test_the_severities_are_those_of_the_alerts():
    from lstmkit.tasks.intrusion import alerts

    assert suppress.SEVERITIES == alerts.SEVERITIES


# --- files


def test_the_first_rule_that_holds_is_counted_by_its_line(rules):
    found = rules(
        "# the scanner\n\n  host=10.0.0.5 class=scan  # on Mondays\r\ndport=443 #\n\nproto=tcp\n"
    )
    told = [alert(**{"class": "scan"}), alert(), alert(), alert(dport=1), alert(proto="udp")]
    assert [found.match(one) for one in told] == [3, 4, 4, 6, 4]
    assert found.match(alert(proto="udp", dport=1)) is None
    assert found.counts == {3: 1, 4: 3, 6: 1}


def test_an_empty_file_holds_for_nothing(rules):
    for text in ("", "\n\n", "# host=10.0.0.5\n", "\ufeff"):
        found = rules(text)
        assert found.match(alert()) is None and found.counts == {}


def test_a_mark_at_the_beginning_of_the_file_is_no_part_of_a_rule(rules):
    assert rules("\ufeffhost=10.0.0.5").match(alert()) == 1


def test_lines_are_counted_as_editors_count_them(rules):
    found = rules("# a\u2028b\x0cc\x85d\nhost=10.0.0.5\r\n")
    assert found.match(alert()) == 2


@pytest.mark.parametrize(
    ("text", "line", "got", "expected"),
    [
        ("10.0.0.5", 1, "10.0.0.5", "NAME=VALUE with a name of host, src, dst, sport, dport"),
        ("\n\nhots=10.0.0.5", 3, "hots=10.0.0.5", "NAME=VALUE"),
        ("host=", 1, "host=", "NAME=VALUE"),
        ("=5", 1, "=5", "NAME=VALUE"),
        ("HOST=10.0.0.5", 1, "HOST=10.0.0.5", "NAME=VALUE"),
        ("host = 10.0.0.5", 1, "host", "NAME=VALUE"),
        ("host=10.0.0.256", 1, "10.0.0.256", "an address or a network, such as 10.0.0.0/8"),
        ("host=10.0.0.0/33", 1, "10.0.0.0/33", "an address or a network"),
        ("host=printer", 1, "printer", "an address or a network"),
        ("#\ndst=10.0.0.1,10.0.0.2", 2, "10.0.0.1,10.0.0.2", "an address or a network"),
        ("dport=http", 1, "http", "a port, or a range such as 1000-2000"),
        ("dport=65536", 1, "65536", "a port"),
        ("dport=-1", 1, "-1", "a port"),
        ("dport=80-", 1, "80-", "a port"),
        ("dport=90-80", 1, "90-80", "a port"),
        ("dport=1-2-3", 1, "1-2-3", "a port"),
        ("dport=8_0", 1, "8_0", "a port"),
        ("dport=+80", 1, "+80", "a port"),
        ("dport=\u0668\u0660", 1, "\u0668\u0660", "a port"),
        ("dport=" + "9" * 5000, 1, "9" * 80, "a port"),
        ("service=http,", 1, "service=http,", "a word, or several with commas between"),
        ("severity=Medium", 1, "Medium", "low, medium, high, critical"),
        ("severity=3", 1, "3", "low, medium, high, critical"),
        ("until=tomorrow", 1, "tomorrow", "a date such as 2026-12-01"),
        ("until=2026-02-30", 1, "2026-02-30", "a date"),
        ("host=10.0.0.5\nhost=10.0.0.6 until=2026", 2, "2026", "a date"),
    ],
)
def test_what_is_no_rule_is_told_with_its_line(rules, tmp_path, text, line, got, expected):
    with pytest.raises(UserError) as caught:
        rules(text)
    error = caught.value
    assert error.what == f"{tmp_path / 'rules.txt'}:{line} is no rule"
    assert error.got == got and error.expected.startswith(expected)
    assert rules(error.hint).counts == {1: 0}  # the hint is a rule itself


def test_a_file_that_cannot_be_read_is_told(rules, tmp_path):
    for path in (tmp_path / "none", tmp_path, f"{tmp_path}/a\0b"):
        with pytest.raises(UserError, match="cannot be read"):
            Suppressions.read(path)
    for text in (b"host=10.0.0.5 # caf\xe9", "host=10.0.0.5".encode("utf-16")):
        with pytest.raises(UserError, match=r"rules\.txt cannot be read"):
            rules(text)


def test_too_many_rules_and_too_long_a_file_are_refused(rules, monkeypatch):
    monkeypatch.setattr(suppress, "MOST_RULES", 3)
    assert len(rules("dport=1\n# more\n" + "dport=2\n" * 2).counts) == 3
    with pytest.raises(UserError, match="too many rules") as caught:
        rules("dport=1\n" * 4)
    assert (caught.value.got, caught.value.expected) == ("4", "at most 3")
    monkeypatch.setattr(suppress, "LONGEST", 20)
    assert rules("dport=1\n############").counts == {1: 0}
    with pytest.raises(UserError, match="too long"):
        rules("dport=1\n#############")


SPICE = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.tuples(
            st.sampled_from([*FIELDS, "x", ""]),
            st.sampled_from(["=", "", "=="]),
            st.one_of(
                st.text(max_size=12),
                st.from_regex(r"[0-9a-f.:/\-,_%]{1,16}", fullmatch=True),
                st.ip_addresses().map(str),
                st.dates().map(str),
                st.sampled_from(["low", "1-2", "10.0.0.0/8", "2026-W01-1"]),
            ),
        ).map("".join),
        max_size=4,
    ).map(" ".join),
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=SPICE, told=st.sampled_from([alert(), alert(host="", time="", dport=-1)]))
@example(text="until=20261201", told=alert())
@example(text="host=10.0.0.5 host=fe80::1%eth0", told=alert())
def test_no_text_is_more_than_rules_or_a_user_error(tmp_path, text, told):
    path = Path(tmp_path) / "any.txt"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        found = Suppressions.read(path)
    except UserError as error:
        assert (str(path) in error.what and error.expected) or "cannot be read" in error.what
    else:
        assert found.match(told) in (None, *found.counts)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(low=st.integers(0, 65535), high=st.integers(0, 65535), port=st.integers(-1, 65535))
def test_a_range_holds_from_end_to_end(tmp_path, low, high, port):
    path = Path(tmp_path) / "range.txt"
    path.write_text(f"dport={min(low, high)}-{max(low, high)}")
    held = Suppressions.read(path).match(alert(dport=port)) == 1
    assert held is (min(low, high) <= port <= max(low, high))
