"""Operations that are affine in an image's values where their weights are constants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor
from torch.nn import functional

from harden.graph.operations.windows import Sizes, padded, split


@final
@dataclass(frozen=True, slots=True)
class Gemm:
    """alpha op(x) op(weight) + beta bias, op a transposition where asked for."""

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
class BatchNormalization:
    """scale (x - mean) / sqrt(variance + epsilon) + bias per channel, with stored statistics."""

    epsilon: float = 1e-5

    def __call__(self, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """(N, C, ...) to the same shape."""
        return functional.batch_norm(x, mean, variance, scale, bias, False, 0.0, self.epsilon)


@final
@dataclass(frozen=True, slots=True)
class AveragePool:
    """The mean over windows, that of the places inside the image unless `count_include_pad`."""

    kernel: Sizes
    strides: Sizes
    pads: Sizes
    ceil_mode: bool = False
    count_include_pad: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        """(N, C, ...) to (N, C, ...)."""
        begins, ends = split(self.pads)
        rule = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)[len(self.kernel) - 1]
        if begins == ends:
            return rule(x, self.kernel, self.strides, begins, self.ceil_mode, self.count_include_pad)
        zeros = (0,) * len(self.kernel)
        x, _ = padded(x, self.pads, 0.0)
        mean: Tensor = rule(x, self.kernel, self.strides, zeros, self.ceil_mode, True)
        if self.count_include_pad:
            return mean
        inside, _ = padded(x.new_ones(1, 1, *(_unpadded(x, self.pads))), self.pads, 0.0)
        return mean / rule(inside, self.kernel, self.strides, zeros, self.ceil_mode, True)


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


def _unpadded(x: Tensor, pads: Sizes) -> list[int]:
    begins, ends = split(pads)
    return [size - begin - end for size, begin, end in zip(x.shape[2:], begins, ends, strict=True)]
