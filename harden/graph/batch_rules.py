"""Batch rules: conditions under which an operation computes each image of a batch by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from harden.graph.operation_graph import BATCH, Node

Shape = tuple[int, ...]
BatchRule = Callable[[Node, Sequence[Shape]], bool]
"""Of a node and the shapes of its inputs, whether row i of the output depends on image i alone, in the same
way for every i. It is called where every value among the inputs, and the output, has the batch first."""


@runtime_checkable
class _AlongAxis(Protocol):
    """An operation with one axis."""

    @property
    def axis(self) -> int: ...


def one_value(node: Node, given: Sequence[Shape]) -> bool:
    """True of one input: element by element, over windows behind the channels, or rows in their order."""
    return len(given) == 1


def broadcast(node: Node, given: Sequence[Shape]) -> bool:
    """True where each input broadcasts in the same way for every image."""
    return all(alike_for_each_image(shape, len(node.shape)) for shape in given)


def constant_weights(node: Node, given: Sequence[Shape]) -> bool:
    """True where every input but the first is a constant."""
    return not any(follows_batch(shape) for shape in given[1:])


def along_axis(node: Node, given: Sequence[Shape]) -> bool:
    """True of an operation along another axis than the batch's."""
    operation, rank = node.operation, len(given[0])
    inside = isinstance(operation, _AlongAxis) and operation.axis % rank > 0
    return inside and all(alike_for_each_image(shape, rank) for shape in given)


def no_guarantee(node: Node, given: Sequence[Shape]) -> bool:
    """False: nothing is derived of this operation."""
    return False


def follows_batch(shape: Shape) -> bool:
    """True if the first dimension is the batch's."""
    return shape[:1] == (BATCH,)


def alike_for_each_image(shape: Shape, rank: int) -> bool:
    """True if an input of `rank` dimensions or fewer is the same for each image, or each image's own."""
    if follows_batch(shape):
        return len(shape) == rank
    return len(shape) < rank or shape[:1] == (1,) * (rank > 0)
