"""Backward propagation of linear bounds from any value of a network to its images (CROWN).

Zhang et al., Efficient neural network robustness certification with general activation functions, arXiv
1811.00866; the transposed view is that of Xu et al., arXiv 2002.12920. What is bounded here is what float32
arithmetic gives in any order of summation, not the real-number network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from harden.bounds.crown.coefficients import (
    Coefficients,
    DenseCoefficients,
    WindowCoefficients,
    add_coefficients,
    dot,
)
from harden.bounds.float_rounding import SMALLEST_32, UNIT_64, gamma
from harden.bounds.program import Program, ProgramStep
from harden.bounds.region import Region
from harden.bounds.rules import Affine, Interval, LinearBounds, MaximumBounds, Pooling, Rectifier

Slopes = Mapping[str, Tensor]
"""By a rectifier's name, slopes of its lower lines, (P, *size): one set for each bound."""
Pulls = Mapping[str, Tensor]
"""By a value's name, what is added to its coefficients, (P, *size): Lagrange multipliers of a known sign."""


@final
@dataclass(slots=True, eq=False)
class Relaxation:
    """Bounds of the values of N images: intervals, and the linear bounds and rounding charges that follow.

    Args:
        program: the network.
        region: the inputs.
        intervals: bounds of each value by name; one is set before anything that depends on it is computed.
        parallel: whether a rectifier's lower line has its upper line's slope (Wong & Kolter, 1711.00851)
            rather than the one that leaves less area (CROWN).
        rounding: whether what float32 and float64 round is included; without it bounds are about real
            numbers, computed in float64, and prove nothing of a file.
    """

    program: Program
    region: Region
    intervals: dict[str, Interval]
    parallel: bool = False
    rounding: bool = True
    _lines: dict[str, LinearBounds | MaximumBounds] = field(default_factory=dict)
    _charges: dict[str, Tensor] = field(default_factory=dict)

    def lower(
        self,
        start: str,
        coefficients: Coefficients,
        image: Tensor,
        slopes: Slopes | None = None,
        pulls: Pulls | None = None,
        seen: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """Lower bounds of coefficients . value over the regions: (P,).

        Any pulls are sound. Where a value z is >= 0, c . v >= c . v + p z for p <= 0, and likewise with both
        signs turned (Wang et al., beta-CROWN, arXiv 2103.06624): a p of the other sign counts as 0.

        Args:
            start: the value's name.
            coefficients: of P bounds on the value, numbers that float32 holds exactly.
            image: (P,), which of the N images each bound is about, or (1,), that of all.
            slopes: (P, *size) by rectifier; what is not there follows `parallel`.
            pulls: (P, *size) by value.
            seen: gets the coefficients of each rectifier's output and of the input, (P, *size).
        """
        pending = {start: coefficients}
        total = coefficients.each.new_zeros(len(coefficients.each))
        size = total
        for step in reversed(self.program.until(start)):
            of_output = pending.pop(step.name, None)
            if of_output is None:
                continue
            if pulls is not None and step.name in pulls:
                pull = self._allowed(step.name, pulls[step.name], image)
                of_output = DenseCoefficients(of_output.whole().each + pull)
            if seen is not None and isinstance(step.rule, Rectifier):
                seen[step.name] = of_output.whole().each
            below = None if slopes is None else slopes.get(step.name)
            of_inputs, more = self._back(step, of_output, image, below)
            if self.rounding:
                lost = dot(of_output.each.abs(), of_output.seen(self.charge(step), image))
                size = size + lost + more.abs()
                more = more - lost * (1 + 2.0**-20)
            total = total + more
            for name, each in zip(step.inputs, of_inputs, strict=True):
                pending[name] = add_coefficients(pending[name], each) if name in pending else each
        last = pending.get(self.program.input)
        if last is not None:
            if seen is not None:
                seen[self.program.input] = last.whole().each
            least = self.region.least(last, image)
            total, size = total + least, size + least.abs()
        if not self.rounding:
            return total
        return total - gamma(4 * len(self.program.steps) + 16, UNIT_64) * size

    def below_slope(self, step: ProgramStep) -> Tensor:
        """Slopes (N, *size) of a rectifier's lower lines, as `parallel` says."""
        lines = self._line(step)
        if isinstance(lines, MaximumBounds):
            raise TypeError(step.name)
        return lines.below_slope

    def _allowed(self, name: str, pull: Tensor, image: Tensor) -> Tensor:
        """The part of a multiplier that has the sign which the value's interval allows."""
        lower, upper = (end if len(end) == 1 else end[image] for end in self.intervals[name])
        # Not by clamp, which has no slope at 0, where every multiplier begins.
        right = ((lower >= 0) & (pull <= 0)) | ((upper <= 0) & (pull >= 0))
        return torch.where(right, pull, 0.0)

    def _back(
        self, step: ProgramStep, of_output: Coefficients, image: Tensor, below: Tensor | None
    ) -> tuple[tuple[Coefficients, ...], Tensor]:
        """Coefficients of a step's inputs, and what the step adds to the bound, (P,)."""
        rule = step.rule
        if isinstance(rule, Affine):
            more = dot(of_output.each, of_output.seen(rule.offset, image))
            if isinstance(of_output, WindowCoefficients) and rule.through is not None:
                return rule.through(of_output), more
            return tuple(DenseCoefficients(each) for each in rule.transpose(of_output.whole().each)), more
        lines = self._line(step)
        if isinstance(lines, MaximumBounds):
            carried, more = lines.carried_back(of_output, image)
            return (carried,), more
        if below is not None:
            of_output = of_output.whole()
        low, high = of_output.each.clamp_min(0), of_output.each.clamp_max(0)
        slope = of_output.seen(lines.below_slope, image)
        if below is not None and isinstance(rule, Rectifier):
            lower, upper = self.intervals[step.inputs[0]]
            slope = torch.where(((lower < 0) & (upper > 0))[image], below, slope)
        bent = low * slope + high * of_output.seen(lines.above_slope, image)
        more = dot(low, of_output.seen(lines.below_offset, image))
        more = more + dot(high, of_output.seen(lines.above_offset, image))
        return (of_output.with_(bent),), more

    def _line(self, step: ProgramStep) -> LinearBounds | MaximumBounds:
        if step.name not in self._lines:
            lower, upper = self.intervals[step.inputs[0]]
            rule = step.rule
            if isinstance(rule, Pooling):
                self._lines[step.name] = rule.winners(lower, upper)
            elif isinstance(rule, Rectifier) and self.parallel:
                self._lines[step.name] = rule.lines_with(lower, upper, rule.secant(lower, upper))
            elif not isinstance(rule, Affine):
                self._lines[step.name] = rule.lines(lower, upper)
        return self._lines[step.name]

    def charge(self, step: ProgramStep) -> Tensor:
        """The loss of a bound per |coefficient| of a step's output, (N, *size): all that is rounded there."""
        if step.name not in self._charges:
            inputs = [self.intervals[name] for name in step.inputs]
            if isinstance(step.rule, Affine):
                self._charges[step.name] = step.rule.charge(*inputs)
            else:
                self._charges[step.name] = self._own_rounding(step, *inputs[0])
        return self._charges[step.name]

    def _own_rounding(self, step: ProgramStep, lower: Tensor, upper: Tensor) -> Tensor:
        """The error of float64 in propagating coefficients through linear bounds, and in sums of offsets.

        And what a processor that flushes denormals makes of a result that is one.
        """
        largest = torch.maximum(lower.abs(), upper.abs())
        lines = self._line(step)
        if isinstance(lines, MaximumBounds):
            # A sum over at most all windows; the most that a window holds bounds every part.
            most = largest.flatten(1).amax(1).reshape(-1, *(1,) * len(step.size))
            own = 4 * gamma(math.prod(lines.pooled) + 16, UNIT_64) * most
            return SMALLEST_32 + own.expand(len(lower), *step.size)
        steepest = torch.maximum(lines.below_slope.abs(), lines.above_slope.abs()).clamp_min(1.0)
        offset = torch.maximum(lines.below_offset.abs(), lines.above_offset.abs())
        return SMALLEST_32 + 4 * gamma(math.prod(step.size) + 16, UNIT_64) * (steepest * largest + offset)
