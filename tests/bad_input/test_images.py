"""Images that are none: the same whole answer through every door and in every form of data."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harden.models.small_networks import small_cnn
from tests.bad_input.table import (
    DOORS,
    FAST,
    FORMS,
    RUN,
    Answer,
    Row,
    built,
    check_line,
    classes,
    ids,
    listing,
    pictures,
    refused,
)

MEAN = torch.tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1)
STD = torch.tensor((0.229, 0.224, 0.225)).view(1, 3, 1, 1)
UNIT = "pixels in [0, 1]"
COLOUR = built(lambda: small_cnn(in_channels=3))
FINITE = "find their origin: a division by a constant image's deviation is a common cause"


def spoilt(value: float) -> Callable[[Tensor], Tensor]:
    def spoil(x: Tensor) -> Tensor:
        x = x.clone()
        x[3, 0, 2, 2] = value
        return x

    return spoil


@dataclass(frozen=True)
class Spoil:
    """How images are spoilt, and what is said of them as data and as a batch for the model."""

    name: str
    spoil: Callable[[Tensor], Tensor]
    seen: str
    expected: str
    instead: str
    as_batch: tuple[str, str, str]


def pixels(low: str, high: str, instead: str) -> tuple[str, str, tuple[str, str, str]]:
    seen = f"min {low} and max {high}"
    return f"float pixels with {seen}", instead, (f"images with {seen}", UNIT, instead)


def of_pixels(name: str, spoil: Callable[[Tensor], Tensor], low: str, high: str, instead: str) -> Spoil:
    seen, instead, as_batch = pixels(low, high, instead)
    return Spoil(name, spoil, seen, UNIT, instead, as_batch)


def not_finite(name: str, value: float, low: str, high: str) -> Spoil:
    as_batch = (f"images with min {low} and max {high}", UNIT, "find the NaN or infinity in the data")
    return Spoil(
        name,
        spoilt(value),
        "NaN or infinite pixels, first in image 3",
        "finite pixels in [0, 1]",
        FINITE,
        as_batch,
    )


NORMALISED = "drop the normalisation from the transform and give its mean and std to Classifier"
TYPES = "uint8 in 0..255, uint16 in 0..65535 or float32 in [0, 1]"
SPOILS = [
    of_pixels("above-1", lambda x: x * 1.25, "0", "1.25", "resampling overshoots: write x.clamp(0, 1)"),
    of_pixels("below-0", spoilt(-0.25), "-0.25", "1", "resampling overshoots: write x.clamp(0, 1)"),
    of_pixels("one-pixel-of-2", spoilt(2.0), "0", "2", "divide by 255 or pass uint8"),
    of_pixels("bytes-as-floats", lambda x: x * 255, "0", "255", "divide by 255 or pass uint8"),
    of_pixels("words-as-floats", lambda x: x * 65535, "0", "6.554e+04", "divide by 65535 or pass uint16"),
    of_pixels(
        "sensor-counts", lambda x: x * 1e6 - 5, "-5", "1e+06", "rescale to [0, 1] by the range of your sensor"
    ),
    of_pixels("normalised-by-imagenet", lambda x: (x - MEAN) / STD, "-2.118", "2.64", NORMALISED),
    of_pixels("normalised-by-mnist", lambda x: (x - 0.1307) / 0.3081, "-0.4242", "2.821", NORMALISED),
    of_pixels(
        "normalised-to-minus-1",
        lambda x: 2 * x - 1,
        "-1",
        "1",
        "write (x + 1) / 2 and give mean=(0.5,), std=(0.5,) to Classifier",
    ),
    not_finite("nan", math.nan, "nan", "nan"),
    not_finite("inf", math.inf, "0", "inf"),
    not_finite("minus-inf", -math.inf, "-inf", "1"),
    Spoil(
        "channels-last",
        lambda x: x.permute(0, 2, 3, 1),
        "images of shape (…, 8, 8, 3), probably (N, H, W, C)",
        "(N, C, H, W)",
        "write x.permute(0, 3, 1, 2)",
        ("", "", ""),
    ),
    Spoil(
        "no-channel-axis",
        lambda x: x[:, 0],
        "images of shape (…, 8, 8)",
        "four axes (N, C, H, W)",
        "add the channel axis with x.unsqueeze(1)",
        ("images of shape (40, 8, 8)", "a batch (N, C, H, W)", "write x.unsqueeze(0) for one"),
    ),
    Spoil(
        "flat",
        lambda x: x.flatten(1),
        "images of shape (…, 192)",
        "four axes (N, C, H, W)",
        "stack images of one size",
        ("images of shape (40, 192)", "a batch (N, C, H, W)", "write x.unsqueeze(0) for one"),
    ),
    Spoil(
        "wide-integers",
        lambda x: (x * 255).long(),
        "images of type int64",
        TYPES,
        "write x.to(torch.uint8) for pixels in 0..255",
        ("images of dtype torch.int64", "float pixels in [0, 1]", "write x.float() / 255"),
    ),
]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("spoil", ids(SPOILS))
def test_spoilt_images_as_data(spoil: Spoil, form: str, door: str, place: Path) -> None:
    name, give = FORMS[form]
    x = spoil.spoil(pictures(3))
    row = Row(
        "",
        lambda _: DOORS[door](give(x, classes()), COLOUR),
        f"{name}: {spoil.seen}",
        spoil.expected,
        spoil.instead,
    )
    refused(row, place)


@pytest.mark.parametrize("spoil", ids(spoil for spoil in SPOILS if spoil.name != "channels-last"))
def test_spoilt_images_given_to_the_model(spoil: Spoil, place: Path) -> None:
    x = spoil.spoil(pictures(3))
    refused(Row("", lambda _: COLOUR(x), *spoil.as_batch), place)


def array(channels: int = 3) -> Any:
    """Images as numpy arrays have them, (N, H, W, C)."""
    return pictures(channels).permute(0, 2, 3, 1).contiguous().numpy()


ROUGH = [
    (
        "bytes",
        lambda x: x * 255,
        "rough train: float pixels with min 0 and max 255",
        UNIT,
        "divide by 255 or pass uint8",
    ),
    (
        "normalised",
        lambda x: (x - 0.1307) / 0.3081,
        "rough train: float pixels with min -0.4242 and max 2.821",
        UNIT,
        NORMALISED,
    ),
    (
        "nan",
        lambda x: np.where(x == 1, np.nan, x),
        "rough train: NaN or infinite pixels, first in image 0",
        "finite pixels in [0, 1]",
        FINITE,
    ),
    (
        "float64",
        lambda x: x.astype(np.float64),
        "rough: x_train of type float64",
        "float32 in [0, 1], uint8 or uint16",
        "write x.astype('float32')",
    ),
    (
        "channels-first",
        lambda x: x[..., 0][:, None],
        "rough: x_train of shape (40, 1, 8, 8), probably (N, C, H, W)",
        "(N, H, W, C) in numpy arrays",
        "write x.transpose(0, 2, 3, 1)",
    ),
    (
        "empty",
        lambda x: x[:0],
        "rough train: no pixels, shape (0, 1, 8, 8)",
        "at least one image",
        "check the path and filter",
    ),
    (
        "cut",
        lambda x: x[:39],
        "rough train: 39 images and 40 labels",
        "one label an image",
        "check what was cut",
    ),
]


@pytest.mark.parametrize(
    ("name", "spoil", "seen", "expected", "instead"), ROUGH, ids=[row[0] for row in ROUGH]
)
def test_spoilt_images_in_a_file(
    name: str,
    spoil: Callable[[Any], Any],
    seen: str,
    expected: str,
    instead: str,
    place: Path,
    command: Callable[..., Answer],
) -> None:
    x, y = array(1), classes().numpy()
    np.savez(place / "rough.npz", x_train=spoil(x), y_train=y, x_test=x[:20] / 2, y_test=y[:20])
    before = listing(place)
    check_line(command("run", "--data", "npz:rough.npz", *RUN, *FAST), seen, expected, instead, place)
    assert listing(place) == before
