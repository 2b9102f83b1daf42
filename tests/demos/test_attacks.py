"""Injected attacks keep their word; more hosts are made of whole hours of the hosts that are."""

from __future__ import annotations

import numpy as np
import pytest

from lstmkit.demos import attacks
from lstmkit.readers.flows.schema import NUMBERS, PORTS, WORDS, Flows, flows

START = 1_700_000_000.0
HOUR = 3600.0
HOST, PEER = "10.20.1.7", "203.0.113.9"


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def one_of_each(seed: int = 0) -> dict[str, Flows]:
    r, stop = random(seed), START + HOUR
    many = [f"10.20.3.{k}" for k in range(1, 60)]
    return {
        "beacon": attacks.beacon(r, START, stop, HOST, PEER, 60.0, 0.2),
        "slow scan": attacks.slow_scan(r, START, stop, HOST, "10.20.0.5"),
        "fast scan": attacks.fast_scan(r, START, START + 20, HOST, many, horizontal=True),
        "exfiltration": attacks.exfiltration(r, START, stop, HOST, PEER, 10**8 + 1, 12),
        "brute force": attacks.brute_force(r, START, START + 900, HOST, "10.20.0.5"),
        "dns tunnel": attacks.dns_tunnel(r, START, START + 300, HOST, "10.20.0.2"),
        "flood": attacks.flood(r, START, START + 5, HOST, "10.20.0.6", syn=True),
    }


def equal(a: Flows, b: Flows) -> bool:
    return all(np.array_equal(a[name], b[name]) for name in a.columns)


@pytest.mark.parametrize("name", list(one_of_each()))
def test_every_column_is_filled_and_hangs_together(name):
    found = one_of_each()[name]
    assert set(found.columns) == {*NUMBERS, *PORTS, *WORDS}
    assert set(found["label"]) == {name}
    assert set(found["src"]) == {HOST}
    numbers = np.stack([found[column] for column in NUMBERS])
    assert np.isfinite(numbers).all()
    assert (numbers >= 0).all()
    assert (found["time"] >= START).all()
    assert (found["duration"] < HOUR).all()
    for side in ("src", "dst"):
        packets, whole = found[f"{side}_packets"], found[f"{side}_ip_bytes"]
        headers = whole - found[f"{side}_bytes"]
        assert (headers >= 28 * packets).all()
        assert (headers <= 60 * packets).all()
    ends = found["time"] + found["duration"]
    assert (np.diff(ends) >= 0).all()
    assert len(set(found["record"])) == len(found) > 5


@pytest.mark.parametrize("name", list(one_of_each()))
def test_a_seed_gives_the_same_again(name):
    assert equal(one_of_each(3)[name], one_of_each(3)[name])
    assert not equal(one_of_each(3)[name], one_of_each(4)[name])


def test_a_beacon_has_the_period_and_the_jitter_asked_for():
    found = attacks.beacon(random(), START, START + 40 * HOUR, HOST, PEER, 300.0, 0.2)
    gaps = np.diff(np.sort(found["time"]))
    assert gaps.mean() == pytest.approx(300, rel=0.03)
    assert 240 - 1e-3 <= gaps.min() < 245
    assert 355 < gaps.max() <= 360 + 1e-3
    assert gaps.std() == pytest.approx(300 * 0.2 / np.sqrt(3), rel=0.1)
    assert (found["dport"] == 443).all()
    assert (found["service"] == "ssl").all()
    steady = attacks.beacon(random(), START, START + HOUR, HOST, PEER, 60.0, 0.0, port=8443)
    assert np.allclose(np.diff(np.sort(steady["time"])), 60, atol=1e-5)
    assert len(steady) == 60
    assert (steady["service"] == "").all()


@pytest.mark.parametrize(("period", "jitter"), [(0.0, 0.1), (-5.0, 0.1), (60.0, 1.0), (60.0, -0.1)])
def test_no_beacon_without_a_period(period, jitter):
    with pytest.raises(ValueError, match="must be positive"):
        attacks.beacon(random(), START, START + HOUR, HOST, PEER, period, jitter)


def test_a_slow_scan_tries_another_port_each_minute():
    found = attacks.slow_scan(random(), START, START + 3 * HOUR, HOST, "10.20.0.5")
    assert len(found) == pytest.approx(180, abs=5)
    assert len(set(found["dport"])) == len(found)
    opened = np.isin(found["dport"], (22, 80, 443))
    assert opened.sum() == 3
    assert (found["state"] == np.where(opened, "RSTO", "REJ")).all()


def test_a_horizontal_scan_tries_one_port_of_each_host_first():
    hosts = [f"10.20.3.{k}" for k in range(1, 51)]
    found = attacks.slow_scan(random(), START, START + HOUR, HOST, hosts, horizontal=True)
    found = found.take(np.argsort(found["time"]))
    assert list(found["dst"][:50]) == hosts
    assert set(found["dport"][:50]) == {445}
    assert 445 not in found["dport"][50:]
    silent = found["state"][:50] == "S0"
    assert 0.3 < silent.mean() < 0.9
    assert (found["dst_packets"][:50][silent] == 0).all()


def test_a_conversation_has_the_packets_that_its_bytes_need():
    for name in ("beacon", "exfiltration", "brute force"):
        found = one_of_each()[name]
        out, back = (np.ceil(found[f"{side}_bytes"] / 1460) for side in ("src", "dst"))
        assert (found["src_packets"] >= 3 + out + back // 2).all()
        assert (found["dst_packets"] >= 2 + back + out // 2).all()


def test_exfiltration_moves_all_of_it():
    for seed in range(20):
        most = attacks.exfiltration(random(seed), START, START + HOUR, HOST, PEER, 2**53 - 1, 5)
        assert sum(map(int, most["src_bytes"])) == 2**53 - 1
    found = attacks.exfiltration(random(), START, START + HOUR, HOST, PEER, 123_456_789, 17)
    assert found["src_bytes"].sum() == 123_456_789
    assert len(found) == 17
    assert (found["src_bytes"] > 10 * found["dst_bytes"]).all()
    assert (found["time"] + found["duration"] < START + HOUR).all()


def test_guesses_come_every_four_seconds():
    found = attacks.brute_force(random(), START, START + 900, HOST, "10.20.0.5")
    assert len(found) == pytest.approx(225, abs=8)
    assert (found["dport"] == 22).all()
    assert (found["state"] == "SF").all()


def test_rates_are_those_asked_for():
    tunnel = attacks.dns_tunnel(random(), START, START + 1000, HOST, "10.20.0.2", rate=3)
    assert len(tunnel) == pytest.approx(3000, rel=0.1)
    full = attacks.flood(random(), START, START + 10, HOST, "10.20.0.2", rate=200)
    assert len(full) == pytest.approx(2000, rel=0.1)
    assert set(full["state"]) == {"SF"}
    syns = attacks.flood(random(), START, START + 10, HOST, "10.20.0.2", rate=200, syn=True)
    assert set(syns["state"]) == {"S0"}
    fast = attacks.fast_scan(random(), START, START + 10, HOST, "10.20.0.2", rate=50)
    assert len(fast) == pytest.approx(500, rel=0.15)


def test_nothing_happens_in_no_time():
    assert len(attacks.beacon(random(), START, START, HOST, PEER, 60.0, 0.1)) == 0
    assert len(attacks.flood(random(), START, START, HOST, PEER)) == 0
    assert len(attacks.slow_scan(random(), START, START, HOST, PEER)) == 0


def day(hosts: int = 3) -> Flows:
    """Two hosts that poll each ten minutes by day, one that is there at night; and one attack."""
    time = START // 86400 * 86400 + np.arange(0, 24 * HOUR, 600.0)
    hour = (np.arange(len(time)) // 6) % 24
    parts = []
    for k in range(hosts):
        awake = (hour >= 8) & (hour < 18) if k < 2 else hour < 5
        n = int(awake.sum())
        made = {"time": time[awake] + k, "src": [f"10.0.0.{k + 1}"] * n, "dst": [f"d{k}"] * n}
        made |= {"duration": np.full(n, 0.5), "label": ["benign"] * n}
        parts.append(flows("zeek", n, {"weight": np.full(n, 7.0)}, **made))
    evil = attacks.beacon(random(), float(time[0]), float(time[-1]), "10.0.0.1", PEER, 60.0, 0.1)
    return attacks.merged(*parts, evil)


def test_more_hosts_keep_hours_periods_and_peers_of_their_donors():
    like = day()
    start = like["time"].min() + 7 * 86400
    found = attacks.benign_hosts(random(), like, 40, start, start + 86400)
    assert len(set(found["src"])) == 40
    assert set(found["dst"]) == {"d0", "d1", "d2"}
    assert set(found["label"]) == {"benign"}
    assert (found.extra["weight"] == 7).all()
    assert (found["time"] >= start).all()
    assert (found["time"] < start + 86400).all()
    firsts = []
    for name in set(found["src"]):
        mine = found.take(found["src"] == name)
        assert len(set(mine["dst"])) == 1
        hours = (mine["time"] % 86400) / HOUR
        first, last = (22.5 - 24, 6.5) if mine["dst"][0] == "d2" else (6.5, 19.5)
        assert ((hours - first) % 24 <= last - first).all()
        assert np.allclose((np.diff(np.sort(mine["time"])) + 1) % 600, 1, atol=1e-3)
        firsts.append(mine["time"].min() % 600)
    assert len(np.unique(np.round(firsts, 3))) == 40


def test_more_hosts_need_a_host():
    like = day()
    evil = like.take(like["label"] == "beacon")
    with pytest.raises(ValueError, match="no harmless flow"):
        attacks.benign_hosts(random(), evil, 3, START, START + HOUR)
    with pytest.raises(ValueError, match="no room"):
        attacks.benign_hosts(random(), like, 300, START, START + HOUR, net="10.0.0.0/24")
    with pytest.raises(ValueError, match="0 hosts"):
        attacks.benign_hosts(random(), like, 0, START, START + HOUR)


def test_a_short_day_lends_its_hours_to_all_hours():
    like = day(1)
    morning = like.take(like["time"] < like["time"].min() + 11 * HOUR)
    start = float(np.floor(like["time"].min() / 86400)) * 86400 + 20 * HOUR
    assert len(attacks.benign_hosts(random(), morning, 5, start, start + 4 * HOUR)) > 0


def test_merged_is_in_order_of_arrival_and_fills_what_some_lack():
    long = flows("zeek", 1, {"a": [1.0]}, time=[0.0], duration=[100.0], src=["x"])
    brief = flows("zeek", 2, {"b": ["w", "v"]}, time=[5.0, 50.0], duration=[1.0, np.nan])
    found = attacks.merged(long, brief)
    assert list(found["time"]) == [5.0, 50.0, 0.0]
    assert list(found.extra["b"]) == ["w", "v", ""]
    assert np.array_equal(found.extra["a"], [np.nan, np.nan, 1.0], equal_nan=True)
    with pytest.raises(ValueError, match="one source"):
        attacks.merged(long, flows("eve", 0))
