"""Functions of one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor
from torch.nn import functional


@final
@dataclass(frozen=True, slots=True)
class Relu:
    """max(x, 0)."""

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return torch.relu(x)


@final
@dataclass(frozen=True, slots=True)
class LeakyRelu:
    """x where it is above 0, alpha x below."""

    alpha: float = 0.01

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return functional.leaky_relu(x, self.alpha)


@final
@dataclass(frozen=True, slots=True)
class Clip:
    """min(max(x, low), high); an end that is None is open."""

    low: float | None = None
    high: float | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x if self.low is None and self.high is None else x.clamp(self.low, self.high)


@final
@dataclass(frozen=True, slots=True)
class HardSigmoid:
    """min(max(alpha x + beta, 0), 1)."""

    alpha: float = 0.2
    beta: float = 0.5

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return (self.alpha * x + self.beta).clamp(0, 1)


@final
@dataclass(frozen=True, slots=True)
class HardSwish:
    """x min(max(x / 6 + 1/2, 0), 1)."""

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return functional.hardswish(x)


@final
@dataclass(frozen=True, slots=True)
class Sigmoid:
    """1 / (1 + exp(-x))."""

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return torch.sigmoid(x)


@final
@dataclass(frozen=True, slots=True)
class Tanh:
    """The hyperbolic tangent."""

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return torch.tanh(x)


@final
@dataclass(frozen=True, slots=True)
class Erf:
    """The error function."""

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return torch.erf(x)


@final
@dataclass(frozen=True, slots=True)
class Gelu:
    """x Phi(x), or its approximation by a tanh."""

    approximate: Literal["none", "tanh"] = "none"

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return functional.gelu(x, approximate=self.approximate)


@final
@dataclass(frozen=True, slots=True)
class Exp:
    """The exponential."""

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x.exp()


@final
@dataclass(frozen=True, slots=True)
class Log:
    """The natural logarithm."""

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x.log()


@final
@dataclass(frozen=True, slots=True)
class Sqrt:
    """The square root."""

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x.sqrt()


@final
@dataclass(frozen=True, slots=True)
class Abs:
    """The absolute value."""

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x.abs()


@final
@dataclass(frozen=True, slots=True)
class Pow:
    """x to a constant power."""

    exponent: float

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x**self.exponent
