"""From an ONNX file to the list of typed operations."""
