"""What stands beside a detector: each sees a planted attack, and says the same again."""

from __future__ import annotations

import importlib
import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import office
import pytest

from lstmkit.readers.flows import Flows, flows, joined
from lstmkit.tasks.intrusion import baselines, kitsune, shapes
from lstmkit.tasks.intrusion.features import NUMBERS, flow_geometry

SHAPE = flow_geometry("zeek", (office.HOME,))
LATER = office.START + 86_400
MADE: dict[str, Callable[[], Any]] = {
    "boosting": lambda: baselines.Boosting(SHAPE),
    "boosting alone": lambda: baselines.Boosting(SHAPE, context=False),
    "forest": lambda: baselines.Forest(SHAPE),
    "forest alone": lambda: baselines.Forest(SHAPE, context=False),
    "rarity": lambda: baselines.Rarity(SHAPE),
    "periodicity": lambda: baselines.Periodicity(),
    "kitsune": lambda: kitsune.Kitsune(),
    "random": lambda: baselines.Random(),
}


def beacon(host: str = "10.0.1.2", n: int = 40, start: float = LATER) -> Flows:
    """A host that says the same to the same place every five minutes."""
    plot = shapes.Plot(start, host, "203.0.113.9")
    return shapes.made(
        np.random.default_rng(0), plot, start + 300.0 * np.arange(n), dport=443, service="ssl",
        src_packets=5.0, dst_packets=4.0, src_ip_bytes=900.0, dst_ip_bytes=700.0, duration=0.1,
        label="beacon",
    )  # fmt: skip


def zeek(found: Flows) -> Flows:
    return Flows("zeek", found.columns)


@pytest.fixture(scope="module", autouse=True)
def imported() -> None:
    """What takes seconds to import, before any test."""
    importlib.import_module("sklearn.ensemble")
    importlib.import_module("scipy.cluster.hierarchy")


@pytest.fixture(scope="module")
def train() -> Flows:
    return zeek(office.by_arrival(joined([zeek(office.day(2, hosts=4)), zeek(office.scan())])))


@pytest.fixture(scope="module")
def test() -> Flows:
    scan = office.scan(host="10.0.1.1", begin=LATER + 3600)
    parts = [office.day(3, hosts=4, start=LATER), scan, beacon()]
    return office.by_arrival(joined([zeek(one) for one in parts]))


def area(score: np.ndarray, attack: np.ndarray) -> float:
    """How often an attack scores above a benign flow; ties are half."""
    above = score[attack][:, None] - score[~attack][None]
    return float(((above > 0) + 0.5 * (above == 0)).mean())


# --- all of them


@pytest.mark.parametrize("name", MADE)
def test_baselines_have_one_shape_and_say_the_same_again(name, train, test, monkeypatch):
    monkeypatch.setattr(kitsune, "EPOCHS", 1)
    train, test = train.take(slice(0, None, 6)), test.take(slice(0, None, 6))
    given = train["label"] != "benign" if "boosting" in name else None
    one, other = MADE[name](), MADE[name]()
    assert one.fit(train, given) is one
    first, again = one.score(test), other.fit(train, given).score(test)
    assert first.shape == (len(test),) and np.isfinite(first).all()
    assert first.dtype == np.float64
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize(
    ("name", "seen", "least"),
    [("boosting", "scan", 0.99), ("boosting alone", "scan", 0.99), ("forest", "scan", 0.95),
     ("forest alone", "scan", 0.95), ("rarity", "scan", 0.95), ("kitsune", "scan", 0.9),
     ("periodicity", "beacon", 0.9)],
)  # fmt: skip
def test_baselines_see_what_they_are_for(name, seen, least, train, test, monkeypatch):
    monkeypatch.setattr(kitsune, "EPOCHS", 1)
    benign = train.take(train["label"] == "benign")
    fitted = MADE[name]()
    if "boosting" in name:
        fitted.fit(train, train["label"] == "scan")
    else:
        fitted.fit(benign, None)
    label = test["label"]
    asked = (label == seen) | (label == "benign")
    assert area(fitted.score(test)[asked], label[asked] == seen) > least


def test_chance_sees_nothing(train, test):
    scores = baselines.Random(0).fit(train, None).score(test)
    assert 0.4 < area(scores, test["label"] != "benign") < 0.6
    assert (baselines.Random(1).score(test) != scores).all()


def test_boosting_needs_labels_and_gives_probabilities(train, test):
    with pytest.raises(ValueError, match="needs labels"):
        MADE["boosting"]().fit(train, None)
    score = MADE["boosting"]().fit(train, train["label"] != "benign").score(test)
    assert (score >= 0).all() and (score <= 1).all()


def test_a_baseline_by_itself_does_nothing(train):
    for name in ("fit", "score"):
        with pytest.raises(NotImplementedError):
            getattr(baselines.Baseline(), name)(*(train, None)[: 2 if name == "fit" else 1])


# --- tables


def test_a_table_with_context_has_all_features_and_one_without_only_the_flow_s(train):
    whole, alone = (baselines.table(SHAPE, train, context) for context in (True, False))
    assert whole.shape == (len(train), len(NUMBERS) + 4)
    assert alone.shape == (len(train), len(baselines.OF_FLOW) + 4)
    columns = [NUMBERS.index(name) for name in baselines.OF_FLOW]
    np.testing.assert_array_equal(alone[:, :-4], whole[:, columns])
    np.testing.assert_array_equal(alone[:, -4:], whole[:, -4:])


def test_without_context_the_order_of_flows_says_nothing(train):
    order = np.random.default_rng(0).permutation(len(train))
    alone = baselines.table(SHAPE, train.take(order), False)
    np.testing.assert_array_equal(alone, baselines.table(SHAPE, train, False)[order])
    context = baselines.table(SHAPE, train.take(order), True)
    assert (context != baselines.table(SHAPE, train, True)[order]).any()


# --- rarity


def small(ports: list[int]) -> Flows:
    n = len(ports)
    return flows("zeek", n, time=np.arange(n) + 1.7e9, src=["10.0.0.1"] * n, dst=["8.8.8.8"] * n,
                 dport=ports, proto=["tcp"] * n, state=["SF"] * n)  # fmt: skip


def test_rarity_is_one_more_than_was_counted():
    fitted = baselines.Rarity(SHAPE).fit(small([443] * 6 + [80] * 3 + [22]), None)
    score = fitted.score(small([443, 80, 22, 25, 443]))
    np.testing.assert_allclose(score, np.log([11 / 7, 11 / 4, 11 / 2, 11, 11 / 7]))
    np.testing.assert_array_equal(fitted.score(small([25] * 3)), [np.log(11)] * 3)  # not learnt


# --- periodicity


def test_a_clock_is_periodic_and_people_are_not(test):
    score = baselines.Periodicity().score(zeek(beacon()))
    few = baselines.FEWEST_TIMES
    assert (score[:few] == 0).all() and (score[few:] == 1).all()
    people = baselines.Periodicity().score(office.day(5))
    assert people.max() < 1 and people.min() >= 0 and np.median(people) < 0.6


def slow_periodicity(found: Flows) -> np.ndarray:
    """Every flow's score, each from the beginning."""
    score = []
    for k in range(len(found)):
        rows = [
            j
            for j in range(k + 1)
            if (found["src"][j], found["dst"][j]) == (found["src"][k], found["dst"][k])
        ]
        rows = rows[-baselines.LAST_TIMES :]
        if len(rows) <= baselines.FEWEST_TIMES:
            score.append(0.0)
            continue
        parts = []
        for x in (np.diff(sorted(found["time"][rows])), found["src_ip_bytes"][rows]):
            low, middle, high = np.percentile(x, [25, 50, 75])
            bowley = abs((low + high - 2 * middle) / (high - low)) if high > low else 0.0
            mad = np.median([abs(v - middle) for v in x])
            parts += [1 - bowley, max(1 - mad / max(middle, 1e-9), 0)]
        score.append(sum(parts) / 4)
    return np.array(score)


def test_periodicity_is_what_a_slow_look_says(monkeypatch):
    monkeypatch.setattr(baselines, "LAST_TIMES", 12)
    found = joined([zeek(office.day(1, hosts=2)), zeek(beacon(n=20))])
    late = np.random.default_rng(0).exponential(600, len(found))  # some arrive after later ones
    found = found.take(np.argsort(found["time"] + late))
    np.testing.assert_allclose(baselines.Periodicity().score(found), slow_periodicity(found))


# --- Kitsune's statistics


def slow_damped(keys: list[Any], time: np.ndarray, size: np.ndarray, decay: float) -> np.ndarray:
    """Sums over all that came before, in order of arrival."""
    past: dict[Any, list[tuple[float, float, float]]] = defaultdict(list)
    found = []
    for key, t, s in zip(keys, time, size, strict=True):
        last = max((seen for seen, _, _ in past[key]), default=t)
        now = max(t, last)  # a flow that arrives late does not turn time around
        past[key].append((now, s, math.log1p(now - last)))
        weights = np.array([2 ** (-decay * (now - seen)) for seen, _, _ in past[key]])
        row = [weights.sum()]
        for column in (1, 2):
            values = np.array([one[column] for one in past[key]])
            mean = (weights * values).sum() / weights.sum()
            spread = (weights * values**2).sum() / weights.sum() - mean**2
            row += [mean, math.sqrt(max(spread, 0))]
        found.append(row)
    return np.array(found)


@pytest.mark.parametrize("decay", kitsune.DECAYS)
def test_damped_statistics_are_what_their_sums_say(decay):
    rng = np.random.default_rng(0)
    time = np.cumsum(rng.exponential(2, 120)) + rng.normal(0, 3, 120)  # some go back
    size, keys = rng.uniform(0, 9, 120), [(k,) for k in rng.integers(0, 4, 120)]
    assert (np.diff(time) < 0).sum() > 10
    found = kitsune._damped(keys, time, size, decay)
    np.testing.assert_allclose(found, slow_damped(keys, time, size, decay), atol=1e-6)


def test_statistics_are_of_hosts_pairs_services_and_destinations(test):
    found = kitsune.damped(test)
    assert found.shape == (len(test), 5 * len(kitsune.KEYS) * len(kitsune.DECAYS))
    size = np.log1p(np.nan_to_num(test["src_ip_bytes"] + test["dst_ip_bytes"]))
    keys = list(zip(test["src"], test["dst"], strict=True))
    place = 5 * (len(kitsune.DECAYS) * kitsune.KEYS.index(("src", "dst")) + 1)
    wanted = slow_damped(keys, test["time"], size, kitsune.DECAYS[1])
    np.testing.assert_allclose(found[:, place : place + 5], wanted, atol=1e-6)


def test_features_that_go_together_are_one_group(test):
    x = kitsune.damped(test)
    groups = kitsune._groups(x)
    assert sorted(np.concatenate(groups)) == list(range(x.shape[1]))
    assert max(map(len, groups)) <= kitsune.LARGEST and len(groups) >= 8
    rng = np.random.default_rng(0)
    two = rng.standard_normal((300, 2))
    mixed = two[:, np.arange(16) % 2] + 0.1 * rng.standard_normal((300, 16))
    assert sorted(g.tolist() for g in kitsune._groups(mixed)) == [
        list(range(0, 16, 2)), list(range(1, 16, 2)),
    ]  # fmt: skip
    constant = np.ones((50, 12))
    assert sum(map(len, kitsune._groups(constant))) == 12


# --- Kitsune's autoencoders


def test_an_autoencoder_goes_down_the_slope():
    rng = np.random.default_rng(0)
    coder, x = kitsune._Autoencoder(6, rng), rng.random(6)
    names = ("w", "b", "c")
    before = {name: getattr(coder, name).copy() for name in names}

    def loss() -> float:
        return float(0.5 * ((x - coder._said(x)[1]) ** 2).sum())

    slope = {}
    for name in names:
        value, slope[name] = getattr(coder, name), np.zeros_like(before[name])
        for where in np.ndindex(*value.shape):
            for sign in (1, -1):
                value[where] = before[name][where] + sign * 1e-6
                slope[name][where] += sign * loss() / 2e-6
            value[where] = before[name][where]
    error = coder.learn(x)
    assert error == pytest.approx(math.sqrt(2 * loss_of(before, coder, x) / 6))
    for name in names:
        moved = getattr(coder, name) - before[name]
        np.testing.assert_allclose(moved, -kitsune.RATE * slope[name], atol=1e-8)


def loss_of(weights: dict[str, np.ndarray], coder: Any, x: np.ndarray) -> float:
    """Half the squared error under other weights."""
    fresh = kitsune._Autoencoder(len(x), np.random.default_rng(1))
    for name, value in weights.items():
        setattr(fresh, name, value)
    return float(0.5 * ((x - fresh._said(x)[1]) ** 2).sum())


def test_an_autoencoder_learns_what_is_usual():
    rng = np.random.default_rng(0)
    coder, usual = kitsune._Autoencoder(6, rng), rng.random(6)
    first = [coder.learn(usual + 0.02 * rng.standard_normal(6)) for _ in range(2000)]
    assert np.mean(first[-50:]) < 0.2 * first[0]
    rows = np.stack([usual, 1 - usual])
    assert coder.error(rows).shape == (2,) and coder.error(rows)[1] > 3 * coder.error(rows)[0]


def test_the_last_autoencoder_learns_the_errors_of_the_others(train, monkeypatch):
    seen: dict[int, list[tuple[np.ndarray, float]]] = defaultdict(list)

    class Watched(kitsune._Autoencoder):
        def learn(self, x: np.ndarray) -> float:
            error = super().learn(x)
            seen[id(self)].append((np.array(x), error))
            return error

    monkeypatch.setattr(kitsune, "_Autoencoder", Watched)
    monkeypatch.setattr(kitsune, "EPOCHS", 2)
    fitted = kitsune.Kitsune().fit(train.take(slice(0, 20)), None)
    said = np.array([[error for _, error in seen[id(one)]] for one in fitted.small])
    heard = np.array([x for x, _ in seen[id(fitted.last)]])
    assert heard.shape == (40, len(fitted.small)) and heard.std() > 0
    np.testing.assert_array_equal(heard, np.clip(said.T, 0, 1))
    inside = np.concatenate([seen[id(one)][0][0] for one in fitted.small])
    assert inside.min() >= 0 and inside.max() <= 1


def test_the_last_word_is_of_the_errors(train, test, monkeypatch):
    monkeypatch.setattr(kitsune, "EPOCHS", 1)
    test = test.take(slice(0, None, 5))
    fitted = kitsune.Kitsune(3).fit(train.take(slice(0, 60)), None)
    assert fitted.last.w.shape[0] == len(fitted.groups)
    other = kitsune.Kitsune(4).fit(train.take(slice(0, 60)), None)
    assert (fitted.score(test) != other.score(test)).any()
    before = fitted.score(test)
    np.testing.assert_array_equal(fitted.score(test), before)  # scoring learns nothing
    with_labels = kitsune.Kitsune(3).fit(train.take(slice(0, 60)), np.ones(60, bool))
    np.testing.assert_array_equal(with_labels.score(test), before)
