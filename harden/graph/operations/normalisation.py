"""Operations that divide by what they find in the values themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor
from torch.nn import functional


@final
@dataclass(frozen=True, slots=True)
class Softmax:
    """exp(x) / sum exp(x) along an axis."""

    axis: int = -1

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x.softmax(self.axis)


@final
@dataclass(frozen=True, slots=True)
class LayerNormalization:
    """scale (x - mean) / sqrt(variance + epsilon) + bias, both taken from the axis on."""

    axis: int = -1
    epsilon: float = 1e-5

    def __call__(self, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
        """Any shape."""
        return functional.layer_norm(x, x.shape[self.axis % x.dim() :], scale, bias, self.epsilon)


@final
@dataclass(frozen=True, slots=True)
class LogSoftmax:
    """x - log sum exp(x) along an axis."""

    axis: int = -1

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x.log_softmax(self.axis)


@final
@dataclass(frozen=True, slots=True)
class GroupNormalization:
    """scale (x - mean) / sqrt(variance + epsilon) + bias, both over each group of an image's channels.

    InstanceNormalization is the one with as many groups as channels.
    """

    groups: int
    epsilon: float = 1e-5

    def __call__(self, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        """(N, C, ...) to the same shape; scale and bias (C,)."""
        # Not torch's own, which refuses one value a group: there x - mean is 0.
        grouped = x.reshape(len(x), self.groups, -1)
        centred = grouped - grouped.mean(2, keepdim=True)
        variance = centred.square().mean(2, keepdim=True)
        shaped = (-1, *(1,) * (x.dim() - 2))
        normal = (centred / (variance + self.epsilon).sqrt()).reshape(x.shape)
        return normal * scale.reshape(shaped) + bias.reshape(shaped)


@final
@dataclass(frozen=True, slots=True)
class LRN:
    """x / (bias + alpha / size s)^beta, s the sum of squares of `size` channels around each."""

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    bias: float = 1.0

    def __call__(self, x: Tensor) -> Tensor:
        """(N, C, ...) to the same shape."""
        flat = x.square().reshape(len(x), 1, x.shape[1], -1)
        before = (self.size - 1) // 2
        padded = functional.pad(flat, (0, 0, before, self.size - 1 - before))
        mean = functional.avg_pool2d(padded, (self.size, 1), 1).reshape(x.shape)
        return x / (self.bias + self.alpha * mean) ** self.beta
