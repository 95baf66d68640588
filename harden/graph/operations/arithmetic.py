"""The four operations, with numpy's broadcasting, and the change of sign."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor


@final
@dataclass(frozen=True, slots=True)
class Add:
    """x + y."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Shapes that broadcast."""
        return x + y


@final
@dataclass(frozen=True, slots=True)
class Mask:
    """x + y, y a constant that is minus infinity in places: what attention must not look at."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Shapes that broadcast."""
        return x + y


@final
@dataclass(frozen=True, slots=True)
class Sub:
    """x - y."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Shapes that broadcast."""
        return x - y


@final
@dataclass(frozen=True, slots=True)
class Mul:
    """x y."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Shapes that broadcast."""
        return x * y


@final
@dataclass(frozen=True, slots=True)
class Div:
    """x / y."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Shapes that broadcast."""
        return x / y


@final
@dataclass(frozen=True, slots=True)
class Neg:
    """-x."""

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return -x
