"""Health of a trained LSTM: units that do nothing, gates that never move, gradients that run away.

Thresholds are those of practice, not of a theory: a gate within 0.05 of an end is saturated there
(Karpathy, Johnson & Li 2015 draw the line at 0.1), and a unit is named where it is so at 99 % of
all steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.inspection.horizon import time_constant, time_constants

if TYPE_CHECKING:
    from lstmkit.inspection.horizon import Horizon
    from lstmkit.inspection.record import LayerRecord, Recording

SHUT, OPEN, NEVER_FORGETS = 0.05, 0.95, 0.995
ALWAYS = 0.99  # of the steps
FLAT_CANDIDATE, FLAT_CELL = 0.99, 3.0  # |g|, |c| from which tanh hardly moves
STILL = 1e-3  # deviation of a hidden state that carries nothing
TWIN = 0.995  # |correlation| of two cells
VANISHED, EXPLODED = 1e-4, 10.0  # of the largest sensitivity; over that at lag 0
MOST_UNITS, MOST_ROWS = 2048, 20_000  # for pairs


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or may be.

    Attributes:
        kind: a short name, "dead", "input gate shut" ...
        layer: where.
        units: which units; empty for what concerns a whole layer.
        of: units of the layer.
        advice: one line.
    """

    kind: str
    layer: str
    units: tuple[int, ...]
    of: int
    advice: str

    def __str__(self) -> str:
        which = f": {', '.join(map(str, self.units[:8]))}" if self.units else ""
        more = " ..." if len(self.units) > 8 else ""
        count = f" {len(self.units)} of {self.of} units" if self.units else ""
        return f"{self.layer}: {self.kind}{count}{which}{more}. {self.advice}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "kind": self.kind,
            "layer": self.layer,
            "units": list(self.units),
            "of": self.of,
            "advice": self.advice,
        }


ADVICE = {
    "dead": "They show nothing at any step: use fewer units, or a smaller learning rate.",
    "input gate shut": "They take nothing in: fewer units, or a larger bias of the input gate.",
    "output gate shut": "They show nothing: fewer units would do.",
    "never forgets": "They only add up: fine for counting; else a smaller forget bias, or resets.",
    "forgets at once": "No memory: chrono initialisation (init=Chrono(t_max)), or forget_bias=1.",
    "candidate saturated": "It knows only -1 and 1: scale the inputs, or regularise weight_ih.",
    "cell saturated": "|c| is beyond 3, where tanh is flat: forget more, reset at boundaries, or "
    "clip gradients.",
    "duplicate": "They hold the same as another unit: fewer units, or dropout between layers.",
    "no unit remembers": "No time constant passes 2 steps: chrono initialisation, with t_max as "
    "long as the lag that you need.",
    "gradient vanishes": "Nothing learns from beyond that lag: chrono initialisation, fewer steps "
    "between cause and effect, or a loss at earlier steps.",
    "gradient explodes": "Old inputs weigh more than new ones: gradient clipping, a smaller "
    "learning rate, or layer_norm=True.",
    "not finite": "The state holds NaN or infinity: gradient clipping, a smaller learning rate.",
}


def check(recording: Recording, horizon: Horizon | None = None) -> list[Finding]:
    """All findings of a recording and, where one is given, of its horizon; [] is good health."""
    constants = time_constants(recording)
    found: list[Finding] = []
    for layer in recording.layers:
        valid = recording.valid(layer)
        found += _units(layer, valid)
        finite = constants[layer.name][np.isfinite(constants[layer.name])]
        if len(finite) == len(constants[layer.name]) and finite.max(initial=0) < 2:
            found.append(_finding("no unit remembers", layer))
    return found + (_gradients(horizon) if horizon is not None else [])


def statistics(layer: LayerRecord, valid: np.ndarray) -> dict[str, float]:
    """Numbers of one layer over its valid steps: mean gates, shares that are saturated, median time
    constant in steps, |c|."""
    found: dict[str, float] = {}
    for name in ("input_gate", "forget_gate", "output_gate"):
        gate = getattr(layer, name)[valid]
        found[f"{name}/mean"] = float(gate.mean())
        found[f"{name}/shut"] = float((gate < SHUT).mean())
        found[f"{name}/open"] = float((gate > OPEN).mean())
    found["time_constant/median"] = float(np.median(time_constant(layer.forget_gate[valid])))
    found["cell/mean_abs"] = float(np.abs(layer.cell[valid]).mean())
    found["cell/saturated"] = float((np.abs(layer.cell[valid]) > FLAT_CELL).mean())
    found["candidate/saturated"] = float((np.abs(layer.candidate[valid]) > FLAT_CANDIDATE).mean())
    return found


def _units(layer: LayerRecord, valid: np.ndarray) -> list[Finding]:
    cell = layer.cell[valid]  # (steps, H)
    if not np.isfinite(cell).all():
        return [_finding("not finite", layer, ~np.isfinite(cell).all(0))]
    shown = np.abs(layer.output_gate[valid] * np.tanh(cell))
    masks: Mapping[str, np.ndarray] = {
        "dead": shown.max(0) < STILL,
        "input gate shut": _mostly(layer.input_gate[valid] < SHUT),
        "output gate shut": _mostly(layer.output_gate[valid] < SHUT),
        "never forgets": _mostly(layer.forget_gate[valid] > NEVER_FORGETS),
        "forgets at once": _mostly(layer.forget_gate[valid] < SHUT),
        "candidate saturated": _mostly(np.abs(layer.candidate[valid]) > FLAT_CANDIDATE),
        "cell saturated": _mostly(np.abs(cell) > FLAT_CELL),
        "duplicate": _twins(cell),
    }
    return [_finding(kind, layer, mask) for kind, mask in masks.items() if mask.any()]


def _mostly(there: np.ndarray) -> np.ndarray:
    found: np.ndarray = there.mean(0) >= ALWAYS
    return found


def _twins(cell: np.ndarray) -> np.ndarray:
    """(H,) units whose cell is, up to a factor and an offset, that of one with a lower number."""
    H, cell = cell.shape[1], cell[:: max(1, len(cell) // MOST_ROWS)]
    centred = cell - cell.mean(0)
    norm = np.linalg.norm(centred, axis=0)
    moving = norm > STILL * np.sqrt(len(cell))
    if H > MOST_UNITS or len(cell) < 3:
        return np.zeros(H, bool)
    unit = centred / np.where(moving, norm, 1.0)
    alike = (np.abs(unit.T @ unit) > TWIN) & moving & moving[:, None]
    found: np.ndarray = np.triu(alike, 1).any(0)
    return found


def _gradients(horizon: Horizon) -> list[Finding]:
    """What the cells' sensitivity says; that of the input where there is no other."""
    found = []
    for name, values in (dict(horizon.cells) or {"input": horizon.sensitivity}).items():
        if len(values) < 3 or not values.max() > 0:
            continue
        far = np.flatnonzero(values > VANISHED * values.max())
        if far[-1] + 1 < len(values) / 2:
            advice = f"Beyond lag {far[-1]} of {len(values) - 1} less than 1/10,000 is left. "
            advice += ADVICE["gradient vanishes"]
            found.append(Finding("gradient vanishes", name, (), 0, advice))
        if values[len(values) // 2 :].max() > EXPLODED * max(values[0], 1e-30):
            found.append(Finding("gradient explodes", name, (), 0, ADVICE["gradient explodes"]))
    return found


def _finding(kind: str, layer: LayerRecord, mask: np.ndarray | None = None) -> Finding:
    units = () if mask is None else tuple(int(u) for u in np.flatnonzero(mask))
    return Finding(kind, layer.name, units, layer.cell.shape[-1], ADVICE[kind])


def summary(findings: Iterable[Finding]) -> str:
    """One line for all of them."""
    found = list(findings)
    if not found:
        return "healthy: no saturated, dead, never-forgetting or duplicate units, no lost gradient"
    return f"{len(found)} finding{'s' * (len(found) != 1)}: " + ", ".join(
        f"{f.kind} ({len(f.units)})" if f.units else f.kind for f in found
    )
