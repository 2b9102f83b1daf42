"""Colours of surprise: a scale whose lightness goes evenly from the paper to the other end.

Colours are mixed in OKLab (Ottosson 2020), where equal steps look equal.
"""

from __future__ import annotations

from functools import cache

import numpy as np

LEVELS = 24  # of a scale
LIGHT = ("#ffffff", "#fdeec4", "#fbc063", "#ee7a45", "#c23a53", "#75185f", "#2f0a3c")
DARK = ("#14171c", "#3c1a50", "#7d2361", "#c23f56", "#ee7d45", "#fbc46a", "#fff3d0")
INKS = ("#14171c", "#ffffff")  # of the text on them

_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


@cache
def scale(stops: tuple[str, ...], levels: int = LEVELS) -> tuple[str, ...]:
    """So many colours through `stops`, by even steps of lightness."""
    lab = np.array([_lab(stop) for stop in stops])
    far = np.abs(lab[:, 0] - lab[0, 0])  # from the first stop's lightness, ascending
    at = np.linspace(0, far[-1], levels)
    mixed = np.stack([np.interp(at, far, lab[:, k]) for k in range(3)], 1)
    return tuple(_hex(one) for one in mixed)


def ink(colour: str) -> str:
    """Of the two inks the one that is read better on a colour (WCAG contrast)."""
    return max(INKS, key=lambda one: contrast(one, colour))


def contrast(one: str, other: str) -> float:
    """1 to 21."""
    low, high = sorted(float(_linear(c) @ (0.2126, 0.7152, 0.0722)) for c in (one, other))
    return (high + 0.05) / (low + 0.05)


def css(stops: tuple[str, ...]) -> str:
    """Classes s0, s1, ... of a scale; s0 is the paper itself."""
    found = scale(stops)
    return "".join(f".s{k}{{background:{c};color:{ink(c)}}}" for k, c in enumerate(found) if k)


def level(bits: np.ndarray, top: float) -> np.ndarray:
    """The place (n,) of each number of bits in a scale that ends at `top`."""
    found = np.minimum(bits / top * LEVELS, LEVELS - 1)
    return np.maximum(found, 0).astype(np.int64)


def _linear(colour: str) -> np.ndarray:
    """Red, green and blue, proportional to light."""
    rgb = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    found: np.ndarray = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return found


def _lab(colour: str) -> np.ndarray:
    found: np.ndarray = _TO_LAB @ np.cbrt(_TO_CONES @ _linear(colour))
    return found


def _hex(lab: np.ndarray) -> str:
    light = np.linalg.solve(_TO_CONES, np.linalg.solve(_TO_LAB, lab) ** 3).clip(0, 1)
    rgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return "#" + "".join(f"{round(255 * v):02x}" for v in rgb)
