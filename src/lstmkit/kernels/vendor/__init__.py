"""PyTorch's own LSTM: oneDNN on CPUs, cuDNN on NVIDIA GPUs, ATen's loop elsewhere.

Plain and projected LSTMs only. As a declared capability it also runs whole stacks (`stack`), which
is what torch.nn.LSTM does, with the same results to the last bit.
"""

from __future__ import annotations

import torch

from lstmkit.kernels.contract import Case
from lstmkit.kernels.vendor.forward import forward as _forward
from lstmkit.kernels.vendor.forward import stack as _stack


class Vendor:
    name = "vendor"
    description = "PyTorch's oneDNN and cuDNN path, plain and projected LSTMs, whole stacks"
    forward = staticmethod(_forward)
    backward = None
    stack = staticmethod(_stack)

    def supports(self, case: Case) -> str | None:
        variants = case.variants()
        if variants:
            return f"PyTorch has no {', '.join(variants)}"
        if case.recompute:
            return "PyTorch keeps its activations; it has no recompute"
        if case.device == "cpu" and case.autocast and not _narrow_onednn(case.dtype):
            return f"oneDNN has no {case.dtype} LSTM on this CPU"
        return None


def _narrow_onednn(dtype: torch.dtype) -> bool:
    """Under autocast PyTorch calls oneDNN without asking whether it can."""
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype != torch.float16 or bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())


BACKEND = Vendor()
