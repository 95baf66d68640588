"""The images that an evaluation is made on."""

from __future__ import annotations

from dataclasses import replace

from harden.data import Examples, Splits, sample
from harden.errors import InputError

SAMPLE_SEED = 0  # fixed: the choice of test images must not follow a run's seed, or runs can't be compared


def evaluated_images(splits: Splits, limit: int) -> Examples:
    """All test images, or a stratified sample of exactly `limit` of them, always the same; 0 means all.

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
    name = f"{test.name} ({limit} of {len(test)} images, sampled)"
    return replace(sample(test, limit, SAMPLE_SEED), name=name)
