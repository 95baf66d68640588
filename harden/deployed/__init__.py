"""Evaluation and certification of ONNX files in deployment: gradients, evidence levels, proofs."""
