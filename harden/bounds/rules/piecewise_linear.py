"""Bounds of piecewise linear functions: a line bounds one everywhere if it does at the kinks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from harden.bounds.float_rounding import UNIT_64, envelope
from harden.bounds.rules.pointwise_bounds import Interval, LinearBounds

SLACK = 16 * UNIT_64
"""Of the numbers that a line is computed from: what float64 rounds there."""


@final
@dataclass(frozen=True, slots=True)
class Rectifier:
    """max(x, alpha x) with 0 <= alpha < 1: ReLU where alpha is 0.

    Between an interval's ends above lies the secant, below any line through 0 with a slope in [alpha, 1].
    Zhang et al. (CROWN, 1811.00866) take the one of both ends that leaves less area; Wong & Kolter
    (1711.00851) the secant's own slope.
    """

    alpha: float = 0.0

    def interval(self, lower: Tensor, upper: Tensor) -> Interval:
        """The function at both ends; alpha x is rounded once."""
        if self.alpha == 0:
            return torch.relu(lower), torch.relu(upper)
        error = self._error(lower)
        return self._value(lower) - error, self._value(upper) + error

    def lines(self, lower: Tensor, upper: Tensor) -> LinearBounds:
        """The secant, and the steeper or the flatter part, whichever leaves less area."""
        secant = self.secant(lower, upper)
        below = torch.where(upper > -lower, 1.0, self.alpha).to(secant.dtype)
        return self.lines_with(lower, upper, below)

    def lines_with(self, lower: Tensor, upper: Tensor, below: Tensor) -> LinearBounds:
        """The secant, and the line through 0 of a slope that is used where the sign is not settled."""
        on, off = lower >= 0, upper <= 0
        secant = self.secant(lower, upper)
        slope = below.clamp(self.alpha, 1.0)
        slope = torch.where(on, 1.0, torch.where(off, self.alpha, slope))
        error = self._error(lower)
        # The secant through (lower, alpha lower), lifted by what rounding can have taken from it.
        lift = (self.alpha - secant) * lower + SLACK * (upper - lower)
        offset = torch.where(on | off, 0.0, lift)
        return LinearBounds(slope, -error, secant, offset + error)

    def secant(self, lower: Tensor, upper: Tensor) -> Tensor:
        """The slope between both ends, (u - alpha l) / (u - l) where they differ in sign."""
        settled = (lower >= 0) | (upper <= 0)
        width = torch.where(settled, 1.0, upper - lower)
        mixed = ((upper - self.alpha * lower) / width).clamp(self.alpha, 1.0)
        return torch.where(lower >= 0, 1.0, torch.where(upper <= 0, self.alpha, mixed))

    def _value(self, x: Tensor) -> Tensor:
        return torch.maximum(x, self.alpha * x)

    def _error(self, lower: Tensor) -> Tensor:
        below = (-lower).clamp_min(0.0)
        if self.alpha == 0:
            return torch.zeros_like(below)
        return torch.where(below > 0, envelope(self.alpha * below, 1, 2.0), 0.0)


@final
@dataclass(frozen=True, slots=True)
class PiecewiseLinear:
    """A continuous function, straight between its kinks and beyond them.

    Args:
        kinks: where its slope changes, from left to right.
        values: of the function there.
        before: its slope left of the first kink.
        after: its slope right of the last.
        terms: of the float32 computation; 0 where it rounds nothing.
    """

    kinks: tuple[float, ...]
    values: tuple[float, ...]
    before: float
    after: float
    terms: int = 0

    def interval(self, lower: Tensor, upper: Tensor) -> Interval:
        """The least and the largest value at the ends and at the kinks inside."""
        values = self._at_corners(lower, upper)[1]
        error = self._error(lower, upper)
        return values.amin(0) - error, values.amax(0) + error

    def lines(self, lower: Tensor, upper: Tensor) -> LinearBounds:
        """Of the slopes between corners, those whose line has the least area above, and below."""
        places, values = self._at_corners(lower, upper)
        wide = upper - lower > 0
        middle, error = (lower + upper) / 2, self._error(lower, upper)
        best: dict[str, tuple[Tensor, Tensor]] = {}
        for first in range(len(places)):
            for second in range(first):
                width = places[first] - places[second]
                slope = (values[first] - values[second]) / torch.where(width > 0, width, 1.0)
                slope = torch.where((width > 0) & wide, slope, 0.0)
                beyond = values - slope * places
                slack = SLACK * (values.abs() + (slope * places).abs()).amax(0)
                for side, offset in (("above", beyond.amax(0) + slack), ("below", -beyond.amin(0) + slack)):
                    sign = 1 if side == "above" else -1
                    old = best.get(side)
                    if old is None:
                        best[side] = (slope, offset)
                        continue
                    better = sign * slope * middle + offset < sign * old[0] * middle + old[1]
                    best[side] = (
                        torch.where(better, slope, old[0]),
                        torch.where(better, offset, old[1]),
                    )
        (up, up_offset), (down, down_offset) = best["above"], best["below"]
        return LinearBounds(down, -(down_offset + error), up, up_offset + error)

    def _at_corners(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Both ends and the kinks between them, and the function there: (corners, N, ...) each."""
        inner = [lower.new_tensor(kink).clamp(lower, upper) for kink in self.kinks]
        places = torch.stack([lower, *inner, upper])
        return places, self._value(places)

    def _value(self, x: Tensor) -> Tensor:
        first, last = self.kinks[0], self.kinks[-1]
        found = torch.where(
            x <= first, self.values[0] + self.before * (x - first), self.values[-1] + self.after * (x - last)
        )
        for at in range(len(self.kinks) - 1):
            left, right = self.kinks[at : at + 2]
            slope = (self.values[at + 1] - self.values[at]) / (right - left)
            found = torch.where((x > left) & (x <= right), self.values[at] + slope * (x - left), found)
        return found

    def _error(self, lower: Tensor, upper: Tensor) -> Tensor:
        largest = torch.maximum(lower.abs(), upper.abs())
        inner = zip(self.kinks, self.kinks[1:], self.values, self.values[1:], strict=False)
        slopes = (abs((high - low) / (right - left)) for left, right, low, high in inner)
        steepest = max(abs(self.before), abs(self.after), 1.0, *slopes)
        # `_value` itself is computed in float64 from kinks near the origin.
        offset = max(map(abs, self.values)) + steepest * max(map(abs, self.kinks))
        own = SLACK * (steepest * largest + offset)
        if not self.terms:
            return own
        return own + envelope(steepest * largest + offset, self.terms, 2.0)
