"""Verification of an artefact from its files with numpy, onnx, onnxruntime and cryptography alone."""
