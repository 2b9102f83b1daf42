"""Recordings as compact bytes: 8 bits a value, long time as means, deflate, base64."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from lstmkit.inspection.record import LayerRecord, Recording

QUANTITIES = ("input_gate", "forget_gate", "output_gate", "candidate", "cell")
LEVELS = 254  # codes 0 to 254; 255 is no number
BUDGET = 6_400_000  # bytes before compression; in base64 below 9 MB even of noise
LONGEST = 8000  # steps that are drawn one by one, where the budget has room
COLUMNS = 1000  # of a longer sample
FEWEST = 60  # columns that a sample is worth showing with


@dataclass(frozen=True)
class Plan:
    """How the samples share the room of the page.

    Attributes:
        samples: how many are shown.
        pool: steps that one column of a heat map is the mean of.
        exact: units that keep every step where `pool` is above 1.
    """

    samples: int
    pool: int
    exact: int


def plan(recording: Recording, budget: int = BUDGET) -> Plan:
    """As many samples as fit, then as many steps, then as many exact units."""
    sizes = [layer.cell.shape for layer in recording.layers]
    T, units = max(s[0] for s in sizes), sum(s[2] for s in sizes)
    room = budget // len(QUANTITIES)  # values of one quantity over all layers
    samples = max(1, min(len(recording.lengths), room // (units * min(T, FEWEST))))
    room //= samples
    if T <= LONGEST and units * T <= room:
        return Plan(samples, 1, max(s[2] for s in sizes))
    columns = max(1, min(COLUMNS, T, room // units))
    pool = -(-T // columns)
    left = room - units * -(-T // pool)
    return Plan(samples, pool, max(0, min(max(s[2] for s in sizes), left // (len(sizes) * T))))


def describe(
    layer: LayerRecord, recording: Recording, chosen: Plan, found: dict[str, Any]
) -> dict[str, Any]:
    """What the page must know to unpack and name a layer."""
    reach = [1.0] * 4 + [cell_reach(layer, recording)]
    units = exact_units(found, layer.cell.shape[2], chosen)
    words = [layer.module or "network", f"layer {layer.layer}"]
    words += ["reverse"] * layer.reverse + [f"call {layer.call + 1}"] * bool(layer.call)
    return {
        "name": layer.name,
        "words": ", ".join(words),
        "steps": len(layer.cell),
        "units": layer.cell.shape[2],
        "reach": reach,
        "pool": chosen.pool,
        "exact": units,
    }


def exact_units(found: dict[str, Any], units: int, chosen: Plan) -> list[int]:
    """The most interesting ends of every order, in turn; all units where nothing is pooled."""
    if chosen.pool == 1 or chosen.exact >= units:
        return list(range(units))
    turns = [np.argsort(-np.asarray(found[k]), kind="stable") for k in ("selectivity", "tau")]
    turns += [turns[0][::-1], turns[1][::-1]]
    picked = dict.fromkeys(int(u) for row in zip(*turns, strict=True) for u in row)
    return list(picked)[: chosen.exact]


def cell_reach(layer: LayerRecord, recording: Recording) -> float:
    """99.9 % of the cell states of a layer lie within it; 1 where all are 0."""
    valid = recording.valid(layer)
    values = np.abs(layer.cell[:: max(1, len(valid) // 4000)][valid[:: max(1, len(valid) // 4000)]])
    finite = values[np.isfinite(values)]
    return float(np.quantile(finite, 0.999)) or 1.0 if finite.size else 1.0


def block(layer: LayerRecord, sample: int, recording: Recording, told: dict[str, Any]) -> str:
    """One sample of a layer that `describe` told: of each quantity the heat map (H, C), the exact
    units (K, T), and mean, 10 % and 90 % quantile over units (3, C); as differences in time."""
    steps = int(min(recording.lengths[sample], len(layer.cell)))
    exact = told["exact"] if told["pool"] > 1 else []
    pieces = []
    for name, reach in zip(QUANTITIES, told["reach"], strict=True):
        low = 0.0 if name.endswith("gate") else -reach
        values = getattr(layer, name)[:steps, sample]
        heat = pooled(values, told["pool"])
        band = np.stack([heat.mean(1), *np.quantile(heat, [0.1, 0.9], axis=1)], axis=1)
        pieces += [packed(v, low, reach) for v in (heat, values[:, exact], band)]
    return base64.b64encode(zlib.compress(b"".join(pieces), 6)).decode()


def pooled(values: np.ndarray, pool: int) -> np.ndarray:
    """(T, H) as means of `pool` steps, (ceil(T / pool), H); the last of what is left."""
    if pool == 1 or not len(values):
        return values
    starts = np.arange(0, len(values), pool)
    counts = np.diff(np.append(starts, len(values)))[:, None].astype(np.float32)
    found: np.ndarray = np.add.reduceat(values, starts, axis=0) / counts
    return found


def quantised(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Codes 0 to 254 from `low` to `high`, clipped there; 255 where a value is no number."""
    scaled = np.rint((values - low) * (LEVELS / (high - low)))
    codes = np.where(np.isfinite(values), np.clip(scaled, 0, LEVELS), 255)
    return codes.astype(np.uint8)


def packed(values: np.ndarray, low: float, high: float) -> bytes:
    """(C, H) as H rows of codes, each row as differences modulo 256."""
    codes = quantised(values, low, high).T
    return np.diff(codes, axis=1, prepend=np.uint8(0)).astype(np.uint8).tobytes()
