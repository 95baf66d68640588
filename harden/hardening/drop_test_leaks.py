"""Training and unlabelled images of a run, checked against its test images."""

from __future__ import annotations

from dataclasses import replace

from harden.data import Examples, Splits, leaks, without
from harden.errors import InputError


def without_leaks(splits: Splits, drop: bool) -> tuple[Splits, int]:
    """Splits whose training images hold no test image, and the number of training images left out for that.

    Raises:
        InputError: training images are test images, and `drop` is False.
    """
    found = leaks(splits.train, splits.test)
    if not len(found):
        return splits, 0
    if not drop:
        raise InputError(
            f"{splits.name}: {found.describe()}: {found.listed()}",
            "test images that training never saw",
            f"write --drop-leaks to leave these {len(found.train):,} images out of training",
        )
    return replace(splits, train=without(splits.train, found.train)), len(found.train)


def unlabelled_images(extra: Examples | None, splits: Splits, drop: bool) -> Examples | None:
    """Images for pretraining without those that are test images; None where there are none of their own.

    Raises:
        InputError: they have another size than the training images, or are test images and `drop` is False.
    """
    if extra is None:
        return None
    if extra.image_shape != splits.train.image_shape:
        raise InputError(
            f"unlabelled images of {extra.image_shape} and training images of {splits.train.image_shape}",
            "one size",
            "resize one of them",
        )
    found = leaks(extra, splits.test)
    if len(found) and not drop:
        raise InputError(
            f"unlabelled images: {found.describe()}",
            "test images that pretraining never saw",
            f"write --drop-leaks to leave these {len(found.train):,} images out",
        )
    return without(extra, found.train) if len(found) else extra
