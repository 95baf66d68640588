"""Position of the channel axis in arrays of images, inferred from the shape or given by the user."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from harden.errors import InputError

_COMMON = (1, 3)  # channels of nearly all images


class ImageLayout(Enum):
    """The order of the axes of an array of images (N, ., ., .)."""

    LAST = "NHWC"
    FIRST = "NCHW"


def parse_layout(value: object, name: str) -> ImageLayout | None:
    """Parse a layout: NHWC or NCHW in any case, also as an array of one string.

    Raises:
        InputError: it is neither.
    """
    if value is None:
        return None
    item = getattr(value, "item", None)
    text = item() if callable(item) and getattr(value, "size", 0) == 1 else value
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    found = [one for one in ImageLayout if isinstance(text, str) and text.upper() == one.value]
    if not found:
        raise InputError(f"{name}: layout {value!r}", "NHWC or NCHW", 'write layout="NHWC" or layout="NCHW"')
    return found[0]


def likely_layout(shape: Sequence[int]) -> ImageLayout | None:
    """Infer the layout of one image (., ., .) from the sizes of its axes; None where both are possible.

    Criteria in this order: 1 or 3 channels at one end alone; two equal axes, taken as height and width; an
    end axis that is smaller than both others.
    """
    first, middle, last = shape
    if (first in _COMMON) != (last in _COMMON):
        return ImageLayout.FIRST if first in _COMMON else ImageLayout.LAST
    if (first == middle) != (middle == last):
        return ImageLayout.LAST if first == middle else ImageLayout.FIRST
    if last < min(first, middle):
        return ImageLayout.LAST
    if first < min(middle, last):
        return ImageLayout.FIRST
    return None


def check_channels_last(shape: Sequence[int], name: str, named: ImageLayout | None = None) -> bool:
    """Return whether channels are last in an array (N, ., ., .), as is required where no layout is named.

    Raises:
        InputError: they seem to be first, or the layout is ambiguous.
    """
    if named is not None:
        return named is ImageLayout.LAST
    found = likely_layout(shape[1:])
    if found is ImageLayout.FIRST:
        raise InputError(
            f"{name} of shape {tuple(shape)}, probably (N, C, H, W)",
            "(N, H, W, C) in numpy arrays",
            "write x.transpose(0, 2, 3, 1)"
            + ("" if shape[1] in _COMMON else ', or store layout="NHWC" with the arrays if it is that'),
        )
    if found is None:
        raise InputError(
            f"{name} of shape {tuple(shape)}, which may be (N, H, W, C) or (N, C, H, W)",
            "an unambiguous order of axes",
            'store layout="NHWC" or "NCHW" with the arrays, or pass a tensor, which is (N, C, H, W)',
        )
    return True
