"""Checks before training, and the error for an epoch without a step."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from harden.data import from_loader
from harden.errors import InputError
from harden.models import Classifier
from harden.training.preflight import check_fit, no_batch

X, Y = torch.rand(20, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 2


def loader(
    x: Tensor, y: Tensor = Y, size: int = 8, *, drop_last: bool = False
) -> DataLoader[tuple[Tensor, ...]]:
    return DataLoader(TensorDataset(x, y), size, drop_last=drop_last)


@pytest.mark.parametrize(
    ("size", "drop_last", "instead"),
    [
        (32, True, "pass a smaller batch size, or drop_last=False"),
        (1, False, "pass more images, or a larger batch size"),
        (1, True, "pass more images, or a larger batch size"),
    ],
)
def test_an_epoch_without_a_step_is_told_by_what_dropped_its_images(
    size: int, drop_last: bool, instead: str
) -> None:
    assert no_batch(from_loader(loader(X, size=size, drop_last=drop_last))).instead == instead


@pytest.mark.parametrize("x", [(X > 0.5).to(torch.uint8), X / 255])
def test_pixels_in_the_first_step_of_eight_bits_are_refused(x: Tensor) -> None:
    model = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)))
    with pytest.raises(InputError, match=r"pixels up to 0\.0039.*second division"):
        check_fit(model, from_loader(loader(x)))
    check_fit(model, from_loader(loader(X)))


def test_one_class_can_be_evaluated_and_not_learnt() -> None:
    model = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)))
    source = from_loader(loader(X, torch.zeros_like(Y)))
    check_fit(model, source, learns=False)
    with pytest.raises(InputError, match="examples of at least two classes"):
        check_fit(model, source)
