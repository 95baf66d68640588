"""Whether each image is computed by itself: what a bound, and a batch of another size, take for granted.

A file may do anything with its batch: turn it round, subtract the first image from all, normalise over it. It
then runs as it should, and what is said of image i holds only in the company that it had.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from harden.graph.operation_graph import BATCH, Graph, Node
from harden.graph.operations import (
    LRN,
    Abs,
    Add,
    And,
    AveragePool,
    BatchNormalization,
    Celu,
    Clip,
    Concat,
    Conv,
    ConvTranspose,
    CumSum,
    DequantizeLinear,
    Div,
    Einsum,
    Elu,
    Equal,
    Erf,
    Exp,
    Expand,
    Gather,
    Gelu,
    Gemm,
    Greater,
    GreaterOrEqual,
    GroupNormalization,
    HardSigmoid,
    HardSwish,
    Interpolate,
    IsNaN,
    LayerNormalization,
    LeakyRelu,
    Less,
    LessOrEqual,
    Log,
    LogSoftmax,
    MatMul,
    MaxPool,
    Mish,
    Mul,
    Neg,
    Not,
    Or,
    Pad,
    Pow,
    PRelu,
    QuantizeLinear,
    Reciprocal,
    ReduceL2,
    ReduceLogSumExp,
    ReduceMean,
    ReduceProd,
    ReduceSum,
    Relu,
    Reshape,
    Selu,
    Sigmoid,
    Sign,
    Slice,
    Softmax,
    Softplus,
    Softsign,
    Sqrt,
    Stack,
    Sub,
    Tanh,
    Transpose,
    Trilu,
    Where,
)

Shape = tuple[int, ...]
_END: Final = 2**31 - 1
_Rule = Callable[[Node, Sequence[Shape]], bool]
"""Of a node whose values have the batch first: does it keep the images apart?"""


def mixing(graph: Graph) -> tuple[Node, ...]:
    """The nodes that are not known to keep the images of a batch apart; none is a guarantee.

    Guarantee when there is none: each value is (N, ...), its row i depends on image i alone, and in the same
    way for every i. It follows from the operations and their attributes, node by node, not from trying.
    """
    shapes = {graph.input.name: graph.input.shape}
    shapes.update({node.output: node.shape for node in graph.nodes})
    constants = {name: tuple(each.shape) for name, each in graph.constants.items()}
    return tuple(node for node in graph.nodes if not _apart(node, shapes, constants))


def _apart(node: Node, shapes: dict[str, Shape], constants: dict[str, Shape]) -> bool:
    values = [shapes[name] for name in node.inputs if name in shapes]
    if not all(_batch_first(shape) for shape in (*values, node.shape)):
        return False
    rule = _RULES.get(type(node.operation))
    given = [shapes[name] if name in shapes else constants[name] for name in node.inputs]
    return rule is not None and rule(node, given)


def _batch_first(shape: Shape) -> bool:
    return shape[:1] == (BATCH,) and all(size >= 0 for size in shape[1:])


def _value(shape: Shape) -> bool:
    return shape[:1] == (BATCH,)


def _alike(shape: Shape, rank: int) -> bool:
    """Whether what broadcasts to so many dimensions is the same for each image, or each image's own."""
    return len(shape) == rank if _value(shape) else len(shape) < rank or shape[:1] == (1,) * (rank > 0)


def _broadcast(node: Node, given: Sequence[Shape]) -> bool:
    return all(_alike(shape, len(node.shape)) for shape in given)


def _weights(node: Node, given: Sequence[Shape]) -> bool:
    return not any(_value(shape) for shape in given[1:])


def _gemm(node: Node, given: Sequence[Shape]) -> bool:
    x, weight, *bias = given
    straight = isinstance(node.operation, Gemm) and not node.operation.trans_a
    return straight and _value(x) and not _value(weight) and all(_alike(each, 2) for each in bias)


def _matmul(node: Node, given: Sequence[Shape]) -> bool:
    x, y = given
    rank = len(node.shape)
    if _value(x) and not _value(y):
        return len(x) == rank >= 2 and (len(y) <= 2 or _alike(y, rank))
    return rank >= 3 and len(y) == rank and _alike(x, rank)


def _layer_normalization(node: Node, given: Sequence[Shape]) -> bool:
    operation, rank = node.operation, len(given[0])
    kept = isinstance(operation, LayerNormalization) and operation.axis % rank > 0
    return kept and _weights(node, given) and all(len(each) < rank for each in given[1:])


def _axis(node: Node, given: Sequence[Shape]) -> bool:
    operation, rank = node.operation, len(given[0])
    one = (
        isinstance(operation, Softmax | LogSoftmax | Gather | Concat | CumSum | Interpolate)
        and operation.axis % rank > 0
    )
    return one and all(_alike(shape, rank) for shape in given)


def _grid(node: Node, given: Sequence[Shape]) -> bool:
    operation = node.operation
    if not isinstance(operation, QuantizeLinear | DequantizeLinear) or not _weights(node, given):
        return False
    return operation.axis % len(node.shape) > 0 or all(set(shape) <= {1} for shape in given[1:])


def _axes(node: Node, given: Sequence[Shape]) -> bool:
    operation, rank = node.operation, len(given[0])
    if not isinstance(operation, ReduceMean | ReduceSum | ReduceL2 | ReduceLogSumExp | ReduceProd):
        return False
    return all(axis % rank for axis in operation.axes)


def _einsum(node: Node, given: Sequence[Shape]) -> bool:
    operation = node.operation
    if not isinstance(operation, Einsum) or not operation.output:
        return False
    batch = operation.output[0]
    first = (
        letters[:1] == batch and _value(shape) for letters, shape in zip(operation.inputs, given, strict=True)
    )
    absent = (
        batch not in letters and not _value(shape)
        for letters, shape in zip(operation.inputs, given, strict=True)
    )
    return all(one or other for one, other in zip(first, absent, strict=True))


def _stack(node: Node, given: Sequence[Shape]) -> bool:
    return all(_alike(shape, len(node.shape) - 1) for shape in given)


def _matrices(node: Node, given: Sequence[Shape]) -> bool:
    return len(given[0]) >= 3


def _transpose(node: Node, given: Sequence[Shape]) -> bool:
    return isinstance(node.operation, Transpose) and node.operation.perm[0] == 0


def _slice(node: Node, given: Sequence[Shape]) -> bool:
    operation, rank = node.operation, len(node.shape)
    if not isinstance(operation, Slice):
        return False
    parts = zip(operation.axes, operation.starts, operation.ends, operation.steps, strict=True)
    return all(axis % rank or ((start, step) == (0, 1) and end >= _END) for axis, start, end, step in parts)


def _pad(node: Node, given: Sequence[Shape]) -> bool:
    return isinstance(node.operation, Pad) and node.operation.pads[:: len(node.shape)] == (0, 0)


def _expand(node: Node, given: Sequence[Shape]) -> bool:
    return _alike(given[0], len(node.shape))


def _kept(node: Node, given: Sequence[Shape]) -> bool:
    """Functions of one value, windows, which lie behind the channels, and rows that stay in their order."""
    return len(given) == 1


_OF_ONE: Final = (
    *(
        Abs,
        Celu,
        Clip,
        Elu,
        Erf,
        Exp,
        Gelu,
        HardSigmoid,
        HardSwish,
        IsNaN,
        LeakyRelu,
        Log,
        Mish,
        Neg,
        Not,
        Pow,
    ),
    *(Reciprocal, Relu, Selu, Sigmoid, Sign, Softplus, Softsign, Sqrt, Tanh),
)
_OF_TWO: Final = (
    Add,
    And,
    Div,
    Equal,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Mul,
    Or,
    PRelu,
    Sub,
    Where,
)
_RULES: Final[dict[object, _Rule]] = {
    **dict.fromkeys((*_OF_ONE, AveragePool, LRN, MaxPool, Reshape), _kept),
    **dict.fromkeys(_OF_TWO, _broadcast),
    **dict.fromkeys((ReduceL2, ReduceLogSumExp, ReduceMean, ReduceProd, ReduceSum), _axes),
    **dict.fromkeys((CumSum, Gather, Interpolate, LogSoftmax, Softmax), _axis),
    BatchNormalization: _weights,
    Concat: _axis,
    Conv: _weights,
    ConvTranspose: _weights,
    DequantizeLinear: _grid,
    Einsum: _einsum,
    Expand: _expand,
    Gemm: _gemm,
    GroupNormalization: _weights,
    LayerNormalization: _layer_normalization,
    MatMul: _matmul,
    Pad: _pad,
    QuantizeLinear: _grid,
    Slice: _slice,
    Stack: _stack,
    Transpose: _transpose,
    Trilu: _matrices,
}
