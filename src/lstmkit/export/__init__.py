"""A program written for other systems: ONNX, C."""
