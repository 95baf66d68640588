"""The L2 ball: the perturbation's Euclidean length is at most eps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import final

import torch
from torch import Tensor

from harden import kernels
from harden.draws import Draws
from harden.threats.budgets import Number, check_bounds, constant, float32, fraction, radius, written
from harden.threats.membership import exact_difference, in_box


@final
@dataclass(frozen=True, slots=True, init=False, repr=False)
class L2:
    """The perturbation's Euclidean length is at most eps: sum_i (x'_i - x_i)^2 <= eps^2.

    Random start: uniform in the ball. Direction: the gradient over its length. The projection keeps a margin
    of at most 2^-20 of the radius and one unit in the last place of each pixel, so that the inequality holds
    for rational numbers, with no tolerance.

    Args:
        eps: "1/2" or a number, in pixel units; kept as a fraction.
        bounds: the box of valid pixels.

    Raises:
        InputError: eps is not a number or is negative; bounds are not increasing.
    """

    eps: Fraction
    bounds: tuple[float, float]

    def __init__(self, eps: Number, bounds: tuple[float, float] = (0.0, 1.0)) -> None:
        object.__setattr__(self, "bounds", check_bounds(bounds))
        object.__setattr__(self, "eps", radius(eps, self.bounds))

    def __repr__(self) -> str:
        return written("L2", self.eps, self.bounds)

    @property
    def name(self) -> str:
        """The norm's name."""
        return "l2"

    def size(self, delta: Tensor) -> Tensor:
        """sqrt(sum_i delta_i^2) of each example: (N, ...) -> (N,), float64."""
        return delta.double().flatten(1).square().sum(1).sqrt()

    def start(self, x: Tensor, draws: Draws) -> Tensor:
        """Uniform in the ball of radius eps around x, then cut by the box."""
        shape = tuple(x.shape[1:])
        direction = draws.normal(shape).flatten(1).double()
        radius = draws.fold(1).uniform((1,)).double() ** (1.0 / math.prod(shape))
        direction /= direction.square().sum(1, keepdim=True).sqrt().clamp_min(1e-30)
        x_adv = x + direction.mul_(radius).mul_(float(self.eps)).to(torch.float32).view(x.shape).to(x.device)
        self.project_(x_adv, x)
        return x_adv

    def step_(self, x_adv: Tensor, x: Tensor, grad: Tensor, step_size: Tensor) -> None:
        """x_adv <- box(ball(x_adv + step_size * grad / |grad|)), in place."""
        kernels.l2_step_(x_adv, x, grad, step_size, constant(float32(self.eps), x.device), *self.bounds)

    def momentum_step_(
        self, x_adv: Tensor, before: Tensor, x: Tensor, grad: Tensor, step_size: Tensor, share: float
    ) -> None:
        """As `harden.threats.momentum_step.momentum_step_`, in one operation, in place."""
        eps, part = constant(float32(self.eps), x.device), constant(share, x.device)
        kernels.apgd_l2_step_(x_adv, before, x, grad, step_size, eps, part, *self.bounds)

    def project_(self, x_adv: Tensor, x: Tensor) -> None:
        """x_adv <- box(ball(x_adv)), in place."""
        self.step_(x_adv, x, x, x_adv.new_zeros(1))

    def contains(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Whether sum_i (x'_i - x_i)^2 <= eps^2 and x' lies in the box, as rational numbers: bool (N,)."""
        high, _ = exact_difference(x_adv, x)
        square = high.flatten(1).square().sum(1)
        limit = float(self.eps) ** 2
        slack = (high[0].numel() + 16 if len(high) else 16) * 2.0**-52
        inside = square * (1 + slack) <= limit
        unsure = ~inside & (square * (1 - slack) <= limit)
        for row in unsure.nonzero().flatten().tolist():
            pairs = zip(x_adv[row].flatten().tolist(), x[row].flatten().tolist(), strict=True)
            inside[row] = sum((Fraction(a) - Fraction(b)) ** 2 for a, b in pairs) <= self.eps**2
        return inside & in_box(x_adv, self.bounds).flatten(1).all(1)

    def scaled(self, factor: Number) -> L2:
        """The same threat with eps multiplied by factor."""
        return L2(self.eps * fraction(factor), self.bounds)
