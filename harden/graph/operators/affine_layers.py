"""Layers that are affine in an image's values where their weights are constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor
from torch.nn import functional

from harden.graph.batch_rules import alike_for_each_image, constant_weights, follows_batch
from harden.graph.operation_graph import Node
from harden.graph.operators.operator_row import Operator, always
from harden.graph.operators.window_padding import Sizes, as_torch_has_them, padded, split
from harden.graph.reading.known_values import Size
from harden.graph.reading.node_view import NodeView, Reading, UnsupportedError, shapes
from harden.graph.reading.window_attributes import windows


@final
@dataclass(frozen=True, slots=True)
class Gemm:
    """alpha op(x) op(weight) + beta bias, op a transposition where the attributes say so."""

    alpha: float = 1.0
    beta: float = 1.0
    trans_a: bool = False
    trans_b: bool = False

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """(N, inputs) to (N, outputs)."""
        product = (x.mT if self.trans_a else x) @ (weight.mT if self.trans_b else weight)
        product = product if self.alpha == 1 else self.alpha * product
        if bias is None:
            return product
        return product + (bias if self.beta == 1 else self.beta * bias)


@final
@dataclass(frozen=True, slots=True)
class MatMul:
    """x y as numpy's matmul: matrices in the last two dimensions, the others broadcast."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """(..., a, b) and (..., b, c) to (..., a, c)."""
        return x @ y


@final
@dataclass(frozen=True, slots=True)
class Conv:
    """Cross-correlation in 1, 2 or 3 dimensions; `pads` are begins, then ends, as ONNX has them."""

    strides: Sizes
    pads: Sizes
    dilations: Sizes
    group: int = 1

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """(N, C, ...) and (M, C / group, ...) to (N, M, ...)."""
        x, pads = padded(x, self.pads, 0.0)
        rule = (functional.conv1d, functional.conv2d, functional.conv3d)[len(self.strides) - 1]
        return rule(x, weight, bias, self.strides, pads, self.dilations, self.group)


@final
@dataclass(frozen=True, slots=True)
class ConvTranspose:
    """A convolution's transpose: each input adds a multiple of the kernel; `more` lengthens the ends."""

    strides: Sizes
    pads: Sizes
    dilations: Sizes
    group: int
    more: Sizes

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """(N, C, ...) and (C, M / group, ...) to (N, M, ...)."""
        rule = (torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d)[len(self.strides) - 1]
        whole = rule(x, weight, None, self.strides, 0, 0, self.group, self.dilations)
        begins, ends = split(self.pads)
        behind = tuple(more - end for more, end in zip(self.more, ends, strict=True))
        found = functional.pad(whole, as_torch_has_them((*(-begin for begin in begins), *behind)))
        return found if bias is None else found + bias.reshape(-1, *(1,) * len(self.strides))


@final
@dataclass(frozen=True, slots=True)
class BatchNormalization:
    """scale (x - mean) / sqrt(variance + epsilon) + bias per channel, with stored statistics."""

    epsilon: float = 1e-5

    def __call__(self, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """(N, C, ...) to the same shape."""
        if mean.requires_grad or variance.requires_grad:  # torch's own takes them for constants
            shaped = (-1, *(1,) * (x.dim() - 2))
            slope = scale / torch.sqrt(variance + self.epsilon)
            return x * slope.reshape(shaped) + (bias - mean * slope).reshape(shaped)
        return functional.batch_norm(x, mean, variance, scale, bias, False, 0.0, self.epsilon)


@final
@dataclass(frozen=True, slots=True)
class Einsum:
    """Sums of products over the letters that the output lacks.

    Args:
        inputs: of each, a letter for each dimension.
        output: the letters that stay.
    """

    inputs: tuple[str, ...]
    output: str

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Sizes that agree where letters do."""
        found: Tensor = torch.einsum(f"{','.join(self.inputs)}->{self.output}", *inputs)
        return found


def _gemm(call: NodeView) -> list[Reading]:
    settings = (call.number("alpha", 1), call.number("beta", 1), call.flag("transA"), call.flag("transB"))
    return [(Gemm(*settings), call.present)]


def _einsum(call: NodeView) -> list[Reading]:
    equation = call.word("equation", "").replace(" ", "")
    given, arrow, output = equation.partition("->")
    inputs = tuple(given.split(","))
    letters = "".join(inputs)
    plain = letters.isascii() and letters.isalpha() and len(inputs) == len(call.values)
    if not arrow or not plain or any(len(set(each)) != len(each) for each in (*inputs, output)):
        raise UnsupportedError(f"equation={equation}")
    return [(Einsum(inputs, output), tuple(range(len(inputs))))]


def _conv(call: NodeView) -> list[Reading]:
    kernel = shapes(call.values[1])[0][2:]
    strides, pads, dilations = windows(call, kernel)
    return [(Conv(strides, pads, dilations, int(call.number("group", 1))), call.present)]


def _conv_transpose(call: NodeView) -> list[Reading]:
    kernel = shapes(call.values[1])[0][2:]
    if call.word("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or "output_shape" in call.attributes:
        raise UnsupportedError("auto_pad or output_shape")
    strides, pads, dilations = windows(call, kernel)
    more = call.numbers("output_padding", (0,) * len(kernel))
    ends = zip(call.shape[2:], strides, kernel, dilations, more, pads, pads[len(kernel) :], strict=False)
    if any(
        (size - 1) * stride + (width - 1) * apart + 1 + further <= begin + end
        for size, stride, width, apart, further, begin, end in ends
    ):
        raise UnsupportedError(f"pads={list(pads)} that leave nothing")
    return [(ConvTranspose(strides, pads, dilations, int(call.number("group", 1)), more), call.present)]


def _batch_normalization(call: NodeView) -> list[Reading]:
    call.only("training_mode", 0)
    call.only("spatial", 1)  # up to opset 8
    if any(call.outputs[1:]):
        raise UnsupportedError("statistics as outputs")
    return [(BatchNormalization(call.number("epsilon", 1e-5)), (0, 1, 2, 3, 4))]


def _gemm_rows(node: Node, given: Sequence[Size]) -> bool:
    x, weight, *bias = given
    straight = isinstance(node.operation, Gemm) and not node.operation.trans_a
    return (
        straight
        and follows_batch(x)
        and not follows_batch(weight)
        and all(alike_for_each_image(each, 2) for each in bias)
    )


def _matmul_rows(node: Node, given: Sequence[Size]) -> bool:
    x, y = given
    rank = len(node.shape)
    if follows_batch(x) and not follows_batch(y):
        return len(x) == rank >= 2 and (len(y) <= 2 or alike_for_each_image(y, rank))
    return rank >= 3 and len(y) == rank and alike_for_each_image(x, rank)


def _einsum_rows(node: Node, given: Sequence[Size]) -> bool:
    operation = node.operation
    if not isinstance(operation, Einsum) or not operation.output:
        return False
    batch = operation.output[0]
    first = (
        letters[:1] == batch and follows_batch(shape)
        for letters, shape in zip(operation.inputs, given, strict=True)
    )
    absent = (
        batch not in letters and not follows_batch(shape)
        for letters, shape in zip(operation.inputs, given, strict=True)
    )
    return all(one or other for one, other in zip(first, absent, strict=True))


ROWS: Final = (
    Operator("BatchNormalization", _batch_normalization, {BatchNormalization: constant_weights}),
    Operator("Conv", _conv, {Conv: constant_weights}),
    Operator("ConvTranspose", _conv_transpose, {ConvTranspose: constant_weights}),
    Operator("Einsum", _einsum, {Einsum: _einsum_rows}),
    Operator("Gemm", _gemm, {Gemm: _gemm_rows}),
    Operator("MatMul", always(MatMul(), 2), {MatMul: _matmul_rows}),
)
