"""Rounding to a grid of integers and back, with the gradients that an attack needs.

The gradient of a rounding is 0 almost everywhere: a file that looks robust to gradients alone. These pass it
straight through where the value lies inside the grid's range (before rounding, half a step beyond it
included, for that still rounds into it) and stop it where the grid saturates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

HALF = 0.5


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, steps: Tensor, low: Tensor, high: Tensor) -> Tensor:
        ctx.save_for_backward((steps >= low - HALF) & (steps <= high + HALF))
        return steps.round().clamp(low, high)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (inside,) = ctx.saved_tensors
        return gradients[0] * inside, None, None


@final
@dataclass(frozen=True, slots=True)
class QuantizeLinear:
    """clamp(round(x / scale) + zero point, low, high), rounding half to even; integers kept as floats."""

    low: int
    high: int
    axis: int = 1

    def __call__(self, x: Tensor, scale: Tensor, zero_point: Tensor | None = None) -> Tensor:
        """Any shape; scale and zero point of one element, or one for each place along the axis."""
        zero = x.new_zeros(()) if zero_point is None else along(zero_point.to(x.dtype), x, self.axis)
        # The zero point comes after rounding: half to even is not the same on both sides of an odd one.
        steps = x / along(scale, x, self.axis)
        rounded: Tensor = _Rounded.apply(steps, self.low - zero, self.high - zero)
        return rounded + zero


@final
@dataclass(frozen=True, slots=True)
class DequantizeLinear:
    """(x - zero point) scale."""

    axis: int = 1

    def __call__(self, x: Tensor, scale: Tensor, zero_point: Tensor | None = None) -> Tensor:
        """Any shape; scale and zero point of one element, or one for each place along the axis."""
        x = x.to(scale.dtype)
        zero = x.new_zeros(()) if zero_point is None else along(zero_point.to(x.dtype), x, self.axis)
        return (x - zero) * along(scale, x, self.axis)


def along(values: Tensor, like: Tensor, axis: int) -> Tensor:
    """One value for each place along an axis, shaped to broadcast."""
    if values.numel() == 1:
        return values.reshape(())
    sizes = [1] * like.dim()
    sizes[axis] = -1
    return values.reshape(sizes)
