"""The graphs that onnxruntime executes after its own optimisation."""
