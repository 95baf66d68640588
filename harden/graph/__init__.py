"""An ONNX file as a small list of typed operations, run differentiably in torch."""

from harden.graph.batch_independence import mixing
from harden.graph.graph_module import GraphNetwork
from harden.graph.operation_graph import BATCH, Graph, Node, Port
from harden.graph.reading.read import UnreadableError, read

__all__ = ["BATCH", "Graph", "GraphNetwork", "Node", "Port", "UnreadableError", "mixing", "read"]
