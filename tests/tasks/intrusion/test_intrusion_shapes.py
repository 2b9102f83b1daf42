"""Made-up attacks look like what they are called; baselines and Kitsune's idea see them."""

from __future__ import annotations

import numpy as np
import office
import pytest

from lstmkit.errors import UserError
from lstmkit.tasks.intrusion import baselines, kitsune, places, shapes
from lstmkit.tasks.intrusion.features import flow_geometry

PLOT = shapes.Plot(office.START, "10.0.1.1", "93.184.9.9")
SHAPE = flow_geometry("zeek", (office.HOME,))


@pytest.mark.parametrize("name", list(shapes.SHAPES))
def test_every_shape_is_made_of_flows_that_can_be(name: str) -> None:
    for seed in range(15):
        found = shapes.SHAPES[name](np.random.default_rng(seed), PLOT)
        assert 2 <= len(found) <= shapes.LONGEST
        assert (np.diff(found["time"]) >= 0).all()
        assert found["time"][0] >= PLOT.start - 1
        for column in ("src_packets", "src_ip_bytes", "dst_ip_bytes"):
            assert (found[column] >= 0).all()
        assert ((found["dport"] >= 0) & (found["dport"] <= 65535)).all()
        assert set(found["src"]) == {PLOT.host}


def test_shapes_are_what_they_are_called() -> None:
    rng = np.random.default_rng(0)
    scan = shapes.scan(rng, PLOT)
    assert len(set(scan["dport"])) > 0.8 * len(scan)
    assert len(set(scan["dst"])) == 1
    sweep = shapes.sweep(rng, PLOT)
    assert len(set(sweep["dst"])) > 0.5 * len(sweep)
    assert len(set(sweep["dport"])) == 1
    gaps = np.diff(shapes.beacon(rng, PLOT)["time"])
    assert np.abs(gaps - np.median(gaps)).max() <= 0.75 * np.median(gaps)
    away = shapes.exfiltration(rng, PLOT)
    assert away["src_bytes"].sum() > 20 * away["dst_bytes"].sum()


def cast() -> shapes.Cast:
    normal = office.day()
    hosts = sorted(set(normal["src"]))
    return shapes.Cast(hosts, sorted(set(normal["dst"])), office.SITES, normal)


def test_an_episode_keeps_the_flows_of_its_host() -> None:
    normal = office.day()
    base = normal.take(normal["src"] == "10.0.1.2")
    seen = set()
    for seed in range(40):
        found, kinds = shapes.episode(np.random.default_rng(seed), base, cast())
        seen |= set(kinds.tolist())
        own = found.take(kinds == 0)
        if shapes.CLASSES.index("unusual") + 1 not in kinds:
            assert own["record"].tolist() == base["record"].tolist()
        assert (np.diff(found["time"] + np.nan_to_num(found["duration"])) >= 0).all() or (
            shapes.CLASSES.index("unusual") + 1 in kinds
        )
    assert seen == set(range(len(shapes.CLASSES) + 1))


def test_the_same_seed_plays_the_same_attack() -> None:
    base = office.day(hosts=1)
    one, _ = shapes.episode(np.random.default_rng(3), base, cast())
    other, _ = shapes.episode(np.random.default_rng(3), base, cast())
    for name in one.columns:
        np.testing.assert_array_equal(one[name], other[name])


def test_varied_flows_are_of_the_same_host_in_the_same_order() -> None:
    base = office.day(hosts=1)
    for seed in range(10):
        found = shapes.varied(np.random.default_rng(seed), base)
        assert set(found["src"]) == set(base["src"])
        places_ = [base["record"].tolist().index(r) for r in found["record"]]
        assert places_ == sorted(places_)
        assert found["time"][0] >= base["time"][0]


@pytest.mark.parametrize(
    "made",
    [
        lambda: baselines.Forest(SHAPE),
        lambda: baselines.Forest(SHAPE, context=False),
        lambda: baselines.Rarity(SHAPE),
        lambda: kitsune.Kitsune(),
    ],
)
def test_baselines_see_a_scan_without_labels(made: object) -> None:
    found = office.attacked()
    score = made().fit(office.day(), None).score(found)  # type: ignore[operator]
    scan = found["label"] == "scan"
    assert score.shape == (len(found),)
    assert np.median(score[scan]) > np.median(score[~scan])


def test_boosting_needs_labels_and_uses_them() -> None:
    with pytest.raises(ValueError, match="labels"):
        baselines.Boosting(SHAPE).fit(office.day(), None)
    train, test = office.attacked(2), office.attacked(3, office.START + 5 * 86400)
    score = baselines.Boosting(SHAPE).fit(train, train["label"] == "scan").score(test)
    scan = test["label"] == "scan"
    assert score[scan].min() > score[~scan].max()


def test_a_clock_is_more_periodic_than_people() -> None:
    beacon = shapes.made(
        np.random.default_rng(0), PLOT, office.START + 300.0 * np.arange(40), dport=443,
        src_ip_bytes=np.full(40, 900.0),
    )  # fmt: skip
    people = office.day()
    regular = baselines.Periodicity().fit(people, None)
    assert regular.score(beacon)[-1] == 1
    assert np.quantile(regular.score(people), 0.99) < 1


def test_damped_statistics_are_what_their_sums_say() -> None:
    times, sizes, decay = np.array([0.0, 3.0, 5.0]), np.array([2.0, 4.0, 9.0]), 0.1
    found = kitsune._damped([("a",)] * 3, times, sizes, decay)
    weights = 2.0 ** (-decay * (times[-1] - times))
    mean = (weights * sizes).sum() / weights.sum()
    spread = np.sqrt((weights * sizes**2).sum() / weights.sum() - mean**2)
    np.testing.assert_allclose(found[-1, :3], [weights.sum(), mean, spread])


def test_places_of_addresses() -> None:
    home = places.Home(["10.0.0.0/8", "2001:db8::/32"])
    known = {"10.1.2.3": 1, "8.8.8.8": 2, "2001:db8::1": 1, "2001:db9::1": 2, "224.0.0.1": 3,
             "ff02::1": 3, "255.255.255.255": 3, "0.0.0.0": 3, "::ffff:10.0.0.1": 1, "": 0,
             "name": 0}  # fmt: skip
    assert {a: home.place(a) for a in known} == known
    assert places.Home().place("192.168.4.4") == 1
    with pytest.raises(UserError, match="no network"):
        places.Home(["10.0.0.0/99"])


def test_ports_are_services_or_ranges() -> None:
    proto = places.protos(np.array(["tcp", "tcp", "icmp", "tcp", "udp"], object))
    kinds = places.ports(proto, np.array([443, 1000, 8, 50000, -1]))
    assert [places.PORTS[k] for k in kinds] == [
        "443", "below 1024", "icmp", "from 32768", "none",
    ]  # fmt: skip
