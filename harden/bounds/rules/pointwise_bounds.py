"""Intervals and linear bounds of functions of one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, final, runtime_checkable

from torch import Tensor

Interval = tuple[Tensor, Tensor]
"""Lower and upper bounds of a value, (N, ...) each."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class LinearBounds:
    """Two affine functions of one value, below and above it everywhere in its interval.

    below_slope x + below_offset <= f(x) <= above_slope x + above_offset.
    """

    below_slope: Tensor
    below_offset: Tensor
    above_slope: Tensor
    above_offset: Tensor


@runtime_checkable
class Pointwise(Protocol):
    """A function of one value, y_i = f(x_i), as float32 computes it: both bounds hold what it rounds."""

    def interval(self, lower: Tensor, upper: Tensor) -> Interval:
        """Bounds of f over [lower, upper]."""
        ...

    def lines(self, lower: Tensor, upper: Tensor) -> LinearBounds:
        """Affine bounds of f over [lower, upper]."""
        ...
