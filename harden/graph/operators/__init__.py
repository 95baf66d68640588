"""ONNX operators by family: operations in torch, converters from nodes of a file, batch rules, table rows."""
