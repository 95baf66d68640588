"""Check of images at the boundary: float tensors with pixels in [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor

from harden.errors import InputError

TOLERANCE = 1e-4  # resizing and colour conversion overshoot by rounding; normalised input overshoots by far
_OVERSHOOT = 0.5  # interpolation rings; whole numbers start at 2
_NORMALISED = 12.0  # no usual mean and deviation put a pixel further out


def check_pixels(x: Tensor) -> None:
    """Check that x is a batch of images (N, C, H, W) with finite pixels in [0, 1], up to rounding.

    Raises:
        InputError: x is invalid; the message names min, max and the likely cause.
    """
    if not isinstance(x, Tensor):
        seen = f"images as a {type(x).__name__}"
        raise InputError(seen, "a tensor (N, C, H, W)", "write torch.from_numpy(x) for an array")
    if x.dim() != 4:
        raise InputError(
            f"images of shape {tuple(x.shape)}", "a batch (N, C, H, W)", "write x.unsqueeze(0) for one"
        )
    if not x.is_floating_point():
        raise InputError(f"images of dtype {x.dtype}", "float pixels in [0, 1]", "write x.float() / 255")
    if x.numel() == 0:
        return
    low, high = (float(value) for value in torch.aminmax(x.detach()))
    if low >= -TOLERANCE and high <= 1 + TOLERANCE:  # False for NaN too
        return
    raise InputError(
        f"images with min {low:.4g} and max {high:.4g}", "pixels in [0, 1]", likely_fix(low, high)
    )


def likely_fix(low: float, high: float) -> str:
    """Return the most likely correction, from the pixels' smallest and largest value."""
    if not (low > -float("inf") and high < float("inf")):
        return "find the NaN or infinity in the data"
    if low >= -_OVERSHOOT and high <= 1 + _OVERSHOOT:
        return "resampling overshoots: write x.clamp(0, 1)"
    if low >= 0 and high <= 255:
        return "divide by 255 or pass uint8"
    if low >= 0 and high <= 65535:
        return "divide by 65535 or pass uint16"
    if low >= -1.001 and high <= 1.001:
        return "write (x + 1) / 2 and give mean=(0.5,), std=(0.5,) to Classifier"
    if low >= -_NORMALISED and high <= _NORMALISED:
        return "drop the normalisation from the transform and give its mean and std to Classifier"
    return "rescale to [0, 1] by the range of your sensor"
