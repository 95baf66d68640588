"""Reshaping and transposition: values keep their numbers and change their places."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from torch import Tensor

from harden.graph.batch_rules import alike_for_each_image, one_value
from harden.graph.operation_graph import Node
from harden.graph.operators.operator_row import Operator
from harden.graph.operators.window_padding import Sizes
from harden.graph.reading.known_values import KnownValue, Size, shape_of
from harden.graph.reading.node_view import NodeView, Reading, UnsupportedError, shapes


@final
@dataclass(frozen=True, slots=True)
class Reshape:
    """The same values in another shape; at most one size is -1, the one that the batch decides.

    Flatten, Squeeze, Unsqueeze and Identity are read as this.
    """

    shape: Sizes

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape of as many values."""
        return x.reshape(self.shape)


@final
@dataclass(frozen=True, slots=True)
class Transpose:
    """Dimensions in another order."""

    perm: Sizes

    def __call__(self, x: Tensor) -> Tensor:
        """Dimension i of the output is dimension perm[i] of x."""
        return x.permute(self.perm)


@final
@dataclass(frozen=True, slots=True)
class Expand:
    """x broadcast to a shape; -1 is the size of the batch, that of `batch`, the graph's input."""

    shape: Sizes

    def __call__(self, x: Tensor, batch: Tensor) -> Tensor:
        """A shape that broadcasts."""
        sizes = [len(batch) if size == -1 else size for size in self.shape]
        # Both ways, as ONNX has it: a size of 1 in the shape leaves that of x.
        return x + x.new_zeros(sizes)


def reshape(call: NodeView, rule: Callable[[Size], Size]) -> Reshape:
    """To what a rule makes of the shape that comes in.

    Raises:
        UnsupportedError: torch has no such reshape.
    """
    return Reshape(one_free(call, [rule(shape) for shape in shapes(call.values[0])]))


def one_free(call: NodeView, found: list[Size]) -> Size:
    """The argument of torch's reshape: -1 for the one size that follows the batch.

    Raises:
        UnsupportedError: two do, or one in another way than as a multiple.
    """
    try:
        shape = shape_of(found, call.batches)
    except ValueError as error:
        raise UnsupportedError(str(error)) from error
    free = [size for size in shape if size < 0]
    if len(free) > 1:
        raise UnsupportedError(f"a shape {shape} with the batch in two places")
    return tuple(max(size, -1) for size in shape)


def _reshape(call: NodeView) -> list[Reading]:
    target = call.values[1]
    if not isinstance(target, KnownValue):
        raise UnsupportedError("a shape that depends on the images")
    found = [
        _resolved(np.atleast_1d(sizes).tolist(), shape, call.flag("allowzero"))
        for sizes, shape in zip(target.arrays, shapes(call.values[0]), strict=True)
    ]
    return [(Reshape(one_free(call, found)), (0,))]


def _resolved(sizes: list[int], shape: Size, zero_is_zero: bool) -> Size:
    """The shape that comes out of one that comes in: 0 keeps a size, -1 takes what is left."""
    if not zero_is_zero:
        sizes = [shape[at] if size == 0 and at < len(shape) else size for at, size in enumerate(sizes)]
    rest = math.prod(size for size in sizes if size != -1)
    return tuple(math.prod(shape) // max(rest, 1) if size == -1 else size for size in sizes)


def _shaped(call: NodeView, rule: Callable[[Size], Size]) -> list[Reading]:
    return [(reshape(call, rule), (0,))]


def _flatten(call: NodeView) -> list[Reading]:
    axis = call.axis("axis", 1)
    return _shaped(call, lambda shape: (math.prod(shape[:axis]), math.prod(shape[axis:])))


def _squeeze(call: NodeView) -> list[Reading]:
    axes = call.axes(1)
    # Without axes a batch that the file fixes at 1 goes too.
    gone = [at for at, size in enumerate(call.shape) if size == 1] if axes is None else list(axes)
    if any(call.shape[at] != 1 for at in gone):
        raise UnsupportedError(f"axes {gone} of a shape {list(call.shape)}")
    return _shaped(call, lambda shape: tuple(size for at, size in enumerate(shape) if at not in gone))


def _unsqueeze(call: NodeView) -> list[Reading]:
    given = call.integers(1) if call.has(1) else call.numbers("axes", ())
    rank = call.rank + len(given)
    axes = sorted(axis + rank if axis < 0 else axis for axis in given)

    def rule(shape: Size) -> Size:
        sizes = list(shape)
        for axis in axes:
            sizes.insert(axis, 1)
        return tuple(sizes)

    return _shaped(call, rule)


def _identity(call: NodeView) -> list[Reading]:
    if call.kind == "Dropout" and any(call.outputs[1:]):
        raise UnsupportedError("a mask as an output")
    if call.kind == "Dropout" and call.has(2) and bool(call.constant(2)):
        raise UnsupportedError("training_mode=1")
    return _shaped(call, lambda shape: shape)


def _transpose(call: NodeView) -> list[Reading]:
    return [(Transpose(call.numbers("perm", tuple(reversed(range(call.rank))))), (0,))]


def _expand(call: NodeView) -> list[Reading]:
    target = call.values[1]
    if isinstance(target, KnownValue) and any(bool((array < 0).any()) for array in target.arrays):
        raise UnsupportedError(f"sizes {np.atleast_1d(target.arrays[0]).tolist()}")
    several = len(call.batches) > 1
    # In a shape of fewer dimensions than the value has, the first is not the batch's.
    sizes = call.sizes(1) if several or len(call.integers(1)) >= call.rank else call.integers(1)
    own = [shape[:1] == (batch,) for shape, batch in zip(shapes(call.values[0]), call.batches, strict=True)]
    if min(sizes, default=0) < 0 and not all(own):  # the batch's size does not follow from it
        if several:
            raise UnsupportedError("what has no batch of its own, to the batch's size")
        sizes = call.integers(1)
    return [(Expand(sizes), (0, 0))]


def _depth_to_space(call: NodeView) -> list[Reading]:
    mode, block = call.word("mode", "DCR"), int(call.number("blocksize", 0))
    if mode not in ("DCR", "CRD"):
        raise UnsupportedError(f"mode={mode}")
    _, channels, height, width = call.shape
    left = channels // block**2
    split = (block, block, left) if mode == "DCR" else (left, block, block)
    perm = (0, 3, 4, 1, 5, 2) if mode == "DCR" else (0, 1, 4, 2, 5, 3)
    return _blocks(call, (*split, height, width), perm, (left, height * block, width * block))


def _space_to_depth(call: NodeView) -> list[Reading]:
    block = int(call.number("blocksize", 0))
    _, channels, height, width = call.shape
    sizes = (channels, height // block, block, width // block, block)
    return _blocks(call, sizes, (0, 3, 5, 1, 2, 4), (channels * block**2, height // block, width // block))


def _blocks(call: NodeView, split: Size, perm: Size, sizes: Size) -> list[Reading]:
    before = reshape(call, lambda shape: (shape[0], *split))
    after = reshape(call, lambda shape: (shape[0], *sizes))
    return [((before, Transpose(perm), after), (0,))]


def _transpose_rows(node: Node, given: Sequence[Size]) -> bool:
    return isinstance(node.operation, Transpose) and node.operation.perm[0] == 0


def _expand_rows(node: Node, given: Sequence[Size]) -> bool:
    return alike_for_each_image(given[0], len(node.shape))


ROWS: Final = (
    Operator("DepthToSpace", _depth_to_space),
    Operator("Dropout", _identity),
    Operator("Expand", _expand, {Expand: _expand_rows}),
    Operator("Flatten", _flatten),
    Operator("Identity", _identity),
    Operator("Reshape", _reshape, {Reshape: one_value}),
    Operator("SpaceToDepth", _space_to_depth),
    Operator("Squeeze", _squeeze),
    Operator("Transpose", _transpose, {Transpose: _transpose_rows}),
    Operator("Unsqueeze", _unsqueeze),
)
