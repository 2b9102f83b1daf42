"""What the concept page measures: gradients by lag, and a unit whose gates are held by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from lstmkit.inspection.horizon import Horizon

GAINS, LAGS, UNITS = (0.5, 0.9, 1.2), 60, 32
FORGETS = (0.5, 0.9, 0.97)
HORIZON_STEPS, HORIZON_SAMPLES = 200, 16


def jacobian_norms(gain: float, lags: int = LAGS, seed: int = 0) -> np.ndarray:
    """(lags+1,) largest singular value of d h_t / d h_{t-k} of a plain recurrent network.

    h_t = tanh(W x_t + U h_{t-1}), U = gain * an orthogonal matrix: all its singular values are
    `gain`. Inputs are noise.
    """
    rng = np.random.default_rng(seed)
    U = gain * np.linalg.qr(rng.standard_normal((UNITS, UNITS)))[0]
    h, product, found = np.zeros(UNITS), np.eye(UNITS), [1.0]
    for drive in 0.1 * rng.standard_normal((lags, UNITS)):
        h = np.tanh(drive + U @ h)
        product = (1 - h**2)[:, None] * U @ product
        found.append(float(np.linalg.norm(product, 2)))
    return np.array(found)


def steered_unit(x: np.ndarray, c0: float, *changes: Any, seed: int = 0) -> Any:
    """The record of one untrained LSTM unit that reads x (T,), from c0, with gates held by hand."""
    import torch

    import lstmkit
    from lstmkit.inspection import intervene, observe

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = lstmkit.LSTM(1, 1)
    given = torch.from_numpy(np.asarray(x, np.float32))[:, None, None]
    state = torch.zeros(1, 1, 1), torch.full((1, 1, 1), c0)
    with intervene(layer, *changes):
        return observe(layer, given, state)[0]


def noise(steps: int, seed: int) -> np.ndarray:
    """(T,) an input that has nothing to say."""
    found: np.ndarray = np.random.default_rng(seed).standard_normal(steps)
    return found


def horizons(seed: int = 0) -> dict[str, Horizon]:
    """How far back four untrained networks of 32 units look, in float64."""
    import torch
    from torch import nn

    import lstmkit
    from lstmkit.inspection import gradient_by_lag

    chrono = lstmkit.Chrono(HORIZON_STEPS)
    made = {
        "plain recurrent network": lambda: nn.RNN(4, UNITS),
        "LSTM, forget gate half open (f about 0.5)": lambda: lstmkit.LSTM(4, UNITS),
        "LSTM, forget bias 1 (f about 0.73)": lambda: lstmkit.LSTM(4, UNITS, forget_bias=1.0),
        "LSTM, Chrono(200)": lambda: lstmkit.LSTM(4, UNITS, init=chrono),
    }
    found = {}
    with torch.random.fork_rng(devices=[]):
        for name, make in made.items():
            torch.manual_seed(seed)
            x = torch.randn(HORIZON_STEPS, HORIZON_SAMPLES, 4, dtype=torch.float64)
            found[name] = gradient_by_lag(make().double(), x, answer=lambda out: out[0][-1])
    return found
