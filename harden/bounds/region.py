"""Input regions of bounds: a ball within the data's box, rounded outward."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import final

import torch
from torch import Tensor

from harden.bounds.crown.coefficients import Coefficients, dot
from harden.bounds.float_rounding import UNIT_64, gamma
from harden.errors import InputError
from harden.threats import L1, L2, Linf, Threat


@final
@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """Boxes [lower, upper], and around which points which ball, N of them.

    Args:
        lower: (N, ...) float64.
        upper: (N, ...) float64.
        centre: (N, ...), the ball's; None where the box is all.
        eps: the ball's radius, rounded up.
        dual: the order of the norm that is dual to the ball's: 2 of L2, infinity of L1.
    """

    lower: Tensor
    upper: Tensor
    centre: Tensor | None = None
    eps: float = 0.0
    dual: float = 2.0
    _middle: Tensor = field(init=False)
    _spread: Tensor = field(init=False)

    def __post_init__(self) -> None:
        # Half the width of each box, and what a sum over all inputs rounds.
        largest = torch.maximum(self.lower.abs(), self.upper.abs())
        rounded = 4 * gamma(math.prod(self.lower.shape[1:]) + 16, UNIT_64)
        object.__setattr__(self, "_middle", (self.lower + self.upper) / 2)
        object.__setattr__(self, "_spread", (self.upper - self.lower) / 2 + rounded * largest)

    @classmethod
    def around(cls, x: Tensor, threat: Threat) -> Region:
        """The ball of a threat model around images (N, ...), within its box: it holds every float32 point.

        Raises:
            InputError: the threat is of another kind.
        """
        if not isinstance(threat, Linf | L2 | L1):
            raise InputError(
                f"bounds for {threat!r}", "Linf, L2 or L1", "write Linf with the largest of the channels' eps"
            )
        exact = x.detach().to(torch.float64)
        eps = _above(threat.eps)
        low, high = threat.bounds
        step = torch.tensor(math.inf, dtype=torch.float64)
        lower = torch.nextafter(exact - eps, -step).clamp(low, high)
        upper = torch.nextafter(exact + eps, step).clamp(low, high)
        lower, upper = torch.minimum(lower, exact), torch.maximum(upper, exact)
        if isinstance(threat, Linf):
            return cls(lower, upper)
        return cls(lower, upper, exact, eps, 2.0 if isinstance(threat, L2) else math.inf)

    def least(self, coefficients: Coefficients, image: Tensor) -> Tensor:
        """The least coefficients . x over each region, rounded down: (P,).

        Args:
            coefficients: of P linear functions.
            image: (P,), which region each is about.
        """
        a = coefficients.each.flatten(1)
        size = a.abs()
        found = dot(a, coefficients.seen(self._middle, image).flatten(1))
        found = found - dot(size, coefficients.seen(self._spread, image).flatten(1))
        if self.centre is None:
            return found
        at = coefficients.seen(self.centre, image).flatten(1)
        rounded = 4 * gamma(a.shape[1] + 16, UNIT_64)
        reach = self.eps * torch.linalg.vector_norm(a, self.dual, dim=1) * (1 + rounded)
        # The region lies in both: its least is at least the larger one.
        return torch.maximum(found, dot(a, at) - reach - rounded * dot(size, at.abs()))

    def lowest(self, coefficients: Tensor, image: Tensor) -> Tensor:
        """Points where coefficients . x is about the least, float32 and in the box: (P, ...)."""
        lower, upper = self.lower[image], self.upper[image]
        if self.centre is None:
            found = torch.where(coefficients > 0, lower, upper)
        else:
            flat = coefficients.flatten(1)
            size = torch.linalg.vector_norm(flat, self.dual, dim=1, keepdim=True)
            if self.dual == math.inf:  # an L1 ball: all of it along one axis
                best = flat.abs().argmax(1, keepdim=True)
                step = torch.zeros_like(flat).scatter(1, best, flat.gather(1, best).sign())
            else:
                step = flat / size.clamp_min(1e-300)
            found = (self.centre[image].flatten(1) - self.eps * step).reshape(lower.shape)
            found = torch.minimum(torch.maximum(found, lower), upper)
        rounded = found.to(torch.float32)
        end = torch.tensor(math.inf)
        rounded = torch.where(rounded > upper, torch.nextafter(rounded, -end), rounded)
        return torch.where(rounded < lower, torch.nextafter(rounded, end), rounded)

    def take(self, index: Tensor) -> Region:
        """Some of the regions."""
        centre = None if self.centre is None else self.centre[index]
        return Region(self.lower[index], self.upper[index], centre, self.eps, self.dual)

    def __len__(self) -> int:
        return len(self.lower)


def _above(eps: Fraction) -> float:
    """The nearest float64 that is not below eps."""
    value = float(eps)
    return value if Fraction(value) >= eps else math.nextafter(value, math.inf)
