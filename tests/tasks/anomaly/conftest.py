"""A table with anomalies, and a detector that learnt from its beginning."""

from __future__ import annotations

import polars as pl
import pytest
from anomaly_table import LEARNT, metrics

from lstmkit.tasks.anomaly import learning
from lstmkit.tasks.anomaly.estimator import AnomalyDetector


@pytest.fixture(scope="session")
def table() -> pl.DataFrame:
    return metrics()


@pytest.fixture(scope="session")
def detector(table: pl.DataFrame) -> AnomalyDetector:
    """Small, trained for some seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(learning.PRESETS, "small", learning.Preset(32, 1, 4, 16, 5e-3))
        made = AnomalyDetector(label="bad", alerts_per_day=0.3, gap=20)
        return made.fit(table[:LEARNT])
