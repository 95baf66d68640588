"""Exact differences and the box, by which membership in a threat model is decided."""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import Tensor


def nearest_below(eps: Fraction) -> tuple[float, bool]:
    """The largest float64 that is not above eps, and whether it equals eps."""
    value = float(eps)
    if Fraction(value) > eps:
        value = math.nextafter(value, -math.inf)
    return value, Fraction(value) == eps


def exact_difference(x_adv: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """|x' - x| as an unevaluated sum high + low of two float64 (Knuth's two-sum, which is exact)."""
    a, b = x_adv.double(), -x.double()
    total = a + b
    rest = total - a
    error = (a - (total - rest)) + (b - rest)
    negative = total < 0
    return torch.where(negative, -total, total), torch.where(negative, -error, error)


def in_box(x_adv: Tensor, bounds: tuple[float, float]) -> Tensor:
    """Whether each pixel lies in the box."""
    # A comparison with NaN is False, so a NaN lies outside.
    return (x_adv.double() >= bounds[0]) & (x_adv.double() <= bounds[1])
