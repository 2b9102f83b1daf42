"""Why a flow alarmed, in words."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import office
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstmkit.readers.flows import flows
from lstmkit.tasks.intrusion import reasons
from lstmkit.tasks.intrusion.features import EXPECTED_WORDS, WORDS
from lstmkit.tasks.intrusion.reasons import Past
from lstmkit.tasks.intrusion.watch import Judged

CLASSES = ("benign", "scan", "beacon")
ONE = Past(1000.0, "C0", "10.0.0.1", "10.0.0.9", 443, "tcp", "SF", 100.0, 100.0, 2.0)


def past(times: Sequence[float], **columns: object) -> list[Past]:
    """Flows at times; a column is one value or one for each."""
    each = {k: v if isinstance(v, list) else [v] * len(times) for k, v in columns.items()}
    return [
        ONE._replace(time=1000.0 + t, **{name: values[k] for name, values in each.items()})
        for k, t in enumerate(times)
    ]


def judged(
    classes: tuple[float, ...] = (0.1, 0.85, 0.05),
    chances: dict[str, float] | None = None,
    likely: dict[str, tuple[str, float]] | None = None,
    measures: int = 3,
) -> Judged:
    """Two flows of which the second is asked about."""
    given = np.array([[1.0, 0, 0], classes])
    chance, best, most = np.zeros((2, 4)), np.zeros((2, 4), int), np.zeros((2, 4))
    for name, value in (chances or {}).items():
        chance[1, EXPECTED_WORDS.index(name)] = value
    for name, (word, share) in (likely or {}).items():
        k = EXPECTED_WORDS.index(name)
        best[1, k], most[1, k] = WORDS[name].index(word), share
    each = np.full((2, measures), 5.0)
    return Judged(each[:, 0].copy(), each, each, given, chance, best, most)


def said(**given: object) -> list[str]:
    return reasons.of(judged(**given), 1, CLASSES, "scan", [])


# --- what a host did


@pytest.mark.parametrize(("count", "told"), [(3, False), (4, True), (30, True)])
def test_ports_of_one_destination_are_counted(count, told):
    found = reasons.done(past(range(0, 10 * count, 10), dport=[80 + k for k in range(count)]))
    wanted = f"{count} ports of 10.0.0.9 in {10 * (count - 1)} s"
    assert (found == [wanted.replace("290 s", "4.83 min")]) is told


def test_ports_of_other_destinations_are_not_its_own():
    ports = [1, 2, 3, 80, 81]
    peers = ["10.0.0.8", "10.0.0.8", "10.0.0.8", "10.0.0.9", "10.0.0.9"]
    assert reasons.done(past(range(5), dport=ports, dst=peers)) == []


def test_destinations_are_counted():
    peers = [f"10.0.0.{k}" for k in range(6)]
    assert reasons.done(past([0, 7200, 7300, 9000, 9100, 14_400], dst=peers)) == [
        "6 destinations in 4 h"
    ]
    assert reasons.done(past(range(5), dst=[*peers[:3], *peers[:2]])) == []


def test_flows_that_nobody_answered_are_counted():
    states = ["S0", "REJ", "SH", "RSTOS0", "SF", "SF", "SF"]
    told = "4 of its last 7 flows unanswered or refused"
    assert told in reasons.done(past(range(7), state=states))
    assert not any("unanswered" in text for text in reasons.done(past(range(3), state="S0")))
    mostly = past(range(10), state=["S0"] * 4 + ["SF"] * 6)
    assert not any("unanswered" in text for text in reasons.done(mostly))


def test_a_rhythm_is_told_and_how_regular_it_is():
    steady = reasons.done(past([60.0 * k for k in range(9)]))
    assert steady == ["9 times 10.0.0.9 tcp/443, every 60 s (± 0 %)"]
    times = np.cumsum([300, 330, 270, 300, 330, 270, 300.0])
    assert reasons.done(past(times)) == ["7 times 10.0.0.9 tcp/443, every 5 min (± 10 %)"]


def test_what_has_no_rhythm_is_counted():
    times = [0.0, 1, 100, 105, 600, 601]
    assert reasons.done(past(times)) == ["6 times 10.0.0.9 tcp/443 in 10 min"]
    assert reasons.done(past(times[:4])) == []  # too few
    fast = [0.5 * k for k in range(8)]  # regular, but no rhythm of a beacon
    assert reasons.done(past(fast)) == ["8 times 10.0.0.9 tcp/443 in 3.5 s"]


def test_only_the_same_service_is_a_rhythm():
    found = past([60.0 * k for k in range(9)], dport=[443, 80] * 4 + [443])
    assert reasons.done(found) == ["5 times 10.0.0.9 tcp/443, every 2 min (± 0 %)"]


def test_a_protocol_without_ports_has_none():
    found = past([60.0 * k for k in range(9)], dport=-1, proto="gre")
    assert reasons.done(found) == ["9 times 10.0.0.9, every 60 s (± 0 %)"]


@pytest.mark.parametrize(
    ("sent", "received", "told"),
    [(3e8, 2e3, "900 MB sent to 10.0.0.9, 6 kB received"), (3e5, 0, None), (1e6, 2.2e5, None),
     (1e6, 1.9e5, "3 MB sent to 10.0.0.9, 570 kB received"),
     (4e5, 0, "1.2 MB sent to 10.0.0.9, 0 B received")],
)  # fmt: skip
def test_much_sent_and_little_received_is_told(sent, received, told):
    found = reasons.done(past([0, 1, 2], sent=sent, received=received))
    assert found == ([told] if told else [])


def test_bytes_sent_to_others_are_not_counted():
    peers = ["10.0.0.8", "10.0.0.9"]
    assert reasons.done(past([0, 1], dst=peers, sent=[1e9, 5.0])) == []


def test_flows_that_arrive_late_do_not_turn_time_around():
    late = past([500, 400, 10, 300, 0], dport=list(range(5)), dst="10.0.0.9")
    assert reasons.done(late) == ["5 ports of 10.0.0.9 in 8.33 min"]
    again = past([500, 400, 10, 300, 0])
    assert reasons.done(again) == ["5 times 10.0.0.9 tcp/443 in 8.33 min"]


def test_a_host_without_a_past_did_nothing():
    assert reasons.done([]) == [] and reasons.done([ONE]) == []


# --- what was expected


def untold(found):
    """Whether nothing is said but how rare the score is."""
    return len(found) == 1 and "one normal flow in" in found[0]


def test_what_a_flow_looks_like_is_told_with_its_share():
    assert said() == ["looks like scan: 85 %"]
    assert said(classes=(0.0, 1.0, 0.0)) == ["looks like scan: 99.9 %"]
    assert untold(said(classes=(0.85, 0.1, 0.05)))  # hardly likelier than not
    assert untold(reasons.of(judged(), 1, CLASSES, "beacon", []))
    for nobody in ("unusual", "unknown", "benign"):
        assert untold(reasons.of(judged(), 1, CLASSES, nobody, []))


@pytest.mark.parametrize(
    ("name", "text"),
    [("port", "a service"), ("direction", "a direction"), ("proto", "a protocol"),
     ("state", "an end of the connection")],
)  # fmt: skip
def test_words_that_had_little_chance_are_told(name, text):
    found = said(classes=(1, 0, 0), chances={name: -3.0})
    assert found == [f"{text} that comes once in 1,000 flows here"]
    assert untold(said(classes=(1, 0, 0), chances={name: -1.4}))


def test_what_was_expected_instead_is_told():
    chances = {"port": -2.0, "state": -4.0}
    likely = {"port": ("443", 0.912), "state": ("", 0.4)}
    assert said(classes=(1, 0, 0), chances=chances, likely=likely) == [
        "a service that comes once in 100 flows here, 443 was expected (91.2 %)",
        "an end of the connection that comes once in 10,000 flows here, none was expected (40 %)",
    ]
    unsure = said(classes=(1, 0, 0), chances=chances, likely={"port": ("443", 0.2)})
    assert not any("expected" in text for text in unsure)


def test_a_model_without_surprise_expects_nothing():
    assert untold(said(classes=(1, 0, 0), chances={"port": -5.0}, measures=1))
    wordless = judged()._replace(chances=np.zeros((2, 0)))
    assert reasons.of(wordless, 1, CLASSES, "scan", []) == ["looks like scan: 85 %"]


@pytest.mark.parametrize(
    ("each", "text"),
    [((5.0, 1.0, 1.0), "most like beacon of all attacks"),
     ((1.0, 5.0, 1.0), "its sizes or its timing were not expected"),
     ((1.0, 1.0, 5.0), "the host's last flows together were not expected"),
     ((5.0,), "most like beacon of all attacks")],
)  # fmt: skip
@pytest.mark.parametrize(
    ("score", "flows"), [(3.0, "1,000"), (5.25, "177,828"), (99.0, "1,000,000,000,000,000")]
)
def test_where_nothing_else_can_be_said_the_measure_is(each, text, score, flows):
    given = judged(classes=(0.9, 0.04, 0.06), measures=len(each))
    given.each[1], given.score[1] = each, score
    told = reasons.of(given, 1, CLASSES, "unusual", [])
    assert told == [f"{text}; one normal flow in {flows} scores as high"]


def test_the_most_telling_come_first_and_never_too_many():
    busy = past(range(20), dport=[*range(14), *[443] * 6], state="S0", sent=1e7,
                dst=["a", "b", "c", *["10.0.0.9"] * 17])  # fmt: skip
    chances = dict.fromkeys(EXPECTED_WORDS, -3.0)
    found = reasons.of(judged(chances=chances), 1, CLASSES, "scan", busy)
    assert len(found) == reasons.MOST
    assert "ports of" in found[0] and "destinations in" in found[1] and "unanswered" in found[2]
    assert "6 times" in found[3] and "sent to" in found[4]
    alone = reasons.of(judged(chances=chances), 1, CLASSES, "scan", [])
    assert len(alone) == 5 and alone[0].startswith("looks like")


# --- flows that are kept


def test_a_kept_flow_is_what_it_was():
    day = office.day()
    kept = Past.of(day, 7, 1.23456)
    assert kept.score == 1.235 and kept.time == day["time"][7]
    assert (kept.sent, kept.received) == (day["src_ip_bytes"][7], day["dst_ip_bytes"][7])
    names = ("record", "src", "dst", "dport", "proto", "state")
    assert all(getattr(kept, name) == day[name][7] for name in names)
    shown = kept.to_json()
    assert list(shown) == ["time", *names, "score"] and shown["time"].startswith("2023-11-14T22:1")
    assert {type(v) for v in kept} == {float, str, int}


def test_what_is_unknown_of_it_is_nothing():
    kept = Past.of(flows("zeek", 1, src=["a"], dst=["b"]), 0, 0.0)
    assert (kept.time, kept.sent, kept.received, kept.dport) == (0, 0, 0, -1)


# --- numbers in words


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (1e-5, "0 s"), (0.0123, "0.0123 s"), (59.94, "59.9 s"), (119, "119 s"),
     (120, "2 min"), (7199, "120 min"), (7200, "2 h"), (172_799, "48 h"), (172_800, "2 d"),
     (1e9, "11,600 d")],
)  # fmt: skip
def test_lengths_of_time(seconds, text):
    assert reasons.lasting(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999.4, "999 B"), (1000, "1 kB"), (999_999, "1,000 kB"), (1.5e6, "1.5 MB"),
     (2.25e9, "2.25 GB"), (7e12, "7 TB"), (7.77e15, "7,770 TB")],
)  # fmt: skip
def test_bytes(number, text):
    assert reasons._bytes(number) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (0.5, "50 %"), (0.1234, "12.3 %"), (0.9994, "99.9 %"), (0.99999, "99.9 %"),
     (1, "99.9 %"), (1e-9, "0 %"), (2e-5, "0.002 %")],
)  # fmt: skip
def test_shares(share, text):
    assert reasons.percent(share) == text


@pytest.mark.parametrize(
    ("time", "text"),
    [(0, "1970-01-01T00:00:00.000000Z"), (1.7e9 + 0.25, "2023-11-14T22:13:20.250000Z"),
     (1772359200.000001, "2026-03-01T10:00:00.000001Z"), (-1, "1969-12-31T23:59:59.000000Z"),
     (np.nan, ""), (np.inf, ""), (-np.inf, ""), (1e300, ""), (2.1e11, "")],
)  # fmt: skip
def test_times(time, text):
    assert reasons.written(time) == text


@given(st.floats(-1e11, 1e11))
def test_any_time_can_be_written(time):
    assert reasons.written(time).endswith("Z")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1e10), st.integers(-1, 65535), st.sampled_from("abcde"),
                          st.floats(0, 1e18), st.sampled_from(["S0", "SF", ""])),
                max_size=32))  # fmt: skip
def test_any_past_can_be_told(rows):
    found = [
        ONE._replace(time=t, dport=p, dst=d, sent=b, received=b / 7, state=s)
        for t, p, d, b, s in rows
    ]
    told = reasons.done(found)
    assert len(told) <= 5
    assert not any(re.search(r"\bnan\b|\binf\b|e[+-]\d|-\d", text) for text in told)
