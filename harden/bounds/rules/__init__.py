"""One rule an operation: affine ones, functions of one value, and the maximum over windows."""

from __future__ import annotations

from torch import Tensor

from harden.bounds.crown.coefficients import Size
from harden.bounds.rules.affine_rules import Affine
from harden.bounds.rules.function_rules import pointwise
from harden.bounds.rules.fused_sums import one_sum, with_offset
from harden.bounds.rules.linear_layers import Given, batch_normalization, conv, gemm, matmul
from harden.bounds.rules.max_pooling import Pooling, Winners
from harden.bounds.rules.piecewise_linear import Rectifier
from harden.bounds.rules.prelu import Leaky
from harden.bounds.rules.rule import Interval, Lines, Pointwise
from harden.bounds.rules.sums_and_movement import arithmetic, averages, moving
from harden.bounds.rules.transposed_convolution import conv_transpose
from harden.graph.operations import (
    AveragePool,
    BatchNormalization,
    Conv,
    ConvTranspose,
    Gemm,
    MatMul,
    MaxPool,
    Operation,
    PRelu,
    ReduceMean,
    ReduceSum,
)

__all__ = [
    "Affine",
    "Given",
    "Interval",
    "Lines",
    "Pointwise",
    "Pooling",
    "Rectifier",
    "Rule",
    "Winners",
    "one_sum",
    "rule_of",
    "with_offset",
]

Rule = Affine | Pointwise | Pooling


def rule_of(
    operation: Operation, given: Given, sizes: tuple[Size, ...], size: Size, like: Tensor
) -> Rule | None:
    """The rule of an operation; None where there is no sound one.

    Args:
        operation: what is computed.
        given: its constants, in their places; None where a value comes in.
        sizes: of the values, without the batch.
        size: of the output, without the batch.
        like: tells dtype and device.
    """
    match operation:
        case Gemm():
            return gemm(operation, given, sizes[0], size)
        case MatMul():
            return matmul(given, sizes[0], size)
        case Conv():
            return conv(operation, given, sizes[0], size)
        case ConvTranspose():
            return conv_transpose(operation, given, sizes[0], size)
        case PRelu() if given[0] is None:
            return Leaky.of(given[1], size)
        case BatchNormalization():
            return batch_normalization(operation, given, size)
        case AveragePool() | ReduceMean() | ReduceSum():
            return averages(operation, sizes, size, like)
        case MaxPool():
            return Pooling.of(operation, sizes[0], size, like)
    found = pointwise(operation)
    if found is not None:
        return found
    return moving(operation, given, sizes, size, like) or arithmetic(operation, given, sizes, size, like)
