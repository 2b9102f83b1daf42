"""Where a flow goes and to which service: addresses, ports, protocols and states as kinds."""

from __future__ import annotations

import ipaddress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstmkit.errors import UserError
from lstmkit.tasks.intrusion import places
from lstmkit.tasks.intrusion.places import DIRECTIONS, PORTS, PROTOS, STATES, Home

NOWHERE, INSIDE, OUTSIDE, GROUP = range(4)


def words(*names: str) -> np.ndarray:
    found = np.empty(len(names), object)
    found[:] = names
    return found


# --- addresses


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("10.0.0.1", INSIDE), ("10.255.255.255", INSIDE), ("172.16.0.1", INSIDE),
        ("172.31.255.254", INSIDE), ("172.32.0.1", OUTSIDE), ("172.15.255.255", OUTSIDE),
        ("192.168.4.4", INSIDE), ("192.169.0.1", OUTSIDE), ("169.254.9.9", INSIDE),
        ("100.64.0.1", INSIDE), ("100.128.0.1", OUTSIDE), ("8.8.8.8", OUTSIDE),
        ("fd00::1", INSIDE), ("fe80::1", INSIDE), ("fe80::1%eth0", INSIDE),
        ("2001:db8::1", OUTSIDE),
        ("224.0.0.1", GROUP), ("239.255.255.250", GROUP), ("ff02::fb", GROUP),
        ("255.255.255.255", GROUP), ("0.0.0.0", GROUP), ("::", GROUP),
        ("::ffff:10.0.0.1", INSIDE), ("::ffff:8.8.8.8", OUTSIDE), ("::ffff:224.0.0.1", GROUP),
        ("::ffff:255.255.255.255", GROUP), ("::ffff:0.0.0.0", GROUP),
        ("", NOWHERE), ("printer", NOWHERE), ("10.0.0", NOWHERE), ("10.0.0.256", NOWHERE),
        ("10.0.0.1/8", NOWHERE), ("1" * 5000, NOWHERE), ("\ud800", NOWHERE), ("010.0.0.1", NOWHERE),
    ],
)  # fmt: skip
def test_places_of_addresses_where_private_ones_are_home(address, place):
    assert Home().place(address) == Home([]).place(address) == Home(None).place(address) == place


def test_home_is_what_is_named_and_nothing_else():
    home = Home(["203.0.113.0/24", " 2001:db8::/32 ", "198.51.100.77/16"])
    assert home.named == ("203.0.113.0/24", " 2001:db8::/32 ", "198.51.100.77/16")
    known = {"203.0.113.9": INSIDE, "203.0.114.9": OUTSIDE, "2001:db8:5::1": INSIDE,
             "2001:db9::1": OUTSIDE, "10.0.0.1": OUTSIDE, "fe80::1": OUTSIDE,
             "::ffff:203.0.113.9": INSIDE, "198.51.0.1": INSIDE, "224.0.0.1": GROUP}  # fmt: skip
    for _ in range(2):  # the second time from memory
        assert {a: home.place(a) for a in known} == known
    assert Home(["8.8.8.8"]).place("8.8.8.8") == INSIDE
    assert Home(["224.0.0.0/4"]).place("224.0.0.1") == GROUP  # a group is nobody's home


@pytest.mark.parametrize(
    "text", ["10.0.0.0/99", "", "office", "10.0.0.0/8,192.168.0.0/16", "::/129"]
)
def test_what_is_no_network_is_refused(text):
    with pytest.raises(UserError, match="this is no network") as caught:
        Home(["10.0.0.0/8", text])
    assert caught.value.got == repr(text) and "--home-net" in caught.value.hint
    assert [Home([n]) for n in caught.value.hint.split(" ")[1].split(",")]


def test_memory_of_addresses_is_bounded(monkeypatch):
    monkeypatch.setattr(places, "MOST_KNOWN", 50)
    home = Home()
    found = [home.place(f"10.0.{k // 256}.{k % 256}") for k in range(500)]
    assert found == [INSIDE] * 500 and len(home._known) <= 50


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.ip_addresses(), st.ip_addresses(network="10.0.0.0/7"), st.text(max_size=12)))
def test_any_address_has_a_place(address):
    place = Home(["10.0.0.0/8"]).place(str(address))
    address = getattr(address, "ipv4_mapped", None) or address
    if isinstance(address, str) or address.is_multicast or int(address) in (0, 2**32 - 1):
        return
    inside = address.version == 4 and address in ipaddress.ip_network("10.0.0.0/8")
    assert place == (INSIDE if inside else OUTSIDE)


def test_directions():
    ends = {"": 0, "10.0.0.1": 1, "8.8.8.8": 2, "224.0.0.1": 3}
    wanted = [
        ["unknown", "unknown", "unknown", "group"],
        ["unknown", "internal", "outbound", "group"],
        ["unknown", "inbound", "external", "group"],
        ["unknown", "internal", "internal", "group"],  # 0.0.0.0 asks for an address
    ]
    pairs = [(a, b) for a in ends for b in ends]
    found = Home().directions(words(*(a for a, _ in pairs)), words(*(b for _, b in pairs)))
    assert [DIRECTIONS[k] for k in found] == [name for row in wanted for name in row]
    assert Home().directions(words(), words()).shape == (0,)


# --- ports, protocols, states


@pytest.mark.parametrize(
    ("proto", "port", "kind"),
    [("tcp", 443, "443"), ("udp", 53, "53"), ("tcp", 22, "22"), ("tcp", 27017, "27017"),
     ("tcp", 0, "below 1024"), ("tcp", 1000, "below 1024"), ("tcp", 1023, "below 1024"),
     ("tcp", 1024, "1024 to 32767"), ("udp", 32767, "1024 to 32767"), ("udp", 32768, "from 32768"),
     ("tcp", 65535, "from 32768"), ("tcp", -1, "none"), ("gre", -1, "none"), ("icmp", 0, "icmp"),
     ("icmp", 53, "icmp"), ("icmp", -1, "icmp")],
)  # fmt: skip
def test_ports_are_services_or_ranges(proto, port, kind):
    found = places.ports(places.protos(words(proto)), np.array([port], np.int32))
    assert PORTS[found[0]] == kind


def test_every_port_has_one_kind():
    tcp = np.full(65536, PROTOS.index("tcp"))
    found = places.ports(tcp, np.arange(65536))
    alone = {p for p in range(65536) if PORTS[found[p]] == str(p)}
    assert alone == set(places.SERVICES) and len(set(PORTS)) == len(PORTS)
    counts = {name: int((found == PORTS.index(name)).sum()) for name in places.RANGES}
    low, middle = (sum(a <= p < b for p in places.SERVICES) for a, b in ((0, 1024), (1024, 32768)))
    assert counts == {"none": 0, "icmp": 0, "below 1024": 1024 - low,
                      "1024 to 32767": 31744 - middle, "from 32768": 32768}  # fmt: skip


def test_protocols_and_states_are_known_or_other():
    names = words("tcp", "udp", "icmp", "", "sctp", "TCP", "\ud800")
    assert [PROTOS[k] for k in places.protos(names)] == [
        "tcp", "udp", "icmp", "", "other", "other", "other",
    ]  # fmt: skip
    known = words(*STATES)
    assert places.states(known).tolist() == list(range(len(STATES)))
    assert [STATES[k] for k in places.states(words("sf", "RSTRH", "x"))] == [
        "other",
        "RSTRH",
        "other",
    ]
    assert places.states(words()).shape == places.protos(words()).shape == (0,)


def test_the_states_are_those_that_the_readers_give():
    from lstmkit.readers.flows import states

    given = {states.both_ways("udp", a, b) for a in (True, False) for b in (True, False)}
    flags = [None, 0x00, 0x02, 0x04, 0x10, 0x12, 0x14, 0x13, 0x1B, 0x16]
    given |= {states.tcp_state(a, b) for a in flags for b in flags}
    assert given <= set(STATES) - {"other"} and len(given) > 6
