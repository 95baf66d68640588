"""Folding of BatchNorms into the layer before them, on weights that change during training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from harden.graph.operation_graph import Graph, Node
from harden.graph.operators.affine_layers import BatchNormalization, Conv, Gemm


@final
@dataclass(frozen=True, slots=True)
class ScaledWeight:
    """weight * scale / sqrt(variance + epsilon), one factor for each output channel.

    Args:
        epsilon: of the BatchNorm.
        channels: the weight's dimension of output channels.
    """

    epsilon: float
    channels: int

    def __call__(self, weight: Tensor, scale: Tensor, variance: Tensor) -> Tensor:
        """The weight's shape; scale and variance (C,)."""
        shaped = [1] * weight.dim()
        shaped[self.channels] = -1
        return weight * (scale / torch.sqrt(variance + self.epsilon)).reshape(shaped)


@final
@dataclass(frozen=True, slots=True)
class MovedBias:
    """bias + (factor before - mean) scale / sqrt(variance + epsilon).

    Args:
        epsilon: of the BatchNorm.
        factor: on the layer's own bias.
    """

    epsilon: float
    factor: float

    def __call__(
        self, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, before: Tensor | None = None
    ) -> Tensor:
        """All (C,)."""
        at = -mean if before is None else self.factor * before - mean
        return bias + at * scale / torch.sqrt(variance + self.epsilon)


def absorb_batchnorms(graph: Graph) -> Graph:
    """The same graph without the BatchNorms that read nothing but a layer's output, and alone.

    Its `derived` states how the weights of those layers follow from the layer's and the BatchNorm's own. All
    constants are kept, those of the BatchNorms too.
    """
    makers = {node.output: node for node in graph.nodes}
    readers: dict[str, int] = {graph.output.name: 1}
    for node in graph.nodes:
        for name in node.inputs:
            readers[name] = readers.get(name, 0) + 1
    gone: set[str] = set()
    nodes: dict[str, Node] = {}
    derived, constants = list(graph.derived), dict(graph.constants)
    for norm in graph.nodes:
        nodes[norm.output] = norm
        layer = makers.get(norm.inputs[0]) if isinstance(norm.operation, BatchNormalization) else None
        if layer is None or readers[layer.output] != 1 or not _can_take(layer, graph.constants):
            continue
        more = _follow(layer, norm)
        for each in more:
            constants[each.output] = each.operation(*(constants[name] for name in each.inputs))
        derived.extend(more)
        inputs = (layer.inputs[0], *(each.output for each in more))
        operation = (
            replace(layer.operation, beta=1.0) if isinstance(layer.operation, Gemm) else layer.operation
        )
        nodes[norm.output] = replace(norm, operation=operation, inputs=inputs, kind=layer.kind)
        gone.add(layer.output)
    kept = tuple(node for name, node in nodes.items() if name not in gone)
    return replace(graph, nodes=kept, constants=constants, derived=tuple(derived))


def _can_take(layer: Node, constants: Mapping[str, Tensor]) -> bool:
    """True if a layer has constant weights, and a bias, if any, for each channel."""
    operation, (_, *weights) = layer.operation, layer.inputs
    if not weights or any(name not in constants for name in weights):
        return False
    plain = not operation.trans_a if isinstance(operation, Gemm) else isinstance(operation, Conv)
    return plain and all(constants[name].dim() == 1 for name in weights[1:])


def _follow(layer: Node, norm: Node) -> tuple[Node, Node]:
    operation = layer.operation
    _, scale, bias, mean, variance = norm.inputs
    channels = 1 if isinstance(operation, Gemm) and not operation.trans_b else 0
    epsilon = norm.operation.epsilon if isinstance(norm.operation, BatchNormalization) else 0.0
    factor = operation.beta if isinstance(operation, Gemm) else 1.0
    weight, *before = layer.inputs[1:]
    name = f"{norm.output}.absorbed"
    return (
        Node(ScaledWeight(epsilon, channels), (weight, scale, variance), f"{name}.weight", (), name, "Mul"),
        Node(
            MovedBias(epsilon, factor),
            (scale, bias, mean, variance, *before),
            f"{name}.bias",
            (),
            name,
            "Add",
        ),
    )
