"""Functions of one value that bend smoothly, or only jump."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn import functional


@final
@dataclass(frozen=True, slots=True)
class Elu:
    """x where it is above 0, alpha (exp(x) - 1) below."""

    alpha: float = 1.0

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return functional.elu(x, self.alpha)


@final
@dataclass(frozen=True, slots=True)
class Selu:
    """gamma x where x is above 0, gamma alpha (exp(x) - 1) below."""

    alpha: float
    gamma: float

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return self.gamma * functional.elu(x, self.alpha)


@final
@dataclass(frozen=True, slots=True)
class Celu:
    """x where it is above 0, alpha (exp(x / alpha) - 1) below."""

    alpha: float = 1.0

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return functional.celu(x, self.alpha)


@final
@dataclass(frozen=True, slots=True)
class Softplus:
    """log(1 + exp(x))."""

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        # torch's own takes x itself from 20 on.
        return torch.logaddexp(x, torch.zeros_like(x))


@final
@dataclass(frozen=True, slots=True)
class Softsign:
    """x / (1 + |x|)."""

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x / (1 + x.abs())


@final
@dataclass(frozen=True, slots=True)
class Mish:
    """x tanh(log(1 + exp(x)))."""

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return functional.mish(x)


@final
@dataclass(frozen=True, slots=True)
class PRelu:
    """x where it is at least 0, slope x below; the slopes broadcast to x."""

    def __call__(self, x: Tensor, slope: Tensor) -> Tensor:
        """Any shape."""
        return torch.where(x >= 0, x, slope * x)


@final
@dataclass(frozen=True, slots=True)
class Reciprocal:
    """1 / x."""

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x.reciprocal()


@final
@dataclass(frozen=True, slots=True)
class Sign:
    """-1, 0 or 1."""

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x.sign()
