"""Operators of any number of inputs: concatenation, extrema, sum and mean of several values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import torch
from torch import Tensor

from harden.graph.batch_rules import alike_for_each_image, along_axis
from harden.graph.operation_graph import Node, Operation
from harden.graph.operators.arithmetic import Add, Neg
from harden.graph.operators.operator_row import Operator
from harden.graph.operators.pooling import MaxPool
from harden.graph.operators.rectifiers import Clip
from harden.graph.operators.reductions import ReduceMean, ReduceSum
from harden.graph.operators.reshaping import Reshape, one_free
from harden.graph.reading.known_values import KnownValue, Size
from harden.graph.reading.node_view import NodeView, Reading, shapes


@final
@dataclass(frozen=True, slots=True)
class Concat:
    """Tensors one after the other along an axis."""

    axis: int

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Shapes that differ along the axis alone."""
        return torch.cat(inputs, self.axis)


@final
@dataclass(frozen=True, slots=True)
class Stack:
    """Tensors next to each other along a new last axis, broadcast to one shape."""

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Shapes that broadcast, to (..., number of inputs)."""
        shape = np.broadcast_shapes(*(each.shape for each in inputs))
        return torch.stack([each.expand(shape) for each in inputs], -1)


def _concat(call: NodeView) -> list[Reading]:
    return [(Concat(call.axis("axis", 0)), tuple(range(len(call.values))))]


def _common(call: NodeView) -> list[Size]:
    """The shape to which all inputs broadcast, for each batch size."""
    each = [shapes(value) for value in call.values]
    return [np.broadcast_shapes(*found) for found in zip(*each, strict=True)]


def _extreme(call: NodeView) -> list[Reading]:
    """The largest or least of several: stacked, then pooled over the stack."""
    values = [at for at, value in enumerate(call.values) if not isinstance(value, KnownValue)]
    rest = [at for at in range(len(call.values)) if at not in values]
    if len(values) == len(rest) == 1 and call.constant(rest[0]).size == 1:
        end = call.scalar(rest[0])
        low, high = (end, None) if call.kind == "Max" else (None, end)
        if call.constant(rest[0]).ndim <= len(shapes(call.values[values[0]])[0]) and math.isfinite(end):
            return [(Clip(low, high), (values[0],))]
    sizes, count = _common(call), len(call.values)
    flat = one_free(call, [(size[0], math.prod(size[1:]), count) for size in sizes])
    pooled: tuple[Operation, ...] = (Reshape(flat), MaxPool((count,), (count,), (0, 0), (1,)))
    pooled = pooled if call.kind == "Max" else (Neg(), *pooled, Neg())
    return [((Stack(), *pooled, Reshape(one_free(call, sizes))), tuple(range(count)))]


def _sum(call: NodeView) -> list[Reading]:
    inputs = tuple(range(len(call.values)))
    if call.kind == "Sum" and len(inputs) == 2:
        return [(Add(), inputs)]
    axis = len(_common(call)[0])
    rule = ReduceSum if call.kind == "Sum" else ReduceMean
    return [((Stack(), rule((axis,), False)), inputs)]


def _stack_rows(node: Node, given: Sequence[Size]) -> bool:
    return all(alike_for_each_image(shape, len(node.shape) - 1) for shape in given)


ROWS: Final = (
    Operator("Concat", _concat, {Concat: along_axis}),
    Operator("Max", _extreme, {Stack: _stack_rows}),
    Operator("Mean", _sum),
    Operator("Min", _extreme),
    Operator("Sum", _sum),
)
