"""The program says what the network says; however flows are cut, and whoever else is there."""

from __future__ import annotations

import numpy as np
import office
import pytest
import torch

from lstmkit import runtime
from lstmkit.lowprecision import lower
from lstmkit.readers.flows import Flows, pieces
from lstmkit.tasks.intrusion.data import Corpus, batch
from lstmkit.tasks.intrusion.estimator import IntrusionDetector
from lstmkit.tasks.intrusion.features import EXPECTED_WORDS
from lstmkit.tasks.intrusion.learning import surprise
from lstmkit.tasks.intrusion.watch import EASY, PIECE, Judged, Watch, waves


def watched(detector: IntrusionDetector, parts: list[Flows], **options: object) -> Judged:
    watch = Watch(runtime.load(detector.program_), detector.shape_, detector.scale_, **options)  # type: ignore[arg-type]
    found = [watch.read(part) for part in parts]
    return Judged(*(np.concatenate(column) for column in zip(*found, strict=True)))


def test_the_program_is_the_network(detector: IntrusionDetector) -> None:
    found = office.attacked()
    nobody = np.full(len(found), -1)
    corpus = Corpus.of(detector.shape_, found, nobody, np.zeros(0, np.int64))
    given = batch([corpus.window(rows) for rows in corpus.windows])
    network = detector.network_
    with torch.no_grad():
        said = network(given.flows)
        classes = said.classes.softmax(-1).numpy()
        off = surprise(network, given, said).numpy()
    judged = watched(detector, [found])
    assert max(map(len, corpus.windows)) < 384  # each host's flows are one window
    for b, rows in enumerate(corpus.windows):
        n = len(rows)
        np.testing.assert_allclose(judged.classes[rows], classes[b, :n], atol=2e-5)
        np.testing.assert_allclose(judged.measures[rows, 1] - EASY, off[b, :n], atol=2e-3)


def test_pieces_of_any_size_are_judged_alike_bit_for_bit(detector: IntrusionDetector) -> None:
    found = office.attacked()
    whole = watched(detector, [found])
    for size in (1, 7, 100):
        cut = watched(detector, list(pieces(found, size)))
        for one, other in zip(whole, cut, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_host_is_judged_alike_whoever_else_is_there(detector: IntrusionDetector) -> None:
    """But for what is known of destinations, which all hosts share."""
    found = office.attacked()
    mine = found["src"] == "10.0.1.3"
    start = detector.start_
    whole = watched(detector, [found], start=start)
    alone = watched(detector, [found.take(mine)], start=start)
    np.testing.assert_allclose(whole.classes[mine], alone.classes, atol=0.2)
    assert np.corrcoef(whole.score[mine], alone.score)[0, 1] > 0.95


def test_the_scan_stands_out(detector: IntrusionDetector) -> None:
    found = office.attacked()
    score = detector.score(found)
    scan = found["label"] == "scan"
    assert np.median(score[scan]) > np.quantile(score[~scan], 0.99)


def test_without_memory_every_flow_stands_alone(detector: IntrusionDetector) -> None:
    found = office.attacked()
    without = watched(detector, [found], memory=False)
    watch = Watch(runtime.load(detector.program_), detector.shape_, detector.scale_, memory=False)
    watch.read(found)
    fresh = Watch(runtime.load(detector.program_), detector.shape_, detector.scale_)
    first = fresh.read(found.take(slice(0, 1)))
    np.testing.assert_array_equal(first.classes[0], without.classes[0])
    assert not np.allclose(without.classes, watched(detector, [found]).classes)


def test_surprise_is_of_what_the_flow_was(detector: IntrusionDetector) -> None:
    found = office.day(seed=5)
    k = len(found) - 1
    columns = {name: column.copy() for name, column in found.columns.items()}
    columns["dport"][k] = 31337
    columns["state"][k] = "RSTOS0"
    usual = watched(detector, [found])
    odd = watched(detector, [Flows("zeek", columns)])
    port, state = EXPECTED_WORDS.index("port"), EXPECTED_WORDS.index("state")
    assert odd.chances[k, port] < usual.chances[k, port] - 1
    assert odd.chances[k, state] < usual.chances[k, state] - 1
    np.testing.assert_array_equal(odd.score[:k], usual.score[:k])


def test_waves_take_each_host_once_and_in_order() -> None:
    slots = np.array([3, 1, 3, 3, 2, 1])
    found = [one.tolist() for one in waves(slots)]
    assert found == [[0, 1, 4], [2, 5], [3]]
    assert len(waves(np.zeros(0, np.int64))) <= 1


def test_low_precision_says_nearly_the_same(detector: IntrusionDetector) -> None:
    found = office.attacked()
    lowered = detector.lowered("bfloat16")
    exact, rough = detector.score(found), lowered.score(found)
    assert np.corrcoef(exact, rough)[0, 1] > 0.9
    assert lower(detector.program_, "int8").weights.keys() >= {"middle", "scale"}


def test_a_bounded_watch_forgets_hosts_and_goes_on(detector: IntrusionDetector) -> None:
    watch = Watch(runtime.load(detector.program_), detector.shape_, detector.scale_, hosts=1)
    assert watch.context.hosts.capacity == 4 * PIECE
    watch.context.hosts.capacity = watch.context.pairs.capacity = 64
    watch.context.peers.capacity = 64
    rng = np.random.default_rng(0)
    found = office.day(hosts=4)
    for k in range(20):
        names = np.array([f"10.{k}.{i}.1" for i in rng.integers(0, 99, 40)], object)
        part = found.take(np.arange(40))
        judged = watch.read(Flows("zeek", {**part.columns, "src": names}))
        assert np.isfinite(judged.score).all()
    assert len(watch.context.hosts) == 64
    assert watch.context.hosts.left > 500


@pytest.mark.parametrize("entry", ["step"])
def test_the_program_declares_what_it_is(detector: IntrusionDetector, entry: str) -> None:
    assert detector.program_.kind == "recurrent"
    assert detector.program_.entry(entry).inputs[0].name == "numbers"
    assert sorted(detector.program_.slots) == ["host.c_l0", "host.h_l0", "pair.c_l0", "pair.h_l0"]
