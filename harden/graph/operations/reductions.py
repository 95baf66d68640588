"""Norms and sums along axes that are not plain sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from harden.graph.operations.window_padding import Sizes


@final
@dataclass(frozen=True, slots=True)
class ReduceL2:
    """The root of the sum of squares over axes, counted from the front; its gradient at 0 is 0."""

    axes: Sizes
    keepdims: bool = True

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape; the axes become 1, or go."""
        found: Tensor = torch.linalg.vector_norm(x, 2, self.axes, self.keepdims)
        return found


@final
@dataclass(frozen=True, slots=True)
class ReduceLogSumExp:
    """The logarithm of the sum of exponentials over axes."""

    axes: Sizes
    keepdims: bool = True

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape; the axes become 1, or go."""
        return x.logsumexp(self.axes, self.keepdims)


@final
@dataclass(frozen=True, slots=True)
class CumSum:
    """The sum up to each place of an axis, itself included unless `exclusive`; from the end if `reverse`."""

    axis: int
    exclusive: bool = False
    reverse: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        x = x.flip(self.axis) if self.reverse else x
        found = x.cumsum(self.axis)
        if self.exclusive:
            size = x.shape[self.axis]
            found = torch.cat([torch.zeros_like(x.narrow(self.axis, 0, 1)), found], self.axis)
            found = found.narrow(self.axis, 0, size)
        return found.flip(self.axis) if self.reverse else found


@final
@dataclass(frozen=True, slots=True)
class ReduceProd:
    """The product over axes."""

    axes: Sizes
    keepdims: bool = True

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape; the axes become 1, or go."""
        for axis in sorted(self.axes, reverse=True):
            x = x.prod(axis, keepdim=self.keepdims)
        return x


@final
@dataclass(frozen=True, slots=True)
class Einsum:
    """Sums of products over the letters that the output lacks.

    Args:
        inputs: of each, a letter for each dimension.
        output: the letters that stay.
    """

    inputs: tuple[str, ...]
    output: str

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Sizes that agree where letters do."""
        found: Tensor = torch.einsum(f"{','.join(self.inputs)}->{self.output}", *inputs)
        return found


@final
@dataclass(frozen=True, slots=True)
class Interpolate:
    """(1 - share) x[before] + share x[after] along an axis: linear interpolation between two places.

    Args:
        axis: counted from the front.
        before: for each output the place on the left.
        after: the one on the right, or the same.
        shares: of the right one, in [0, 1].
        exact: whether float32 computes the shares without rounding, in whatever way.
    """

    axis: int
    before: Sizes
    after: Sizes
    shares: tuple[float, ...]
    exact: bool

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        left, right = (
            x.index_select(self.axis, torch.tensor(places, dtype=torch.int64, device=x.device))
            for places in (self.before, self.after)
        )
        share = torch.tensor(self.shares, dtype=x.dtype, device=x.device)
        share = share.reshape(-1, *(1,) * (x.dim() - 1 - self.axis))
        return (1 - share) * left + share * right
