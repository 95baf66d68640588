"""The L1 ball: the absolute changes of all pixels sum to at most eps."""

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

ONE_IN = 100
"""One step moves one in so many of an image's entries, as in the sparse attack of Tramèr and Boneh
(arXiv 1904.13000). The steepest direction is a single entry, which a step or two bring to the edge of the
box, so an attack of few steps would search few entries; many entries dilute the budget. On digits of 8 x 8
and 28 x 28 pixels, trained plainly and adversarially, PGD was strongest with one in 200 to 50."""


@final
@dataclass(frozen=True, slots=True, init=False, repr=False)
class L1:
    """The absolute changes of all pixels sum to at most eps: sum_i |x'_i - x_i| <= eps.

    Random start: uniform in the ball, then projected. Direction: the hundredth of the entries that have the
    largest gradient, among those that can still move in the box, by equal shares. The projection is onto ball
    and box together (Croce and Hein, arXiv 2103.01208) and keeps a margin of at most 2^-20 of the radius and
    one unit in the last place of each pixel, so that the inequality holds for rational numbers, with no
    tolerance.

    Args:
        eps: "12" or a number, in pixel units; kept as a fraction.
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
        return written("L1", self.eps, self.bounds)

    @property
    def name(self) -> str:
        """The norm's name."""
        return "l1"

    def size(self, delta: Tensor) -> Tensor:
        """sum_i |delta_i| of each example: (N, ...) -> (N,), float64."""
        return delta.double().flatten(1).abs().sum(1)

    def start(self, x: Tensor, draws: Draws) -> Tensor:
        """Uniform in the ball of radius eps around x, then projected onto ball and box.

        n + 1 exponential variables over their sum are uniform in the simplex; n of them, with random signs,
        are uniform in the ball.
        """
        count = math.prod(x.shape[1:])
        # The highest of the 24 bits is the sign, the others the size, in (0, 1): its logarithm is finite.
        drawn = draws.uniform((count + 1,)).double() * 2.0
        size = -torch.log(drawn.frac() + 2.0**-24)
        noise = (size / size.sum(1, keepdim=True))[:, :count] * float(self.eps)
        noise = torch.where(drawn[:, :count] >= 1.0, noise, -noise)
        x_adv = x + noise.to(torch.float32).view(x.shape).to(x.device)
        self.project_(x_adv, x)
        return x_adv

    def step_(self, x_adv: Tensor, x: Tensor, grad: Tensor, step_size: Tensor) -> None:
        """x_adv <- P(x_adv + step_size / m sign(grad) on m entries), P onto ball and box, in place."""
        moving = constant(float(max(1, -(-math.prod(x.shape[1:]) // ONE_IN))), x.device)
        self.sparse_step_(x_adv, x, grad, step_size, moving)

    def sparse_step_(self, x_adv: Tensor, x: Tensor, grad: Tensor, step_size: Tensor, moving: Tensor) -> None:
        """As `step_`, moving so many entries: float32 with 1 element or (N,), rounded down, at least 1."""
        eps = constant(float32(self.eps), x.device)
        kernels.l1_step_(x_adv, x, grad, step_size, eps, moving, *self.bounds)

    def project_(self, x_adv: Tensor, x: Tensor) -> None:
        """x_adv <- the nearest point of ball and box, in place."""
        kernels.l1_project_(x_adv, x, constant(float32(self.eps), x.device), *self.bounds)

    def contains(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Whether sum_i |x'_i - x_i| <= eps and x' lies in the box, as rational numbers: bool (N,)."""
        high, _ = exact_difference(x_adv, x)
        total = high.flatten(1).sum(1)
        limit = float(self.eps)
        slack = (high[0].numel() + 16 if len(high) else 16) * 2.0**-52
        inside = total * (1 + slack) <= limit
        unsure = ~inside & (total * (1 - slack) <= limit)
        for row in unsure.nonzero().flatten().tolist():
            pairs = zip(x_adv[row].flatten().tolist(), x[row].flatten().tolist(), strict=True)
            inside[row] = sum(abs(Fraction(a) - Fraction(b)) for a, b in pairs) <= self.eps
        return inside & in_box(x_adv, self.bounds).flatten(1).all(1)

    def scaled(self, factor: Number) -> L1:
        """The same threat with eps multiplied by factor."""
        return L1(self.eps * fraction(factor), self.bounds)
