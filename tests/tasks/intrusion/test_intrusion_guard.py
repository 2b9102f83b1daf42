"""The split guard: what is refused, what is flagged, and which features name the label."""

from __future__ import annotations

import json

import numpy as np
import office
import pytest

from lstmkit.readers.flows import Flows, flows, joined
from lstmkit.tasks.intrusion import guard
from lstmkit.tasks.intrusion.guard import Fingerprint, judge

NEXT = office.START + 86_400


def halves(found: Flows, seed: int = 0) -> tuple[Flows, Flows]:
    """Flows split at random."""
    mine = np.random.default_rng(seed).random(len(found)) < 0.5
    return found.take(mine), found.take(~mine)


def renamed(found: Flows, **columns: object) -> Flows:
    """The same flows with other columns."""
    given = {k: np.asarray(v, found[k].dtype) for k, v in columns.items()}
    return Flows(found.source, {**found.columns, **given}, found.extra)


def alone(found: Flows) -> Flows:
    """The flows without hosts and times, as single records."""
    n = len(found)
    return flows("nsl-kdd", n, {"size": found["src_ip_bytes"], "kind": found["service"]})


@pytest.fixture(scope="module")
def day() -> Flows:
    return office.day()


@pytest.fixture(scope="module")
def learnt(day: Flows) -> Fingerprint:
    return Fingerprint.of(day)


# --- refused or not


@pytest.mark.parametrize("seed", [0, 1])
def test_a_random_split_is_refused(day, seed):
    train, test = halves(day, seed)
    verdict = judge(Fingerprint.of(train), test)
    assert verdict.shares["duplicates"] == 0  # every flow of the test is new, and yet
    assert verdict.shares["amid"] > 0.95
    assert "between its flows in time: a random split" in verdict.refused
    percent = round(100 * verdict.shares["amid"])
    assert verdict.refused.startswith(f"{percent} % of these flows")


def test_a_split_by_time_is_not(day):
    middle = np.median(day["time"])
    train, test = day.take(day["time"] < middle), day.take(day["time"] >= middle)
    verdict = judge(Fingerprint.of(train), test)
    assert verdict.refused is None and verdict.flags == () and verdict.clean.all()
    assert verdict.shares == {"duplicates": 0, "connections": 0, "amid": 0}


def test_the_day_after_is_not_refused_nor_flagged(learnt):
    verdict = judge(learnt, office.attacked())
    assert verdict.refused is None and verdict.flags == () and verdict.clean.all()


def test_the_day_before_is_not_either(learnt):
    verdict = judge(learnt, office.day(4, start=office.START - 86_400))
    assert verdict.refused is None and verdict.flags == () and verdict.clean.all()


def test_other_hosts_at_the_same_time_are_another_network(day):
    train, test = day.take(day["src"] <= "10.0.1.4"), day.take(day["src"] > "10.0.1.4")
    assert judge(Fingerprint.of(train), test).refused is None


def test_the_flows_of_the_training_are_refused_as_learnt(day, learnt):
    verdict = judge(learnt, day)
    assert verdict.refused == "100 % of these flows were learnt from"
    assert not verdict.clean.any() and verdict.shares["duplicates"] == 1
    assert verdict.flags[0] == "LEAK: 100 % of the flows are duplicates of flows of the training"


@pytest.mark.parametrize(("known", "refused"), [(0.4, False), (0.6, True)])
def test_half_of_duplicates_is_too_many(day, learnt, known, refused):
    other = office.day(3, start=NEXT)
    count = int(len(other) * known / (1 - known))
    mixed = joined([day.take(slice(0, count)), other])
    assert (judge(learnt, mixed).refused is not None) is refused


@pytest.mark.parametrize(("share", "refused"), [(0.05, False), (0.2, True)])
def test_a_tenth_amid_the_training_is_too_many(day, learnt, share, refused):
    other = office.day(3, start=NEXT)
    inside = office.day(9).take(slice(100, 100 + int(share * len(other) / (1 - share))))
    verdict = judge(learnt, joined([other, inside]))
    assert (verdict.refused is not None) is refused
    assert verdict.shares["amid"] == pytest.approx(share, abs=0.01)


# --- flags and clean flows, against a brute-force look


def seconds(found: Flows) -> list[tuple[object, ...]]:
    columns = [found[name].tolist() for name in ("src", "sport", "dst", "dport", "proto")]
    return list(zip(*columns, np.floor(found["time"]).tolist(), strict=True))


def whole(found: Flows) -> list[str]:
    rows = [found.row(k) for k in range(len(found))]
    kept = [{k: v for k, v in row.items() if k not in ("label", "record")} for row in rows]
    return [repr((row, found.extra["history"][k])) for k, row in enumerate(kept)]


@pytest.fixture(scope="module")
def tainted(day: Flows) -> Flows:
    """A later day with flows of the training in it, and others that share a connection with it."""
    later = office.day(5, start=NEXT)
    second = np.floor(day["time"]) + 0.001
    other = renamed(day, src_ip_bytes=day["src_ip_bytes"] + 1, time=second)
    mixed = [later, day.take(slice(10, 30)), other.take(slice(100, 115))]
    return joined([*mixed, later.take(slice(0, 7))])


def test_what_is_flagged_and_clean_is_what_a_slow_look_finds(day, learnt, tainted):
    verdict = judge(learnt, tainted)
    duplicate = np.isin(whole(tainted), whole(day))
    seen = set(seconds(day))
    connection = np.array([one in seen for one in seconds(tainted)])
    np.testing.assert_array_equal(verdict.clean, ~(duplicate | connection))
    assert (duplicate.sum(), (connection & ~duplicate).sum()) == (20, 15)
    assert verdict.shares["duplicates"] == pytest.approx(20 / len(tainted))
    assert verdict.shares["connections"] == pytest.approx(15 / len(tainted))
    n, inside = len(tainted), (tainted["time"] > learnt.first) & (tainted["time"] < learnt.last)
    assert verdict.shares["amid"] == pytest.approx((inside & ~duplicate).sum() / n)
    assert verdict.refused is None
    assert [text.partition("flows ")[2].split()[0] for text in verdict.flags] == [
        "are",
        "belong",
        "are",
    ]
    assert all(text.startswith("LEAK: ") and " % of the flows" in text for text in verdict.flags)
    assert f"{100 * 20 / n:.2g} %" in verdict.flags[0]


@pytest.mark.parametrize("name", ["label", "record"])
def test_another_label_or_name_does_not_make_a_flow_new(day, learnt, name):
    other = renamed(day, **{name: ["x"] * len(day)})
    assert judge(learnt, other).shares["duplicates"] == 1


@pytest.mark.parametrize(
    "name", ["time", "duration", "src_packets", "dst_ip_bytes", "dport", "service", "state"]
)
def test_anything_else_does(day, learnt, name):
    values = ["x"] * len(day) if day[name].dtype == object else day[name] + 1
    assert judge(learnt, renamed(day, **{name: values})).shares["duplicates"] == 0


@pytest.mark.parametrize("name", ["src", "sport", "dst", "dport", "proto", "time", "state"])
def test_a_connection_is_both_ends_the_protocol_and_the_second(day, learnt, name):
    values = ["x"] * len(day) if day[name].dtype == object else day[name] + 1
    other = renamed(day, **{name: values, "duration": np.ones(len(day))})
    verdict = judge(learnt, other)
    assert bool(verdict.clean.all()) is (name != "state")
    assert verdict.shares["connections"] == (name == "state")


def test_what_only_a_source_has_counts_too(day, learnt):
    other = Flows(day.source, day.columns, {"history": np.array(["S"] * len(day), object)})
    assert judge(learnt, other).shares["duplicates"] == 0


def test_unknown_numbers_are_alike(day):
    blank = renamed(day, duration=np.full(len(day), np.nan))
    assert judge(Fingerprint.of(blank), blank).shares["duplicates"] == 1


# --- more flows than are kept


@pytest.fixture()
def few(monkeypatch):
    monkeypatch.setattr(guard, "MOST", 300)


def many(n: int, seed: int, start: float = office.START) -> Flows:
    """Flows of as many hosts as flows."""
    rng = np.random.default_rng(seed)
    src = np.array([f"10.{k >> 8 & 255}.{k & 255}.{seed}" for k in range(n)], object)
    time = start + rng.uniform(0, 3600, n)
    return flows(
        "zeek", n, time=time, src=src, dst=["10.0.0.2"] * n, sport=rng.integers(0, 9999, n)
    )


def test_of_many_flows_a_sample_is_kept_that_judges_fairly(few):
    train = many(4000, 1)
    found = Fingerprint.of(train)
    assert {kind: len(kept) for kind, kept in found.kept.items()} == dict.fromkeys(guard.KINDS, 300)
    assert all(limit < 2**64 - 1 for limit in found.limit.values()) and found.count == 4000
    for share in (0.1, 0.3):
        old = train.take(np.random.default_rng(2).permutation(4000)[: int(4000 * share)])
        mixed = joined([old, many(4000 - len(old), 2, NEXT)])
        verdict = judge(found, mixed)
        off = 4 * np.sqrt(share * (1 - share) / 300)
        assert verdict.shares["duplicates"] == pytest.approx(share, abs=off)
        assert verdict.clean[len(old) :].all()  # nothing is flagged that was not there
        assert 0 < (~verdict.clean[: len(old)]).sum() < 0.3 * len(old)
        assert verdict.refused is None
        for kind in ("connections", "amid"):  # which they are as duplicates only
            assert verdict.shares[kind] <= 2 * off


def test_a_sample_refuses_what_was_learnt(few):
    train = many(4000, 1)
    found = Fingerprint.of(train)
    verdict = judge(found, train.take(np.random.default_rng(0).random(4000) < 0.5))
    assert verdict.shares["duplicates"] == 1 and "learnt from" in verdict.refused


def test_a_sample_of_hosts_sees_a_random_split(few):
    days = [renamed(many(3000, 1), time=many(3000, k)["time"]) for k in range(2)]
    verdict = judge(Fingerprint.of(days[0]), days[1])
    assert verdict.shares["amid"] > 0.95 and "random split" in verdict.refused


def test_a_sample_sees_known_connections_beside_duplicates(few):
    train = many(4000, 1)
    other = renamed(train, duration=np.ones(4000))
    mixed = joined([train.take(slice(0, 800)), other.take(slice(800, 2000)), many(2000, 2, NEXT)])
    verdict = judge(Fingerprint.of(train), mixed)
    assert verdict.shares["duplicates"] == pytest.approx(0.2, abs=0.1)
    assert verdict.shares["connections"] == pytest.approx(0.3, abs=0.15)
    assert verdict.shares["amid"] == pytest.approx(0.3, abs=0.15)


def test_as_many_as_are_kept_are_all_kept(few):
    found = Fingerprint.of(many(300, 1))
    assert set(found.limit.values()) == {2**64 - 1} and len(found.kept["flows"]) == 300
    test = joined([many(300, 1), many(300, 2)])
    known, there = found.known("flows", guard.hashed(test)["flows"])
    assert known.all() and there.tolist() == [True] * 300 + [False] * 300


# --- kept in a file


def test_a_fingerprint_comes_back_from_json(learnt, tainted, few):
    for found in (learnt, Fingerprint.of(many(1000, 1)), Fingerprint.of(many(0, 1))):
        again = Fingerprint.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False)))
        assert (again.source, again.count, again.limit) == (found.source, found.count, found.limit)
        np.testing.assert_array_equal([again.first, again.last], [found.first, found.last])
        for kind in guard.KINDS:
            np.testing.assert_array_equal(again.kept[kind], found.kept[kind])
        before, after = judge(found, tainted), judge(again, tainted)
        assert before.shares == after.shares and (before.clean == after.clean).all()


def test_a_fingerprint_is_small(learnt):
    most = Fingerprint("zeek", 9, 0.0, 1.0,
                       dict.fromkeys(guard.KINDS, np.full(guard.MOST, 2**64 - 1, np.uint64)),
                       dict.fromkeys(guard.KINDS, 2**64 - 1))  # fmt: skip
    assert len(json.dumps(learnt.to_json())) < 40_000
    assert 2e6 < len(json.dumps(most.to_json())) < 2.2e6


def test_times_are_those_of_the_flows_that_have_them(day, learnt):
    assert (learnt.first, learnt.last) == (day["time"].min(), day["time"].max())
    gaps = day["time"].copy()
    gaps[::2] = np.nan
    assert Fingerprint.of(renamed(day, time=gaps)).first == np.nanmin(gaps)


# --- sources without hosts


def test_of_single_records_only_duplicates_are_judged(day):
    rows = alone(day)
    train, test = rows.take(slice(0, 300)), rows.take(slice(280, len(rows)))
    verdict = judge(Fingerprint.of(train), test)
    assert verdict.refused is None and list(verdict.shares) == ["duplicates"]
    slow = {*zip(train.extra["size"], train.extra["kind"], strict=True)}
    there = [one in slow for one in zip(test.extra["size"], test.extra["kind"], strict=True)]
    assert verdict.clean.tolist() == [not t for t in there] and 20 <= sum(there) < 200
    assert len(verdict.flags) == 2 and "only duplicates can be judged" in verdict.flags[1]
    assert "learnt from" in judge(Fingerprint.of(train), train).refused


def test_no_flows_are_judged_without_a_word(learnt, day):
    none = day.take(slice(0, 0))
    assert judge(learnt, none).refused is None and judge(learnt, none).clean.shape == (0,)
    verdict = judge(Fingerprint.of(none), day)
    assert verdict.refused is None and verdict.clean.all()


# --- features that name the label


def planted(n: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random(n) < 0.3, rng.standard_normal(n)


@pytest.mark.parametrize(
    "leak",
    [
        lambda attack, noise: np.where(attack, 9.0, 3.0) + noise * 0.5,
        lambda attack, noise: np.where(attack, 3.0, 9.0) + noise * 0.5,
        lambda attack, noise: np.where(attack, 3, 1) + 2 * np.arange(len(attack)) % 2,
        lambda attack, noise: np.where(attack, 2, np.arange(len(attack)) % 2 * 4),
        lambda attack, noise: np.where(attack, np.nan, 1.0),
        lambda attack, noise: attack,
    ],
    ids=["above", "below", "word", "middle word", "missing", "itself"],
)
def test_a_feature_that_names_the_label_is_told(leak):
    attack, noise = planted()
    values = leak(attack, noise)
    told = guard.leaks({"noise": noise, "ttl": values}, attack)
    assert len(told) == 1 and told[0].startswith("LEAK: ttl alone tells attacks from benign flows")


def test_a_limit_that_many_flows_stand_on_is_a_limit():
    attack = planted()[0]
    rng = np.random.default_rng(2)
    benign = np.where(rng.random(len(attack)) < 0.8, 100, rng.integers(0, 100, len(attack)))
    values = np.where(attack, rng.integers(101, 300, len(attack)), benign)
    assert len(guard.leaks({"size": values, "backwards": -values}, attack)) == 2


def test_honest_features_are_not():
    attack, noise = planted()
    rng = np.random.default_rng(1)
    honest = {
        "noise": noise,
        "helpful": noise + 2 * attack,
        "constant": np.ones(len(attack)),
        "word": rng.integers(0, 5, len(attack)),
        "own word": np.arange(len(attack)) // 20,
        "identity": rng.permutation(len(attack)),
    }
    assert guard.leaks(honest, attack) == []


def test_nearly_perfect_is_perfect_enough_and_less_is_not():
    attack, noise = planted(8000)
    rng = np.random.default_rng(3)
    for wrong, count in ((0.002, 1), (0.02, 0)):
        values = attack ^ (rng.random(len(attack)) < wrong)
        assert len(guard.leaks({"x": values}, attack)) == count
        assert len(guard.leaks({"x": values * 10 + noise.clip(-4, 4)}, attack)) == count


def test_accuracy_is_balanced():
    attack = np.zeros(20_000, bool)
    attack[:60] = True  # to say benign of all is right 997 times in 1000
    rng = np.random.default_rng(0)
    values = {"nothing": np.zeros(len(attack)), "noise": rng.random(len(attack))}
    values["half of them"] = attack & (rng.random(len(attack)) < 0.5)
    assert guard.leaks(values, attack) == []


def test_too_few_attacks_tell_nothing():
    attack = np.zeros(1000, bool)
    attack[:39] = True
    assert guard.leaks({"x": attack}, attack) == []
    attack[:40] = True
    assert len(guard.leaks({"x": attack}, attack)) == 1
    assert len(guard.leaks({"x": ~attack}, ~attack)) == 1
