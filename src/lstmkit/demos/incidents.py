"""Three weeks of a web service's metrics, made up: a day, a week, noise, bursts, and incidents.

Every five minutes: requests a second, CPU and memory in per cent, latency in milliseconds, errors
and queued jobs. What hangs together in a service does so here. The incidents lie in the last week;
one of them, a stuck sensor, shows in what is missing rather than in what is too much.
"""

from __future__ import annotations

from typing import Any

import numpy as np

DAY, DAYS = 288, 21
LEARNT = 14 * DAY
CHANNELS = ("requests", "cpu", "memory", "latency", "errors", "queue")
INCIDENTS = {  # what happens: first row, rows
    "latency without load: a slow disk": (LEARNT + 1 * DAY + 130, 18),
    "memory leak, then a restart": (LEARNT + 2 * DAY + 40, 110),
    "the CPU sensor is stuck": (LEARNT + 3 * DAY + 100, 60),
    "errors after a deployment": (LEARNT + 4 * DAY + 170, 9),
    "a runaway job takes the CPU": (LEARNT + 5 * DAY + 30, 36),
    "traffic stops": (LEARNT + 6 * DAY + 140, 12),
}


def metrics(seed: int = 0) -> dict[str, Any]:
    """Columns of one length by name: `time` datetime64[us], CHANNELS, and `incident` 0 or 1."""
    random, rows = np.random.default_rng(seed), DAY * DAYS
    t = np.arange(rows)
    phase, weekend = 2 * np.pi * t / DAY, (t // DAY % 7) >= 5
    day = 1 + 0.55 * np.sin(phase - 1.9) + 0.15 * np.sin(2 * phase)
    wander = np.cumsum(random.normal(0, 0.002, rows))
    requests = 400 * day * np.where(weekend, 0.7, 1.0) * np.exp(0.1 * np.tanh(wander))
    requests *= 1 + random.normal(0, 0.03, rows)
    (requests, cpu, memory, latency, errors, queue) = _service(requests, random)
    found = np.stack([requests, cpu, memory, latency, errors, queue], 1)
    incident = np.zeros(rows, int)
    for kind, (first, count) in enumerate(INCIDENTS.values()):
        _happen(kind, found[first : first + count], random)
        incident[first : first + count] = 1
    time = np.datetime64("2026-01-05T00:00", "us") + t * np.timedelta64(5, "m")
    columns = {name: np.round(found[:, k], 3) for k, name in enumerate(CHANNELS)}
    return {"time": time, **columns, "incident": incident}


def _service(requests: np.ndarray, random: np.random.Generator) -> list[np.ndarray]:
    rows = len(requests)
    cpu = 8 + 0.09 * requests + random.normal(0, 1.2, rows)
    cpu[np.arange(rows) % DAY == 24] += 18  # the nightly backup
    memory = 45 + 0.02 * requests + 2 * np.sin(np.arange(rows) / 900) + random.normal(0, 0.4, rows)
    latency = 20 + 900 / np.maximum(100 - cpu, 5) + random.gamma(2, 1.0, rows)
    errors = random.poisson(0.002 * requests).astype(float)
    queue = np.maximum(0.3 * (cpu - 40), 0) + random.gamma(1.5, 1.0, rows)
    return [requests, cpu, memory, latency, errors, queue]


def _happen(kind: int, rows: np.ndarray, random: np.random.Generator) -> None:
    """Change rows (n, 6) in place."""
    ramp = np.linspace(0, 1, len(rows))
    if kind == 0:
        rows[:, 3] += 60 + random.gamma(2, 8, len(rows))
    elif kind == 1:
        rows[:, 2] += 30 * ramp
    elif kind == 2:
        rows[:, 1] = rows[0, 1]
    elif kind == 3:
        rows[:, 4] += random.poisson(14, len(rows))
    elif kind == 4:
        rows[:, 1] = np.minimum(rows[:, 1] + 35, 100)
        rows[:, 5] += 8 * ramp
    else:
        rows[:, 0] *= 0.05
        rows[:, 1] = 9 + random.normal(0, 0.5, len(rows))
