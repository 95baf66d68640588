"""The check of pixels: each cause of wrong images has an instruction of its own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harden.check_pixels import TOLERANCE, check_pixels
from harden.errors import InputError

MEAN = torch.tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1)
STD = torch.tensor((0.229, 0.224, 0.225)).view(1, 3, 1, 1)


def _with(images: Tensor, value: float) -> Tensor:
    images = images.clone()
    images[3, 1, 2, 2] = value
    return images


@pytest.mark.parametrize(
    ("spoil", "seen", "instead"),
    [
        (lambda x: x * 255, "images with min 0 and max 255", "divide by 255 or pass uint8"),
        (
            lambda x: x * 65535,
            "images with min 0 and max 6.554e+04",
            "divide by 65535 or pass uint16",
        ),
        (
            lambda x: 2 * x - 1,
            "images with min -1 and max 1",
            "write (x + 1) / 2 and give mean=(0.5,), std=(0.5,) to Classifier",
        ),
        (
            lambda x: (x - MEAN) / STD,
            "images with min -2.118 and max 2.64",
            "drop the normalisation from the transform and give its mean and std to Classifier",
        ),
        (
            lambda x: _with(x, math.nan),
            "images with min nan and max nan",
            "find the NaN or infinity in the data",
        ),
        (
            lambda x: _with(x, math.inf),
            "images with min 0 and max inf",
            "find the NaN or infinity in the data",
        ),
        (
            lambda x: _with(x, -math.inf),
            "images with min -inf and max 1",
            "find the NaN or infinity in the data",
        ),
        (lambda x: (x * 255).to(torch.uint8), "images of dtype torch.uint8", "write x.float() / 255"),
        (lambda x: (x * 255).long(), "images of dtype torch.int64", "write x.float() / 255"),
        (lambda x: x[0], "images of shape (3, 8, 8)", "write x.unsqueeze(0) for one"),
        (lambda x: x.flatten(1), "images of shape (16, 192)", "write x.unsqueeze(0) for one"),
        (lambda x: x.numpy(), "images as a ndarray", "write torch.from_numpy(x) for an array"),
        (lambda x: x.tolist(), "images as a list", "write torch.from_numpy(x) for an array"),
    ],
)
def test_every_cause_has_its_instruction(spoil: Any, seen: str, instead: str, images: Tensor) -> None:
    images[0, :, 0, 0], images[0, :, 0, 1] = 0.0, 1.0
    check_pixels(images)
    with pytest.raises(InputError) as caught:
        check_pixels(spoil(images))
    assert (caught.value.seen, caught.value.instead) == (seen, instead)


def test_one_pixel_outside_is_enough(images: Tensor) -> None:
    for value in (1 + 2 * TOLERANCE, -2 * TOLERANCE):
        with pytest.raises(InputError):
            check_pixels(_with(images, value))


def test_rounding_is_not_an_error(images: Tensor) -> None:
    """Bicubic resizing and colour conversion overshoot by less than this."""
    check_pixels(_with(_with(images, 1 + 0.9 * TOLERANCE), -0.9 * TOLERANCE))
    check_pixels(images.to(torch.float16))
    check_pixels(images.double())


def test_the_check_needs_no_pixels_and_no_gradient(images: Tensor) -> None:
    check_pixels(images[:0])
    x = images.requires_grad_()
    check_pixels(x)
    assert x.grad is None


@pytest.mark.parametrize("seed", range(5))
def test_a_dark_image_in_bytes_is_recognised_too(seed: int) -> None:
    """A photograph whose largest value is far below 255 must not pass for one in [0, 1]."""
    x = torch.from_numpy(np.random.default_rng(seed).integers(0, 12, (2, 3, 4, 4)).astype(np.float32))
    with pytest.raises(InputError) as caught:
        check_pixels(x)
    assert caught.value.instead == "divide by 255 or pass uint8"
