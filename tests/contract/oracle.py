"""An independent oracle: EQUATIONS, written once more with scalars in numpy's float64, a sample and
a unit at a time, sharing no code with the package."""

from __future__ import annotations

from typing import Any

import numpy as np


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Philox-4x32-10 (Salmon et al. 2011) on Python integers."""
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b % 2**32, (a >> 32) ^ c[3] ^ k[1], a % 2**32]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return c


PURPOSES = ("recurrent", "zoneout_h", "zoneout_c", "weight_drop", "input", "between", "output")


def drops(
    p: float, seed: int, purpose: str, layer: int, reverse: bool, sample: int, step: int, unit: int
) -> bool:
    """Whether this element is dropped (or, for zoneout, kept from the step before)."""
    word3 = PURPOSES.index(purpose) | reverse << 3 | layer << 4 | (sample >> 32) << 16
    seed %= 2**64
    out = philox([unit // 4, step, sample % 2**32, word3], [seed % 2**32, seed >> 32])
    return (out[unit % 4] >> 8) < int(p * 2**24)


def sigmoid(x: float) -> float:
    return 1 / (1 + np.exp(-x))


def norm(x: np.ndarray) -> np.ndarray:
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5)


class Direction:
    """One layer, one direction, one sample."""

    def __init__(
        self, weights: dict[str, np.ndarray], options: dict[str, Any], seed: int | None
    ) -> None:
        self.w, self.o, self.seed = weights, options, seed

    def dropped(self, p: float, purpose: str, sample: int, step: int, n: int) -> np.ndarray:
        place = (self.o["layer"], self.o["reverse"], sample, step)
        return np.array([drops(p, self.seed, purpose, *place, u) for u in range(n)], float)

    def step(
        self, x: np.ndarray, h: np.ndarray, c: np.ndarray, sample: int, t: int
    ) -> tuple[np.ndarray, ...]:
        w, o, H = self.w, self.o, len(c)
        h_in = h
        if self.seed is not None and o["recurrent_dropout"]:
            p = o["recurrent_dropout"]
            h_in = h * (1 - self.dropped(p, "recurrent", sample, 0, len(h))) / (1 - p)
        zx, zh = w["weight_ih"] @ x, w["weight_hh"] @ h_in
        if "norm_ih_weight" in w:
            zx, zh = norm(zx) * w["norm_ih_weight"], norm(zh) * w["norm_hh_weight"]
        z = zx + zh + w.get("bias_ih", 0) + w.get("bias_hh", 0)
        peep = w.get("weight_peephole")
        if o["coupled"]:
            z_i, z_g, z_o = z[:H], z[H : 2 * H], z[2 * H :]
        else:
            z_i, z_f, z_g, z_o = z[:H], z[H : 2 * H], z[2 * H : 3 * H], z[3 * H :]
        i = sigmoid(z_i + (0 if peep is None else peep[0] * c))
        f = 1 - i if o["coupled"] else sigmoid(z_f + (0 if peep is None else peep[1] * c))
        g = np.tanh(z_g)
        new_c = f * c + i * g
        out = sigmoid(z_o + (0 if peep is None else peep[-1] * new_c))
        shown = new_c
        if "norm_c_weight" in w:
            shown = norm(new_c) * w["norm_c_weight"] + w["norm_c_bias"]
        new_h = out * np.tanh(shown)
        new_h = w["weight_hr"] @ new_h if "weight_hr" in w else new_h
        keep_h, keep_c = o["zoneout"]
        if self.seed is not None:
            keep_h = self.dropped(keep_h, "zoneout_h", sample, t, len(h)) if keep_h else 0
            keep_c = self.dropped(keep_c, "zoneout_c", sample, t, H) if keep_c else 0
        return keep_h * h + (1 - keep_h) * new_h, keep_c * c + (1 - keep_c) * new_c, i, f, g, out

    def run(
        self, x: np.ndarray, h: np.ndarray, c: np.ndarray, n: int, resets: np.ndarray, sample: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[int, tuple[np.ndarray, ...]]]:
        """Output (T, P), final h and c, and (i, f, g, o, c) of each valid step."""
        output, seen = np.zeros((len(x), len(h))), {}
        for t in reversed(range(n)) if self.o["reverse"] else range(n):
            if resets[t] and not self.o["reverse"]:
                h, c = 0 * h, 0 * c
            h, c, i, f, g, out = self.step(x[t], h, c, sample, t)
            output[t], seen[t] = h, (i, f, g, out, c)
            if resets[t] and self.o["reverse"]:
                h, c = 0 * h, 0 * c
        return output, h, c, seen
