"""Training and unlabelled images that are test images are refused, or left out on request."""

from __future__ import annotations

import pytest
import torch

from harden.data import Examples, Splits
from harden.errors import InputError
from harden.hardening.drop_test_leaks import unlabelled_images, without_leaks

NAMES = ("a", "b")


def images(count: int, seed: int, size: int = 4) -> torch.Tensor:
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(seed))


def examples(x: torch.Tensor) -> Examples:
    return Examples(x, torch.arange(len(x)) % 2, NAMES)


@pytest.fixture
def leaking() -> Splits:
    """Test images 1 and 2 are training images 3 and 6."""
    train, test = images(8, 0), images(5, 1)
    test[[1, 2]] = train[[3, 6]]
    return Splits(examples(train), examples(test), "leaking")


def test_splits_without_leaks_are_returned_as_they_are() -> None:
    splits = Splits(examples(images(8, 0)), examples(images(5, 1)), "apart")
    for drop in (False, True):
        found, dropped = without_leaks(splits, drop)
        assert found is splits
        assert dropped == 0


def test_leaks_are_named_with_their_places(leaking: Splits) -> None:
    with pytest.raises(InputError, match="write --drop-leaks to leave these 2 images") as caught:
        without_leaks(leaking, drop=False)
    assert caught.value.seen.startswith("leaking: ")
    assert "training 3 = test 1, training 6 = test 2" in caught.value.seen


def test_dropped_leaks_leave_the_training_images_alone(leaking: Splits) -> None:
    found, dropped = without_leaks(leaking, drop=True)
    kept = [0, 1, 2, 4, 5, 7]
    assert dropped == 2
    assert torch.equal(found.train.x, leaking.train.x[kept])
    assert torch.equal(found.train.y, leaking.train.y[kept])
    assert found.test is leaking.test


def test_unlabelled_images_are_held_to_the_same(leaking: Splits) -> None:
    assert unlabelled_images(None, leaking, drop=False) is None
    apart = examples(images(6, 2))
    assert unlabelled_images(apart, leaking, drop=False) is apart
    x = images(6, 2)
    x[4] = leaking.test.x[0]
    with pytest.raises(InputError, match=r"unlabelled images: .*pretraining never saw.* these 1 images out"):
        unlabelled_images(examples(x), leaking, drop=False)
    kept = unlabelled_images(examples(x), leaking, drop=True)
    assert kept is not None
    assert torch.equal(kept.x, x[[0, 1, 2, 3, 5]])


def test_unlabelled_images_of_another_size_are_refused(leaking: Splits) -> None:
    with pytest.raises(InputError, match=r"\(1, 5, 5\) and training images of \(1, 4, 4\)"):
        unlabelled_images(examples(images(6, 2, size=5)), leaking, drop=True)
