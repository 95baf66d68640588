"""Normalisation by statistics of the values themselves, and softmax."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

from torch import Tensor
from torch.nn import functional

from harden.graph.batch_rules import along_axis, constant_weights, one_value
from harden.graph.operation_graph import Node
from harden.graph.operators.operator_row import Operator
from harden.graph.operators.reshaping import reshape
from harden.graph.reading.known_values import Size
from harden.graph.reading.node_view import NodeView, Reading, UnsupportedError, shapes


@final
@dataclass(frozen=True, slots=True)
class Softmax:
    """exp(x) / sum exp(x) along an axis."""

    axis: int = -1

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x.softmax(self.axis)


@final
@dataclass(frozen=True, slots=True)
class LogSoftmax:
    """x - log sum exp(x) along an axis."""

    axis: int = -1

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x.log_softmax(self.axis)


@final
@dataclass(frozen=True, slots=True)
class LayerNormalization:
    """scale (x - mean) / sqrt(variance + epsilon) + bias, both taken from the axis on."""

    axis: int = -1
    epsilon: float = 1e-5

    def __call__(self, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
        """Any shape."""
        return functional.layer_norm(x, x.shape[self.axis % x.dim() :], scale, bias, self.epsilon)


@final
@dataclass(frozen=True, slots=True)
class GroupNormalization:
    """scale (x - mean) / sqrt(variance + epsilon) + bias, both over each group of an image's channels.

    InstanceNormalization is the one with as many groups as channels.
    """

    groups: int
    epsilon: float = 1e-5

    def __call__(self, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        """(N, C, ...) to the same shape; scale and bias (C,)."""
        # Not torch's own, which refuses one value a group: there x - mean is 0.
        grouped = x.reshape(len(x), self.groups, -1)
        centred = grouped - grouped.mean(2, keepdim=True)
        variance = centred.square().mean(2, keepdim=True)
        shaped = (-1, *(1,) * (x.dim() - 2))
        normal = (centred / (variance + self.epsilon).sqrt()).reshape(x.shape)
        return normal * scale.reshape(shaped) + bias.reshape(shaped)


@final
@dataclass(frozen=True, slots=True)
class LRN:
    """x / (bias + alpha / size s)^beta, s the sum of squares of `size` channels around each."""

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    bias: float = 1.0

    def __call__(self, x: Tensor) -> Tensor:
        """(N, C, ...) to the same shape."""
        flat = x.square().reshape(len(x), 1, x.shape[1], -1)
        before = (self.size - 1) // 2
        padded = functional.pad(flat, (0, 0, before, self.size - 1 - before))
        mean = functional.avg_pool2d(padded, (self.size, 1), 1).reshape(x.shape)
        return x / (self.bias + self.alpha * mean) ** self.beta


def _softmax(call: NodeView) -> list[Reading]:
    axis = call.axis("axis", -1 if call.opset >= 13 else 1)
    rule = Softmax if call.kind == "Softmax" else LogSoftmax
    if call.opset >= 13 or all(size == 1 for size in call.shape[axis + 1 :]):
        return [(rule(axis), (0,))]
    # Before opset 13 all dimensions from the axis on were one, and all before it another.
    flat = reshape(call, lambda shape: (math.prod(shape[:axis]), math.prod(shape[axis:])))
    return [((flat, rule(1), reshape(call, lambda shape: shape)), (0,))]


def _layer_normalization(call: NodeView) -> list[Reading]:
    if any(call.outputs[1:]):
        raise UnsupportedError("statistics as outputs")
    call.only("stash_type", 1)
    found = LayerNormalization(call.axis("axis", -1), call.number("epsilon", 1e-5))
    return [(found, call.present)]


def _group_normalization(call: NodeView) -> list[Reading]:
    call.only("stash_type", 1)
    channels = call.shape[1]
    groups = channels if call.kind == "InstanceNormalization" else int(call.attributes["num_groups"])
    if any(shapes(value) and shapes(value)[0] != (channels,) for value in call.values[1:]):
        raise UnsupportedError("a scale for each group")  # opset 18 to 20
    return [(GroupNormalization(groups, call.number("epsilon", 1e-5)), (0, 1, 2))]


def _lrn(call: NodeView) -> list[Reading]:
    if int(call.attributes["size"]) % 2 == 0:
        raise UnsupportedError(f"size={call.attributes['size']}")
    settings = (call.number("alpha", 1e-4), call.number("beta", 0.75), call.number("bias", 1.0))
    return [(LRN(int(call.attributes["size"]), *settings), (0,))]


def _layer_normalization_rows(node: Node, given: Sequence[Size]) -> bool:
    operation, rank = node.operation, len(given[0])
    kept = isinstance(operation, LayerNormalization) and operation.axis % rank > 0
    return kept and constant_weights(node, given) and all(len(each) < rank for each in given[1:])


ROWS: Final = (
    Operator("GroupNormalization", _group_normalization, {GroupNormalization: constant_weights}),
    Operator("InstanceNormalization", _group_normalization),
    Operator("LRN", _lrn, {LRN: one_value}),
    Operator("LayerNormalization", _layer_normalization, {LayerNormalization: _layer_normalization_rows}),
    Operator("LogSoftmax", _softmax, {LogSoftmax: along_axis}),
    Operator("Softmax", _softmax, {Softmax: along_axis}),
)
