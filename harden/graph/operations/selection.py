"""Comparisons and choices between values. What is true is 1, what is false 0.

A comparison has the gradient 0, as all that jumps: a file that answers by comparisons alone looks robust
to gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor


class _Told(torch.autograd.Function):
    """1 or 0, and a gradient of 0 that reaches what was compared."""

    @staticmethod
    def forward(ctx: Any, true: Tensor, *compared: Tensor) -> Tensor:
        ctx.save_for_backward(*compared)
        return true.to(compared[0].dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return (None, *(torch.zeros_like(each) for each in ctx.saved_tensors))


def _told(true: Tensor, *compared: Tensor) -> Tensor:
    found: Tensor = _Told.apply(true, *compared)
    return found


@final
@dataclass(frozen=True, slots=True)
class Where:
    """x where the condition is not 0, else y."""

    def __call__(self, condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Shapes that broadcast."""
        return torch.where(condition != 0, x, y)


@final
@dataclass(frozen=True, slots=True)
class Greater:
    """x > y."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Shapes that broadcast."""
        return _told(x > y, x, y)


@final
@dataclass(frozen=True, slots=True)
class GreaterOrEqual:
    """x >= y."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Shapes that broadcast."""
        return _told(x >= y, x, y)


@final
@dataclass(frozen=True, slots=True)
class Less:
    """x < y."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Shapes that broadcast."""
        return _told(x < y, x, y)


@final
@dataclass(frozen=True, slots=True)
class LessOrEqual:
    """x <= y."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Shapes that broadcast."""
        return _told(x <= y, x, y)


@final
@dataclass(frozen=True, slots=True)
class Equal:
    """x = y."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Shapes that broadcast."""
        return _told(x == y, x, y)


@final
@dataclass(frozen=True, slots=True)
class And:
    """Both."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Shapes that broadcast."""
        return _told((x != 0) & (y != 0), x)


@final
@dataclass(frozen=True, slots=True)
class Or:
    """One of both at least."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Shapes that broadcast."""
        return _told((x != 0) | (y != 0), x)


@final
@dataclass(frozen=True, slots=True)
class Not:
    """What is false, and for numbers what is 0."""

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return _told(x == 0, x)


@final
@dataclass(frozen=True, slots=True)
class IsNaN:
    """Whether x is no number."""

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return _told(x.isnan(), x)
