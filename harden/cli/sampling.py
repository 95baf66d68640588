"""The images that an evaluation is made on."""

from __future__ import annotations

from harden.data import Examples, Splits, split
from harden.errors import InputError

SAMPLE_SEED = 0  # fixed: the choice of test images must not follow a run's seed, or runs can't be compared


def evaluated_images(splits: Splits, limit: int) -> Examples:
    """All test images, or a stratified sample of `limit` of them, always the same; 0 means all.

    Raises:
        InputError: the limit is negative.
    """
    test = splits.test
    if limit < 0:
        raise InputError(
            f"--test-images {limit}", "a number of images, or 0 for all", "write --test-images 1000"
        )
    if limit == 0 or limit >= len(test):
        return test
    _, sample = split(test, limit / len(test), SAMPLE_SEED)
    name = f"{test.name} ({len(sample)} of {len(test)} images, sampled)"
    return Examples(sample.x, sample.y, sample.classes, name)
