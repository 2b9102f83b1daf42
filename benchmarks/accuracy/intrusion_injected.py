"""Slow attacks put among the flows of 1,000 hosts: found at five alerts a day, or not.

    python benchmarks/accuracy/intrusion_injected.py FOLDER

FOLDER holds zeek/stratosphere/{008,010,011}-zeek-mixed.conn.log.labeled.gz (see intrusion_zeek.py).
The network is made of their benign flows: each host takes whole hours of one of the three
computers, and is silent in most. Hours of an even number stand for the day that is learnt, those of
an odd number for the day that is watched, so that no flow stands on both sides.

Into the day that is watched go, each alone and each from a host of its own that also does what it
always does: a beacon of one hour's period with 20 % jitter, all day; a scan of a port a minute for
three hours; 200 MB sent away over twelve hours in 60 pieces. An attack is found at k alerts a day
where no more than k alerts (a host's flows within an hour of each other) of others stand above its
host's highest score. Rank 1 is the top of the list. Every detector is fitted once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from intrusion import shared

from lstmkit.demos import attacks
from lstmkit.readers.flows import BENIGN, Flows
from lstmkit.tasks.intrusion import levels
from lstmkit.tasks.intrusion.baselines import Baseline

HOSTS, LEARNT = 1300, 190  # some of which are silent all day
NET = "10.20.128.0/17"
START, HOUR = 1_700_006_400.0, 3600.0  # midnight
BUSY = 0.12  # of a host's hours
PEER = "198.51.100.7"


def main() -> None:
    """Fit on one day, put each attack into another, rank its host."""
    asked = shared.arguments(__doc__, "intrusion_injected")
    days = [day.take(day["label"] == BENIGN) for day in shared.days(asked.folder).values()]
    train = network(np.random.default_rng(1), days, 0, LEARNT)
    quiet = network(np.random.default_rng(2), days, 1, HOSTS)
    found: dict[str, Any] = {
        "protocol": " ".join(" ".join(__doc__.split("\n\n")[2:]).split()),
        "train": {"flows": len(train), "hosts": len(set(train["src"]))},
        "test": {"flows": len(quiet), "hosts": len(set(quiet["src"]))},
        "models": {},
    }
    print(found["train"], found["test"], flush=True)
    for who, detector in shared.unsupervised(NET, 0).items():
        if who == "random" or shared.skipped(who, asked.skip):
            continue
        detector, seconds = shared.timed(lambda d=detector: d.fit(train, None))
        given = {who: detector}
        if isinstance(detector, shared.Ours):
            given["lstmkit, no memory"] = shared.without_memory(detector)
        for name, one in given.items():
            found["models"][name] = {"fit_seconds": seconds, **ranked(one, quiet, asked.seeds)}
            shared.keep(asked.output, found)
            print(name, found["models"][name], flush=True)


def network(rng: np.random.Generator, days: list[Flows], parity: int, hosts: int) -> Flows:
    """A day of hosts, made of the hours of real ones whose number is even or odd."""
    parts = []
    for k, day in enumerate(days):
        hour = ((day["time"] % levels.DAY) // HOUR).astype(int)
        donor = day.take(hour % 2 == parity)
        moved = {**donor.columns, "time": donor["time"] % levels.DAY + START}
        net = f"10.20.{128 + 32 * k}.0/19"
        count = hosts // len(days) + (k < hosts % len(days))
        like = Flows(donor.source, moved)
        many = attacks.benign_hosts(rng, like, count, START, START + levels.DAY, net=net, spread=2)
        parts.append(many.take(_busy(rng, many)))
    return attacks.merged(*parts)


def _busy(rng: np.random.Generator, found: Flows) -> np.ndarray:
    """Flows of the hours in which their host is awake."""
    _, host = np.unique(found["src"].astype(str), return_inverse=True)
    hour = ((found["time"] - START) // HOUR).astype(int).clip(0, 23)
    awake: np.ndarray = rng.random((host.max() + 1, 24)) < BUSY
    return awake[host, hour]


def injected(rng: np.random.Generator, host: str) -> dict[str, Flows]:
    """The three attacks, by a host."""
    end = START + levels.DAY
    begin = START + rng.uniform(8, 12) * HOUR
    return {
        "beacon": attacks.beacon(rng, START + 600, end, host, PEER, HOUR, 0.2),
        "slow scan": attacks.slow_scan(rng, begin, begin + 3 * HOUR, host, "10.20.128.9", 60.0),
        "exfiltration": attacks.exfiltration(
            rng, begin, begin + 12 * HOUR, host, PEER, 200_000_000, 60
        ),
    }


def ranked(detector: Baseline, quiet: Flows, seeds: int) -> dict[str, Any]:
    """Where each attack's host stands among the alerts, over the seeds."""
    hosts = np.unique(quiet["src"].astype(str))
    score, seconds = shared.timed(lambda: detector.score(quiet))
    alerts = levels.peaks(score, quiet["src"].astype(str), quiet["time"])
    found: dict[str, Any] = {"score_seconds": seconds}
    for seed in range(seeds):
        rng = np.random.default_rng(100 + seed)
        chosen = rng.choice(hosts, 3, replace=False)
        for (name, _), host in zip(injected(rng, "x").items(), chosen, strict=True):
            attack = injected(np.random.default_rng(200 + seed), str(host))[name]
            row = _one(detector, quiet, score, alerts, attack, str(host))
            found.setdefault(name, []).append(row)
    return found


def _one(
    detector: Baseline,
    quiet: Flows,
    score: np.ndarray,
    alerts: np.ndarray,
    attack: Flows,
    host: str,
) -> dict[str, Any]:
    """The day of the host is watched again with the attack in it; the others' scores stand."""
    mine = quiet["src"] == host
    others = quiet.take(~mine)
    sample = others.take(np.isin(others["src"].astype(str), _neighbours(others)))
    both = attacks.merged(quiet.take(mine), attack, sample)
    again = detector.score(both)
    evil = (both["src"] == host) & (both["label"] != BENIGN)
    top = float(again[evil].max())
    rank = 1 + int((levels.peaks(score[~mine], quiet["src"][~mine].astype(str),
                                 quiet["time"][~mine]) > top).sum())  # fmt: skip
    row: dict[str, Any] = {"rank": rank, "found_at_1": rank <= 1, "found_at_5": rank <= 5}
    level = float(alerts[5]) if len(alerts) > 5 else -np.inf
    over = np.flatnonzero(evil & (again > level))
    if len(over):
        row["flows_until"] = int(evil[: over[0] + 1].sum())
        row["hours_until"] = round(float(both["time"][over[0]] - attack["time"].min()) / HOUR, 2)
    return row


def _neighbours(found: Flows) -> np.ndarray:
    """Thirty hosts beside whom the attacked day is watched, so that destinations are known."""
    return np.unique(found["src"].astype(str))[:30]


if __name__ == "__main__":
    main()
