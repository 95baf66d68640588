"""Images and draws for the tests of this folder."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from harden.draws import Draws


def pictures(n: int, channels: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Images with structure at several scales, pixels at 0 and 1 among them."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.zeros(n, channels, height, width)
    for size in (2, 5, 11):
        coarse = torch.rand(n, channels, size, size, generator=generator) - 0.5
        x += functional.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=True)
    return (x + 0.5).clamp(0, 1)


def draws(n: int, seed: int = 0) -> Draws:
    return Draws(seed, torch.arange(n))
