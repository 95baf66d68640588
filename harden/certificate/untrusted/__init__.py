"""Limits on ONNX files from strangers: size, memory, time."""
