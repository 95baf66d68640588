"""Small classifiers that onnxruntime answers otherwise, at one known corner, than their graph says."""
