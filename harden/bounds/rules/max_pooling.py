"""Linear bounds of the maximum over windows: below one input of each, above that input or a constant."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from harden.bounds.crown.coefficients import Coefficients, DenseCoefficients, Size, WindowCoefficients
from harden.bounds.rules.pointwise_bounds import Interval
from harden.graph.operators.pooling import MaxPool

Frame = tuple[Size, Size, Size]


@final
@dataclass(frozen=True, slots=True, eq=False)
class MaximumBounds:
    """Linear bounds of the maxima: the input that bounds each window from below, and the bound above.

    Args:
        places: (N, C, windows) of the input with the largest lower bound, among all of its channel.
        certain: (N, C, windows), whether no other of the window can be larger.
        most: (N, C, windows), the largest upper bound.
        size: (C, *image) of the input.
        pooled: (C, *image) of the maxima.
        frame: strides, pads and reaches of the windows of an image; None in one or three dimensions.
    """

    places: Tensor
    certain: Tensor
    most: Tensor
    size: Size
    pooled: Size
    frame: Frame | None

    def carried_back(self, coefficients: Coefficients, image: Tensor) -> tuple[Coefficients, Tensor]:
        """Coefficients of the maxima to those of the inputs, and what is added, (P,).

        Args:
            coefficients: of P lower bounds.
            image: (P,), which of the N images each bound is about.
        """
        if isinstance(coefficients, WindowCoefficients) and self.frame is not None:
            return self._in_window(coefficients, self.frame, image)
        found, added = self._in_whole(coefficients.whole().each, image)
        return DenseCoefficients(found), added

    def _in_window(
        self, window: WindowCoefficients, frame: Frame, image: Tensor
    ) -> tuple[WindowCoefficients, Tensor]:
        certain = window.seen(self._shaped(self.certain), image)
        most = window.seen(self._shaped(self.most), image)
        places = window.seen(self._shaped(self.places), image)
        below, above = window.each.clamp_min(0), window.each.clamp_max(0)
        added = (above * torch.where(certain, 0.0, most)).flatten(1).sum(1)
        row, column = (
            first * stride - begin
            for first, stride, begin in zip((window.row, window.column), *frame[:2], strict=True)
        )
        high, wide = (
            (size - 1) * stride + reach
            for size, stride, reach in zip(window.each.shape[2:], frame[0], frame[2], strict=True)
        )
        width = self.size[2]
        # Where the window leaves the map its coefficients are 0, and any place will do.
        down = (places // width - row[:, None, None, None]).clamp(0, high - 1)
        right = (places % width - column[:, None, None, None]).clamp(0, wide - 1)
        found = window.each.new_zeros(*window.each.shape[:2], high * wide)
        found.scatter_add_(2, (down * wide + right).flatten(2), (below + above * certain).flatten(2))
        each = found.reshape(*found.shape[:2], high, wide)
        return WindowCoefficients(each, row, column, self.size), added

    def _shaped(self, values: Tensor) -> Tensor:
        return values.reshape(len(values), *self.pooled)

    def _in_whole(self, coefficients: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        flat = coefficients.flatten(2)
        below, above, certain = flat.clamp_min(0), flat.clamp_max(0), self.certain[image]
        added = (above * torch.where(certain, 0.0, self.most[image])).sum((1, 2))
        channels, *sides = self.size
        found = flat.new_zeros(len(flat), channels, math.prod(sides))
        found = found.scatter_add(2, self.places[image].expand_as(flat), below + above * certain)
        return found.reshape(len(flat), *self.size), added


@final
@dataclass(frozen=True, slots=True, eq=False)
class Pooling:
    """max over the inputs of each window; nothing is rounded.

    Args:
        windows: (windows, places in one), positions in a channel's image; -1 where padding lies.
        size_in: (C, *image) of the input.
        size: (C, *image) of the output.
        frame: see `MaximumBounds`.
    """

    windows: Tensor
    size_in: Size
    size: Size
    frame: Frame | None

    @classmethod
    def of(cls, operation: MaxPool, size_in: Size, size: Size, like: Tensor) -> Pooling:
        """The windows of an operation on images of a size."""
        image, axes = size_in[1:], len(operation.kernel)
        numbers = torch.arange(math.prod(image), device=like.device).reshape(1, 1, *image)
        begins = operation.pads[:axes]
        ends = [
            max((out - 1) * stride + dilation * (kernel - 1) + 1 - whole - begin, 0)
            for out, stride, dilation, kernel, whole, begin in zip(
                size[1:], operation.strides, operation.dilations, operation.kernel, image, begins, strict=True
            )
        ]
        pads = [number for pair in zip(reversed(begins), reversed(ends), strict=True) for number in pair]
        numbers = functional.pad(numbers, pads, value=-1)[0, 0]
        for axis, (kernel, stride, dilation) in enumerate(
            zip(operation.kernel, operation.strides, operation.dilations, strict=True)
        ):
            # The window's places along this axis go to the end, every dilation-th of them.
            numbers = numbers.unfold(axis, dilation * (kernel - 1) + 1, stride)[..., ::dilation]
            numbers = numbers[(slice(None),) * axis + (slice(0, size[1 + axis]),)]
        reach = tuple(
            dilation * (kernel - 1) + 1
            for kernel, dilation in zip(operation.kernel, operation.dilations, strict=True)
        )
        frame = (operation.strides, begins, reach) if axes == 2 else None
        return cls(numbers.reshape(math.prod(size[1:]), -1), size_in, size, frame)

    def interval(self, lower: Tensor, upper: Tensor) -> Interval:
        """The maxima of both."""
        shape = (len(lower), *self.size)
        return self._seen(lower).amax(3).reshape(shape), self._seen(upper).amax(3).reshape(shape)

    def winners(self, lower: Tensor, upper: Tensor) -> MaximumBounds:
        """Linear bounds over a box."""
        low, high = self._seen(lower), self._seen(upper)
        # Of those whose lower bound is the largest (often 0, after a ReLU) the one that reaches furthest.
        tied = torch.where(low == low.amax(3, keepdim=True), high, -math.inf)
        best = tied.argmax(3, keepdim=True)
        others = high.scatter(3, best, -math.inf).amax(3)
        certain = low.gather(3, best)[..., 0] >= others
        places = self.windows.expand(*low.shape).gather(3, best)[..., 0]
        return MaximumBounds(places, certain, high.amax(3), self.size_in, self.size, self.frame)

    def _seen(self, x: Tensor) -> Tensor:
        """(N, C, windows, places in one); padding is minus infinity."""
        seen = x.flatten(2)[:, :, self.windows.clamp_min(0)]
        return torch.where(self.windows >= 0, seen, -math.inf)
