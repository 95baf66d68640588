"""onnxruntime sessions: their memory, and the graphs that they execute."""
