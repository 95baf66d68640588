"""The maximum over windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor
from torch.nn import functional

from harden.graph.operations.window_padding import Sizes, as_torch_has_them, rounded_up, split


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
        pads = self.pads
        if self.ceil_mode:
            pads = rounded_up(tuple(x.shape[2:]), self.kernel, self.strides, pads, self.dilations)
        begins, ends = split(pads)
        # torch itself pads by half a window at most, and alike on both sides.
        if begins != ends or any(2 * pad > size for pad, size in zip(begins, self.kernel, strict=True)):
            x = functional.pad(x, as_torch_has_them(pads), value=float("-inf"))
            begins = (0,) * len(begins)
        rule = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[len(self.kernel) - 1]
        pooled: Tensor = rule(x, self.kernel, self.strides, begins, self.dilations)
        return pooled
