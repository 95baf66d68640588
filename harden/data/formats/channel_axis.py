"""Where the channels of an array of images are: told by its shape where that is clear, or by the user."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from harden.errors import InputError

_COMMON = (1, 3)  # channels of nearly all images


class Layout(Enum):
    """The order of the axes of an array of images (N, ., ., .)."""

    LAST = "NHWC"
    FIRST = "NCHW"


def layout_named(value: object, name: str) -> Layout | None:
    """Read what a user writes as layout: NHWC or NCHW in any case, also as an array of one string.

    Raises:
        InputError: it is neither.
    """
    if value is None:
        return None
    item = getattr(value, "item", None)
    text = item() if callable(item) and getattr(value, "size", 0) == 1 else value
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    found = [one for one in Layout if isinstance(text, str) and text.upper() == one.value]
    if not found:
        raise InputError(f"{name}: layout {value!r}", "NHWC or NCHW", 'write layout="NHWC" or layout="NCHW"')
    return found[0]


def likely_layout(shape: Sequence[int]) -> Layout | None:
    """Tell the layout of one image (., ., .) from its axes; None where both can be meant.

    Channels in number 1 or 3 on one side alone decide; then a square of the other two axes; then an axis
    that is smaller than both others.
    """
    first, middle, last = shape
    if (first in _COMMON) != (last in _COMMON):
        return Layout.FIRST if first in _COMMON else Layout.LAST
    if (first == middle) != (middle == last):
        return Layout.LAST if first == middle else Layout.FIRST
    if last < min(first, middle):
        return Layout.LAST
    if first < min(middle, last):
        return Layout.FIRST
    return None


def check_channels_last(shape: Sequence[int], name: str, named: Layout | None = None) -> bool:
    """Whether channels are last in an array (N, ., ., .); where nothing is named they have to be.

    Raises:
        InputError: they seem to be first, or it can't be told.
    """
    if named is not None:
        return named is Layout.LAST
    found = likely_layout(shape[1:])
    if found is Layout.FIRST:
        raise InputError(
            f"{name} of shape {tuple(shape)}, which looks like (N, C, H, W)",
            "(N, H, W, C) in numpy arrays",
            "write x.transpose(0, 2, 3, 1)"
            + ("" if shape[1] in _COMMON else ', or store layout="NHWC" beside the arrays if it is that'),
        )
    if found is None:
        raise InputError(
            f"{name} of shape {tuple(shape)}, which may be (N, H, W, C) or (N, C, H, W)",
            "an order of axes that can be told",
            'store layout="NHWC" or "NCHW" beside the arrays, or pass a tensor, which is (N, C, H, W)',
        )
    return True
