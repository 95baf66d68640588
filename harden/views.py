"""Augmented copies of a batch, computed on its device with one draw per image.

Everything here is differentiable with respect to the images, so attacks can differentiate through views.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, final

import torch
from torch import Tensor
from torch.nn import functional

from harden.errors import InputError

_Range = tuple[float, float]

# One column of uniform numbers for each decision, drawn whether or not it is used: switching one option on
# leaves the draws of all others as they were.
_DECISIONS = (
    *("area", "ratio", "left", "top", "flip", "shift_x", "shift_y", "angle", "jitter", "brightness"),
    *("contrast", "saturation", "hue", "gray", "blurred", "sigma", "erase", "erase_area", "erase_ratio"),
    *("erase_left", "erase_top"),
)
_PROBABILITIES = ("flip", "jitter", "grayscale", "blurred", "erase")
_RANGES = {"crop": 1.0, "ratio": math.inf, "blur": math.inf, "erase_area": 1.0}
_LIMITS = {"shift": math.inf, "rotate": 180.0, "brightness": math.inf, "contrast": math.inf}
_LIMITS |= {"saturation": math.inf, "hue": 0.5, "noise": math.inf}


class View(Protocol):
    """What augments images (N, C, H, W) in [0, 1]: to images of the same shape, one draw per image."""

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Draw from the generator alone."""
        ...


@final
@dataclass(frozen=True, slots=True)
class Views:
    """Make a view of each image of a batch; by default nothing changes.

    In this order: geometry (crop, flip, shift, rotation in one resampling), colour (brightness, contrast,
    saturation, hue), grey, blur, noise, erasure. Each image has draws of its own. Saturation, hue and grey
    apply to images of three channels only; U(a, b) is the uniform distribution.

    Args:
        crop: share of the area that a random window keeps, U(low, high); the window is then scaled to the
            image's size. None for no crop.
        ratio: width / height of the window against the image's own, log-uniform between these two, narrowed
            to windows that fit, so that the area is distributed as `crop` says.
        flip: probability of a horizontal flip.
        shift: whole pixels in each direction, uniform on -shift..shift; what comes in is 0.
        rotate: degrees about the centre, U(-rotate, rotate); what comes in is 0.
        jitter: probability that an image's colours change at all.
        brightness: factor on pixels, U(max(0, 1 - b), 1 + b).
        contrast: factor on the distance from the image's mean grey, U(max(0, 1 - c), 1 + c).
        saturation: factor on the distance from each pixel's grey, U(max(0, 1 - s), 1 + s).
        hue: turns of the colour circle, U(-hue, hue), hue <= 0.5.
        grayscale: probability that an image loses its colour.
        blur: deviation of a Gaussian in pixels, U(low, high); None for no blur.
        blurred: probability of that blur.
        noise: deviation of Gaussian noise on each pixel value, in units of [0, 1].
        erase: probability that a rectangle becomes 0.
        erase_area: its share of the area, U(low, high).

    Raises:
        InputError: a probability outside [0, 1], a range that does not ascend, a number out of its limits.
    """

    crop: _Range | None = None
    ratio: _Range = (3 / 4, 4 / 3)
    flip: float = 0.0
    shift: int = 0
    rotate: float = 0.0
    jitter: float = 1.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    grayscale: float = 0.0
    blur: _Range | None = None
    blurred: float = 0.5
    noise: float = 0.0
    erase: float = 0.0
    erase_area: _Range = (0.02, 0.2)

    def __post_init__(self) -> None:
        for name, highest in _RANGES.items():
            value = getattr(self, name)
            if value is not None:
                # JSON knows lists only; a value read back is to equal the one that was written.
                value = tuple(value) if isinstance(value, tuple | list) else (value,)
                object.__setattr__(self, name, value)
                if len(value) != 2 or not 0.0 < value[0] <= value[1] <= highest:
                    raise InputError(
                        f"{name} = {value}", f"(low, high) with 0 < low <= high <= {highest}", "order the two"
                    )
        for name, highest in {**dict.fromkeys(_PROBABILITIES, 1.0), **_LIMITS}.items():
            if not 0.0 <= getattr(self, name) <= highest:
                raise InputError(
                    f"{name} = {getattr(self, name)}", f"0 <= {name} <= {highest}", "write 0 to switch it off"
                )
        if self.shift != int(self.shift):
            raise InputError(f"shift = {self.shift}", "whole pixels", f"write {round(self.shift)}")

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Give one view of each image.

        Args:
            x: images in [0, 1], float32 (N, C, H, W), on any device.
            generator: where all draws come from, on any device (best that of x); no other state is used.

        Returns:
            A new tensor like x, in [0, 1]. With everything off its values are those of x, bit for bit.

        Raises:
            InputError: x is not float32 with four axes.
        """
        if x.ndim != 4 or x.dtype != torch.float32:
            raise InputError(
                f"views of {x.dtype} of shape {tuple(x.shape)}", "float32 (N, C, H, W)", "write x.float()"
            )
        table = torch.rand((len(x), len(_DECISIONS)), generator=generator, device=generator.device)
        if x.numel() == 0:
            return x.clone()
        draws = dict(zip(_DECISIONS, table.to(x.device).unbind(1), strict=True))
        view = self._coloured(self._placed(x, draws), draws)
        if self.noise:
            normal = torch.randn(x.shape, generator=generator, device=generator.device)
            view = (view + self.noise * normal.to(x.device)).clamp(0.0, 1.0)
        if self.erase:
            view = view * ~self._erased(x, draws)
        return x.clone() if view is x else view.contiguous()

    def _placed(self, x: Tensor, u: dict[str, Tensor]) -> Tensor:
        mirrored = u["flip"] < self.flip
        right = (u["shift_x"] * (2 * self.shift + 1)).floor() - self.shift
        down = (u["shift_y"] * (2 * self.shift + 1)).floor() - self.shift
        if self.crop is None and not self.rotate:
            # No resampling: pixels move whole and keep their values exactly.
            return _moved(x, mirrored, right.long(), down.long()) if self.flip or self.shift else x
        height, width = x.shape[2:]
        left = top = torch.zeros_like(right)
        wide, high = torch.full_like(right, width), torch.full_like(right, height)
        if self.crop is not None:
            left, top, wide, high = _window(
                (height, width), self.crop, self.ratio, (u["area"], u["ratio"], u["left"], u["top"])
            )
        angle = math.radians(self.rotate) * (2 * u["angle"] - 1)
        # From the view's coordinates in [-1, 1] back to those of x: flip, window, shift, then turn.
        scale = torch.stack([wide / width * (1 - 2 * mirrored.float()), high / height], 1)
        centre = torch.stack(
            [(2 * left + wide - 2 * right) / width - 1, (2 * top + high - 2 * down) / height - 1], 1
        )
        sine, cosine, aspect = angle.sin(), angle.cos(), width / height
        turn = torch.stack([cosine, -sine / aspect, sine * aspect, cosine], 1).view(-1, 2, 2)
        theta = torch.cat([turn * scale[:, None, :], turn @ centre[:, :, None]], 2)
        grid = functional.affine_grid(theta, list(x.shape), align_corners=False)
        # A window inside the image must not mix in the zeros around it at its rim.
        outside = "zeros" if self.rotate or self.shift else "border"
        resampled = functional.grid_sample(x, grid, padding_mode=outside, align_corners=False)
        return resampled.clamp(0.0, 1.0)

    def _coloured(self, x: Tensor, u: dict[str, Tensor]) -> Tensor:
        y, colour = x, x.shape[1] == 3
        if self.brightness:
            y = _blend(y, torch.zeros_like(y), _factor(self.brightness, u["brightness"]))
        if self.contrast:
            mean = (_grey(y) if colour else y).mean((1, 2, 3), keepdim=True)
            y = _blend(y, mean, _factor(self.contrast, u["contrast"]))
        if self.saturation and colour:
            y = _blend(y, _grey(y), _factor(self.saturation, u["saturation"]))
        if self.hue and colour:
            y = _hue_turned(y, self.hue * (2 * u["hue"] - 1))
        if y is not x and self.jitter < 1.0:
            y = torch.where(_each(u["jitter"] < self.jitter), y, x)
        if self.grayscale and colour:
            y = torch.where(_each(u["gray"] < self.grayscale), _grey(y), y)
        if self.blur is not None:
            sigma = self.blur[0] + (self.blur[1] - self.blur[0]) * u["sigma"]
            y = torch.where(_each(u["blurred"] < self.blurred), _blurred(y, sigma, self.blur[1]), y)
        return y

    def _erased(self, x: Tensor, u: dict[str, Tensor]) -> Tensor:
        height, width = x.shape[2:]
        drawn = (u["erase_area"], u["erase_ratio"], u["erase_left"], u["erase_top"])
        left, top, wide, high = (
            edge[:, None] for edge in _window((height, width), self.erase_area, (0.3, 3.3), drawn)
        )
        column, row = (torch.arange(size, device=x.device) + 0.5 for size in (width, height))
        across = (column >= left) & (column < left + wide)
        along = (row >= top) & (row < top + high)
        return (along[:, None, :, None] & across[:, None, None, :]) & _each(u["erase"] < self.erase)


def _each(per_image: Tensor) -> Tensor:
    return per_image[:, None, None, None]


def _window(
    size: tuple[int, int], area: _Range, ratio: _Range, u: tuple[Tensor, Tensor, Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw windows (left, top, width, height) in pixels, each (N,), inside an image of size (H, W).

    A window of share a and aspect r (relative to the image's) spans sqrt(a r) of the width and sqrt(a / r) of
    the height; it fits for r in [a, 1/a], to which the range of r is narrowed instead of rejecting draws.
    """
    share = area[0] + (area[1] - area[0]) * u[0]
    fits = -share.log()
    low, high = (math.log(end) * torch.ones_like(fits) for end in ratio)
    low, high = low.clamp(-fits, fits), high.clamp(-fits, fits)
    half = (low + (high - low) * u[1]) / 2
    high_share, wide_share = (share.sqrt() * (sign * half).exp() for sign in (-1, 1))
    height, width = size[0] * high_share.clamp(max=1.0), size[1] * wide_share.clamp(max=1.0)
    return (size[1] - width) * u[2], (size[0] - height) * u[3], width, height


def _moved(x: Tensor, mirrored: Tensor, right: Tensor, down: Tensor) -> Tensor:
    """Mirror image i where mirrored[i], then move it by right[i] and down[i] whole pixels; zeros come in."""
    height, width = x.shape[2:]
    row = torch.arange(height, device=x.device) - down[:, None]
    column = torch.arange(width, device=x.device) - right[:, None]
    inside = ((row >= 0) & (row < height))[:, :, None] & ((column >= 0) & (column < width))[:, None, :]
    column = torch.where(mirrored[:, None], width - 1 - column, column).clamp(0, width - 1)
    place = row.clamp(0, height - 1)[:, :, None] * width + column[:, None, :]
    pixels = x.flatten(2).gather(2, place.flatten(1)[:, None].expand(-1, x.shape[1], -1)).view_as(x)
    return torch.where(inside[:, None], pixels, 0.0)


def _factor(strength: float, u: Tensor) -> Tensor:
    low = max(0.0, 1.0 - strength)
    return low + (1.0 + strength - low) * u


def _blend(x: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    return (_each(factor) * x + (1.0 - _each(factor)) * other).clamp(0.0, 1.0)


def _grey(x: Tensor) -> Tensor:
    """Give the luma of ITU-R BT.601 on three equal channels."""
    weights = torch.tensor([0.2989, 0.587, 0.114], device=x.device)[None, :, None, None]
    return (x * weights).sum(1, keepdim=True).expand_as(x)


def _hue_turned(x: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue of image i by turns[i] at constant value and saturation (HSV), in closed form.

    With V = max, c = max - min and h the hue in sixths, channel k of (R, G, B) is
    V - c clamp(min(t, 4 - t), 0, 1), where t = (n_k + h) mod 6 and n = (5, 3, 1).
    """
    red, green, blue = x.unbind(1)
    value, least = x.amax(1), x.amin(1)
    chroma = value - least
    safe = torch.where(
        chroma == 0, torch.ones_like(chroma), chroma
    )  # grey has no hue, and no gradient of one
    sixths = torch.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4)
    sixths = torch.where(value == red, (green - blue) / safe, sixths) + 6 * turns[:, None, None]
    t = (sixths[:, None] + torch.tensor([5.0, 3.0, 1.0], device=x.device)[None, :, None, None]) % 6
    turned = value[:, None] - chroma[:, None] * torch.minimum(t, 4 - t).clamp(0.0, 1.0)
    return turned.clamp(0.0, 1.0)


def _blurred(x: Tensor, sigma: Tensor, most: float) -> Tensor:
    """Convolve image i with a Gaussian of deviation sigma[i] <= most, cut at 3 most, mirrored at the rim."""
    for axis in (2, 3):
        radius = min(math.ceil(3 * most), x.shape[axis] - 1)
        offset = torch.arange(-radius, radius + 1, device=x.device)
        weight = (-0.5 * (offset / sigma[:, None]).square()).softmax(1)
        pad = (0, 0, radius, radius) if axis == 2 else (radius, radius, 0, 0)
        padded, size = functional.pad(x, pad, mode="reflect"), x.shape[axis]
        taps = range(2 * radius + 1)
        x = sum((_each(weight[:, tap]) * padded.narrow(axis, tap, size) for tap in taps), torch.zeros_like(x))
    return x.clamp(0.0, 1.0)


DIGITS = Views(crop=(0.7, 1.0), shift=1, rotate=15.0, noise=0.05, erase=0.25, erase_area=(0.02, 0.1))
"""For small drawn signs on black: position and slant vary, left and right do not."""

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
"""For contrastive pretraining on photographs, as SimCLR on CIFAR-10 (Chen et al. 2020, arXiv 2002.05709)."""

MEDICAL = Views(crop=(0.7, 1.0), rotate=10.0, brightness=0.2, contrast=0.2, noise=0.02)
"""For images in which colour and laterality carry meaning: intensity varies, hue and sides do not."""

LIGHT = Views(flip=0.5, shift=4)
"""For adversarial fine-tuning on photographs of about 32 pixels: whole-pixel moves and flips only."""
