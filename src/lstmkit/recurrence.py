"""The operations that hold memory: `lstm` over a sequence, `lstm_cell` over one step.

Both are `lstmkit.equations.lstm`, in evaluation, with every variant.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lstmkit.equations.lstm import Step, Weights, project_input, step
from lstmkit.notation import gate_rows
from lstmkit.operations import (
    REQUIRED,
    Array,
    Arrays,
    Attribute,
    ProgramError,
    Shape,
    check,
    number,
    register,
)

_ROLES = Weights._fields[2:]
_MATRICES = ("weight_ih", "weight_hh", "weight_hr")
_LSTM = {
    "hidden_size": Attribute(int, REQUIRED),
    "coupled": Attribute(bool, False),
    "zoneout_h": Attribute(float, 0.0),
    "zoneout_c": Attribute(float, 0.0),
}
GATES = ("input_gate", "forget_gate", "candidate", "output_gate", "cell", "hidden")


def cell_sizes(i: Mapping[str, Shape], a: Mapping[str, Any]) -> tuple[int, int]:
    """H and P, every weight's shape checked."""
    H, G = a["hidden_size"], gate_rows(a["coupled"])
    check(H > 0, "hidden_size must be above 0")
    P = number(i["weight_hr"][0], "the projection") if "weight_hr" in i else H
    wanted: dict[str, Shape] = {
        "weight_ih": (G * H, i["x"][-1]),
        "weight_hh": (G * H, P),
        "bias_ih": (G * H,),
        "bias_hh": (G * H,),
        "weight_hr": (P, H),
        "weight_peephole": (G - 1, H),
        "norm_ih_weight": (G * H,),
        "norm_hh_weight": (G * H,),
        "norm_c_weight": (H,),
        "norm_c_bias": (H,),
    }
    for name, shape in wanted.items():
        check(name not in i or i[name] == shape, f"{name} is {i.get(name)}, not {shape}")
    check(("bias_ih" in i) == ("bias_hh" in i), "one bias without the other")
    norms = {name in i for name in wanted if name.startswith("norm_")}
    check(len(norms) == 1, "one norm without the others")
    return H, P


def _lstm_weights(i: Mapping[str, Array]) -> Weights:
    return Weights(*(i.get(name) for name in Weights._fields))


def _one_step(zx: Array, h: Array, c: Array, w: Weights, a: Mapping[str, Any]) -> Step:
    keep_h, keep_c = float(a["zoneout_h"]), float(a["zoneout_c"])
    return step(zx, h, c, w, coupled=a["coupled"], keep_h=keep_h, keep_c=keep_c)


@register(
    "lstm",
    ["x", "weight_ih", "weight_hh"],
    ["y", "h", "c"],
    ["h0", "c0", "lengths", "resets", *_ROLES],
    {**_LSTM, "reverse": Attribute(bool, False)},
    matrices=_MATRICES,
)
class _Lstm:
    """One layer and direction over x (B, T, I): y (B, T, P), h (B, P), c (B, H).

    As `lstmkit.kernels.contract` says, in evaluation: lengths (B,), resets (B, T). Run with
    `observe`, the outputs of the `lstm` operation carry GATES too, (B, T, H).
    """

    @staticmethod
    def shapes(i: Mapping[str, Shape], a: Mapping[str, Any]) -> dict[str, Shape]:
        check(len(i["x"]) == 3, f"x is {i['x']}, not (B, T, I)")
        H, P = cell_sizes(i, a)
        B, T, _ = i["x"]
        wanted: dict[str, Shape] = {"h0": (B, P), "c0": (B, H), "lengths": (B,), "resets": (B, T)}
        for name, shape in wanted.items():
            check(name not in i or i[name] == shape, f"{name} is {i.get(name)}, not {shape}")
        return {"y": (B, T, P), "h": (B, P), "c": (B, H)}

    @staticmethod
    def run(i: Mapping[str, Array], a: Mapping[str, Any]) -> Arrays:
        return unroll(i, a, memoryless=False, observed=False)


def unroll(
    i: Mapping[str, Array], a: Mapping[str, Any], *, memoryless: bool, observed: bool
) -> Arrays:
    """The `lstm` operation; `memoryless` zeroes the state before every step."""
    x, w = i["x"], _lstm_weights(i)
    (B, T), H = x.shape[:2], a["hidden_size"]
    P = H if w.weight_hr is None else len(w.weight_hr)
    h = first_h = i.get("h0", np.zeros((B, P), x.dtype))
    c = first_c = i.get("c0", np.zeros((B, H), x.dtype))
    lengths = i["lengths"].astype(np.int64) if "lengths" in i else np.full(B, T)
    if B and (lengths.min() < 0 or lengths.max() > T):
        raise ProgramError("a length is outside the sequence", expected=f"0 to {T}")
    resets = i["resets"] != 0 if "resets" in i else np.zeros((B, T), bool)
    zx = project_input(x, w)
    found = {name: np.zeros((B, T, H), x.dtype) for name in GATES[:5] if observed}
    y = np.zeros((B, T, P), x.dtype)
    for t in range(T - 1, -1, -1) if a.get("reverse") else range(T):
        valid = (t < lengths)[:, None]
        cut = valid & (resets[:, t, None] | memoryless)
        if not a.get("reverse") or memoryless:
            h, c = np.where(cut, 0, h).astype(x.dtype), np.where(cut, 0, c).astype(x.dtype)
        s = _one_step(zx[:, t], h, c, w, a)
        y[:, t] = np.where(valid, s.hidden, 0)
        for name in found:
            found[name][:, t] = np.where(valid, getattr(s, name), 0)
        h, c = np.where(valid, s.hidden, h), np.where(valid, s.cell, c)
        if a.get("reverse"):
            cut = valid & resets[:, t, None]
            h, c = np.where(cut, 0, h).astype(x.dtype), np.where(cut, 0, c).astype(x.dtype)
    h = h.copy() if h is first_h else h
    c = c.copy() if c is first_c else c
    return {"y": y, "h": h, "c": c, **found, **({"hidden": y} if observed else {})}


@register(
    "lstm_cell",
    ["x", "h", "c", "weight_ih", "weight_hh"],
    ["h", "c"],
    [*_ROLES],
    dict(_LSTM),
    matrices=_MATRICES,
)
class _LstmCell:
    """One step: x (B, I), h (B, P), c (B, H) to the new h and c."""

    @staticmethod
    def shapes(i: Mapping[str, Shape], a: Mapping[str, Any]) -> dict[str, Shape]:
        check(len(i["x"]) == 2, f"x is {i['x']}, not (B, I)")
        H, P = cell_sizes(i, a)
        h, c = (i["x"][0], P), (i["x"][0], H)
        check(i["h"] == h and i["c"] == c, f"the state is {i['h']}, {i['c']}, not {h}, {c}")
        return {"h": h, "c": c}

    @staticmethod
    def run(i: Mapping[str, Array], a: Mapping[str, Any]) -> Arrays:
        return one_cell(i, a, memoryless=False, observed=False)


def one_cell(
    i: Mapping[str, Array], a: Mapping[str, Any], *, memoryless: bool, observed: bool
) -> Arrays:
    """The `lstm_cell` operation; `memoryless` forgets the state that it is given."""
    w = _lstm_weights(i)
    h, c = (np.zeros_like(i[k]) if memoryless else i[k] for k in ("h", "c"))
    s = _one_step(project_input(i["x"], w), h, c, w, a)
    found = {name: getattr(s, name) for name in GATES if observed}
    return {"h": s.hidden, "c": s.cell, **found}


# Operations that hold memory run through these.
RECURRENT = {"lstm": unroll, "lstm_cell": one_cell}
