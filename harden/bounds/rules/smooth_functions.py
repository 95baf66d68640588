"""Smooth functions, bounded through their values on a grid and the largest second derivative.

Between two places of a grid of step h a function with |f''| <= c leaves its chord by at most c h^2 / 8. So
the largest f(x) - s x over an interval is at most its largest on the grid plus that, for any slope s: every
slope gives a sound line, and the one that leaves the least area is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from harden.bounds.float_rounding import LARGEST_32, UNIT_64
from harden.bounds.rules.pointwise_bounds import Interval, LinearBounds

PLACES = 65
MOST = LARGEST_32 / 8
"""Of |x|: beyond, nothing is said."""


@final
@dataclass(frozen=True, slots=True)
class SmoothFunction:
    """A function with a bounded second derivative.

    Args:
        value: f, which float64 computes to a few units in the last place.
        slope: f'.
        curvature: at least |f''| everywhere.
        jump: at least the sum of all jumps of f'; 0 where it has none. A kink adds at most jump h / 4.
        error: how far a float32 runtime's f is from the exact one at most, in absolute terms and relative to
            |x|; measured over the runtime's own implementation and stated with a margin.
    """

    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    curvature: float
    jump: float
    error: tuple[float, float]

    def interval(self, lower: Tensor, upper: Tensor) -> Interval:
        """The least and the largest value on the grid, and what may lie between."""
        _, values, between = self._on_grid(lower, upper)
        slack = between + self._rounding(lower, upper, values)
        return values.amin(0) - slack, values.amax(0) + slack

    def lines(self, lower: Tensor, upper: Tensor) -> LinearBounds:
        """Above and below, the best of the secant and of the tangents' slopes at the ends and the middle."""
        places, values, between = self._on_grid(lower, upper)
        slack = between + self._rounding(lower, upper, values)
        middle = places[PLACES // 2]
        width = upper - lower
        secant = torch.where(
            width > 0, (values[-1] - values[0]) / torch.where(width > 0, width, 1.0), self.slope(middle)
        )
        up = down = up_offset = down_offset = torch.zeros_like(lower)
        for number, slope in enumerate((secant, *(self.slope(at) for at in (middle, lower, upper)))):
            beyond = values - slope * places
            more = slack + 8 * UNIT_64 * (slope * places).abs().amax(0)
            high, low = beyond.amax(0) + more, beyond.amin(0) - more
            if not number:
                up, up_offset, down, down_offset = slope, high, slope, low
                continue
            better = slope * middle + high < up * middle + up_offset
            up, up_offset = torch.where(better, slope, up), torch.where(better, high, up_offset)
            better = slope * middle + low > down * middle + down_offset
            down, down_offset = torch.where(better, slope, down), torch.where(better, low, down_offset)
        return LinearBounds(down, down_offset, up, up_offset)

    def _on_grid(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Places (PLACES, N, ...), values there, and the most that may lie between two of them."""
        shares = torch.linspace(0, 1, PLACES, dtype=lower.dtype, device=lower.device)
        places = lower + shares.reshape(-1, *(1,) * lower.dim()) * (upper - lower)
        places[-1] = upper
        step = (upper - lower) / (PLACES - 1)
        between = self.curvature * step**2 / 8 + self.jump * step / 4
        return places, self.value(places), between * (1 + 2.0**-20)

    def _rounding(self, lower: Tensor, upper: Tensor, values: Tensor) -> Tensor:
        largest = torch.maximum(lower.abs(), upper.abs())
        absolute, relative = self.error
        # A form that multiplies before it divides may overflow where the function does not.
        allowed = torch.where(largest < MOST, absolute, torch.inf)
        return allowed + relative * largest + 64 * UNIT_64 * (values.abs().amax(0) + largest)
