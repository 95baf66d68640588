"""Sums, means, norms and extrema along axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor

from harden.graph.batch_rules import along_axis
from harden.graph.operation_graph import Node, Operation
from harden.graph.operators.arithmetic import Abs, Log, Neg, Pow
from harden.graph.operators.operator_row import Operator
from harden.graph.operators.pooling import MaxPool, spatial_sizes
from harden.graph.operators.reshaping import Transpose, reshape
from harden.graph.operators.window_padding import Sizes
from harden.graph.reading.known_values import Size
from harden.graph.reading.node_view import NodeView, Reading, UnsupportedError


@final
@dataclass(frozen=True, slots=True)
class ReduceMean:
    """The mean over axes, counted from the front, the batch's first."""

    axes: Sizes
    keepdims: bool = True

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape; the axes become 1, or go."""
        return x.mean(self.axes, keepdim=self.keepdims)


@final
@dataclass(frozen=True, slots=True)
class ReduceSum:
    """The sum over axes, counted from the front."""

    axes: Sizes
    keepdims: bool = True

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape; the axes become 1, or go."""
        return x.sum(self.axes, keepdim=self.keepdims)


@final
@dataclass(frozen=True, slots=True)
class ReduceL2:
    """The root of the sum of squares over axes, counted from the front; its gradient at 0 is 0."""

    axes: Sizes
    keepdims: bool = True

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape; the axes become 1, or go."""
        found: Tensor = torch.linalg.vector_norm(x, 2, self.axes, self.keepdims)
        return found


@final
@dataclass(frozen=True, slots=True)
class ReduceLogSumExp:
    """The logarithm of the sum of exponentials over axes."""

    axes: Sizes
    keepdims: bool = True

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape; the axes become 1, or go."""
        return x.logsumexp(self.axes, self.keepdims)


@final
@dataclass(frozen=True, slots=True)
class ReduceProd:
    """The product over axes."""

    axes: Sizes
    keepdims: bool = True

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape; the axes become 1, or go."""
        for axis in sorted(self.axes, reverse=True):
            x = x.prod(axis, keepdim=self.keepdims)
        return x


@final
@dataclass(frozen=True, slots=True)
class CumSum:
    """The sum up to each place of an axis, itself included unless `exclusive`; from the end if `reverse`."""

    axis: int
    exclusive: bool = False
    reverse: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        x = x.flip(self.axis) if self.reverse else x
        found = x.cumsum(self.axis)
        if self.exclusive:
            size = x.shape[self.axis]
            found = torch.cat([torch.zeros_like(x.narrow(self.axis, 0, 1)), found], self.axis)
            found = found.narrow(self.axis, 0, size)
        return found.flip(self.axis) if self.reverse else found


def _axes(call: NodeView) -> tuple[Size, bool]:
    """The reduced axes, counted from the front, and whether they stay as 1."""
    axes = call.axes(1)
    if axes is None or not axes:
        if call.flag("noop_with_empty_axes"):
            raise UnsupportedError("noop_with_empty_axes=1")
        axes = tuple(range(call.rank))
    return axes, call.flag("keepdims", 1)


def _reduce(call: NodeView) -> list[Reading]:
    settings = _axes(call)
    rules: dict[str, tuple[Operation, ...]] = {
        "ReduceL1": (Abs(), ReduceSum(*settings)),
        "ReduceL2": (ReduceL2(*settings),),
        "ReduceLogSum": (ReduceSum(*settings), Log()),
        "ReduceLogSumExp": (ReduceLogSumExp(*settings),),
        "ReduceMean": (ReduceMean(*settings),),
        "ReduceProd": (ReduceProd(*settings),),
        "ReduceSum": (ReduceSum(*settings),),
        "ReduceSumSquare": (Pow(2.0), ReduceSum(*settings)),
    }
    return [(rules[call.kind], (0,))]


def _global_average(call: NodeView) -> list[Reading]:
    return [(ReduceMean(tuple(range(2, 2 + len(spatial_sizes(call))))), (0,))]


def _extreme(call: NodeView) -> list[Reading]:
    """The largest value over axes: of a window that holds all of them, moved to the end."""
    axes, kept = _axes(call)
    if 0 in axes:
        raise UnsupportedError("a maximum over the batch")
    rest = tuple(axis for axis in range(call.rank) if axis not in axes)
    width = math.prod(call.shape[axis] for axis in axes)
    lines = math.prod(call.shape[axis] for axis in rest if axis)

    def sizes(shape: Size) -> Size:
        if kept:
            return tuple(1 if axis in axes else size for axis, size in enumerate(shape))
        return tuple(shape[axis] for axis in rest)

    found: tuple[Operation, ...] = (
        Transpose((*rest, *axes)),
        reshape(call, lambda shape: (shape[0], lines, width)),
        MaxPool((width,), (width,), (0, 0), (1,)),
        reshape(call, sizes),
    )
    return [(found if call.kind == "ReduceMax" else (Neg(), *found[:3], Neg(), found[3]), (0,))]


def _cumulated(call: NodeView) -> list[Reading]:
    axis = int(call.scalar(1)) % call.rank
    return [(CumSum(axis, call.flag("exclusive"), call.flag("reverse")), (0,))]


def _rows_of_axes(node: Node, given: Sequence[Size]) -> bool:
    operation, rank = node.operation, len(given[0])
    if not isinstance(operation, ReduceMean | ReduceSum | ReduceL2 | ReduceLogSumExp | ReduceProd):
        return False
    return all(axis % rank for axis in operation.axes)


ROWS: Final = (
    Operator("CumSum", _cumulated, {CumSum: along_axis}),
    Operator("GlobalAveragePool", _global_average),
    Operator("ReduceL1", _reduce),
    Operator("ReduceL2", _reduce, {ReduceL2: _rows_of_axes}),
    Operator("ReduceLogSum", _reduce),
    Operator("ReduceLogSumExp", _reduce, {ReduceLogSumExp: _rows_of_axes}),
    Operator("ReduceMax", _extreme),
    Operator("ReduceMean", _reduce, {ReduceMean: _rows_of_axes}),
    Operator("ReduceMin", _extreme),
    Operator("ReduceProd", _reduce, {ReduceProd: _rows_of_axes}),
    Operator("ReduceSum", _reduce, {ReduceSum: _rows_of_axes}),
    Operator("ReduceSumSquare", _reduce),
)
