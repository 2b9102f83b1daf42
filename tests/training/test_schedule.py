"""Learning-rate schedules, by themselves and in a run."""

from __future__ import annotations

import itertools
import math

import pytest
import runner
import torch

from lstmkit.training import fit
from lstmkit.training.schedule import SCHEDULES


@pytest.mark.parametrize(
    ("name", "points"),
    [
        ("one_cycle", {0.0: 1 / 25, 0.15: 0.52, 0.3: 1.0, 1.0: 4e-6}),
        ("cosine", {0.0: 1.0, 0.25: 0.5 + math.sqrt(0.125), 0.5: 0.5, 1.0: 0.0}),
        ("constant", {0.0: 1.0, 0.7: 1.0, 1.0: 1.0}),
    ],
)
def test_known_points(name: str, points: dict[float, float]) -> None:
    for fraction, factor in points.items():
        assert SCHEDULES[name](fraction) == pytest.approx(factor, abs=1e-12)


def test_one_cycle_is_continuous_and_never_above_its_peak() -> None:
    values = [SCHEDULES["one_cycle"](k / 1000) for k in range(1001)]
    assert max(values) == 1.0 and min(values) > 0
    assert max(abs(a - b) for a, b in itertools.pairwise(values)) < 0.006


def test_a_run_follows_its_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = []
    step = torch.optim.AdamW.step

    def noted(self: torch.optim.AdamW, *arguments: object, **options: object) -> object:
        rates.append(self.param_groups[0]["lr"])
        return step(self, *arguments, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    plan = runner.plan(epochs=2, schedule="cosine", learning_rate=0.01)
    fit(runner.network(), runner.batches, runner.loss, plan)
    n = 2 * runner.STEPS
    assert rates == pytest.approx([0.01 * (1 + math.cos(math.pi * k / n)) / 2 for k in range(n)])
