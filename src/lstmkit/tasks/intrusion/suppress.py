"""Rules for alerts that are known and not to be told: `--suppress FILE`.

One rule a line; all of its conditions must hold. What follows `#` is a comment.

    host=10.0.0.5 class=scan              # the vulnerability scanner
    host=10.1.0.0/16 dport=161-162 proto=udp
    dst=203.0.113.7 severity=medium until=2026-12-01

host, src, dst    an address or a network
sport, dport      a port or a range of them
proto, service, class    a word, or several with commas between
severity          at most: low, medium, high or critical
until             a date, the last day on which the rule holds, by the alert's time (UTC)

A class of two words is written with an underscore: class=brute_force. No torch.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from lstmkit.errors import UserError

SEVERITIES = ("low", "medium", "high", "critical")
ADDRESSES, PORTS, WORDS = ("host", "src", "dst"), ("sport", "dport"), ("proto", "service", "class")
FIELDS = (*ADDRESSES, *PORTS, *WORDS, "severity", "until")
MOST_RULES = 10_000
LONGEST = 1 << 22  # characters of a file of rules

Alert = Mapping[str, Any]
Test = Callable[[Alert], bool]


class Suppressions:
    """Rules in the order of their lines.

    Attributes:
        counts: how many alerts each rule was the first to match, by its line.
    """

    def __init__(self, rules: Mapping[int, Sequence[Test]]) -> None:
        self._rules = dict(rules)
        self.counts = dict.fromkeys(rules, 0)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Suppressions:
        """The rules of a file.

        Raises:
            UserError: it cannot be read, or a line is no rule.
        """
        rules = {}
        for number, line in enumerate(_text(path).split("\n"), 1):
            conditions = line.partition("#")[0].split()
            if conditions:
                rules[number] = [_condition(text, f"{path}:{number}") for text in conditions]
        if len(rules) > MOST_RULES:
            raise UserError(f"{path} has too many rules", got=f"{len(rules):,}",
                            expected=f"at most {MOST_RULES:,}")  # fmt: skip
        return cls(rules)

    def match(self, alert: Alert) -> int | None:
        """The line of the first rule that holds for an alert; None where none does."""
        for number, tests in self._rules.items():
            if all(test(alert) for test in tests):
                self.counts[number] += 1
                return number
        return None


def _text(path: str | os.PathLike[str]) -> str:
    try:
        with Path(path).open(encoding="utf-8-sig") as file:
            found = file.read(LONGEST + 1)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read", got=str(error)[:80]) from error
    if len(found) > LONGEST:
        raise UserError(f"{path} is too long", expected=f"at most {LONGEST:,} characters")
    return found


def _condition(text: str, where: str) -> Test:
    name, equals, value = text.partition("=")
    if name not in FIELDS or not equals or not value:
        raise _wrong(where, text, f"NAME=VALUE with a name of {', '.join(FIELDS)}")
    if name in ADDRESSES:
        return _address(name, value, where)
    if name in PORTS:
        return _port(name, value, where)
    if name in WORDS:
        words = {w.replace("_", " ").lower() for w in value.split(",")}
        if "" in words:
            raise _wrong(where, text, "a word, or several with commas between")
        return lambda alert: str(_of(alert, name)).replace("_", " ").lower() in words
    if name == "severity":
        return _severity(value, where)
    return _until(value, where)


def _of(alert: Alert, name: str) -> Any:
    return alert[name] if name in ("host", "class") else alert["flow"].get(name, "")


def _address(name: str, value: str, where: str) -> Test:
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise _wrong(where, value, "an address or a network, such as 10.0.0.0/8") from None

    def test(alert: Alert) -> bool:
        try:
            found = ipaddress.ip_address(_of(alert, name))
        except ValueError:
            return False
        mapped = getattr(found, "ipv4_mapped", None)
        return found in network or (mapped is not None and mapped in network)

    return test


def _port(name: str, value: str, where: str) -> Test:
    low, dash, high = value.partition("-")
    ends = (low, high if dash else low)
    if not all(end.isascii() and end.isdigit() and len(end) <= 5 for end in ends):
        ends = ("-1", "-1")
    first, last = map(int, ends)
    if not 0 <= first <= last <= 65535:
        raise _wrong(where, value, "a port, or a range such as 1000-2000")
    return lambda alert: first <= int(_of(alert, name)) <= last


def _severity(value: str, where: str) -> Test:
    if value not in SEVERITIES:
        raise _wrong(where, value, ", ".join(SEVERITIES))
    most = SEVERITIES.index(value)
    return lambda alert: SEVERITIES.index(alert["severity"]) <= most


def _until(value: str, where: str) -> Test:
    try:
        last = date.fromisoformat(value).isoformat()
    except ValueError:
        raise _wrong(where, value, "a date such as 2026-12-01") from None
    return lambda alert: "" < str(alert["time"])[:10] <= last


def _wrong(where: str, got: str, expected: str) -> UserError:
    return UserError(f"{where} is no rule", got=got[:80], expected=expected,
                     hint="host=10.0.0.5 class=scan dport=1000-2000")  # fmt: skip
