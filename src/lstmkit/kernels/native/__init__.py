"""The native kernels of `lstmkit._native` behind the contract: CPUs, float32 and float64.

One path for every plain or projected layer: ragged, reset, traced and recomputed. Bits depend
neither on the number of threads nor on what else is in the batch. Mathematics and blocking:
docs/kernels.md.
"""

from __future__ import annotations

import torch

from lstmkit import engine
from lstmkit.kernels.contract import Case
from lstmkit.kernels.native.calls import backward as _backward
from lstmkit.kernels.native.calls import checkpointed as _checkpointed
from lstmkit.kernels.native.calls import forward as _forward
from lstmkit.kernels.native.calls import from_checkpoints as _from_checkpoints
from lstmkit.kernels.native.calls import results as _results

# The others come with the fused variants.
RUN = {"resets"}


class Native:
    name = "native"
    description = "our own C++ kernels for CPUs: plain and projected LSTMs, ragged, reset, traced"
    forward = staticmethod(_forward)
    backward = staticmethod(_backward)
    results = staticmethod(_results)
    checkpointed = staticmethod(_checkpointed)
    from_checkpoints = staticmethod(_from_checkpoints)

    def supports(self, case: Case) -> str | None:
        if engine.NATIVE is None:
            return f"the native engine is not there: {engine.status()['reason']}"
        if case.device != "cpu":
            return f"the native kernels run on CPUs, not on {case.device}"
        if case.dtype not in (torch.float32, torch.float64):
            return f"the native kernels compute in float32 and float64, not in {case.dtype}"
        variants = [name for name in case.variants() if name not in RUN]
        if variants:
            return f"the native kernels have no {', '.join(variants)} yet"
        return None


BACKEND = Native()
