"""Attacks that are made up look like what they are called, and spare the flows of their host."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import office
import pytest

from lstmkit.readers.flows import Flows
from lstmkit.readers.flows.schema import NUMBERS, PORTS, WORDS
from lstmkit.tasks.intrusion import places, shapes
from lstmkit.tasks.intrusion.features import Context, flow_geometry

PLOT = shapes.Plot(office.START, "10.0.1.1", "93.184.9.9")
UNUSUAL = shapes.CLASSES.index("unusual") + 1
SEEDS = 25


def played(name: str, seeds: int = SEEDS) -> Iterator[Flows]:
    for seed in range(seeds):
        yield shapes.SHAPES[name](np.random.default_rng(seed), PLOT)


@pytest.fixture(scope="module")
def normal() -> Flows:
    return office.day()


@pytest.fixture(scope="module")
def cast(normal: Flows) -> shapes.Cast:
    hosts = sorted(set(normal["src"]))
    return shapes.Cast(hosts, sorted(set(normal["dst"])), office.SITES, normal)


# --- every shape


@pytest.mark.parametrize("name", list(shapes.SHAPES))
def test_every_shape_is_made_of_flows_that_can_be(name):
    for found in played(name):
        assert 2 <= len(found) <= shapes.LONGEST
        assert set(found.columns) == {*NUMBERS, *PORTS, *WORDS} and found.source == "made"
        assert {len(column) for column in found.columns.values()} == {len(found)}
        time = found["time"]
        assert (np.diff(time) >= 0).all() and PLOT.start <= time[0] < PLOT.start + 16_000
        assert np.isfinite(time).all() and time[-1] > time[0]
        duration = found["duration"]
        assert ((duration >= 0) | np.isnan(duration)).all()
        for column in ("src_packets", "dst_packets", "src_bytes", "dst_bytes", "src_ip_bytes",
                       "dst_ip_bytes"):  # fmt: skip
            assert np.isfinite(found[column]).all() and (found[column] >= 0).all()
        assert (found["src_packets"] >= 1).all()
        assert (found["src_ip_bytes"] >= found["src_bytes"] + 20 * found["src_packets"]).all()
        assert (found["dst_ip_bytes"] >= found["dst_bytes"] + 20 * found["dst_packets"]).all()
        assert ((found["dport"] >= 0) & (found["dport"] <= 65535)).all()
        assert ((found["sport"] > 1023) & (found["sport"] <= 65535)).all()
        assert set(found["src"]) == {PLOT.host} and "" not in set(found["dst"])
        assert set(found["state"]) <= set(places.STATES) - {"", "other"}
        assert set(found["proto"]) <= {"tcp", "udp", "icmp"}


@pytest.mark.parametrize("name", list(shapes.SHAPES))
def test_every_shape_is_deterministic_and_drawn_widely(name):
    first, again = (list(played(name, 6)) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        for column in one.columns:
            np.testing.assert_array_equal(one[column], other[column])
    assert len({len(found) for found in first}) > 3
    rates = [np.ptp(found["time"]) / len(found) for found in first]
    assert max(rates) > 2 * min(rates)
    assert len({found["src_ip_bytes"].sum() for found in first}) == 6


def test_the_tables_of_the_shapes_fit_each_other():
    assert (*shapes.SHAPES, "unusual") == shapes.CLASSES
    assert set(shapes.EARLY) == set(shapes.SHAPES) and min(shapes.EARLY.values()) >= 1
    assert set(shapes.OUTSIDE) < set(shapes.SHAPES) and set(shapes.MIXED) < {*NUMBERS, *WORDS}


@pytest.mark.parametrize("name", list(shapes.SHAPES))
def test_the_network_can_read_every_shape(name):
    context = Context(flow_geometry("zeek", (office.HOME,)), 1000)
    for found in played(name, 3):
        read = context.read(found)
        assert np.isfinite(read.numbers).all() and read.words.min() >= 0


# --- each shape


def test_a_scan_asks_many_ports_of_one():
    for found in played("scan"):
        assert set(found["dst"]) == {PLOT.peer} and len(found) >= 8
        assert len(set(found["dport"])) > 0.6 * len(found)
        assert np.isin(found["state"].astype(str), ["S0", "REJ"]).mean() >= 0.6


def test_a_sweep_asks_one_port_of_many():
    for found in played("sweep"):
        assert len(set(found["dport"])) == 1 and len(found) >= 6
        assert len(set(found["dst"])) > 0.5 * len(found)
    nets = [{d.rpartition(".")[0] for d in found["dst"]} for found in played("sweep")]
    near = [net == {PLOT.peer.rpartition(".")[0]} for net in nets]
    assert 0.2 < np.mean(near) < 0.8


def test_brute_force_is_the_same_again():
    for found in played("brute force"):
        assert len(set(found["dport"])) == 1 and set(found["dst"]) == {PLOT.peer}
        assert found["dport"][0] in shapes.GUESSED
        sizes = found["src_bytes"]
        assert sizes.std() < 0.25 * sizes.mean() and sizes.max() < 6000


def test_a_beacon_is_regular():
    for found in played("beacon"):
        gaps = np.diff(found["time"])
        middle = np.median(gaps)
        assert np.abs(gaps - middle).max() <= 0.75 * middle and 6 < middle < 11_000
        assert set(found["dst"]) == {PLOT.peer} and len(set(found["dport"])) == 1
        assert 8 <= len(found) < 60 and len(set(found["state"])) <= 2
        assert found["src_bytes"].std() <= 0.3 * max(found["src_bytes"].mean(), 1)


def test_exfiltration_says_more_than_it_hears():
    for found in played("exfiltration"):
        assert found["src_bytes"].sum() > 15 * found["dst_bytes"].sum()
        assert found["src_bytes"].min() > 5e4 and set(found["dst"]) == {PLOT.peer}
        speed = found["src_bytes"] / found["duration"]
        assert (speed > 1e4).all() and (speed < 2e7).all()


def test_a_flood_is_fast():
    for found in played("flood"):
        assert len(found) >= 40 and np.median(np.diff(found["time"])) < 0.2
        assert len(set(found["dport"])) == 1
        if found["proto"][0] == "icmp":
            assert found["dport"][0] == 0
    assert {found["proto"][0] for found in played("flood")} == {"tcp", "udp", "icmp"}


def test_a_tunnel_asks_too_much():
    kinds = set()
    for found in played("tunnel"):
        kinds.add((found["proto"][0], int(found["dport"][0])))
        assert len(found) >= 20 and (found["src_bytes"] / found["src_packets"] > 50).all()
    assert kinds == {("udp", 53), ("icmp", 0)}


# --- what they are drawn from


def test_strangers_are_addresses_outside():
    rng, home = np.random.default_rng(0), places.Home()
    found = {shapes.stranger(rng) for _ in range(200)}
    assert len(found) == 200 and {home.place(a) for a in found} == {2}


def test_logarithms_are_uniform():
    found = shapes.logarithmic(np.random.default_rng(0), 1e-2, 1e4, 4000)
    assert found.min() > 1e-2 and found.max() < 1e4
    counts = np.histogram(np.log10(found), 6, (-2, 4))[0]
    assert counts.min() > 550 and counts.max() < 790
    assert isinstance(float(shapes.logarithmic(np.random.default_rng(0), 1, 2)), float)


def test_paces_are_off_by_their_share_and_never_go_back():
    for jitter in (0.0, 0.3, 1.0):
        times = shapes.paced(np.random.default_rng(1), 50.0, 400, 10.0, jitter)
        gaps = np.diff(times, prepend=50.0)
        assert (np.abs(gaps - 10) <= 10 * jitter + 1e-9).all() and (gaps >= 0).all()
        assert gaps.std() == pytest.approx(10 * jitter / np.sqrt(3), rel=0.1, abs=1e-9)


def test_knocking_is_refused_or_not_heard():
    for seed in range(20):
        found = shapes.unanswered(np.random.default_rng(seed), 100, 0.5)
        silent, refused = found["state"] == "S0", found["state"] == "REJ"
        assert (found["dst_packets"][silent] == 0).all() and (
            found["dst_packets"][refused] == 1
        ).all()
        assert 20 < silent.sum() < 80 and 20 < refused.sum() < 80
        opened = ~silent & ~refused
        assert (found["dst_packets"][opened] == 2).all() and opened.sum() < 25
        np.testing.assert_array_equal(found["dst_ip_bytes"], 40 * found["dst_packets"])


# --- episodes


def end(found: Flows) -> np.ndarray:
    return found["time"] + np.nan_to_num(found["duration"])


def test_an_episode_keeps_the_flows_of_its_host(normal, cast):
    base = normal.take(normal["src"] == "10.0.1.2")
    seen: set[int] = set()
    for seed in range(60):
        found, classes = shapes.episode(np.random.default_rng(seed), base, cast)
        seen |= set(classes.tolist())
        own = found.take(classes == 0)
        assert len(found) == len(classes) and set(classes) - {0}
        if UNUSUAL in classes:
            assert len(found) == len(base) and set(classes) <= {0, UNUSUAL}
            assert found["record"].tolist() == base["record"].tolist()
            base_own = base.take(classes == 0)
        else:
            assert len(own) == len(base) and len(set(classes)) == 2
            assert (found["record"][classes > 0] == "").all()
            assert (np.diff(end(found)) >= 0).all()
            base_own = base
        for name in base.columns:
            np.testing.assert_array_equal(own[name], base_own[name], err_msg=name)
        assert set(found["src"]) == {"10.0.1.2"}
    assert seen == set(range(len(shapes.CLASSES) + 1))


def test_an_episode_does_not_change_what_it_is_made_from(normal, cast):
    before = {name: column.copy() for name, column in normal.columns.items()}
    for seed in range(30):
        shapes.episode(np.random.default_rng(seed), normal, cast)
        shapes.varied(np.random.default_rng(seed), normal)
    for name, column in before.items():
        np.testing.assert_array_equal(normal[name], column)


def test_classes_are_those_of_the_shapes(normal, cast):
    base = normal.take(normal["src"] == "10.0.1.2")
    for seed in range(60):
        found, classes = shapes.episode(np.random.default_rng(seed), base, cast)
        name = shapes.CLASSES[classes.max() - 1]
        attack = found.take(classes > 0)
        if name == "exfiltration":
            assert attack["src_bytes"].sum() > 15 * attack["dst_bytes"].sum()
        elif name == "sweep":
            assert len(set(attack["dport"])) == 1
        elif name == "scan":
            assert len(set(attack["dport"])) > 0.6 * len(attack)


def test_attacks_begin_while_the_host_is_busy_and_go_where_they_go(normal, cast):
    base = normal.take(normal["src"] == "10.0.1.2")
    known = {"outside": [], "other": []}
    for seed in range(300):
        found, classes = shapes.episode(np.random.default_rng(seed), base, cast)
        if UNUSUAL in classes:
            continue
        name = shapes.CLASSES[classes.max() - 1]
        attack = found.take(classes > 0)
        span = np.ptp(base["time"])
        assert base["time"][0] - 0.1 * span <= attack["time"].min()
        assert attack["time"].min() < base["time"][-1] + 16_000
        kind = "outside" if name in shapes.OUTSIDE else "other"
        if name != "sweep":
            known[kind].append(
                attack["dst"][0] in (cast.outside if kind == "outside" else cast.peers)
            )
    assert 0.02 < np.mean(known["outside"]) < 0.25 and 0.35 < np.mean(known["other"]) < 0.65


def test_what_leaves_the_house_goes_outside(normal, cast):
    base = normal.take(normal["src"] == "10.0.1.2")
    home, inside = places.Home([office.HOME]), [f"10.9.0.{k}" for k in range(9)]
    gone = dict.fromkeys(shapes.SHAPES, 0)
    for seed in range(200):
        other = cast._replace(peers=inside)
        found, classes = shapes.episode(np.random.default_rng(seed), base, other)
        name = shapes.CLASSES[classes.max() - 1]
        if name in shapes.OUTSIDE:
            assert {home.place(a) for a in found["dst"][classes > 0]} == {2}
        elif name in gone:
            gone[name] += found["dst"][classes > 0][0] in inside
    assert min(n for name, n in gone.items() if name not in (*shapes.OUTSIDE, "sweep")) > 3


def test_an_attack_may_stand_alone(normal, cast):
    none = normal.take(slice(0, 0))
    strangers, classes_seen = 0, set()
    for seed in range(80):
        found, classes = shapes.episode(np.random.default_rng(seed), none, cast)
        assert len(found) >= 2 and len(set(classes)) == 1 and classes[0] not in (0, UNUSUAL)
        classes_seen.add(int(classes[0]))
        host = found["src"][0]
        if host not in cast.hosts:
            strangers += 1
            if shapes.CLASSES[classes[0] - 1] != "sweep":
                assert set(found["dst"]) <= set(cast.hosts)  # who comes from outside wants in
    assert 20 < strangers < 60 and classes_seen == set(range(1, UNUSUAL))


def test_episodes_are_deterministic_and_differ_by_seed(normal, cast):
    base = normal.take(normal["src"] == "10.0.1.2")
    found = []
    for seed in (3, 3, 4):
        one, classes = shapes.episode(np.random.default_rng(seed), base, cast)
        found.append((classes.tolist(), [repr(one.row(k)) for k in range(len(one))]))
    assert found[0] == found[1] != found[2]


def test_unusual_flows_are_a_few_and_the_rest_is_as_it_was(normal, cast):
    base = normal.take(normal["src"] == "10.0.1.2")
    shares, borrowed, away = [], 0, 0
    for seed in range(60):
        found, chosen = shapes.unusual(np.random.default_rng(seed), base, normal)
        shares.append(chosen.mean())
        assert chosen.any() and len(found) == len(base)
        assert (found["dport"][chosen] != base["dport"][chosen]).mean() > 0.8
        for name in base.columns:
            np.testing.assert_array_equal(found[name][~chosen], base[name][~chosen])
        for name in ("time", "src", "sport", "proto", "record"):
            np.testing.assert_array_equal(found[name], base[name])
        borrowed += bool((found["src_ip_bytes"] != base["src_ip_bytes"]).any())
        away += bool((found["dst"] != base["dst"]).any())
        assert np.isin(found["src_ip_bytes"], normal["src_ip_bytes"]).all()
    assert min(shares) < 0.1 and max(shares) > 0.35 and 5 < borrowed < 35 and 15 < away < 45


# --- other hosts' flows


def test_varied_flows_keep_their_order_and_their_host(normal):
    base = normal.take(normal["src"] == "10.0.1.2")
    names, kept, rates = base["record"].tolist(), [], []
    for seed in range(40):
        found = shapes.varied(np.random.default_rng(seed), base)
        where = [names.index(record) for record in found["record"]]
        assert where == sorted(set(where)) and 1 <= len(found) <= len(base)
        again = base.take(where)
        for name in ("src", "dst", "sport", "dport", "proto", "service", "state", "src_packets"):
            np.testing.assert_array_equal(found[name], again[name])
        gaps, before = np.diff(found["time"]), np.diff(again["time"])
        assert found["time"][0] == again["time"][0]
        rates.append(np.ptp(found["time"]) / np.ptp(again["time"]))
        np.testing.assert_allclose(gaps, before * rates[-1], atol=1e-5)
        grown = found["src_ip_bytes"] / again["src_ip_bytes"]
        assert (grown > 0.6).all() and (grown < 1.6).all() and grown.std() > 0.01
        kept.append(len(found) / len(base))
    assert min(kept) < 0.6 and max(kept) == 1
    assert 0.4 <= min(rates) < 0.7 and 1.5 < max(rates) <= 2.5


def test_something_is_always_left(normal):
    for seed in range(60):
        assert len(shapes.varied(np.random.default_rng(seed), normal.take(slice(0, 2))))


def test_one_flow_or_none_is_not_varied(normal):
    for n in (0, 1):
        base = normal.take(slice(0, n))
        assert shapes.varied(np.random.default_rng(0), base) is base
