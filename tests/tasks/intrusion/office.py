"""Flows of a small office, made up: what tests of intrusion detection learn from and watch."""

from __future__ import annotations

import numpy as np

from lstmkit.readers.flows import Flows, flows, joined

START = 1_700_000_000.0
HOME = "10.0.0.0/8"
SITES = [f"93.184.{k}.{k + 7}" for k in range(12)]
DNS = "10.0.0.2"


def day(seed: int = 0, hosts: int = 8, hours: float = 6.0, start: float = START) -> Flows:
    """Benign flows of hosts that browse, ask for names and fetch mail."""
    rng = np.random.default_rng(seed)
    parts = [_host(rng, f"10.0.1.{k + 1}", hours, start) for k in range(hosts)]
    return by_arrival(joined(parts))


def by_arrival(found: Flows) -> Flows:
    """In order of their ends."""
    ends = found["time"] + np.nan_to_num(found["duration"])
    return found.take(np.argsort(ends, kind="stable"))


def _host(rng: np.random.Generator, host: str, hours: float, start: float) -> Flows:
    n = int(rng.integers(60, 90))
    time = start + np.sort(rng.uniform(0, hours * 3600, n))
    names = rng.random(n) < 0.4
    size = np.exp(rng.normal(7, 1, n))
    return flows(
        "zeek",
        n,
        {"history": ["ShADadfF"] * n},
        time=time,
        duration=np.exp(rng.normal(-2, 1, n)),
        src=[host] * n,
        dst=np.where(names, DNS, rng.choice(SITES, n)).astype(object),
        sport=rng.integers(32768, 60000, n),
        dport=np.where(names, 53, 443),
        proto=np.where(names, "udp", "tcp").astype(object),
        service=np.where(names, "dns", "ssl").astype(object),
        state=["SF"] * n,
        src_packets=np.where(names, 1, 10),
        dst_packets=np.where(names, 1, 12),
        src_ip_bytes=np.where(names, 70, size.round()),
        dst_ip_bytes=np.where(names, 150, (8 * size).round()),
        label=["benign"] * n,
        record=[f"C{host.rpartition('.')[2]}x{k}" for k in range(n)],
    )


def scan(host: str = "10.0.1.3", begin: float = START + 3 * 3600, ports: int = 40) -> Flows:
    """A host that tries the ports of another, one every ten seconds, in vain."""
    return flows(
        "zeek",
        ports,
        {"history": ["S"] * ports},
        time=begin + 10.0 * np.arange(ports),
        src=[host] * ports,
        dst=["10.0.0.9"] * ports,
        sport=np.arange(40000, 40000 + ports),
        dport=np.arange(1, 1 + ports) * 13,
        proto=["tcp"] * ports,
        state=["S0"] * ports,
        src_packets=np.ones(ports),
        dst_packets=np.zeros(ports),
        src_ip_bytes=np.full(ports, 44.0),
        dst_ip_bytes=np.zeros(ports),
        label=["scan"] * ports,
        record=[f"Cscan{k}" for k in range(ports)],
    )


def attacked(seed: int = 1, start: float = START + 86400) -> Flows:
    """Another day, with a scan in it."""
    return by_arrival(joined([day(seed, start=start), scan(begin=start + 3 * 3600)]))
