"""The maximum over windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor
from torch.nn import functional

from harden.graph.operations.windows import Sizes, padded, split


@final
@dataclass(frozen=True, slots=True)
class MaxPool:
    """The largest value of each window; what is padded counts as minus infinity."""

    kernel: Sizes
    strides: Sizes
    pads: Sizes
    dilations: Sizes
    ceil_mode: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        """(N, C, ...) to (N, C, ...)."""
        begins, ends = split(self.pads)
        # torch itself pads by half a window at most, and alike on both sides.
        if begins != ends or any(2 * pad > size for pad, size in zip(begins, self.kernel, strict=True)):
            x, begins = padded(x, self.pads, float("-inf"))
        rule = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[len(self.kernel) - 1]
        pooled: Tensor = rule(x, self.kernel, self.strides, begins, self.dilations, self.ceil_mode)
        return pooled
