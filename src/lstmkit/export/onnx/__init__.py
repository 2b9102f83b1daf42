"""ONNX: one entry point of a program as a model that any ONNX runtime reads.

Written node by node from the program, without tracing: the batch "B" and the steps "T" stay
symbols, weights keep their names, and the state comes in and goes out, so that a stream feeds
`SLOT_out` back in as `SLOT`. Importing this needs neither onnx nor onnxruntime; its functions do.
"""

from __future__ import annotations

from lstmkit.export.onnx.agreement import TOLERANCE, Agreement, verify, write
from lstmkit.export.onnx.model import to_onnx

__all__ = ["TOLERANCE", "Agreement", "to_onnx", "verify", "write"]
