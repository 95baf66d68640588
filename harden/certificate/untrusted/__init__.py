"""Limits of size, memory and time for untrusted ONNX files."""
