"""A loss with verdicts is distinguished from a plain function; an incomplete one is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from harden.errors import InputError
from harden.losses import (
    Divergence,
    Loss,
    loss_with_verdicts,
)


def test_a_plain_function_is_no_full_loss() -> None:
    """An attack must be able to distinguish the two."""
    assert not isinstance(lambda x: x.flatten(1).sum(1), Loss)


def _itself(logits: Tensor) -> Tensor:
    return logits


def test_a_plain_function_and_losses_without_labels_have_no_verdicts() -> None:
    for plain in (_itself, Divergence(_itself, torch.zeros(1, 2)), lambda x: x.sum(1)):
        assert loss_with_verdicts(plain) is None


def test_verdicts_of_an_incomplete_loss_are_not_ignored_in_silence() -> None:
    """A loss with `judged` alone would be maximised as a plain function, and its errors would not count."""

    class Own:
        def __call__(self, x: Tensor) -> Tensor:
            return x.sum(1)

        def judged(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x.sum(1), x.sum(1) > 0

    with pytest.raises(InputError, match="without y, take, logits, graded, aimed") as caught:
        loss_with_verdicts(Own())
    assert "graded = None" in caught.value.instead
