"""What training needs besides the network: sizes, the split by time, the loss, validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lstmkit.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lstmkit.tasks.forecast.data import Batch

VALIDATION_WINDOWS = 16  # wanted in all
VALIDATION_SHARE = 0.15  # at most, of a series
LONG_SHARE = 0.02  # at least, of a long one: intervals are calibrated by more than its last days
MOST_VALIDATED = 1024  # windows


@dataclass(frozen=True)
class Preset:
    """What a size stands for; `epochs` are those of `learning`."""

    width: int
    layers: int
    embedding: int
    dropout: float
    epochs: int
    batch_size: int
    learning_rate: float


PRESETS = {
    "tiny": Preset(16, 1, 16, 0.0, 4, 32, 1e-2),
    "small": Preset(128, 1, 64, 0.2, 24, 64, 5e-3),
    "medium": Preset(128, 2, 64, 0.2, 60, 64, 5e-3),
    "large": Preset(256, 2, 128, 0.2, 160, 128, 3e-3),
}


def preset(kind: str, size: str) -> Preset:
    """What a size stands for in a kind of model."""
    if kind == "recurrent":
        from lstmkit.tasks.forecast.recurrent import PRESETS as RECURRENT

        return RECURRENT[size]
    return PRESETS[size]


class Split(NamedTuple):
    """Rows per series (n,): learnt from [0, train), validated to `cut`, tested after it."""

    train: np.ndarray
    cut: np.ndarray
    length: np.ndarray

    @property
    def tested(self) -> np.ndarray:
        """Numbers of the series that have held-out rows."""
        return np.flatnonzero(self.cut < self.length)


def split(length: np.ndarray, horizon: int, test_windows: int) -> Split:
    """Hold out the end of each series: test_windows horizons, and before them those to validate on.

    Series too short for that are learnt from as a whole and never scored.

    Raises:
        UserError: all series are too short.
    """
    needed = (test_windows + 2) * horizon + 1
    enough = length >= needed
    if not enough.any():
        raise UserError(
            f"all series are too short to forecast {horizon} steps and to hold rows out",
            got=f"{length.max()} rows in the longest series",
            expected=f"at least {needed}: {test_windows} x {horizon} to test, as many as the "
            f"horizon to validate, and {horizon + 1} to learn from",
            hint=f"--horizon {max(1, int(length.max() - 1) // (test_windows + 2))}",
        )
    few = -(-VALIDATION_WINDOWS // int(enough.sum()))
    wanted = np.maximum(few, (LONG_SHARE * length / horizon).astype(int))
    share = (VALIDATION_SHARE * length / horizon).astype(int)
    cut = np.where(enough, length - test_windows * horizon, length)
    validated = np.where(enough, np.clip(share, 1, wanted) * horizon, 0)
    return Split(cut - validated, cut, length)


def validation_windows(parts: Split, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """Series and origins of the windows between `train` and `cut`, four to a horizon if few."""
    found = []
    for series in np.flatnonzero(parts.train < parts.cut):
        last = parts.cut[series] - horizon
        stride = max(1, horizon // 4) if last > parts.train[series] else horizon
        found += [(series, origin) for origin in range(parts.train[series], last + 1, stride)]
    chosen = np.unique(np.linspace(0, len(found) - 1, min(len(found), MOST_VALIDATED)).astype(int))
    series, origin = np.array(found)[chosen].T
    return series, origin


def loss(network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Sum over observed rows of the weighted pinball loss (Koenker & Bassett 1978), and their
    number.

    The pinball loss of a row is the mean over quantiles; a network that forecasts the mean adds its
    squared error.
    """
    answer, p = network(**batch.inputs), batch.truth.new_tensor(network.quantiles)
    error = batch.truth.unsqueeze(-1) - answer[..., : len(p)]
    each = (p * error).maximum((p - 1) * error).mean(-1) * batch.weight
    if answer.shape[-1] > len(p):
        each = each + ((batch.truth - answer[..., -1]) * batch.weight) ** 2
    return each.sum(), (batch.weight > 0).sum()


def validate(network: nn.Module, batches: Sequence[Batch]) -> float:
    """The mean loss over batches, which may be on another device; no gradients, evaluation mode."""
    device = next(network.parameters()).device
    found = [[float(x) for x in loss(network, b.to(device))] for b in batches]
    total, count = np.array(found).sum(0)
    return float(total / max(count, 1))


def set_arrays(network: nn.Module, weights: Mapping[str, np.ndarray]) -> None:
    """Load weights from numpy arrays."""
    import torch

    network.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in weights.items()})
