"""Orders of units: by memory, by selectivity, by likeness."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.inspection.horizon import time_constant

if TYPE_CHECKING:
    from lstmkit.inspection.record import LayerRecord, Recording

LONGEST = 1e6  # steps; a longer time constant is shown as this one
MOST_STEPS = 4000  # that likeness is measured over


def orders(layer: LayerRecord, recording: Recording) -> dict[str, list[Any]]:
    """Of each unit of a layer: `tau`, `selectivity`, `mean` of the cell; `cluster`, an order."""
    valid = recording.valid(layer)
    forget, cell = layer.forget_gate[valid], layer.cell[valid]
    return {
        "tau": _rounded(np.minimum(time_constant(forget), LONGEST)),
        "selectivity": _rounded(selectivity(cell)),
        "mean": _rounded(cell.mean(axis=0) if len(cell) else np.zeros(cell.shape[1])),
        "cluster": cluster_order(cell).tolist(),
    }


def selectivity(cell: np.ndarray) -> np.ndarray:
    """(M, H) cell states to (H,) lifetime sparseness of |cell|, 0 evenly active to 1 active at a
    single step: (1 - mean(r)^2 / mean(r^2)) / (1 - 1/M) (Vinje & Gallant 2000)."""
    M = len(cell)
    if M < 2:
        return np.zeros(cell.shape[1])
    rate = np.abs(cell)
    square = np.einsum("mh,mh->h", rate, rate, dtype=np.float64) / M
    ratio = rate.mean(axis=0, dtype=np.float64) ** 2 / np.where(square > 0, square, 1)
    found: np.ndarray = np.where(square > 0, np.clip((1 - ratio) / (1 - 1 / M), 0, 1), 0.0)
    return found


def cluster_order(cell: np.ndarray) -> np.ndarray:
    """(M, H) cell states to an order of H units, units that move together side by side: the
    Fiedler vector of their correlations (Atkins, Boman & Hendrickson 1998). Deterministic."""
    H = cell.shape[1]
    x = np.asarray(cell[:: max(1, len(cell) // MOST_STEPS)], np.float64)
    if len(x) < 2 or H < 3:
        return np.arange(H)
    x = np.nan_to_num(x - x.mean(axis=0))
    norm = np.sqrt((x**2).sum(axis=0))
    x /= np.where(norm > 0, norm, 1)
    likeness = (x.T @ x + 1) / 2
    laplacian = np.diag(likeness.sum(axis=0)) - likeness
    fiedler = np.linalg.eigh(laplacian)[1][:, 1]
    fiedler *= np.sign(fiedler[np.abs(fiedler).argmax()]) or 1.0
    return np.argsort(np.round(fiedler, 9), kind="stable")


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{v:.4g}") if np.isfinite(v) else 0.0 for v in values]
