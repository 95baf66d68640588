"""Checks of images and labels: each refusal names the likely cause."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from harden.data import Examples
from harden.data.image_checks import UNLABELLED, check_labels, check_names
from harden.errors import InputError


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pixels(*shape: int) -> Tensor:
    return torch.rand(shape or (4, 3, 8, 8), generator=draw())


LABELS = torch.tensor([0, 1, 1, 0])


def bad(x: Tensor) -> dict[str, Any]:
    return {"x": x}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (bad(pixels() * 255), "max 25.*divide by 255 or pass uint8"),
        (bad(pixels() * 60000), "pass uint16"),
        (bad(pixels() * 6 - 3), "min -2.9.*max 2.9.*mean and std to Classifier"),
        (bad(pixels().clamp(min=0.3) - 0.3005), r"clamp\(0, 1\)"),
        (bad(pixels() * 1e6), "rescale"),
        (bad(pixels().index_fill(0, torch.tensor([2]), float("nan"))), "first in image 2"),
        (bad(pixels().index_fill(0, torch.tensor([1]), float("inf"))), "first in image 1"),
        (bad(pixels(4, 8, 8, 3)), r"permute\(0, 3, 1, 2\)"),
        (bad(pixels(4, 8, 8, 1)), r"permute\(0, 3, 1, 2\)"),
        (bad(pixels(4, 8, 8)), r"unsqueeze\(1\)"),
        (bad(pixels(4, 64)), "four axes"),
        (bad(pixels(0, 3, 8, 8)), "no pixels"),
        (bad(pixels().double()), r"float64.*x\.float\(\)"),
        (bad((pixels() * 255).long()), r"int64.*torch\.uint8"),
        (bad(pixels(5, 3, 8, 8)), "5 images and 4 labels"),
        ({"y": torch.tensor([0, 1, 2, 0])}, r"label of 2 with 2 classes.*0\.\.1"),
        ({"y": torch.tensor([0, 1, -1, 0])}, "label of -1"),
        ({"y": torch.tensor([0.0, 1.0, 1.0, 0.0])}, r"float32.*y\.long\(\)"),
        ({"y": torch.tensor([[0], [1], [1], [0]])}, r"squeeze\(1\)"),
        ({"y": torch.eye(2, dtype=torch.int64)[LABELS]}, r"one-hot.*argmax\(1\)"),
        ({"y": torch.tensor(1)}, "one class number for each image"),
    ],
)
def test_refuses_with_the_likely_cause(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        Examples(changes.get("x", pixels()), changes.get("y", LABELS), ("a", "b"), "mine")
    assert "mine" in caught.value.seen


@pytest.mark.parametrize("shape", [(4, 4, 8, 8), (4, 2, 1, 1), (4, 3, 8, 3), (4, 1, 28, 28), (4, 12, 3, 3)])
def test_accepts_unusual_shapes_that_are_channels_first(shape: tuple[int, ...]) -> None:
    assert Examples(pixels(*shape), LABELS, ("a", "b")).image_shape == shape[1:]


def test_labels_of_images_without_labels_are_all_minus_one() -> None:
    none = torch.full((3,), UNLABELLED)
    check_labels(none, 3, 0, "mine")
    for y, classes in ((none, 2), (torch.tensor([UNLABELLED, 0, 0]), 0)):
        with pytest.raises(InputError, match=r"label of -1.*unlabelled takes them"):
            check_labels(y, 3, classes, "mine")


def test_names_are_unicode_text() -> None:
    check_names(["cat", "caf\u00e9"])
    with pytest.raises(InputError, match=r"'caf\\udce9', which is no Unicode text"):
        check_names(["cat", "caf\udce9"])
