"""Gaussian, defocus and motion blur, with the constants of CIFAR-C.

Each is a weighted sum of shifted images, added up in a fixed order: a convolution may choose another
algorithm for another batch, and other last bits with it. Edges are continued by their pixels.

Constants: Hendrycks and Dietterich, 1903.12261, as in their program for images of 32 x 32 pixels; radii and
standard deviations are multiplied by `length_scale`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from harden.draws import Draws
from harden.evaluation.natural.noise_and_compression import length_scale

_CUT = 4.0  # standard deviations at which a Gaussian ends
_ANGLE = math.pi / 4


@final
@dataclass(frozen=True, slots=True)
class GaussianBlur:
    """A Gaussian of standard deviation c.

    Args:
        levels: c for severities 1 to 5, in pixels of an image of 32.
        name: under which it is reported.
    """

    levels: tuple[float, ...] = (0.4, 0.6, 0.7, 0.8, 1.0)
    name: str = "gaussian blur"

    def __call__(self, x: Tensor, severity: int, draws: Draws) -> Tensor:
        """Images (N, C, H, W), blurred."""
        sigma = self.levels[severity - 1] * length_scale(x)
        line = gaussian(sigma, int(_CUT * sigma + 0.5))
        return filter_images(filter_images(x, line.unsqueeze(0)), line.unsqueeze(1))


@final
@dataclass(frozen=True, slots=True)
class DefocusBlur:
    """A disk of radius r, itself smoothed by a Gaussian of 3 x 3 pixels: a lens out of focus.

    Args:
        levels: (r, the Gaussian's standard deviation) for severities 1 to 5, in pixels of an image of 32; the
            second, against the disk's jagged edge, does not grow with the image.
        name: under which it is reported.
    """

    levels: tuple[tuple[float, float], ...] = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1))
    name: str = "defocus blur"

    def __call__(self, x: Tensor, severity: int, draws: Draws) -> Tensor:
        """Images (N, C, H, W), out of focus."""
        radius, smooth = self.levels[severity - 1]
        radius *= length_scale(x)
        line = gaussian(smooth, 1)
        reach = int(radius) + 1  # room for what the Gaussian adds
        across = torch.arange(-reach, reach + 1, dtype=torch.float64)
        disk = (across.square().unsqueeze(0) + across.square().unsqueeze(1) <= radius**2).double()
        disk = (disk / disk.sum()).view(1, 1, *disk.shape)
        kernel = functional.conv2d(disk, torch.outer(line, line).view(1, 1, 3, 3), padding=1)
        return filter_images(x, kernel[0, 0])


@final
@dataclass(frozen=True, slots=True)
class MotionBlur:
    """A trail of pixels i = 0..min(2 r, 4 s) with weights exp(-i^2 / (2 s^2)), at an angle of each image's.

    The angle is uniform in [-45, 45] degrees, the same at every severity; the trail goes to whole pixels.

    Args:
        levels: (r, s) for severities 1 to 5, in pixels of an image of 32.
        name: under which it is reported.
    """

    levels: tuple[tuple[float, float], ...] = ((6.0, 1.0), (6.0, 1.5), (6.0, 2.0), (8.0, 2.0), (9.0, 2.5))
    name: str = "motion blur"

    def __call__(self, x: Tensor, severity: int, draws: Draws) -> Tensor:
        """Images (N, C, H, W), blurred along their trails."""
        reach, sigma = (part * length_scale(x) for part in self.levels[severity - 1])
        steps = torch.arange(min(2 * math.ceil(reach), math.ceil(_CUT * sigma)) + 1, dtype=torch.float64)
        weights = torch.exp(-steps.square() / (2 * sigma**2))
        angle = ((draws.uniform(()).double() * 2 - 1) * _ANGLE).cpu().unsqueeze(1)
        down, right = ((steps * part - 0.5).ceil().long() for part in (angle.sin(), angle.cos()))
        trail = (weights / weights.sum()).tolist()
        found = [
            blur_along(image, trail, list(zip(*places, strict=True)))
            for image, *places in zip(x, down.tolist(), right.tolist(), strict=True)
        ]
        return torch.stack(found)


def gaussian(sigma: float, reach: int) -> Tensor:
    """Weights like exp(-i^2 / (2 sigma^2)), i = -reach..reach, of sum 1: float64 (2 reach + 1,)."""
    weights = torch.exp(-torch.arange(-reach, reach + 1, dtype=torch.float64).square() / (2 * sigma**2))
    return weights / weights.sum()


def filter_images(x: Tensor, kernel: Tensor) -> Tensor:
    """Each channel of images (N, C, H, W) with a kernel (2 a + 1, 2 b + 1), edges continued."""
    height, width = x.shape[2:]
    down, right = (size // 2 for size in kernel.shape)
    wide = functional.pad(x, (right, right, down, down), mode="replicate")
    found = torch.zeros_like(x)
    for row, line in enumerate(kernel.tolist()):
        for column, weight in enumerate(line):
            if weight:
                found += weight * wide[:, :, row : row + height, column : column + width]
    return found


def blur_along(image: Tensor, weights: list[float], places: list[tuple[int, int]]) -> Tensor:
    """The weighted sum of an image (C, H, W) shifted by each place (down, right)."""
    height, width = image.shape[1:]
    edge = max(max(abs(down), abs(right)) for down, right in places)
    wide = functional.pad(image.unsqueeze(0), (edge, edge, edge, edge), mode="replicate")[0]
    found = torch.zeros_like(image)
    for weight, (down, right) in zip(weights, places, strict=True):
        top, left = edge + down, edge + right
        found += weight * wide[:, top : top + height, left : left + width]
    return found
