"""Attributions against what is known of linear models and of axioms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from inspection.networks import Reader, batch
from torch import Tensor, nn

pytest.importorskip("captum")

from lstmkit.errors import UserError
from lstmkit.inspection.attribution import attribute


class Weighted(nn.Module):
    """The held input times sum w x."""

    def forward(self, x: Tensor, held: Tensor) -> Tensor:
        w = torch.arange(6.0).reshape(1, 2, 3)
        answer: Tensor = ((w * x).sum((1, 2)) * held[:, 0])[:, None]
        return answer


def inputs() -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(0)
    return {"x": torch.randn(4, 2, 3, generator=draw), "held": torch.randn(4, 1, generator=draw)}


@pytest.mark.parametrize("method", ["integrated-gradients", "occlusion"])
def test_a_linear_model_is_its_weights_times_the_distance(method: str) -> None:
    given = inputs()
    base = torch.full_like(given["x"], 0.5)
    found = attribute(
        Weighted(), given, answer=lambda y: y[:, 0], baselines={"x": base}, method=method
    )
    held = given["held"].numpy()[:, None]
    wanted = held * np.arange(6).reshape(2, 3) * (given["x"] - base).numpy()
    np.testing.assert_allclose(found.values["x"], wanted, atol=1e-5)
    np.testing.assert_allclose(found.gap, 0, atol=1e-5)


def test_groups_are_occluded_together() -> None:
    given = inputs()
    groups = {"x": torch.tensor([[[0, 0, 0], [1, 1, 1]]])}
    base = torch.zeros_like(given["x"])
    found = attribute(
        Weighted(), given, answer=lambda y: y[:, 0], baselines={"x": base},
        method="occlusion", groups=groups,
    )  # fmt: skip
    change = (np.arange(6).reshape(2, 3) * given["x"].numpy()).sum(-1) * given["held"].numpy()
    np.testing.assert_allclose(found.values["x"].sum(-1), change, atol=1e-5)


@pytest.mark.parametrize(
    "options", [{}, {"bidirectional": True}, {"backend": "reference"}], ids=str
)
def test_an_lstm_in_evaluation_is_accounted_for_completely(options: dict) -> None:
    """Also where cuDNN would refuse a backward pass in evaluation mode."""
    network, x = Reader(**options).eval(), batch()
    found = attribute(
        network, {"x": x}, answer=lambda y: y[:, 0], baselines={"x": torch.zeros_like(x)}
    )
    assert found.values["x"].shape == x.shape
    np.testing.assert_allclose(found.gap, 0, atol=2e-4)
    assert not network.training and all(p.grad is None for p in network.parameters())


def test_recent_steps_matter_more_to_an_untrained_lstm() -> None:
    network, x = Reader().eval(), batch(N=16)
    values = attribute(
        network, {"x": x}, answer=lambda y: y[:, 0], baselines={"x": torch.zeros_like(x)}
    ).values["x"]
    assert np.abs(values[:, -3:]).sum() > np.abs(values[:, :3]).sum()


def test_what_cannot_be_attributed_is_said() -> None:
    given, base = inputs(), {"x": torch.zeros(4, 2, 2)}
    with pytest.raises(UserError, match="no method"):
        attribute(Weighted(), given, answer=lambda y: y, baselines={}, method="guess")
    with pytest.raises(UserError, match="has not the shape"):
        attribute(Weighted(), given, answer=lambda y: y, baselines=base)
