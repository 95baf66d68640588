"""Reading of ONNX files as lists of typed operations."""
