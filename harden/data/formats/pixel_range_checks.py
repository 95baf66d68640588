"""Checks of the range of stored pixels, since eps is a share of that range."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harden.errors import InputError

_log = logging.getLogger("harden")

# Up to these values the maximum of a set is taken for the end of another scale, not for dark images.
_SMALL = {torch.uint8: 63, torch.uint16: 16_383}


def extent(parts: Iterable[Tensor]) -> tuple[float, float]:
    """Return the smallest and the largest stored pixel of some sets of images."""
    ends = [(float(x.min()), float(x.max())) for x in (part.detach().cpu().numpy() for part in parts)]
    return min(low for low, _ in ends), max(high for _, high in ends)


def check_extent(x: Tensor, low: float, high: float, name: str) -> None:
    """Check the range of all pixels of a set of the type of x.

    A warning is logged where they use a small part of their type's range, as 12-bit scans in uint16 do.

    Raises:
        InputError: the range is certainly another one: 0 and 1 in integers, 0 to 1/255 in float32.
    """
    if high <= 0:
        return
    kind = str(x.dtype).removeprefix("torch.")
    seen = f"{name}: {kind} pixels from {low:.4g} to {high:.4g}"
    if not x.dtype.is_floating_point and high == 1:
        raise InputError(
            f"{seen}, nothing but 0 and 1",
            f"0 to {np.iinfo(kind).max}, or float32 in [0, 1]",
            "write x.astype('float32') (x.float() for a tensor): 0 and 1 stay black and white",
        )
    if x.dtype == torch.float32 and high <= 1 / 255 + 1e-9:
        raise InputError(seen, "pixels in [0, 1]", "remove the second division by 255")
    if high <= _SMALL.get(x.dtype, 0.25):
        floats = x.dtype.is_floating_point
        whole = "1" if floats else f"{np.iinfo(kind).max}"
        top = f"{high:.4g}" if floats else f"{2 ** int(high).bit_length() - 1}"
        _log.warning("%s: eps is a share of %s; if white is %s, pass float32 x / %s", seen, whole, top, top)


def conversion_advice(array: NDArray[Any]) -> str:
    """Return an instruction that converts an array to a type that holds pixels, chosen by its values."""
    kind = array.dtype.kind
    if kind == "b":
        return "write x.astype('float32'): False is black, True white"
    if kind not in "iuf" or not array.size:
        return "write x.astype('uint8') for pixels in 0..255"
    low, high = float(array.min()), float(array.max())
    if kind == "f":
        unit = low >= 0 and high <= 1
        how = "" if unit else " and bring them to [0, 1]"
        return f"write x.astype('float32'){how}" + ("" if high <= 1 or high > 255 else ": divide by 255")
    if low < 0:
        return f"pixels are from {low:.0f} to {high:.0f}: shift and scale them to float32 in [0, 1]"
    if high <= 1:
        return "write x.astype('float32') for 0 and 1"
    if high <= 255:
        return "write x.astype('uint8') for pixels in 0..255"
    if high <= 65535:
        return "write x.astype('uint16') for pixels in 0..65535"
    return "scale them to float32 in [0, 1] by the range of your sensor"
