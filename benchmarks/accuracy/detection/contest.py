"""Run detectors one after the other, each in its own process, and keep what they found.

A cache folder keeps the scores of every detector on every series (.npz) and what the process took
(.json), so that a run that was cut short goes on where it ended. An entry counts for the same rows
and the same options only, and one of ours for the same source code.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from forecasting.contest import alone

from detection.datasets import Series
from lstmkit.modelfile import atomic_write

BASELINES = "baselines"  # one process, several entries
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LSTMKIT_THREADS")
OURS = "lstmkit"
PEERS = {
    "smd": ("PCA", "PCA on train", "CNN", "LSTMAD"),
    "nab": ("PCA", "CNN", "LSTMAD", "CNN standardised", "LSTMAD standardised"),
}
Found = tuple[dict[str, np.ndarray], dict[str, Any]]


@dataclass(frozen=True)
class Run:
    """How detectors run: the peers' interpreter, the cache, minutes for each, options of ours."""

    peers: str | None
    cache: Path
    minutes: float = 60.0
    options: dict[str, Any] = field(default_factory=dict)
    name: str = OURS

    def detectors(self, dataset: str, only: Sequence[str] = ()) -> list[str]:
        """Who runs, in order: the baselines, ours, and peers where there are any; or `only`.

        Raises:
            SystemExit: a name of `only` is not known.
        """
        names = [BASELINES, self.name, *(PEERS[dataset] if self.peers else ())]
        strange = [name for name in only if name not in names]
        if strange:
            raise SystemExit(f"error: no detector {strange[0]!r}; there are: {', '.join(names)}")
        return [name for name in names if name in only or not only]

    def command(self, name: str, *files: Path) -> list[str]:
        """The process of a detector."""
        python = sys.executable if at_home(name) else str(self.peers)
        return [python, "-m", "detection.worker", name, *map(str, files), self.given(name)]

    def given(self, name: str) -> str:
        """Its options as JSON."""
        return json.dumps(self.options if is_ours(name) else {}, sort_keys=True)

    def key(self, name: str, series: Series) -> dict[str, Any]:
        """What scores depend on: rows, options, and our source code where it runs."""
        found = {"rows": digest(series), "options": self.given(name)}
        return {**found, "code": code()} if at_home(name) else found


def is_ours(name: str) -> bool:
    """Whether an entry is lstmkit's, under any name of its options."""
    return name.startswith(OURS)


def at_home(name: str) -> bool:
    """Whether a detector runs in this environment: ours and the baselines."""
    return is_ours(name) or name == BASELINES


def one_thread() -> None:
    """Let this process and all that it starts use one thread for linear algebra."""
    os.environ.update(dict.fromkeys(THREADS, "1"))


def scored(series: Series, name: str, run: Run) -> Found:
    """The arrays of a detector and what it took, from the cache or from a new process.

    Where it failed there are no arrays, and `failed` or `stopped` says why; nothing is kept then.
    """
    place = run.cache / name.replace(" ", "_") / series.name.replace("/", "__")
    key = run.key(name, series)
    known = _kept(place, key)
    if known:
        return known
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        given, answer = Path(folder) / "series.npz", Path(folder) / "answer.npz"
        series.save(given)
        facts = alone(run.command(name, given, answer), run.minutes)
        if "failed" in facts or "stopped" in facts:
            return {}, facts
        arrays = _read(answer)
    facts |= {**key, "date": datetime.now(UTC).isoformat(timespec="seconds")}
    with atomic_write(place.with_suffix(".npz")) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    with atomic_write(place.with_suffix(".json"), mode="w") as file:
        json.dump(facts, file, indent=1)
    return arrays, facts


def _kept(place: Path, key: dict[str, Any]) -> Found | None:
    """What the cache has under the same key."""
    told, arrays = place.with_suffix(".json"), place.with_suffix(".npz")
    if not (told.is_file() and arrays.is_file()):
        return None
    facts = json.loads(told.read_text())
    same = all(facts.get(name) == value for name, value in key.items())
    return (_read(arrays), facts) if same else None


def _read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file.items())


def digest(series: Series) -> int:
    """A checksum of the rows."""
    code = 0
    for array in (series.train, series.test, series.time.astype(np.int64)):
        code = zlib.crc32(np.ascontiguousarray(array).tobytes(), code)
    return code


@cache
def code() -> int:
    """A checksum of lstmkit's Python files."""
    import lstmkit

    found = 0
    for path in sorted(Path(lstmkit.__file__).parent.rglob("*.py")):
        found = zlib.crc32(path.read_bytes(), found)
    return found
