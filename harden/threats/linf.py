"""The L-inf ball: every pixel may change by at most eps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import final

from torch import Tensor

from harden import kernels
from harden.draws import Draws
from harden.threats.budgets import Number, check_bounds, constant, float32, fraction, radius, written
from harden.threats.membership import exact_difference, in_box, nearest_below


@final
@dataclass(frozen=True, slots=True, init=False, repr=False)
class Linf:
    """Every pixel may change by at most eps: max_i |x'_i - x_i| <= eps.

    Random start: uniform in the cube. Direction: the gradient's sign. The ball's limits are rounded inwards
    to float32, so that the inequality holds for rational numbers, with no tolerance.

    Args:
        eps: "8/255" or a number; kept as a fraction.
        bounds: the box of valid pixels.

    Raises:
        InputError: eps is not a number, is negative or exceeds the box's width; bounds are not increasing.
    """

    eps: Fraction
    bounds: tuple[float, float]

    def __init__(self, eps: Number, bounds: tuple[float, float] = (0.0, 1.0)) -> None:
        object.__setattr__(self, "bounds", check_bounds(bounds))
        object.__setattr__(self, "eps", radius(eps, self.bounds, within_box=True))

    def __repr__(self) -> str:
        return written("Linf", self.eps, self.bounds)

    @property
    def name(self) -> str:
        """The norm's name."""
        return "linf"

    def size(self, delta: Tensor) -> Tensor:
        """max_i |delta_i| of each example: (N, ...) -> (N,), float64."""
        return delta.double().abs().flatten(1).amax(1)

    def start(self, x: Tensor, draws: Draws) -> Tensor:
        """Uniform in [x - eps, x + eps], then cut by the box."""
        noise = draws.uniform(tuple(x.shape[1:])).mul_(2.0).sub_(1.0).mul_(float32(self.eps))
        x_adv = x + noise.to(x.device)
        self.project_(x_adv, x)
        return x_adv

    def step_(self, x_adv: Tensor, x: Tensor, grad: Tensor, step_size: Tensor) -> None:
        """x_adv <- box(ball(x_adv + step_size * sign(grad))), in place."""
        kernels.linf_step_(x_adv, x, grad, step_size, constant(float32(self.eps), x.device), *self.bounds)

    def momentum_step_(
        self, x_adv: Tensor, before: Tensor, x: Tensor, grad: Tensor, step_size: Tensor, share: float
    ) -> None:
        """As `harden.threats.momentum_step.momentum_step_`, in one pass over memory, in place."""
        eps, part = constant(float32(self.eps), x.device), constant(share, x.device)
        kernels.apgd_linf_step_(x_adv, before, x, grad, step_size, eps, part, *self.bounds)

    def project_(self, x_adv: Tensor, x: Tensor) -> None:
        """x_adv <- box(ball(x_adv)), in place."""
        self.step_(x_adv, x, x, x_adv.new_zeros(1))

    def contains(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Whether |x'_i - x_i| <= eps and x'_i lies in the box for all i, as rational numbers: bool (N,)."""
        high, low = exact_difference(x_adv, x)
        below, exact = nearest_below(self.eps)
        inside = (high < below) | ((high == below) & (low <= 0))
        if not exact:
            above = math.nextafter(below, math.inf)
            tie = ((high == below) & (low > 0)) | ((high == above) & (low < 0))
            for position in tie.nonzero().tolist():
                gap = Fraction(float(high[tuple(position)])) + Fraction(float(low[tuple(position)]))
                inside[tuple(position)] = gap <= self.eps
        return (inside & in_box(x_adv, self.bounds)).flatten(1).all(1)

    def scaled(self, factor: Number) -> Linf:
        """The same threat with eps multiplied by factor."""
        return Linf(self.eps * fraction(factor), self.bounds)
