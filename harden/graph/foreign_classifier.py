"""Files of other exporters as classifiers: open image sizes, and logits of shapes other than (N, K)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import torch

from harden.graph.operation_graph import BATCH, Graph, Node, Operation, Port
from harden.graph.operators.affine_layers import MatMul
from harden.graph.operators.reshaping import Reshape
from harden.graph.reading.load_model import load_model


def with_image_size(model: str | Path | bytes | onnx.ModelProto, size: tuple[int, ...]) -> onnx.ModelProto:
    """A model whose one input has a size (without the batch) where its file leaves sizes open.

    The graph may compute shapes from its input's, and then can be read for one size alone. What the file
    says of the sizes of its other values is left out: they follow.

    Raises:
        InputError: it can't be read, or is no ONNX model.
    """
    found = onnx.ModelProto()
    found.CopyFrom(load_model(model))
    constants = {tensor.name for tensor in found.graph.initializer}
    for port in found.graph.input:
        dims = port.type.tensor_type.shape.dim
        if port.name not in constants and len(dims) == len(size) + 1:
            for dim, number in zip(list(dims)[1:], size, strict=True):
                dim.dim_value = number
    del found.graph.value_info[:]
    return found


def as_classifier(graph: Graph) -> Graph:
    """A graph with logits (N, K), K >= 2.

    Logits of other shapes, such as (N, K, 1, 1), become rows of K numbers. A single logit z becomes (0, z),
    as for torch networks (`harden.models.logits_of_output.binary`): z times the row (0, 1), which is exact in
    floating point, for 0 z = 0 and 1 z = z wherever z is finite.
    """
    shape = graph.output.shape
    if not shape or shape[0] != BATCH:
        return graph
    count = 1
    for size in shape[1:]:
        count *= size
    if len(shape) != 2:
        graph = _followed(graph, Reshape((-1, count)), (), (BATCH, count))
    if count != 1:
        return graph
    row = _free(graph, "two_classes")
    graph = replace(graph, constants={**graph.constants, row: torch.tensor([[0.0, 1.0]])})
    return _followed(graph, MatMul(), (row,), (BATCH, 2))


def _followed(graph: Graph, operation: Operation, more: tuple[str, ...], shape: tuple[int, ...]) -> Graph:
    """The graph with one more operation on its output."""
    name = _free(graph, f"{graph.output.name}_classes")
    inputs = (graph.output.name, *more)
    node = Node(operation, inputs, name, shape, name, type(operation).__name__)
    return replace(graph, output=Port(name, shape), nodes=(*graph.nodes, node))


def _free(graph: Graph, name: str) -> str:
    """A name that no value of the graph has."""
    taken = {graph.input.name, *graph.constants, *(node.output for node in graph.nodes)}
    while name in taken:
        name += "_"
    return name
