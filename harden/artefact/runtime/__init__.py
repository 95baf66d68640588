"""Sessions of onnxruntime: their memory, and the graphs that they execute."""
