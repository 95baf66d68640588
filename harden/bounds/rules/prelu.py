"""Bounds of PReLU: slopes for negative values of any sign and size, by channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from harden.bounds.crown.coefficients import Size
from harden.bounds.float_rounding import envelope
from harden.bounds.rules.piecewise_linear import SLACK
from harden.bounds.rules.pointwise_bounds import Interval, LinearBounds


@final
@dataclass(frozen=True, slots=True, eq=False)
class PReluBounds:
    """f(x) = x for x >= 0 and a x below: convex where a <= 1, concave where a >= 1.

    Over an interval with 0 inside the secant bounds f on one side. On the other does any line through 0 whose
    slope lies between a and 1; the one of both ends that leaves less area is taken.

    Args:
        slopes: a, (1, *size).
    """

    slopes: Tensor

    @classmethod
    def of(cls, slopes: Tensor | None, size: Size) -> PReluBounds | None:
        """Constant slopes that broadcast to a value without its batch; None where they vary."""
        if slopes is None or slopes.dim() > len(size) + 1:
            return None
        return cls(slopes.expand(1, *size))

    def interval(self, lower: Tensor, upper: Tensor) -> Interval:
        """At both ends, and at 0 if it lies between them; a x is rounded once."""
        ends = torch.stack([self._value(lower), self._value(upper), self._value(self._inside(lower, upper))])
        error = self._error(lower)
        return ends.amin(0) - error, ends.amax(0) + error

    def lines(self, lower: Tensor, upper: Tensor) -> LinearBounds:
        """The secant, and a line through 0."""
        a = self.slopes
        on, off = lower >= 0, upper <= 0
        width = torch.where(on | off, 1.0, upper - lower)
        secant = torch.where(on, 1.0, torch.where(off, a, (upper - a * lower) / width))
        # Whichever part is longer gives its slope.
        through = torch.where(on, 1.0, torch.where(off, a, torch.where(upper > -lower, 1.0, a)))
        largest = torch.maximum(lower.abs(), upper.abs()) * (1 + a.abs())
        lift = torch.where(on | off, 0.0, (a - secant) * lower)
        slack, error = torch.where(on | off, 0.0, SLACK * largest), self._error(lower)
        convex = a <= 1
        return LinearBounds(
            torch.where(convex, through, secant),
            torch.where(convex, 0.0, lift - slack) - error,
            torch.where(convex, secant, through),
            torch.where(convex, lift + slack, 0.0) + error,
        )

    def _inside(self, lower: Tensor, upper: Tensor) -> Tensor:
        return torch.zeros_like(lower).clamp(lower, upper)

    def _value(self, x: Tensor) -> Tensor:
        return torch.where(x >= 0, x, self.slopes * x)

    def _error(self, lower: Tensor) -> Tensor:
        below = (-lower).clamp_min(0.0)
        size = self.slopes.abs()
        return torch.where(below > 0, envelope(size * below, 1, 2.0) + size * 2.0**-126, 0.0)
