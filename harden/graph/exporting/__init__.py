"""Export of torch modules as ONNX graphs."""
