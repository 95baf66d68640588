"""Padding as ONNX writes it: all begins, then all ends, from the first spatial dimension on."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

Sizes = tuple[int, ...]


def split(pads: Sizes) -> tuple[Sizes, Sizes]:
    """Begins and ends."""
    half = len(pads) // 2
    return pads[:half], pads[half:]


def padded(x: Tensor, pads: Sizes, value: float) -> tuple[Tensor, Sizes]:
    """The image and the symmetric padding that is left for the operation to do, 0 where this has padded."""
    begins, ends = split(pads)
    if begins == ends and value == 0:
        return x, begins
    return functional.pad(x, as_torch_has_them(pads), value=value), (0,) * len(begins)


def rounded_up(image: Sizes, kernel: Sizes, strides: Sizes, pads: Sizes, dilations: Sizes) -> Sizes:
    """Pads with which the windows that fit are those of `ceil_mode`: none begins in the padding at the end.

    An end is negative where the last window does not reach the end of the image.
    """
    begins, ends = split(pads)
    exact = []
    for size, width, stride, begin, end, dilation in zip(
        image, kernel, strides, begins, ends, dilations, strict=True
    ):
        reach = dilation * (width - 1) + 1
        last = -(-(size + begin + end - reach) // stride)
        if last * stride >= size + begin:
            last -= 1
        exact.append(last * stride + reach - size - begin)
    return (*begins, *exact)


def as_torch_has_them(pads: Sizes) -> list[int]:
    """Begin and end of the last dimension, then of the one before."""
    begins, ends = split(pads)
    return [
        size for begin, end in zip(reversed(begins), reversed(ends), strict=True) for size in (begin, end)
    ]
