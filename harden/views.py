"""Augmented copies of a batch, computed on its device with one draw per image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor


@final
@dataclass(frozen=True, slots=True)
class Views:
    """Make a view of every image of a batch: views(x (N, C, H, W), generator) -> the same shape, in [0, 1].

    Everything is off by default.
    """

    crop: tuple[float, float] | None = None
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.0
    shift: int = 0
    rotate: float = 0.0
    jitter: float = 1.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    grayscale: float = 0.0
    blur: tuple[float, float] | None = None
    blurred: float = 0.5
    noise: float = 0.0
    erase: float = 0.0
    erase_area: tuple[float, float] = (0.02, 0.2)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Give one view of each image of x, float32 (N, C, H, W) in [0, 1]."""
        raise NotImplementedError


DIGITS = Views(crop=(0.7, 1.0), shift=1, rotate=15.0, noise=0.05, erase=0.25)
NATURAL = Views(
    crop=(0.2, 1.0),
    flip=0.5,
    jitter=0.8,
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue=0.1,
    grayscale=0.2,
)
MEDICAL = Views(crop=(0.7, 1.0), flip=0.5, rotate=10.0, brightness=0.2, contrast=0.2, noise=0.02)
LIGHT = Views(flip=0.5, shift=4)
