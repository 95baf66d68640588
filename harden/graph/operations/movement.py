"""Operations that only move values: no arithmetic, so nothing is rounded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from harden.graph.operations.window_padding import Sizes, as_torch_has_them


@final
@dataclass(frozen=True, slots=True)
class Reshape:
    """The same values in another shape; at most one size is -1, the one that the batch decides.

    Flatten, Squeeze, Unsqueeze and Identity are read as this.
    """

    shape: Sizes

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape of as many values."""
        return x.reshape(self.shape)


@final
@dataclass(frozen=True, slots=True)
class Transpose:
    """Dimensions in another order."""

    perm: Sizes

    def __call__(self, x: Tensor) -> Tensor:
        """Dimension i of the output is dimension perm[i] of x."""
        return x.permute(self.perm)


@final
@dataclass(frozen=True, slots=True)
class Concat:
    """Tensors one after the other along an axis."""

    axis: int

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Shapes that differ along the axis alone."""
        return torch.cat(inputs, self.axis)


@final
@dataclass(frozen=True, slots=True)
class Slice:
    """x[starts : ends : steps] along axes; steps may be negative, as ONNX has them."""

    axes: Sizes
    starts: Sizes
    ends: Sizes
    steps: Sizes

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        for axis, start, end, step in zip(self.axes, self.starts, self.ends, self.steps, strict=True):
            kept = range(x.shape[axis])[start:end:step]
            if step > 0:  # a view, and nothing to send to the device
                x = x[(slice(None),) * (axis % x.dim()) + (slice(kept.start, kept.stop, step),)]
            else:
                x = x.index_select(axis, torch.tensor(kept, dtype=torch.int64, device=x.device))
        return x


@final
@dataclass(frozen=True, slots=True)
class Gather:
    """The rows of x at `indices` along an axis; `shape` is the indices' own, () for a single one."""

    axis: int
    indices: Sizes
    shape: Sizes

    def __call__(self, x: Tensor) -> Tensor:
        """(..., A, ...) to (..., *shape, ...)."""
        places = torch.tensor(self.indices, dtype=torch.int64, device=x.device) % x.shape[self.axis]
        return x.index_select(self.axis, places).reshape(
            *x.shape[: self.axis], *self.shape, *x.shape[self.axis + 1 :]
        )


@final
@dataclass(frozen=True, slots=True)
class GatherND:
    """What lies at `places` of the first `depth` dimensions, numbered through; `shape` is the places' own."""

    depth: int
    places: Sizes
    shape: Sizes

    def __call__(self, x: Tensor) -> Tensor:
        """(A, ..., B, *rest) to (*shape, *rest)."""
        rest = x.shape[self.depth :]
        places = torch.tensor(self.places, dtype=torch.int64, device=x.device)
        flat = x.reshape(math.prod(x.shape[: self.depth]), *rest)
        return flat.index_select(0, places).reshape(*self.shape, *rest)


@final
@dataclass(frozen=True, slots=True)
class Pad:
    """`value` around the last dimensions; pads as ONNX has them, negative ones cut. Constant mode alone."""

    pads: Sizes
    value: float = 0.0

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return functional.pad(x, as_torch_has_them(self.pads), value=self.value)


@final
@dataclass(frozen=True, slots=True)
class Expand:
    """x broadcast to a shape; -1 is the size of the batch, which `batch`, the graph's input, tells."""

    shape: Sizes

    def __call__(self, x: Tensor, batch: Tensor) -> Tensor:
        """A shape that broadcasts."""
        sizes = [len(batch) if size == -1 else size for size in self.shape]
        # Both ways, as ONNX has it: a size of 1 in the shape leaves that of x.
        return x + x.new_zeros(sizes)


@final
@dataclass(frozen=True, slots=True)
class Stack:
    """Tensors next to each other along a new last axis, broadcast to one shape."""

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Shapes that broadcast, to (..., number of inputs)."""
        shape = np.broadcast_shapes(*(each.shape for each in inputs))
        return torch.stack([each.expand(shape) for each in inputs], -1)


@final
@dataclass(frozen=True, slots=True)
class Trilu:
    """Matrices whose values on one side of the diagonal `k` are 0: the lower ones where `upper`."""

    k: int
    upper: bool

    def __call__(self, x: Tensor) -> Tensor:
        """(..., a, b)."""
        return x.triu(self.k) if self.upper else x.tril(self.k)
