"""What tests of the benchmark of detectors share: its modules, and generated files."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "accuracy"


@pytest.fixture(scope="module")
def detection() -> Iterator[Any]:
    """The benchmark's modules; its folder is on the path only while they are used."""
    sys.path.insert(0, str(FOLDER))
    try:
        import anomaly_nab
        import anomaly_smd
        from detection import (
            command,
            contest,
            datasets,
            ours,
            pace,
            peers,
            plot,
            results,
            scoring,
            worker,
        )

        yield SimpleNamespace(
            smd=anomaly_smd, nab=anomaly_nab, command=command, contest=contest, datasets=datasets,
            ours=ours, pace=pace, peers=peers, plot=plot, results=results, scoring=scoring,
            worker=worker,
        )  # fmt: skip
    finally:
        sys.path.remove(str(FOLDER))


@pytest.fixture
def machines(tmp_path: Path) -> Path:
    """A folder with three machines; events 10-12 in channels 1 and 3, 30-31 in 4, late first."""
    rows, channels, draw = 40, 4, np.random.default_rng(0)
    (tmp_path / "smd").mkdir()
    labels = np.zeros((rows, 1), int)
    labels[10:13] = labels[30:32] = 1
    for k, name in enumerate(("machine-1-6", "machine-2-1", "machine-3-2")):
        train, test = draw.random((rows - 1 + k, channels)), draw.random((rows, channels))
        for part, table in {"train": train, "test": test, "test_label": labels}.items():
            lines = "\n".join(",".join(map(str, row)) for row in table.tolist())
            path = tmp_path / "smd" / f"{name}.{part}.txt.gz"
            path.write_bytes(gzip.compress(lines.encode()))
        causes = tmp_path / "smd" / f"{name}.interpretation_label.txt"
        causes.write_text("30-31:4\n10-12:1,3\n")
    return tmp_path


@pytest.fixture
def series_of(detection: Any) -> Callable[..., Any]:
    """Makes a random series of 30 rows, with fields replaced."""

    def make(channels: int = 2, **fields: Any) -> Any:
        draw = np.random.default_rng(1)
        train, test = draw.random((30, channels)), draw.random((30, channels))
        none = np.zeros(0, "datetime64[us]")
        return replace(detection.datasets.Series("a/b", train, test, none, False), **fields)

    return make


@pytest.fixture
def problem_of(detection: Any, series_of: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a series with labelled events and their channels."""

    def make(events: Any = ((10, 12),), causes: Any = ((1,),), **fields: Any) -> Any:
        series = series_of(**fields)
        labels = np.zeros(len(series.test), int)
        for first, last in events:
            labels[first : last + 1] = 1
        return detection.datasets.Problem(series, labels, tuple(events), tuple(causes))

    return make
