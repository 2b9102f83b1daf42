"""Features against a plain loop, and however the flows are cut."""

from __future__ import annotations

import numpy as np
import office
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstmkit.errors import UserError
from lstmkit.readers.flows import flows, joined
from lstmkit.tasks.intrusion import places
from lstmkit.tasks.intrusion.features import (
    NUMBERS,
    Context,
    flow_geometry,
    record_features,
    record_geometry,
)

SHAPE = flow_geometry("zeek", (office.HOME,))


def test_what_a_flow_sees_of_those_before_it() -> None:
    found = office.attacked()
    read = Context(SHAPE, 10_000).read(found)
    seen = {name: read.numbers[:, k] for k, name in enumerate(NUMBERS)}
    last_host: dict[str, int] = {}
    last_pair: dict[tuple[str, str], int] = {}
    idle_pair: dict[int, float] = {}
    known: dict[str, set[str]] = {}
    for k in range(len(found)):
        src, dst, time = found["src"][k], found["dst"][k], found["time"][k]
        before, pair = last_host.get(src), last_pair.get((src, dst))
        assert seen["first_of_host"][k] == (before is None)
        assert seen["first_of_pair"][k] == (pair is None)
        if before is not None:
            idle = np.log1p(1000 * max(time - found["time"][before], 0))
            assert seen["idle_host"][k] == pytest.approx(idle, rel=1e-6)
            assert seen["same_peer"][k] == (found["dst"][before] == dst)
            assert seen["same_port"][k] == (found["dport"][before] == found["dport"][k])
        if pair is not None:
            idle_pair[k] = np.log1p(1000 * max(time - found["time"][pair], 0))
            grown = np.log1p(found["src_ip_bytes"][k]) - np.log1p(found["src_ip_bytes"][pair])
            assert seen["size_change"][k] == pytest.approx(np.clip(grown, -4, 4), abs=1e-5)
            change = idle_pair[k] - idle_pair.get(pair, np.nan)
            assert seen["interval_known"][k] == (not np.isnan(change))
            assert seen["interval_change"][k] == pytest.approx(
                np.nan_to_num(np.clip(change, -4, 4)), abs=1e-5
            )
        assert seen["known_peer"][k] == pytest.approx(np.log1p(len(known.get(dst, ()))))
        known.setdefault(dst, set()).add(src)
        last_host[src] = last_pair[src, dst] = k


def test_a_scan_keeps_finding_new_ports_and_browsing_does_not() -> None:
    found = office.attacked()
    read = Context(SHAPE, 10_000).read(found)
    new = read.numbers[:, NUMBERS.index("new_port_of_host")]
    scan = found["label"] == "scan"
    assert new[scan].mean() > 0.6  # 40 ports in 64 places
    assert new[~scan].mean() < 0.05


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 200), min_size=1, max_size=6))
def test_pieces_of_any_size_give_the_same_features(sizes: list[int]) -> None:
    found = office.attacked()
    whole = Context(SHAPE, 10_000).read(found)
    context, parts, at = Context(SHAPE, 10_000), [], 0
    for size in [*sizes, len(found)]:
        parts.append(context.read(found.take(slice(at, at + size))))
        at += size
    for one, name in zip(whole, whole._fields, strict=True):
        np.testing.assert_array_equal(one, np.concatenate([getattr(p, name) for p in parts]))


def test_states_go_on_where_they_stopped() -> None:
    found = office.attacked()
    whole = Context(SHAPE, 10_000).read(found)
    first = Context(SHAPE, 10_000)
    first.read(found.take(slice(0, 300)))
    second = Context(SHAPE, 10_000)
    second.restore(first.save())
    rest = second.read(found.take(slice(300, None)))
    np.testing.assert_array_equal(rest.numbers, whole.numbers[300:])


def test_times_that_go_back_are_no_idleness() -> None:
    found = flows("zeek", 2, time=[100.0, 50.0], src=["a", "a"], dst=["b", "b"])
    read = Context(SHAPE, 100).read(found)
    assert read.numbers[1, NUMBERS.index("idle_host")] == 0
    assert np.isfinite(read.numbers).all()


def test_words_are_within_their_vocabulary() -> None:
    odd = flows(
        "zeek", 3, time=[1.0, 2, 3], src=["10.0.0.1", "x", "8.8.8.8"], dst=["8.8.8.8", "", "::1"],
        dport=[443, -1, 65535], proto=["tcp", "??", "icmp"], state=["SF", "WHAT", ""],
    )  # fmt: skip
    read = Context(SHAPE, 100).read(odd)
    sizes = [len(values) for _, values in SHAPE.words]
    inside = read.words - SHAPE.offsets
    assert (inside >= 0).all()
    assert (inside < sizes).all()
    names = [name for name, _ in SHAPE.words]
    direction = inside[:, names.index("direction")]
    assert places.DIRECTIONS[direction[0]] == "outbound"
    assert places.DIRECTIONS[direction[1]] == "unknown"


def test_records_have_their_own_columns() -> None:
    made = flows(
        "nsl-kdd", 3, {"flag": ["SF", "S0", "SF"], "count": [1, 2, 500], "rate": [0, 0.5, 1]}
    )
    shape = record_geometry(made)
    assert shape.numbers == ("count", "rate")
    read = record_features(shape, made)
    assert read.numbers[2, 0] == pytest.approx(np.log1p(500))
    other = flows("nsl-kdd", 1, {"flag": ["NEW"], "count": [1], "rate": [0]})
    assert record_features(shape, other).words.tolist() == [[0]]
    with pytest.raises(UserError, match="no column"):
        record_features(shape, flows("nsl-kdd", 1, {"count": [1]}))


def test_another_source_of_flows_fits_and_records_do_not() -> None:
    SHAPE.check(flows("pcap", 0))
    with pytest.raises(UserError, match="lack the features"):
        SHAPE.check(flows("nsl-kdd", 0))
    single = record_geometry(flows("nsl-kdd", 1, {"count": [1]}))
    with pytest.raises(UserError, match="lack the features"):
        single.check(flows("zeek", 0))
    with pytest.raises(UserError, match="lack the features"):
        single.check(flows("unsw-nb15", 0))


def test_flows_of_two_sources_are_not_joined_by_accident() -> None:
    both = joined([office.day(hosts=2), office.day(seed=3, hosts=2)])
    assert both.source == "zeek"
