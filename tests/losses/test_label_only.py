"""Losses of classifiers that return classes alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from harden.errors import InputError
from harden.losses import Labels, Loss

pytestmark = pytest.mark.usefixtures("rng_untouched")


Array = NDArray[np.float32]


def _scores(x: Array) -> Array:
    """Three scores of an image: its channels' sums, sharply."""
    found: Array = 3 * x.sum((2, 3)) + np.array([0.0, 1.0, -1.0], dtype=np.float32)
    return found


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (lambda x: _scores(x), "answers of shape (16, 3) and type float32 for 16 images"),
        (lambda x: x.sum((1, 2, 3)), "answers of shape (16,) and type float32 for 16 images"),
        (lambda x: _scores(x).argmax(1)[:2], "answers of shape (2,) and type int64 for 16 images"),
        (lambda x: "cat", "answers of shape () and type <U3 for 16 images"),
    ],
)
def test_classes_of_another_form_are_refused(
    answer: Callable[[Array], object], seen: str, images: Tensor, labels: Tensor
) -> None:
    with pytest.raises(InputError) as caught:
        Labels(answer, labels).judged(images)
    assert caught.value.seen == seen


def test_the_loss_is_one_where_the_answer_is_wrong(images: Tensor) -> None:
    answers = _scores(images.numpy()).argmax(1)
    y = torch.from_numpy(answers) + (torch.arange(16) % 4 == 0)
    loss = Labels(lambda x: _scores(x).argmax(1), y)
    value, wrong = loss.judged(images)
    assert wrong.tolist() == [k % 4 == 0 for k in range(16)]
    assert value.dtype == torch.float32
    assert torch.equal(value, wrong.float())
    assert torch.equal(loss(images), value)
    index = torch.tensor([8, 3])
    assert loss.take(index)(images[index]).tolist() == [1.0, 0.0]
    assert loss.graded is None
    assert isinstance(loss, Loss)


def test_there_are_no_logits_and_no_targeted_form(images: Tensor, labels: Tensor) -> None:
    loss = Labels(lambda x: _scores(x).argmax(1), labels)
    with pytest.raises(InputError, match=r"logits of 16 images.*RayS"):
        loss.logits(images)
    with pytest.raises(InputError, match="no targeted form"):
        loss.aimed(labels)
