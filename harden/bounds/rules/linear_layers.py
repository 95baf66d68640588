"""The rules of the affine operations that carry weights."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Final

import torch
from torch import Tensor

from harden.bounds.crown.coefficients import Size, WindowCoefficients
from harden.bounds.float_rounding import LARGEST_32, SMALLEST_32
from harden.bounds.rules.affine_map import Affine
from harden.bounds.rules.rule_row import AnyBoundRule, BoundRule, OperationInputs
from harden.graph.operators.affine_layers import BatchNormalization, Conv, ConvTranspose, Gemm, MatMul


def _gemm(operation: Gemm, inputs: OperationInputs) -> Affine | None:
    """Gemm with constant W and b; None where another input varies."""
    given, size = inputs.constants, inputs.size
    weight = given[1]
    if given[0] is not None or weight is None or operation.trans_a or None in given[2:]:
        return None
    if operation.alpha == 0:
        return None  # 0 times a sum that overflows is NaN
    matrix = weight.mT if operation.trans_b else weight
    bias = given[2] if len(given) > 2 else None
    offset = matrix.new_zeros(1, *size) if bias is None else operation.beta * bias.expand(1, *size)
    found = _product(operation.alpha * matrix, offset, inputs)
    # beta is a factor of the bias alone, which may be a number that becomes 0.
    largest = torch.as_tensor(_largest(matrix)).clamp_min(abs(operation.beta))
    return replace(found, factor=abs(operation.alpha), largest_weight=largest)


def _matmul(operation: MatMul, inputs: OperationInputs) -> Affine | None:
    """MatMul by a constant matrix; None where it is anything else."""
    x, matrix = inputs.constants
    if x is not None or matrix is None or matrix.dim() != 2:
        return None
    return _product(matrix, matrix.new_zeros(1, *inputs.size), inputs)


def _product(matrix: Tensor, offset: Tensor, inputs: OperationInputs) -> Affine:
    """A matrix on the last dimension, and an offset."""
    return Affine(
        linear=lambda x: x @ matrix,
        spread=lambda x: x @ matrix.abs(),
        offset=offset,
        offset_magnitude=offset.abs(),
        terms=len(matrix),
        largest_weight=_largest(matrix),
        sizes=inputs.sizes[:1],
        size=inputs.size,
        transposed=lambda flat: (flat @ matrix.mT,),
    )


def _conv(operation: Conv, inputs: OperationInputs) -> Affine | None:
    """A convolution with constant weights; None where they vary."""
    given, size_in, size = inputs.constants, inputs.sizes[0], inputs.size
    weight = given[1]
    if given[0] is not None or weight is None or None in given[2:]:
        return None
    bias = given[2] if len(given) > 2 else None
    shaped = (1, -1, *(1,) * (len(size) - 1))
    offset = weight.new_zeros(1, *size) if bias is None else bias.reshape(shaped).expand(1, *size)
    return Affine(
        linear=lambda x: operation(x, weight),
        spread=lambda x: operation(x, weight.abs()),
        offset=offset,
        offset_magnitude=offset.abs(),
        terms=math.prod(weight.shape[1:]),
        largest_weight=_largest(weight),
        sizes=(size_in,),
        size=size,
        transposed=partial(_carried_back, operation, weight, size_in),
        through=partial(_through, operation, weight, size_in) if len(size) == 3 else None,
    )


def _through(
    operation: Conv, weight: Tensor, size_in: Size, window: WindowCoefficients
) -> tuple[WindowCoefficients]:
    settings = (operation.strides, operation.pads, operation.dilations, operation.group)
    return (window.through(weight, *settings, size_in),)


def _carried_back(operation: Conv, weight: Tensor, size_in: Size, flat: Tensor) -> tuple[Tensor]:
    """The transpose of a convolution: what is behind the last window gets 0."""
    axes = len(operation.strides)
    begins, ends = operation.pads[:axes], operation.pads[axes:]
    full = [size + begin + end for size, begin, end in zip(size_in[1:], begins, ends, strict=True)]
    reach = [
        (size - 1) * stride + dilation * (kernel - 1) + 1
        for size, stride, dilation, kernel in zip(
            flat.shape[2:], operation.strides, operation.dilations, weight.shape[2:], strict=True
        )
    ]
    rule = (torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d)[axes - 1]
    if begins == ends:
        beyond = [whole - reached for whole, reached in zip(full, reach, strict=True)]
        if all(
            extra < max(stride, dilation)
            for extra, stride, dilation in zip(beyond, operation.strides, operation.dilations, strict=True)
        ):
            settings = (operation.strides, begins, beyond, operation.group, operation.dilations)
            return (rule(flat, weight, None, *settings),)
    found = rule(flat, weight, None, operation.strides, 0, 0, operation.group, operation.dilations)
    tail = [whole - reached for whole, reached in zip(full, reach, strict=True)]
    cut = [
        number
        for begin, end, more in zip(reversed(begins), reversed(ends), reversed(tail), strict=True)
        for number in (-begin, more - end)
    ]
    return (torch.nn.functional.pad(found, cut),)


def _conv_transpose(operation: ConvTranspose, inputs: OperationInputs) -> Affine | None:
    """A transposed convolution with constant weights; None where they vary.

    An output sums at most one product for each input channel of its group and place of the kernel.
    """
    given, size_in, size = inputs.constants, inputs.sizes[0], inputs.size
    weight = given[1]
    if given[0] is not None or weight is None or None in given[2:]:
        return None
    bias = given[2] if len(given) > 2 else None
    shaped = (1, -1, *(1,) * (len(size) - 1))
    offset = weight.new_zeros(1, *size) if bias is None else bias.reshape(shaped).expand(1, *size)
    return Affine(
        linear=lambda x: operation(x, weight),
        spread=lambda x: operation(x, weight.abs()),
        offset=offset,
        offset_magnitude=offset.abs(),
        terms=weight.shape[0] // operation.group * math.prod(weight.shape[2:]),
        largest_weight=_largest(weight),
        sizes=(size_in,),
        size=size,
    )


def _batch_normalization(operation: BatchNormalization, inputs: OperationInputs) -> Affine | None:
    """A BatchNorm with stored statistics; None where its weights vary."""
    given, size = inputs.constants, inputs.size
    scale, bias, mean, variance = given[1:]
    if given[0] is not None or scale is None or bias is None or mean is None or variance is None:
        return None
    spread = variance + operation.epsilon
    if not bool(((spread >= SMALLEST_32) & (spread < LARGEST_32)).all()):
        return None  # a root of a negative number, or of one that may be flushed to 0 or overflow
    shaped = (1, -1, *(1,) * (len(size) - 1))
    slope = (scale / torch.sqrt(spread)).reshape(shaped)
    moved = mean.reshape(shaped) * slope
    bias = bias.reshape(shaped)
    found = scaled(
        slope,
        (bias - moved).expand(1, *size),
        (bias.abs() + moved.abs()).expand(1, *size),
        size,
        size,
    )
    # The mean is multiplied with a slope that may become 0, and the slope with a difference that may.
    return replace(found, largest_weight=torch.maximum(slope.abs().max(), mean.abs().max()))


def scaled(slope: Tensor, offset: Tensor, offset_magnitude: Tensor, size_in: Size, size: Size) -> Affine:
    """The same slope and offset for every image, element by element, broadcast."""
    return Affine(
        linear=lambda x: x * slope,
        spread=lambda x: x * slope.abs(),
        offset=offset,
        offset_magnitude=offset_magnitude,
        terms=1,
        largest_weight=_largest(slope),
        sizes=(size_in,),
        size=size,
        transposed=(lambda flat: (flat * slope,)) if size_in == size else None,
        through=partial(_stretched, slope.expand(1, *size)) if size_in == size and len(size) == 3 else None,
    )


def _stretched(slope: Tensor, window: WindowCoefficients) -> tuple[WindowCoefficients]:
    return (window.with_(window.each * window.seen(slope, torch.zeros(1, dtype=torch.int64))),)


def _largest(weight: Tensor) -> float | Tensor:
    # A tensor: reading the number would synchronise a device at each step of training, for no use there.
    return weight.detach().abs().max() if weight.numel() else 0.0


ROWS: Final[tuple[AnyBoundRule, ...]] = (
    BoundRule(BatchNormalization, _batch_normalization),
    BoundRule(Conv, _conv),
    BoundRule(ConvTranspose, _conv_transpose),
    BoundRule(Gemm, _gemm),
    BoundRule(MatMul, _matmul),
)
