"""Affine maps: offset, magnitudes of the weights, transpose, and float32 rounding."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from harden.bounds.crown.coefficients import Size, WindowCoefficients, per_image
from harden.bounds.float_rounding import UNIT_64, envelope, gamma

LinearMap = Callable[..., Tensor]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """y = L(x_1, ..., x_m) + offset, and what float32 may add to it.

    Args:
        linear: L, on batches of any size.
        spread: |L|: the same with the magnitudes of all weights.
        offset: (1, ...), what the inputs 0 give.
        offset_magnitude: (1, ...), the sum of the magnitudes that the offset is made of.
        terms: products that each output sums; 0 where values are only moved, and nothing is rounded.
        largest_weight: the largest |weight|, before the factor; a tensor where it is computed, read by
            `charge` alone.
        sizes: of the inputs, without the batch.
        size: of the output, likewise.
        factor: the absolute value of a factor in L that the runtime may apply to weights, products or sums.
        through: the transpose of L on windows of a map, where they stay windows.
        transposed: the transpose of L, (M, *size) to one (M, *sizes) for each input; by default autograd's.
    """

    linear: LinearMap
    spread: LinearMap
    offset: Tensor
    offset_magnitude: Tensor
    terms: int
    largest_weight: float | Tensor
    sizes: tuple[Size, ...]
    size: Size
    transposed: Callable[[Tensor], tuple[Tensor, ...]] | None = None
    through: Callable[[WindowCoefficients], tuple[WindowCoefficients, ...]] | None = None
    factor: float = 1.0

    def interval(self, *inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Bounds of the output over boxes, in exact arithmetic: `charge` holds what rounding adds."""
        centre = self.linear(*[(lower + upper) * 0.5 for lower, upper in inputs]) + self.offset
        radius = self.spread(*[(upper - lower) * 0.5 for lower, upper in inputs])
        return centre - radius, centre + radius

    def charge(self, *inputs: tuple[Tensor, Tensor]) -> Tensor:
        """A bound of the distance of the float32 output from that of `interval` and `transpose`, (N, *size).

        Its parts: what float32 rounds; what float64 rounds in `interval`; and what it loses where
        coefficients are carried back through this operation and summed up. Each of those sums has at most as
        many terms as there are outputs, and is off by gamma times the sum of magnitudes.
        """
        largest = [torch.maximum(lower.abs(), upper.abs()) for lower, upper in inputs]
        magnitude = self.spread(*largest) + self.offset_magnitude
        own = 4 * gamma(math.prod(self.size) + self.terms + 64, UNIT_64) * magnitude
        if not self.terms:
            return own
        # Of each image by itself: what is proved of one does not depend on the others.
        inputs_at_most = torch.stack([_largest_of_each(each) for each in largest]).amax(0)
        part = 1 + float(self.largest_weight) + inputs_at_most.reshape(-1, *(1,) * len(self.size))
        return envelope(magnitude, self.terms, part, self.factor) + own

    def transpose(self, coefficients: Tensor) -> tuple[Tensor, ...]:
        """Coefficients (P, *size) of the output to those of each input, (P, *sizes)."""
        if self.transposed is not None:
            return self.transposed(coefficients)
        zeros = tuple(coefficients.new_zeros(len(coefficients), *size) for size in self.sizes)
        found: tuple[Tensor, ...] = torch.func.vjp(self.linear, *zeros)[1](coefficients)
        return found


def _largest_of_each(values: Tensor) -> Tensor:
    """The largest of each image's values, (N,); 0 where it has none."""
    return per_image(values).amax(1) if values[:1].numel() else values.new_zeros(len(values))
