"""An ONNX file as a small list of typed operations, run differentiably in torch."""

from harden.graph.graph import BATCH, Graph, Node, Port

__all__ = ["BATCH", "Graph", "Node", "Port"]
