"""The table of backends. `select` is a pure function of the case, fixed by measurements in
benchmarks/results/layer.json, never by timing at run time; an explicit name that cannot raises."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

from lstmkit.errors import UserError
from lstmkit.kernels.contract import (
    Arguments,
    Backend,
    BackwardFunction,
    Case,
    CellOptions,
    Result,
)

# In order of preference.
BACKENDS = {
    "native": "lstmkit.kernels.native",
    "vendor": "lstmkit.kernels.vendor",
    "reference": "lstmkit.kernels.reference",
}

# Time of the reference over the native kernel, forward and backward, T=100, on a CPU, one thread:
# at B=32 H=128, and at B=1 H=64 (benchmarks/results/layer_reference.json).
REFERENCE_FACTOR, REFERENCE_FACTOR_SMALL = 3, 30


class Unavailable:
    """A backend whose import failed: it supports nothing and says why."""

    backward: BackwardFunction | None = None

    def __init__(self, name: str, error: ImportError) -> None:
        self.name, self.description = name, f"not available: {error}"

    def supports(self, case: Case) -> str | None:
        return self.description

    def forward(self, a: Arguments, o: CellOptions, keep: bool) -> Result:
        raise UserError(f"backend {self.name!r} is {self.description}")


def _resolve(name: str, module: str) -> Backend:
    try:
        found: Backend = importlib.import_module(module).BACKEND
    except ImportError as error:
        return Unavailable(name, error)
    return found


# Resolved once, here: a compiler that traces a layer meets a plain dictionary.
_resolved = {name: _resolve(name, module) for name, module in BACKENDS.items()}
_warned: set[tuple[str, ...]] = set()


def backend(name: str) -> Backend:
    """The backend of that name."""
    if name not in _resolved:
        raise UserError(
            f"there is no backend {name!r}", expected="auto, " + ", ".join(sorted(BACKENDS))
        )
    return _resolved[name]


def backends() -> dict[str, Backend]:
    """All backends, in order of preference."""
    return dict(_resolved)


def reasons(case: Case) -> dict[str, str | None]:
    """For each backend: None where it runs the case, else why not."""
    return {name: found.supports(case) for name, found in backends().items()}


def select(case: Case, wanted: str = "auto") -> str:
    """The backend that runs `case`.

    Raises UserError where an explicitly `wanted` one cannot.
    """
    if wanted != "auto":
        reason = backend(wanted).supports(case)
        if reason is not None:
            raise UserError(
                f"backend {wanted!r} cannot run this layer",
                got=reason,
                hint="backend='auto' takes one that can",
            )
        return wanted
    return next(name for name, found in _resolved.items() if found.supports(case) is None)


def warn_slow(case: Case) -> None:
    """Says, once a process for each set of variants, that `auto` has only the reference."""
    variants = tuple(case.variants())
    if variants in _warned:
        return
    _warned.add(variants)
    warnings.warn(
        f"only the reference kernel runs {', '.join(variants) or 'this case'}: about "
        f"{REFERENCE_FACTOR} times slower than a plain layer at T=100, B=32, H=128 on a CPU, "
        f"{REFERENCE_FACTOR_SMALL} times at B=1, H=64",
        stacklevel=4,
    )


def explain(layer: Any, input: Any, **call: Any) -> str:
    """Which backend runs `layer(input, **call)`, and why each other one does not, as text."""
    case = layer.case(input, **call)
    chosen = select(case, layer.backend)
    lines = []
    for name, reason in reasons(case).items():
        why = reason or (
            "runs this" if name == chosen else f"could run this; {chosen} is preferred"
        )
        lines.append(f"{'*' if name == chosen else ' '} {name:<10} {why}")
    return "\n".join(lines)
