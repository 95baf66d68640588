"""An ONNX file as a small list of typed operations, run differentiably in torch."""

from harden.graph.graph import BATCH, Graph, Node, Port
from harden.graph.network import GraphNetwork
from harden.graph.reading import UnreadableError, read
from harden.graph.separation import mixing

__all__ = ["BATCH", "Graph", "GraphNetwork", "Node", "Port", "UnreadableError", "mixing", "read"]
