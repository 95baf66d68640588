"""Bounds of what an ONNX file computes over a region of inputs, true of its float32 arithmetic."""
