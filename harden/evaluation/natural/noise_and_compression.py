"""Noise, contrast, brightness and compression: corruptions of pixels, with the constants of CIFAR-C.

Constants: Hendrycks and Dietterich, 1903.12261, as in their program for images of 32 x 32 pixels.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from harden.draws import Draws

_HALF_STEP = 2.0**-25  # uniform draws are multiples of 2^-24, 0 among them
_SIDE = 32
Plane = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


def length_scale(x: Tensor) -> float:
    """The factor of lengths in pixels: sqrt(min(H, W) / 32), at least 1.

    Between a length that is constant (of a point's blur) and one that grows with the image: at 224
    pixels a Gaussian blur of CIFAR-C's 0.4 to 1 becomes one of 1.06 to 2.65, where ImageNet-C has 1 to 6.
    """
    return float(max(1.0, min(x.shape[2:]) / _SIDE) ** 0.5)


@final
@dataclass(frozen=True, slots=True)
class GaussianNoise:
    """x + c n with n ~ N(0, 1) for each pixel and channel: electronic noise.

    Args:
        levels: c for severities 1 to 5, a standard deviation in pixel units.
        name: under which it is reported.
    """

    levels: tuple[float, ...] = (0.04, 0.06, 0.08, 0.09, 0.10)
    name: str = "gaussian noise"

    def __call__(self, x: Tensor, severity: int, draws: Draws) -> Tensor:
        """Images (N, C, H, W) with noise; the same noise at every severity, times another c."""
        return x + self.levels[severity - 1] * draws.normal(tuple(x.shape[1:]))


@final
@dataclass(frozen=True, slots=True)
class ShotNoise:
    """k / c with k ~ Poisson(c x) for each pixel and channel, x rounded to 8 bits: counted photons.

    Args:
        levels: c for severities 1 to 5, photons in a white pixel.
        name: under which it is reported.
    """

    levels: tuple[float, ...] = (500.0, 250.0, 100.0, 75.0, 50.0)
    name: str = "shot noise"

    def __call__(self, x: Tensor, severity: int, draws: Draws) -> Tensor:
        """Images (N, C, H, W) of counted photons."""
        photons = self.levels[severity - 1]
        u = draws.uniform(tuple(x.shape[1:])).double() + _HALF_STEP
        return (poisson(u, x, photons) / photons).float()


@final
@dataclass(frozen=True, slots=True)
class Contrast:
    """c (x - m) + m, m the image's mean in each channel.

    Args:
        levels: c for severities 1 to 5.
        name: under which it is reported.
    """

    levels: tuple[float, ...] = (0.75, 0.5, 0.4, 0.3, 0.15)
    name: str = "contrast"

    def __call__(self, x: Tensor, severity: int, draws: Draws) -> Tensor:
        """Images (N, C, H, W) with less contrast."""
        # In float64: its last bits, which may depend on the batch, are rounded off.
        mean = x.double().mean((2, 3), keepdim=True).float()
        return (x - mean) * self.levels[severity - 1] + mean


@final
@dataclass(frozen=True, slots=True)
class Brightness:
    """v + c, up to 1, for the value v = max over channels, with hue and saturation as they are.

    In closed form x (min(v + c, 1) / v), since with hue and saturation fixed a colour is a multiple of its
    value; black becomes grey. Of one channel it is x + c.

    Args:
        levels: c for severities 1 to 5, in pixel units.
        name: under which it is reported.
    """

    levels: tuple[float, ...] = (0.05, 0.1, 0.15, 0.2, 0.3)
    name: str = "brightness"

    def __call__(self, x: Tensor, severity: int, draws: Draws) -> Tensor:
        """Images (N, C, H, W) that are brighter."""
        value = x.amax(1, keepdim=True)
        brighter = (value + self.levels[severity - 1]).clamp(max=1.0)
        return torch.where(value > 0, x / value.clamp(min=2.0**-126) * brighter, brighter)


@final
@dataclass(frozen=True, slots=True)
class Jpeg:
    """JPEG at a quality, through Pillow: 8 bits, grey or RGB; other channels each as a grey image.

    Its last digit depends on the version of the JPEG library that Pillow was built with.

    Args:
        levels: the quality for severities 1 to 5, in 1..95.
        name: under which it is reported.
    """

    levels: tuple[int, ...] = (80, 65, 58, 50, 40)
    name: str = "jpeg"

    def __call__(self, x: Tensor, severity: int, draws: Draws) -> Tensor:
        """Images (N, C, H, W) after compression."""
        pixels = (x * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        if x.shape[1] != 3:
            planes = [
                np.stack([self._compressed(plane, severity) for plane in np.moveaxis(image, 2, 0)])
                for image in pixels
            ]
        else:
            planes = [np.moveaxis(self._compressed(image, severity), 2, 0) for image in pixels]
        return torch.from_numpy(np.stack(planes)).to(x.device).float() / 255

    def _compressed(self, image: Plane, severity: int) -> Plane:
        file = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(image)).save(file, "JPEG", quality=self.levels[severity - 1])
        return np.asarray(Image.open(file, formats=("JPEG",)))


@final
@dataclass(frozen=True, slots=True)
class Pixelate:
    """Down to a share c of each side and up again, both by Pillow's box filter.

    Args:
        levels: c for severities 1 to 5, in (0, 1]; divided by `length_scale` for images above 32 pixels.
        name: under which it is reported.
    """

    levels: tuple[float, ...] = (0.95, 0.9, 0.85, 0.75, 0.65)
    name: str = "pixelate"

    def __call__(self, x: Tensor, severity: int, draws: Draws) -> Tensor:
        """Images (N, C, H, W) of larger pixels."""
        share = self.levels[severity - 1] / length_scale(x)
        height, width = x.shape[2:]
        small = max(int(width * share), 1), max(int(height * share), 1)
        box = Image.Resampling.BOX
        planes = [
            np.asarray(Image.fromarray(plane).resize(small, box).resize((width, height), box))
            for plane in x.flatten(0, 1).cpu().numpy()
        ]
        found: Tensor = torch.from_numpy(np.stack(planes)).to(x.device)
        return found.view(x.shape)


def poisson(u: Tensor, x: Tensor, photons: float) -> Tensor:
    """The smallest k with P(Poisson(photons x) <= k) >= u for u in (0, 1), x of 8 bits: float64, as u.

    Exact up to the rounding of the incomplete gamma function: all 256 distributions are in one table, row l
    shifted by l, and one search finds row and k together.
    """
    table = _cumulative(photons).to(x.device)
    level = (x * 255).round().long()
    found = torch.searchsorted(table.flatten(), u + level)
    return (found - level * table.shape[1]).double()


@lru_cache(maxsize=8)
def _cumulative(photons: float) -> Tensor:
    """The table l + P(Poisson(photons l / 255) <= k), l = 0..255, k while a draw may need it: (256, K)."""
    level = torch.arange(256, dtype=torch.float64).unsqueeze(1)
    k = torch.arange(int(photons + 8 * photons**0.5) + 20, dtype=torch.float64)
    mean = (level * photons / 255).expand(-1, len(k))
    table: Tensor = level + torch.special.gammaincc(k.expand_as(mean) + 1, mean)
    return table
