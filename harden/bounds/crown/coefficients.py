"""Coefficients of P linear bounds: of all of a value, or of the window of an image that each one reaches.

What one place of a feature map depends on is a window of the map before: far less than all of it. Carried
back through convolutions, windows stay windows (Xu et al., arXiv 2002.12920, call them patches).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

Size = tuple[int, ...]


@final
@dataclass(frozen=True, slots=True, eq=False)
class DenseCoefficients:
    """Coefficients of every element: `each` is (P, *size)."""

    each: Tensor

    def seen(self, values: Tensor, image: Tensor) -> Tensor:
        """Values (N, *size) as each bound's coefficients meet them, (P, *size); (1, *size) serves all."""
        return values if len(values) == 1 else values[image]

    def whole(self) -> DenseCoefficients:
        """Itself."""
        return self

    def with_(self, each: Tensor) -> DenseCoefficients:
        """Other coefficients in the same places."""
        return DenseCoefficients(each)


@final
@dataclass(frozen=True, slots=True, eq=False)
class WindowCoefficients:
    """Coefficients of a window of a map (C, H, W), 0 elsewhere.

    Args:
        each: (P, C, h, w); 0 where the window leaves the map.
        row: (P,) of the window's first row, below 0 where it begins outside.
        column: (P,), likewise.
        size: (C, H, W) of the map.
    """

    each: Tensor
    row: Tensor
    column: Tensor
    size: Size

    @classmethod
    def unit(cls, places: Tensor, size: Size, like: Tensor) -> WindowCoefficients:
        """A coefficient of 1 at each of P places, numbered through the map."""
        _, height, width = size
        each = like.new_zeros(len(places), size[0], 1, 1)
        each[torch.arange(len(places), device=places.device), places // (height * width)] = 1
        return cls(each, places % (height * width) // width, places % width, size)

    def seen(self, values: Tensor, image: Tensor) -> Tensor:
        """Values (N, C, H, W) where each window lies, (P, C, h, w); beyond the map, those at its edge."""
        if len(image) == 1 < len(values):
            values = values[image]
        count, (channels, height, width) = len(values), self.size
        rows, columns = self._places()
        at = rows.clamp(0, height - 1)[:, :, None] * width + columns.clamp(0, width - 1)[:, None, :]
        if count > 1:
            at = at + (image * (height * width))[:, None, None]
        flat = values.expand(count, *self.size).permute(0, 2, 3, 1).reshape(-1, channels)
        found = flat.index_select(0, at.flatten())
        return found.reshape(*at.shape, channels).permute(0, 3, 1, 2)

    def whole(self) -> DenseCoefficients:
        """The same as coefficients of the whole map."""
        channels, height, width = self.size
        rows, columns = self._places()
        outside = ((rows < 0) | (rows >= height))[:, :, None] | ((columns < 0) | (columns >= width))[:, None]
        at = rows[:, :, None] * width + columns[:, None, :]
        at = torch.where(outside, height * width, at).flatten(1)  # one place more, that is cut off
        found = self.each.new_zeros(len(self.each), channels, height * width + 1)
        found.scatter_(2, at[:, None].expand(-1, channels, -1), self.each.flatten(2))
        return DenseCoefficients(found[:, :, :-1].reshape(-1, *self.size))

    def with_(self, each: Tensor) -> WindowCoefficients:
        """Other coefficients in the same places."""
        return WindowCoefficients(each, self.row, self.column, self.size)

    def through(
        self, weight: Tensor, strides: Size, pads: Size, dilations: Size, group: int, size: Size
    ) -> WindowCoefficients:
        """Coefficients of a two-dimensional convolution's input, a map of `size`."""
        each = torch.conv_transpose2d(self.each, weight, None, strides, 0, 0, group, dilations)
        row, column = self.row * strides[0] - pads[0], self.column * strides[1] - pads[1]
        return WindowCoefficients(each, row, column, size)._within()

    def _within(self) -> WindowCoefficients:
        """The same without what meets padding."""
        _, height, width = self.size
        rows, columns = self._places()
        inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None]
        return self.with_(self.each * inside[:, None])

    def _places(self) -> tuple[Tensor, Tensor]:
        """Rows (P, h) and columns (P, w), some of them outside."""
        height, width = self.each.shape[2:]
        device = self.row.device
        rows = self.row[:, None] + torch.arange(height, device=device)
        return rows, self.column[:, None] + torch.arange(width, device=device)


Coefficients = DenseCoefficients | WindowCoefficients


def add_coefficients(one: Coefficients, other: Coefficients) -> Coefficients:
    """The sum of both, of two windows around the same places as the smallest window that holds both."""
    if isinstance(one, WindowCoefficients) and isinstance(other, WindowCoefficients) and len(one.row):
        row, column = int((one.row - other.row)[0]), int((one.column - other.column)[0])
        if bool((one.row - other.row == row).all()) and bool((one.column - other.column == column).all()):
            return _united(one, other, row, column)
    return DenseCoefficients(one.whole().each + other.whole().each)


def _united(one: WindowCoefficients, other: WindowCoefficients, row: int, column: int) -> WindowCoefficients:
    """Both in one frame; `one` begins so many rows and columns after `other`."""
    top, left = max(row, 0), max(column, 0)
    height = max(one.each.shape[2] + top, other.each.shape[2] + top - row)
    width = max(one.each.shape[3] + left, other.each.shape[3] + left - column)

    def framed(window: WindowCoefficients, above: int, before: int) -> Tensor:
        high, wide = window.each.shape[2:]
        return functional.pad(window.each, (before, width - wide - before, above, height - high - above))

    each = framed(one, top, left) + framed(other, top - row, left - column)
    return WindowCoefficients(each, one.row - top, one.column - left, one.size)


def per_image(values: Tensor) -> Tensor:
    """(N, ...) to (N, values of one), (N, 1) where there is no dimension but the batch's."""
    return values.flatten(1) if values.dim() > 1 else values[:, None]


def dot(one: Tensor, other: Tensor) -> Tensor:
    """Sums of products over all but the first dimension, (P,); an `other` of one row serves all."""
    if len(other) == 1:
        return per_image(one) @ other.flatten()
    return per_image(one * other).sum(1)
