"""The check at the boundary: images are float tensors with pixels in [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor

from harden.errors import InputError

TOLERANCE = 1e-4  # resizing and colour conversion overshoot by rounding; normalised input overshoots by far


def check_pixels(x: Tensor) -> None:
    """Check that x is a batch of images (N, C, H, W) with finite pixels in [0, 1], up to rounding.

    Raises:
        InputError: it is not; the message names min, max and the likely cause.
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
    """Say what a user most likely has to change, from the pixels' range."""
    if not (low > -float("inf") and high < float("inf")):
        return "look for NaN or infinity in the data"
    if low >= 0:
        return "divide by 255" if high <= 255 + TOLERANCE else "divide by the largest value, such as 65535"
    if low >= -1 - TOLERANCE and high <= 1 + TOLERANCE:
        return "write (x + 1) / 2 and give mean=(0.5,), std=(0.5,) to Classifier"
    return "drop the normalisation from the transform and give its mean and std to Classifier"
