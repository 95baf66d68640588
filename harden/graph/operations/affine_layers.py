"""Operations that are affine in an image's values where their weights are constants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from harden.graph.operations.window_padding import Sizes, as_torch_has_them, padded, rounded_up, split


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
        # torch itself pads by half a window at most, and alike on both sides.
        if begins == ends and all(2 * pad <= size for pad, size in zip(begins, self.kernel, strict=True)):
            rule = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)[len(self.kernel) - 1]
            return rule(x, self.kernel, self.strides, begins, self.ceil_mode, self.count_include_pad)
        image, pads = tuple(x.shape[2:]), self.pads
        if self.ceil_mode:
            pads = rounded_up(image, self.kernel, self.strides, pads, (1,) * len(image))
        counted = x.new_ones(1, 1, *image)
        if self.count_include_pad:  # what `ceil_mode` adds at the end does not count
            counted = functional.pad(counted, as_torch_has_them(self.pads), value=1.0)
            pads_left = (
                *(0,) * len(image),
                *(end - old for end, old in zip(split(pads)[1], ends, strict=True)),
            )
        else:
            pads_left = pads
        return self._summed(x, pads) / self._summed(counted, pads_left)

    def _summed(self, x: Tensor, pads: Sizes) -> Tensor:
        """The sum over each window, the padding 0."""
        x = functional.pad(x, as_torch_has_them(pads))
        if len(self.kernel) == 1:
            kernel, strides = (*self.kernel, 1), (*self.strides, 1)
            return functional.avg_pool2d(x[..., None], kernel, strides, divisor_override=1)[..., 0]
        rule = functional.avg_pool2d if len(self.kernel) == 2 else functional.avg_pool3d
        return rule(x, self.kernel, self.strides, divisor_override=1)


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
