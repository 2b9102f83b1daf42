"""The truth: unrolled equations and a hand-derived backward, in any floating dtype, every variant.

Never optimised: it is there to be read and compared with.
"""

from __future__ import annotations

from lstmkit.kernels.contract import Case
from lstmkit.kernels.reference.backward import backward as _backward
from lstmkit.kernels.reference.forward import forward as _forward


class Reference:
    name = "reference"
    description = "unrolled equations in Python, every variant, float64 to bfloat16"
    forward = staticmethod(_forward)
    backward = staticmethod(_backward)

    def supports(self, case: Case) -> str | None:
        return None


BACKEND = Reference()
