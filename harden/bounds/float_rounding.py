"""Rounding errors of sums of products: in float32, where files run, and in float64, for the bounds.

A sum of n products, in any order, with or without fused multiply-adds, differs from the exact one by at most
gamma_n times the sum of the products' magnitudes, gamma_n = n u / (1 - n u) (Higham, Accuracy and Stability
of Numerical Algorithms, 2002, section 3.1). Underflow adds an absolute error for each product, also where
the processor takes denormal numbers for 0.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

UNIT_32: Final = 2.0**-24
UNIT_64: Final = 2.0**-53
SMALLEST_32: Final = 2.0**-126
"""The smallest normal float32: what is below may become 0."""
LARGEST_32: Final = 3.4028234663852886e38
MORE_STEPS: Final = 8
"""Roundings beyond a sum's own that a runtime may add: folded BatchNorms, scales, biases."""


def gamma(steps: int, unit: float) -> float:
    """N u / (1 - n u), rounded up.

    Raises:
        ValueError: so many steps that the formula says nothing.
    """
    product = steps * unit
    if not product < 0.5:
        raise ValueError(f"{steps} roundings of unit {unit}")
    return product / (1 - product) * (1 + 8 * UNIT_64)


def envelope(magnitude: Tensor, terms: int, part: Tensor | float, factor: float = 1.0) -> Tensor:
    """A bound of the error of a float32 sum of products, times a factor; inf if the sum may overflow.

    gamma_{terms + 8} magnitude, and for each product what underflows. The factor may be applied to the sum,
    to each product, or to the weights before: each order has its own largest number, and none may overflow.

    Args:
        magnitude: |factor| sum |w| |x| + |b| at the largest |x|, which a float64 computation gave.
        terms: products in each sum.
        part: 1 + the largest |w| and |x|: what a number that becomes 0 is multiplied with at most.
        factor: its absolute value.
    """
    relative = gamma(terms + MORE_STEPS, UNIT_32) * (1 + 2.0**-20)
    stretched = max(factor, 1.0) * torch.as_tensor(part, dtype=magnitude.dtype, device=magnitude.device)
    found = relative * magnitude + (2 * terms + 3) * SMALLEST_32 * stretched
    largest = torch.maximum(magnitude * ((1 + relative) / min(factor, 1.0)), stretched)
    # In some order of computation a float32 overflows: nothing can be said. So with a NaN.
    return torch.where(largest < LARGEST_32, found, torch.inf)
